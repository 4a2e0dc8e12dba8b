r"""Bundle files: what one device lacks, as one file on a stick or in a mail.

    89 51 42 55 4E 44 4C 0A (\x89QBUNDL\n) || version (2)
    records, each: kind (1) || length (4) || CRC-32 of these five (4) || bytes || first 8 of SHA-256(kind || bytes)
    at the end a record of kind 0 whose bytes are the number of the others (4)

The first check guards the framing: a damaged record is stepped over and the ones after it are still read; where
the framing itself is damaged, reading ends. The last record tells a whole file from one that was cut between
two records. None of this is secret or authentic: each record's own seal is. docs/spec/08-bundles.md, section 4.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from quire.core import limits
from quire.errors import MalformedError, UsageError

MAGIC = b"\x89QBUNDL\n"
VERSION = 1
START = MAGIC + VERSION.to_bytes(2, "big")
FRAME_SIZE, CHECK_SIZE = 9, 8
END = 0


class Kind(IntEnum):
    """What a record's bytes are."""

    WELCOME = 1
    BUNDLE = 2
    REQUEST = 3
    KEPT = 4  # somebody's self-channel, sealed: carried, not read
    FILE = 5  # a piece of an attachment's sealed file
    REFUSAL = 6  # the answer to a request that lets nobody in


KNOWN = frozenset(map(int, Kind))


class Record(NamedTuple):
    """One thing that a file carries."""

    kind: Kind
    data: bytes


def write_bundle_file(records: Iterable[Record]) -> Iterator[bytes]:
    """The file, in pieces. Raises: UsageError(rule="record_too_large")."""
    yield START
    count = 0
    for kind, data in records:
        if len(data) > limits.BUNDLE_BYTES_MAX:
            raise UsageError("too large for one record", rule="record_too_large", size_bytes=len(data))
        yield from _framed(kind, data)
        count += 1
    yield from _framed(END, count.to_bytes(4, "big"))


def read_bundle_file(pieces: Iterable[bytes]) -> Iterator[Record | MalformedError]:
    """Each record, or in its place what is wrong with it; an error that ends the file comes last.

    Rules of a record: "record_damaged", "record_kind" (of a newer version; the others are read). Rules that end the
    file: "file_magic", "file_version", "file_framing", "file_truncated", "file_count", "file_longer".
    """
    source = _Source(pieces)
    start = source.take(len(START))
    if start[: len(MAGIC)] != MAGIC:
        yield _refused("file_magic", "this is no bundle file")
    elif len(start) < len(START):
        yield _truncated()
    elif start != START:
        yield _refused("file_version", "a bundle file of another version")
    else:
        yield from _records(source)


def _records(source: _Source) -> Iterator[Record | MalformedError]:
    count = 0
    while True:
        frame = source.take(FRAME_SIZE)
        if len(frame) < FRAME_SIZE:
            yield _truncated()
            return
        kind, length = frame[0], int.from_bytes(frame[1:5], "big")
        if _crc(frame[:5]) != frame[5:] or length > limits.BUNDLE_BYTES_MAX:
            yield _refused("file_framing", "the file is damaged; what comes after cannot be found")
            return
        body = source.take(length + CHECK_SIZE)
        if len(body) < length + CHECK_SIZE:
            yield _truncated()
            return
        data, check = body[:length], body[length:]
        whole = check == _check(kind, data)
        if kind == END:
            yield from _end(whole and data == count.to_bytes(4, "big"), source)
            return
        count += 1
        if not whole:
            yield MalformedError(f"record {count} is damaged", rule="record_damaged", record=count)
        elif kind not in KNOWN:
            yield MalformedError(f"record {count} is of an unknown kind", rule="record_kind", record=count)
        else:
            yield Record(Kind(kind), data)


def _end(complete: bool, source: _Source) -> Iterator[MalformedError]:
    if not complete:
        yield _refused("file_count", "records are missing from the file, or its end is damaged")
    elif source.take(1):
        yield _refused("file_longer", "something follows the end of the file")


class _Source:
    """Exactly so many bytes out of pieces of any size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece, self._at = b"", 0

    def take(self, size: int) -> bytes:
        """`size` bytes, or fewer at the end."""
        parts: list[bytes] = []
        while size:
            if self._at == len(self._piece):
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._piece, self._at = piece, 0
            part = self._piece[self._at : self._at + size]
            parts.append(part)
            self._at += len(part)
            size -= len(part)
        return b"".join(parts)


def _framed(kind: int, data: bytes) -> Iterator[bytes]:
    frame = bytes([kind]) + len(data).to_bytes(4, "big")
    yield frame + _crc(frame)
    yield data
    yield _check(kind, data)


def _crc(frame: bytes) -> bytes:
    return zlib.crc32(frame).to_bytes(4, "big")


def _check(kind: int, data: bytes) -> bytes:
    hashed = hashlib.sha256(bytes([kind]))
    hashed.update(data)
    return hashed.digest()[:CHECK_SIZE]


def _truncated() -> MalformedError:
    return _refused("file_truncated", "the file ends too early: it was not copied whole")


def _refused(rule: str, message: str) -> MalformedError:
    return MalformedError(message, rule=rule)
