"""Compressed files in an export (`general.log.gz`) are read as what they hold, whatever the format.

The ending goes from the name, so no importer ever sees it; the content decides, so a file that only is called
so stays what it is, and a text that is compressed without saying so is read as well. gzip, bzip2 and xz, of any
number of parts. A file by itself that is called a text and holds JSON, or the other way round, is shown under the
ending that it should have: importers know files by it. Texts that an editor saved in UTF-16 come as UTF-8.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, cast

from quire.errors import FormatError
from quire.exchange.jsonin import Prefixed
from quire.exchange.loose_json import decode
from quire.exchange.sources import HEAD_BYTES, TEXTS, FileSource, Source, suffix_of
from quire.exchange.streams import BROKEN, Reading

ENDING = re.compile(r"(?<!\.tar)\.(?:gz|bz2|xz)$", re.I)
TEXT_ENDINGS = TEXTS - {""}
GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"
DOCUMENT = re.compile(rb"\{\s*[\"}]|\[\s*[\[{\]]")
PAGE = re.compile(rb"<!doctype html|<html|<\?xml[^>]*>\s*<(?:!doctype )?html", re.I)
ENDINGS_OF = {  # what a file holds -> endings under which it is looked for
    "json": frozenset(["json"]),
    "jsonl": frozenset(["jsonl", "ndjson", "jsonlines", "json"]),
    "html": frozenset(["html", "htm"]),
    "txt": frozenset(["txt"]),
}
MISLEADING = frozenset(["json", "jsonl", "ndjson", "html", "htm", "rtf", "doc", "docx", "pdf", "xml", "zip"])
KNOWN = (
    MISLEADING | TEXT_ENDINGS | frozenset(["csv", "md", "tsv", "dat", "bak", "old"])
)  # endings that may go
RATIO = 8  # what text shrinks by, about: a compressed file's size inside is not known before it was read


def uncompressed(source: Source) -> Source:
    """The same export without the compression of its single files."""
    return _Uncompressed(source)


def _kind(head: bytes, suffix: str) -> str:
    """What a file holds, by its first bytes: json, jsonl, html, txt; "" if they do not tell."""
    text = head
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if head.startswith(mark):
            text = head.decode(encoding, "replace").encode("utf-8", "replace")
    text = text.removeprefix(codecs.BOM_UTF8).lstrip()
    if DOCUMENT.match(text):
        first, end, rest = text.partition(b"\n")
        whole = not end  # what is longer than what was read is not known to be broken
        with contextlib.suppress(ValueError):
            whole = isinstance(decode(first), dict)
        lines = whole and (suffix in ENDINGS_OF["jsonl"] - {"json"} or rest.lstrip().startswith(b"{"))
        return "jsonl" if lines else "json"
    if PAGE.match(text):
        return "html"
    return "txt" if text and b"\0" not in text else ""


class _Uncompressed(Source):
    def __init__(self, inner: Source) -> None:
        self.path = inner.path
        self.forwards_only = inner.forwards_only
        self._inner = inner
        self._sizes: dict[str, int] | None = None
        self._real: dict[str, str] = {}  # shown name -> name of a file that may be compressed
        self._shown: dict[str, str] = {}  # and back

    @property
    def damage(self) -> str:  # type: ignore[override]
        return self._inner.damage

    @property
    def raw(self) -> Source:
        return self._inner

    def sizes(self) -> dict[str, int]:
        """Of a compressed file an estimate."""
        if self._sizes is None:
            sizes = dict(self._inner.sizes())
            for name in [name for name in sizes if ENDING.search(name)]:
                shown = ENDING.sub("", name)
                if shown and not shown.endswith("/") and shown not in sizes:
                    sizes[shown] = sizes.pop(name) * RATIO
                    self._real[shown], self._shown[name] = name, shown
            self._sizes = sizes
            if len(sizes) == 1 and isinstance(self._inner, FileSource):
                self._retitle(next(iter(sizes)))
        return self._sizes

    def _retitle(self, name: str) -> None:
        """Show a single file under the ending of what it holds."""
        assert self._sizes is not None
        held = _kind(self.peek(name, HEAD_BYTES), suffix_of(name))
        endings = ENDINGS_OF.get(held, frozenset())
        if held and suffix_of(name) not in endings and (held != "txt" or suffix_of(name) in MISLEADING):
            stem = name[: -len(suffix_of(name)) - 1] if suffix_of(name) in KNOWN else name
            shown = f"{stem or name}.{held}"
            self._sizes[shown] = self._sizes.pop(name)
            self._real[shown] = self._real.pop(name, name)
            self._shown[self._real[shown]] = shown

    def open(self, name: str) -> BinaryIO:
        self.sizes()
        stream = self._inner.open(self._real.get(name, name))
        return self._plain(name, stream)

    def _plain(self, name: str, stream: BinaryIO) -> BinaryIO:
        """`stream` as what it holds."""
        if name not in self._real:
            if suffix_of(name) not in TEXT_ENDINGS:
                return stream
            try:
                head = stream.read(len(XZ))
            except FormatError:
                return stream  # it says so again to who reads it
            stream = cast(BinaryIO, _Whole(head, stream))
            if encoding := _wide(head):
                return cast(BinaryIO, _Utf8(stream, encoding))
            if not head.startswith((GZIP, XZ, BZIP2)):
                return stream
        return cast(BinaryIO, _Plain(stream, name))

    def walk(self, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, BinaryIO]]:
        self.sizes()
        for name, stream in self._inner.walk(lambda name: wanted(self._shown.get(name, name))):
            shown = self._shown.get(name, name)
            yield shown, self._plain(shown, stream)

    def peek(self, name: str, size: int = 4096) -> bytes:
        self.sizes()
        if name not in self._real:
            head = self._inner.peek(name, size)
            if suffix_of(name) not in TEXT_ENDINGS:
                return head
            if encoding := _wide(head):
                return head.decode(encoding, "ignore").removeprefix("\ufeff").encode("utf-8", "replace")
            if not head.startswith((GZIP, XZ, BZIP2)):
                return head
        head = self._inner.peek(self._real.get(name, name), max(size, HEAD_BYTES))
        try:
            if head.startswith(GZIP):
                return zlib.decompressobj(wbits=31).decompress(head, size)
            if head.startswith(XZ):
                return lzma.LZMADecompressor().decompress(head, size)
        except BROKEN:
            return b""
        if head.startswith(BZIP2):  # its first block alone may be larger than a head
            with self.open(name) as stream:
                return stream.read(size)
        return head[:size]

    def close(self) -> None:
        self._inner.close()


class _Whole(Prefixed):
    """A stream of which a head was read, from its beginning; closes with it."""

    def read(self, size: int = -1) -> bytes:
        data = super().read(size)
        if 0 < len(data) < size:
            with contextlib.suppress(FormatError):  # said again to who asks for more
                data += self._rest.read(size - len(data))
        return data

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._rest.close()
        super().close()


def _wide(head: bytes) -> str:
    """The encoding of a text in UTF-16, by its mark or, of ASCII, by its zeros; "" if it is none."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [at for at, byte in enumerate(head[:4]) if byte == 0]
    return "utf-16-le" if zeros == [1, 3] else "utf-16-be" if zeros == [0, 2] else ""


