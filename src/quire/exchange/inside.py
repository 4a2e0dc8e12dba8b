"""Files that lie in an export beside its messages: which of them a message means.

Exports name files in every way: by a path from the root, from the folder of the chat, from a folder that is not part of the
archive, or by nothing but a name. A name in the export is only ever a key into its listing; what leads anywhere else
finds nothing, and what may be one of several is none of them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO
from urllib.parse import unquote

from quire.exchange.model import Attachment, Message, Record
from quire.exchange.sources import Source

CANDIDATES_MAX = 64  # files of one name that are looked at


class Watched(Source):
    """An export that knows which of its files is being read."""

    def __init__(self, source: Source) -> None:
        self.path = source.path
        self.forwards_only = source.forwards_only
        self.current = ""
        self._source = source
        self._raw = source.raw  # an attached archive is attached as it is
        self._by_name: dict[str, list[str]] | None = None

    @property
    def damage(self) -> str:  # type: ignore[override]
        return self._source.damage

    def sizes(self) -> dict[str, int]:
        return self._source.sizes()

    def open(self, name: str) -> BinaryIO:
        self.current = name
        return self._source.open(name)

    def file_sizes(self) -> dict[str, int]:
        """Of files as they lie there."""
        return self._raw.sizes()

    def open_file(self, name: str) -> BinaryIO:
        """One of them, while others are being read."""
        return self._raw.open(name)

    def walk_files(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, BinaryIO]]:
        """All of them that are wanted, in one pass."""
        yield from self._raw.walk(wanted)

    def walk(self, wanted: Callable[[str], bool] = lambda name: True) -> Iterator[tuple[str, BinaryIO]]:
        for name, stream in self._source.walk(wanted):
            self.current = name
            yield name, stream

    def read(self, name: str) -> bytes:
        return self._source.read(name)

    def peek(self, name: str, size: int = 4096) -> bytes:
        return self._source.peek(name, size)

    def watched(self, records: Iterable[Record]) -> Iterator[tuple[Record, str]]:
        """Records, each with the file that it is in."""
        for record in records:
            yield record, self.current

    def files_of(self, message: Message, near: str) -> tuple[str, ...]:
        """For each attachment of a message the file that it is, or ""."""
        return tuple([self._find(one, near) for one in message.attachments])

    def _find(self, attachment: Attachment, near: str) -> str:
        named = attachment.file or attachment.url
        if not named or "://" in named or named.startswith("data:"):
            return ""
        sizes = self._raw.sizes()
        for url in dict.fromkeys((named, unquote(named.partition("?")[0]))):
            wanted = posixpath.normpath(url.replace("\\", "/")).lstrip("/")
            if wanted in ("", ".") or wanted.startswith(".."):
                continue
            beside = posixpath.normpath(posixpath.join(posixpath.dirname(near), wanted))
            for exact in (beside, wanted):
                if exact in sizes and exact != near:
                    return exact
            if found := self._alike(wanted):
                return found
        return ""

    def _alike(self, wanted: str) -> str:
        """The one file whose path ends as the wanted one does."""
        if self._by_name is None:
            self._by_name = {}
            for name in self._raw.sizes():
                self._by_name.setdefault(posixpath.basename(name), []).append(name)
        candidates = self._by_name.get(posixpath.basename(wanted), [])[:CANDIDATES_MAX]
        alike = sorted(((_common(name, wanted), name) for name in candidates), reverse=True)
        if not alike or (len(alike) > 1 and alike[0][0] == alike[1][0]):
            return ""
        common, name = alike[0]
        whole = common in (wanted.count("/") + 1, name.count("/") + 1)
        return name if whole or common > 1 else ""


def _common(one: str, other: str) -> int:
    """How many parts two paths have in common at their end."""
    count = 0
    for a, b in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if a != b:
            break
        count += 1
    return count
