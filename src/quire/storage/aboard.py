"""What others are known to have, and how far we have read at each relay.

A holder is a relay (its own id, 16 bytes), of which we know what we put or found there, or a device (32 bytes), which said
what it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw

from quire.core.encoding import Codec, encode
from quire.core.heights import Span, joined, spans_of
from quire.core.reach import Reach, Stretch

_unread = Codec(tuple[Stretch, ...], "relay_unread")


def aboard(db: apsw.Connection, holder: bytes, log: int) -> list[Span]:
    """The commits of a log that it is known to have, ascending."""
    sql = "SELECT first, last FROM aboard WHERE holder = ? AND log = ? ORDER BY first"
    found: Any = db.execute(sql, (holder, log)).fetchall()
    return list(found)


def anywhere(db: apsw.Connection, log: int) -> list[Span]:
    """The commits of a log that somebody else is known to have."""
    found: Any = db.execute("SELECT first, last FROM aboard WHERE log = ? ORDER BY first", (log,)).fetchall()
    return joined(found)


def note_aboard(db: apsw.Connection, holder: bytes, places: Iterable[tuple[int, int]]) -> None:
    """(log, seq) of commits that it has now, too."""
    logs: dict[int, list[int]] = {}
    for log, seq in places:
        logs.setdefault(log, []).append(seq)
    for log, seqs in logs.items():
        set_aboard(db, holder, log, joined([*aboard(db, holder, log), *spans_of(seqs)]))


def set_aboard(db: apsw.Connection, holder: bytes, log: int, spans: Iterable[Span]) -> None:
    """It has these of a log, and no others."""
    db.execute("DELETE FROM aboard WHERE holder = ? AND log = ?", (holder, log))
    db.executemany("INSERT INTO aboard VALUES(?,?,?,?)", [(holder, log, *span) for span in spans])


def reach(db: apsw.Connection, relay: bytes, mailbox: bytes) -> Reach:
    """What of a mailbox was taken in."""
    if is_done(db, relay, AGAIN):
        return Reach()
    sql = "SELECT cursor, unread FROM relay_cursor WHERE relay = ? AND mailbox = ?"
    row: Any = db.execute(sql, (relay, mailbox)).fetchone()
    return Reach(row[0], _unread.trusted(row[1])) if row else Reach()


def set_reach(db: apsw.Connection, relay: bytes, mailbox: bytes, reach: Reach) -> None:
    row = (relay, mailbox, reach.top, encode(reach.unread))
    db.execute("INSERT OR REPLACE INTO relay_cursor VALUES(?,?,?,?)", row)


def is_done(db: apsw.Connection, relay: bytes, what: bytes) -> bool:
    """Was this put there already?"""
    sql = "SELECT 1 FROM relay_done WHERE relay = ? AND what = ?"
    return db.execute(sql, (relay, what)).fetchone() is not None


def set_done(db: apsw.Connection, relay: bytes, what: bytes) -> None:
    db.execute("INSERT OR IGNORE INTO relay_done VALUES(?,?)", (relay, what))


AGAIN = b"read again"  # of a relay, among what is done: its mailboxes are to be read from their beginning


def read_again(db: apsw.Connection) -> None:
    """What was dropped on its way in is wanted after all: every relay is read from the beginning, when next it is."""
    db.execute("INSERT OR IGNORE INTO relay_done SELECT DISTINCT relay, ? FROM relay_cursor", (AGAIN,))


def begin_again(db: apsw.Connection, relay: bytes) -> None:
    """It is being read from the beginning."""
    db.execute("DELETE FROM relay_done WHERE relay = ? AND what = ?", (relay, AGAIN))
    if db.changes():
        db.execute("DELETE FROM relay_cursor WHERE relay = ?", (relay,))
