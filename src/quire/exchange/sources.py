"""Where an export lies: a file, a folder, a zip or a tar, read in place by one interface.

Nothing is unpacked to disk. Names inside are always relative, with `/`, and are only ever used as keys: no path from an archive
reaches the file system. A zip opens any member at once; a compressed tar can only be read forwards (tars.py), so importers ask
for small files with `read`, and go through large ones with `walk`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from quire.errors import FormatError, NotFoundError
from quire.exchange.model import Record, Skipped
from quire.exchange.streams import BROKEN, Unreadable, guarded_stream, whole
from quire.exchange.text import clean

HEAD_BYTES = 1 << 16  # of a text file in a tar, kept to recognise it by
TEXTS = frozenset(["json", "jsonl", "html", "htm", "txt", "csv", "tsv", "log", "mbox", "eml", ""])
MEMBERS_MAX = 1_000_000  # more files than any export holds; bounds the listing of a hostile archive
LOOKED_AT_MAX = 50  # files, to recognise a format
HEAD_SIZE = 512  # of an archive: what it is known by
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
READ_MAX = 256 << 20  # what `read` will hold in memory; larger members are streamed with `walk`


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
            return cast(BinaryIO, Unreadable(name, str(error)))

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
                    raise too_many(self.path)
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
            raise too_many(path)
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


def open_source(path: str | PathLike[str]) -> Source:
    """The export at `path`. Raises NotFoundError if nothing is there, FormatError if it is unreadable."""
    from quire.exchange.compressed import uncompressed

    return uncompressed(_packed(Path(path)))


def heads(source: Source, wanted: Callable[[str], bool]) -> Iterator[bytes]:
    """How the first files that are wanted begin: what a format is recognised by."""
    for name in itertools.islice(filter(wanted, source.names()), LOOKED_AT_MAX):
        yield source.peek(name, HEAD_BYTES)


def until_broken(source: Source, records: Iterable[Record]) -> Iterator[Record]:
    """Records, as far as they can be read: an archive that breaks off is reported, and keeps what came before."""
    try:
        yield from records
    except FormatError as error:
        yield Skipped(source.path.name, "archive", str(error))


def archives_in(folder: Path) -> list[Path]:
    """The zips and tars that lie in a folder itself, by name."""
    from quire.exchange.tars import looks_like_tar

    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
    found = []
    for path in files:
        with contextlib.suppress(OSError), path.open("rb") as stream:
            head = stream.read(HEAD_SIZE)
            if head.startswith(ZIP) or looks_like_tar(path, head):
                found.append(path)
    return found


def _packed(path: Path) -> Source:
    from quire.exchange.tars import TarSource, looks_like_tar

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
    if looks_like_tar(path, head):
        return TarSource(path)
    return FileSource(path)


def suffix_of(name: str) -> str:
    """What a name ends in, in lower case: `json`; "" if it has no ending."""
    return name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""


def _slashed(name: str) -> str:
    """Some programs on Windows part folders as Windows does."""
    return name if "/" in name else name.replace("\\", "/")


def too_many(path: Path) -> FormatError:
    return FormatError(
        f"{path.name} holds over {MEMBERS_MAX:,} files", rule="too_many_files", limit=MEMBERS_MAX
    )
