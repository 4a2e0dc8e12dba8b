"""A channel's keys, as its control commits tell: which is current, who has it, what opens what.

The keys themselves never come here (docs/spec/06-membership.md, section 8). A void Rotate begins no epoch that
anyone should write under, but what was written under its key stays readable for who has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from quire.core.control import HISTORY_ALL, HISTORY_JOINED
from quire.core.membership.index import Index, Record
from quire.core.membership.model import Change, EpochInfo, Member

if TYPE_CHECKING:
    from quire.core.membership.state import Membership


class Epochs:
    """The epochs of one set of control commits."""

    def __init__(self, membership: Membership, index: Index) -> None:
        self._membership = membership
        self._standing = membership.standing
        self._index = index

    @cached_property
    def current(self) -> EpochInfo | None:
        """What to write under: of those that no other follows, an adequate one before others, then the latest."""
        candidates = self.candidates
        if not candidates:
            return None
        adequate = [info for info in candidates if len(candidates) > 1 and not self._faults(info)]
        return max(adequate or candidates, key=lambda info: (info.time, info.commit, info.epoch))

    @cached_property
    def candidates(self) -> list[EpochInfo]:
        """Epochs whose standing Rotate no other standing one knows."""
        found: list[tuple[Record, bytes]] = []
        least = 0
        for record, epoch in reversed(self._index.rotates):
            if record.number < least:
                break
            if self._standing.has(record) and self._standing.stands(record):
                if not any(other.knows(record) for other, _ in found):
                    found.append((record, epoch))
                least = max(least, record.past.base)
        return [_info(record, epoch) for record, epoch in found]

    def __contains__(self, epoch: object) -> bool:
        """Is this the name of an epoch, standing or not?"""
        return any(self._standing.has(record) for record in self._index.epochs.get(epoch, ()))  # type: ignore[call-overload]

    def __len__(self) -> int:
        return sum(epoch in self for epoch in self._index.epochs)

    def change_needed(self, now_ms: int) -> Change | None:
        """Why the key must change or reach more devices before one writes; None if it may be used as it is."""
        current = self.current
        if current is None:
            return Change.NONE_YET
        for change in (Change.KNOWN_OUTSIDE, Change.NEWCOMER):
            if change in (faults := self._faults(current)):
                return change
        if now_ms - (current.time >> 16) > self._membership.policy("rotation"):
            return Change.OLD
        return next(iter(faults), None)

    def recipients(self, epoch: bytes) -> frozenset[bytes]:
        """Who has been sealed this key, and its author."""
        sealed = [
            keys
            for record, keys in self._index.seals.get(epoch, ())
            if self._standing.has(record) and self._standing.stands(record)
        ]
        authors = {
            record.device for record in self._index.epochs.get(epoch, ()) if self._standing.has(record)
        }
        return frozenset(authors).union(*sealed)

    def holders(self, epoch: bytes) -> frozenset[bytes]:
        """Who may have this key: also who was sealed it by a commit that is void now, which had come by then."""
        sealed = (keys for record, keys in self._index.seals.get(epoch, ()) if self._standing.has(record))
        return self.recipients(epoch).union(*sealed)

    def expected(self) -> frozenset[bytes]:
        """Who should have the current key: every standing device, and in the self-channel the recovery key."""
        devices = set(self._membership.devices)
        if self._membership.kind == "self":
            devices.update(self._membership.members)
        return frozenset(devices)

    def lacking(self, epoch: bytes) -> frozenset[bytes]:
        """Who should have this key and was not sealed it, or says that what was sealed does not open."""
        return (self.expected() - self.recipients(epoch)) | self.reported(epoch)

    def reported(self, epoch: bytes) -> frozenset[bytes]:
        """Standing devices whose report no later Seal has answered."""
        seals = [
            (record, keys)
            for record, keys in self._index.seals.get(epoch, ())
            if self._standing.has(record) and self._standing.stands(record)
        ]
        return frozenset(
            record.device
            for record in self._index.reports.get(epoch, ())
            if self._standing.has(record)
            and self._standing.stands(record)
            and self._membership.device(record.device)
            and not any(seal.knows(record) and record.device in keys for seal, keys in seals)
        )

    def _faults(self, info: EpochInfo) -> list[Change]:
        """What keeps an epoch from being adequate, its age aside; what needs a rotation first."""
        faults = []
        recipients, expected = self.recipients(info.epoch), self.expected()
        if self.holders(info.epoch) - expected:
            faults.append(Change.KNOWN_OUTSIDE)
        if missing := expected - recipients:
            devices = self._membership.devices
            people = {devices[device].identity for device in missing if device in devices}
            reach = self.reach(info.epoch)  # who is given a key has all that it leads to
            readers = all(self.admits(identity, one) for identity in people for one in reach)
            faults.append(Change.LACKING if readers else Change.NEWCOMER)
        if self.reported(info.epoch):
            faults.append(Change.REPORTED)
        return sorted(faults, key=lambda change: not change.needs_rotation)

    def admits(self, identity: bytes, epoch: bytes) -> bool:
        """May a member read what was written under this epoch, by the history scope they were given?"""
        member = self._membership.member(identity)
        records = [record for record in self._index.epochs.get(epoch, ()) if self._standing.has(record)]
        return member is not None and any(self._admits(member, record) for record in records)

    def _admits(self, member: Member, rotate: Record) -> bool:
        if member.history == HISTORY_ALL:
            return True
        admitted = self._membership.grant(member.identity).admitted
        assert admitted is not None
        if not admitted.knows(rotate):
            return True
        return member.history != HISTORY_JOINED and rotate.time >> 16 >= member.history

    def admissible(self, identity: bytes) -> frozenset[bytes]:
        """Every epoch that a member may read."""
        return frozenset(
            epoch for epoch in self._index.epochs if epoch in self and self.admits(identity, epoch)
        )

    def every(self) -> list[EpochInfo]:
        """All epochs, the latest first."""
        found = self.infos(self._index.epochs)
        return sorted(found, key=lambda info: (info.time, info.commit, info.epoch), reverse=True)

    def infos(self, epochs: Iterable[bytes]) -> list[EpochInfo]:
        """Where these epochs began."""
        return [
            _info(record, epoch)
            for epoch in epochs
            for record in self._index.epochs.get(epoch, ())
            if self._standing.has(record)
        ]

    def parents(self, epoch: bytes) -> frozenset[bytes]:
        """Epochs whose keys are said to be sealed under this one's: also in a commit that is void now, which opens as well."""
        return frozenset(
            parent for record, parent in self._index.links.get(epoch, ()) if self._standing.has(record)
        )

    def reach(self, epoch: bytes) -> frozenset[bytes]:
        """Every epoch that may open for who has this key, itself included."""
        seen: set[bytes] = set()
        todo = [epoch]
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += self.parents(one)
        return frozenset(seen)


def _info(record: Record, epoch: bytes) -> EpochInfo:
    return EpochInfo(epoch, record.id, record.device, record.time)
