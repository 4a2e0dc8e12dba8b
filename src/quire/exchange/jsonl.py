"""Quire's own JSONL: for chats in no format Quire knows (docs/import-jsonl.md), and what Quire exports
(docs/export-jsonl.md).

One object a line, its `type` and its fields those of `model.py`. It is made to be written by a few lines of
anyone's script, so it asks for little: a message needs a time and a body; a channel or author that was never
described is called by its key; times are what the script has at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any

from quire.errors import FormatError
from quire.exchange.exported import IMPORTED_SOURCE
from quire.exchange.loose_json import decode, json_lines, mapping, sequence, strings
from quire.exchange.model import (
    Attachment,
    Author,
    Channel,
    DeleteEvent,
    Edit,
    EditEvent,
    Message,
    NotCarried,
    Options,
    PinEvent,
    Reaction,
    ReactionEvent,
    Record,
    Skipped,
    Warn,
    WholeKeys,
)
from quire.exchange.moments import FROM_MS
from quire.exchange.sources import Source
from quire.exchange.text import iso_ms, millis, string, time_ms, valid_time_ms

NAME = "jsonl"
TITLE = "Quire JSONL: one object a line, for everything else"
NOTICES_ARE_MESSAGES = True
EDITS_ARE_MARKED = True

VERSION = 1
MICROS_FROM = 100_000_000_000_000
NANOS_FROM = 100_000_000_000_000_000
NANOS_END = 10_000_000_000_000_000_000
MILLIS_FROM = 100_000_000_000  # a larger number is milliseconds: as seconds it would be the year 5138
NUMBER = re.compile(r"\d+(?:\.\d*)?", re.ASCII)
EQUALS_MAX = 100_000  # messages without an id, remembered to tell equal ones apart
KINDS = frozenset(["channel", "private", "group", "direct"])
NOTICES = frozenset(["join", "leave", "topic", "name", "pin", "other"])
ENDINGS = (".jsonl", ".ndjson", ".jsonlines")

Item = dict[str, Any]


class Refused(Exception):
    """This line cannot be used; the text says why."""


def recognise(source: Source) -> int:
    """A first line that is an object of one of these types, with the fields it cannot do without."""
    try:
        for name in _files(source):
            head = source.peek(name, 1 << 16).split(b"\n", 1)[0]
            try:
                first = mapping(decode(head))
            except ValueError:
                continue
            kind = first.get("type", "message")
            if kind == "quire":
                return 3
            if (kind == "message" and "body" in first and ("time" in first or "time_ms" in first)) or (
                kind in ("channel", "author") and isinstance(first.get("key"), str)
            ):
                return 2
    except (FormatError, OSError):
        pass
    return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """All records, in the order of the lines."""
    names = set(_files(source))
    whole = any(_is_export(source, name) for name in names)
    if whole:
        yield WholeKeys()
    reader = _Reader(options.channel or "imported", whole)
    for name, stream in source.walk(names.__contains__):
        reader.begin()
        try:
            for number, item in json_lines(stream):
                where = f"line {number}"
                if isinstance(item, dict):
                    yield from reader.line(item, name, where)
                else:
                    reason = f"not JSON: {item}" if isinstance(item, ValueError) else "not an object"
                    yield Skipped(name, where, reason[:200])
            if reader.lacks_its_end:
                yield Warn(f"{name[:80]} was cut short: its last line is missing")
        except (FormatError, OSError) as error:
            yield Skipped(name, "the rest of the file", str(error)[:200])
    if not reader.used:
        raise FormatError(f"{source.path.name} holds no line of Quire's JSONL", rule="no_messages")
    if reader.early:
        yield Warn(
            f"{reader.early:,} messages are from before 1990: are their times in another unit, or unknown?"
        )
    if reader.unknown_fields:
        yield NotCarried("fields that this format does not have", reader.unknown_fields)


def _is_export(source: Source, name: str) -> bool:
    """Did Quire write this file? Its first line says so."""
    try:
        first = mapping(decode(source.peek(name, 1 << 16).split(b"\n", 1)[0]))
    except (ValueError, FormatError, OSError):
        return False
    return first.get("type") == "quire" and bool(string(first.get("export")))


def _files(source: Source) -> list[str]:
    names = source.names()
    return names if len(names) == 1 else [name for name in names if name.endswith(ENDINGS)]


class _Reader:
    def __init__(self, channel: str, whole: bool = False) -> None:
        self.channel = channel  # of messages that name none
        self.whole = whole  # some of these files are exports, so all author keys are to be whole
        self.export = self.lacks_its_end = False  # of the file that is being read
        self.used = 0
        self.unknown_fields = 0
        self.early = 0  # messages written before 1990
        self.opened: set[str] = set()
        self.introduced: set[str] = set()
        self.equals: dict[bytes, int] = {}

    def begin(self) -> None:
        """Another file."""
        self.export = self.lacks_its_end = False

    def key(self, value: object) -> str:
        """An author key; whole, if all are to be."""
        key = string(value)
        return f"{IMPORTED_SOURCE}:{key}" if key and self.whole and not self.export else key

    def keys(self, value: object) -> tuple[str, ...]:
        found = strings(value)
        return tuple(map(self.key, found) if self.whole else found)

    def line(self, item: Item, name: str, where: str) -> Iterator[Record]:
        kind = item.get("type", "message")
        handler = HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is None:
            yield Skipped(name, where, f"no type {kind!r}"[:200])
            return
        try:
            out: list[Record] = []
            handler(self, item, out)
        except Refused as refused:
            yield Skipped(name, where, str(refused))
            return
        self.used += 1
        if not item.keys() <= FIELDS[kind]:
            self.unknown_fields += len(item.keys() - FIELDS[kind])
        yield from out

    def _header(self, item: Item, out: list[Record]) -> None:
        version = item.get("version", VERSION)
        if version != VERSION:
            out.append(
                Warn(f"written in version {string(version)[:20]} of the format; this Quire reads {VERSION}")
            )
        self.export = self.lacks_its_end = self.whole and bool(string(item.get("export")))

    def _proof(self, item: Item, out: list[Record]) -> None:
        """What `quire check` reads."""

    def _end(self, item: Item, out: list[Record]) -> None:
        self.lacks_its_end = False

    def _channel(self, item: Item, out: list[Record]) -> None:
        key = string(item.get("key"))
        if not key:
            raise Refused("a channel without a key")
        self.opened.add(key)
        kind = string(item.get("kind"))
        name = string(item.get("name")).removeprefix("#") or key
        topic, purpose = string(item.get("topic")), string(item.get("purpose"))
        origin = (string(item.get("source")), string(item.get("origin"))) if self.export else ("", "")
        if self.export:
            name = string(item.get("name")) or key
        out.append(Channel(key, name, topic, purpose, kind if kind in KINDS else "channel", *origin))

    def _author(self, item: Item, out: list[Record]) -> None:
        key = self.key(item.get("key"))
        if not key:
            raise Refused("an author without a key")
        self.introduced.add(key)
        name = string(item.get("name"))
        out.append(Author(key, name if self.export else name or key, item.get("bot") is True))

    def _message(self, item: Item, out: list[Record]) -> None:
        when = _time(item, "time")
        if when is None:
            raise Refused("a message without a valid time")
        self.early += not self.export and when < FROM_MS
        channel = self._in_channel(item, out)
        author, body = self.key(item.get("author")), string(item.get("body"))
        notice = string(item.get("notice"))
        mentions = self.keys(item.get("mentions"))
        reactions = tuple(filter(None, map(self._reaction, map(mapping, sequence(item.get("reactions"))))))
        edits = tuple(filter(None, map(self._edit, map(mapping, sequence(item.get("edits"))))))
        if not author and not notice:
            author = self.key("unknown") or "unknown"
        reacting = (key for reaction in reactions for key in reaction.authors)
        self._introduce(out, author, *mentions, *reacting, *(edit.author for edit in edits))
        ident = string(item.get("id")) or self._id(when, author, body)
        ref, origin = "", item.get("origin")
        if self.export and isinstance(origin, str):
            ref, ident = ident, string(origin)
        thread, answered = string(item.get("thread")), string(item.get("reply_to"))
        edited = item.get("edited")
        here = ref or ident
        out.append(
            Message(
                channel, ident, when, author, body,
                notice=notice if notice in NOTICES else "other" if notice else "",
                thread=thread if thread != here else "",
                thread_time_ms=_time(item, "thread_time"),
                title=string(item.get("title")),
                reply_to=answered if answered != here else "",
                reply_to_time_ms=_time(item, "reply_to_time"),
                attachments=tuple(map(_attachment, map(mapping, sequence(item.get("attachments"))))),
                mentions=mentions, reactions=reactions, edits=edits,
                edited_ms=(_moment(edited) or when) if edited else _time(item, "edited"),
                deleted=item.get("deleted") is True,
                pinned=item.get("pinned") is True,
                broadcast=item.get("broadcast") is True,
                action=item.get("action") is True,
                ref=ref,
            )
        )  # fmt: skip
        if isinstance(item.get("deleted"), dict):
            when, by, reason = self._mark(item["deleted"], when, author, out)
            out.append(DeleteEvent(channel, here, when, by, reason))
        if isinstance(item.get("pinned"), dict):
            when, by, _ = self._mark(item["pinned"], when, author, out)
            out.append(PinEvent(channel, here, when, by))

    def _mark(self, mark: Item, when: int, author: str, out: list[Record]) -> tuple[int, str, str]:
        """(when, by whom, why) of a deletion or pin that stands in its message."""
        by = self.key(mark.get("author")) or author
        self._introduce(out, by)
        marked = _time(mark, "time")
        return when if marked is None else marked, by, string(mark.get("reason"))

    def _edited(self, item: Item, out: list[Record]) -> None:
        channel, target = self._target(item, out)
        edit = self._edit(item)
        if edit is None:
            raise Refused("an edit without a valid time or a body")
        self._introduce(out, edit.author)
        out.append(EditEvent(channel, target, edit, _time(item, "target_time")))

    def _reacted(self, item: Item, out: list[Record]) -> None:
        channel, target = self._target(item, out)
        reaction, when = self._reaction(item), _time(item, "time")
        if reaction is None or when is None:
            raise Refused("a reaction without an emoji, a person or a valid time")
        self._introduce(out, *reaction.authors)
        removed = item.get("removed") is True
        out.append(ReactionEvent(channel, target, reaction, when, removed, _time(item, "target_time")))

    def _deleted(self, item: Item, out: list[Record]) -> None:
        channel, target, when, author = self._event(item, out)
        out.append(
            DeleteEvent(channel, target, when, author, string(item.get("reason")), _time(item, "target_time"))
        )

    def _pinned(self, item: Item, out: list[Record]) -> None:
        channel, target, when, author = self._event(item, out)
        out.append(
            PinEvent(channel, target, when, author, item.get("removed") is True, _time(item, "target_time"))
        )

    def _event(self, item: Item, out: list[Record]) -> tuple[str, str, int, str]:
        channel, target = self._target(item, out)
        when = _time(item, "time")
        if when is None:
            raise Refused("no valid time")
        author = self.key(item.get("author"))
        self._introduce(out, author)
        return channel, target, when, author

    def _target(self, item: Item, out: list[Record]) -> tuple[str, str]:
        target = string(item.get("target"))
        if not target:
            raise Refused("no target: the id of the message it is about")
        return self._in_channel(item, out), target

    def _in_channel(self, item: Item, out: list[Record]) -> str:
        key = string(item.get("channel")) or self.channel
        if key not in self.opened:
            self.opened.add(key)
            out.append(Channel(key, key.removeprefix("#") or key))
        return key

    def _reaction(self, item: Item) -> Reaction | None:
        emoji, author, unknown = string(item.get("emoji")), self.key(item.get("author")), item.get("unknown")
        listed = self.keys(item.get("authors"))
        authors = tuple(dict.fromkeys([*listed, *([author] if author else [])]))
        counted = unknown if type(unknown) is int and 0 < unknown < 1_000_000 else 0
        if not emoji or not (authors or counted):
            return None
        times = tuple(millis(one) or 0 for one in sequence(item.get("times_ms")))
        whole = times if authors == listed and len(times) == len(authors) else ()
        return Reaction(emoji, authors, counted, whole, millis(item.get("unknown_ms")))

    def _edit(self, item: Item) -> Edit | None:
        when, body, replaces = _time(item, "time"), item.get("body"), item.get("replaces")
        if when is None or not isinstance(body, str):
            return None
        number = replaces if type(replaces) is int and 0 < replaces < 1 << 31 else 0
        return Edit(when, string(body), self.key(item.get("author")), string(item.get("id")), number)

    def _introduce(self, out: list[Record], *keys: str) -> None:
        for key in keys:
            if key and key not in self.introduced:
                self.introduced.add(key)
                out.append(Author(key, key))

    def _id(self, when: int, author: str, body: str) -> str:
        """For a message without one: what it is, and which of equal ones."""
        key = blake2b(f"{when}\0{author}\0{body}".encode(), digest_size=12).digest()
        if len(self.equals) >= EQUALS_MAX:
            self.equals.clear()
        number = self.equals.get(key, 0)
        self.equals[key] = number + 1
        return (blake2b(key + number.to_bytes(4, "big"), digest_size=12).digest() if number else key).hex()


def _moment(value: object) -> int | None:
    """ISO 8601, or a number of seconds or milliseconds, also as text."""
    if isinstance(value, str) and NUMBER.fullmatch(value) is None:
        return iso_ms(value.strip())
    number = float(value[:400]) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    if number >= MICROS_FROM and number < NANOS_END:
        return valid_time_ms(int(number) // (1000 if number < NANOS_FROM else 1_000_000))
    return millis(value) if number >= MILLIS_FROM else time_ms(value)


def _time(item: Item, field: str) -> int | None:
    """`field`, or `field_ms` which is milliseconds whatever its size."""
    exact = item.get(f"{field}_ms")
    return millis(exact) if exact is not None else _moment(item.get(field))


def _attachment(item: Item) -> Attachment:
    size = item.get("size_bytes", item.get("size"))
    url = string(item.get("url"))
    name = string(item.get("name")) or url.rstrip("/").rsplit("/", 1)[-1] or "file"
    known = size if type(size) is int and 0 <= size < 1 << 62 else None
    return Attachment(name, url, string(item.get("media_type")), known, string(item.get("file")))


HANDLERS: dict[str, Callable[[_Reader, Item, list[Record]], None]] = {
    "quire": _Reader._header,
    "channel": _Reader._channel,
    "author": _Reader._author,
    "message": _Reader._message,
    "edit": _Reader._edited,
    "reaction": _Reader._reacted,
    "delete": _Reader._deleted,
    "pin": _Reader._pinned,
    "commit": _Reader._proof,
    "seal": _Reader._proof,
    "end": _Reader._end,
}

_EVENT = "type channel target target_time target_time_ms time time_ms author"
FIELDS: dict[str, frozenset[str]] = {
    kind: frozenset(fields.split())
    for kind, fields in {
        "quire": "type version export exported_ms since_ms until_ms signed",
        "channel": "type key name topic purpose kind source origin",
        "author": "type key name bot",
        "message": "type channel id time time_ms author body notice thread thread_time thread_time_ms title"
        " reply_to reply_to_time reply_to_time_ms attachments mentions reactions edits edited edited_ms"
        " deleted pinned broadcast action origin",
        "edit": f"{_EVENT} id body",
        "reaction": f"{_EVENT} emoji authors unknown removed",
        "delete": f"{_EVENT} reason",
        "pin": f"{_EVENT} removed",
        "commit": "type channel commit",
        "seal": "type channel statement signature",
        "end": "type messages",
    }.items()
}
