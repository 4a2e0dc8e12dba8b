"""What opening and reading look at: is anything left to do, or to hide? One look each; who does it imports what that needs."""

from __future__ import annotations

from typing import Any

import apsw

from quire.storage.meta import get_meta

PARKED_DUE = "parked_due_ms"  # meta: the earliest time that a parked commit waits for
RETENTION_DUE = "retention_due_ms"  # meta: when to look next for what is to go
DOOMED = 4  # state of an attachment's file that was let go, and whose bytes are still to be removed


def waiting_exists(db: apsw.Connection) -> bool:
    """Does any operation wait for its target, or its time?"""
    return db.execute("SELECT 1 FROM waiting LIMIT 1").fetchone() is not None


def may_be_due(db: apsw.Connection) -> bool:
    """May anything wait whose time has come?"""
    return waiting_exists(db) or get_meta(db, PARKED_DUE) is not None


def any_doomed(db: apsw.Connection) -> bool:
    """Is there a file whose bytes are still to be removed?"""
    return db.execute(f"SELECT 1 FROM file WHERE state = {DOOMED} LIMIT 1").fetchone() is not None


def any_wished(db: apsw.Connection) -> bool:
    """Is a message to be erased that could not be when it was asked for?"""
    return db.execute("SELECT 1 FROM wished LIMIT 1").fetchone() is not None


def retention_due(db: apsw.Connection) -> int | None:
    """When something may be to go, in Unix ms, as it was noted; None if no channel ever had a policy."""
    due: int | None = get_meta(db, RETENTION_DUE)
    return due


def bounded_channels(db: apsw.Connection) -> list[int]:
    """Channels that any policy of letting go was ever set for."""
    rows: Any = db.execute(
        "SELECT channel FROM policy UNION SELECT channel FROM policy_here ORDER BY 1"
    ).fetchall()
    return [n for (n,) in rows]
