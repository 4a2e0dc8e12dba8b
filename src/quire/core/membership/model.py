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


# What each rule says to people, whoever broke it; a test holds it to the rules there are.
REFUSALS: dict[str, str] = {
    "already_banned": "this person is banned already",
    "ask_exists": "this request was passed on already",
    "author_not_member": "only a member of the channel may do that",
    "author_revoked": "the device that wrote it was revoked",
    "certificate_chain": "nobody of this person vouches for one of the devices",
    "certificate_device": "the certificate is another device's",
    "certificate_identity": "the certificate is another person's",
    "certificate_sealing": "the certificate is for another sealing key",
    "create_misplaced": "a channel is founded once, at its beginning",
    "device_exists": "this device is known already",
    "device_foreign": "a device can be added or revoked only by its own person",
    "device_revoked": "this device was revoked, and does not come back",
    "device_revoked_before": "the device had been revoked",
    "device_senior": "a device cannot revoke one that was there before it",
    "device_taken": "this device is another person's",
    "device_twice": "one device is named twice",
    "device_unknown": "the device is nobody's in this channel",
    "devices_max": "this person has as many devices as one may have",
    "epoch_exists": "this key was begun already",
    "epoch_unknown": "this key is not known in the channel",
    "forked": "its author's log was continued twice, so acts from there on do not count",
    "founded_twice": "the channel was founded already",
    "grant_void": "what gave its author their role does not count",
    "history_too_wide": "that shows more of the past than the channel's policy allows",
    "invite_exists": "there is such an invite already",
    "invite_expired": "the invite has expired",
    "invite_history": "that shows more of the past than the invite does",
    "invite_needs_no_approval": "nobody has to agree to this invite",
    "invite_personal": "the invite is for somebody else",
    "invite_proof": "that does not prove that this person holds the invite",
    "invite_replayed": "this person came by this invite before",
    "invite_role": "the invite is for a lower role",
    "invite_unknown": "there is no such invite",
    "invite_used_up": "the invite has been used as often as it may be",
    "invite_void": "the invite does not count",
    "invite_withdrawn": "the invite was withdrawn",
    "member_banned": "this person is banned from the channel",
    "member_exists": "this person is a member already",
    "member_unknown": "this person is not a member of the channel",
    "members_max": "the channel has as many members as one may have",
    "nobody_asked": "this person does not ask to be let in",
    "not_banned": "this person is not banned",
    "not_outranked": "that takes somebody who outranks this person",
    "person_twice": "one act can do only one thing to a person",
    "removed_before": "its author had been removed",
    "role_lowered_before": "its author's role had been lowered",
    "role_raised_by_oneself": "nobody raises their own role",
    "role_same": "this person has that role already",
    "role_too_low": "that takes a higher role in this channel",
    "rotation_missing": "the key must change when somebody is put out",
    "self_channel": "the channel of one's own devices has no other members",
    "time_not_after": "it claims to be earlier than what it builds on",
}


def refusal(rule: str, role: Role = Role.NONE) -> UnauthorisedError:
    """The error for an author without the right; `details["role"]` is the least role that would do."""
    hint = f"it takes the role {role.name.lower()}" if role else ""
    said = REFUSALS.get(rule, rule.replace("_", " "))  # a malformed certificate has its own rules
    return UnauthorisedError(said, rule=rule, hint=hint, role=role)
