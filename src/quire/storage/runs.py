"""Long runs of a log as they stand on disk, read in order and once: for whoever copies a history out of the vault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import apsw

from quire.core.heights import Span, spans_of
from quire.storage.database import one_moment
from quire.storage.log import LogRow

_OPERATIONS = " UNION ALL ".join(
    f"SELECT id, op FROM {table} WHERE id BETWEEN ?1 AND ?2"
    for table in ("message", "operation", "control", "waiting", "voided")
)
_COMMITS = "SELECT seq, head, signature FROM commits WHERE log = ? AND seq BETWEEN ? AND ? ORDER BY seq"


class StoredCommit(NamedTuple):
    """A commit and what is kept of its operations, in order."""

    seq: int
    head: bytes
    signature: bytes
    salted: list[bytes]


def run(db: apsw.Connection, of: LogRow, first: int, last: int) -> Iterator[StoredCommit]:
    """The commits of a log from `first` to `last`, with their operations; the two trees are walked side by side."""
    low = of.prefix + first.to_bytes(4, "big") + b"\0\0"
    high = of.prefix + last.to_bytes(4, "big") + b"\xff\xff"
    with one_moment(db), closing(db.cursor()) as operations, closing(db.cursor()) as commits:
        operations.execute(f"{_OPERATIONS} ORDER BY id", (low, high))
        row: Any = next(operations, None)
        found: Any = commits.execute(_COMMITS, (of.n, first, last))
        for seq, head, signature in found:
            end = of.prefix + seq.to_bytes(4, "big") + b"\xff\xff"
            salted = []
            while row is not None and row[0] <= end:
                salted.append(row[1])
                row = next(operations, None)
            yield StoredCommit(seq, head, signature, salted)


def control_seqs(db: apsw.Connection) -> dict[bytes, list[Span]]:
    """By log prefix, the runs of its control commits, ascending."""
    rows: Any = db.execute("SELECT DISTINCT substr(id, 1, 14) FROM control ORDER BY 1")
    found: dict[bytes, list[int]] = {}
    for (place,) in rows:
        found.setdefault(place[:10], []).append(int.from_bytes(place[10:], "big"))
    return {prefix: spans_of(seqs) for prefix, seqs in found.items()}
