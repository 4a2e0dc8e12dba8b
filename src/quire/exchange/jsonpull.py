"""Large JSON documents, pulled apart by the reader that knows what it wants.

An importer walks down to the arrays of messages (`keys`, `items`) and takes each item whole. Items
are decoded by the standard library's C scanner straight from a window of text, so a message costs
microseconds and memory stays at the window plus one item, however long the file. ijson does the same
at an event per token: ten times the time for messages of sixty tokens.

Exports break: the disk was full, an editor mangled a line. What cannot be decoded is yielded as
`Broken`, and reading goes on at the next item that begins as the items before did. A document that
ends early ends every level with one `Broken`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

__all__ = ["Broken", "JsonPull"]

WINDOW_CHARS = 1 << 18
ITEM_CHARS_MAX = 16 << 20  # a single message or profile larger than this is no such thing
NUMBER_TAIL = 3  # a window that ends in `1e-` would give 1
DEPTH_MAX = 64  # of values passed over

_BRACKET = re.compile(r"[{}\[\]]|\"(?:[^\"\\]|\\.)*+\"", re.DOTALL)
_FOLLOWING = re.compile(r"[ \t\r\n]*,([ \t\r\n]*)")
_STARTS = frozenset('{["')
_WHITE = re.compile(r"[ \t\r\n]*")


class Broken:
    """Stands where the document could not be read: `reason`, and whether nothing comes after."""

    def __init__(self, reason: str, *, final: bool) -> None:
        self.reason = reason
        self.final = final


class _Fault(Exception):
    """The text at the present position is not what JSON allows there."""


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float(digits)  # int() refuses thousands of digits


_decode = json.JSONDecoder(parse_int=_whole, strict=False).raw_decode


class JsonPull:
    """One document. Values must be taken in order; what is not taken is passed over."""

    def __init__(self, stream: BinaryIO, head: bytes = b"") -> None:
        """head     what was read of the stream before"""
        self._stream = stream
        while len(head) < 4 and (more := stream.read(4)):
            head += more
        self._decoder = codecs.getincrementaldecoder(_encoding(head))("replace")
        self._text = self._decoder.decode(head).removeprefix("\ufeff")
        self._at = 0
        self._ended = False
        self._dead = False  # nothing can be read any more
        self._taken = 0  # values taken or entered: tells whether the caller used the one it was offered

    def kind(self) -> str:
        """The first character of the next value: `{`, `[`, `"`, a digit ...; "" at the end."""
        self._skip_white()
        return self._text[self._at : self._at + 1]

    def value(self) -> Any:
        """The next value whole; Broken if it cannot be decoded."""
        try:
            return self._value()
        except _Fault as fault:
            self._dead = True
            return Broken(str(fault), final=True)

    def keys(self) -> Iterator[str | Broken]:
        """Enter an object: its keys. Take or enter the value after each, or it is passed over."""
        return self._guarded("{", self._keys())

    def items(self) -> Iterator[Any]:
        """Enter an array: its items whole, and Broken for those that cannot be decoded."""
        return self._guarded("[", self._items())

    def entries(self) -> Iterator[Broken | None]:
        """Enter an array and stop before each item, to be taken or entered by the caller."""
        return self._guarded("[", self._entries())

    def _guarded(self, kind: str, inside: Iterator[Any]) -> Iterator[Any]:
        """What is inside of an array or object; a Broken for a value that is none, or that breaks off."""
        try:
            self._taken += 1
            if self.kind() == kind:
                yield from inside
            else:
                self._pass_over()
                yield Broken("not a list" if kind == "[" else "not an object", final=False)
        except _Fault as fault:
            if not self._dead:  # it is said once, by the innermost
                self._dead = True
                yield Broken(str(fault), final=True)

    def _entries(self) -> Iterator[None]:
        self._expect("[")
        if self._close("]"):
            return
        while True:
            taken = self._taken
            yield None
            if self._taken == taken:
                self._pass_over()
            if self._close("]"):
                return
            self._expect(",")

    def _keys(self) -> Iterator[str]:
        self._taken += 1
        self._expect("{")
        if self._close("}"):
            return
        while True:
            key = self._value()
            if not isinstance(key, str):
                raise _Fault("a key is not a string")
            self._expect(":")
            taken = self._taken
            yield key
            if self._taken == taken:
                self._pass_over()
            if self._close("}"):
                return
            self._expect(",")

    def _items(self) -> Iterator[Any]:
        self._expect("[")
        if self._close("]"):
            return
        before = self._at
        self._skip_white()
        lead = self._text[before : self._at]  # the white space before an item
        while True:
            try:
                value = self._value()
            except _Fault as fault:
                if not self._resume(lead):
                    raise
                value = Broken(str(fault), final=False)
            yield value
            following = _FOLLOWING.match(self._text, self._at)
            if following and following.end() < len(self._text):  # nearly always
                self._at = following.end()
                lead = following[1]
                continue
            if self._close("]"):
                return
            if self.kind() != ",":
                if not self._resume(lead):
                    self._expect(",")
                yield Broken("no comma between two items", final=False)
            self._expect(",")

    def _resume(self, lead: str) -> bool:
        """Go behind the broken item at hand; False if its end is not to be found.

        Printed over lines, the next item begins with the same white space as this one did; otherwise
        the brackets outside of strings are counted.
        """
        if "\n" not in lead:
            return self._balance()
        following = re.compile(r"\}\s*," + re.escape(lead) + r"\{")
        while True:
            found = following.search(self._text, self._at + 1)
            if found:
                self._at = found.start() + 1
                return True
            if self._ended:
                return False
            self._at = max(self._at, len(self._text) - len(lead) - 64)
            self._fill()

    def _balance(self) -> bool:
        while not self._ended and len(self._text) - self._at <= ITEM_CHARS_MAX:
            self._fill()  # rare: a whole item is wanted before its end is known
        depth = 0
        for token in _BRACKET.finditer(self._text, self._at, self._at + ITEM_CHARS_MAX):
            sign = token[0][0]
            depth += (sign in "{[") - (sign in "}]")
            if depth <= 0 and sign != '"':
                self._at = token.end()
                return depth == 0
        return False

    def _pass_over(self, depth: int = 0) -> None:
        kind = self.kind()
        if depth > DEPTH_MAX:
            raise _Fault("nested too deeply")
        if kind == "{":
            for _ in self._keys():
                self._pass_over(depth + 1)
        elif kind == "[":
            self._taken += 1
            self._expect("[")
            if self._close("]"):
                return
            while True:
                self._pass_over(depth + 1)
                if self._close("]"):
                    return
                self._expect(",")
        else:
            self._value()

    def _value(self) -> Any:
        self._taken += 1
        if self._text[self._at : self._at + 1] not in _STARTS:
            self._skip_white()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if (
                    self._ended
                    or len(self._text) - self._at > ITEM_CHARS_MAX
                    or isinstance(error, RecursionError)
                ):
                    raise _Fault(self._what_is_wrong(error)) from None
            else:
                if end < len(self._text) - NUMBER_TAIL or self._ended:
                    self._at = end
                    return value
            self._fill()

    def _what_is_wrong(self, error: ValueError | RecursionError) -> str:
        if not isinstance(error, json.JSONDecodeError):
            return "broken JSON: nested too deeply"
        open_end = error.msg.startswith("Unterminated string") and not self._text[error.pos :].count("\n")
        if self._ended and (open_end or not self._text[error.pos :].strip()):
            return "the file ends early"
        return f"broken JSON: {error.msg}"

    def again(self) -> bool:
        """Does another document follow this one? Some programs append whole ones to a file."""
        try:
            return not self._dead and self.kind() in ("{", "[")
        except _Fault:
            return False

    def rest(self) -> Broken | None:
        """What follows the document: nothing, or a Broken for what should not be there."""
        try:
            if self._dead or not self.kind():
                return None
        except _Fault as fault:
            return Broken(str(fault), final=True)
        return Broken("more text after the end of the document", final=True)

    def _skip_white(self) -> None:
        while True:
            match = _WHITE.match(self._text, self._at)
            assert match is not None  # it matches nothing, too
            self._at = match.end()
            if self._at < len(self._text) or self._ended:
                return
            self._fill()

    def _close(self, sign: str) -> bool:
        if self.kind() != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._close(sign):
            raise _Fault(
                "the file ends early" if self._ended and not self.kind() else f"no {sign!r} where one must be"
            )

    def _fill(self) -> None:
        """Drop what was read, add as much again as is left, at least a window."""
        left = self._text[self._at :]
        data = self._stream.read(max(WINDOW_CHARS, len(left)))
        self._ended = not data
        self._text = left + self._decoder.decode(data or b"", final=not data)
        self._at = 0


def _encoding(head: bytes) -> str:
    """UTF-8 unless a mark, or the zero bytes of a first ASCII character, say otherwise."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[:1] == b"\0":
        return "utf-16-be"
    return "utf-16-le" if head[1:2] == b"\0" else "utf-8"
