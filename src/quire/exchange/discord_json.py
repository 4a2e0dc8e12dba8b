"""DiscordChatExporter's JSON, of any version: one file a channel (or a part of one), many in a folder.

A file is `{guild, channel, dateRange, messages, messageCount}`; the messages hold everything they need
(author, mentions, who reacted), so there is no table to join. Bodies are Markdown as Discord has it.
Ids are snowflakes, which also tell the time to the millisecond.

A thread is exported as a channel of its own, whose `category` is the channel it belongs to. It comes
back as what it is: replies in the parent channel. Its root is the message it was started from, if the
parent is part of the export, else its own first message; the root carries the thread's name. For that
the heads of all files are read first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import msgspec

from quire.errors import FormatError
from quire.exchange.jsonpull import Broken, JsonPull
from quire.exchange.markup import link, quote
from quire.exchange.model import (
    GONE,
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
    Warn,
)
from quire.exchange.sources import HEAD_BYTES, Source, heads, until_broken
from quire.exchange.text import iso_ms, string, valid_time_ms

NAME = "discord"
TITLE = "DiscordChatExporter JSON (files, folder or zip)"
NOTICES_ARE_MESSAGES = True
EDITS_ARE_MARKED = True

WARNINGS_MAX = 20
EPOCH_MS = 1_420_070_400_000  # of snowflakes: 2015-01-01

MESSAGES = frozenset(
    [
        "Default",
        "Reply",
        "ChatInputCommand",
        "ApplicationCommand",
        "ContextMenuCommand",
        "0",
        "19",
        "20",
        "23",
        "",
    ]
)
REPLIES = frozenset(["Reply", "19", "ChatInputCommand", "20", "ContextMenuCommand", "23"])
STARTERS = frozenset(["ThreadStarterMessage", "21"])
NOTICES = {
    "RecipientAdd": "join", "1": "join",
    "RecipientRemove": "leave", "2": "leave",
    "ChannelNameChange": "name", "4": "name",
    "ChannelPinnedMessage": "pin", "6": "pin",
    "GuildMemberJoin": "join", "UserJoin": "join", "7": "join",
    "Call": "other", "ChannelIconChange": "other", "ThreadCreated": "other",
}  # fmt: skip
KINDS = {
    "DirectTextChat": "direct",
    "DM": "direct",
    "1": "direct",
    "DirectGroupTextChat": "group",
    "3": "group",
}

_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\._)|_[Ff]iles/")
_FILE_ID = re.compile(r"[\[_](\d{15,21})\]?[^/]*$")
_RAW_MENTION = re.compile(r"<@!?(\d{1,20})>")
_RAW_EMOJI = re.compile(r"<a?(:\w{1,64}:)\d{1,20}>")


def recognise(source: Source) -> int:
    """Certain if a file begins as the exporter writes it."""
    return 3 if any(map(_looks_right, heads(source, _wanted))) else 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """All files; a thread's messages go to the channel it belongs to."""
    export = _Export(source)
    yield from until_broken(source, _records(source, export))
    for what, count in export.not_carried.items():
        yield NotCarried(what, count)
    if not export.heads:
        raise FormatError(f"{source.path.name} holds no exported channel", rule="no_messages")


def _records(source: Source, export: _Export) -> Iterator[Record]:
    for name, stream in source.walk(_wanted):
        export.head(name, stream)
    for files in export.order():
        for name, stream in source.walk(files.__contains__):
            yield from export.file(name, stream)


def snowflake_ms(identity: str) -> int | None:
    """The time in a Discord id."""
    if not (identity.isascii() and identity.isdecimal() and 15 <= len(identity) <= 20):
        return None
    return valid_time_ms((int(identity) >> 22) + EPOCH_MS)


class _Head(msgspec.Struct):
    """What a file says of its channel."""

    channel: Channel
    thread: str = ""  # the thread's id, if this is one
    title: str = ""
    root: str = ""  # the message of the parent channel that the thread was started from


