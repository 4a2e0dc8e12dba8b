"""What is here of each log: the gaps between its commits, kept beside them, so that nobody counts a million rows to
say that nothing is new. Own logs have none; only what comes from elsewhere makes and fills them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from quire.core.commit import commit_id
from quire.core.heights import LogHeight, Span, coarse, lacking, present, spans_of
from quire.storage import log

_COUNTED = (
    "SELECT before + 1, seq - 1 FROM (SELECT seq, lag(seq, 1, 0) OVER (ORDER BY seq) AS before FROM commits"
    " WHERE log = ?) WHERE seq > before + 1 ORDER BY seq"
)


def gaps(db: apsw.Connection, n: int) -> list[Span]:
    """What is not here of a log although later commits are, ascending."""
    found: Any = db.execute("SELECT first, last FROM gap WHERE log = ? ORDER BY first", (n,)).fetchall()
    return list(found)


def counted_gaps(db: apsw.Connection, n: int) -> list[Span]:
    """The same, from the commits themselves."""
    found: Any = db.execute(_COUNTED, (n,)).fetchall()
    return list(found)


def note_kept(db: apsw.Connection, n: int, seqs: Iterable[int]) -> None:
    """Commits of a log are about to be inserted that were not here."""
    fresh = spans_of(seqs)
    if not fresh:
        return
    row: Any = db.execute("SELECT max(seq) FROM commits WHERE log = ?", (n,)).fetchone()
    last = row[0] or 0
    if fresh[0][0] == last + 1 and len(fresh) == 1:
        return  # as mostly: the log goes on
    end = max(last, fresh[-1][1])
    known = lacking([(1, last)], gaps(db, n)) if last else []
    _put(db, n, lacking([(1, end)], [*known, *fresh]))


def recount(db: apsw.Connection, n: int) -> None:
    """Find the gaps of a log anew."""
    _put(db, n, counted_gaps(db, n))


def _put(db: apsw.Connection, n: int, spans: Iterable[Span]) -> None:
    db.execute("DELETE FROM gap WHERE log = ?", (n,))
    db.executemany("INSERT INTO gap(log, first, last) VALUES(?,?,?)", [(n, *span) for span in spans])


def height(db: apsw.Connection, of: log.LogRow) -> LogHeight | None:
    """What is here of a log; None if nothing is."""
    last, id = log.newest_commit(db, of.n)
    return LogHeight(of.device, of.incarnation, of.branch, last, id, coarse(gaps(db, of.n))) if last else None


def here(db: apsw.Connection, n: int) -> list[Span]:
    """The seqs of a log that are here."""
    return present(log.newest_commit(db, n)[0], gaps(db, n))


def id_at(db: apsw.Connection, n: int, seq: int) -> bytes:
    """The id of the commit at a place of a log; empty if it is not here."""
    found = log.get_commit(db, n, seq)
    return commit_id(found[0]) if found else b""
