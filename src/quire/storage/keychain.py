"""The keys of epochs that are known here, those that were destroyed, and the sealed self-channels we keep for others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw


def put_epoch(db: apsw.Connection, channel: bytes, epoch: bytes, key: bytes) -> None:
    """Remember an epoch's key, unless it was destroyed here."""
    db.execute(
        "INSERT OR IGNORE INTO epoch(channel, id, key) SELECT ?1, ?2, ?3 WHERE NOT EXISTS("
        "SELECT 1 FROM forgotten WHERE channel = ?1 AND epoch = ?2)",
        (channel, epoch, key),
    )


def epoch_keys(db: apsw.Connection, channel: bytes) -> dict[bytes, bytes]:
    """Epoch -> key, of the keys of a channel that are known."""
    found: Any = db.execute("SELECT id, key FROM epoch WHERE channel = ?", (channel,)).fetchall()
    return dict(found)


def all_epoch_keys(db: apsw.Connection) -> list[tuple[bytes, bytes]]:
    """(channel, key) of every epoch whose key is known."""
    rows: Any = db.execute("SELECT channel, key FROM epoch").fetchall()
    return list(rows)


def drop_epoch(db: apsw.Connection, channel: bytes, epoch: bytes) -> None:
    """Forget what is kept as an epoch's key."""
    db.execute("DELETE FROM epoch WHERE channel = ? AND id = ?", (channel, epoch))


def forgotten_epochs(db: apsw.Connection, channel: bytes) -> set[bytes]:
    """Epochs of a channel whose keys were destroyed here."""
    rows: Any = db.execute("SELECT epoch FROM forgotten WHERE channel = ?", (channel,)).fetchall()
    return {epoch for (epoch,) in rows}


def forget_epochs(db: apsw.Connection, channel: bytes, epochs: Iterable[bytes]) -> None:
    """Destroy these keys, and take them no more."""
    for epoch in epochs:
        db.execute("INSERT OR IGNORE INTO forgotten(channel, epoch) VALUES(?,?)", (channel, epoch))
        drop_epoch(db, channel, epoch)


def keep(db: apsw.Connection, owner: bytes, stamp_ms: int, sealed: bytes) -> None:
    """Keep somebody's sealed self-channel for them, unless what is here is newer."""
    db.execute(
        "INSERT INTO kept(owner, stamp, sealed) VALUES(?,?,?) ON CONFLICT DO UPDATE SET stamp = excluded.stamp,"
        " sealed = excluded.sealed WHERE excluded.stamp > stamp",
        (owner, stamp_ms, sealed),
    )


def kept_stamp(db: apsw.Connection, owner: bytes) -> int:
    """When what is kept for somebody was sealed; -1 if nothing is."""
    row: Any = db.execute("SELECT stamp FROM kept WHERE owner = ?", (owner,)).fetchone()
    return row[0] if row else -1


def kept(db: apsw.Connection) -> list[bytes]:
    """What is kept for others."""
    rows: Any = db.execute("SELECT sealed FROM kept ORDER BY owner").fetchall()
    return [row[0] for row in rows]
