"""Facebook Messenger and Instagram: the JSON of "Download your information" and of encrypted chats.

The older form has a folder a conversation with `message_1.json`, `message_2.json` ... (newest first, in
the parts and from part to part): `participants`, `messages` with `sender_name`, `timestamp_ms`, `content`,
and `title` and `thread_path` behind them. Its text is broken at the origin: each byte of the UTF-8 was
written as a character of its own (`Ã¼`), which `mended` undoes wherever a text can have come from that.
The newer form is one file a conversation, `NAME_12.json`, with `threadName`, `senderName`, `timestamp`,
`text`, its text sound.

A conversation is its folder's name, as `thread_path` ends with it; that is known before `title` is read.
Messages have no ids: they get them from time, sender and content (lines.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from quire.errors import FormatError
from quire.exchange.jsonin import objects
from quire.exchange.jsonpull import Broken
from quire.exchange.lines import LineIds, guarded, is_clutter, uncopied
from quire.exchange.loose_json import mapping, sequence
from quire.exchange.model import (
    NOBODY,
    Attachment,
    Author,
    Channel,
    Message,
    NotCarried,
    Options,
    Reaction,
    Record,
    Skipped,
)
from quire.exchange.moments import Moments
from quire.exchange.sources import Source
from quire.exchange.text import string, time_ms

NAME = "messenger"
TITLE = "Facebook Messenger or Instagram (JSON)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = True

PART = re.compile(r"(?:^|/)message(?:_\d+)?\.json$", re.I)  # once without a number
LOOK_BYTES = 16_384
PEEKED = 8
HELD_MAX = 12_000  # records held back for the title behind them; Facebook puts 10,000 messages into a file
OLD = re.compile(rb'"(?:sender_name|thread_path|timestamp_ms)"\s*:')
NEW = re.compile(rb'"(?:senderName|threadName|isUnsent)"\s*:')
FILES = ("photos", "videos", "audio_files", "files", "gifs")
MEDIA_TYPES = {"photos": "image", "videos": "video", "audio_files": "audio", "gifs": "image/gif"}

NOTICE_TYPES = {"Subscribe": "join", "Unsubscribe": "leave"}
LIKED = re.compile(r"(?:Liked|Reacted .{1,40} to|Disliked|Loved|Laughed at) (?:a|your|the) message\s*$", re.I)
DONE = re.compile(  # behind the sender's name or "You": what the service says that somebody did
    r" (?:set (?:the (?:emoji|quick reaction)|(?:.{1,80} own|your|the|.{1,80}[’']s)? ?nickname)\b.{0,200}"
    r"|(?:cleared|removed) (?:the|your|.{1,80}) nickname.{0,100}|changed the (?:chat )?(?:theme|group photo|colou?rs?)\b.{0,200}"
    r"|changed the photo\b.{0,100}|(?:pinned|unpinned) a message\.?|created a poll: .{1,300}"
    r"|voted for .{1,300} in the poll: .{1,300}"
    r"|started (?:a|the) (?:video |audio )?(?:call|chat)\.?|missed (?:a|your) (?:video |audio )?(?:call|chat).{0,60}"
    r"|turned (?:on|off) (?:disappearing|vanish|end-to-end).{0,200})$",
    re.I | re.S,
)
JOINED = re.compile(
    r".{1,200} (?:added .{1,300} to the group|joined the (?:group|video chat|call)|created the group)\.?$",
    re.S,
)
LEFT = re.compile(r".{1,200} (?:left the group|removed .{1,300} from the group)\.?$", re.S)
RENAMED = re.compile(r".{1,200} (?:named the group .{0,300}|changed the (?:group|chat) name.{0,300})$", re.S)
UNSENT = re.compile(r".{1,200} unsent a message\.?$|You unsent a message\.?$", re.S)


def recognise(source: Source) -> int:
    names = [n for n, size in sorted(source.sizes().items()) if size and _may_be_chat(n)]
    names.sort(key=lambda n: PART.search(n) is None)
    for name in names[:PEEKED]:
        head = source.peek(name, LOOK_BYTES)
        if b'"messages"' in head and (OLD.search(head) or NEW.search(head)) and b'"participants"' in head:
            return 3
        if PART.search(name) and OLD.search(head):
            return 3
    return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """Every conversation, part by part. Raises FormatError if there is none."""
    reader = _Reader(options.channel)
    found = False
    for name, stream in source.walk(_may_be_chat):
        for record in guarded(name, reader.file(name, stream, source.path.absolute().parent.name)):
            found = True
            yield record
    if not found:
        raise FormatError(f"{source.path.name} holds no conversation", rule="no_messages")
    yield from reader.moments.warnings()
    for what, count in sorted(reader.lost.items()):
        yield NotCarried(what, count)


def mended(text: str) -> str:
    """`text` with its bytes put together again, if every character stands for one and they are UTF-8."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text


