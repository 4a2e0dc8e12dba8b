"""A signed export as it is read: its lines, twice over, and what was found about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from quire.core.ids import ChannelId
from quire.core.limits import COMMIT_BYTES_MAX
from quire.errors import FormatError
from quire.exchange.exported import ChannelLine, HeaderLine, Line
from quire.storage import log
from quire.store.findings import Findings, Progress
from quire.store.local import LocalStore

LINE_MAX = 4 * COMMIT_BYTES_MAX
PROBLEMS_MAX = 1_000


class Export:
    """The file, the throw-away vault that its commits go into, and what was found."""

    def __init__(self, store: LocalStore, file: Path, progress: Progress | None) -> None:
        self.store, self.file = store, file
        self.tell = progress or (lambda what, done, total: None)
        self.findings = Findings(PROBLEMS_MAX)
        self.problem = self.findings.add
        self.notes: list[str] = []
        self.header = HeaderLine(0)
        self.channels: list[ChannelLine] = []
        self._read_once = False

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Every line that is one; the others are problems, the first time."""
        decode, encode = msgspec.json.Decoder(Line).decode, msgspec.json.Encoder().encode
        first_time, self._read_once = not self._read_once, True
        with self.file.open("rb") as file:
            number = 0
            while data := file.readline(LINE_MAX):
                number += 1
                try:
                    line = decode(data)
                    if encode(line) + b"\n" != data:  # two readers might read it as two things
                        raise msgspec.DecodeError("not as an export writes it")
                    yield number, line
                except (msgspec.MsgspecError, UnicodeError, RecursionError):
                    if number == 1:
                        raise not_signed(self.file) from None
                    if first_time:
                        self.problem("line_broken", f"line {number}", "it is no line of an export")

    def row(self, key: str) -> log.ChannelRow | None:
        """A channel in the vault, by the key that lines give it."""
        try:
            return log.channel_by_id(self.store.database.reader, ChannelId(bytes.fromhex(key)))
        except ValueError:
            return None


def not_signed(file: Path) -> FormatError:
    """What a file is that holds no proof."""
    return FormatError(
        f"{file.name} is no signed export", rule="not_signed", hint="quire export --signed writes one"
    )


def differing(signed: Any, line: Any) -> str:
    """The fields that differ, by name."""
    return ", ".join(
        name for name in signed.__struct_fields__ if getattr(signed, name) != getattr(line, name)
    )
