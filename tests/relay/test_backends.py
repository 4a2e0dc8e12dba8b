"""Every backend of the relay runs the one suite (`quire.testing.relay_suite`)."""

from __future__ import annotations

import os
from pathlib import Path

from quire.relay.backend import Backend, SqliteBackend
from quire.testing.relay_suite import BackendSuite, MemoryBackend


class TestSqlite(BackendSuite):
    def opened(self, folder: Path) -> Backend:
        return SqliteBackend(folder)


class TestMemory(BackendSuite):
    persists = False

    def opened(self, folder: Path) -> Backend:
        return MemoryBackend(os.urandom(16))


def test_every_setting_of_the_database_is_on(tmp_path: Path) -> None:
    """A script of several PRAGMAs stops at the first that gives a row: it once ran in another mode than it said."""
    backend = SqliteBackend(tmp_path)
    found = {name: backend._db.pragma(name) for name in ("journal_mode", "synchronous", "auto_vacuum")}
    assert found == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2}
    backend.close()
