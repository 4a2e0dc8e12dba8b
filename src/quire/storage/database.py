"""The one encrypted SQLite file: connections, pragmas, transactions, and what its errors mean.

Each thread reads on a connection of its own (WAL: readers never wait); one connection writes, under a
lock, in `BEGIN IMMEDIATE` transactions with `synchronous=FULL`, so what is committed is on disk. The
cipher is AEGIS-256: every page is authenticated. A raw key of the wrong length would silently be taken
for a passphrase, and a build without the cipher would silently ignore it: both are checked here.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar
from weakref import WeakSet

import apsw

from quire.core.crypto.secrets import DatabaseKey
from quire.errors import BusyError, CorruptError, FullError, QuireError, StorageError
from quire.storage.cold import Blocks

if TYPE_CHECKING:
    from pathlib import Path

    from quire.storage.reserve import Reserve

AEGIS_256 = 4  # its number among the cipher's algorithms
PAGE_SIZE = 8192  # measured: a third faster to fill than 4 KiB at a million messages, reads alike
BUSY_MS = 30_000  # how long a writer waits for another process before BusyError
READ_CACHE_KIB = 16 << 10
WRITE_CACHE_KIB = 32 << 10
BULK_CACHE_KIB = 96 << 10  # an import keeps the inner pages of its trees in memory
BULK_CHECKPOINT_PAGES = 8_000  # 64 MiB of WAL between checkpoints while importing
CHECKPOINT_PAGES = 1_000
WATCH_SECONDS = 0.1  # how often a rekey tells how far it is

Statement: TypeAlias = tuple[str, tuple[Any, ...]]  # SQL and its values

P = ParamSpec("P")
R = TypeVar("R")

fault_hook: Callable[[str], None] | None = None  # a test sets it, to kill the process at a point


def fault(point: str) -> None:
    """A place between two groups of statements, where a crash must do no harm."""
    if fault_hook is not None:
        fault_hook(point)


def translate(error: apsw.Error) -> QuireError:
    """The storage error a database error means."""
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return BusyError("another process is writing to this vault", rule="busy", hint="try again")
    if isinstance(error, apsw.FullError):
        return FullError("the disk is full; nothing was changed", rule="disk_full", hint="free some space")
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError | apsw.CantOpenError):
        return FullError(
            "the vault's folder cannot be written", rule="read_only", hint="check its permissions"
        )
    extended = getattr(error, "extendedresult", 0)
    damaged = isinstance(error, apsw.CorruptError | apsw.NotADBError) or extended in (
        apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS,
    )  # fmt: skip
    if damaged:
        return CorruptError(
            "the vault's file is damaged: a page is not what was written",
            rule="page_damaged",
            hint="run `quire doctor`; restore a backup if it cannot repair",
        )
    if isinstance(error, apsw.IOError):
        return StorageError(
            f"the disk failed: {error}", rule="disk_io", hint="check the disk; nothing was lost"
        )
    return StorageError(f"the database failed: {type(error).__name__}: {error}", rule="database")


def inconsistent(what: str) -> CorruptError:
    """What another table speaks of is gone: an old page was put back, or a bug left the views unequal."""
    return CorruptError(
        f"{what} that the views name is missing",
        rule="views_inconsistent",
        hint="run `quire doctor --repair`",
    )


def guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Let no database error out untranslated."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except apsw.Error as error:
            raise translate(error) from error

    return wrapper


@contextmanager
def one_moment(db: apsw.Connection) -> Iterator[None]:
    """All that is read inside is of one moment, whatever others write meanwhile."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def run_all(connection: apsw.Connection, script: str) -> None:
    """Every statement of a script. `execute` alone stops at the first that gives a row, as many a PRAGMA does."""
    for _ in connection.execute(script):
        pass


