"""The files of a Slack export: which holds what, and who and where the ids in them are.

Slack's own export has `users.json`, `channels.json`, `groups.json` (private), `mpims.json` (group talks),
`dms.json` and one folder a channel with one file a day. Tools that read the API write pages, thread files
and user lists of their own making. Nothing here relies on a fixed depth, and every table may be missing.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import msgspec

from quire.errors import FormatError
from quire.exchange.lines import uncopied
from quire.exchange.loose_json import decode, mapping, sequence, strings
from quire.exchange.model import Skipped
from quire.exchange.sources import Source
from quire.exchange.text import clean, string

__all__ = ["ChannelInfo", "Directory", "Person", "Place", "display_name", "is_export_file", "place_of"]

USERS = frozenset(["users.json", ".users.json", "org_users.json", "members.json"])
CHANNELS = {
    "channels.json": "channel",
    ".channels.json": "channel",
    "conversations.json": "channel",
    "groups.json": "private",
    ".groups.json": "private",
    "mpims.json": "group",
    "dms.json": "direct",
}
NOT_CARRIED = {
    "canvases.json": "canvases",
    "canvas_in_the_conversation.json": "canvases",
    "file_conversations.json": "file conversations",
    "huddle_transcripts.json": "huddle transcripts",
    "integration_logs.json": "integration log entries",
    "lists.json": "lists",
}
# Of Slack, of tools around it, and of the repositories that people keep exports in.
IGNORED = re.compile(
    r"(?:\.timestamps|team_info|team|emoji|package|package-lock|tsconfig|composer|manifest|workflows|user_groups"
    r"|usergroups|metadata)\.json"
)
DATE = r"\d{4}-\d\d-\d\d"
DAY = re.compile(DATE + r"\.json")
PAGE = re.compile(r"\d{1,8}\.json")
THREAD = re.compile(r"(\d{9,11}\.\d{1,6})\.json")
LINES = (".jsonl", ".ndjson", ".jsonlines")
TEXTS = (".txt", ".log")  # how listeners call a log of events; what is in them decides
# What a tool calls a file when the channel's name is the folder's.
GENERIC = re.compile(
    r"(?:messages|history|export|data|events|logs?|page|replies|threads?)[-_\d]*", re.IGNORECASE
)
ID = re.compile(r"[CDG][A-Z0-9]{5,20}")
YAML_CHANNEL = re.compile(r"^\s+([CDG][A-Z0-9]{5,20}):\s*[\"']?([^\s\"'#][^\n\"'#]*)", re.MULTILINE)


class Person(msgspec.Struct, frozen=True, gc=False):
    """Who an id is."""

    name: str
    bot: bool = False


class ChannelInfo(msgspec.Struct, frozen=True, gc=False):
    """What the export's tables say of one channel."""

    key: str
    name: str
    topic: str = ""
    purpose: str = ""
    kind: str = "channel"
    members: tuple[str, ...] = ()
    pins: tuple[tuple[str, object, str], ...] = ()  # (ts, created, user)


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a record stands: what its file's name tells of it."""

    file: str
    kind: str  # day | page | thread | other
    folder: str = ""  # the channel's name or id, as far as the path tells it
    thread: str = ""


def is_export_file(name: str) -> bool:
    """Not what a Mac or an editor left in the archive."""
    parts = name.split("/")
    return "__MACOSX" not in parts and not parts[-1].startswith("._")


def place_of(name: str) -> Place | None:
    """Where the records of that file belong; None if it holds no messages."""
    path = PurePosixPath(name)
    base = uncopied(path.name)
    if base in USERS or base in CHANNELS or base in NOT_CARRIED or IGNORED.fullmatch(base):
        return None
    if not is_export_file(name) or not base.endswith((".json", *LINES, *TEXTS)):
        return None
    parents = [part for part in path.parts[:-1] if part not in ("..", "/")]
    folder = parents[-1] if parents else ""
    if DAY.fullmatch(base):
        return Place(name, "day", folder)
    if (thread := THREAD.fullmatch(base)) is not None:
        while parents and (parents[-1].isdecimal() or GENERIC.fullmatch(parents[-1])):
            parents.pop()
        return Place(name, "thread", parents[-1] if parents else "", thread[1])
    if PAGE.fullmatch(base):
        return Place(name, "page", folder)
    if base.startswith("."):
        return None
    stem = base.rsplit(".", 1)[0]
    nameless = GENERIC.fullmatch(stem) or (re.fullmatch(DATE, stem) and not GENERIC.fullmatch(folder))
    return Place(name, "other", folder if folder and nameless else stem)


def display_name(user: dict[str, Any]) -> str:
    """What Slack shows for a user object, or for the `user_profile` inside a message."""
    profile = mapping(user.get("profile"))
    for place, field in (
        (profile, "display_name"), (user, "display_name"), (profile, "real_name"), (user, "real_name"),
        (user, "name"), (user, "username"),
    ):  # fmt: skip
        if name := string(place.get(field)).strip():
            return name
    return ""


