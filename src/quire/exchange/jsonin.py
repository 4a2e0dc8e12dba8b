"""JSON documents of messages, one object at a time, however large or broken the file is.

`objects` finds the arrays of objects that a caller names by key ("messages", "chunk", or the top-level
array itself) and yields their items. A document of moderate size is split by msgspec without building
its objects (`Raw`), which is fast; a larger one, or one that breaks off, goes through ijson, which also
saves what stands before the break. Nothing here knows a chat format.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import ijson
import msgspec

from quire.exchange.text import clean

WHOLE_MAX = 24 << 20  # bytes of a document that is held at once; its items are still decoded singly
DEPTH_MAX = 12  # of objects searched for the named arrays

BROKEN = (ijson.JSONError, ValueError, RecursionError, UnicodeError, OverflowError)

_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_array = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder()


class BrokenJson(Exception):
    """The document ends or goes wrong here; what came before was yielded."""


class Prefixed(io.RawIOBase):
    """A stream with the bytes already taken from it put back in front."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            data, self._head = self._head + self._rest.read(), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def loads(data: bytes | msgspec.Raw) -> Any:
    """One JSON value. Lone surrogates, which msgspec refuses, come as they stand. Raises ValueError."""
    try:
        return _any.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(bytes(data))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


Seen = Callable[[str, Any], None]


def objects(stream: BinaryIO, arrays: frozenset[str], seen: Seen) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (path, item) for each item of the arrays named in `arrays`, "" being a top-level array.

    path is the keys that led there, the array's own last. `seen(key, value)` is told the plain
    values of the top-level object and its small other arrays. Raises BrokenJson where the document
    goes wrong.
    """
    head = stream.read(WHOLE_MAX + 1)
    start = 3 if head.startswith(codecs.BOM_UTF8) else 0
    if len(head) <= WHOLE_MAX:
        more = stream.read(1)  # a raw stream may give less than asked for
        while more and len(head) <= WHOLE_MAX:
            head += more + stream.read(WHOLE_MAX)
            more = stream.read(1)
        head += more
        if not more:
            try:
                top = msgspec.Raw(head[start:])
                found = list(_arrays(top, arrays, seen, (), 0))
            except (ValueError, RecursionError):
                pass  # ijson says where, and saves the first part
            else:
                for path, raws in found:
                    for raw in raws:
                        yield path, _item(raw)
                return
    yield from _streamed(Prefixed(head[start:], stream), arrays, seen)


def _item(raw: msgspec.Raw) -> Any:
    try:
        return loads(raw)
    except (ValueError, RecursionError):
        return None


def _arrays(
    raw: msgspec.Raw, arrays: frozenset[str], seen: Seen, path: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], list[msgspec.Raw]]]:
    first = bytes(memoryview(raw)[:64]).lstrip()[:1]
    key = path[-1] if path else ""
    if first == b"[" and key in arrays:
        yield path, _raw_array.decode(raw)
    elif first == b"{" and depth < DEPTH_MAX:
        for name, value in _raw_object.decode(raw).items():
            yield from _arrays(value, arrays, seen, (*path, clean(name)), depth + 1)
    elif depth == 1 and len(memoryview(raw)) < 1 << 20:
        seen(key, loads(raw))
    elif not path:
        loads(raw)  # a broken document is not an empty one


def _streamed(stream: Prefixed, arrays: frozenset[str], seen: Seen) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The same through ijson's events: builds an item at a time."""
    path: list[str] = []  # the key of each open object; "" of each open array
    opened = False
    try:
        events = ijson.basic_parse(stream, use_float=True, buf_size=1 << 16)
        for event, value in events:
            if event == "map_key":
                path[-1] = clean(value)
            elif event == "start_array" and (path[-1] if path else "") in arrays and "" not in path:
                yield from _items(events, tuple(path))
                opened = True
            elif event in ("start_map", "start_array"):
                path.append("")
                opened = True
            elif event in ("end_map", "end_array"):
                path.pop()
            elif len(path) == 1:
                seen(path[0], value)
        if not opened:
            raise BrokenJson("no object and no array")
    except BROKEN as error:
        raise BrokenJson("the JSON breaks off or goes wrong here") from error


def _items(events: Iterator[tuple[str, Any]], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    depth = 0
    builder = ijson.ObjectBuilder()
    for event, value in events:
        if depth == 0 and event == "end_array":
            return
        builder.event(event, value)
        if event in ("start_map", "start_array"):
            depth += 1
        elif event in ("end_map", "end_array"):
            depth -= 1
        if depth == 0:
            yield path, builder.value
            builder = ijson.ObjectBuilder()