def _may_be_chat(name: str) -> bool:
    return name.lower().endswith(".json") and not is_clutter(name)


class _Reader:
    """What is remembered from file to file: names, and ids within each conversation."""

    def __init__(self, asked: str) -> None:
        self.asked = asked
        self.known: set[str] = set()
        self.ids: dict[str, LineIds] = {}
        self.lost: Counter[str] = Counter()
        self.moments = Moments("ms")

    def file(self, name: str, stream: BinaryIO, above: str) -> Iterator[Record]:
        """The records of one file, the channel's first: its title stands behind the messages, so they are held back."""
        facts: dict[str, Any] = {}
        path = PurePosixPath(uncopied(name))
        key = path.stem
        if PART.search(uncopied(name)):  # a conversation is its folder, also where one part is imported alone
            key = path.parent.name or above or key
        held: list[Record] | None = []
        damage: FormatError | None = None
        try:
            for record in self.items(name, stream, key, facts):
                if held is None:
                    yield record
                    continue
                held.append(record)
                if len(held) > HELD_MAX:
                    yield self.channel(key, facts)
                    yield from held
                    held = None
        except FormatError as error:
            damage = error
        if any(isinstance(record, Message) for record in held or ()):
            yield self.channel(key, facts)
        yield from held or ()
        if damage is not None:
            raise damage

    def items(self, name: str, stream: BinaryIO, key: str, facts: dict[str, Any]) -> Iterator[Record]:
        """The records of the messages; `facts` gets what stands around them, and the number of `people`."""
        begun = False
        place = people = 0
        for where, item in objects(stream, frozenset(["messages", "participants"]), facts.__setitem__):
            if isinstance(item, Broken):
                if begun or PART.search(name):
                    yield Skipped(name, f"item {place + 1}", item.reason)
                place += 1
            elif where == ("participants",):
                people += 1
                facts["people"] = people
            elif where == ("messages",):
                place += 1
                if place == 1 and not (
                    isinstance(item, dict) and item.keys() & {"sender_name", "senderName", "timestamp_ms"}
                ):
                    return  # another service's messages
                begun = True
                yield from self.message(name, place, key, item)

    def channel(self, key: str, facts: dict[str, Any]) -> Channel:
        title = mended(string(facts.get("title"))) or _untagged(string(facts.get("threadName")))
        name = self.asked or title or re.sub(r"_[0-9A-Za-z-]{6,}$", "", key) or key
        people = facts.get("people")
        group = (type(people) is int and people > 2) or facts.get("thread_type") == "RegularGroup"
        return Channel(key, name, kind="group" if group else "direct")

    def message(self, file: str, place: int, channel: str, item: Any) -> Iterator[Record]:
        if not isinstance(item, dict):
            yield Skipped(file, f"item {place}", "this is no message")
            return
        old = "senderName" not in item
        text = mended if old else _sound
        time = self.moments.ms(item.get("timestamp_ms"))
        if time is None:
            time = (
                time_ms(item.get("timestamp")) if old else self.moments.ms(item.get("timestamp"))
            )  # old: of 2017
        if time is None:
            yield Skipped(file, f"item {place}", "no time")
            return
        author = text(string(item.get("sender_name") if old else item.get("senderName")))
        body = text(string(item.get("content"))) or text(string(item.get("text")))
        files = _files(item, text)
        if share := mapping(item.get("share")):
            body = _shared(body, share, text)
        unsent = (
            item.get("is_unsent") is True
            or item.get("isUnsent") is True
            or (not files and UNSENT.match(body) is not None)
        )
        notice = "" if unsent else self.notice(item, author, body)
        if author and author not in self.known:
            self.known.add(author)
            yield Author(author, author)
        key = self.name(channel, time, author, item)
        if item.keys() & {"call_duration", "payment", "plan"}:
            self.lost["details of calls, payments and plans"] += 1
        yield Message(
            channel, key, time, author or ("" if notice else NOBODY), "" if unsent else body,
            notice=notice,
            attachments=() if unsent else files,
            reactions=_reactions(item.get("reactions"), text),
            deleted=unsent,
        )  # fmt: skip

    def notice(self, item: dict[str, Any], author: str, body: str) -> str:
        kind = item.get("type")
        if isinstance(kind, str) and kind in NOTICE_TYPES:
            return NOTICE_TYPES[kind]
        if kind in ("Call", "call") or "call_duration" in item:
            return "other"
        if LIKED.match(body):
            return "other"
        if JOINED.match(body):
            return "join"
        if LEFT.match(body):
            return "leave"
        if RENAMED.match(body):
            return "name"
        rest = next((body[len(name) :] for name in (author, "You") if name and body.startswith(name)), "")
        return "other" if DONE.match(rest) else ""

    def name(self, channel: str, time: int, author: str, item: dict[str, Any]) -> str:
        """Not from files: their paths differ from one download to the next."""
        content = string(item.get("content")) or string(item.get("text"))
        return self.ids.setdefault(channel, LineIds()).name(str(time), author, content)