class Directory:
    """Everyone and every channel that the export's own tables name."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {"USLACKBOT": Person("Slackbot", bot=True)}
        self.channels: dict[str, ChannelInfo] = {}
        self.keys: dict[str, dict[str, str]] = {}  # channel name -> folder of the table that names it -> key
        self.root = (
            ""  # the folder of the table in hand: an organisation of several workspaces has tables in each
        )
        self.skipped: list[Skipped] = []
        self.not_carried: Counter[str] = Counter()
        self.has_users = False

    def load(self, source: Source) -> None:
        """Read every table in `source`; what cannot be read goes to `skipped`."""
        for name in source.names():
            base = uncopied(name.rsplit("/", 1)[-1])
            if not is_export_file(name):
                continue
            self.root = name.rpartition("/")[0]
            try:
                if base.endswith((".yaml", ".yml")):
                    self._yaml(source.peek(name, 1 << 20).decode("utf-8", "replace"))
                elif base in USERS:
                    self._users(decode(source.read(name)))
                elif base in CHANNELS:
                    self._channels(decode(source.read(name)), CHANNELS[base])
                elif base in NOT_CARRIED:
                    found = decode(source.read(name))
                    self.not_carried[NOT_CARRIED[base]] += sum(1 for item in sequence(found) if mapping(item))
            except (ValueError, FormatError, OSError) as error:
                self.skipped.append(Skipped(name, "the whole file", f"unreadable: {error}"[:200]))

    def name(self, key: str, label: str) -> str:
        """The name behind a person's or a channel's id; else `label`, else the id."""
        if (person := self.people.get(key)) is not None:
            return person.name
        if (channel := self.channels.get(key)) is not None:
            return channel.name
        return label or key

    def key(self, folder: str, root: str = "") -> str:
        """The channel's id from its folder, where a table knows it, that in the same `root` first; else the folder
        itself."""
        folder = clean(folder)
        if folder in self.channels:
            return folder
        if keys := self.keys.get(unicodedata.normalize("NFC", folder)):
            return keys.get(root) or next(iter(keys.values()))
        try:  # an old zip that did not say its names are UTF-8
            return next(iter(self.keys.get(folder.encode("cp437").decode(), {}).values()), folder)
        except UnicodeError:
            return folder

    def add_user(self, user: dict[str, Any]) -> str:
        """Take a user object; returns the id, or "" if it has none."""
        key = string(user.get("id")) or string(user.get("user_id"))
        if key:
            bot = user.get("is_bot") is True or key == "USLACKBOT"
            self.people[key] = Person(display_name(user) or key, bot)
        return key

    def add_channel(self, channel: dict[str, Any], kind: str) -> ChannelInfo | None:
        """Take a channel object as exports and the API have it."""
        key = string(channel.get("id")) or string(channel.get("channel_id"))
        name = string(channel.get("name")).removeprefix("#")
        if not (key or name):
            return None
        members = strings(channel.get("members"))
        if isinstance(user := channel.get("user"), str) and not members:
            members = [clean(user)]
        for flag, meaning in (("is_im", "direct"), ("is_mpim", "group"), ("is_private", "private")):
            if channel.get(flag) is True:
                kind = meaning
                break
        info = ChannelInfo(
            key or name, name, _value(channel.get("topic")), _value(channel.get("purpose")), kind,
            tuple(members), tuple(_pins(channel.get("pins"))),
        )  # fmt: skip
        self.channels[info.key] = info
        if name:
            self.keys.setdefault(unicodedata.normalize("NFC", name), {}).setdefault(self.root, info.key)
        return info

    def _users(self, found: Any) -> None:
        if isinstance(found, dict):
            listed = next(
                (found[k] for k in ("members", "users", "data") if isinstance(found.get(k), list)), None
            )
            if listed is None:  # {id: name} or {id: user}
                for key, value in found.items():
                    if isinstance(value, dict):
                        self.add_user({"id": key, **value})
                    elif isinstance(value, str) and key.isalnum():
                        self.people[clean(key)] = Person(clean(value).strip() or clean(key))
            found = listed
        for user in sequence(found):
            self.add_user(mapping(user))
        self.has_users = self.has_users or len(self.people) > 1

    def _channels(self, found: Any, kind: str) -> None:
        if isinstance(found, dict):
            listed = next(
                (found[k] for k in ("channels", "groups", "ims", "data") if isinstance(found.get(k), list)),
                None,
            )
            if listed is None:
                for key, value in found.items():
                    named = value if isinstance(value, dict) else {"name": value}
                    self.add_channel({"id": key, **named}, kind)
            found = listed
        for channel in sequence(found):
            self.add_channel(mapping(channel), kind)

    def _yaml(self, text: str) -> None:
        """slack-log's settings: the lines `  C0123456: name`; no more of YAML is needed."""
        for key, name in YAML_CHANNEL.findall(text):
            if key not in self.channels or not self.channels[key].name:
                self.add_channel({"id": key, "name": name.strip()}, "private" if key[0] == "G" else "channel")


def _value(topic: object) -> str:
    return string(mapping(topic).get("value")) if isinstance(topic, dict) else string(topic)


def _pins(found: object) -> list[tuple[str, object, str]]:
    pins = map(mapping, sequence(found))
    return [
        (string(pin.get("id")), pin.get("created"), string(pin.get("user")))
        for pin in pins
        if pin.get("type") == "C"
    ]
