"""JSONL: every line as it is told (docs/export-jsonl.md). Importing it gives back what was exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from quire.exchange.exported import AuthorLine, ChannelLine, EndLine, HeaderLine, Line, MessageLine
from quire.exchange.writing import Files

NAME = "jsonl"
TITLE = "Quire JSONL: lossless, one object a line; quire import reads it"
FOLDER = THREADS = False


class JsonlWriter:
    """Writes lines to one file."""

    def __init__(self, path: Path, header: HeaderLine, files: Files) -> None:
        self._file = files.new(path)
        self._encode = msgspec.json.Encoder().encode_lines
        self._messages = 0
        self.lines([header])

    def lines(self, lines: Sequence[Line]) -> None:
        """Any lines, as they are."""
        self._file.write(self._encode(lines))

    def channel(self, channel: ChannelLine) -> None:
        self.lines([channel])

    def tell(self, authors: Sequence[AuthorLine], messages: Sequence[MessageLine]) -> None:
        """Some messages of the channel, in order, and everybody new in them."""
        self.lines(authors)
        self.lines(messages)
        self._messages += len(messages)

    def finish(self) -> None:
        """The end, on disk."""
        self.lines([EndLine(self._messages)])
        self._file.close()


open_writer = JsonlWriter
