"""Canonical bytes: exactly one encoding per value (docs/spec/01-encoding.md).

MessagePack by msgspec, every structure an array with all its fields. msgspec accepts some encodings it
would not write itself (longer arrays, wide integers), so whatever is hashed or signed is decoded,
encoded again and compared: what differs is malformed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from quire.errors import MalformedError

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode


class Codec:
    """Strict decoding of one type (or tagged union of types)."""

    def __init__(self, type_: Any, rule: str) -> None:
        self._type = type_
        self._rule = rule

    @cached_property
    def _decode(self) -> Callable[[bytes], Any]:
        """Made when first needed: it evaluates the annotations of every type in it, milliseconds of a start."""
        return msgspec.msgpack.Decoder(self._type).decode

    def decode(self, data: bytes, what: type[T] | None = None) -> Any:
        """The value with exactly these bytes. Raises: MalformedError (rule of this codec)."""
        try:
            value = self._decode(data)
            canonical = encode(value) == data
        except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError) as error:
            raise MalformedError(f"{self._rule}: {type(error).__name__}", rule=self._rule) from error
        if not canonical:
            raise MalformedError(
                f"{self._rule}: not the canonical encoding", rule=f"{self._rule}_not_canonical"
            )
        return value

    @property
    def trusted(self) -> Callable[[bytes], Any]:
        """Decodes bytes that were checked when they were stored."""
        return self._decode
