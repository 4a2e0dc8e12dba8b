"""Signal conversations as JSON: sigtop's, signal-export's and what signal-cli receives.

sigtop writes the rows of Signal's own database, one array a conversation: they have ids, edits with their texts,
reactions with their times, and answers by the time of what they answer. signal-export's `data.json` has a message a
line with names only; it is read where its `chat.md` is not beside it, which says the same. signal-cli has an envelope
a line; its reactions, edits and deletions name a message by the time it was sent, so that is its id here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from quire.exchange.jsonin import document_or_lines, objects
from quire.exchange.jsonpull import Broken
from quire.exchange.lines import LineIds, WallClock, is_clutter
from quire.exchange.loose_json import json_lines, mapping, sequence
from quire.exchange.model import (
    NOBODY,
    Attachment,
    Author,
    Channel,
    DeleteEvent,
    Edit,
    EditEvent,
    Message,
    Reaction,
    ReactionEvent,
    Record,
    Skipped,
)
from quire.exchange.moments import Moments
from quire.exchange.sources import Source
from quire.exchange.text import iso_ms, string

LOOK_BYTES = 16_384
SENT_MAX = 100_000  # times remembered to tell messages of one millisecond apart
YOU = "You"
OWNER = "Me"

ENVELOPE = re.compile(rb'"envelope"\s*:\s*\{')
OF_CLI = re.compile(
    rb'"(?:dataMessage|syncMessage|receiptMessage|typingMessage|editMessage|sourceNumber|sourceUuid)"\s*:'
)
OF_ROW = re.compile(
    rb'"(?:conversationId|sent_at|received_at|schemaVersion|sourceServiceId|hasAttachments)"\s*:'
)
OF_LINE = re.compile(rb'"(?:sender|sticker|reactions|quote|attachments)"\s*:')
NAMED = re.compile(r"(?P<name>.+) \((?P<id>\+?\d{5,}|[0-9a-f-]{36}|group)\)$")
KEPT = frozenset(["incoming", "outgoing", "story"])


def may_be_json(name: str) -> bool:
    return name.lower().endswith((".json", ".jsonl", ".ndjson")) and not is_clutter(name)


def kind_of(source: Source, name: str) -> str:
    """row | line | envelope | "" for the kind of JSON a file begins with."""
    head = source.peek(name, LOOK_BYTES)
    if ENVELOPE.search(head) and OF_CLI.search(head):
        return "envelope"
    if len(set(OF_ROW.findall(head))) >= 3 and b'"sent_at"' in head:
        return "row"
    beside = PurePosixPath(name).with_name("chat.md").as_posix()
    if PurePosixPath(name).name == "data.json" and len(set(OF_LINE.findall(head))) >= 3:
        return "" if beside in source.sizes() else "line"
    return ""


class JsonReader:
    """What is remembered from file to file."""

    def __init__(self, asked: str, clock: WallClock) -> None:
        self.asked = asked
        self.clock = clock
        self.moments = Moments("ms")
        self.names: dict[str, str] = {}
        self.channels: set[str] = set()
        self.sent: dict[tuple[str, int], str] = {}  # (channel, time) -> id of the message
        self.ids: dict[str, LineIds] = {}
        self.lost: Counter[str] = Counter()

    def file(self, name: str, stream: BinaryIO, kind: str) -> Iterator[Record]:
        path = PurePosixPath(name)
        stem = path.parent.name if kind == "line" and path.parent.name else path.stem
        lined, _, stream = document_or_lines(stream)
        read = {"row": self.row, "line": self.line, "envelope": self.envelope}[kind]
        for number, item in _items(stream, lined or kind == "line"):
            where = f"{'line' if lined or kind == 'line' else 'item'} {number}"
            if isinstance(item, dict):
                yield from read(item, stem, name, where)
            else:
                yield Skipped(name, where, item.reason if isinstance(item, Broken) else "this is no message")

    def channel(self, key: str, name: str, kind: str = "direct") -> Iterator[Channel]:
        if key not in self.channels:
            self.channels.add(key)
            yield Channel(key, self.asked or name or key, kind=kind)

    def author(self, key: str, name: str) -> Iterator[Author]:
        if key and (self.names.get(key) is None or (name and self.names[key] != name)):
            self.names[key] = name or key
            yield Author(key, name or key)

    def named(self, channel: str, sent: int, own: str) -> str:
        """A message by the time it was sent, as others name it; a second one of that moment by its own id."""
        if len(self.sent) >= SENT_MAX:
            self.sent.clear()
        return str(sent) if self.sent.setdefault((channel, sent), own) == own else f"{sent} {own}"

    def row(self, item: dict[str, Any], stem: str, file: str, where: str) -> Iterator[Record]:
        """One of Signal Desktop's database, as sigtop writes it."""
        sent = self.moments.ms(item.get("sent_at")) or self.moments.ms(item.get("timestamp"))
        if not sent:
            yield Skipped(file, where, "no time")
            return
        shown = found["name"] if (found := NAMED.fullmatch(stem)) else stem
        channel = string(item.get("conversationId")) or stem
        group = bool(found and found["id"] == "group") or "group" in string(item.get("type"))
        yield from self.channel(channel, shown, "group" if group else "direct")
        kind = string(item.get("type")) or "incoming"
        who = YOU if kind == "outgoing" else _source(item)
        if who and (kind in KEPT):
            yield from self.author(who, shown if found and found["id"] == who else "")
        key = self.named(channel, sent, string(item.get("id")))
        if kind not in KEPT:
            yield Message(channel, key, sent, who, kind.replace("-", " "), notice="other")
            return
        versions = [mapping(one) for one in sequence(item.get("editHistory"))][::-1]  # the newest comes first
        texts = [(self.moments.ms(one.get("timestamp")) or sent, _text(one)) for one in versions]
        body = texts[0][1] if texts else _text(item)
        quote = mapping(item.get("quote"))
        answered = self.moments.ms(quote.get("id"))
        reactions = [mapping(one) for one in sequence(item.get("reactions"))]
        for reaction in reactions:
            yield from self.author(string(reaction.get("fromId")), "")
        yield Message(
            channel, key, sent, who or NOBODY, body or string(mapping(mapping(item.get("sticker")).get("data")).get("emoji")),
            reply_to=str(answered) if answered and answered != sent else "",
            reply_to_time_ms=answered or None,
            attachments=tuple(_files(item)),
            reactions=tuple(
                Reaction(sign, (by,), times_ms=(self.moments.ms(one.get("timestamp")) or sent,))
                for one in reactions
                if (sign := string(one.get("emoji"))) and (by := string(one.get("fromId")))
            ),
            edits=tuple(Edit(time, text) for time, text in texts[1:]),
            deleted=item.get("deletedForEveryone") is True,
        )  # fmt: skip

    def line(self, item: dict[str, Any], stem: str, file: str, where: str) -> Iterator[Record]:
        """One of signal-export's."""
        sent, who = iso_ms(string(item.get("date")), self.clock.zone), string(item.get("sender"))
        if sent is None:
            yield Skipped(file, where, "no time")
            return
        yield from self.channel(stem, stem)
        call, body = item.get("call") is True, string(item.get("body")).strip()
        if who in ("", "No-Sender"):
            who = ""
        yield from self.author(who, who)
        by_emoji: dict[str, list[str]] = {}
        for pair in sequence(item.get("reactions")):
            names = (
                pair if isinstance(pair, list) else [mapping(pair).get("name"), mapping(pair).get("emoji")]
            )
            if len(names) == 2 and string(names[0]) and string(names[1]):
                yield from self.author(string(names[0]), string(names[0]))
                by_emoji.setdefault(string(names[1]), []).append(string(names[0]))
        quote = string(item.get("quote"))
        key = self.ids.setdefault(stem, LineIds()).name(str(sent), who, body)
        notice = "other" if call or not who else ""
        said = f"{quote}{body}" or string(mapping(item.get("sticker")).get("emoji"))
        yield Message(
            stem, key, sent, who or ("" if notice else NOBODY), said,
            notice=notice,
            attachments=tuple(
                Attachment(string(one.get("name")) or string(one.get("missing_kind")) or "file", string(one.get("path")))
                for one in map(mapping, sequence(item.get("attachments")))
            ),
            reactions=tuple(Reaction(emoji, tuple(dict.fromkeys(people))) for emoji, people in by_emoji.items()),
            deleted=item.get("deleted") is True,
        )  # fmt: skip

    def envelope(self, item: dict[str, Any], stem: str, file: str, where: str) -> Iterator[Record]:
        """One that signal-cli received, or saw sent from another device."""
        letter = mapping(item.get("envelope"))
        who = (
            string(letter.get("sourceNumber"))
            or string(letter.get("sourceUuid"))
            or string(letter.get("source"))
        )
        sent = mapping(mapping(letter.get("syncMessage")).get("sentMessage"))
        edit = mapping(letter.get("editMessage")) or mapping(sent.get("editMessage"))
        data = mapping(edit.get("dataMessage")) or mapping(letter.get("dataMessage")) or sent
        if not data:
            return  # typing, receipts
        time = self.moments.ms(data.get("timestamp")) or self.moments.ms(letter.get("timestamp"))
        if not time or not who:
            yield Skipped(file, where, "no time" if who else "no sender")
            return
        group = mapping(data.get("groupInfo"))
        peer = string(sent.get("destinationNumber")) or string(sent.get("destination")) if sent else who
        channel = string(group.get("groupId")) or peer or stem
        name = (
            string(group.get("groupName"))
            or string(group.get("name"))
            or ("" if sent or group else string(letter.get("sourceName")))
        )
        yield from self.channel(channel, name, "group" if group else "direct")
        yield from self.author(who, string(letter.get("sourceName")))
        if reaction := mapping(data.get("reaction")):
            target = self.moments.ms(reaction.get("targetSentTimestamp"))
            if target and string(reaction.get("emoji")):
                sign = Reaction(string(reaction.get("emoji")), (who,))
                yield ReactionEvent(
                    channel, str(target), sign, time, reaction.get("isRemove") is True, target
                )
        elif deleted := self.moments.ms(mapping(data.get("remoteDelete")).get("timestamp")):
            yield DeleteEvent(channel, str(deleted), time, who, target_time_ms=deleted)
        elif target := self.moments.ms(edit.get("targetSentTimestamp")):
            yield EditEvent(channel, str(target), Edit(time, _text(data), who, str(time)), target, own=True)
        else:
            yield from self.letter(data, channel, who, time)

    def letter(self, data: dict[str, Any], channel: str, who: str, time: int) -> Iterator[Record]:
        files, body = tuple(_files(data)), _text(data)
        body = body or string(mapping(data.get("sticker")).get("emoji"))
        if not (body or files or data.get("sticker")):
            kind = string(mapping(data.get("groupInfo")).get("type"))
            if kind == "UPDATE":
                yield Message(
                    channel, self.named(channel, time, who), time, who, "changed the group", notice="other"
                )
            return  # a timer, a profile key
        answered = self.moments.ms(mapping(data.get("quote")).get("id"))
        people = (mapping(one) for one in sequence(data.get("mentions")))
        yield Message(
            channel, self.named(channel, time, who), time, who, body,
            reply_to=str(answered) if answered and answered != time else "",
            reply_to_time_ms=answered or None,
            attachments=files,
            mentions=tuple(dict.fromkeys(filter(None, (string(one.get("number")) or string(one.get("uuid")) for one in people)))),
        )  # fmt: skip


