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
