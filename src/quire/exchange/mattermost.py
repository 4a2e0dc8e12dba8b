"""Mattermost: its bulk format, one object a line, as `mattermost export` and `mmctl export` write it.

A line is a version, emoji, team, channel, user, post, direct channel or direct post, in that order; replies
and reactions stand inside their post. The format has no message ids. The millisecond and the author name a
post in every export of it, whatever its text has become by then; only where one author has several texts in
one millisecond (bots do) are they numbered. Attachments name files below `data/`, which stay where they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, BinaryIO

from quire.errors import FormatError
from quire.exchange.emoji import emoji, replace_shortcodes
from quire.exchange.loose_json import json_lines, mapping, sequence, strings
from quire.exchange.model import (
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
from quire.exchange.moments import Moments
from quire.exchange.sources import Source
from quire.exchange.text import clean, string

NAME = "mattermost"
TITLE = "Mattermost: bulk export (JSONL, zip or folder)"
NOTICES_ARE_MESSAGES = True
EDITS_ARE_MARKED = True

TEXTS_MAX = 100_000  # (channel, time, author) remembered to tell posts of one millisecond apart
LOOKED_AT = 50  # files: an archive of another format may have thousands
LINE = re.compile(rb'\s*\{\s*"type"\s*:\s*"(\w+)"\s*,\s*"\1"\s*:')
MENTION = re.compile(r"(?<![\w@/.])@([a-z0-9][a-z0-9._\-]{0,63})")
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)
EVERYONE = frozenset(["all", "channel", "here"])
KINDS = {"O": "channel", "P": "private", "G": "group", "D": "direct"}
NOTICES = {
    "system_join_channel": "join", "system_add_to_channel": "join", "system_join_team": "join",
    "system_add_to_team": "join", "system_guest_join_channel": "join", "system_add_guest_to_chan": "join",
    "system_leave_channel": "leave", "system_remove_from_channel": "leave", "system_leave_team": "leave",
    "system_remove_from_team": "leave",
    "system_header_change": "topic", "system_purpose_change": "topic",
    "system_displayname_change": "name",
}  # fmt: skip
IGNORED = frozenset(["version", "info", "team", "scheme", "role"])


def recognise(source: Source) -> int:
    """A line that begins as this format's do."""
    try:
        for name in islice(_files(source), LOOKED_AT):
            line = LINE.match(source.peek(name, 4096).removeprefix(b"\xef\xbb\xbf"))
            if line is not None and (kind := line[1].decode()) and (kind in HANDLERS or kind in IGNORED):
                return 3
    except (FormatError, OSError):
        pass
    return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """All records, in the order of the lines."""
    names = set(_files(source))
    reader = _Reader()
    for name, stream in source.walk(names.__contains__):
        try:
            yield from reader.file(name, stream)
        except (FormatError, OSError) as error:
            yield Skipped(name, "the rest of the file", str(error)[:200])
    if not reader.lines:
        raise FormatError(f"{source.path.name} holds no Mattermost export", rule="no_messages")
    if not reader.users:
        yield Warn("no users in the export: names are usernames")
    yield from reader.moments.warnings()
    for what, count in reader.not_carried.items():
        yield NotCarried(what, count)


def _files(source: Source) -> list[str]:
    """The lines' files: not what was attached to posts, below `data/`."""
    found = []
    names = source.names()
    top = names[0].split("/")[0] if len({name.split("/")[0] for name in names}) == 1 else ""  # of an archive
    for name in names:
        parts = name.split("/")
        if "data" in parts[bool(top) : -1] or "__MACOSX" in parts or parts[-1].startswith("."):
            continue
        if parts[-1].endswith((".jsonl", ".json", ".ndjson")) or len(source.names()) == 1:
            found.append(name)
    return found


