"""CSV: one table (RFC 4180, UTF-8), a message a row, in order of time.

A spreadsheet runs what begins like a formula, whoever wrote it: such a cell gets an apostrophe before it, which
spreadsheets take for "this is text". So a table is to be read, not imported again; JSONL is for that.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from quire.exchange.exported import AuthorLine, ChannelLine, HeaderLine, MarkPart, MessageLine
from quire.exchange.writing import Files

NAME = "csv"
TITLE = "one table for a spreadsheet"
FOLDER = THREADS = False

COLUMNS = (
    "channel", "id", "time", "author", "author_key", "text", "kind", "title", "thread", "reply_to", "edited",
    "versions", "deleted", "pinned", "reactions", "attachments",
)  # fmt: skip
# Spreadsheets also obey the full-width forms, and what stands behind blanks.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")
LEADING = ("\t", "\r", "\n")


class CsvWriter:
    """Writes rows to one file."""

    def __init__(self, path: Path, header: HeaderLine, files: Files) -> None:
        self._file = files.new(path)
        self._names: dict[str, str] = {}
        self._channel = ""
        self._rows([COLUMNS])

    def channel(self, channel: ChannelLine) -> None:
        self._channel = channel.name

    def tell(self, authors: Sequence[AuthorLine], messages: Sequence[MessageLine]) -> None:
        self._names |= {author.key: author.name for author in authors}
        self._rows([self._row(message) for message in messages])

    def finish(self) -> None:
        self._file.close()

    def _row(self, line: MessageLine) -> tuple[str, ...]:
        reactions = "; ".join(f"{r.emoji} {len(r.authors) + r.unknown}" for r in line.reactions)
        edited = line.edits[-1].time_ms if line.edits else line.edited_ms
        return (
            self._channel, line.id, stamp(line.time_ms), self._names[line.author], line.author, line.text,
            line.notice or ("action" if line.action else "message"), line.title, line.thread, line.reply_to,
            "" if edited is None else stamp(edited), str(len(line.edits) + 1), _mark(line.deleted),
            _mark(line.pinned), reactions, "\n".join(a.url or a.name for a in line.attachments),
        )  # fmt: skip

    def _rows(self, rows: Sequence[tuple[str, ...]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows([map(harmless, row) for row in rows])
        self._file.write(text.getvalue().encode("utf-8", "replace"))


def harmless(cell: str) -> str:
    """A cell that no spreadsheet runs."""
    risky = cell.startswith(LEADING) or cell.lstrip().startswith(FORMULA)
    return "'" + cell if risky else cell


def stamp(time_ms: int) -> str:
    """`2024-03-05T14:30:00.123Z`."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _mark(mark: MarkPart | None) -> str:
    return stamp(mark.time_ms) if mark else ""


open_writer = CsvWriter
