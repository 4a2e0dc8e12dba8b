"""What a stream of import records adds up to, in the words of the corpora's counts.json.

A deliberately simple model of the store: messages are those distinct by (channel, id), a repeated one
adds its reactions and edits, and events that stand apart apply to the message they name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from quire.exchange.model import (
    NOBODY,
    Author,
    Channel,
    DeleteEvent,
    EditEvent,
    Message,
    NotCarried,
    PinEvent,
    Reaction,
    ReactionEvent,
    Record,
    Skipped,
    Warn,
)

Key = tuple[str, str]  # channel, message id


class Tally:
    """Takes records one by one; `counts()` sums up."""

    def __init__(self, notices_are_messages: bool) -> None:
        self.notices_are_messages = notices_are_messages
        self.records = 0
        self.messages: dict[Key, str] = {}  # -> author
        self.notices: dict[Key, str] = {}
        self.names: dict[str, str] = {}
        self.bots: set[str] = set()
        self.channels: dict[str, Channel] = {}
        self.roots: set[Key] = set()
        self.thread_replies: set[Key] = set()
        self.flow_replies: set[Key] = set()
        self.reactions: set[tuple[Key, str, str]] = set()
        self.unknown: dict[tuple[Key, str], int] = {}
        self.edited: set[Key] = set()
        self.edit_events: set[tuple[Key, str]] = set()
        self.deleted: set[Key] = set()
        self.pinned: set[Key] = set()
        self.attachments: dict[Key, int] = {}
        self.times: list[int] = []
        self.skipped: list[Skipped] = []
        self.warnings: list[str] = []
        self.not_carried: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        match record:
            case Message():
                self.message(record)
            case Channel():
                self.channels[record.key] = record
            case Author():
                self.names[record.key] = record.name
                (self.bots.add if record.bot else self.bots.discard)(record.key)
            case EditEvent():
                target = (record.channel, record.target)
                self.edited.add(target)
                self.edit_events.add((target, record.edit.id or f"{record.edit.time_ms} {record.edit.body}"))
            case ReactionEvent():
                self.reaction((record.channel, record.target), record.reaction, record.removed)
            case DeleteEvent():
                self.deleted.add((record.channel, record.target))
            case PinEvent():
                pinned = self.pinned.discard if record.removed else self.pinned.add
                pinned((record.channel, record.target))
            case Skipped():
                self.skipped.append(record)
            case Warn():
                self.warnings.append(record.text)
            case NotCarried():
                self.not_carried[record.what] += record.count

    def message(self, message: Message) -> None:
        key = (message.channel, message.id)
        assert message.channel in self.channels, "a channel comes before its first message"
        assert message.id not in (message.thread, message.reply_to), "no message answers itself"
        self.records += 1
        self.times.append(message.time_ms)
        (self.notices if message.notice else self.messages).setdefault(key, message.author)
        if message.thread:
            self.thread_replies.add(key)
            self.roots.add((message.channel, message.thread))
        if message.title:
            self.roots.add(key)
        if message.reply_to:
            self.flow_replies.add(key)
        if message.edits or message.edited_ms is not None:
            self.edited.add(key)
        if message.deleted:
            self.deleted.add(key)
        if message.pinned:
            self.pinned.add(key)
        self.attachments[key] = max(self.attachments.get(key, 0), len(message.attachments))
        for reaction in message.reactions:
            self.reaction(key, reaction, removed=False)

    def reaction(self, key: Key, reaction: Reaction, removed: bool) -> None:
        for author in reaction.authors:
            (self.reactions.discard if removed else self.reactions.add)((key, reaction.emoji, author))
        if reaction.unknown:
            place = (key, reaction.emoji)
            self.unknown[place] = max(self.unknown.get(place, 0), reaction.unknown)

    def counts(self) -> dict[str, Any]:
        here = {**self.messages, **self.notices}
        counted = here if self.notices_are_messages else self.messages
        kinds = {emoji for _, emoji, _ in self.reactions} | {emoji for _, emoji in self.unknown}
        replies = self.thread_replies | self.flow_replies
        return {
            "records": self.records,
            "messages": len(counted),
            "notices": len(self.notices),
            "duplicates": self.records - len(here),
            "channels": len({channel for channel, _ in counted}),
            "channels_listed": len(self.channels),
            "threads": len(self.roots),
            "replies": len(replies),
            "thread_replies": len(self.thread_replies),
            "flow_replies": len(self.flow_replies),
            "reactions": sum(key in here for key, _, _ in self.reactions) + sum(self.unknown.values()),
            "reaction_kinds": len(kinds),
            "edited": len(self.edited & here.keys()),
            "edit_events": len(self.edit_events),
            "deleted": len(self.deleted & here.keys()),
            "pinned": len(self.pinned & here.keys()),
            "attachments": sum(self.attachments.values()),
            "authors": len(set(counted.values()) - {"", NOBODY}),
            "authors_with_notices": len({author for author in here.values() if author}),
            "bot_messages": sum(author in self.bots for author in counted.values()),
            "first_ms": min(self.times, default=None),
            "last_ms": max(self.times, default=None),
            "messages_per_channel": dict(Counter(channel for channel, _ in counted)),
            "skipped": len(self.skipped),
            "warnings": len(self.warnings),
            "not_carried": dict(self.not_carried),
        }


def tally(records: Iterable[Record], notices_are_messages: bool = True) -> dict[str, Any]:
    """The counts of `records`. Pass the importer's NOTICES_ARE_MESSAGES."""
    total = Tally(notices_are_messages)
    for record in records:
        total.add(record)
    return total.counts()
