"""Small files that are old or new and never between, and a lock that dies with its process.

A replacement is written beside the file, flushed to the disk, renamed over it, and the folder flushed
too: a kill or a power cut at any point leaves one whole version. The lock is `flock` on a file of its
own (the data file itself is renamed away under any lock on it); the kernel drops it when its holder
dies, so there is no stale lock to clean up. What is made under a name of its own, to be renamed when it is
whole, is locked likewise: so what a killed process left there is known, and taken away by the next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from quire.errors import BusyError, FullError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

LOCK_WAIT_S = 5.0  # what is done under a lock takes milliseconds, except a rekey
LOCK_POLL_S = 0.02
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, atomically and durably, readable by its owner only. Hold the lock meanwhile.

    Raises: FullError, StorageError(rule="file_unwritable"); the old file is then untouched.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.unlink(missing_ok=True)  # of a process that was killed
        _write_new(temporary, data)
        os.replace(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise write_error(path, error) from error


@contextlib.contextmanager
def beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """A new empty file or folder beside `path`, to be filled and renamed to it; gone afterwards if it was not.

    Raises: OSError.
    """
    import glob  # with `shutil` below, milliseconds that opening a vault need not wait for

    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        _take_away_if_left(left)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    if folder:
        fresh.mkdir(mode=0o700)
        file = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    else:
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: then nothing is ever taken away
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fresh
    finally:
        _remove(fresh)
        os.close(file)


def _take_away_if_left(path: Path) -> None:
    with contextlib.suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path)
        finally:
            os.close(file)


def _remove(path: Path) -> None:
    if path.is_dir():
        import shutil

        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def create_file(path: Path, data: bytes) -> None:
    """Put `data` in a new file, durably, readable by its owner only. Raises: FileExistsError, as above."""
    try:
        _write_new(path, data)
        flush_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> StorageError:
    """What an `OSError` while writing means to the user."""
    message = f"cannot write {path.name}: {error.strerror}"
    if error.errno in _NO_ROOM:
        return FullError(
            message, rule="disk_full", hint="make room, or make the disk writable", path=str(path)
        )
    return StorageError(
        message, rule="file_unwritable", hint="check the folder's permissions", path=str(path)
    )


class FileLock:
    """An exclusive lock between processes (and between threads), held until `release` or death.

    Raises: BusyError(rule="locked") if another holds it for longer than `wait_s` (default: LOCK_WAIT_S).
    """

    def __init__(self, path: Path, wait_s: float | None = None) -> None:
        self._file: int | None = None
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise write_error(path, error) from error
        try:
            _lock(file, LOCK_WAIT_S if wait_s is None else wait_s)
        except BaseException:
            os.close(file)
            raise
        self._file = file

    @property
    def held(self) -> bool:
        return self._file is not None

    def release(self) -> None:
        """Let others in; twice is once."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


def _lock(file: int, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StorageError(f"cannot lock: {error.strerror}", rule="lock_unsupported") from error
            if time.monotonic() >= deadline:
                message = "another process is changing the keys"
                raise BusyError(message, rule="locked", hint="try again when it is done") from error
        time.sleep(LOCK_POLL_S)


def _write_new(path: Path, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        flush_file(file)
    finally:
        os.close(file)


def flush_folder(folder: Path | str) -> None:
    """Let what was renamed in a folder last."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flush_file(file)
    finally:
        os.close(file)


def flush_file(file: int) -> None:
    """Let what was written to an open file or folder last."""
    os.fsync(file)
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS, whose fsync stops at the drive's own cache
        with contextlib.suppress(OSError):  # not every file system there has it
            fcntl.fcntl(file, full)
