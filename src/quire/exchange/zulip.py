"""Zulip's own export of an organisation: `realm.json`, `messages-000001.json` ..., `attachment.json`.

The files are tables of Zulip's database. Bodies are the Markdown that was typed. A topic is a thread:
its first message is the root and has the topic as title. Which is first is only known once all
were seen (older versions export what members sent and what they received as two series), so the
message files are read twice: once quickly for ids and topics, once for the messages. Reactions stand
in `realm.json`, by message id alone; an index of small numbers knows the channel of each message.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from quire.errors import FormatError, NotFoundError
from quire.exchange.emoji import replace_shortcodes
from quire.exchange.jsonpull import JsonPull
from quire.exchange.model import (
    Attachment,
    Channel,
    Edit,
    Message,
    Options,
    Reaction,
    ReactionEvent,
    Record,
    Skipped,
    Warn,
)
from quire.exchange.sources import Source, until_broken
from quire.exchange.text import clean, iso_ms, string, time_ms
from quire.exchange.zulip_archive import notice_of, zulip_emoji
from quire.exchange.zulip_realm import TABLES, Realm, rows

NAME = "zulip"
TITLE = "Zulip export of an organisation (folder, zip or tar.gz)"
NOTICES_ARE_MESSAGES = True
EDITS_ARE_MARKED = True

HEAD_BYTES = 4096
WHOLE_MAX = 48 << 20  # bytes of a message file that is decoded at once
NOTIFIERS = frozenset(["Notification Bot"])
GENERAL = "general chat"  # what Zulip shows for the empty topic

_MESSAGES = re.compile(r"(?:^|/)messages-\d+\.json(?:\.partial)?$")
_TABLES = re.compile(r"(?:^|/)(?:realm|attachment)\.json$")
_REACTIONS = re.compile(r"(?:^|/)(?:realm|reactions?)\.json$")
_LITTER = re.compile(r"(?:^|/)__MACOSX/")
_CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`)", re.DOTALL)
_MENTION = re.compile(r"@(_?)\*\*([^*|\n]+?)(?:\|(\d{1,15}))?\*\*")
_GROUP = re.compile(r"@_?\*([^*\n]+)\*(?!\*)")
_STREAM = re.compile(r"#\*\*([^*>\n]+)(?:>([^*\n]+))?\*\*")
_UPLOAD = re.compile(r"(?:\[([^\]\n]*)\]\()?((?:https?://[^\s()/]+)?/user_uploads/([^\s()]+))")


class _Key(msgspec.Struct):
    """What the first reading wants of a message. Any type, as any may come."""

    id: Any = None
    sender: Any = None
    recipient: Any = None
    subject: Any = None
    date_sent: Any = None
    pub_date: Any = None  # what `date_sent` was called before 2018


class _File(msgspec.Struct):
    zerver_message: list[_Key] = []


def recognise(source: Source) -> int:
    """Certain by Zulip's table names in the files of its names."""
    names = [name for name in source.names() if _TABLES.search(name) or _MESSAGES.search(name)]
    for name in names[:20]:
        try:
            if b'"zerver_' in source.peek(name, HEAD_BYTES):
                return 3
        except (FormatError, NotFoundError, OSError):
            continue
    return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """People and channels, then the messages file by file, then the reactions."""
    export = _Export(source)
    yield from until_broken(source, _records(source, export))
    if not export.files:
        raise FormatError(f"{source.path.name} holds no messages", rule="no_messages")


def _records(source: Source, export: _Export) -> Iterator[Record]:
    yield from export.tables()
    for name, stream in source.walk(export.holds_messages):
        export.survey(name, stream)
    for name, stream in source.walk(export.holds_messages):
        yield from export.messages(name, stream)
    for name, stream in source.walk(export.holds_reactions):
        yield from export.reactions(name, stream)


