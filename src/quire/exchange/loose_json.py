"""JSON from strangers: documents, lines and fields that are not what they should be.

`decode` takes one document in whatever encoding it came; `json_lines` takes one document a line from a
stream of any length. `mapping`, `sequence` and `strings` are how importers look into values: they give an
empty one where the type is wrong, so that no field access needs a test of its own.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import msgspec

from quire.exchange.text import clean

__all__ = ["decode", "json_lines", "mapping", "sequence", "strings"]

LINE_MAX = 32 << 20  # bytes; a post with a thousand replies is one line in some formats
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NOTHING: dict[str, Any] = {}

_any = msgspec.json.Decoder()


def decode(data: bytes) -> Any:
    """The value of one JSON document. Raises ValueError, and nothing else."""
    try:
        return _any.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # a lone surrogate, a byte-order mark, NaN, another encoding: Python's own is more lenient
    for mark, encoding in MARKS:
        if data.startswith(mark):
            text = data.decode(encoding, "replace").removeprefix("\ufeff")
            break
    else:
        text = data.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def json_lines(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """(line number, value) of each line that is not blank; a broken line's value is a ValueError."""
    reader = io.BufferedReader(cast(io.RawIOBase, stream), 1 << 18)  # only readinto() is used
    try:
        yield from _lines(reader)
    finally:
        reader.detach()  # the stream is its source's to close


def _lines(reader: BinaryIO) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := reader.readline(LINE_MAX):
        number += 1
        if len(line) == LINE_MAX and line[-1:] != b"\n":
            while line and line[-1:] != b"\n":
                line = reader.readline(LINE_MAX)
            yield number, ValueError("the line is too long")
            continue
        try:
            yield number, _any.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            line = line.strip().strip(b"\x1e")  # RFC 7464 begins each record with this separator
            if line and line != codecs.BOM_UTF8:
                yield number, _value_or_error(line)


def _value_or_error(line: bytes) -> Any:
    try:
        return decode(line)
    except ValueError as error:
        return error


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else NOTHING


def sequence(value: object) -> list[Any]:
    """`value` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def strings(value: object) -> list[str]:
    """The non-empty strings of an array, clean; whatever else stands in it is passed over."""
    return [clean(item) for item in value if type(item) is str and item] if isinstance(value, list) else []
