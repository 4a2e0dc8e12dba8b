"""What is in commits: their operations, whichever table a row is in by now, and the commitments of those destroyed."""

from __future__ import annotations

from typing import Any

import apsw

from quire.storage.cold import whole, whole_or_reference


def commit_operations(db: apsw.Connection, prefix: bytes, seq: int) -> list[tuple[bytes, bytes]]:
    """(id, salt || operation) of what is here of one commit, in order."""
    bounds = _bounds(prefix, seq)
    rows: list[tuple[bytes, bytes]] = []
    for table in ("message", "operation", "control", "waiting", "voided"):
        found: Any = db.execute(f"SELECT id, {whole('op')} FROM {table} WHERE id BETWEEN ? AND ?", bounds)
        rows.extend(found)
    holes: Any = db.execute("SELECT id FROM destroyed WHERE id BETWEEN ? AND ?", bounds).fetchall()
    if holes:
        gone = {id for (id,) in holes}
        rows = [row for row in rows if row[0] not in gone]
    rows.sort()
    return rows


def commit_ids(db: apsw.Connection, prefix: bytes, seq: int) -> list[bytes]:
    """The ids of all operations of one commit, in order, destroyed ones too."""
    sql = " UNION ".join(
        f"SELECT id FROM {table} WHERE id BETWEEN ?1 AND ?2"
        for table in ("message", "operation", "control", "waiting", "voided", "destroyed")
    )
    rows: Any = db.execute(f"{sql} ORDER BY 1", _bounds(prefix, seq)).fetchall()
    return [id for (id,) in rows]


def operations_between(
    db: apsw.Connection, prefix: bytes, first: int, last: int
) -> dict[int, tuple[list[bytes], dict[int, int]]]:
    """seq -> of each content operation in it, in order, salt || operation, or the commitment of what was destroyed;
    and of the latter place -> why. What is archived out of reach is its reference (storage/cold.py)."""
    bounds = (prefix + first.to_bytes(4, "big") + b"\0\0", prefix + last.to_bytes(4, "big") + b"\xff\xff")
    rows: list[tuple[bytes, bytes]] = []
    for table in ("message", "operation", "waiting", "voided"):
        sql = f"SELECT id, {whole_or_reference('op')} FROM {table} WHERE id BETWEEN ? AND ?"
        found: Any = db.execute(sql, bounds).fetchall()
        rows += found
    holes: Any = db.execute("SELECT id, commitment, why FROM destroyed WHERE id BETWEEN ? AND ?", bounds)
    operations: dict[int, tuple[list[bytes], dict[int, int]]] = {}
    gone: dict[bytes, int] = {}
    entries = dict(rows)
    for id, commitment, why in holes:
        entries[id], gone[id] = commitment, why
    for id in sorted(entries):
        some, away = operations.setdefault(int.from_bytes(id[10:14], "big"), ([], {}))
        if id in gone:
            away[len(some)] = gone[id]
        some.append(entries[id])
    return operations


def _bounds(prefix: bytes, seq: int) -> tuple[bytes, bytes]:
    """The least and the greatest id that an operation of a commit can have."""
    low = prefix + seq.to_bytes(4, "big")
    return low + b"\0\0", low + b"\xff\xff"


def operations_with_ids(db: apsw.Connection, channel: int, kind: int) -> list[tuple[bytes, bytes]]:
    """(id, salt || operation) of a channel's standing operations of one kind."""
    rows: Any = db.execute(
        "SELECT id, op FROM operation WHERE channel = ? AND kind = ? AND void = 0", (channel, kind)
    ).fetchall()
    return list(rows)


def introduction(db: apsw.Connection, channel: int, author: str) -> bytes:
    """The operation by which somebody told a channel last what they are called; empty if they did not."""
    row: Any = db.execute(
        "SELECT id FROM operation WHERE channel = ? AND kind = 10 AND author = (SELECT n FROM author WHERE key = ?)"
        " ORDER BY time DESC, id DESC LIMIT 1",
        (channel, author),
    ).fetchone()
    return bytes(row[0]) if row else b""


def introduced(db: apsw.Connection, channel: int, author: str) -> bool:
    """Has somebody told a channel what they are called?"""
    sql = "SELECT 1 FROM operation WHERE channel = ? AND kind = 10 AND author = (SELECT n FROM author WHERE key = ?)"
    return db.execute(sql, (channel, author)).fetchone() is not None
