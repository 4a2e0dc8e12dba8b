"""What a vault knows of itself, by name: the table `meta`."""

from __future__ import annotations

from typing import Any

import apsw


def get_meta(db: apsw.Connection, key: str) -> Any:
    """A value of this vault, or None."""
    row: Any = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def set_meta(db: apsw.Connection, key: str, value: bytes | int | str) -> None:
    db.execute("INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)", (key, value))
