"""What an import found and wrote, counted as it goes. Memory is bounded by authors and threads, not messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import msgspec

from quire.core.reports import ImportSummary
from quire.exchange import model

LISTED_MAX = 100  # problems and warnings kept for the summary; all are counted


class Tally:
    """Counters of one import."""

    def __init__(self, notices_are_messages: bool) -> None:
        self._notices_are_messages = notices_are_messages
        self.messages = 0
        self.duplicates = 0
        self.unresolved = 0
        self._count: Counter[str] = Counter()
        self._channels: Counter[str] = Counter()  # by key
        self._names: dict[str, str] = {}
        self._authors: set[str] = set()
        self._threads: set[int] = set()
        self._edited: set[int] = set()
        self._deleted: set[int] = set()
        self._problems: list[str] = []
        self._warnings: list[str] = []
        self._not_carried: Counter[str] = Counter()
        self._first_ms: int | None = None
        self._last_ms: int | None = None

    def messages_written(self, messages: Sequence[model.Message], channel: str) -> None:
        """New messages of one channel, without what hangs on them."""
        if not messages:
            return
        count = self._count
        counted = messages
        if any([message.notice for message in messages]):
            silent = [message for message in messages if not message.notice]
            count["notices"] += len(messages) - len(silent)
            counted = messages if self._notices_are_messages else silent
        self.messages += len(counted)
        if counted:
            key = messages[0].channel
            self._channels[key] += len(counted)
            self._names[key] = channel
        self._authors.update([message.author for message in counted])
        for message in messages:
            if message.thread or message.reply_to or message.title or message.attachments:
                self._hanging(message)
        times = [message.time_ms for message in messages]
        first, last = min(times), max(times)
        self._first_ms = first if self._first_ms is None else min(self._first_ms, first)
        self._last_ms = last if self._last_ms is None else max(self._last_ms, last)

    def let_go(self, count: int) -> None:
        """Messages that the retention of their channels let go, and that are not brought again."""
        self._not_carried["messages that retention let go"] += count

    def channel_named(self, key: str, name: str) -> None:
        """What the channel of a key is called after all."""
        if key in self._names:
            self._names[key] = name

    def _hanging(self, message: model.Message) -> None:
        if message.thread or message.title:
            self._threads.add(hash((message.channel, message.thread or message.id)))
        self._count["replies"] += bool(message.thread or message.reply_to)
        self._count["attachments"] += len(message.attachments)

    def additions(self, message: model.Message) -> None:
        """What stands with a new message."""
        target = (message.channel, message.ref or message.id)  # as events name it
        if message.edits or message.edited_ms is not None:
            self.edited(target, len(message.edits))
        if message.deleted:
            self.deleted(target)
        if message.pinned:
            self.pinned()
        self.reactions(sum(len(reaction.authors) + reaction.unknown for reaction in message.reactions))

    def edited(self, target: Hashable, texts: int) -> None:
        """A message was marked as edited, with so many later texts."""
        self._edited.add(hash(target))
        self._count["edit_events"] += texts

    def deleted(self, target: Hashable) -> None:
        self._deleted.add(hash(target))

    def reactions(self, number: int) -> None:
        """Reactions added (or, negative, taken back)."""
        self._count["reactions"] += number

    def pinned(self) -> None:
        self._count["pins"] += 1

    def files(self, number: int) -> None:
        """Files whose bytes came along."""
        self._count["files"] += number

    def skip(self, skipped: model.Skipped) -> None:
        """A broken record."""
        self._count["skipped"] += 1
        if len(self._problems) < LISTED_MAX:
            self._problems.append(f"{skipped.file}: {skipped.position}: {skipped.reason}")

    def warn(self, text: str) -> None:
        if len(self._warnings) < LISTED_MAX and text not in self._warnings:
            self._warnings.append(text)

    def note(self, record: Any) -> None:
        """A record that is about the import itself."""
        match record:
            case model.Skipped():
                self.skip(record)
            case model.Warn(text):
                self.warn(text)
            case model.NotCarried(what, count):
                self._not_carried[what] += count

    def _by_name(self) -> dict[str, int]:
        """Messages by channel; those that are called the same are told apart by their keys."""
        called = Counter(self._names.values())
        names = {key: name if called[name] == 1 else f"{name} ({key})" for key, name in self._names.items()}
        return {names[key]: count for key, count in self._channels.items()}

    def summary(self, format: str, source: str, dry_run: bool, seconds: float) -> ImportSummary:
        """The counts so far."""
        count = self._count
        return ImportSummary(
            format=format,
            source=source,
            dry_run=dry_run,
            channels=len(self._channels),
            messages=self.messages,
            notices=count["notices"],
            threads=len(self._threads),
            replies=count["replies"],
            reactions=count["reactions"],
            edited=len(self._edited),
            edit_events=count["edit_events"],
            deleted=len(self._deleted),
            attachments=count["attachments"],
            files=count["files"],
            authors=sum(
                bool(author) and author.rpartition(":")[2] != model.NOBODY for author in self._authors
            ),
            pins=count["pins"],
            duplicates=self.duplicates,
            unresolved=self.unresolved,
            skipped=count["skipped"],
            problems=tuple(self._problems),
            warnings=tuple(self._warnings),
            not_carried=dict(self._not_carried),
            channel_messages=self._by_name(),
            first_ms=self._first_ms,
            last_ms=self._last_ms,
            seconds=round(seconds, 3),
        )


def added_up(summaries: Sequence[ImportSummary]) -> ImportSummary:
    """The summaries of one import's formats as one; a single one as it is."""
    first, *others = summaries
    for other in others:
        changes: dict[str, Any] = {"format": f"{first.format}, {other.format}"}
        for field in first.__struct_fields__:
            one, two = getattr(first, field), getattr(other, field)
            if field in ("first_ms", "last_ms"):
                known = [time for time in (one, two) if time is not None]
                changes[field] = (min if field == "first_ms" else max)(known, default=None)
            elif isinstance(one, dict):
                changes[field] = dict(Counter(one) + Counter(two))
            elif isinstance(one, tuple):
                changes[field] = (one + two)[:LISTED_MAX]
            elif type(one) is int:
                changes[field] = one + two
        first = msgspec.structs.replace(first, **changes)
    return first
