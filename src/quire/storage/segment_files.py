"""A segment's file while it is made: written under another name, flushed, and renamed when it was read back.

The vault notes the file before its first byte is written, so what a killed process left is known, and taken away.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from quire.core.packing import padme
from quire.core.segment import Reference, Sealer, header
from quire.errors import NotFoundError
from quire.storage.database import fault
from quire.storage.files import flush_file, flush_folder, write_error

PART = ".part"
ROOM = 1 << 20  # written at once


class NewSegment:
    """Operations go in one after the other; then `finish`, and when it was read back `place`.

    Raises, in each: FullError, StorageError.
    """

    def __init__(self, path: str, n: int, id: bytes, key: bytes) -> None:
        self._path = path
        self._n = n
        self._sealer = Sealer(key, id)
        self._buffer = bytearray(header(id))
        self._hash = sha256()
        self.size = len(self._buffer)
        try:
            self._file = os.open(path + PART, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise write_error(Path(path), error) from error

    def add(self, secret: bytes, salted: bytes, commitment: bytes) -> bytes:
        """Seal one operation; the reference to it.

        secret    16 fresh random bytes
        """
        sealed = self._sealer.seal(secret, self.size, salted)
        reference = Reference(secret, self._n, self.size, len(sealed), len(salted), commitment)
        self._buffer += sealed
        self.size += len(sealed)
        if len(self._buffer) >= ROOM:
            self._flush()
        return reference.encode()

    def finish(self) -> bytes:
        """Pad it and let it last, still under its other name; the SHA-256 of all of it."""
        padding = padme(self.size) - self.size
        self.size += padding
        self._buffer += os.urandom(padding)
        self._flush()
        fault("segment_written")
        try:
            flush_file(self._file)
        except OSError as error:
            raise write_error(Path(self._path), error) from error
        finally:
            self.close()
        fault("segment_flushed")
        return self._hash.digest()

    def place(self) -> None:
        """Give it its name."""
        try:
            os.replace(self._path + PART, self._path)
            flush_folder(os.path.dirname(self._path))
        except OSError as error:
            raise write_error(Path(self._path), error) from error
        fault("segment_placed")

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _flush(self) -> None:
        self._hash.update(self._buffer)
        try:
            rest = memoryview(self._buffer)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            rest.release()
        except OSError as error:
            self.close()
            raise write_error(Path(self._path), error) from error
        self._buffer = bytearray()


def make_folder(folder: str, *, own: bool) -> None:
    """See that the folder for segments is there. One that is not the vault's own must be: it may be a disk that is not.

    Raises: NotFoundError(rule="archive_folder_absent"), StorageError.
    """
    if own:
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            flush_folder(os.path.dirname(folder))
        except OSError as error:
            raise write_error(Path(folder), error) from error
    elif not os.path.isdir(folder):
        raise NotFoundError(
            f"there is no folder {folder}",
            rule="archive_folder_absent",
            hint="make it, or connect the disk that it is on",
        )


def remove(path: str) -> bool:
    """Take a file away, and what was being written of it; False if its folder is not at hand."""
    if not os.path.isdir(os.path.dirname(path)):
        return False
    for one in (path, path + PART):
        try:
            os.unlink(one)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
