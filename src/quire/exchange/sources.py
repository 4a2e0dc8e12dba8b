"""Where an export lies: a file, a folder, a zip or a tar, read in place by one interface.

Nothing is unpacked to disk. Names inside are always relative, with `/`, and are only ever used as
keys: no path from an archive reaches the file system. A zip opens any member at once; a compressed
tar can only be read forwards, so `walk` gives its members in archive order and `read` of a small
member is served from what the first listing kept (`SMALL_BYTES`, `KEPT_BYTES`). The listing also keeps
the heads of the first text files by name, as those are what recognising a format looks at; a look at
another costs a pass, which then fetches the heads of those after it too.
"""

from __future__ import annotations

import bisect
import bz2
import contextlib
import gzip
import io
import itertools
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, cast

from quire.errors import FormatError, NotFoundError
from quire.exchange.model import Record, Skipped
from quire.exchange.text import clean

SMALL_BYTES = 8 << 20  # a member a listing of a compressed tar may keep: users.json and its like
KEPT_BYTES = 32 << 20  # all such members together
HEAD_BYTES = 1 << 16  # of a text file in a tar, kept to recognise it by
HEADS_MAX = 50  # files of one suffix whose heads are kept
TEXTS = frozenset(["json", "jsonl", "html", "htm", "txt", "csv", "tsv", "log", "mbox", "eml", ""])
MEMBERS_MAX = 1_000_000  # more files than any export holds; bounds the listing of a hostile archive
HEAD_SIZE = 512  # of an archive: what it is known by
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
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
    forwards_only = False  # may a look at one file cost a pass over all?
    damage = ""  # why files are missing that the archive once had; known after `sizes`

    @property
    def raw(self) -> Source:
        """The same, with every file as it lies there."""
        return self

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
            data = whole(stream, READ_MAX + 1)
        if len(data) > READ_MAX:
            raise FormatError(f"{name} is too large to read at once", rule="file_too_large", file=name)
        return data

    def peek(self, name: str, size: int = 4096) -> bytes:
        """The first bytes of a file, to recognise it by; none of one that cannot be read. Raises NotFoundError."""
        try:
            with self.open(name) as stream:
                return stream.read(size)
        except (FormatError, OSError):
            return b""  # who reads the file says what is wrong with it

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
        return {clean(self.path.name): self.path.stat().st_size}

    def open(self, name: str) -> BinaryIO:
        if name != clean(self.path.name):
            raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)
        return self.path.open("rb")


class FolderSource(Source):
    """A folder and all below it; links are not followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sizes: dict[str, int] | None = None
        self._odd: dict[str, str] = {}  # name as shown -> name whose bytes are no text

    def sizes(self) -> dict[str, int]:
        if self._sizes is None:
            self._sizes = {}
            for folder, _, files in os.walk(self.path):
                for file in files:
                    full = Path(folder, file)
                    if full.is_file() and not full.is_symlink():
                        there = full.relative_to(self.path).as_posix()
                        if (name := clean(there)) != there:
                            self._odd[name] = there
                        self._sizes[name] = full.stat().st_size
                if len(self._sizes) > MEMBERS_MAX:
                    raise _too_many(self.path)
        return self._sizes

    def open(self, name: str) -> BinaryIO:
        if name not in self.sizes():
            raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)
        return (self.path / self._odd.get(name, name)).open("rb")


class ZipSource(Source):
    """A zip archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (*BROKEN, ValueError, struct.error) as error:  # names that are no text, lengths that are none
            raise FormatError(f"{path.name} is not a readable zip: {error}", rule="broken_archive") from error
        if len(self._zip.infolist()) > MEMBERS_MAX:
            raise _too_many(path)
        infos = [info for info in self._zip.infolist() if not info.is_dir()]
        self._real = {_slashed(info.filename): info for info in infos}
        self._sizes = {name: info.file_size for name, info in self._real.items()}

    def sizes(self) -> dict[str, int]:
        return self._sizes

    def open(self, name: str) -> BinaryIO:
        if name not in self._sizes:
            raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)
        try:
            return guarded_stream(self._zip.open(self._real[name]), name)
        except (
            RuntimeError,
            ValueError,
            struct.error,
            *BROKEN,
        ) as error:  # RuntimeError: the member is encrypted
            raise FormatError(
                f"{name} in {self.path.name}: {error}", rule="broken_archive", file=name
            ) from error

    @property
    def encrypted(self) -> bool:
        """Does any of its files need a password?"""
        return any(info.flag_bits & 1 for info in self._real.values())

    def close(self) -> None:
        self._zip.close()