def _sound(text: str) -> str:
    return text


def _untagged(name: str) -> str:
    """`Ann_12` of the newer form: the number tells apart conversations of one name."""
    return re.sub(r"_\d+$", "", name)


def _files(item: dict[str, Any], text: Any) -> tuple[Attachment, ...]:
    files = [
        _file(mapping(entry), MEDIA_TYPES.get(kind, ""), text)
        for kind in (*FILES, "media")
        for entry in sequence(item.get(kind))
    ]
    if sticker := mapping(item.get("sticker")):
        files.append(_file(sticker, "image", text))
    return tuple(file for file in files if file.name)


def _file(entry: dict[str, Any], media_type: str, text: Any) -> Attachment:
    uri = text(string(entry.get("uri")))
    name = (
        text(string(entry.get("name")))
        or text(string(entry.get("fileName")))
        or uri.rsplit("/", 1)[-1].split("?")[0]
    )
    return Attachment(name or ("file" if entry else ""), uri, media_type)


def _shared(body: str, share: dict[str, Any], text: Any) -> str:
    """A shared link or place, below what was said with it unless it repeats it."""
    lines = [body] if body else []
    for field in ("share_text", "link"):
        value = text(string(share.get(field)))
        if value and value not in body:
            lines.append(value)
    return "\n".join(lines)


def _reactions(value: object, text: Any) -> tuple[Reaction, ...]:
    by_emoji: dict[str, list[str]] = {}
    for entry in sequence(value):
        emoji = text(string(mapping(entry).get("reaction")))
        actor = text(string(mapping(entry).get("actor")))
        if emoji:
            by_emoji.setdefault(emoji, []).append(actor)
    return tuple(
        Reaction(emoji, tuple(dict.fromkeys(a for a in actors if a)), sum(not a for a in actors))
        for emoji, actors in by_emoji.items()
    )
