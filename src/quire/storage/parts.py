"""Parts of records that came from relays, until all of one are here."""

from __future__ import annotations

from typing import Any

import apsw

from quire.core.limits import PARTS_BYTES_MAX


def put_part(
    db: apsw.Connection, relay: bytes, mailbox: bytes, whole: bytes, number: int, count: int, data: bytes
) -> None:
    """Keep one; where a mailbox has more of them than may wait, those go that have waited longest."""
    db.execute(
        "INSERT OR IGNORE INTO relay_part(relay, mailbox, whole, number, count, data) VALUES(?,?,?,?,?,?)",
        (relay, mailbox, whole, number, count, data),
    )
    while True:
        row: Any = db.execute(
            "SELECT sum(length(data)), count(DISTINCT whole) FROM relay_part WHERE relay = ? AND mailbox = ?",
            (relay, mailbox),
        ).fetchone()
        if row[0] <= PARTS_BYTES_MAX or row[1] == 1:
            return
        db.execute(
            "DELETE FROM relay_part WHERE relay = ?1 AND mailbox = ?2 AND whole ="
            " (SELECT whole FROM relay_part WHERE relay = ?1 AND mailbox = ?2 ORDER BY n LIMIT 1)",
            (relay, mailbox),
        )


def whole_parts(db: apsw.Connection, relay: bytes, mailbox: bytes, whole: bytes) -> dict[int, bytes] | None:
    """All parts of a record by number; None while any is lacking, or they do not agree how many there are."""
    rows: Any = db.execute(
        "SELECT number, count, data FROM relay_part WHERE relay = ? AND mailbox = ? AND whole = ?",
        (relay, mailbox, whole),
    ).fetchall()
    if not rows or any(count != len(rows) for _, count, _ in rows):
        return None
    return {number: data for number, _, data in rows}


def drop_parts(db: apsw.Connection, relay: bytes, mailbox: bytes, whole: bytes) -> None:
    db.execute(
        "DELETE FROM relay_part WHERE relay = ? AND mailbox = ? AND whole = ?", (relay, mailbox, whole)
    )
