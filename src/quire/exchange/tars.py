"""Tars, plain or compressed: they can only be read forwards.

`walk` gives members in the order of the archive; `read` of a small member is served from what the first listing kept
(`SMALL_BYTES`, `KEPT_BYTES`). The listing also keeps the heads of the first text files by name, as those are what recognising a
format looks at; a look at another costs a pass, which then fetches the heads of those after it too.
"""

from __future__ import annotations

import bisect
import bz2
import contextlib
import gzip
import io
import itertools
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from quire.errors import FormatError, NotFoundError
from quire.exchange.sources import HEAD_BYTES, MEMBERS_MAX, READ_MAX, TEXTS, Source, suffix_of, too_many
from quire.exchange.streams import BROKEN, Reading, guarded_stream, whole
from quire.exchange.text import clean

SMALL_BYTES = 8 << 20  # a member a listing of a compressed tar may keep: users.json and its like
KEPT_BYTES = 32 << 20  # all such members together
HEADS_MAX = 50  # files of one suffix whose heads are kept


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
                    raise too_many(self.path)
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


class _Unpacked(Reading):
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


def looks_like_tar(path: Path, head: bytes) -> bool:
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


def _clean(name: str) -> str:
    return clean(name.removeprefix("./"))
