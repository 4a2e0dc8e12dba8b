"""Control commits as the resolver keeps them: records, what is in the past of what, and acts by whom they are about.

A record is small: sealed and sealing keys stay in the commit, of which the record keeps the id. Records are numbered
as they come, so a set of commits that holds the ancestors of all its members is nearly always "everything up to
number n": `Past` is that number and the bits beyond it. No result may depend on the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from quire.core.control import Role
from quire.core.membership.model import Key

LAST_SEQS_MAX = 4_096  # a log and a removal: a million commits beyond a cut ask for the same one


class Past(NamedTuple):
    """A set of commits that holds all ancestors of its members: those below `base`, and bit i for `base + i`."""

    base: int = 0
    bits: int = 0

    def holds(self, number: int) -> bool:
        return number < self.base or (self.bits >> (number - self.base)) & 1 == 1

    def with_number(self, number: int) -> Past:
        return _normal(self.base, self.bits | 1 << (number - self.base)) if not self.holds(number) else self


def union(pasts: Iterable[Past]) -> Past:
    """All that is in any of them."""
    base, bits = 0, 0
    for past in pasts:
        if past.base > base:
            base, bits = past.base, past.bits | bits >> (past.base - base)
        else:
            bits |= past.bits >> (base - past.base)
    return _normal(base, bits)


def _normal(base: int, bits: int) -> Past:
    """Ones at the low end of `bits` belong to the base."""
    ones = (~bits & (bits + 1)).bit_length() - 1
    return Past(base + ones, bits >> ones)


class Void(NamedTuple):
    """Why a commit that was valid at its point does not stand."""

    rule: str
    by: Record | None


class Binding(NamedTuple):
    """A certificate in a commit: this device is this identity's."""

    record: Record
    device: bytes
    identity: bytes
    created_ms: int
    sealing_hash: bytes
    place: tuple[int, int]
    issuer: bytes
    issued_by: Binding | None  # the issuing device's own; None: the identity itself issued it
    key: Key  # of the device, by this certificate


class Act(NamedTuple):
    """Something done to a person: let in or given a role (`role`), or put out (Role.NONE)."""

    record: Record
    identity: bytes
    role: Role
    lowers: bool  # it takes: what the person did without knowing of it may be void
    key: Key  # the seniority that the role comes with
    history: int
    admitted: Record | None  # who let them in: this commit, or for a change of role an earlier one
    cuts: dict[bytes, int]
    ban: bool
    ended: tuple[Record, ...]  # of a grant: the latest removals of the person that held where it was given

    def replaces(self, other: Act) -> bool:
        """Was the other grant in force where this one was given? What a removal had ended was not."""
        knows = self.record.knows(other.record)
        return knows and all(other.record.knows(removal) for removal in self.ended)


class InviteAct(NamedTuple):
    """An invite, as it was written."""

    record: Record
    key: bytes
    role: Role
    uses: int
    expires_ms: int
    history: int
    identity: bytes
    approval: bool


class Use(NamedTuple):
    """Someone let in by an invite."""

    record: Record
    identity: bytes
    invite: InviteAct


@dataclass(eq=False, slots=True)
class Record:
    """One control commit, judged at its point. What is judged never changes."""

    number: int
    id: bytes
    device: bytes
    prefix: bytes
    seq: int
    time: int
    past: Past
    newest: int  # the greatest time of a valid commit up to and including this
    rule: str = ""  # why it is void at its point
    identity: bytes = b""
    role: Role = Role.NONE  # its author's
    needs: Role = Role.NONE  # the least role that would have allowed it
    grant: Record | None = None  # what gave the author that role
    binding: Binding | None = None  # what made the device the author's
    strength: Key = ()  # in disputes between people; what sorts first is stronger
    device_strength: Key = ()  # in disputes between one person's devices
    uses: tuple[Use, ...] = ()
    acts: tuple[Act, ...] = ()
    keys_alone: bool = False  # it changes nobody's rights: whether it stands decides about no other commit

    def knows(self, other: Record) -> bool:
        """Is the other in this one's past?"""
        return self.past.holds(other.number)


@dataclass(slots=True)
class Index:
    """Valid records by what they are about. Lists are in order of number."""

    records: list[Record] = field(default_factory=list)
    about: dict[bytes, list[Act]] = field(default_factory=dict)
    removals: dict[bytes, list[Act]] = field(default_factory=dict)
    bindings: dict[bytes, list[Binding]] = field(default_factory=dict)  # by device
    devices: dict[bytes, dict[bytes, None]] = field(default_factory=dict)  # of an identity
    revocations: dict[bytes, list[tuple[Record, dict[bytes, int]]]] = field(default_factory=dict)  # by device
    unbans: dict[bytes, list[Record]] = field(default_factory=dict)
    policies: dict[str, list[tuple[Record, int]]] = field(default_factory=dict)
    invites: dict[bytes, list[InviteAct]] = field(default_factory=dict)
    uninvites: dict[bytes, list[Record]] = field(default_factory=dict)
    uses: dict[bytes, list[Use]] = field(default_factory=dict)
    asks: dict[bytes, list[tuple[Record, bytes, int]]] = field(default_factory=dict)  # (.., invite, place)
    declines: dict[bytes, list[Record]] = field(default_factory=dict)
    rotates: list[tuple[Record, bytes]] = field(default_factory=list)
    epochs: dict[bytes, list[Record]] = field(default_factory=dict)
    seals: dict[bytes, list[tuple[Record, frozenset[bytes]]]] = field(default_factory=dict)
    links: dict[bytes, list[tuple[Record, bytes]]] = field(default_factory=dict)
    reports: dict[bytes, list[Record]] = field(default_factory=dict)
    owners: dict[bytes, None] = field(default_factory=dict)  # who was ever made one
    logs: dict[bytes, dict[int, list[Record]]] = field(default_factory=dict)
    forks: dict[bytes, list[int]] = field(default_factory=dict)  # places of a log that have several commits

    last_seqs: dict[tuple[bytes, int], int] = field(default_factory=dict)  # of a log, in a record's past
    names: dict[bytes, bytes] = field(default_factory=dict)

    def name(self, id: bytes) -> bytes:
        """The same id as one object: a thousand recipients of a thousand keys are a million."""
        return self.names.setdefault(id, id)

    def log_forks(self, prefix: bytes, seq: int) -> Iterator[list[Record]]:
        """The commits of each place of this log, up to `seq`, that has several."""
        for place in self.forks.get(prefix, ()):
            if place <= seq:
                yield self.logs[prefix][place]

    def last_seq(self, prefix: bytes, record: Record) -> int:
        """The last control commit of a log that a record's author knew; 0 if none. A past never grows."""
        found = self.last_seqs.get((prefix, record.number))
        if found is None:
            log = self.logs.get(prefix, {})
            found = max((seq for seq, at in log.items() if any(record.knows(one) for one in at)), default=0)
            if len(self.last_seqs) >= LAST_SEQS_MAX:
                self.last_seqs.clear()
            self.last_seqs[prefix, record.number] = found
        return found
