"""JSON documents whose messages lie in arrays somewhere inside: found by their key, taken one by one.

`objects` walks a document of any size and yields the items of the arrays a caller names ("messages",
"chunk", or the top-level array itself); all other values of the top-level object are told to `seen`.
`document_or_lines` says whether a stream is one document or one a line, without using it up.
Nothing here knows a chat format.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from quire.errors import FormatError
from quire.exchange.jsonpull import Broken, JsonPull
from quire.exchange.loose_json import decode
from quire.exchange.text import clean

DEPTH_MAX = 10  # of objects searched for the named arrays
HEAD_BYTES = 1 << 16
FIRST_LINE_MAX = 8 << 20  # bytes: a first line may be a table of all users
PIECE_MAX = 64 << 10  # bytes a stream is asked for at a time

Path = tuple[str, ...]
Seen = Callable[[str, Any], None]


class Prefixed(io.RawIOBase):
    """A stream with the bytes already taken from it put back in front."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size) or b""
        if size < 0:
            data, self._head = self._head + self._rest.read(), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def taken(stream: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, or all there are, before damage too: a raw stream may give fewer at a time."""
    pieces: list[bytes] = []
    while size > 0:
        try:
            piece = stream.read(min(size, PIECE_MAX))
        except FormatError:
            if pieces:  # said again to who asks for more
                break
            raise
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def objects(stream: BinaryIO, arrays: frozenset[str], seen: Seen) -> Iterator[tuple[Path, Any]]:
    """Yield (path, item) for each item of the arrays named in `arrays`, "" being a top-level array.

    path is the keys that led there, the array's own last. An item may be `Broken`; a final one ends
    the walk. Documents that follow each other in one file are walked one after the other.
    """
    pull = JsonPull(stream)
    begun = False
    while not begun or pull.again():
        begun = True
        for path, item in _walk(pull, arrays, seen, ()):
            yield path, item
            if isinstance(item, Broken) and item.final:
                return
    if (more := pull.rest()) is not None:
        yield (), more


def _walk(pull: JsonPull, arrays: frozenset[str], seen: Seen, path: Path) -> Iterator[tuple[Path, Any]]:
    kind = pull.kind()
    if kind == "[" and (path[-1] if path else "") in arrays:
        for item in pull.items():
            yield path, item
    elif kind == "{" and len(path) < DEPTH_MAX:
        for key in pull.keys():  # noqa: SIM118  a walk, not a mapping
            if isinstance(key, Broken):
                yield path, key
                return
            yield from _walk(pull, arrays, seen, (*path, clean(key)))
    elif len(path) == 1:
        value = pull.value()
        if isinstance(value, Broken):
            yield path, value
        else:
            seen(path[0], value)
    elif not path:
        yield path, Broken("this is no JSON object and no array", final=True)


def document_or_lines(stream: BinaryIO) -> tuple[bool, bytes, BinaryIO]:
    """(is it one document a line, its first bytes, the stream again from its beginning)."""
    head = taken(stream, HEAD_BYTES)
    first = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if first[:1] == b"{":
        while b"\n" not in first and len(head) < FIRST_LINE_MAX and (more := taken(stream, HEAD_BYTES)):
            head += more
            first += more
        line, _, following = first.partition(b"\n")
        if not following.strip():
            following = (more := taken(stream, HEAD_BYTES))
            head += more
        unfinished = line.rstrip()[-1:] in (b"{", b"[", b",", b":")  # no broken line: it goes on in the next
        lined = bool(following.strip()) and (
            _is_value(line) or (not unfinished and re.match(rb'\s*\{\s*"', following) is not None)
        )
    else:
        lined = False
    return lined, head, Prefixed(head, stream)  # type: ignore[return-value]


def _is_value(line: bytes) -> bool:
    try:
        decode(line)
    except ValueError:
        return False
    return True
