"""What we know to lie at each relay, and how far we have read there. Relays are told apart by their own ids."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from quire.core.heights import Span, joined, spans_of


def aboard(db: apsw.Connection, relay: bytes, log: int) -> list[Span]:
    """The commits of a log that lie at a relay, ascending."""
    sql = "SELECT first, last FROM aboard WHERE relay = ? AND log = ? ORDER BY first"
    found: Any = db.execute(sql, (relay, log)).fetchall()
    return list(found)


def note_aboard(db: apsw.Connection, relay: bytes, places: Iterable[tuple[int, int]]) -> None:
    """(log, seq) of commits that lie at a relay now."""
    logs: dict[int, list[int]] = {}
    for log, seq in places:
        logs.setdefault(log, []).append(seq)
    for log, seqs in logs.items():
        spans = joined([*aboard(db, relay, log), *spans_of(seqs)])
        db.execute("DELETE FROM aboard WHERE relay = ? AND log = ?", (relay, log))
        db.executemany("INSERT INTO aboard VALUES(?,?,?,?)", [(relay, log, *span) for span in spans])


def cursor(db: apsw.Connection, relay: bytes, mailbox: bytes) -> int:
    """The last item of a mailbox that was taken in."""
    sql = "SELECT cursor FROM relay_cursor WHERE relay = ? AND mailbox = ?"
    row: Any = db.execute(sql, (relay, mailbox)).fetchone()
    return row[0] if row else 0


def set_cursor(db: apsw.Connection, relay: bytes, mailbox: bytes, cursor: int) -> None:
    db.execute("INSERT OR REPLACE INTO relay_cursor VALUES(?,?,?)", (relay, mailbox, cursor))


def is_done(db: apsw.Connection, relay: bytes, what: bytes) -> bool:
    """Was this put there already?"""
    sql = "SELECT 1 FROM relay_done WHERE relay = ? AND what = ?"
    return db.execute(sql, (relay, what)).fetchone() is not None


def set_done(db: apsw.Connection, relay: bytes, what: bytes) -> None:
    db.execute("INSERT OR IGNORE INTO relay_done VALUES(?,?)", (relay, what))
