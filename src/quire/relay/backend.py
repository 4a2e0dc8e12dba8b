"""Where a relay keeps items. One interface, narrow enough for a message queue of many machines; SQLite now.

Its suite is testing/relay_suite.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import apsw
import msgspec

from quire.core.relay_frames import RELAY_ID_SIZE
from quire.errors import BusyError, FullError, NotFoundError, StorageError

FILE_NAME = "relay.db"
BUSY_MS = 10_000  # for a backup that begins or ends
EXPIRE_BATCH = 500  # items that go in one transaction, so that no put waits long
ITEMS_OF = "SELECT cursor, data FROM item WHERE mailbox = (SELECT n FROM mailbox WHERE name = ?)"
SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE mailbox(n INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, bytes INTEGER NOT NULL) STRICT;
CREATE TABLE item(
  cursor INTEGER PRIMARY KEY AUTOINCREMENT, mailbox INTEGER NOT NULL, hash BLOB NOT NULL, stored_ms INTEGER NOT NULL,
  data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX item_hash ON item(mailbox, hash);
CREATE INDEX item_place ON item(mailbox, cursor);
CREATE INDEX item_age ON item(stored_ms);
PRAGMA user_version=1;
"""


class Kept(msgspec.Struct, frozen=True):
    """An item as it is kept."""

    cursor: int
    data: bytes


class Usage(msgspec.Struct, frozen=True):
    """How much there is."""

    mailboxes: int
    bytes: int


class Backend(Protocol):
    """Keeps items. Its methods block; a relay calls them from threads, one at a time.

    Cursors grow within one mailbox; nothing compares those of two, and none comes again once its item is gone.
    """

    relay: bytes  # 16 bytes: cursors belong to it

    def put(self, items: Sequence[tuple[bytes, bytes]], now_ms: int, mailbox_bytes_max: int) -> list[int]:
        """Keep (mailbox, data) of each; their cursors, once all are on disk. What is there already keeps its own.

        Raises: FullError, with nothing kept; StorageError.
        """
        ...

    def after(self, mailbox: bytes, cursor: int, items_max: int, bytes_max: int) -> list[Kept]:
        """The items of a mailbox after a cursor, in order; at least one if there is any."""
        ...

    def before(self, mailbox: bytes, cursor: int, after: int, items_max: int, bytes_max: int) -> list[Kept]:
        """The items between two cursors, the newest first; at least one if there is any.

        What keeps a log that is read forwards only reads a stretch before the cursor and turns it round, and one twice
        as long before that while nothing was in it.
        """
        ...

    def expire(self, before_ms: int) -> int:
        """Drop some of the items that are older; how many. 0: there are none."""
        ...

    def usage(self) -> Usage:
        """How much there is."""
        ...

    def backup(self, path: Path) -> None:
        """A copy of this moment, as a new file, while everything goes on."""

    def close(self) -> None:
        """End. Whatever was acknowledged is on disk."""


