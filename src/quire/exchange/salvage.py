"""A zip whose end is missing, as a broken-off download leaves it: what stands before the break is read.

A zip's table of contents is its last part. But each file has a header of its own before it, so the files can
be found by going from one to the next. Of the one that was cut the beginning is read, then an error raised.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from quire.errors import FormatError, NotFoundError
from quire.exchange.sources import MEMBERS_MAX, Source
from quire.exchange.streams import guarded_stream
from quire.exchange.text import clean

__all__ = ["CutZipSource"]

HEADER = struct.Struct("<4sHHHHHLLLHH")  # of one file: APPNOTE.TXT of the zip format, 4.3.7
MARK = b"PK\x03\x04"
SIZES_FOLLOW, ENCRYPTED, UTF8 = 1 << 3, 1 << 0, 1 << 11  # its flags
STORED, DEFLATED = 0, 8  # its methods
UNKNOWN = 0xFFFFFFFF  # a size that stands elsewhere
BLOCK = 1 << 16


class _Member(NamedTuple):
    start: int
    packed: int  # bytes
    size: int  # bytes
    method: int


class CutZipSource(Source):
    """What is left of a zip."""

    damage = "the archive is cut short: its table of contents is missing"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, _Member] = {}
        with path.open("rb") as file:
            end = file.seek(0, io.SEEK_END)
            at = 0
            while len(self._members) < MEMBERS_MAX:
                following = self._take(file, at, end)
                if following is None:
                    break
                at = following

    def _take(self, file: BinaryIO, at: int, end: int) -> int | None:
        """Note the file whose header is there; where the next one's is, or None if there is none."""
        file.seek(at)
        head = file.read(HEADER.size)
        if len(head) < HEADER.size or not head.startswith(MARK):
            return None
        header: tuple[int, ...] = HEADER.unpack(head)
        _, _, flags, method, _, _, _, packed, size, name_size, extra_size = header
        raw = file.read(name_size)
        start = at + HEADER.size + name_size + extra_size
        if len(raw) < name_size or start >= end:
            return None
        if flags & SIZES_FOLLOW or UNKNOWN in (packed, size):
            if method != DEFLATED:
                return None  # only what is packed shows its own end
            packed, size = _measured(file, start)
        name = clean(raw.decode("utf-8" if flags & UTF8 else "cp437", "replace"))
        if not name.endswith("/") and not flags & ENCRYPTED and method in (STORED, DEFLATED):
            self._members[name] = _Member(start, packed, size, method)
        after = start + packed
        if flags & SIZES_FOLLOW:
            file.seek(after)
            after += max(file.read(32).find(MARK), 0)  # behind the sizes, of 12 to 24 bytes
        return after

    def sizes(self) -> dict[str, int]:
        return {name: member.size for name, member in self._members.items()}

    def open(self, name: str) -> BinaryIO:
        member = self._members.get(name)
        if member is None:
            raise NotFoundError(f"no file {name} in {self.path}", rule="file_absent", file=name)
        content = cast(io.RawIOBase, _Content(self.path, name, member))  # only readinto() is used
        return guarded_stream(io.BufferedReader(content, BLOCK), name)


class _Content(io.RawIOBase):
    """The bytes of one file, up to the break."""

    def __init__(self, path: Path, name: str, member: _Member) -> None:
        self._file = path.open("rb")
        self._file.seek(member.start)
        self._name = name
        self._left = member.packed
        self._owed = member.size
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == DEFLATED else None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._ready:
            data = self._inflate.unconsumed_tail if self._inflate else b""
            if not data:
                data = self._file.read(min(self._left, BLOCK))
                self._left -= len(data)
            try:
                self._ready = self._inflate.decompress(data, BLOCK) if self._inflate else data
            except zlib.error as error:
                raise self._cut(str(error)) from error
            self._owed -= len(self._ready)
            if not data and not self._ready:
                if self._owed > 0:
                    raise self._cut("the archive ends early")
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _cut(self, reason: str) -> FormatError:
        return FormatError(f"{self._name}: {reason}", rule="broken_archive", file=self._name)

    def close(self) -> None:
        self._file.close()
        super().close()


def _measured(file: BinaryIO, start: int) -> tuple[int, int]:
    """(packed size, size) of a deflated file whose header does not tell; a byte more than it has if it is cut."""
    file.seek(start)
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = size = 0
    while not inflate.eof:
        data = file.read(BLOCK)
        if not data:
            return packed, size + 1
        packed += len(data)
        try:
            data = inflate.decompress(data, BLOCK)
            while data:
                size += len(data)
                data = inflate.decompress(inflate.unconsumed_tail, BLOCK)
        except zlib.error:
            return packed, size + 1
    return packed - len(inflate.unused_data), size
