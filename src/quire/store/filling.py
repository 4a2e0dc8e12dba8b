"""Holes of commits that come: what of them is kept, what fills them later, and what turns out to be something else.

A hole that no standing erasure justifies is only missing: its commit counts as a gap, and whoever has the bytes may bring
them (docs/spec/03-commits.md, 6.7 to 6.9). A commit of nothing but holes does not say what it held; that it was a
control commit shows when it comes whole, or when another commit names it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import apsw

from quire.core.commit import commit_id, decode_head
from quire.storage import erasures, heights, log
from quire.storage.erasures import ERASED, MISSING
from quire.store.apply import Applier
from quire.store.arrivals import Arrival
from quire.store.people import put_back
from quire.store.withdraw import take_out

HOLLOW_LOOKED_AT_MAX = (
    100_000  # commits of nothing but holes, when one of them may be what another commit names
)

Filled = tuple[Arrival, log.LogRow, int, set[bytes]]  # with rights, and the ids whose bytes came


class Filling:
    """One ingestion's dealings with holes."""

    def __init__(self, db: apsw.Connection, applier: Applier, now_ms: int) -> None:
        self._db = db
        self._applier = applier
        self._now = now_ms
        self._filled: dict[bytes, list[Filled]] = {}  # by channel

    def note(self, arrival: Arrival, of: log.LogRow) -> None:
        """Of what came without its bytes the commitment is kept; until an erasure justifies that, it is missing."""
        holes = arrival.holes
        if holes:
            place = of.prefix + arrival.head.seq.to_bytes(4, "big")
            rows = [
                (place + at.to_bytes(2, "big"), of.channel, found, MISSING) for at, found in holes.items()
            ]
            erasures.put_holes(self._db, rows)
            heights.note_partial(self._db, of.n, [arrival.head.seq])

    def fills(self, arrival: Arrival, row: log.LogRow) -> bool:
        """Does a commit that is here bring bytes that were missing of it? They are kept, whoever withheld them.

        A control commit that was here as holes is forgotten: it is new.
        """
        seq = arrival.head.seq
        place = row.prefix + seq.to_bytes(4, "big")
        holes = erasures.holes_between(self._db, place + bytes(2), place + b"\xff\xff")
        if arrival.is_control:
            if len(holes) < arrival.head.count:
                return False
            self._forget(row, seq, list(holes))
            return True
        missing = [id for id, hole in holes.items() if hole.why == MISSING]
        brought = {id for id in missing if arrival.operations[int.from_bytes(id[14:], "big")] is not None}
        if not brought:
            return False
        erasures.fill_holes(self._db, sorted(brought))
        if len(brought) == len(missing):
            heights.note_whole(self._db, row.n, [seq])
        rights = log.rights_at(self._db, place + bytes(2))
        self._filled.setdefault(arrival.head.channel, []).append((arrival, row, rights, brought))
        return True

    def take_filled(self, channel: bytes) -> list[Filled]:
        """What was filled in a channel, to be applied."""
        return self._filled.pop(channel, [])

    def forget_control(self, channel: int, ids: Collection[bytes]) -> list[tuple[log.LogRow, int]]:
        """Of commits that others name as control commits, those that are here as holes: they are not here. Their places."""
        if not erasures.any_here(self._db):
            return []
        places: Any = self._db.execute(
            "SELECT substr(id, 1, 14), count(*) FROM destroyed WHERE channel = ? AND why IN (?, ?)"
            " GROUP BY 1 LIMIT ?",
            (channel, MISSING, ERASED, HOLLOW_LOOKED_AT_MAX),
        ).fetchall()
        found = []
        for place, count in places:
            head, row = log.commit_at(self._db, place), log.log_by_prefix(self._db, place[:10])
            if head is None or row is None or commit_id(head) not in ids or decode_head(head).count != count:
                continue
            seq = int.from_bytes(place[10:], "big")
            holes = erasures.holes_between(self._db, place + bytes(2), place + b"\xff\xff")
            self._forget(row, seq, list(holes))
            found.append((row, seq))
        return found

    def _forget(self, row: log.LogRow, seq: int, holes: list[bytes]) -> None:
        """A commit of nothing but holes was a control commit: it is as if it had not come."""
        channel = log.channel_by_n(self._db, row.channel)
        items = take_out(self._db, self._applier, channel, holes)
        erasures.fill_holes(self._db, holes)
        left = [item for item in items if item.id not in holes]
        put_back(self._db, self._applier, channel, left, self._now)
        log.delete_commit(self._db, row.n, seq)
        heights.recount(self._db, row.n)
