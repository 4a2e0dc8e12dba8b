"""From nothing to the newest page: in a running program, in a fresh process, and by the command line.

Every contender is closed before, so each opening also finds its WAL gone, as after a clean end.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.building import Built
from bench.floor import PAGE_SQL
from bench.measuring import FLOOR, OURS, SQLCIPHER, SQLITE, Row, process_ms, python
from bench.ours import PAGE, Spot
from bench.peers import PAGE_SQL as PEER_PAGE_SQL
from quire.core.crypto.secrets import RawKey
from quire.core.ids import channel_id_text
from quire.storage.database import Database
from quire.store.local import LocalStore

PART = "open"
ROUNDS, PROCESS_ROUNDS = 21, 11
NEWEST = (1 << 62, b"")
OURS_CODE = """
import sys
from quire import DatabaseKey, KeyFile, LocalStore, RawKey
folder, kind, key, channel = sys.argv[1:]
unlock = KeyFile(key) if kind == "file" else RawKey(DatabaseKey(bytes.fromhex(key)))
with LocalStore.open(folder, unlock) as store:
    page = store.get_channel_messages_paginated(bytes.fromhex(channel), limit=50)
sys.exit(not page.messages)
"""
PEER_CODE = """
import importlib, sys
module, file, key, sql, channel = sys.argv[1:]
db = importlib.import_module(module).connect(file)
if key:
    db.execute(key)
rows = db.execute(sql, (channel, 1 << 62, b"", 50, 0)).fetchall()
db.close()
sys.exit(not rows)
"""


def measure(built: Built, spot: Spot, raw_key: RawKey, scratch: Path) -> list[Row]:
    """Median times to the newest page of the largest channel; `built` is closed."""
    size = built.size
    found = [Row(PART, size, "open and newest 50, in process", "ms", _in_process(built, spot, raw_key))]
    ours, vault, channel = built.ours, str(built.ours.folder), channel_id_text(spot.channel_id)
    key = raw_key.key.reveal().hex()
    commands = {OURS: python(OURS_CODE, vault, "raw", key, channel)}
    modules = {SQLITE: "sqlite3", SQLCIPHER: "sqlcipher3.dbapi2"}
    for peer in built.peers:
        commands[peer.name] = python(
            PEER_CODE, modules[peer.name], peer.file, peer.key_sql, PEER_PAGE_SQL, spot.channel
        )
    found.append(
        Row(PART, size, "fresh process, raw key", "ms", process_ms(commands, PROCESS_ROUNDS, scratch))
    )
    plain = {SQLITE: commands[SQLITE]}
    for what, command in (
        ("fresh process, key file", python(OURS_CODE, vault, "file", ours.key_file, channel)),
        ("quire read", [_quire(), "--vault", vault, "--key-file", str(ours.key_file), "read", channel]),
    ):
        found.append(
            Row(PART, size, what, "ms", process_ms({OURS: command} | plain, PROCESS_ROUNDS, scratch))
        )
    return found


def _quire() -> str:
    return str(Path(sys.executable).with_name("quire"))


def _in_process(built: Built, spot: Spot, raw_key: RawKey) -> dict[str, float]:
    """Milliseconds; closing is not counted."""

    def ours() -> Callable[[], None]:
        store = LocalStore.open(built.ours.folder, raw_key)
        assert store.get_channel_messages_paginated(spot.channel_id, limit=PAGE).messages
        return store.close

    def floor() -> Callable[[], None]:
        database = Database(built.floor.file, built.floor.key)
        assert database.reader.execute(PAGE_SQL, (spot.channel_n, *NEWEST, PAGE, 0)).fetchall()
        return database.close

    taken: dict[str, list[float]] = {OURS: [], FLOOR: []}
    for _ in range(ROUNDS):
        for name, opened in ((OURS, ours), (FLOOR, floor)):
            start = time.perf_counter()
            close = opened()
            taken[name].append(time.perf_counter() - start)
            close()
    return {name: statistics.median(seconds) * 1e3 for name, seconds in taken.items()}
