"""zulip-archive's JSON: `<stream id>-<stream>/<topic>.json`, each a list of messages as Zulip renders them.

The tool (github.com/zulip/zulip-archive) writes one file a topic, oldest message first, and a
`stream_index.json` with the streams' true names: in folder names spaces have become `-`, other signs
are lost, and a `/` makes a folder of its own. Topic names are percent-encoded with `.` for `%`.

A topic is a thread: its first message is the root and has the topic as title, the others reply to it.
Authors are display names, bodies HTML. Uploads are links in the body; one that is also shown as a
preview is one attachment. Forks of the tool keep more of Zulip's API (`sender_id`, `reactions`,
`last_edit_timestamp`), which is read where it stands.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from html import unescape
from typing import Any, BinaryIO
from urllib.parse import unquote

import msgspec

from quire.errors import FormatError, NotFoundError
from quire.exchange.emoji import emoji, from_code
from quire.exchange.jsonpull import Broken, JsonPull
from quire.exchange.markup import to_markdown
from quire.exchange.model import (
    NOBODY,
    Attachment,
    Author,
    Channel,
    Message,
    Options,
    Reaction,
    Record,
    Skipped,
    Warn,
)
from quire.exchange.sources import Source, until_broken
from quire.exchange.text import clean, string, time_ms

NAME = "zulip-archive"
TITLE = "zulip-archive's JSON (folder or archive)"
NOTICES_ARE_MESSAGES = True
EDITS_ARE_MARKED = False

INDEX = "stream_index.json"
PEEK_BYTES = 1 << 16  # a first message may be long before its keys are seen
WHOLE_MAX = 8 << 20  # bytes of a topic that is decoded at once
SYSTEM_BOTS = frozenset(["Notification Bot", "Welcome Bot", "Email Gateway", "Reminder Bot"])

_STREAM = re.compile(r"(?:^|/)(\d+-[^/]+(?:/[^/]+)*)/[^/]+\.json$")
_LITTER = re.compile(r"(?:^|/)(?:__MACOSX/|\._)")
_NUMBERED = re.compile(r"\d+-(.*)", re.DOTALL)
_MENTION = re.compile(r'class="user-mention[^"]*"(?: data-user-id="([^"]*)")?[^>]*>@?([^<]*)<')
_UPLOAD = re.compile(r'href="((?:https?://[^"/]+)?/user_uploads/[^"]+)"')
_LOST = re.compile(r"[^A-Za-z0-9]")  # what a stream's name may lose on its way to a folder's


def recognise(source: Source) -> int:
    """Certain by the index or by a topic's first bytes."""
    names = source.names()
    try:
        topics = (
            name for name in names if name.endswith(".json") and (len(names) == 1 or _STREAM.search(name))
        )
        index = next((name for name in names if name.rpartition("/")[2] == INDEX), None)
        folder = index.removesuffix(INDEX) if index is not None else "\0"
        older = (
            name for name in names if name.endswith(".json") and name.startswith(folder) and name != index
        )
        topic = next(topics, None) or next(older, None)
        if topic is None:
            return 0
        head = source.peek(topic, PEEK_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n")
        if head.startswith(b"[") and b'"sender_full_name"' in head and b'"content"' in head:
            return 3
        return 3 if index and b'"streams"' in source.peek(index) else 0
    except (FormatError, NotFoundError, OSError):
        return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """All topics, in the order of the files."""
    archive = _Archive(source, options)
    yield from archive.index()
    topics = (archive.topic(name, stream) for name, stream in source.walk(archive.is_topic))
    yield from until_broken(source, itertools.chain.from_iterable(topics))
    if not archive.channels and not archive.damaged:
        raise FormatError(f"{source.path.name} holds no topics", rule="no_messages")


class _Archive:
    def __init__(self, source: Source, options: Options) -> None:
        self.source = source
        self.options = options
        self.names: dict[int, str] = {}  # stream id -> name, from the index
        self.root = ""  # the folder the index stands in, with "/"
        self.indexed = False
        self.numbered = any(_STREAM.search(name) for name in source.names())
        self.channels: set[str] = set()
        self.authors: dict[str, str] = {}
        self.damaged = False

    def index(self) -> Iterator[Record]:
        name = next((n for n in self.source.names() if n.rpartition("/")[2] == INDEX), None)
        if name is None:
            return
        self.root, self.indexed = name.removesuffix(INDEX), True
        try:
            table = msgspec.json.decode(self.source.read(name))
        except (FormatError, msgspec.DecodeError, ValueError, RecursionError, OSError) as error:
            yield Warn(f"{name} cannot be read ({str(error)[:100]}): channel names are those of the folders")
            return
        streams = table.get("streams") if isinstance(table, dict) else None
        for stream, facts in streams.items() if isinstance(streams, dict) else ():
            if isinstance(facts, dict) and type(facts.get("id")) is int:
                self.names[facts["id"]] = clean(stream)

    def is_topic(self, name: str) -> bool:
        if not name.endswith(".json") or name.rpartition("/")[2] in (INDEX, "archive_progress.json"):
            return False
        return bool(self.key(name)) and not _LITTER.search(name)

    def key(self, name: str) -> str:
        """The channel of a topic file: its folders from the numbered one on; "" if it is no topic."""
        if self.indexed and self.numbered and name.startswith(self.root):
            found = _STREAM.search("/" + name.removeprefix(self.root))
            return found[1] if found else ""
        found = _STREAM.search(name)
        if found:
            return found[1]
        if "/" in name and not self.numbered:  # as the tool's first versions named folders
            return name.removeprefix(self.root).rpartition("/")[0]
        if "/" not in name and not self.numbered:  # one stream's folder, or one topic by itself
            path = self.source.path
            for folder in (path.name, path.absolute().parent.name):
                if _NUMBERED.fullmatch(folder) and not folder.endswith(".json"):
                    return folder
            return self.options.channel or path.name.removesuffix(".json")
        return ""

    def channel(self, key: str) -> Channel:
        number, _, folder = key.partition("-")
        if not number.isascii() or not number.isdecimal():
            plain = clean(_unescaped(key))
            named = (name for name in self.names.values() if _LOST.sub("", name) == _LOST.sub("", plain))
            return Channel(key=clean(key), name=next(named, plain))
        name = self.names.get(int(number[:18]), "")
        if _LOST.sub("", name) != _LOST.sub("", folder):
            name = folder  # renamed since, or no index
        return Channel(key=clean(key), name=clean(name))

    def topic(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        key = self.key(name)
        file = name.rpartition("/")[2].removesuffix(".json")
        title = clean(_unescaped(file))
        channel, root, root_ms, number = clean(key), "", 0, 0
        try:
            for number, item in enumerate(_items(stream), 1):
                message = self.message(channel, item, title, root, root_ms)
                if message is None:
                    reason = item.reason if isinstance(item, Broken) else "no id or no time, or not a message"
                    self.damaged = True
                    yield Skipped(name, f"item {number}", reason)
                    continue
                if key not in self.channels:
                    self.channels.add(key)
                    yield self.channel(key)
                author = string(item.get("sender_full_name")) or NOBODY
                if self.authors.get(message.author) != author:
                    self.authors[message.author] = author
                    yield Author(message.author, author, bot=_is_bot(item, author))
                if not root:
                    root, root_ms = message.id, message.time_ms
                yield message
        except (FormatError, OSError) as error:
            self.damaged = True
            yield Skipped(name, f"item {number + 1}", str(error))

    def message(self, channel: str, item: Any, title: str, root: str, root_ms: int) -> Message | None:
        """None if it is none."""
        if type(item) is not dict:
            return None
        when = time_ms(item.get("timestamp"))
        identity = item.get("id")
        if when is None or not isinstance(identity, int | str) or isinstance(identity, bool):
            return None
        if not (name := string(identity)):
            return None
        sender = string(item.get("sender_full_name")) or NOBODY
        by_id = "sender_id" in item  # a fork's
        html = string(item.get("content"))
        raw = item.get("content_type") == "text/x-markdown"
        body = html if raw else to_markdown(html)
        action = body.startswith("/me ")
        reply = bool(root) and root != name
        return Message(
            channel=channel,
            id=name,
            time_ms=when,
            author=(string(item["sender_id"]) or sender) if by_id else sender,
            body=body[4:] if action else body,
            notice=notice_of(html) if sender == "Notification Bot" else "",
            thread=root if reply else "",
            thread_time_ms=root_ms if reply else None,
            title="" if root else title,
            attachments=_uploads(html) if "/user_uploads/" in html else (),
            mentions=_mentions(html, by_id) if "user-mention" in html else (),
            reactions=_reactions(item["reactions"]) if item.get("reactions") else (),
            edited_ms=time_ms(item["last_edit_timestamp"]) if "last_edit_timestamp" in item else None,
            action=action,
        )


def _unescaped(name: str) -> str:
    """A name as it was before the tool made it fit for a file system."""
    return unquote(re.sub(r"\.(?=[0-9A-Fa-f]{2})", "%", name), errors="replace")


def _items(stream: BinaryIO) -> Iterator[Any]:
    """The messages of one topic: at once where that is possible, else one by one."""
    data = stream.read(WHOLE_MAX + 1)
    if len(data) <= WHOLE_MAX:
        try:
            whole = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            yield from whole if isinstance(whole, list) else [whole]
            return
    yield from JsonPull(stream, head=data).items()


def notice_of(html: str) -> str:
    """The kind of a line of Zulip's Notification Bot."""
    if "stream-topic" in html or "resolved" in html or "topic" in html:
        return "topic"
    return "name" if "renamed" in html else "other"


def _is_bot(item: dict[str, Any], name: str) -> bool:
    return name in SYSTEM_BOTS or item.get("sender_is_bot") is True


def _uploads(html: str) -> tuple[Attachment, ...]:
    """Each upload once, however often its link stands there."""
    found: dict[str, Attachment] = {}
    for address in _UPLOAD.findall(html):
        url = unescape(address)
        path = url[url.index("/user_uploads/") :]
        if path not in found:
            found[path] = Attachment(name=clean(unquote(path.rpartition("/")[2], errors="replace")), url=url)
    return tuple(found.values())


def _mentions(html: str, by_id: bool) -> tuple[str, ...]:
    """The people named: `@all` and its like are none."""
    people = ((number, unescape(name)) for number, name in _MENTION.findall(html) if number != "*")
    return tuple(dict.fromkeys(number if by_id else name for number, name in people if name))


def _reactions(value: Any) -> tuple[Reaction, ...]:
    people: dict[str, list[str]] = {}
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict):
            user = entry.get("user")
            key = string(entry.get("user_id")) or (string(user.get("id")) if isinstance(user, dict) else "")
            people.setdefault(zulip_emoji(entry), []).append(key)
    return tuple(
        Reaction(sign, tuple(dict.fromkeys(k for k in keys if k)), keys.count(""))
        for sign, keys in people.items()
        if sign
    )


def zulip_emoji(entry: dict[str, Any]) -> str:
    """The emoji of one of Zulip's reactions: by its code point, else by its name."""
    name = string(entry.get("emoji_name"))
    if string(entry.get("reaction_type")) in ("", "unicode_emoji"):
        return from_code(string(entry.get("emoji_code"))) or (emoji(name) if name else "")
    return f":{name}:" if name else ""
