"""Where an export lies: a file, a folder, a zip or a tar, read in place by one interface.

Nothing is unpacked to disk. Names inside are always relative, with `/`, and are only ever used as
keys: no path from an archive reaches the file system. A zip opens any member at once; a compressed
tar can only be read forwards, so `walk` gives its members in archive order and `read` of a small
member is served from what the first listing kept (`SMALL_BYTES`, `KEPT_BYTES`).
"""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from quire.errors import FormatError, NotFoundError

SMALL_BYTES = 8 << 20  # a member a listing of a compressed tar may keep: users.json and its like
KEPT_BYTES = 32 << 20  # all such members together
MEMBERS_MAX = 1_000_000  # more files than any export holds; bounds the listing of a hostile archive
READ_MAX = 256 << 20  # what `read` will hold in memory; larger members are streamed with `walk`

BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    EOFError,
    zlib.error,
    OSError,
    NotImplementedError,
)


class Source:
    """One export. `names()` is sorted; `read` is for small files; `walk` streams the large ones."""

    path: Path

    def names(self) -> list[str]:
        """All file names inside, sorted, relative, with '/'. Folders are not listed."""
        return sorted(self.sizes())

    def sizes(self) -> dict[str, int]:
        """File name -> size in bytes, uncompressed."""
        raise NotImplementedError

    def open(self, name: str) -> BinaryIO:
        """One file as a stream; on a compressed tar this reads from the start. Raises NotFoundError."""
        raise NotImplementedError

    def walk(self, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, BinaryIO]]:
        """Each wanted file as (name, stream), sorted by name (a tar: in archive order, one pass).

        A stream is valid until the next step. A file that cannot be opened comes as a stream whose
        first read raises FormatError: the others are still there to be read.
        """
        for name in self.names():
            if wanted(name):
                with self._opened(name) as stream:
                    yield name, stream

    def _opened(self, name: str) -> BinaryIO:
        try:
            return self.open(name)
        except (FormatError, OSError) as error:
            return cast(BinaryIO, _Unreadable(name, str(error)))

    def read(self, name: str) -> bytes:
        """A whole file of at most READ_MAX bytes. Raises NotFoundError, FormatError."""
        with self.open(name) as stream:
            data = stream.read(READ_MAX + 1)
        if len(data) > READ_MAX:
            raise FormatError(f"{name} is too large to read at once", rule="file_too_large", file=name)
        return data

    def peek(self, name: str, size: int = 4096) -> bytes:
        """The first bytes of a file, to recognise it by."""
        with self.open(name) as stream:
            return stream.read(size)

    def close(self) -> None:
        """Release the archive."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileSource(Source):
    """A single file: one name, its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sizes(self) -> dict[str, int]:
        return {self.path.name: self.path.stat().st_size}

    def open(self, name: str) -> BinaryIO:
        if name != self.path.name:
            raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)
        return self.path.open("rb")


class FolderSource(Source):
    """A folder and all below it; links are not followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sizes: dict[str, int] | None = None

    def sizes(self) -> dict[str, int]:
        if self._sizes is None:
            self._sizes = {}
            for folder, _, files in os.walk(self.path):
                for file in files:
                    full = Path(folder, file)
                    if full.is_file() and not full.is_symlink():
                        self._sizes[full.relative_to(self.path).as_posix()] = full.stat().st_size
                if len(self._sizes) > MEMBERS_MAX:
                    raise _too_many(self.path)
        return self._sizes

    def open(self, name: str) -> BinaryIO:
        if name not in self.sizes():
            raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)
        return (self.path / name).open("rb")


class ZipSource(Source):
    """A zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except BROKEN as error:
            raise FormatError(f"{path.name} is not a readable zip: {error}", rule="broken_archive") from error
        if len(self._zip.infolist()) > MEMBERS_MAX:
            raise _too_many(path)
        self._sizes = {info.filename: info.file_size for info in self._zip.infolist() if not info.is_dir()}

    def sizes(self) -> dict[str, int]:
        return self._sizes

    def open(self, name: str) -> BinaryIO:
        if name not in self._sizes:
            raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)
        try:
            return cast(BinaryIO, _Guarded(self._zip.open(name), name))
        except (RuntimeError, *BROKEN) as error:  # RuntimeError: the member is encrypted
            raise FormatError(
                f"{name} in {self.path.name}: {error}", rule="broken_archive", file=name
            ) from error

    def close(self) -> None:
        self._zip.close()


