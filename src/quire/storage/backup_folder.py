"""A backup's folder: packs under their content's names, the manifest, the slots, and a lock.

    slots, slots.copy         what opens it, twice: without either nothing does
    manifest, manifest.copy   what belongs to it
    packs/HEX                 sealed packs, named by the SHA-256 of their bytes
    attachments/HEX           sealed attachments, by their ids
    backup.lock               held by who writes

A file appears under its name when it is whole and on the disk, and is read back from there before it counts. The
manifest comes last, so a backup is the old one or the new one; what no manifest names is cleared by the next run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from quire.errors import BusyError, CorruptError, StorageError
from quire.storage.files import FileLock, flush_file, flush_folder, replace_file, write_error

PACKS, ATTACHMENTS = "packs", "attachments"
MANIFESTS = ("manifest", "manifest.copy")
SLOTS = ("slots", "slots.copy")
LOCK = "backup.lock"
OWN = frozenset({PACKS, ATTACHMENTS, LOCK, *MANIFESTS, *SLOTS})
PIECE_BYTES = 1 << 20
_NAME = re.compile("[0-9a-f]{64}")


class BackupFolder:
    """Where a backup is, or is to be."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Is anything of a backup there?"""
        return any((self.path / name).exists() for name in (*MANIFESTS, *SLOTS, PACKS))

    @property
    def is_foreign(self) -> bool:
        """Is something there that is no backup?"""
        try:
            names = set(os.listdir(self.path))
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            return True
        except OSError as error:
            raise _unreadable(self.path, error) from error
        return bool(names) and not (self.exists and names <= OWN | {f"{name}.tmp" for name in OWN})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder if need be, and keep other writers out. Raises: BusyError(rule="backup_running")."""
        try:
            for folder in (self.path, self.path / PACKS):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(self.path / LOCK):
                yield
        except BusyError as error:
            if error.rule != "locked":
                raise
            message = "another process is writing to this backup"
            raise BusyError(message, rule="backup_running", hint="try again when it is done") from error
        except OSError as error:
            raise write_error(self.path, error) from error

    def read(self, name: str, bytes_max: int) -> bytes:
        """A file in the folder, at most so much and one byte of it.

        Raises: CorruptError(rule="backup_file_missing"), StorageError(rule="backup_unreadable").
        """
        with self._opened(name) as file:
            return file.read(bytes_max + 1)

    def put(self, name: str, data: bytes) -> None:
        """Write a file, atomically, and read it back from the disk.

        Raises: FullError, StorageError (also with rule "backup_failed": it does not read back).
        """
        path = self.path / name
        replace_file(path, data)
        digest = hashlib.sha256(data).digest()
        self._require_read_back(name, digest)

    def put_pieces(self, name: str, pieces: Iterable[bytes]) -> None:
        """The same of what is too large for memory; nothing is there if `pieces` raises.

        Raises: FullError, StorageError, and what `pieces` does.
        """
        path = self.path / name
        temporary = path.with_name(path.name + ".tmp")
        digest = hashlib.sha256()
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                flush_file(file.fileno())
            os.replace(temporary, path)
            flush_folder(path.parent)
        except OSError as error:
            raise write_error(path, error) from error
        finally:
            temporary.unlink(missing_ok=True)
        self._require_read_back(name, digest.digest())

    def _require_read_back(self, name: str, digest: bytes) -> None:
        """Raises: StorageError(rule="backup_failed") for a file that the disk has otherwise than it was written."""
        if self.digest(name) != digest:
            raise StorageError(
                f"{name} does not read back as it was written", rule="backup_failed", hint="check the disk"
            )

    def pieces(self, name: str, size: int) -> Iterator[bytes]:
        """A file, so many bytes at a time. Raises: as `read`."""
        with self._opened(name) as file:
            while piece := file.read(size):
                yield piece

    def digest(self, name: str) -> bytes:
        """SHA-256 of a file as the disk has it. Raises: as `read`."""
        digest = hashlib.sha256()
        with self._opened(name) as file:
            if hasattr(os, "posix_fadvise"):  # what we wrote a moment ago is to come from the disk
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
        return digest.digest()

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        """A file to read from. Raises: as `read`, also for what fails meanwhile."""
        try:
            with open(self.path / name, "rb") as file:
                yield file
        except FileNotFoundError:
            raise CorruptError(
                f"{name} is missing", rule="backup_file_missing", hint=DAMAGED_HINT, file=name
            ) from None
        except OSError as error:
            raise _unreadable(self.path / name, error) from error

    def size(self, name: str) -> int:
        """Bytes of a file; -1 if it is not there."""
        try:
            return os.stat(self.path / name).st_size
        except OSError:
            return -1

    def names(self, folder: str) -> set[bytes]:
        """What lies in `packs` or `attachments`, by content address."""
        try:
            return {bytes.fromhex(name) for name in os.listdir(self.path / folder) if _NAME.fullmatch(name)}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise _unreadable(self.path / folder, error) from error

    def keep_only(self, folder: str, names: set[bytes]) -> int:
        """Remove all else that is in `packs` or `attachments`, also half-written files; how many bytes that freed."""
        freed = 0
        wanted = {name.hex() for name in names}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.path / folder):
                path = self.path / folder / name
                if name not in wanted and not path.is_dir():
                    freed += path.stat().st_size
                    path.unlink()
        return freed


def pack_path(name: bytes) -> str:
    """Where a pack is in the folder."""
    return f"{PACKS}/{name.hex()}"


DAMAGED_HINT = "`quire backup --check` says what is damaged; `quire restore --damaged` restores the rest"


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot read {path}: {error.strerror}",
        rule="backup_unreadable",
        hint="check the path and its permissions",
    )
