"""The vault's folder of attachments: sealed files by their ids, what is still coming, and what is being made.

    attachments/ab/cdef…    whole files, named by their ids; never changed once they are there
    attachments/part/…      what has come of one so far: whole pieces from the first on
    attachments/new/…       what is being sealed
    attachments/lock        held shared by who makes files and has not yet noted them in the vault

A file is flushed, renamed to its name, and its folder flushed, before the vault speaks of it. What a killed process left
between is known by nobody: a sign in `new` tells of it, and the next opening takes it
away unless somebody holds the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from quire.core.ids import FileId
from quire.core.sealed_file import PIECE_SIZE, file_id, piece_hash
from quire.errors import CorruptError, StorageError
from quire.storage.files import flush_file, flush_folder, write_error

FOLDER = "attachments"
NEW, PART, LOCK = "new", "part", "lock"


class SealedFiles:
    """The folder. Thread-safe; several processes may use it at once."""

    def __init__(self, vault: str) -> None:
        self.folder = os.path.join(vault, FOLDER)

    # Whole files

    def size(self, id: bytes) -> int | None:
        """Bytes of a whole sealed file, None if it is not here."""
        try:
            return os.stat(self._path(id)).st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise read_error(error) from error

    def open(self, id: bytes) -> SealedFile:
        """Raises: CorruptError(rule="attachment_missing")."""
        try:
            return SealedFile(open(self._path(id), "rb"))
        except FileNotFoundError:
            raise CorruptError(
                "an attachment's file is missing from the vault",
                rule="attachment_missing",
                hint="`quire doctor --repair` asks others for it; a backup may have it",
            ) from None
        except OSError as error:
            raise read_error(error) from error

    def remove(self, id: bytes) -> None:
        """Take away a file, and what had come of it; nothing if there is none."""
        _remove(self._path(id))
        self.remove_part(id)

    def remove_part(self, id: bytes) -> None:
        """Take away what had come of a file."""
        _remove(self._part(id))

    # Making

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """While this lasts, nothing that is made is taken for a leftover. Ends when the vault knows of it."""
        self._ensure("")
        path = os.path.join(self.folder, LOCK)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise write_error_at(path, error) from error
        self._ensure(NEW)
        sign = os.path.join(self.folder, NEW, f"{os.getpid()}-{secrets.token_hex(8)}.sign")
        try:
            with contextlib.suppress(OSError):  # a file system without locks: then nothing is ever taken away
                fcntl.flock(file, fcntl.LOCK_SH)
            os.close(
                _create(sign)
            )  # whoever finds it, and nobody making anything, knows that there was a kill
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(sign)
            os.close(file)

    @contextlib.contextmanager
    def new(self) -> Iterator[NewFile]:
        """A file to be made, inside `making`; gone afterwards if it was not kept."""
        self._ensure(NEW)
        path = os.path.join(self.folder, NEW, secrets.token_hex(16))
        fresh = NewFile(self, path)
        try:
            yield fresh
        except OSError as error:
            raise write_error_at(path, error) from error
        finally:
            fresh.close()

    def place(self, path: str, id: bytes) -> None:
        """Give a flushed file its name, durably."""
        target = self._path(id)
        try:
            self._ensure(id.hex()[:2])
            os.replace(path, target)
            for folder in dict.fromkeys((os.path.dirname(target), os.path.dirname(path))):
                flush_folder(folder)
        except OSError as error:
            raise write_error_at(target, error) from error

    # What is coming

    def part_size(self, id: bytes) -> int:
        """Bytes that have come of a file."""
        try:
            return os.stat(self._part(id)).st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise read_error(error) from error

    @contextlib.contextmanager
    def part(self, id: bytes) -> Iterator[PartFile | None]:
        """What has come of a file, to add to it; None if another process is at it."""
        self._ensure(PART)
        path = self._part(id)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise write_error_at(path, error) from error
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fresh = os.fstat(file).st_nlink > 0  # else it was finished between
            except OSError:
                fresh = False
            yield PartFile(self, path, file, id) if fresh else None
        except OSError as error:
            raise write_error_at(path, error) from error
        finally:
            os.close(file)

    # Care

    def whole(self) -> Iterator[FileId]:
        """All whole files."""
        for folder in self._names(self.folder):
            if len(folder) == 2:
                for name in self._names(os.path.join(self.folder, folder)):
                    with contextlib.suppress(ValueError):
                        yield FileId(bytes.fromhex(folder + name))

    def parts(self) -> Iterator[FileId]:
        """All that are coming."""
        for name in self._names(os.path.join(self.folder, PART)):
            with contextlib.suppress(ValueError):
                yield FileId(bytes.fromhex(name))

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Is nobody making anything? While this lasts, nobody begins to."""
        path = os.path.join(self.folder, LOCK)
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            yield False  # no folder, or none of ours: nothing was ever made
            return
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True
        finally:
            os.close(file)

    def clear_new(self) -> int:
        """Take away what was being made; inside `alone`. How many."""
        folder = os.path.join(self.folder, NEW)
        count = 0
        for name in self._names(folder):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(folder, name))
                count += 1
        return count

    def _path(self, id: bytes) -> str:
        name = id.hex()
        return os.path.join(self.folder, name[:2], name[2:])

    def _part(self, id: bytes) -> str:
        return os.path.join(self.folder, PART, id.hex())

    def _ensure(self, name: str) -> None:
        """The folder, or one in it, made durably."""
        path = os.path.join(self.folder, name) if name else self.folder
        if os.path.isdir(path):
            return
        if name:
            self._ensure("")
        try:
            with contextlib.suppress(FileExistsError):  # another process was quicker
                os.mkdir(path, 0o700)
            flush_folder(os.path.dirname(path))
        except OSError as error:
            raise write_error_at(path, error) from error

    @staticmethod
    def _names(folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise read_error(error) from error


class SealedFile:
    """A whole sealed file, opened."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def piece(self, number: int) -> bytes:
        """A sealed piece; shorter or empty at the end."""
        try:
            self._file.seek(number * PIECE_SIZE)
            return self._file.read(PIECE_SIZE)
        except OSError as error:
            raise read_error(error) from error

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> SealedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NewFile:
    """A sealed file being made: written piece by piece, then kept."""

    def __init__(self, files: SealedFiles, path: str) -> None:
        self._files = files
        self._path = path
        self._file: int | None = _create(path)
        self._kept = False
        self._outline = bytearray()

    @property
    def outline(self) -> bytes:
        """Hashes of the pieces so far."""
        return bytes(self._outline)

    def write(self, piece: bytes) -> None:
        """The next piece. Raises: OSError, which `SealedFiles.new` makes a StorageError."""
        assert self._file is not None
        self._outline += piece_hash(piece)
        write_all(self._file, piece)

    def keep(self, size: int) -> FileId:
        """Flush it and give it its name; its id.

        size    bytes before it was sealed
        """
        assert self._file is not None
        flush_file(self._file)
        id = file_id(size, self.outline)
        self._files.place(self._path, id)
        self._kept = True
        return id

    def set_aside(self) -> str:
        """Close it and leave it where it is; its path. The caller removes it, or the next opening does."""
        file, self._file = self._file, None
        assert file is not None
        os.close(file)
        self._kept = True
        return self._path

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
        if not self._kept:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


class PartFile:
    """What has come of a file, held by us alone."""

    def __init__(self, files: SealedFiles, path: str, file: int, id: bytes) -> None:
        self._files = files
        self._path = path
        self._file = file
        self._id = id

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return os.fstat(self._file).st_size

    def piece(self, number: int) -> bytes:
        """A piece that is there; shorter or empty at the end."""
        return os.pread(self._file, PIECE_SIZE, number * PIECE_SIZE)

    def cut(self, size: int) -> None:
        """Forget what is beyond."""
        os.ftruncate(self._file, size)

    def write(self, number: int, piece: bytes) -> None:
        """Put a piece at its place."""
        view, at = memoryview(piece), number * PIECE_SIZE
        while view:
            written = os.pwrite(self._file, view, at)
            view, at = view[written:], at + written

    def finish(self) -> None:
        """It is whole: flush it and give it its name."""
        flush_file(self._file)
        self._files.place(self._path, self._id)


def _create(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise write_error_at(path, error) from error


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise write_error_at(path, error) from error


def write_all(file: int, data: bytes) -> None:
    """Write it whole. Raises: OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def write_error_at(path: str, error: OSError) -> StorageError:
    """What an `OSError` while writing means to the user."""
    from pathlib import Path

    return write_error(Path(path), error)


def read_error(error: OSError) -> StorageError:
    """The same while reading."""
    return StorageError(f"cannot read an attachment: {error.strerror}", rule="disk_io", hint="check the disk")
