"""The numbers of index rows: a message's time in units of 1,024 ms, or the next free number.

So the index is in time order. `doc` has a row for each number taken: the channel, and how far the number lies
behind the one its time asks for (`spill`).
"""

from __future__ import annotations

from array import array
from itertools import repeat
from typing import Any

import apsw

from quire.storage.search import note_spill
from quire.storage.timeline import DOC_SHIFT


class DocNumbers:
    """Hands out index rows. It remembers the last run of taken numbers, for many messages of one moment."""

    def __init__(self) -> None:
        self._run = (0, -1)  # first and last of numbers known to be taken without a gap
        self._free_to = 0  # from the end of that run to before this one, numbers are free: in this call
        self._widest = -1  # the widest spill known to be noted

    def take(self, db: apsw.Connection, channel: int, times: list[int]) -> tuple[list[int], list[int]]:
        """Reserve a row for a message of each of these hybrid times (ascending): its number, and how far it spilled over."""
        newest: Any = db.execute("SELECT max(n) FROM doc").fetchone()
        self._free_to = 0
        docs = _ascending([time >> DOC_SHIFT for time in times])
        if len(docs) == 1:
            if newest[0] is not None and docs[0] <= newest[0] and _is_taken(db, docs[0]):
                docs = [self._next_free(db, docs[0])]
        elif newest[0] is not None and docs[0] <= newest[0]:
            found: Any = db.execute(
                "SELECT n FROM doc WHERE n IN carray(?)", (apsw.carray(array("q", docs)),)
            )
            taken = {n for (n,) in found}
            if taken:
                docs = self._around(db, docs, taken)
        spills = [doc - (time >> DOC_SHIFT) for doc, time in zip(docs, times, strict=True)]
        db.executemany(
            "INSERT INTO doc(n, channel, spill) VALUES(?, ?, ?)",
            zip(docs, repeat(channel), spills, strict=False),
        )
        if (widest := max(spills)) > self._widest:
            self._widest = note_spill(db, (1 << widest.bit_length()) - 1)  # a bound; so it is seldom moved
        return docs, spills

    def _around(self, db: apsw.Connection, docs: list[int], taken: set[int]) -> list[int]:
        """The same, passing over what is taken."""
        last = -1
        moved = []
        for doc in docs:
            free = doc
            if doc <= last:  # moved by the one before it
                free = self._next_free(db, last)
            elif doc in taken:
                free = self._next_free(db, doc)
            last = free
            moved.append(free)
        return moved

    def _next_free(self, db: apsw.Connection, doc: int) -> int:
        """The first number from a taken one on that no row has."""
        first, last = self._run
        if not first <= doc <= last:
            first = last = doc
            self._free_to = 0
        free = last + 1
        if free >= self._free_to:
            row: Any = db.execute("SELECT n FROM doc WHERE n >= ? ORDER BY n LIMIT 1", (free,)).fetchone()
            self._free_to = row[0] if row else free + (1 << 32)
            if self._free_to == free:
                row = db.execute(
                    "SELECT n + 1 FROM doc AS here WHERE n >= ?"
                    " AND NOT EXISTS (SELECT 1 FROM doc WHERE n = here.n + 1) ORDER BY n LIMIT 1",
                    (free,),
                ).fetchone()
                free = int(row[0])
                self._free_to = free + 1
        self._run = (first, free)
        return free


def _is_taken(db: apsw.Connection, doc: int) -> bool:
    return db.execute("SELECT 1 FROM doc WHERE n = ?", (doc,)).fetchone() is not None


def _ascending(bases: list[int]) -> list[int]:
    """Each its own number, not before its base."""
    last = -1
    docs = []
    for base in bases:
        last = base if base > last else last + 1
        docs.append(last)
    return docs