class TarSource(Source):
    """A tar, plain or compressed. Listed once, forwards, keeping the small files for `read`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sizes: dict[str, int] | None = None
        self._kept: dict[str, bytes] = {}

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        try:
            with tarfile.open(self.path, "r|*") as tar:
                for member in tar:
                    if member.isfile():
                        yield member, tar
        except BROKEN as error:
            raise FormatError(
                f"{self.path.name} is not a readable tar: {error}", rule="broken_archive"
            ) from error

    def sizes(self) -> dict[str, int]:
        if self._sizes is None:
            sizes: dict[str, int] = {}
            room = KEPT_BYTES
            for member, tar in self._members():
                name = _clean(member.name)
                sizes[name] = member.size
                if len(sizes) > MEMBERS_MAX:
                    raise _too_many(self.path)
                shallow = name.count("/") <= 2  # metadata stands near the root
                if shallow and member.size <= min(SMALL_BYTES, room):
                    self._kept[name] = _content(tar, member).read()
                    room -= member.size
            self._sizes = sizes
        return self._sizes

    def open(self, name: str) -> BinaryIO:
        self.sizes()
        if name in self._kept:
            return io.BytesIO(self._kept[name])
        for member, tar in self._members():
            if _clean(member.name) == name:
                data = _content(tar, member).read(READ_MAX + 1)  # the tar closes behind us
                if len(data) > READ_MAX:
                    raise FormatError(
                        f"{name} is too large to read at once", rule="file_too_large", file=name
                    )
                return io.BytesIO(data)
        raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)

    def walk(self, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, BinaryIO]]:
        for member, tar in self._members():
            name = _clean(member.name)
            if wanted(name):
                yield name, cast(BinaryIO, _Guarded(_content(tar, member), name))

    def peek(self, name: str, size: int = 4096) -> bytes:
        self.sizes()
        if name in self._kept:
            return self._kept[name][:size]
        for member, tar in self._members():
            if _clean(member.name) == name:
                return _content(tar, member).read(size)
        raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)


class _Guarded(io.RawIOBase):
    """A member's stream whose low-level errors come out as FormatError."""

    def __init__(self, inner: object, name: str) -> None:
        self._inner = cast(BinaryIO, inner)
        self._name = name

    def read(self, size: int = -1) -> bytes:
        try:
            return self._inner.read(size)
        except BROKEN as error:
            raise FormatError(f"{self._name}: {error}", rule="broken_archive", file=self._name) from error

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._inner.close()
        super().close()


class _Unreadable(io.RawIOBase):
    """Stands for a file that could not be opened."""

    def __init__(self, name: str, reason: str) -> None:
        self._name = name
        self._reason = reason

    def read(self, size: int = -1) -> bytes:
        raise FormatError(f"{self._name}: {self._reason}", rule="unreadable", file=self._name)

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        raise FormatError(f"{self._name}: {self._reason}", rule="unreadable", file=self._name)

    def readable(self) -> bool:
        return True


def open_source(path: str | Path) -> Source:
    """The export at `path`. Raises NotFoundError if nothing is there, FormatError if it is unreadable."""
    path = Path(path)
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise NotFoundError(f"there is no file {path}", rule="path_absent")
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", rule="unreadable") from error
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return ZipSource(path)
    if _looks_like_tar(path, head):
        return TarSource(path)
    return FileSource(path)


def _looks_like_tar(path: Path, head: bytes) -> bool:
    compressed = head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"))
    if not compressed and head[257:262] != b"ustar":
        return False
    try:
        with tarfile.open(path, "r|*") as tar:
            return tar.next() is not None
    except BROKEN:
        return False


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    stream = tar.extractfile(member)
    assert stream is not None  # only regular files come here
    return cast(BinaryIO, stream)


def _clean(name: str) -> str:
    return name.removeprefix("./")


def _too_many(path: Path) -> FormatError:
    return FormatError(
        f"{path.name} holds over {MEMBERS_MAX:,} files", rule="too_many_files", limit=MEMBERS_MAX
    )
