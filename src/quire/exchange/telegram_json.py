"""Telegram Desktop's `result.json`: one chat, or a whole account with its chats in a list.

Messages are read one by one from the array, wherever in the document it stands. Times are Unix time
where the version wrote it (since the end of 2021), else the exporter's clock, whose zone the file does
not name. People are `user123` (once plain numbers); reactions tell the newest few people and a count.

In a group with topics, a topic is the service message that created it; what is said in it answers that
message, or answers something that does. A table of small numbers remembers which message is in
which topic, for such groups only.
"""

from __future__ import annotations

import itertools
import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from quire.errors import FormatError
from quire.exchange.jsonpull import Broken, JsonPull
from quire.exchange.lines import WallClock
from quire.exchange.markup import quote
from quire.exchange.model import (
    NOBODY,
    Attachment,
    Author,
    Channel,
    Message,
    NotCarried,
    Options,
    PinEvent,
    Reaction,
    Record,
    Skipped,
)
from quire.exchange.moments import Moments
from quire.exchange.sources import HEAD_BYTES, Source, heads, until_broken
from quire.exchange.telegram_text import NOTICES, action_text, markdown, mentioned, stand_in
from quire.exchange.text import iso_ms, string

NAME = "telegram"
TITLE = "Telegram Desktop JSON (result.json, its folder or zip)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = True

DAY_MS = 86_400_000  # "edited" on the first day of Unix time means never
KINDS = {
    "personal_chat": "direct", "bot_chat": "direct", "saved_messages": "direct", "replies": "direct",
    "verification_codes": "direct", "private_group": "group", "private_supergroup": "private",
    "private_channel": "private", "public_supergroup": "channel", "public_channel": "channel",
}  # fmt: skip
NAMELESS = {"saved_messages": "Saved Messages", "replies": "Replies"}
PEERS = {0: "user", 1: "chat", 2: "channel"}  # the upper half of the numbers of old exports

_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\._)")
_KIND = re.compile(rb'"type"\s*:\s*"(?:' + "|".join(KINDS).encode() + rb')"')
_MESSAGE = re.compile(rb'"(?:from_id|date_unixtime|text_entities|actor_id)"\s*:')


def recognise(source: Source) -> int:
    """Certain by the kinds of chats Telegram knows, or by the words of an account's export."""
    return max(map(_certainty, heads(source, _wanted)), default=0)


def read(source: Source, options: Options) -> Iterator[Record]:
    """All chats of all files."""
    export = _Export(options)
    records = (export.file(name, stream) for name, stream in source.walk(_wanted))
    yield from until_broken(source, itertools.chain.from_iterable(records))
    yield from export.moments.warnings()
    for what, count in export.not_carried.items():
        yield NotCarried(what, count)
    if not export.files:
        raise FormatError(f"{source.path.name} holds no exported chat", rule="no_messages")


class _Topics:
    """Which message is in which topic. Ids rise in an export, so two arrays and a bisection do."""

    def __init__(self) -> None:
        self.roots: dict[int, int] = {}  # the message that created a topic -> its time
        self._ids = array("q")
        self._topics = array("q")

    def of(self, number: int) -> int:
        """The topic of a message; 0 if it is in none."""
        if number in self.roots:
            return number
        at = bisect_left(self._ids, number)
        return self._topics[at] if at < len(self._ids) and self._ids[at] == number else 0

    def add(self, number: int, topic: int) -> None:
        if 0 < number < 1 << 62 and (not self._ids or number > self._ids[-1]):
            self._ids.append(number)
            self._topics.append(topic)


class _Chat:
    """The chat in hand: its facts as far as they were read, and its topics."""

    def __init__(self, name: str) -> None:
        self.file = name
        self.facts: dict[str, str] = {}
        self.channel = Channel("", "")
        self.topics = _Topics()

    def begin(self, options: Options) -> Channel:
        kind = self.facts.get("type", "")
        base = self.file.rpartition("/")[0].rpartition("/")[2] or self.file.removesuffix(".json")
        name = self.facts.get("name") or options.channel or NAMELESS.get(kind)
        name = name or ("Deleted Account" if self.facts.get("id") else base)
        key = self.facts.get("id") or name
        self.channel = Channel(key, name, kind=KINDS.get(kind, "channel"))
        return self.channel