class _Export:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.heads: dict[str, _Head] = {}
        self.present: set[str] = set()  # channels with a file of their own
        self.titles: dict[str, str] = {}  # message a thread was started from -> the thread's name
        self.firsts: dict[str, str] = {}  # thread -> its first message, in whichever part of it
        self.authors: dict[str, tuple[str, bool]] = {}
        self.announced: dict[str, Channel] = {}
        self.not_carried: Counter[str] = Counter()
        self.warnings = 0

    def head(self, name: str, stream: BinaryIO) -> None:
        """Remember the file's channel, if it is an export."""
        try:
            data = stream.read(HEAD_BYTES)
        except (FormatError, OSError):
            return
        if not _looks_right(data):
            return
        guild, channel, first = _begin(data)
        identity = string(channel.get("id")) or _id_of(name)
        title = string(channel.get("name")) or name.rpartition("/")[2].removesuffix(".json")
        kind, parent = string(channel.get("type")), string(channel.get("categoryId"))
        if "Thread" in kind or kind in ("10", "11", "12"):
            above = Channel(key=parent or identity, name=string(channel.get("category")) or title)
            head = _Head(above, thread=identity, title=title)
            reference = first.get("reference")
            if string(first.get("type")) in STARTERS and isinstance(reference, dict):
                head.root = string(reference.get("messageId"))
        else:
            direct = KINDS.get(kind) or ("direct" if string(guild.get("id")) == "0" else "channel")
            head = _Head(Channel(identity, title, topic=string(channel.get("topic")), kind=direct))
            self.present.add(identity)
        self.heads[name] = head
        if head.root:
            self.titles[head.root] = head.title
        if head.thread and (identity := string(first.get("id"))):
            known = self.firsts.get(head.thread, identity)
            self.firsts[head.thread] = min(known, identity, key=lambda number: (len(number), number))

    def order(self) -> list[set[str]]:
        """The files to read first, then those of threads: a reply after what it answers."""
        threads = {name for name, head in self.heads.items() if head.thread}
        return [files for files in (self.heads.keys() - threads, threads) if files]

    def file(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        head = self.heads[name]
        if self.announced.get(head.channel.key) in (None, Channel(head.channel.key, head.channel.name)):
            self.announced[head.channel.key] = head.channel
            yield head.channel
        starter = head.root if head.channel.key in self.present else ""
        root = starter or self.firsts.get(head.thread, "")
        number, said = 0, None
        pull = JsonPull(stream)
        try:
            for key in pull.keys():  # noqa: SIM118 - no dict
                if isinstance(key, Broken):
                    yield Skipped(name, f"item {number + 1}", key.reason)
                elif key == "messages":
                    for number, item in enumerate(pull.items(), 1):
                        if isinstance(item, Broken):
                            yield Skipped(name, f"item {number}", item.reason)
                            continue
                        message = self.message(item, head, root)
                        if message is None:
                            yield Skipped(name, f"item {number}", "no id or no time, or not a message")
                            continue
                        yield from self.people(item)
                        if not starter or string(item.get("type")) not in STARTERS:
                            yield message  # a starter stands for the root, which is in the parent channel
                elif key == "messageCount":
                    said = pull.value()
        except (FormatError, OSError) as error:
            yield Skipped(name, f"item {number + 1}", str(error))
        if type(said) is int and said != number and self.warnings < WARNINGS_MAX:
            self.warnings += 1
            yield Warn(f"{name} says it has {said} messages and has {number}")

    def people(self, item: dict[str, Any]) -> Iterator[Author]:
        """Those the message names and who are new, or newly called."""
        found = _author(_dict(item.get("author")))
        if self.authors.get(found.key) != (found.name, found.bot):
            self.authors[found.key] = (found.name, found.bot)
            yield found
        others = item.get("mentions") or ()
        for reaction in _dicts(item.get("reactions")):
            users = reaction.get("users")
            if users:
                others = (
                    [*others, *users] if isinstance(users, list) and isinstance(others, list | tuple) else ()
                )
        for person in others if isinstance(others, list | tuple) else ():
            if isinstance(person, dict):
                found = _author(person)
                if found.key != NOBODY and found.key not in self.authors:
                    self.authors[found.key] = (found.name, found.bot)
                    yield found

    def message(self, item: Any, head: _Head, root: str) -> Message | None:
        """None if it is none."""
        if type(item) is not dict:
            return None
        name = string(item.get("id"))
        when = iso_ms(string(item.get("timestamp")))
        if when is None:
            when = snowflake_ms(name)
        if when is None or not name:
            return None
        kind = string(item.get("type"))
        mentions = tuple(_dicts(item.get("mentions")))
        body, attachments = self.content(item, mentions)
        thread = root if name != root else ""
        reply_to = _reply_to(item, name, head) if kind in REPLIES else ""
        edited = item.get("timestampEdited")
        title = head.title if name == root else self.titles.get(name, "") if not head.thread else ""
        return Message(
            channel=head.channel.key,
            id=name,
            time_ms=when,
            author=_key(_dict(item.get("author"))) or NOBODY,
            body=body,
            notice="" if kind in MESSAGES else _notice(kind, body),
            thread=thread,
            thread_time_ms=snowflake_ms(root) if thread else None,
            title=title,
            reply_to=reply_to,
            reply_to_time_ms=snowflake_ms(reply_to),
            attachments=attachments,
            mentions=tuple(dict.fromkeys(filter(None, map(_key, mentions)))) if mentions else (),
            reactions=tuple(_reactions(item.get("reactions"))) if item.get("reactions") else (),
            edited_ms=(iso_ms(edited) or when) if isinstance(edited, str) and edited else None,
            pinned=item.get("isPinned") is True,
        )

    def content(
        self, item: dict[str, Any], people: tuple[dict[str, Any], ...]
    ) -> tuple[str, tuple[Attachment, ...]]:
        """The body, with what stands in for an empty one, and the files."""
        body = string(item.get("content"))
        if "<" in body:
            body = _plain(body, people)
        attachments = tuple(map(_attachment, _dicts(item.get("attachments"))))
        forwarded = item.get("forwardedMessage")
        if isinstance(forwarded, dict):
            text, files = self.content(forwarded, people)
            body = "\n".join(filter(None, (body, "Forwarded:", quote(text) if text else "")))
            attachments += files
        stickers = tuple(_dicts(item.get("stickers")))
        if stickers:
            self.not_carried["stickers"] += len(stickers)
            body = body or " ".join(f":{string(sticker.get('name')) or 'sticker'}:" for sticker in stickers)
        embeds = tuple(_dicts(item.get("embeds")))
        if embeds:
            if not body and not attachments:  # how bots write
                body = "\n\n".join(filter(None, map(_embed, embeds)))
            self.not_carried["embeds"] += len(embeds)
        if item.get("poll"):
            self.not_carried["polls"] += 1
        return body, attachments


def _wanted(name: str) -> bool:
    return name[-5:].lower() == ".json" and not _LITTER.search(name)


def _looks_right(head: bytes) -> bool:
    if b"\0" in head[:4]:  # UTF-16: an editor saved it again
        head = head.replace(b"\0", b"")
    return b'"guild"' in head and b'"channel"' in head and (b'"messages"' in head or b'"dateRange"' in head)


def _begin(data: bytes) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The guild, the channel and the first message, as far as the first bytes of a file go."""
    found: dict[str, Any] = {}
    pull = JsonPull(BytesIO(data))
    for key in pull.keys():  # noqa: SIM118 - no dict
        if key == "messages":
            found["messages"] = next(pull.items(), None)
            break
        if isinstance(key, str):
            found[key] = pull.value()
    guild, channel, first = (found.get(key) for key in ("guild", "channel", "messages"))
    return _dict(guild), _dict(channel), _dict(first)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if value and isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item


def _id_of(name: str) -> str:
    found = _FILE_ID.search(name)
    return found[1] if found else name


def _key(person: dict[str, Any]) -> str:
    return string(person.get("id")) or string(person.get("name"))


def _author(person: dict[str, Any]) -> Author:
    key = _key(person) or NOBODY
    name = string(person.get("nickname")) or string(person.get("name")) or key
    return Author(key=key, name=name, bot=person.get("isBot") is True)


def _notice(kind: str, body: str) -> str:
    """Types the exporter has no name for are numbers; an unknown name with a text is some new message."""
    return NOTICES.get(kind) or ("" if body and not kind.isdecimal() else "other")


def _reply_to(item: dict[str, Any], name: str, head: _Head) -> str:
    """The message answered, if it is one of this channel."""
    reference = item.get("reference")
    if type(reference) is not dict or not reference:
        return ""
    target, place = string(reference.get("messageId")), string(reference.get("channelId"))
    here = not place or place in (head.channel.key, head.thread)
    if here and not target:
        return GONE
    return target if here and target != name else ""


def _reactions(value: Any) -> Iterator[Reaction]:
    for entry in _dicts(value):
        emoji = _dict(entry.get("emoji"))
        name = string(emoji.get("name"))
        if not name:
            continue
        custom = bool(string(emoji.get("id")))
        people = tuple(dict.fromkeys(key for user in _dicts(entry.get("users")) if (key := _key(user))))
        count = entry.get("count")
        unknown = count - len(people) if type(count) is int and count < 1 << 31 else 0
        if people or unknown > 0:
            yield Reaction(f":{name}:" if custom else name, people, max(unknown, 0))


def _attachment(item: dict[str, Any]) -> Attachment:
    url = string(item.get("url"))
    if "://" not in url:
        url = url.replace("\\", "/")  # a path, as Windows wrote it
    size = item.get("fileSizeBytes")
    name = string(item.get("fileName")) or url.partition("?")[0].rpartition("/")[2] or "file"
    return Attachment(name, url, size_bytes=size if type(size) is int and 0 <= size < 1 << 62 else None)


def _plain(body: str, people: tuple[dict[str, Any], ...]) -> str:
    """Mentions and custom emoji by name, where the exporter was told to leave Discord's own marks."""
    body = _RAW_EMOJI.sub(r"\1", body)
    if "<@" not in body:
        return body
    names = {_key(person): _author(person).name for person in people}
    return _RAW_MENTION.sub(lambda found: f"@{names[found[1]]}" if found[1] in names else found[0], body)


def _embed(embed: dict[str, Any]) -> str:
    title, url = string(embed.get("title")), string(embed.get("url"))
    lines = [link(title, url) if title else "", string(embed.get("description")) or ("" if title else url)]
    lines += [
        f"**{string(field.get('name')).strip()}**: {string(field.get('value'))}"
        for field in _dicts(embed.get("fields"))
    ]
    return "\n".join(filter(None, lines))
