"""Markdown: a folder that reads as text: README.md, and a file for each month of each channel.

A message is a line that says who and when, and its text as a quotation, so that nothing in it (a heading, a fence left
open) reaches beyond it. Raw HTML and links that would run something are taken apart: some readers obey both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from quire.exchange.exported import AuthorLine, ChannelLine, HeaderLine, MessageLine
from quire.exchange.writing import File, Files, safe_name

NAME = "markdown"
TITLE = "a folder of Markdown, a file a month"
FOLDER = THREADS = True

OPENS = re.compile(
    r"(`{3,}(?=[^`]*$)|~{3,})"
)  # indented it may belong to a list, and end with it: then it is text
CLOSES = re.compile(r" {0,3}(`{3,}|~{3,}) *$")
LINK = re.compile(r"\]\s*\((?!\s*<?(?:https?:|mailto:|#))", re.IGNORECASE)
DEFINITION = re.compile(r"^( {0,3})\[(?=[^\]]*\]:)")
SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&-])")


class MarkdownWriter:
    """Fills one folder."""

    def __init__(self, path: Path, header: HeaderLine, files: Files) -> None:
        self._path = path
        self._files = files
        self._header = header
        self._taken = {"files", "readme.md", "signed.jsonl"}
        self._names: dict[str, str] = {}
        self._index: list[str] = []
        self._file: File | None = None
        self._folder = path
        self._title = self._month = self._day = self._root = ""

    def channel(self, channel: ChannelLine) -> None:
        self._close()
        self._title = plain(channel.name)
        name = safe_name(channel.name, self._taken)
        self._folder = self._path / name
        self._folder.mkdir(mode=0o700)
        self._month = self._day = self._root = ""
        self._index.append(f"\n## {self._title}\n")
        if channel.topic:
            self._index.append(f"\n{plain(channel.topic)}\n")
        self._index.append("\n")

    def tell(self, authors: Sequence[AuthorLine], messages: Sequence[MessageLine]) -> None:
        self._names |= {author.key: author.name for author in authors}
        for message in messages:
            inside = message.thread == self._root and self._root != ""
            if not inside:
                self._root = message.id
                self._turn_to(message.time_ms)
            assert self._file is not None
            text = "".join(f"{'> ' * inside}{line}\n" for line in self._lines(message, inside))
            self._file.write(f"{text}{'>' * inside}\n".encode("utf-8", "replace"))

    def finish(self) -> None:
        self._close()
        span = [
            f"{word} {datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"
            for word, ms in (("from", self._header.since_ms), ("before", self._header.until_ms))
            if ms is not None
        ]
        about = f"Written by {self._header.export}. Times are UTC. {' '.join(span)}".strip()
        self._files.write(self._path / "README.md", f"# Messages\n\n{about}\n{''.join(self._index)}")

    def _turn_to(self, time_ms: int) -> None:
        """The month's file and the day's heading."""
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        month, day = f"{moment:%Y-%m}", f"{moment:%Y-%m-%d}"
        if month != self._month:
            self._close()
            self._month, self._day = month, ""
            self._file = self._files.new(self._folder / f"{month}.md")
            self._file.write(f"# {self._title}, {moment:%B %Y}\n".encode())
            self._index.append(f"- [{moment:%B %Y}]({self._folder.name}/{month}.md)\n")
        if day != self._day:
            self._day = day
            assert self._file is not None
            self._file.write(f"\n## {moment:%A}, {moment.day} {moment:%B %Y}\n\n".encode())

    def _lines(self, line: MessageLine, inside: bool) -> Iterator[str]:
        moment = datetime.fromtimestamp(line.time_ms / 1000, UTC)
        when = f"{moment:%H:%M}" if not inside else f"{moment.day} {moment:%b %Y %H:%M}"
        facts = [f"**{plain(self._names[line.author])}**" if line.author else "", when]
        if line.thread and not inside:
            facts.append("in a thread begun earlier")
        if line.edits or line.edited_ms is not None:
            facts.append("edited")
        if line.pinned:
            facts.append("pinned")
        yield f"{' · '.join(filter(None, facts))} " + f'<a id="{line.id}"></a>'
        if line.title:
            yield ""
            yield f"**{plain(line.title)}**"
        yield ""
        if line.deleted:
            reason = f": {plain(line.deleted.reason)}" if line.deleted.reason else ""
            yield f"*deleted{reason}*"
        elif line.notice or line.action:
            yield f"*{plain(line.text)}*"
        else:
            yield from (f"> {text}".rstrip() for text in quotable(line.text))
        for file in line.attachments:
            yield ""
            there = f"[{plain(file.name)}](../{quote(file.file)})" if file.file else plain(file.name)
            yield f"Attached: {there}" + (f" {plain(file.url)}" if file.url else "")
        if line.reactions:
            yield ""
            yield " ".join(f"{plain(r.emoji)} {len(r.authors) + r.unknown}" for r in line.reactions)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def plain(text: str) -> str:
    """Text of strangers on one line, as text."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def quotable(body: str) -> Iterator[str]:
    """The lines of a body, with what could run made text, except in fenced code, which is shown as it is."""
    fence = ""
    for line in body.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        line = line.expandtabs(4)
        if fence:
            closed = CLOSES.match(line)
            if closed and closed[1].startswith(fence):
                fence = ""
            yield line
        elif found := OPENS.match(line):
            fence = found[1]
            yield line.replace("<", "&lt;")
        else:
            yield DEFINITION.sub(r"\1\\[", LINK.sub(r"]\\(", line.replace("<", "&lt;")))


open_writer = MarkdownWriter