def _items(stream: BinaryIO, lined: bool) -> Iterator[tuple[int, Any]]:
    if lined:
        yield from json_lines(stream)
    else:
        found = objects(stream, frozenset(["", "messages"]), lambda key, value: None)
        yield from enumerate((item for _, item in found), start=1)


def _source(item: dict[str, Any]) -> str:
    fields = ("source", "sourceServiceId", "sourceUuid")
    return next(filter(None, (string(item.get(field)) for field in fields)), "")


def _text(item: dict[str, Any]) -> str:
    """What is said; a mention's place is held by a character of its own, and its name stands beside."""
    text = string(item.get("body")) or string(item.get("message"))
    if "\ufffc" in text:
        for one in map(mapping, [*sequence(item.get("bodyRanges")), *sequence(item.get("mentions"))]):
            name = string(one.get("replacementText")) or string(one.get("name"))
            text = text.replace("\ufffc", f"@{name}" if name else "@someone", 1)
    return text


def _files(item: dict[str, Any]) -> Iterator[Attachment]:
    for one in map(mapping, sequence(item.get("attachments"))):
        size = one.get("size")
        kind = string(one.get("contentType"))
        name = (
            string(one.get("fileName"))
            or string(one.get("filename"))
            or string(one.get("id"))
            or kind.partition("/")[0]
            or "file"
        )
        path = string(one.get("path")).replace("\\", "/")
        yield Attachment(name, path, kind, size if type(size) is int and 0 <= size < 1 << 53 else None)