class _Index:
    """Message id -> channel and time, in 20 bytes a message; ids in any order until the first search."""

    def __init__(self) -> None:
        self.ids, self.times, self.places = array("q"), array("q"), array("l")
        self._sorted = True

    def add(self, number: int, when: int, place: int) -> None:
        self._sorted = self._sorted and (not self.ids or number > self.ids[-1])
        self.ids.append(number)
        self.times.append(when)
        self.places.append(place)

    def find(self, number: int) -> tuple[int, int] | None:
        """(place, time) of a message."""
        if not self._sorted:
            order = sorted(range(len(self.ids)), key=self.ids.__getitem__)
            self.ids, self.times, self.places = (
                array(column.typecode, map(column.__getitem__, order))
                for column in (self.ids, self.times, self.places)
            )
            self._sorted = True
        at = bisect_left(self.ids, number)
        if at < len(self.ids) and self.ids[at] == number:
            return self.places[at], self.times[at]
        return None


class _Export:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.realm = Realm()
        self.files = 0
        self.roots: dict[tuple[int, str], tuple[int, int]] = {}  # (recipient, topic) -> first id, its time
        self.index = _Index()
        self.channels: list[Channel] = []  # those announced; the index names them by position
        self.places: dict[str, int] = {}
        self.authors: set[int] = set()
        names = set(source.names())
        self.partial = {
            name for name in names if name.endswith(".partial") and name.removesuffix(".partial") in names
        }

    def holds_messages(self, name: str) -> bool:
        return bool(_MESSAGES.search(name)) and name not in self.partial and not _LITTER.search(name)

    def holds_reactions(self, name: str) -> bool:
        return bool(_REACTIONS.search(name)) and not _LITTER.search(name)

    def tables(self) -> Iterator[Record]:
        found = False
        for name, stream in self.source.walk(
            lambda name: bool(_TABLES.search(name)) and not _LITTER.search(name)
        ):
            found = found or name.endswith("realm.json")
            for row in rows(stream, TABLES, name):
                if isinstance(row, Skipped):
                    yield row
                else:
                    self.realm.add(*row)
        if not found:
            yield Warn("there is no realm.json: people and channels are known by number only")

    def survey(self, name: str, stream: BinaryIO) -> None:
        """The first reading: the earliest message of each topic."""
        try:
            for row in _keys(stream):
                when = _moment(row.pub_date if row.date_sent is None else row.date_sent)
                number, recipient = _number(row.id), _number(row.recipient)
                if when is None or number is None or recipient is None or not self.realm.is_stream(recipient):
                    continue
                topic = (recipient, string(row.subject).lower())
                known = self.roots.get(topic)
                if known is None or number < known[0]:
                    self.roots[topic] = number, when
        except (FormatError, OSError):
            return  # the second reading reports it

    def messages(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        self.files += 1
        for number, found in enumerate(rows(stream, frozenset(["zerver_message"]), name), 1):
            if isinstance(found, Skipped):
                yield found
                continue
            row = found[1]
            when = _moment(row.get("date_sent", row.get("pub_date")))
            identity, sender, recipient = (_number(row.get(key)) for key in ("id", "sender", "recipient"))
            if when is None or identity is None or sender is None or recipient is None:
                yield Skipped(name, f"zerver_message, row {number}", "no id, time, sender or recipient")
                continue
            channel = self.realm.channel(recipient, sender)
            place = self.places.get(channel.key)
            if place is None:
                place = self.places[channel.key] = len(self.channels)
                self.channels.append(channel)
                yield channel
            if sender not in self.authors:
                self.authors.add(sender)
                yield self.realm.user(sender)
            self.index.add(identity, when, place)
            yield self.message(row, channel, when)

    def message(self, row: dict[str, Any], channel: Channel, when: int) -> Message:
        identity, recipient = row["id"], row["recipient"]
        subject = string(row.get("subject")).strip("\x07")  # how the server keeps that there is none
        root, root_ms = self.roots.get((recipient, subject.lower()), (identity, when))
        in_stream = self.realm.is_stream(recipient)
        reply = in_stream and root != identity
        content = string(row.get("content"))
        texts, edits = self.versions(row, content)
        author = self.realm.user(row["sender"])
        body = self.plain(texts[0])
        action = body.startswith("/me ")
        last_edit = _moment(row.get("last_edit_time"))
        return Message(
            channel=channel.key,
            id=str(identity),
            time_ms=when,
            author=author.key,
            body=body[4:] if action else body,
            notice=notice_of(content) if author.bot and author.name in NOTIFIERS else "",
            thread=str(root) if reply else "",
            thread_time_ms=root_ms if reply else None,
            title="" if reply or not in_stream else subject or GENERAL,
            attachments=self.uploads(content) if "/user_uploads/" in content else (),
            mentions=self.mentions(content) if "**" in content else (),
            edits=edits,
            edited_ms=last_edit if not row.get("edit_history") else None,
            action=action,
        )

    def versions(self, row: dict[str, Any], content: str) -> tuple[list[str], tuple[Edit, ...]]:
        """All texts, oldest first, and the edits that made the later ones."""
        history = row.get("edit_history")
        if isinstance(history, str) and history:
            try:
                history = msgspec.json.decode(history.encode("utf-8", "replace"))
            except (msgspec.DecodeError, RecursionError):
                history = None
        if not isinstance(history, list):
            return [content], ()
        texts, edits = [content], []
        for entry in history:  # newest first
            if not isinstance(entry, dict) or not isinstance(entry.get("prev_content"), str):
                continue  # a move to another topic
            when = _moment(entry.get("timestamp"))
            if when is None:
                continue
            user = entry.get("user_id")
            editor = str(user) if type(user) is int and user != row.get("sender") else ""
            edits.append(Edit(when, self.plain(texts[-1]), editor))
            texts.append(string(entry["prev_content"]))
        return texts[::-1], tuple(edits[::-1])

    def plain(self, content: str) -> str:
        """Zulip's Markdown with names as names and emoji as characters; code stays as it is."""
        if "@" not in content and "#**" not in content and ":" not in content:
            return content
        parts = _CODE.split(content) if "`" in content or "~~~" in content else [content]
        for place in range(0, len(parts), 2):
            text = parts[place]
            if "*" in text:
                text = _MENTION.sub(lambda found: f"@{found[2]}", text)
                text = _GROUP.sub(r"@\1", text)
                text = _STREAM.sub(
                    lambda found: f"#{found[1]} > {found[2]}" if found[2] else f"#{found[1]}", text
                )
            parts[place] = replace_shortcodes(text)
        return "".join(parts)

    def mentions(self, content: str) -> tuple[str, ...]:
        people: dict[str, None] = {}
        for _, name, number in _MENTION.findall(content):
            known = int(number) if number else self.realm.ids.get(name)
            if known is not None:
                people[str(known)] = None
        return tuple(people)

    def uploads(self, content: str) -> tuple[Attachment, ...]:
        found: dict[str, Attachment] = {}
        for text, url, path in _UPLOAD.findall(content):
            if path not in found:
                name, size, kind = self.realm.uploads.get(path, ("", None, ""))
                name = name or text or path.rpartition("/")[2]
                found[path] = Attachment(name, clean(url), kind, size)
        return tuple(found.values())

    def reactions(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        for row in rows(stream, frozenset(["zerver_reaction"]), name):
            if isinstance(row, Skipped):
                yield row
                continue
            target, user = _number(row[1].get("message")), _number(row[1].get("user_profile"))
            emoji = zulip_emoji(row[1])
            place = self.index.find(target) if target is not None else None
            if place is None or user is None or not emoji:
                yield Skipped(
                    name, f"reaction {string(row[1].get('id'))}", "no message, user or emoji of that id"
                )
                continue
            if user not in self.authors:
                self.authors.add(user)
                yield self.realm.user(user)
            channel = self.channels[place[0]].key
            yield ReactionEvent(
                channel, str(target), Reaction(emoji, (str(user),)), place[1], target_time_ms=place[1]
            )


def _keys(stream: BinaryIO) -> Iterator[_Key]:
    """The messages of a file, ids and topics only: at once if it is of the usual size and sound."""
    data = stream.read(WHOLE_MAX + 1)
    if len(data) <= WHOLE_MAX:
        try:
            yield from msgspec.json.decode(data, type=_File).zerver_message
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    pull = JsonPull(stream, data)
    for key in pull.keys():  # noqa: SIM118 - no dict
        if key == "zerver_message":
            for row in pull.items():
                if type(row) is dict:
                    yield _Key(*(row.get(field) for field in _Key.__struct_fields__))


def _number(value: Any) -> int | None:
    """An id of the database, if it can be one."""
    return value if type(value) is int and abs(value) < 1 << 62 else None


def _moment(value: Any) -> int | None:
    """A time of the database: Unix seconds, or ISO in hand-made exports."""
    when = time_ms(value)
    return iso_ms(value) if when is None and isinstance(value, str) else when