class _Export:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.zone = WallClock(options.timezone).zone
        self.files = 0
        self.authors: dict[str, Author] = {}
        self.not_carried: Counter[str] = Counter()
        self.moments = Moments("s")

    def file(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        try:
            head = stream.read(HEAD_BYTES)
            if not _certainty(head):
                return
            self.files += 1
            pull = JsonPull(stream, head)
            yield from self.chat(pull, name)
        except (FormatError, OSError) as error:
            yield Skipped(name, "file", str(error))

    def chat(self, pull: JsonPull, name: str) -> Iterator[Record]:
        """One chat, or the document of an account with chats in it."""
        chat = _Chat(name)
        for key in pull.keys():  # noqa: SIM118 - no dict
            if isinstance(key, Broken):
                yield Skipped(name, "chat", key.reason)
            elif key in ("name", "type", "id"):
                chat.facts[key] = string(pull.value())
            elif key == "messages":
                yield chat.begin(self.options)
                yield from self.messages(pull, chat)
            elif key in ("chats", "left_chats"):
                yield from self.account(pull, name)

    def account(self, pull: JsonPull, name: str) -> Iterator[Record]:
        for key in pull.keys():  # noqa: SIM118 - no dict
            if key == "list":
                for entry in pull.entries():
                    if isinstance(entry, Broken):
                        yield Skipped(name, "list of chats", entry.reason)
                    else:
                        yield from self.chat(pull, name)
            elif isinstance(key, Broken):
                yield Skipped(name, "list of chats", key.reason)

    def messages(self, pull: JsonPull, chat: _Chat) -> Iterator[Record]:
        for number, item in enumerate(pull.items(), 1):
            message = None if isinstance(item, Broken) else self.message(item, chat)
            if message is None:
                if isinstance(item, dict) and item.get("type") == "unsupported":
                    self.not_carried["messages of kinds that Telegram did not export"] += 1
                    continue
                reason = item.reason if isinstance(item, Broken) else "no id or no time, or not a message"
                yield Skipped(chat.file, f"{chat.channel.name}, item {number}", reason)
                continue
            yield from self.people(item, chat)
            yield message
            if item.get("action") == "pin_message" and (target := string(item.get("message_id"))):
                yield PinEvent(chat.channel.key, target, message.time_ms, message.author)

    def people(self, item: dict[str, Any], chat: _Chat) -> Iterator[Author]:
        """Those who are new, or newly called."""
        key, name = _sender(item)
        bot = chat.facts.get("type") == "bot_chat" and key == f"user{chat.facts.get('id')}"
        known = self.authors.get(key)
        if known is None or known.name != name or (bot and not known.bot):
            self.authors[key] = known = Author(key, name, bot or bool(known and known.bot))
            yield known
        reactions = item.get("reactions")
        for reaction in reactions if isinstance(reactions, list) else ():
            for person in _recent(reaction):
                key = peer(person.get("from_id"))
                if key and key not in self.authors:
                    self.authors[key] = Author(key, string(person.get("from")) or "Deleted Account")
                    yield self.authors[key]

    def message(self, item: Any, chat: _Chat) -> Message | None:
        """None if it is none."""
        if type(item) is not dict:
            return None
        number = item.get("id")
        when = self.moments.ms(item.get("date_unixtime"))
        if when is None:
            when = iso_ms(string(item.get("date")), self.zone)
        if when is None or type(number) is not int:
            return None
        service = item.get("type") == "service"
        action = string(item.get("action")) if service else ""
        author, name = _sender(item)
        thread, answered, title = self.place(item, number, when, action, chat.topics)
        text = item.get("text")
        if not isinstance(text, list):
            entities = item.get("text_entities")
            text = entities if isinstance(entities, list) and (len(entities) > 1 or not text) else text
        return Message(
            channel=chat.channel.key,
            id=str(number),
            time_ms=when,
            author=author,
            body=action_text(item, name) if service else self.body(item, text),
            notice=NOTICES.get(action, "other") if service else "",
            thread=str(thread) if thread else "",
            thread_time_ms=chat.topics.roots[thread] if thread else None,
            title=title,
            reply_to=str(answered) if answered else "",
            attachments=_attachments(item),
            mentions=tuple(dict.fromkeys(mentioned(text))) if type(text) is list else (),
            reactions=_reactions(item["reactions"]) if item.get("reactions") else (),
            edited_ms=self.edited(item) if "edited" in item or "edited_unixtime" in item else None,
        )

    def place(
        self, item: dict[str, Any], number: int, when: int, action: str, topics: _Topics
    ) -> tuple[int, int, str]:
        """The topic (0: none), the message answered (0: none), and the title if this begins a topic."""
        if action == "topic_created" and number > 0:
            topics.roots[number] = when
            return 0, 0, string(item.get("title")) or "Topic"
        answered = item.get("reply_to_message_id")
        if type(answered) is not int or answered == number or item.get("reply_to_peer_id"):
            return 0, 0, ""
        if not topics.roots:
            return 0, answered, ""
        topic = topics.of(answered)
        if topic:
            topics.add(number, topic)
        return topic, 0 if answered == topic else answered, ""

    def body(self, item: dict[str, Any], text: Any) -> str:
        body = markdown(text) if text else ""
        if not body or "poll" in item or "location_information" in item or "contact_information" in item:
            body = "\n".join(filter(None, (body, stand_in(item))))
        if "poll" in item:
            self.not_carried["polls (kept as text)"] += 1
        if "forwarded_from" in item:
            source = string(item["forwarded_from"])
            first = f"Forwarded from {source}:" if source else "Forwarded:"
            body = f"{first}\n{quote(body)}" if body else first
        return body

    def edited(self, item: dict[str, Any]) -> int | None:
        when = self.moments.ms(item.get("edited_unixtime"))
        if when is None:
            when = iso_ms(string(item.get("edited")), self.zone)
        return None if when is None or when <= DAY_MS else when


def peer(value: Any) -> str:
    """A person or channel as newer exports write it: `user123`."""
    if type(value) is int and value >= 0:
        return f"{PEERS.get(value >> 32, 'user')}{value & 0xFFFFFFFF if value >> 32 in PEERS else value}"
    return string(value)


def _sender(item: dict[str, Any]) -> tuple[str, str]:
    """Key and name of who wrote, or did."""
    name = string(item.get("from")) or string(item.get("actor"))
    key = peer(item.get("from_id")) or peer(item.get("actor_id")) or name
    if not key:
        return NOBODY, NOBODY
    return key, name or "Deleted Account"


def _recent(reaction: Any) -> list[dict[str, Any]]:
    people = reaction.get("recent") if isinstance(reaction, dict) else None
    return [person for person in people if isinstance(person, dict)] if isinstance(people, list) else []


def _reactions(value: Any) -> tuple[Reaction, ...]:
    found: dict[str, Reaction] = {}
    for entry in value if isinstance(value, list) else ():
        if not isinstance(entry, dict):
            continue
        sign = string(entry.get("emoji"))
        if not sign:
            document = string(entry.get("document_id"))
            name = "" if document.startswith("(") else document.rpartition("/")[2].partition(".")[0]
            sign = "⭐" if entry.get("type") == "paid" else f":{name or 'custom_emoji'}:"
        people = tuple(
            dict.fromkeys(filter(None, (peer(person.get("from_id")) for person in _recent(entry))))
        )
        count = entry.get("count")
        unknown = max(count - len(people), 0) if type(count) is int and count < 1 << 31 else 0
        if not people and not unknown:
            continue
        old = found.get(sign, Reaction(sign))
        authors = tuple(dict.fromkeys((*old.authors, *people)))
        found[sign] = Reaction(sign, authors, old.unknown + unknown)
    return tuple(found.values())


def _attachments(item: dict[str, Any]) -> tuple[Attachment, ...]:
    files = []
    for key in ("photo", "file"):
        path = string(item.get(key))
        if not path:
            continue
        url = (
            "" if "(File " in path or path.startswith("(") else path
        )  # a note in brackets says why it is not there
        kind = string(item.get("media_type")).replace("_", " ") if key == "file" else ""
        name = string(item.get("file_name")) if key == "file" else ""
        size = item.get("file_size" if key == "file" else "photo_file_size")
        files.append(
            Attachment(
                name=name or url.rpartition("/")[2] or kind or key,
                url=url,
                media_type=string(item.get("mime_type")) if key == "file" else "",
                size_bytes=size if type(size) is int and 0 <= size < 1 << 62 else None,
            )
        )
    return tuple(files)


def _wanted(name: str) -> bool:
    return name[-5:].lower() == ".json" and not _LITTER.search(name)


def _certainty(head: bytes) -> int:
    if b"\0" in head[:4]:  # UTF-16: an editor saved it again
        head = head.replace(b"\0", b"")
    if _KIND.search(head) and b'"messages"' in head:
        return 3
    if (
        b'"about"' in head
        and b"Telegram" in head
        and (b'"chats"' in head or b'"personal_information"' in head)
    ):
        return 3
    if b'"chats"' in head and _KIND.search(head):
        return 3
    return 2 if b'"messages"' in head and len(set(_MESSAGE.findall(head))) >= 2 else 0
