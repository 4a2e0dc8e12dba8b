"""Stored operations as plain values, read in Python alone (docs/spec/01-encoding.md has the encoding).

For the first pages of a fresh process: reading some posts so is quicker than importing what reads any number at once
(core/encoding.py), and gives the same; a test compares. Only for bytes that were checked when they were stored: what is not
as `encode` writes it may be misread here.
"""

from __future__ import annotations

from typing import Any

from quire.core.contents import SALT_SIZE, Attachment, File, Origin
from quire.core.values import Value

_SIZES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4}  # bytes that say how long
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_UNSIGNED = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


class PlainPost(Value):
    """A post, with the fields of core/operation.py's."""

    body: str
    root: bytes | None
    reply_to: bytes | None
    notice: int
    flags: int
    title: str
    attachments: tuple[Attachment, ...]
    mentions: tuple[str, ...]
    origin: Origin | None


def plain_post(salted: bytes) -> PlainPost:
    """The post in salt || operation."""
    _, body, root, reply_to, notice, flags, title, attachments, mentions, origin = _operation(salted)
    return PlainPost(
        body, root, reply_to, notice, flags, title, tuple(map(_attachment, attachments)), tuple(mentions),
        None if origin is None else Origin(*origin),
    )  # fmt: skip


def edit_body(salted: bytes) -> str:
    """The text of the edit in salt || operation."""
    body: str = _operation(salted)[3]  # after its tag, what it is on, and the version that it replaces
    return body


def reason(salted: bytes) -> str:
    """Why, of the deletion in salt || operation."""
    why: str = _operation(salted)[2]  # after its tag, and what it is on
    return why


def _attachment(fields: list[Any]) -> Attachment:
    name, url, media_type, size_bytes, file = fields
    return Attachment(name, url, media_type, size_bytes, None if file is None else File(*file))


def _operation(salted: bytes) -> list[Any]:
    fields: list[Any] = value_at(salted, SALT_SIZE)[0]
    return fields


def value_at(data: bytes, at: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where the next one does. An array is a list."""
    first, at = data[at], at + 1
    if first < 0x80:
        return first, at
    if first >= 0xE0:
        return first - 0x100, at
    if first in _CONSTANTS:
        return _CONSTANTS[first], at
    if (size := _UNSIGNED.get(first) or _SIGNED.get(first)) is not None:
        end = at + size
        return int.from_bytes(data[at:end], "big", signed=first in _SIGNED), end
    if first & 0xF0 == 0x90:
        return _array(data, at, first & 0x0F)
    if first & 0xE0 == 0xA0:
        count = first & 0x1F
    else:
        end = at + _SIZES[first]
        count, at = int.from_bytes(data[at:end], "big"), end
    if first >= 0xDC:
        return _array(data, at, count)
    end = at + count
    return (data[at:end] if first in (0xC4, 0xC5, 0xC6) else data[at:end].decode()), end


def _array(data: bytes, at: int, count: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(count):
        item, at = value_at(data, at)
        items.append(item)
    return items, at
