"""Where in its log a commit belongs, and whether its device vouches for it.

A log is looked up once for a batch: the places that the batch names and their neighbours (`Chain`). In an unbroken
run of content commits, each named by the next as `previous`, the last one's signature covers the run; "the next" is
one that is kept, be it from this batch or long ago. So a history that comes newest first, a bundle at a time, costs one
check for each log. What is parked or a control commit is always signed itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import apsw

from quire.core import commit
from quire.core.crypto.keys import verify
from quire.errors import MalformedError, PeerError
from quire.storage import log
from quire.store.arrivals import Arrival

Node = tuple[bytes, bytes]  # of a commit: id and previous


class Chain:
    """One log with its branches, as far as a batch touches it."""

    def __init__(self, db: apsw.Connection, of: tuple[bytes, bytes], seqs: Iterable[int]) -> None:
        self.rows = log.branches(db, *of)
        self._at: dict[int, dict[int, Node]] = {}  # seq -> row -> what is there
        self._vouched: set[tuple[int, bytes]] = set()  # seq and id of what a commit that will be kept names
        wanted = {near for seq in seqs for near in (seq - 1, seq, seq + 1)}
        for n, seq, head in log.heads_at(db, [row.n for row in self.rows], wanted):
            node = commit.commit_id(head), commit.decode_head(head).previous
            self._at.setdefault(seq, {})[n] = node

    def has(self, arrival: Arrival) -> bool:
        """Is it here already?"""
        there = self._at.get(arrival.head.seq)
        return there is not None and any(id == arrival.id for id, _ in there.values())

    def continues(self, arrival: Arrival) -> bool:
        """Is a kept commit here that names this one as the one before it?"""
        if (arrival.head.seq, arrival.id) in self._vouched:
            return True
        after = self._at.get(arrival.head.seq + 1)
        return after is not None and any(previous == arrival.id for _, previous in after.values())

    def vouch(self, arrival: Arrival) -> None:
        """It will be kept: it stands for the one before it."""
        self._vouched.add((arrival.head.seq - 1, arrival.head.previous))

    def keep(self, row: log.LogRow, arrival: Arrival) -> None:
        """It is in this row now."""
        self._at.setdefault(arrival.head.seq, {})[row.n] = arrival.id, arrival.head.previous

    def forget(self, row: log.LogRow, seq: int) -> None:
        """What was kept in this row was not what it seemed."""
        self._at.get(seq, {}).pop(row.n, None)

    def row_for(self, arrival: Arrival) -> log.LogRow | None:
        """The log itself, or the branch, that a commit has its place in. None: it begins a branch, or the log."""
        seq, previous = arrival.head.seq, arrival.head.previous
        at, before, after = (self._at.get(near, {}) for near in (seq, seq - 1, seq + 1))
        for row in self.rows:
            if row.n in at or (row.n not in before and len(self.rows) > 1):
                continue
            if row.n in before and before[row.n][0] != previous:
                continue
            if row.n in after and after[row.n][1] != arrival.id:
                continue
            return row
        return None

    def contradicts(self, arrival: Arrival) -> bool:
        """Is there proof that the log was continued twice? Of all that is kept, its device is the author."""
        seq, previous = arrival.head.seq, arrival.head.previous
        at, before, after = (self._at.get(near, {}) for near in (seq, seq - 1, seq + 1))
        return (
            bool(at)
            or any(id != previous for id, _ in before.values())
            or any(named != arrival.id for _, named in after.values())
        )

    def require_channel(self, n: int) -> None:
        """Raises: PeerError(rule="log_of_another_channel")."""
        if self.rows and self.rows[0].channel != n:
            raise PeerError("this log is here already, in another channel", rule="log_of_another_channel")


def row_of(db: apsw.Connection, arrival: Arrival) -> log.LogRow | None:
    """The row of its log that a commit is in, since it may have been moved."""
    for row in log.branches(db, arrival.head.device, arrival.head.incarnation):
        stored = log.get_commit(db, row.n, arrival.head.seq)
        if stored and stored[0] == arrival.commit.head:
            return row
    return None


def require_signature(arrival: Arrival) -> None:
    """Raises: MalformedError(rule="commit_signature") unless its device signed this very commit."""
    signed = commit.to_be_signed(arrival.commit.head)
    if not verify(arrival.head.device, arrival.commit.signature, signed):
        raise MalformedError("the device did not sign this", rule="commit_signature")
