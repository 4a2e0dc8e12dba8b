"""What is here of each log: the gaps between its commits, kept beside them, so that nobody counts a million rows to
say that nothing is new. Own logs have none; only what comes from elsewhere makes and fills them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from quire.core.commit import commit_id
from quire.core.heights import LogHeight, Span, coarse, joined, lacking, present, spans_of
from quire.core.ids import CommitId
from quire.storage import log
from quire.storage.erasures import counted_kept_away, kept_away, missing_places, put_kept_away

_COUNTED = (
    "SELECT before + 1, seq - 1 FROM (SELECT seq, lag(seq, 1, 0) OVER (ORDER BY seq) AS before FROM commits"
    " WHERE log = ?) WHERE seq > before + 1 ORDER BY seq"
)


def gaps(db: apsw.Connection, n: int) -> list[Span]:
    """What is not here of a log, or not wholly, up to its last commit, ascending."""
    found: Any = db.execute("SELECT first, last FROM gap WHERE log = ? ORDER BY first", (n,)).fetchall()
    return list(found)


def counted_gaps(db: apsw.Connection, n: int) -> list[Span]:
    """The same, from the commits themselves."""
    found: Any = db.execute(_COUNTED, (n,)).fetchall()
    return joined([*found, *spans_of(missing_places(db, log.prefix_of(db, n)))])


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


def note_partial(db: apsw.Connection, n: int, seqs: Iterable[int]) -> None:
    """Something of these commits is not here, and nobody erased it: others are still to bring them."""
    spans = spans_of(seqs)
    if spans:
        _put(db, n, joined([*gaps(db, n), *spans]))


def note_whole(db: apsw.Connection, n: int, seqs: Iterable[int]) -> None:
    """Nothing of these commits is missing any more."""
    spans = spans_of(seqs)
    if spans:
        _put(db, n, lacking(gaps(db, n), spans))


def recount(db: apsw.Connection, n: int) -> None:
    """Find the gaps of a log, and what is kept away of it, anew."""
    _put(db, n, counted_gaps(db, n))
    put_kept_away(db, n, counted_kept_away(db, log.prefix_of(db, n)))


def _put(db: apsw.Connection, n: int, spans: Iterable[Span]) -> None:
    db.execute("DELETE FROM gap WHERE log = ?", (n,))
    db.executemany("INSERT INTO gap(log, first, last) VALUES(?,?,?)", [(n, *span) for span in spans])


def height(db: apsw.Connection, of: log.LogRow) -> LogHeight | None:
    """What is here of a log, erased and pruned commits too; None if nothing is."""
    last, id = log.newest_commit(db, of.n)
    away = gaps(db, of.n)
    if away and away[-1][1] == last:  # the newest is not here wholly
        last = away.pop()[0] - 1
        id = CommitId(id_at(db, of.n, last))
    return LogHeight(of.device, of.incarnation, of.branch, last, id, coarse(away)) if last else None


def here(db: apsw.Connection, n: int) -> list[Span]:
    """The seqs of a log that are here and can be given: nothing of them is gone that was not erased."""
    return present(log.newest_commit(db, n)[0], [*gaps(db, n), *kept_away(db, n)])


def id_at(db: apsw.Connection, n: int, seq: int) -> bytes:
    """The id of the commit at a place of a log; empty if it is not here."""
    found = log.get_commit(db, n, seq)
    return commit_id(found[0]) if found else b""