class _Reader:
    """What has to be remembered between lines: names, and the channels and authors introduced."""

    def __init__(self) -> None:
        self.lines = 0  # of this format
        self.users: dict[str, str] = {}
        self.bots: set[str] = set()
        self.introduced: set[str] = set()
        self.channels: dict[str, Channel] = {}
        self.opened: set[str] = set()
        self.texts: dict[tuple[str, int, str], list[int]] = {}
        self.not_carried: Counter[str] = Counter()
        self.moments = Moments("ms")

    def file(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        before = self.lines
        strange = 0
        for number, item in json_lines(stream):
            where = f"line {number}"
            if isinstance(item, ValueError):
                yield Skipped(name, where, f"not JSON: {item}"[:200])
                continue
            kind = string(mapping(item).get("type"))
            inner = mapping(item).get(kind)
            if kind in ("version", "info"):
                self.lines += 1
            elif kind in IGNORED and isinstance(inner, dict):
                self.lines += 1
                if kind in ("scheme", "role"):
                    self.not_carried["permission schemes and roles"] += 1
            elif kind in HANDLERS and isinstance(inner, dict):
                self.lines += 1
                yield from HANDLERS[kind](self, inner, name, where)
            else:
                strange += 1
                if strange == 1 or self.lines > before:  # a foreign file is named once
                    yield Skipped(name, where, "no line of this format")

    def _channel(self, channel: dict[str, Any], name: str, where: str) -> Iterator[Record]:
        key = _channel_key(string(channel.get("team")), string(channel.get("name")))
        if not string(channel.get("name")):
            yield Skipped(name, where, "a channel without a name")
            return
        self.channels[key] = Channel(
            key,
            string(channel.get("display_name")).strip() or string(channel.get("name")),
            string(channel.get("header")),
            string(channel.get("purpose")),
            KINDS.get(string(channel.get("type")), "channel"),
        )
        self.opened.discard(key)
        yield from self._open(key)

    def _open(self, key: str, kind: str = "channel", name: str = "") -> Iterator[Record]:
        if key not in self.opened:
            self.opened.add(key)
            yield self.channels.get(key) or Channel(key, name or key.rpartition("/")[2] or key, kind=kind)

    def _user(self, user: dict[str, Any], name: str, where: str) -> Iterator[Record]:
        key = _username(user.get("username"))
        if not key:
            yield Skipped(name, where, "a user without a username")
            return
        full = f"{string(user.get('first_name'))} {string(user.get('last_name'))}".strip()
        self.users[key] = string(user.get("nickname")).strip() or full or key
        if user.get("is_bot") is True:
            self.bots.add(key)

    def _bot(self, bot: dict[str, Any], name: str, where: str) -> Iterator[Record]:
        if key := _username(bot.get("username")):
            self.users[key] = string(bot.get("display_name")).strip() or key
            self.bots.add(key)
        yield from ()

    def _emoji(self, item: dict[str, Any], name: str, where: str) -> Iterator[Record]:
        self.not_carried["custom emoji images"] += 1
        yield from ()

    def _direct_channel(self, channel: dict[str, Any], name: str, where: str) -> Iterator[Record]:
        members = _members(channel, "members")
        if not members:
            yield Skipped(name, where, "a direct channel without members")
            return
        key = _direct_key(members)
        kind = "direct" if len(members) <= 2 else "group"
        self.channels[key] = Channel(key, self._names(members), string(channel.get("header")), kind=kind)
        yield from self._open(key)

    def _post(self, post: dict[str, Any], name: str, where: str) -> Iterator[Record]:
        channel = string(post.get("channel"))
        if not channel:
            yield Skipped(name, where, "a post without a channel")
            return
        key = _channel_key(string(post.get("team")), channel)
        yield from self._open(key)
        yield from self._thread(post, key, name, where)

    def _direct_post(self, post: dict[str, Any], name: str, where: str) -> Iterator[Record]:
        members = _members(post, "channel_members")
        if not members:
            yield Skipped(name, where, "a direct post without members")
            return
        key = _direct_key(members)
        yield from self._open(key, "direct" if len(members) <= 2 else "group", self._names(members))
        yield from self._thread(post, key, name, where)

    def _names(self, members: list[str]) -> str:
        return ", ".join(self.users.get(member, member) for member in members)

    def _thread(self, post: dict[str, Any], channel: str, name: str, where: str) -> Iterator[Record]:
        """A post and the replies in it. A broken root does not take its replies with it."""
        root = yield from self._message(post, channel, None, name, where)
        for number, reply in enumerate(sequence(post.get("replies")), 1):
            position = f"{where}, reply {number}"
            if isinstance(reply, dict):
                yield from self._message(reply, channel, root, name, position)
            else:
                yield Skipped(name, position, "not an object")

    def _message(
        self, post: dict[str, Any], channel: str, root: Message | None, name: str, where: str
    ) -> Generator[Record, None, Message | None]:
        """Yield the message and those it introduces; return it."""
        when = self.moments.ms(post.get("create_at"))
        author = _username(post.get("user"))
        if not when or not author:
            yield Skipped(name, where, "a post without a time" if not when else "a post without an author")
            return None
        text = string(post.get("message"))
        props = mapping(post.get("props"))
        mentions = tuple(dict.fromkeys(self._mentions(text)))
        reactions = self._reactions(post)
        people = [author, *mentions, *(who for reaction in reactions for who in reaction.authors)]
        for key in people:
            if key not in self.introduced:
                self.introduced.add(key)
                yield Author(key, self.users.get(key, key), key in self.bots)
        speaker = author
        hooked = string(props.get("from_webhook")) == "true" or props.get("from_webhook") is True
        if hooked and (shown := string(props.get("override_username"))):
            speaker = f"{author}:{shown}"  # a hook speaks under a name of its own
            if speaker not in self.introduced:
                self.introduced.add(speaker)
                yield Author(speaker, shown, bot=True)
        edited = self.moments.ms(post.get("edit_at"))
        message = Message(
            channel, self._id(channel, when, author, text), when, speaker,
            body=_body(text, props),
            notice=_notice(string(post.get("type"))),
            thread=root.id if root is not None else "",
            thread_time_ms=root.time_ms if root is not None else None,
            attachments=tuple(_attachments(post)),
            mentions=mentions,
            reactions=reactions,
            edited_ms=edited or None,
            deleted=bool(self.moments.ms(post.get("delete_at"))),
            pinned=post.get("is_pinned") is True,
            action=post.get("type") == "me",
        )  # fmt: skip
        if flagged := sequence(post.get("flagged_by")):
            self.not_carried["saved marks of other people"] += len(flagged)
        yield message
        return message

    def _id(self, channel: str, when: int, author: str, text: str) -> str:
        """A digest of time and author, and of which text of theirs in that millisecond this is."""
        if len(self.texts) >= TEXTS_MAX:
            self.texts.clear()
        texts = self.texts.setdefault((channel, when, author), [])
        mark = hash(text)  # compared within this run only
        if mark not in texts:
            texts.append(mark)
        number = texts.index(mark)
        return blake2b(f"{when}\0{author}\0{number}".encode(), digest_size=12).hexdigest()

    def _mentions(self, text: str) -> Iterator[str]:
        if "@" in text:
            for found in MENTION.findall(text.lower()):
                key = found if found in self.users or found in self.introduced else found.rstrip("._-")
                if (key in self.users or key in self.introduced) and key not in EVERYONE:
                    yield key

    def _reactions(self, post: dict[str, Any]) -> tuple[Reaction, ...]:
        """One reaction an emoji; the format has one entry a person."""
        found: dict[str, dict[str, None]] = {}
        for item in map(mapping, sequence(post.get("reactions"))):
            shown, who = string(item.get("emoji_name")), _username(item.get("user"))
            if shown and who:
                found.setdefault(emoji(shown), {})[who] = None
        return tuple(Reaction(shown, tuple(people)) for shown, people in found.items())


HANDLERS = {
    "channel": _Reader._channel,
    "user": _Reader._user,
    "bot": _Reader._bot,
    "emoji": _Reader._emoji,
    "post": _Reader._post,
    "direct_channel": _Reader._direct_channel,
    "direct_post": _Reader._direct_post,
}


def _channel_key(team: str, channel: str) -> str:
    return f"{team}/{channel}" if team else channel


def _direct_key(members: list[str]) -> str:
    return "@" + ",".join(sorted(members))


def _members(item: dict[str, Any], field: str) -> list[str]:
    """Usernames; newer exports have participants as objects."""
    found = strings(item.get(field)) or [
        string(mapping(one).get("username")) for one in sequence(item.get("participants"))
    ]
    return list(dict.fromkeys(filter(None, map(_username, found))))


def _username(value: object) -> str:
    return string(value).strip().removeprefix("@").lower()


def _notice(kind: str) -> str:
    if not kind.startswith("system_") or kind in ("system_generic", "system_me"):
        return "other" if kind == "system_generic" else ""
    return NOTICES.get(kind, "other")


def _body(text: str, props: dict[str, Any]) -> str:
    """Mattermost writes Markdown already. Integrations put their words into attachments."""
    body = "".join(
        part if part[:1] == "`" else replace_shortcodes(part) for part in CODE.split(text)
    ) if ":" in text else text  # fmt: skip
    more = [_attached(item) for item in map(mapping, sequence(props.get("attachments")))]
    return "\n\n".join(part for part in (body, *more) if part)


def _attached(item: dict[str, Any]) -> str:
    title, link = string(item.get("title")), string(item.get("title_link"))
    title = f"[{title}]({link})" if title and link else title
    lines = [string(item.get("pretext")), string(item.get("author_name")), title and f"**{title}**"]
    lines.append(string(item.get("text")))
    fields = map(mapping, sequence(item.get("fields")))
    lines += [f"**{string(field.get('title'))}**: {string(field.get('value'))}" for field in fields]
    return "\n".join(line for line in lines if line) or string(item.get("fallback"))


def _attachments(post: dict[str, Any]) -> Iterator[Attachment]:
    for item in map(mapping, sequence(post.get("attachments"))):
        if path := string(item.get("path")):
            yield Attachment(clean(path.replace("\\", "/").rsplit("/", 1)[-1]) or path, path)