class SqliteBackend:
    """One file in a folder. It holds nothing secret, so it is not encrypted: items are."""

    def __init__(self, folder: Path) -> None:
        """Raises: StorageError."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._hold = _held(folder / "relay.lock")
            self._db = apsw.Connection(str(folder / FILE_NAME))
            self._lock = threading.Lock()
            self._db.set_busy_timeout(BUSY_MS)
            # One at a time: of several that give rows, a call runs the first only.
            for setting in (
                "auto_vacuum=INCREMENTAL",
                "journal_mode=WAL",
                "synchronous=FULL",
                "cache_size=-65536",
            ):
                self._db.execute(f"PRAGMA {setting}").fetchall()
            with self._db:
                if not self._db.pragma("user_version"):
                    self._db.execute(SCHEMA)
                    self._db.execute("INSERT INTO meta VALUES('relay', ?)", (os.urandom(RELAY_ID_SIZE),))
            row: Any = self._db.execute("SELECT value FROM meta WHERE key = 'relay'").fetchone()
            self.relay = bytes(row[0])
        except apsw.BusyError as error:
            raise BusyError(f"another relay uses {folder}", rule="relay_folder_taken") from error
        except (OSError, apsw.Error) as error:
            raise StorageError(f"cannot keep items in {folder}: {error}", rule="relay_folder") from error

    def put(self, items: Sequence[tuple[bytes, bytes]], now_ms: int, mailbox_bytes_max: int) -> list[int]:
        try:
            with self._lock, self._db:
                cursors = [self._put(name, data, now_ms, mailbox_bytes_max) for name, data in items]
        except (apsw.FullError, apsw.IOError) as error:
            raise FullError("the relay's disk is full", rule="relay_full") from error
        except apsw.Error as error:
            raise StorageError(
                f"the relay's database failed: {type(error).__name__}", rule="database"
            ) from error
        return cursors

    def _put(self, name: bytes, data: bytes, now_ms: int, bytes_max: int) -> int:
        self._db.execute("INSERT INTO mailbox(name, bytes) VALUES(?, 0) ON CONFLICT DO NOTHING", (name,))
        row: Any = self._db.execute("SELECT n, bytes FROM mailbox WHERE name = ?", (name,)).fetchone()
        mailbox, held = row
        digest = hashlib.sha256(data).digest()
        known: Any = self._db.execute(
            "SELECT cursor FROM item WHERE mailbox = ? AND hash = ?", (mailbox, digest)
        ).fetchone()
        if known:
            return int(known[0])
        self._db.execute(
            "INSERT INTO item(mailbox, hash, stored_ms, data) VALUES(?,?,?,?)",
            (mailbox, digest, now_ms, data),
        )
        cursor = self._db.last_insert_rowid()
        held += len(data)
        while held > bytes_max:
            gone: Any = self._db.execute(
                "DELETE FROM item WHERE cursor = (SELECT min(cursor) FROM item WHERE mailbox = ?)"
                " AND cursor < ? RETURNING length(data)",
                (mailbox, cursor),
            ).fetchall()
            if not gone:
                break
            held -= gone[0][0]
        self._db.execute("UPDATE mailbox SET bytes = ? WHERE n = ?", (held, mailbox))
        return cursor

    def after(self, mailbox: bytes, cursor: int, items_max: int, bytes_max: int) -> list[Kept]:
        sql = f"{ITEMS_OF} AND cursor > ? ORDER BY cursor LIMIT ?"
        return self._page(sql, (mailbox, cursor, items_max), bytes_max)

    def before(self, mailbox: bytes, cursor: int, after: int, items_max: int, bytes_max: int) -> list[Kept]:
        sql = f"{ITEMS_OF} AND cursor < ? AND cursor > ? ORDER BY cursor DESC LIMIT ?"
        return self._page(sql, (mailbox, cursor, after, items_max), bytes_max)

    def _page(self, sql: str, values: tuple[bytes | int, ...], bytes_max: int) -> list[Kept]:
        found: list[Kept] = []
        with self._lock:
            rows: Any = self._db.execute(sql, values)
            for place, data in rows:
                found.append(Kept(place, data))
                bytes_max -= len(data)
                if bytes_max <= 0:
                    break
        return found

    def expire(self, before_ms: int) -> int:
        with self._lock, self._db:
            gone: Any = self._db.execute(
                "DELETE FROM item WHERE cursor IN (SELECT cursor FROM item WHERE stored_ms < ? ORDER BY stored_ms LIMIT ?)"
                " RETURNING mailbox, length(data)",
                (before_ms, EXPIRE_BATCH),
            ).fetchall()
            self._db.executemany(
                "UPDATE mailbox SET bytes = bytes - ?2 WHERE n = ?1",
                [(mailbox, size) for mailbox, size in gone],
            )
            self._db.execute("DELETE FROM mailbox WHERE bytes = 0 AND n IN carray(?)", (_carray(gone),))
            self._db.execute("PRAGMA incremental_vacuum(1000)")
        return len(gone)

    def usage(self) -> Usage:
        with self._lock:
            row: Any = self._db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM mailbox").fetchone()
            return Usage(*row)

    def backup(self, path: Path) -> None:
        if path.exists():
            raise StorageError(f"{path} exists already", rule="backup_exists")
        target = apsw.Connection(str(path))
        try:
            with target.backup("main", self._db, "main") as copying:
                while not copying.done:
                    with self._lock:
                        copying.step(256)
        finally:
            target.close()

    def close(self) -> None:
        with self._lock:
            self._db.close()
            self._hold.close()


def back_up(folder: Path, path: Path) -> None:
    """A copy of a relay's items, as they are at this moment, as a new file; the relay may go on meanwhile.

    Raises: NotFoundError(rule="no_relay"), StorageError with rule "backup_exists" or "backup_failed".
    """
    source = folder / FILE_NAME
    if not source.is_file():
        raise NotFoundError(f"there is no relay in {folder}", rule="no_relay")
    if path.exists():
        raise StorageError(f"{path} exists already", rule="backup_exists", hint="give the name of a new file")
    try:
        reader = apsw.Connection(
            str(source), flags=apsw.SQLITE_OPEN_READWRITE
        )  # of a WAL, readers write its index
        with contextlib.closing(reader), contextlib.closing(apsw.Connection(str(path))) as target:
            reader.set_busy_timeout(BUSY_MS)
            target.execute("PRAGMA synchronous=FULL")
            with target.backup("main", reader, "main") as copying:
                copying.step(-1)  # in one read transaction: what comes meanwhile is not in it
    except apsw.Error as error:
        path.unlink(missing_ok=True)
        raise StorageError(f"the copy failed: {error}", rule="backup_failed") from error


def _held(path: Path) -> apsw.Connection:
    """A lock on a folder for as long as this connection is open; a killed process leaves none. Raises: apsw.BusyError."""
    hold = apsw.Connection(str(path))
    try:
        hold.set_busy_timeout(0)
        hold.execute("BEGIN EXCLUSIVE")
    except BaseException:
        hold.close()
        raise
    return hold


def _carray(rows: Any) -> Any:
    return apsw.carray(array("q", sorted({mailbox for mailbox, _ in rows} or {0})))
