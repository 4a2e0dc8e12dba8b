"""What a programmer would write instead: SQLite, plain or as SQLCipher, with the usual tables.

One table of messages with random 16-byte ids, an index for pages and one for threads, and FTS5 over the
bodies with external content; WAL and `synchronous=FULL`. They are given our batches, cache and checkpoint
sizes, which their users would have to find first; reads give bare tuples.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.data import Wanted
from bench.measuring import SQLCIPHER, SQLITE
from bench.ours import HITS, PAGE, Spot
from quire.exchange import model
from quire.storage.database import BULK_CACHE_KIB, BULK_CHECKPOINT_PAGES, CHECKPOINT_PAGES, READ_CACHE_KIB

KEY = "5b" * 32
OURS_TO_THEIR_PAGES = 2  # our pages are 8 KiB, theirs 4
SCHEMA = """
CREATE TABLE message(
  n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, channel TEXT NOT NULL, time INTEGER NOT NULL,
  author TEXT NOT NULL, body TEXT NOT NULL, root BLOB
);
CREATE INDEX message_page ON message(channel, time, id);
CREATE INDEX message_thread ON message(root, time) WHERE root IS NOT NULL;
CREATE VIRTUAL TABLE search USING fts5(body, content='message', content_rowid='n');
"""
COLUMNS = "m.id, m.channel, m.time, m.author, m.body, m.root"
PAGE_SQL = (
    f"SELECT {COLUMNS} FROM message m WHERE m.channel = ? AND (m.time, m.id) < (?, ?)"
    " ORDER BY m.time DESC, m.id DESC LIMIT ? OFFSET ?"
)
GET_SQL = f"SELECT {COLUMNS} FROM message m WHERE m.id = ?"
THREAD_SQL = f"SELECT {COLUMNS} FROM message m WHERE m.root = ? ORDER BY m.time LIMIT ?"
SEARCH_SQL = (
    f"SELECT {COLUMNS} FROM search s JOIN message m ON m.n = s.rowid WHERE search MATCH ? {{}}"
    f" ORDER BY s.rowid DESC LIMIT {HITS}"
)
NEWEST = (1 << 62, b"")


def peers(folder: Path) -> list[Peer]:
    """Those that this Python has: `sqlcipher3` comes with the `bench` dependencies."""
    found = [Peer(SQLITE, sqlite3, folder / "plain.db", "")]
    try:
        module = importlib.import_module("sqlcipher3").dbapi2
    except ImportError:
        return found
    return [*found, Peer(SQLCIPHER, module, folder / "sqlcipher.db", f"PRAGMA key=\"x'{KEY}'\"")]


class Peer:
    """A database with the usual tables."""

    def __init__(self, name: str, module: Any, file: Path, key_sql: str) -> None:
        self.name = name
        self.file = file
        self.key_sql = key_sql
        self.seconds = 0.0
        self.db: Any = module.connect(str(file), isolation_level=None)
        if key_sql:
            self.db.execute(key_sql)
        for statement in ("journal_mode=WAL", "synchronous=FULL", f"cache_size=-{BULK_CACHE_KIB}"):
            self.db.execute(f"PRAGMA {statement}")
        self.db.execute(f"PRAGMA wal_autocheckpoint={BULK_CHECKPOINT_PAGES * OURS_TO_THEIR_PAGES}")
        self.db.executescript(SCHEMA)
        self._numbers = itertools.count(1)

    def load(self, batch: list[model.Record]) -> None:
        """Write a batch, durably."""
        start = time.perf_counter()
        written = [
            (
                next(self._numbers), id_of(message.channel, message.id), message.channel, message.time_ms,
                message.author, message.body, id_of(message.channel, message.thread) if message.thread else None,
            )
            for message in batch if isinstance(message, model.Message)
        ]  # fmt: skip
        self._write(written)
        self.seconds += time.perf_counter() - start

    def send(self, channel: str, body: str) -> None:
        """One message, durably."""
        number, now = next(self._numbers), time.time_ns()
        id = id_of(channel, str(now))
        self._write([(number, id, channel, now // 1_000_000, "me", body, None)])

    def _write(self, written: list[tuple[Any, ...]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany("INSERT INTO message VALUES(?,?,?,?,?,?,?)", written)
        found = [(row[0], row[5]) for row in written]
        self.db.executemany("INSERT INTO search(rowid, body) VALUES(?,?)", found)
        self.db.execute("COMMIT")

    def finish(self) -> None:
        start = time.perf_counter()
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.seconds += time.perf_counter() - start
        self.db.execute(f"PRAGMA cache_size=-{READ_CACHE_KIB}")
        self.db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")

    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.file.parent.glob(self.file.name + "*"))

    def close(self) -> None:
        self.db.close()

    # Reading

    def page(self, spot: Spot, *, newest: bool = False) -> Callable[[], object]:
        place = NEWEST if newest else (spot.time >> 16, id_of(spot.channel, spot.original))
        run = self.db.execute
        return lambda: run(PAGE_SQL, (spot.channel, *place, PAGE, 0)).fetchall()

    def at_offset(self, spot: Spot, offset: int) -> Callable[[], object]:
        run = self.db.execute
        return lambda: run(PAGE_SQL, (spot.channel, *NEWEST, PAGE, offset)).fetchall()

    def get(self, spot: Spot) -> Callable[[], object]:
        run, id = self.db.execute, (id_of(spot.channel, spot.original),)
        return lambda: run(GET_SQL, id).fetchone()

    def thread(self, root: Spot) -> Callable[[], object]:
        run, id = self.db.execute, id_of(root.channel, root.original)
        return lambda: (run(GET_SQL, (id,)).fetchone(), run(THREAD_SQL, (id, PAGE)).fetchall())

    def search(self, wanted: Wanted, kind: str, spot: Spot) -> Callable[[], object]:
        run = self.db.execute
        match = f'"{wanted.phrase}"' if kind == "phrase" else f'"{wanted.word}"'
        also, more = "", tuple[str, ...]()
        if kind == "word in a channel":
            also, more = "AND m.channel = ?", (spot.channel,)
        elif kind == "word from an author":
            also, more = "AND m.author = ?", (wanted.author,)
        sql = SEARCH_SQL.format(also)
        return lambda: run(sql, (match, *more)).fetchall()


def id_of(channel: str, original: str) -> bytes:
    """An id that is random in effect, and the same wherever the message is named."""
    return hashlib.sha256(f"{channel}\0{original}".encode()).digest()[:16]
