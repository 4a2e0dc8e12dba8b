"""The lines of a signed export against what was signed.

The vault that took its commits tells its channels, and each line must say the same. Both are in the order of each channel, and
are walked side by side; what is out of step waits, within bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw

from quire.errors import FormatError
from quire.exchange.exported import AuthorLine, ChannelLine, EndLine, MessageLine
from quire.storage import log
from quire.storage import timeline as rows
from quire.store.checking_export import Export, differing
from quire.store.telling import Teller, message_id

APART_MAX = 100_000  # lines that do not meet their message yet


class Lines:
    """Compares every line of an export with what the vault tells."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._authors: dict[str, AuthorLine] = {}
        self.messages = 0

    def compare(self) -> None:
        """Walk the lines of messages and the vault's own telling side by side; both are in the order of each channel."""
        walk: Walk | None = None
        known = {row.id.hex() for row in log.channels(self._export.store.database.reader)}
        total = 0
        with self._export.store.database.snapshot() as db:
            teller = Teller(db)
            for number, line in self._export.lines():
                if isinstance(line, ChannelLine):
                    self._end(walk)
                    walk = None
                    row = self._export.row(line.key)
                    if row is None:
                        continue
                    known.discard(line.key)
                    if teller.channel(row) != line:
                        fields = differing(teller.channel(row), line)
                        self._export.problem("channel_changed", f"line {number}, #{line.name}", fields)
                    expected = (tuple(told.messages) for told in teller.tell(row))
                    walk = Walk(self._export, db, expected, line)
                elif isinstance(line, AuthorLine):
                    self._authors[line.key] = line
                elif isinstance(line, MessageLine):
                    total += 1
                    if walk is None or line.channel != walk.channel.key:
                        self._export.problem(
                            "message_unsigned", f"line {number}, {line.id[:60]}", "it is of no channel here"
                        )
                    else:
                        walk.take(number, line)
                    if total % 1_000 == 0:
                        self._export.tell("messages", total, 0)
                elif isinstance(line, EndLine) and line.messages != total:
                    self._export.problem(
                        "cut_short",
                        f"line {number}",
                        f"{line.messages} messages were written, {total} are here",
                    )
            self._end(walk)
            for key in known:
                self._export.problem("channel_changed", key[:16], "its commits are here, its lines are not")
            self._check_authors(db)
        self.messages = total

    def _end(self, walk: Walk | None) -> None:
        if walk is not None:
            walk.finish()

    def _check_authors(self, db: apsw.Connection) -> None:
        found: Any = db.execute("SELECT key, name, bot FROM author")
        signed = {key: (name, bool(bot)) for key, name, bot in found}
        for key, line in self._authors.items():
            if key not in signed:
                self._export.problem(
                    "author_changed", key[:80], "nobody of this key signed anything here, nor was imported"
                )
            elif signed[key] != (line.name, line.bot):
                self._export.problem(
                    "author_changed", key[:80], "name" if signed[key][0] != line.name else "bot"
                )


class Walk:
    """The lines of one channel beside what was signed; what is out of step waits, within bounds."""

    def __init__(
        self,
        export: Export,
        db: apsw.Connection,
        expected: Iterator[tuple[MessageLine, ...]],
        channel: ChannelLine,
    ) -> None:
        self._export, self._db, self.channel = export, db, channel
        self._expected = (line for some in expected for line in some)
        self._unmet: dict[str, MessageLine] = {}  # signed, and not yet among the lines
        self._early: dict[str, tuple[int, MessageLine]] = {}  # the other way round
        self._time_ms = 0

    def take(self, number: int, line: MessageLine) -> None:
        if line.time_ms < self._time_ms:
            self._export.problem(
                "messages_order", f"line {number}, {line.id[:60]}", "it is older than the line before"
            )
        self._time_ms = line.time_ms
        signed = next(self._expected, None)
        if signed is not None and signed.id == line.id:
            self._same(number, line, signed)
            return
        if signed is not None:
            early = self._early.pop(signed.id, None)
            if early is not None:
                self._same(*early, signed)
            else:
                self._unmet[signed.id] = signed
        unmet = self._unmet.pop(line.id, None)
        if unmet is not None:
            self._same(number, line, unmet)
        else:
            self._early[line.id] = (number, line)
        if len(self._early) + len(self._unmet) > APART_MAX:
            raise FormatError("this export has little to do with its proof", rule="not_signed")

    def _same(self, number: int, line: MessageLine, signed: MessageLine) -> None:
        if line != signed:
            self._export.problem("message_changed", f"line {number}, {line.id}", differing(signed, line))

    def finish(self) -> None:
        for signed in self._expected:
            early = self._early.pop(signed.id, None)
            if early is not None:
                self._same(*early, signed)
            else:
                self._unmet[signed.id] = signed
        for number, line in self._early.values():
            id = message_id(line.id)
            there = rows.get_row(self._db, id) if id else None
            what, detail = ("message_unsigned", "nobody signed this")
            if there is not None and log.channel_by_n(self._db, there.channel).id.hex() == self.channel.key:
                what, detail = ("message_repeated", "it stands twice")
            self._export.problem(what, f"line {number}, {line.id[:60]}", detail)
        for name in self._unmet:
            self._export.problem("message_missing", name, f"it was signed in #{self.channel.name}")