class Database:
    """The file, opened. Thread-safe; several processes may have it open at once."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        key: DatabaseKey,
        *,
        read_only: bool = False,
        vfs: str | None = None,
    ) -> None:
        self.file = os.fspath(path)
        self.read_only = read_only
        self.key = key
        self._vfs = vfs
        self.blocks = Blocks(os.path.dirname(self.file))
        self._local = threading.local()
        self._readers: WeakSet[apsw.Connection] = WeakSet()  # one goes with its thread
        self._guard = threading.Lock()
        self._writer: apsw.Connection | None = None
        self._write_lock = threading.RLock()
        self._reserve: Reserve | None = None

    @property
    def path(self) -> Path:
        """The file, for those who look around it: `pathlib` is a tenth of what opening costs."""
        from pathlib import Path

        return Path(self.file)

    def connect(self, *, create: bool = False) -> apsw.Connection:
        """A new keyed connection. Raises: CorruptError if the file does not open with its key."""
        flags = apsw.SQLITE_OPEN_READONLY if self.read_only else apsw.SQLITE_OPEN_READWRITE
        if create:
            flags |= apsw.SQLITE_OPEN_CREATE
        connection = apsw.Connection(self.file, flags=flags, vfs=self._vfs, statementcachesize=128)
        if create:
            connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
        connection.set_busy_timeout(BUSY_MS)  # first: after a kill, whoever comes first repairs the WAL
        apply_key(connection, self.key)
        if create:  # so that freed pages go back to the file system a few at a time (store/pruning.py)
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        self.blocks.register(connection)
        # Otherwise this build plans a statement anew whenever another place or limit is bound to it: 15 us.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        run_all(
            connection,
            "PRAGMA synchronous=FULL; PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;"
            f"PRAGMA cache_size=-{READ_CACHE_KIB}; PRAGMA trusted_schema=OFF",
        )
        return connection

    @property
    def reader(self) -> apsw.Connection:
        """This thread's reading connection."""
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self.connect()
            with self._guard:
                self._readers.add(connection)
        return connection

    @property
    def writer(self) -> apsw.Connection:
        """The writing connection; hold the write lock (`transaction`) to use it."""
        if self._writer is None:
            if self.read_only:
                raise FullError("this vault was opened for reading only", rule="read_only")
            self._writer = self.connect()
            self._writer.execute(
                f"PRAGMA cache_size=-{WRITE_CACHE_KIB}; PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}"
            )
        return self._writer

    @contextmanager
    def transaction(
        self, meanwhile: Callable[[], None] | None = None, last: Sequence[Statement] = ()
    ) -> Iterator[apsw.Connection]:
        """One write transaction: all of it is on disk when this returns, or none of it ever is.

        meanwhile    called in this thread while another carries out what is `last`, and waits for the disk; it
                     must not touch the connection
        last         what is to be done just before the end
        """

        def end() -> None:
            for statement in last:
                connection.execute(*statement)
            if self._reserve is not None:
                self._reserve.keep()
            connection.execute("COMMIT")

        with self._write_lock:
            connection = self.writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                fault("before_commit")
                if meanwhile is None:
                    end()
                else:
                    _beside(end, meanwhile)
                fault("after_commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def keep_room(self) -> None:
        """From now on many small transactions come: the log is to have room for them (storage/reserve.py)."""
        if self._vfs is None:
            from quire.storage.reserve import Reserve

            self._reserve = Reserve(self.file, CHECKPOINT_PAGES * PAGE_SIZE)

    @contextmanager
    def snapshot(self) -> Iterator[apsw.Connection]:
        """A reading transaction: all that is read inside is of one moment."""
        connection = self.reader
        with one_moment(connection):
            yield connection

    @contextmanager
    def bulk(self, cache_kib: int = BULK_CACHE_KIB) -> Iterator[None]:
        """Settings for an import: more cache, rarer checkpoints."""
        with self._write_lock:
            self.writer.execute(
                f"PRAGMA cache_size=-{cache_kib}; PRAGMA wal_autocheckpoint={BULK_CHECKPOINT_PAGES}"
            )
        try:
            yield
        finally:
            with self._write_lock:
                self.writer.execute(
                    f"PRAGMA cache_size=-{WRITE_CACHE_KIB}; PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}"
                )
                self.checkpoint()

    def checkpoint(self) -> bool:
        """Move the WAL into the file and empty it; False if a reader holds it back."""
        with self._write_lock:
            found: Any = self.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return found is None or found[0] == 0

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        """While this goes on no commit of this process moves the WAL into the file: `checkpoint_beside` does, now and then."""
        with self._write_lock:
            self.writer.execute(f"PRAGMA wal_autocheckpoint={BULK_CHECKPOINT_PAGES}")
        try:
            yield
        finally:
            with self._write_lock:
                self.writer.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")

    def checkpoint_beside(self, pages: int = CHECKPOINT_PAGES) -> None:
        """Move the WAL into the file once it has so many pages more. Others write meanwhile; they wait only at the end,
        for the few pages that they added, so that the WAL begins anew."""
        _, written, moved = self._checkpoint(self.reader, "NOOP")
        if written - moved >= pages:
            self._checkpoint(self.reader, "PASSIVE")
            with self._write_lock:
                self._checkpoint(self.writer, "PASSIVE")

    @staticmethod
    def _checkpoint(connection: apsw.Connection, mode: str) -> tuple[int, int, int]:
        """(1 if it was kept from it, pages in the WAL, of these in the file)."""
        found: Any = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        busy, written, moved = found
        return busy, written, moved

    def rekey(self, key: DatabaseKey, progress: Callable[[str, int, int], None] | None = None) -> None:
        """Re-encrypt every page under a new key, in one transaction; BusyError if anyone else has it open.

        progress    told, in this thread, how many pages of how many are written under the new key: the WAL, which was empty,
                    has just these
        """
        with self._write_lock:
            self.close()
            self.writer.set_busy_timeout(1_000)
            run_all(self.writer, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")
            self.checkpoint()
            pages, done = int(self.writer.pragma("page_count")), threading.Event()

            def work() -> None:
                try:
                    self.writer.execute(f'PRAGMA rekey="raw:{key.reveal().hex()}"')
                    self.key = key
                finally:
                    done.set()

            if progress is None:
                work()
            else:
                progress("pages", 0, pages)
                _beside(work, lambda: self._watch(progress, pages, done))
                progress("pages", pages, pages)
                progress("into place", 0, 0)  # the WAL into the file, when its last connection closes
            self.close()

    def _watch(self, progress: Callable[[str, int, int], None], pages: int, done: threading.Event) -> None:
        """Until it is done, tell how long the WAL is: it was empty, and gets every page once."""
        while not done.wait(WATCH_SECONDS):
            with suppress(FileNotFoundError):
                progress("pages", min(os.stat(self.file + "-wal").st_size // (PAGE_SIZE + 24), pages), pages)

    def close_readers(self) -> None:
        with self._guard:
            for connection in self._readers:
                connection.close()
            self._readers.clear()
            self._local = threading.local()

    def close(self) -> None:
        """Close every connection. The last one out moves the WAL into the file."""
        self.close_readers()
        with self._write_lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None


def _beside(slow: Callable[[], object], meanwhile: Callable[[], None]) -> None:
    """Do both at once; `slow` in a thread of its own, and its error first."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            slow()
        except BaseException as error:  # handed to the caller's thread below
            failed.append(error)

    thread = threading.Thread(target=run, name="quire-commit")
    thread.start()
    try:
        meanwhile()
    finally:
        thread.join()
        if failed:
            raise failed[0]


def apply_key(connection: apsw.Connection, key: DatabaseKey, schema: str = "main") -> None:
    """Key a connection (or an attached file) and prove that the cipher is on.

    Raises: CorruptError(rule="not_a_vault") if the file is something else, or under another key.
    """
    connection.execute(f"PRAGMA {schema}.cipher='aegis'")
    answer: Any = connection.execute(f'PRAGMA {schema}.key="raw:{key.reveal().hex()}"').fetchone()
    try:
        connection.execute(f"SELECT count(*) FROM {schema}.sqlite_master").fetchone()
    except apsw.NotADBError as error:
        raise CorruptError(
            "the vault's file does not open with its key: it is damaged, or of another vault",
            rule="not_a_vault",
            hint="restore the file and its slots from one backup",
        ) from error
    algorithm: Any = connection.execute("SELECT sqlite3mc_config('aegis', 'algorithm')").fetchone()
    if answer != ("ok",) or algorithm != (AEGIS_256,):
        raise StorageError("this SQLite has no AEGIS-256", rule="cipher_missing", hint="reinstall Quire")
