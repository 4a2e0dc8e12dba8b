"""Control operations: who may do what, as it was signed. They stand in commits of their own (storage/log.py)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.commit import commit_id
from quire.core.operation import SALT_SIZE
from quire.errors import MalformedError
from quire.storage.database import inconsistent
from quire.storage.log import commit_at

if TYPE_CHECKING:
    from quire.core.control import ControlOperation


def insert_control(db: apsw.Connection, rows: Iterable[tuple[bytes, int, int, bytes]]) -> None:
    """(id, channel, kind, salt || operation) of control operations."""
    db.executemany("INSERT INTO control(id, channel, kind, op) VALUES(?,?,?,?)", rows)


def take_control(db: apsw.Connection, place: bytes) -> list[tuple[bytes, int, int, bytes]]:
    """Remove and return (id, channel, kind, salt || operation) of the control operations of the commit at a place."""
    rows: Any = db.execute(
        "DELETE FROM control WHERE id BETWEEN ? AND ? RETURNING id, channel, kind, op",
        (place + bytes(2), place + b"\xff\xff"),
    ).fetchall()
    return list(rows)


def set_control(db: apsw.Connection, id: bytes, op: bytes) -> None:
    """Another salt || operation for a control operation, with the same commitment."""
    db.execute("UPDATE control SET op = ? WHERE id = ?", (op, id))


def founding(db: apsw.Connection, channel: int) -> bytes:
    """The id of the operation that created a channel."""
    row: Any = db.execute("SELECT id FROM control WHERE channel = ? AND kind = 32", (channel,)).fetchone()
    if row is None:
        raise inconsistent("the founding of a channel")
    return bytes(row[0])


def control_rows(db: apsw.Connection, channel: int, kind: int | None = None) -> list[tuple[bytes, bytes]]:
    """(id, salt || operation) of a channel's control operations, or of those of one kind, in order of id."""
    where = "channel = ? AND kind = ?" if kind is not None else "channel = ?"
    values = (channel,) if kind is None else (channel, kind)
    rows: Any = db.execute(f"SELECT id, op FROM control WHERE {where} ORDER BY id", values).fetchall()
    return list(rows)


def has_kind(db: apsw.Connection, channel: int, kind: int) -> bool:
    """Has a channel any control operation of this kind?"""
    sql = "SELECT 1 FROM control WHERE channel = ? AND kind = ? LIMIT 1"
    return db.execute(sql, (channel, kind)).fetchone() is not None


def control_places(db: apsw.Connection, channel: int) -> dict[bytes, bytes]:
    """Control commit -> where it is: log prefix || seq."""
    places: Any = db.execute(
        "SELECT DISTINCT substr(id, 1, 14) FROM control WHERE channel = ?", (channel,)
    ).fetchall()
    heads = ((place, commit_at(db, place)) for (place,) in places)
    return {commit_id(head): bytes(place) for place, head in heads if head is not None}


def control_operation(db: apsw.Connection, id: bytes) -> ControlOperation | None:
    """A control operation that was checked when it was stored."""
    from quire.core.control import decode_control

    row: Any = db.execute("SELECT op FROM control WHERE id = ?", (id,)).fetchone()
    try:
        return decode_control(row[0][SALT_SIZE:]) if row else None
    except MalformedError:
        return None
