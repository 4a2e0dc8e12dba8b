"""What waits: operations for their target or their time, and whole commits for what they name (they are parked)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from quire.storage.cold import whole
from quire.storage.meta import get_meta, set_meta
from quire.storage.pending import PARKED_DUE

AWAY = "archive_away"  # parked.reason: what the commit changes is archived, and its file not at hand


def insert_waiting(db: apsw.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """(id, channel, target or None, due or None, time, signer, rights, op) of operations that cannot apply yet."""
    db.executemany(
        "INSERT OR REPLACE INTO waiting(id, channel, target, due, time, signer, rights, op) VALUES(?,?,?,?,?,?,?,?)",
        rows,
    )


def is_placed(db: apsw.Connection, id: bytes) -> bool:
    """Is an operation a message, or does it wait to be one?"""
    sql = "SELECT 1 FROM message WHERE id = ?1 UNION ALL SELECT 1 FROM waiting WHERE id = ?1"
    return db.execute(sql, (id,)).fetchone() is not None


def take_waiting(
    db: apsw.Connection, channel: int, targets: Sequence[bytes]
) -> list[tuple[bytes, int, str, bytes, int]]:
    """Remove and return (id, time, signer, op, rights) of what waits for these messages."""
    rows: Any = db.execute(
        "DELETE FROM waiting WHERE target IN carray(?) AND channel = ?"
        f" RETURNING id, time, signer, {whole('op')}, rights",
        (apsw.carray(tuple(targets)), channel),
    ).fetchall()
    return list(rows)


def is_due(db: apsw.Connection, now_ms: int) -> bool:
    """Is anything held whose time has come?"""
    return db.execute("SELECT 1 FROM waiting WHERE due <= ? LIMIT 1", (now_ms,)).fetchone() is not None


def take_due(db: apsw.Connection, now_ms: int) -> list[tuple[int, bytes, int, str, bytes, int]]:
    """Remove and return (channel, id, time, signer, op, rights) of what was held for its time, which has come."""
    rows: Any = db.execute(
        f"DELETE FROM waiting WHERE due <= ? RETURNING channel, id, time, signer, {whole('op')}, rights",
        (now_ms,),
    ).fetchall()
    return list(rows)


def waiting_of_device(db: apsw.Connection, device: bytes, table: str = "waiting") -> int:
    """How many operations of a device's logs wait, or are `voided`."""
    assert table in ("waiting", "voided")
    prefixes: Any = db.execute("SELECT prefix FROM log WHERE device = ?", (device,)).fetchall()
    count = f"SELECT count(*) FROM {table} WHERE id BETWEEN ? AND ?"
    found: Any = [db.execute(count, (p + bytes(6), p + b"\xff" * 6)).fetchone() for (p,) in prefixes]
    return sum(n for (n,) in found)


def waiting_counts(db: apsw.Connection) -> dict[int, int]:
    """Channel number -> operations that wait, and commits that wait whole."""
    rows: Any = db.execute(
        "SELECT n, sum(waiting) FROM (SELECT channel AS n, count(*) AS waiting FROM waiting GROUP BY channel UNION ALL"
        " SELECT c.n, count(*) FROM parked p JOIN channel c ON c.id = p.channel GROUP BY c.n) GROUP BY n"
    )
    return dict(rows)


def park(
    db: apsw.Connection, id: bytes, channel: bytes, device: bytes, reason: str, now_ms: int, encoded: bytes
) -> None:
    """Keep a whole commit that cannot be taken yet."""
    db.execute(
        "INSERT OR IGNORE INTO parked(id, channel, device, reason, since_ms, encoded) VALUES(?,?,?,?,?,?)",
        (id, channel, device, reason, now_ms, encoded),
    )


def note_parked_due(db: apsw.Connection, due_ms: int) -> None:
    """A parked commit waits for this time: when the earliest has come, `is_parked_due`."""
    earliest = get_meta(db, PARKED_DUE)
    if earliest is None or due_ms < earliest:
        set_meta(db, PARKED_DUE, due_ms)


def is_parked_due(db: apsw.Connection, now_ms: int) -> bool:
    """Has the time come of anything that is parked?"""
    earliest = get_meta(db, PARKED_DUE)
    return earliest is not None and earliest <= now_ms


def take_parked_due(db: apsw.Connection) -> list[bytes]:
    """Channels in which commits wait for their time; none is noted any more."""
    db.execute("DELETE FROM meta WHERE key = ?", (PARKED_DUE,))
    rows: Any = db.execute("SELECT DISTINCT channel FROM parked WHERE reason = 'ahead'").fetchall()
    return [channel for (channel,) in rows]


def set_parked_reason(db: apsw.Connection, id: bytes, reason: str) -> None:
    """What a parked commit waits for now."""
    db.execute("UPDATE parked SET reason = ? WHERE id = ?", (reason, id))


def parked_counts(db: apsw.Connection, device: bytes, channel: bytes) -> tuple[int, int, int]:
    """How many commits of a device, and in a channel, are parked; and the bytes of the latter."""
    row: Any = db.execute(
        "SELECT (SELECT count(*) FROM parked WHERE device = ?), count(*), coalesce(sum(length(encoded)), 0)"
        " FROM parked WHERE channel = ?",
        (device, channel),
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def parked_ids(db: apsw.Connection, channel: bytes) -> list[bytes]:
    rows: Any = db.execute("SELECT id FROM parked WHERE channel = ?", (channel,)).fetchall()
    return [row[0] for row in rows]


def parked_reasons(db: apsw.Connection, channel: bytes) -> dict[str, int]:
    """Why commits of a channel are parked -> how many."""
    rows: Any = db.execute(
        "SELECT reason, count(*) FROM parked WHERE channel = ? GROUP BY reason", (channel,)
    ).fetchall()
    return dict(rows)


def parked_commits(db: apsw.Connection, channel: bytes) -> list[bytes]:
    """All parked commits of a channel."""
    rows: Any = db.execute("SELECT encoded FROM parked WHERE channel = ? ORDER BY id", (channel,)).fetchall()
    return [row[0] for row in rows]


def parked_for(db: apsw.Connection, channel: bytes, reason: str) -> list[bytes]:
    """The parked commits of a channel that wait for the archive, or (any other reason) for anything else."""
    which = "=" if reason == AWAY else "<>"
    rows: Any = db.execute(
        f"SELECT encoded FROM parked WHERE channel = ? AND reason {which} '{AWAY}' ORDER BY id", (channel,)
    ).fetchall()
    return [row[0] for row in rows]


def channels_parked(db: apsw.Connection, reason: str) -> list[bytes]:
    """Channels in which commits are parked for this."""
    rows: Any = db.execute(
        "SELECT DISTINCT channel FROM parked WHERE reason = ? ORDER BY 1", (reason,)
    ).fetchall()
    return [channel for (channel,) in rows]


def put_parked(db: apsw.Connection, id: bytes, encoded: bytes) -> None:
    """What is left of a parked commit."""
    db.execute("UPDATE parked SET encoded = ? WHERE id = ?", (encoded, id))


def unpark(db: apsw.Connection, id: bytes) -> None:
    """Drop a parked commit."""
    db.execute("DELETE FROM parked WHERE id = ?", (id,))
