"""The numbers of index rows: a message's time in units of 4,096 ms, or the next free number.

So the index is in time order. `doc` has a row for each number taken: the channel, and how far the number lies
behind the one its time asks for (`spill`).
"""

from __future__ import annotations

from array import array
from operator import lt, sub
from typing import Any

import apsw

from quire.storage.search import note_spill
from quire.storage.timeline import DOC_SHIFT

TAKEN_MAX = 20_000  # numbers that are remembered


class DocNumbers:
    """Hands out index rows. It remembers which of the newest numbers are taken, as long as nobody else takes any, and the
    last run of them, for many messages of one moment."""

    def __init__(self) -> None:
        self._run = (0, -1)  # first and last of numbers known to be taken without a gap
        self._free_to = 0  # from the end of that run to before this one, numbers are free: in this call
        self._from: int | None = None  # of the numbers from here on, those that are taken are known
        self._taken: set[int] = set()  # they, and maybe some that are free again
        self._widest = -1  # the widest spill known to be noted

    def take(self, db: apsw.Connection, channel: int, times: list[int]) -> tuple[list[int], list[int]]:
        """Reserve a row for a message of each of these hybrid times (ascending): its number, and how far it spilled over."""
        self._free_to = 0
        bases = [time >> DOC_SHIFT for time in times]
        docs = _ascending(bases)
        taken = self._taken_of(db, docs)
        if taken:
            docs = self._around(db, docs, taken)
        self._remember(docs)
        spills = list(map(sub, docs, bases))
        _insert(db, channel, docs, spills)
        if (widest := max(spills)) > self._widest:
            self._widest = note_spill(db, (1 << widest.bit_length()) - 1)  # a bound; so it is seldom moved
        return docs, spills

    def _taken_of(self, db: apsw.Connection, docs: list[int]) -> set[int]:
        """Those of these numbers that are taken."""
        if self._from is None:
            newest: Any = db.execute("SELECT max(n) FROM doc").fetchone()
            self._from = 0 if newest[0] is None else newest[0] + 1
        if docs[0] >= self._from:
            return self._taken.intersection(docs)
        found: Any = db.execute(
            "SELECT n FROM doc WHERE n IN carray(?)", (apsw.carray(array("q", docs)),)
        ).fetchall()
        return {n for (n,) in found}

    def _remember(self, docs: list[int]) -> None:
        assert self._from is not None
        if docs[-1] >= self._from:
            self._taken.update(docs)
            if len(self._taken) > TAKEN_MAX:
                self._from = max(self._taken) + 1
                self._taken.clear()

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
        if self._from is not None and free >= self._from:
            while free in self._taken:
                free += 1
        elif free >= self._free_to:
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


def _insert(db: apsw.Connection, channel: int, docs: list[int], spills: list[int]) -> None:
    """Nearly all lie where their time asks: those go in by one statement."""
    exact = docs
    if any(spills):
        exact = [doc for doc, spill in zip(docs, spills, strict=True) if not spill]
        moved = [(doc, channel, spill) for doc, spill in zip(docs, spills, strict=True) if spill]
        db.executemany("INSERT INTO doc(n, channel, spill) VALUES(?, ?, ?)", moved)
    if exact:
        db.execute(
            "INSERT INTO doc(n, channel, spill) SELECT value, ?, 0 FROM carray(?)",
            (channel, apsw.carray(array("q", exact))),
        )


def _ascending(bases: list[int]) -> list[int]:
    """Each its own number, not before its base."""
    if all(map(lt, bases, bases[1:])):
        return bases
    last = -1
    docs = []
    for base in bases:
        last = base if base > last else last + 1
        docs.append(last)
    return docs