class TarSource(Source):
    """A tar, plain or compressed. Listed once, forwards, keeping the small files for `read`."""

    forwards_only = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sizes: dict[str, int] | None = None
        self._kept: dict[str, bytes] = {}
        self._heads: dict[str, bytes] = {}  # kept by the listing
        self._fetched: dict[str, bytes] = {}  # by the last pass for heads

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        """Every file, in archive order. Where the archive is damaged they end, and `damage` says so.

        Raises FormatError if there is not one.
        """
        found = False
        try:
            with _unpacked(self.path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    found = True
                    if member.isfile():
                        yield member, tar
                if not stream.ends_in_zeros():
                    self.damage = "the archive is cut short"
        except (FormatError, *BROKEN) as error:
            if not found:
                raise FormatError(
                    f"{self.path.name} is not a readable tar: {error}", rule="broken_archive"
                ) from error
            self.damage = f"the archive is damaged: {error}"

    def sizes(self) -> dict[str, int]:
        if self._sizes is None:
            sizes: dict[str, int] = {}
            # Metadata stands near the root; the deeper level, often messages, may not crowd it out.
            room = {0: KEPT_BYTES // 2, 1: KEPT_BYTES // 2}
            first: dict[str, list[str]] = {suffix: [] for suffix in TEXTS}  # the least names seen, in order
            for member, tar in self._members():
                name = _clean(member.name)
                sizes[name] = member.size
                if len(sizes) > MEMBERS_MAX:
                    raise _too_many(self.path)
                level = max(name.count("/") - 1, 0)
                if member.size <= min(SMALL_BYTES, room.get(level, -1)):
                    with contextlib.suppress(FormatError):  # else it is read, and fails, when it is wanted
                        self._kept[name] = whole(_content(tar, member), SMALL_BYTES)
                        room[level] -= member.size
                elif (least := first.get(suffix_of(name))) is not None:
                    bisect.insort(least, name)
                    if least.index(name) < HEADS_MAX:
                        self._heads[name] = _head(tar, member, HEAD_BYTES)
                    for beyond in least[HEADS_MAX:]:
                        self._heads.pop(beyond, None)
                    del least[HEADS_MAX:]
            self._sizes = sizes
        return self._sizes

    def open(self, name: str) -> BinaryIO:
        self.sizes()
        if name in self._kept:
            return io.BytesIO(self._kept[name])
        for member, tar in self._members():
            if _clean(member.name) == name:
                data = whole(_content(tar, member), READ_MAX + 1)  # the tar closes behind us
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
                yield name, _content(tar, member)

    def peek(self, name: str, size: int = 4096) -> bytes:
        sizes = self.sizes()
        if name in self._kept:
            return self._kept[name][:size]
        if name not in sizes:
            raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)
        enough = min(size, sizes[name])
        for heads in (self._heads, self._fetched):
            if len(heads.get(name, b"")) >= enough and name in heads:
                return heads[name][:size]
        self._fetch_heads(name, max(size, HEAD_BYTES))
        return self._fetched.get(name, b"")[:size]

    def _fetch_heads(self, name: str, size: int) -> None:
        """One pass for this file's head and those of the next ones of its kind by name."""
        later = (other for other in self.names() if other >= name and suffix_of(other) == suffix_of(name))
        missing = set(itertools.islice(later, HEADS_MAX))
        self._fetched = {}
        for member, tar in self._members():
            if _clean(member.name) in missing:
                missing.discard(_clean(member.name))
                self._fetched[_clean(member.name)] = _head(tar, member, size)
                if not missing:
                    break


class _Guarded(io.RawIOBase):
    """A member's stream whose low-level errors come out as FormatError, after what stands before the damage."""

    def __init__(self, inner: object, name: str) -> None:
        self._inner = cast(Any, inner)
        self._name = name
        self._error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Less than `size` only at the end, or before damage: then the next call raises."""
        found: list[bytes] = []
        left = size
        while left and self._error is None:
            try:
                piece: bytes = self._inner.read1(left)
            except (FormatError, *BROKEN) as error:
                self._error = error
                break
            if not piece:
                break
            found.append(piece)
            left = left - len(piece) if size >= 0 else size
        if self._error is not None and not found:
            if isinstance(self._error, FormatError):
                raise self._error
            raise FormatError(
                f"{self._name}: {self._error}", rule="broken_archive", file=self._name
            ) from self._error
        return found[0] if len(found) == 1 else b"".join(found)

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


def guarded_stream(inner: object, name: str) -> BinaryIO:
    """`inner`, a buffered stream, with every low-level error a FormatError that names the file."""
    return cast(BinaryIO, _Guarded(inner, name))


def whole(stream: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, or all there are. Raises FormatError if damage is why there are no more."""
    data = stream.read(size)
    if len(data) < size:
        stream.read(1)
    return data


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


class _Unpacked(io.RawIOBase):
    """The bytes of a tar as it was before compression; remembers how they ended."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        head = file.read(6)
        file.seek(0)
        self._inner: Any = file
        if head.startswith(b"\x1f\x8b"):
            self._inner = gzip.GzipFile(fileobj=file)
        elif head.startswith(b"BZh"):
            self._inner = bz2.BZ2File(file)
        elif head.startswith(b"\xfd7zXZ"):
            self._inner = lzma.LZMAFile(file)  # noqa: SIM115  # it is closed with us
        self._stream = guarded_stream(self._inner, "the archive")
        self._last = b""

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._last = (self._last + data)[-tarfile.BLOCKSIZE :] if data else self._last
        return data

    def readable(self) -> bool:
        return True

    def ends_in_zeros(self) -> bool:
        """Every tar ends in blocks of zeros, unless it was cut off."""
        return not self._last.strip(b"\0")

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._inner.close()
        self._file.close()
        super().close()


def _unpacked(path: Path) -> _Unpacked:
    return _Unpacked(path.open("rb"))


def open_source(path: str | PathLike[str]) -> Source:
    """The export at `path`. Raises NotFoundError if nothing is there, FormatError if it is unreadable."""
    from quire.exchange.compressed import uncompressed

    return uncompressed(_packed(Path(path)))


def until_broken(source: Source, records: Iterable[Record]) -> Iterator[Record]:
    """Records, as far as they can be read: an archive that breaks off is reported, and keeps what came before."""
    try:
        yield from records
    except FormatError as error:
        yield Skipped(source.path.name, "archive", str(error))


def archives_in(folder: Path) -> list[Path]:
    """The zips and tars that lie in a folder itself, by name."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
    found = []
    for path in files:
        with contextlib.suppress(OSError), path.open("rb") as stream:
            head = stream.read(HEAD_SIZE)
            if head.startswith(ZIP) or _looks_like_tar(path, head):
                found.append(path)
    return found


def _packed(path: Path) -> Source:
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise NotFoundError(f"there is no file {path}", rule="path_absent")
    if not path.is_file():
        raise FormatError(f"{path} is no file and no folder", rule="unreadable")
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_SIZE)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}", rule="unreadable") from error
    if head.startswith(ZIP):
        try:
            return ZipSource(path)
        except FormatError:  # its table of contents stands at its end
            from quire.exchange.salvage import CutZipSource

            if (rest := CutZipSource(path)).names():
                return rest
            raise
    if _looks_like_tar(path, head):
        return TarSource(path)
    return FileSource(path)


def _looks_like_tar(path: Path, head: bytes) -> bool:
    compressed = head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"))
    if not compressed and head[257:262] != b"ustar":
        return False
    try:
        with _unpacked(path) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            return tar.next() is not None
    except (FormatError, *BROKEN):
        return False


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    stream = tar.extractfile(member)
    assert stream is not None  # only regular files come here
    return guarded_stream(stream, _clean(member.name))


def _head(tar: tarfile.TarFile, member: tarfile.TarInfo, size: int) -> bytes:
    """A member's first bytes, to recognise it by; none if they cannot be read."""
    try:
        return _content(tar, member).read(size)
    except FormatError:
        return b""


def suffix_of(name: str) -> str:
    """What a name ends in, in lower case: `json`; "" if it has no ending."""
    return name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""


def _clean(name: str) -> str:
    return clean(name.removeprefix("./"))


def _slashed(name: str) -> str:
    """Some programs on Windows part folders as Windows does."""
    return name if "/" in name else name.replace("\\", "/")


def _too_many(path: Path) -> FormatError:
    return FormatError(
        f"{path.name} holds over {MEMBERS_MAX:,} files", rule="too_many_files", limit=MEMBERS_MAX
    )
