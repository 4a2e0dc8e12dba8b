"""The values of membership: what goes in, and what comes out (docs/spec/06-membership.md, sections 1 and 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from quire.core.control import HISTORY_ALL, HISTORY_JOINED, ControlOperation, Role
from quire.errors import UnauthorisedError

# Seniority, compared as tuples: what sorts first is senior.
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ControlCommit:
    """A control commit whose form, signature and chain were checked."""

    id: bytes
    device: bytes
    prefix: bytes  # of its log: 10 bytes
    seq: int
    time: int  # hybrid
    heads: tuple[bytes, ...]  # the control commits its author knew that had no successor; empty: it founds
    operations: tuple[ControlOperation, ...]


class Verdict(NamedTuple):
    """What became of one control commit."""

    id: bytes
    identity: bytes  # its author's; empty if the device is nobody's
    device: bytes
    time: int
    standing: bool
    rule: str = ""  # why it is void
    by: bytes = b""  # the commit that made it void, if one did
    role: Role = Role.NONE  # the role that would do, where a higher one would
    contested: bool = False  # it had the right when written, or took what stronger concurrent word gave back


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A standing device."""

    device: bytes
    identity: bytes
    created_ms: int
    by_identity: bool  # certified by the identity itself: outranks those that are not
    sealing_hash: bytes  # SHA-256 of its sealing key
    commit: bytes  # the key itself stands in operation `place[0]` of this commit,
    place: tuple[int, int]  # as its device number `place[1]`
    key: Key = field(repr=False)  # seniority inside the identity


@dataclass(frozen=True, slots=True)
class Member:
    """A person who is in."""

    identity: bytes
    role: Role
    since: int  # hybrid time of the act that gave the role
    admitted: bytes  # the commit that let them in
    history: int  # HISTORY_ALL, HISTORY_JOINED or a date: what they may read
    devices: Mapping[bytes, DeviceInfo]
    key: Key = field(repr=False)  # seniority (section 3)


@dataclass(frozen=True, slots=True)
class InviteInfo:
    """A standing invite, withdrawn and used-up ones included."""

    key: bytes
    role: Role
    uses: int
    used: int
    expires_ms: int
    history: int
    identity: bytes
    approval: bool
    author: bytes
    commit: bytes
    withdrawn: bool

    def open_at(self, now_ms: int) -> bool:
        """May someone still come in by it?"""
        left = self.uses == 0 or self.used < self.uses
        return left and not self.withdrawn and not self.is_expired(now_ms)

    def is_expired(self, now_ms: int) -> bool:
        return self.expires_ms != 0 and now_ms > self.expires_ms


class Change(StrEnum):
    """Why the channel's key must change, or reach more devices, before one writes."""

    NONE_YET = "none_yet"
    KNOWN_OUTSIDE = "known_outside"  # a device that is out has it
    OLD = "old"
    NEWCOMER = "newcomer"  # a device lacks it whose person may not read what was written under it
    LACKING = "lacking"  # a device lacks it: a Seal is enough
    REPORTED = "reported"  # a device has a wrong one: a Seal is enough

    @property
    def needs_rotation(self) -> bool:
        """False if sealing the present key is enough."""
        return self not in (Change.LACKING, Change.REPORTED)


@dataclass(frozen=True, slots=True)
class EpochInfo:
    """An epoch, as its Rotate began it."""

    epoch: bytes
    commit: bytes
    device: bytes  # of its author, who knows the key
    time: int


def no_wider(history: int, bound: int) -> bool:
    """Does a history scope show no more than another?"""
    if bound == HISTORY_ALL or history == HISTORY_JOINED:
        return True
    return history not in (HISTORY_ALL, HISTORY_JOINED) and bound != HISTORY_JOINED and history >= bound


def refusal(rule: str, role: Role = Role.NONE) -> UnauthorisedError:
    """The error for an author without the right; `details["role"]` is the least role that would do."""
    hint = f"a role that may: {role.name.lower()}" if role else ""
    return UnauthorisedError(rule.replace("_", " "), rule=rule, hint=hint, role=role)