class _Utf8(Reading):
    """A text in UTF-16 as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._left = b""
        self._done = False

    def read(self, size: int = -1) -> bytes:
        """As of any file: less than `size` only at the end, or before damage."""
        while not self._done and (size < 0 or len(self._left) < size):
            try:
                piece = self._stream.read(HEAD_BYTES)
            except FormatError:
                if self._left:  # said again when it is asked for more
                    break
                raise
            self._done = not piece
            text = self._decoder.decode(piece, final=self._done)
            self._left += text.encode("utf-8", "replace")
        size = len(self._left) if size < 0 else size
        found, self._left = self._left[:size], self._left[size:]
        return found

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._stream.close()
        super().close()


class _Plain(io.RawIOBase):
    """What a stream holds, uncompressed if it begins as a compressed one. What comes before damage is read first."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._name = name
        self._packed = io.BufferedReader(cast(io.RawIOBase, stream), HEAD_BYTES)
        self._inner: Any = None

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            data: bytes = self._opened().read1(len(buffer))
        except BROKEN as error:
            raise FormatError(f"{self._name}: {error}", rule="broken_archive", file=self._name) from error
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """As of any file: less than `size` only at the end, or before damage."""
        found = bytearray()
        while size < 0 or len(found) < size:
            try:
                piece = super().read(size - len(found) if size >= 0 else HEAD_BYTES)
            except FormatError:
                if found:  # said again when it is asked for more
                    break
                raise
            if not piece:
                break
            found += piece
        return bytes(found)

    def _opened(self) -> Any:
        if self._inner is None:
            head = self._packed.peek(len(XZ))
            if head.startswith(GZIP):
                self._inner = gzip.GzipFile(fileobj=self._packed)
            elif head.startswith(BZIP2):
                self._inner = bz2.BZ2File(self._packed)
            elif head.startswith(XZ):
                self._inner = lzma.LZMAFile(self._packed)  # noqa: SIM115  # it is closed with us
            else:
                self._inner = self._packed
        return self._inner

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            for one in (self._inner, self._packed):
                with contextlib.suppress(Exception):
                    one.close()
        super().close()
