"""Long runs of a log as they stand on disk, read in order and once: for whoever copies a history out of the vault."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from heapq import merge
from typing import Any, NamedTuple

import apsw

from quire.core.heights import Span, joined, present, spans_of
from quire.storage.cold import commitment_of, is_reference, whole_or_reference
from quire.storage.database import one_moment
from quire.storage.erasures import ERASED, missing_places
from quire.storage.heights import gaps
from quire.storage.log import LogRow, newest_commit

_OPERATIONS = " UNION ALL ".join(
    f"SELECT id, {whole_or_reference('op')} FROM {table} WHERE id BETWEEN ?1 AND ?2"
    for table in ("message", "operation", "control", "waiting", "voided")
)
_COMMITS = "SELECT seq, head, signature FROM commits WHERE log = ? AND seq BETWEEN ? AND ? ORDER BY seq"


HOLES_AT_ONCE = 10_000
HOLES_DIGEST_SIZE = 16


class StoredCommit(NamedTuple):
    """A commit and what is kept of its operations, in order."""

    seq: int
    head: bytes
    signature: bytes
    entries: list[bytes]  # salt || operation of each, or the commitment of what was destroyed
    holes: dict[int, int]  # of the latter, place -> why

    @property
    def is_away(self) -> bool:
        """Is something of it archived, and out of reach? Its reference stands among the entries then."""
        return any(is_reference(entry) for entry in self.entries)


def run(
    db: apsw.Connection, of: LogRow, first: int, last: int, owed: Sequence[bytes] = ()
) -> Iterator[StoredCommit]:
    """The commits of a log from `first` to `last`, with their operations; the trees are walked side by side.

    owed    ids in order, of what is erased and could not be destroyed yet: holes, too
    """
    low, high = _bounds(of.prefix, first, last)
    erased = set(_between(owed, low, high))
    with one_moment(db), closing(db.cursor()) as operations, closing(db.cursor()) as commits:
        operations.execute(f"{_OPERATIONS} ORDER BY id", (low, high))
        row: Any = next(operations, None)
        gone = _Holes(db, low, high)
        found: Any = commits.execute(_COMMITS, (of.n, first, last))
        for seq, head, signature in found:
            end = of.prefix + seq.to_bytes(4, "big") + b"\xff\xff"
            there: list[tuple[bytes, bytes]] = []
            while row is not None and row[0] <= end:
                there.append(row)
                row = next(operations, None)
            if (gone.next is not None and gone.next[0] <= end) or erased:
                yield StoredCommit(seq, head, signature, *gone.put_in(there, end, erased))
            else:
                yield StoredCommit(seq, head, signature, [op for _, op in there], {})


class _Holes:
    """The holes of a run, in order."""

    def __init__(self, db: apsw.Connection, low: bytes, high: bytes) -> None:
        self._db = db
        self._high = high
        self._window: list[tuple[bytes, bytes, int]] = []
        self.next: tuple[bytes, bytes, int] | None = None
        self._fill(low)

    def _fill(self, low: bytes) -> None:
        sql = "SELECT id, commitment, why FROM destroyed WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
        found: Any = self._db.execute(sql, (low, self._high, HOLES_AT_ONCE)).fetchall()
        self._window = list(reversed(found))
        self.next = self._window.pop() if self._window else None

    def put_in(
        self, there: list[tuple[bytes, bytes]], end: bytes, erased: set[bytes]
    ) -> tuple[list[bytes], dict[int, int]]:
        """The entries of one commit, what is left of it and its holes, up to the last id that it can have."""
        entries = {id: commitment_of(op) if id in erased else op for id, op in there}
        why = {id: ERASED for id in entries if id in erased}
        while self.next is not None and self.next[0] <= end:
            id, entries[self.next[0]], why[self.next[0]] = self.next
            if not self._window:
                self._fill(id + b"\0")
            else:
                self.next = self._window.pop()
        ids = sorted(entries)
        return [entries[id] for id in ids], {at: why[id] for at, id in enumerate(ids) if id in why}


def stored(db: apsw.Connection, of: LogRow) -> list[Span]:
    """The seqs of a log's commits that are stored, whatever is left of them."""
    there = present(newest_commit(db, of.n)[0], gaps(db, of.n))
    return joined([*there, *spans_of(missing_places(db, of.prefix))])


def control_seqs(db: apsw.Connection) -> dict[bytes, list[Span]]:
    """By log prefix, the runs of its control commits, ascending."""
    rows: Any = db.execute("SELECT DISTINCT substr(id, 1, 14) FROM control ORDER BY 1")
    found: dict[bytes, list[int]] = {}
    for (place,) in rows:
        found.setdefault(place[:10], []).append(int.from_bytes(place[10:], "big"))
    return {prefix: spans_of(seqs) for prefix, seqs in found.items()}


def holes_digest(holes: Iterable[tuple[bytes, int]]) -> bytes:
    """What tells one set of (id, why) of holes from another: 16 bytes, or none if there are none."""
    digest = hashlib.sha256()
    found = False
    for id, why in holes:
        found = True
        digest.update(id + bytes([why]))
    return digest.digest()[:HOLES_DIGEST_SIZE] if found else b""


def forgotten(db: apsw.Connection) -> dict[bytes, list[tuple[bytes, int]]]:
    """Log prefix -> (channel || epoch, 0) of the keys that were destroyed in its channel, in order."""
    rows: Any = db.execute(
        "SELECT l.prefix, f.channel, f.epoch FROM forgotten f JOIN channel c ON c.id = f.channel"
        " JOIN log l ON l.channel = c.n ORDER BY 1, 2, 3"
    )
    found: dict[bytes, list[tuple[bytes, int]]] = {}
    for prefix, channel, epoch in rows:
        found.setdefault(prefix, []).append((channel + epoch, 0))
    return found


def holes_in(
    db: apsw.Connection, prefix: bytes, first: int, last: int, owed: Sequence[bytes] = ()
) -> Iterator[tuple[bytes, int]]:
    """(id, why) of the holes of a log's commits from `first` to `last`, in order; with `owed` as in `run`."""
    bounds = _bounds(prefix, first, last)
    found: Any = db.execute("SELECT id, why FROM destroyed WHERE id BETWEEN ? AND ? ORDER BY id", bounds)
    yield from merge(found, ((id, ERASED) for id in _between(owed, *bounds)))


def _bounds(prefix: bytes, first: int, last: int) -> tuple[bytes, bytes]:
    """The least and the greatest id that an operation of these commits can have."""
    return prefix + first.to_bytes(4, "big") + b"\0\0", prefix + last.to_bytes(4, "big") + b"\xff\xff"


def _between(ids: Sequence[bytes], low: bytes, high: bytes) -> Sequence[bytes]:
    return ids[bisect_left(ids, low) : bisect_right(ids, high)]
