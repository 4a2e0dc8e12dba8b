"""One Slack message object to records.

The same object comes in export files, API pages and events. What it says of its author, its thread
and its contents has changed over the years (`file` became `files`, `user_profile` came, apps went from
attachments to blocks), so every field is looked at for itself and none is relied on but `ts`, which is
the message's id and its time.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from quire.exchange.emoji import emoji
from quire.exchange.loose_json import mapping, sequence, strings
from quire.exchange.model import NOBODY, Attachment, Author, Channel, Message, Reaction, Record, Skipped
from quire.exchange.slack_blocks import (
    attachments_to_markdown,
    blocks_to_markdown,
    has_app_content,
    is_unfurl,
    mentioned,
)
from quire.exchange.slack_files import Directory, Person, Place, display_name
from quire.exchange.slack_text import mentions, to_markdown
from quire.exchange.text import string, time_ms

__all__ = ["Converter", "timestamp"]


MESSAGES = frozenset(  # every other subtype is a notice
    ["", "ai_message", "assistant_app_thread", "bot_message", "document_mention", "file_comment",
     "file_mention", "file_share", "huddle_thread", "me_message", "reply_broadcast", "sh_room_created",
     "slackbot_response", "thread_broadcast", "tombstone"]
)  # fmt: skip
BROADCASTS = ("thread_broadcast", "reply_broadcast")
NOTICES = {
    "channel_join": "join", "group_join": "join", "app_conversation_join": "join",
    "channel_leave": "leave", "group_leave": "leave", "app_conversation_leave": "leave",
    "channel_topic": "topic", "group_topic": "topic", "channel_purpose": "topic", "group_purpose": "topic",
    "channel_name": "name", "group_name": "name",
    "pinned_item": "pin", "unpinned_item": "pin",
}  # fmt: skip
# Tools that drop `subtype` leave a notice looking like its author's own words.
SPOKEN_NOTICE = re.compile(
    r"<@([A-Z0-9]+)(?:\|[^>]*)?> (?:"
    r"(?P<join>has joined the (?:channel|group|conversation))"
    r"|(?P<leave>has left the (?:channel|group|conversation))"
    r"|(?P<topic>(?:set|cleared) the (?:channel|group) (?:topic|purpose|description))"
    r"|(?P<name>has renamed the (?:channel|group) from)|(?P<pin>pinned a message to this)"
    r"|(?P<other>(?:un)?archived the (?:channel|group)))\b"
)
UPLOADED = re.compile(r"<@\w+(?:\|[^>]*)?> (?:uploaded|shared) a file: <[^>]*>(?: and commented: ?)?")


def timestamp(value: object) -> str:
    """A `ts` as Slack writes it; a tool may have made a number of it."""
    return f"{value:.6f}" if isinstance(value, float) else string(value)


class Converter:
    """Turns message objects into records; remembers whom and which channels it has introduced."""

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.not_carried: Counter[str] = Counter()
        self.introduced: dict[str, str] = {}  # author key -> name
        self.opened: set[str] = set()  # channel keys
        self.unlisted: set[str] = set()  # channels that no table names
        self._emoji: dict[str, str] = {}

    def channel(self, key: str, name: str = "", kind: str = "") -> list[Record]:
        """The channel's record, the first time it is needed."""
        if key in self.opened:
            return []
        self.opened.add(key)
        info = self.directory.channels.get(key)
        if info is None:
            self.unlisted.add(key)
            kind = kind or {"D": "direct", "G": "private"}.get(key[:1] if key.isupper() else "", "channel")
            return [Channel(key, name or key, kind=kind)]
        shown = info.name or name
        if info.members and (info.kind == "direct" or (info.kind == "group" and shown.startswith("mpdm-"))):
            shown = ", ".join(self.directory.name(member, "") for member in info.members)
        return [Channel(key, shown or key, info.topic, info.purpose, info.kind)]

    def person(self, out: list[Record], key: str, name: str = "", bot: bool = False) -> None:
        """Introduce an author once, and again when a better name than the id turns up."""
        known = self.introduced.get(key)
        if known is not None and (known != key or not name):
            return
        listed = self.directory.people.get(key)
        if listed is None or (listed.name == key and name):
            listed = Person(name or key, bot or (listed is not None and listed.bot))
            if name:
                self.directory.people[key] = listed  # mentions of them show it from now on
        if known != listed.name:
            self.introduced[key] = listed.name
            out.append(Author(key, listed.name, listed.bot))

    def message(
        self, item: dict[str, Any], channel: str, place: Place, position: str, root: str = ""
    ) -> list[Record]:
        """The message and whoever it is the first to name; a Skipped if it has no time.

        root: the thread's, where only another file of the export tells it.
        """
        ts = timestamp(item.get("ts"))
        when = time_ms(ts)
        if when is None:
            return [Skipped(place.file, position, "a message without a valid time")]
        out = self.channel(channel)
        author = self._author(out, item)
        subtype = string(item.get("subtype"))
        text = string(item.get("text"))
        blocks = sequence(item.get("blocks"))
        deleted = subtype == "tombstone"
        named = (mentions(text) if "<@" in text else ()) if text else mentioned(blocks)
        people = tuple(dict.fromkeys(named)) if named else ()
        for key in people:
            self.person(out, key)
        edited = item.get("edited")
        thread = (timestamp(item["thread_ts"]) if "thread_ts" in item else "") or place.thread or root
        if thread == ts:
            thread = ""
        out.append(
            Message(
                channel, ts, when, author,
                body="" if deleted else self._body(item, subtype, text, blocks),
                notice=self._notice(subtype, text, author),
                thread=thread,
                thread_time_ms=time_ms(thread) if thread else None,
                attachments=self._files(item) if not deleted and ("files" in item or "file" in item) else (),
                mentions=people,
                reactions=self._reactions(out, item["reactions"]) if "reactions" in item else (),
                edited_ms=(time_ms(mapping(edited).get("ts")) or when) if edited else None,
                deleted=deleted,
                pinned=bool(item.get("pinned_to")),
                broadcast=bool(thread) and (subtype in BROADCASTS or (bool(root) and place.kind == "page")),
                action=subtype == "me_message",
            )
        )  # fmt: skip
        return out

    def body(self, item: dict[str, Any]) -> str:
        """Only the Markdown of a message object, for edits."""
        return self._body(
            item, string(item.get("subtype")), string(item.get("text")), sequence(item.get("blocks"))
        )

    def _body(self, item: dict[str, Any], subtype: str, text: str, blocks: list[Any]) -> str:
        if subtype == "file_share" and (uploaded := UPLOADED.match(text)) is not None:
            text = text[uploaded.end() :]
        name = self.directory.name
        body = to_markdown(text, name)
        if blocks and (not text or has_app_content(blocks)):
            shown = blocks_to_markdown(blocks, name)
            body = shown if len(shown) >= len(body) else body
        attachments = item.get("attachments")
        if not attachments:
            return body
        found = [attachment for attachment in map(mapping, sequence(attachments)) if attachment]
        own = [attachment for attachment in found if not is_unfurl(attachment)]
        self.not_carried["link previews"] += len(found) - len(own)
        more = attachments_to_markdown(own, name) if own else ""
        if not more or more in body:
            return body
        return f"{body}\n\n{more}" if body else more

    def _notice(self, subtype: str, text: str, author: str) -> str:
        if subtype in MESSAGES:
            if not subtype and text.startswith("<@"):
                spoken = SPOKEN_NOTICE.match(text)
                if spoken is not None and spoken[1] == author:
                    return spoken.lastgroup or ""
            return ""
        return NOTICES.get(subtype, "other")

    def _author(self, out: list[Record], item: dict[str, Any]) -> str:
        user = item.get("user")
        profile = item.get("user_profile")
        if isinstance(user, dict):
            key, profile = string(user.get("id")), user
        else:
            key = string(user) or string(item.get("user_id"))
        if not key and not item.get("bot_id"):
            key = string(mapping(item.get("comment")).get("user")) or string(
                mapping(item.get("file")).get("user")
            )
        bot_profile = mapping(item.get("bot_profile"))
        if key:
            known = self.introduced.get(key)
            if known is None or (known == key and (profile or bot_profile)):
                name = display_name(mapping(profile)) or string(bot_profile.get("name"))
                self.person(out, key, name, bot=bool(bot_profile))
            return key
        bot = string(item.get("bot_id")) or string(bot_profile.get("id"))
        # A bridge speaks for many people through one bot: each name is an author of its own.
        name = string(item.get("username")).strip()
        key = f"{bot}:{name}" if bot and name else bot or name or NOBODY
        self.person(out, key, name or string(bot_profile.get("name")), bot=key != NOBODY)
        return key

    def _files(self, item: dict[str, Any]) -> tuple[Attachment, ...]:
        files = sequence(item.get("files"))
        if not files and isinstance(file := item.get("file"), dict):
            files = [file]
        return tuple(_file(file) for file in map(mapping, files) if file)

    def _reactions(self, out: list[Record], found: object) -> tuple[Reaction, ...]:
        reactions = []
        for item in map(mapping, sequence(found)):
            if not (name := string(item.get("name"))):
                continue
            users = tuple(dict.fromkeys(strings(item.get("users"))))
            for user in users:
                self.person(out, user)
            count = item.get("count")
            unknown = count - len(users) if type(count) is int and len(users) < count < 1_000_000 else 0
            if users or unknown:
                reactions.append(Reaction(self.emoji(name), users, unknown))
        return tuple(reactions)

    def emoji(self, name: str) -> str:
        """The character for an emoji's name; remembered, as a workspace uses few."""
        found = self._emoji.get(name)
        if found is None:
            found = emoji(name)
            if len(self._emoji) < 10_000:
                self._emoji[name] = found
        return found


def _file(file: dict[str, Any]) -> Attachment:
    size = file.get("size")
    name = string(file.get("name")) or string(file.get("title")) or string(file.get("id")) or "file"
    urls = (string(file.get(k)) for k in ("url_private", "external_url", "permalink", "url_private_download"))
    url, id = next((url for url in urls if url), ""), string(file.get("id"))
    return Attachment(
        name,
        url,
        string(file.get("mimetype")),
        size if type(size) is int and 0 <= size < 1 << 62 else None,
        f"__uploads/{id}/{name}" if id and "://" in url else "",  # where archivers put it, and leave the link
    )
