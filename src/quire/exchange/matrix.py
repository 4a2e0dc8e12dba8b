"""Matrix rooms: timelines of events, however they were kept.

All exports hold the same events in different wrappings, and this reads each: an event a line (archives,
bots, Synapse's `export-data`), an array of events, Element's JSON export (`messages`), pages of
`/messages` (`chunk`), answers of `/sync` (`events` by room). Events may come newest first, so nothing
relies on a message coming before its edits; names and topics have their event's time and the newest
holds. What an event means for a reader is in matrix_events.py; here it finds its room and its people.

A room is its `room_id`; where events have none, the file (or its folder, for pages and files called
`events`) is the room.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from quire.errors import FormatError
from quire.exchange.jsonin import document_or_lines, objects
from quire.exchange.jsonpull import Broken
from quire.exchange.lines import decode as decode_text
from quire.exchange.lines import guarded, is_clutter, raw_lines, uncopied
from quire.exchange.loose_json import decode, mapping
from quire.exchange.matrix_events import Room, records
from quire.exchange.model import Author, Channel, NotCarried, Options, Record, Skipped
from quire.exchange.moments import Moments
from quire.exchange.sources import Source
from quire.exchange.text import iso_ms, string

NAME = "matrix"
TITLE = "Matrix rooms (Element JSON export, API pages, or events a line)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = True

ARRAYS = frozenset(["", "messages", "chunk", "events", "state"])
ROWS = ("event_json", "json", "event")
WRAPS = ("chunk", "events", "messages")
EVENT_MAX = 1 << 16  # bytes of one event: servers allow no more
LINE_MAX = 16 << 20  # bytes: a first line may name all users
LOOK_BYTES = 256 << 10
PEEKED = 8  # files looked at to recognise the format

EVENTS = re.compile(rb'"(?:origin_server_ts|event_id)\\?"\s*:')
EVENT_TYPE = re.compile(rb'"(?:type|messageType)\\?"\s*:\s*\\?"(?:m|org\.matrix|io\.element)\.[a-z]')
SYNC_TOKEN = re.compile(rb'"?[a-z]?\d+(?:[-_~.]\w+)+"?\s*')
PAGE = re.compile(r"(?:events?|messages?|chunk|page|state|result|export|sync|timeline)?[-_. ]?\d*", re.I)
CANDIDATE = re.compile(r"\.(?:json|jsonl|ndjson|txt|log)$|(?:^|/)[^./]+$", re.I)


def recognise(source: Source) -> int:
    names = [n for n, size in sorted(source.sizes().items()) if size and _may_hold_events(n)]
    for name in names[:PEEKED]:
        head = source.peek(name, LOOK_BYTES)
        if EVENTS.search(head) and EVENT_TYPE.search(head):
            return 3
    return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """Every event of every file. Raises FormatError if there is none."""
    people = People()
    rooms: dict[str, Room] = {}
    found = False
    for name, stream in source.walk(_may_hold_events):
        for record in guarded(name, _file(name, stream, rooms, people, options)):
            found = True
            yield record
    if not found:
        raise FormatError(f"{source.path.name} holds no Matrix events", rule="no_messages")
    yield from people.moments.warnings()
    lost: Counter[str] = Counter()
    for room in rooms.values():
        lost += room.lost
    for what, count in sorted(lost.items()):
        yield NotCarried(what, count)


class People:
    """Who is called what: from the profile changes in the rooms, the newest holding."""

    def __init__(self) -> None:
        self.moments = Moments("ms")
        self._names: dict[str, tuple[str, int]] = {}
        self._told: dict[str, str] = {}

    def learn(self, user: str, name: str, time_ms: int) -> None:
        if name and time_ms >= self._names.get(user, ("", -1))[1]:
            self._names[user] = (name, time_ms)

    def name(self, user: str) -> str:
        known = self._names.get(user)
        return known[0] if known else user.removeprefix("@").partition(":")[0] or user

    def told(self, user: str) -> Author | None:
        """The record to yield before a message of `user`, if there is news."""
        name = self.name(user)
        if not user or self._told.get(user) == name:
            return None
        self._told[user] = name
        return Author(user, name)


def _may_hold_events(name: str) -> bool:
    return CANDIDATE.search(name) is not None and not is_clutter(name)


def _file(
    name: str, stream: BinaryIO, rooms: dict[str, Room], people: People, options: Options
) -> Iterator[Record]:
    lined, head, stream = document_or_lines(stream)
    lined = lined or _is_one_event(head)
    if not lined and head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
        return  # some other file
    room_name: dict[str, str] = {}

    def seen(key: str, value: Any) -> None:
        if key in ("room_name", "topic", "room_id") and isinstance(value, str):
            room_name[key] = string(value)

    said_rooms: set[str] = set()
    items = _lines(stream) if lined else objects(stream, ARRAYS, seen)
    for place, (path, item) in enumerate(items, start=1):
        where = f"line {place}" if lined else f"item {place}"
        if not isinstance(item, dict):
            yield Skipped(name, where, item.reason if isinstance(item, Broken) else "this is no event")
            continue
        if "type" not in item:  # as the library of Element keeps what was encrypted
            item = mapping(item.get("decrypted")) or mapping(item.get("encrypted")) or item
        item = _unpacked(item)
        if "type" in item or "event_id" in item:
            said = string(item.get("room_id")) or _room_in(path) or room_name.get("room_id", "")
            if said:
                said_rooms.add(said)
            # Where all others of a file are of one room, so is an event that does not say.
            key = said or (next(iter(said_rooms)) if len(said_rooms) == 1 else "") or _file_room(name)
            room = rooms.get(key)
            if room is None:
                shown = (
                    options.channel or room_name.get("room_name") or _named_beside(name, key) or _shown(key)
                )
                room = rooms[key] = Room(Channel(key, shown, topic=room_name.get("topic", "")), people)
                yield room.channel
            yield from records(room, item, name, where)
        elif lined and (events := [e for wrap in WRAPS for e in _listed(item.get(wrap))]):
            for event in events:  # a page a line
                key = string(event.get("room_id")) or _file_room(name)
                if key not in rooms:
                    rooms[key] = Room(Channel(key, options.channel or _shown(key)), people)
                    yield rooms[key].channel
                yield from records(rooms[key], event, name, where)
        elif lined and place == 1:
            _learn_names(item, people)
        else:
            yield Skipped(name, where, "this is no event")


def _is_one_event(head: bytes) -> bool:
    """A file of one event, which is a document and a line."""
    if len(head) >= EVENT_MAX:
        return False
    try:
        found = mapping(decode(head))
    except ValueError:
        return False
    return "content" in (found := _unpacked(found)) and "type" in found


def _unpacked(item: dict[str, Any]) -> dict[str, Any]:
    """An event that a row of a server's table holds: as text, or as an object, beside its id and room. Or one of
    matrix-archive's, which has other names for two fields and a date for its time."""
    if "type" in item and "content" in item:
        return item
    if "messageType" in item and (when := iso_ms(string(item.get("timestamp")))) is not None:
        who = string(item.get("user_id")) or string(item.get("sender"))
        return {**item, "type": item["messageType"], "origin_server_ts": when, "sender": who}
    for field in ROWS:
        inner = item.get(field)
        if isinstance(inner, str) and inner.startswith("{"):
            with suppress(ValueError):
                inner = decode(inner.encode("utf-8", "replace"))
        if isinstance(inner, dict) and "type" in inner:
            beside = {key: item[key] for key in ("event_id", "room_id") if isinstance(item.get(key), str)}
            return {**beside, **inner}
    return item


def _lines(stream: BinaryIO) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The value of each line; a sync token at the end is no fault."""
    for line in raw_lines(stream, LINE_MAX):
        if line is None:
            yield (), Broken("the line is too long", final=False)
            continue
        line = line.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\x1e,")
        if not line or SYNC_TOKEN.fullmatch(line):
            yield (), {"type": ""}  # keeps the count of lines
            continue
        try:
            yield (), decode(line)
        except ValueError:
            yield (), Broken(f"broken JSON ({len(decode_text(line))} characters)", final=False)


def _listed(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _learn_names(table: dict[str, Any], people: People) -> None:
    for user, value in table.items():
        shown = value if isinstance(value, str) else mapping(value).get("displayname")
        if isinstance(shown, str):
            people.learn(string(user), string(shown), 0)


def _room_in(path: tuple[str, ...]) -> str:
    """The room's id among the keys of a /sync answer (`rooms.join.!id.timeline.events`)."""
    return next((key for key in path if key.startswith("!")), "")


def _file_room(name: str) -> str:
    path = PurePosixPath(uncopied(name))
    stem = re.sub(r"\.(?:json|jsonl|ndjson|txt|log)$", "", path.name, flags=re.I)
    if PAGE.fullmatch(stem) and path.parent.name:
        return path.parent.name
    return stem


def _named_beside(name: str, key: str) -> str:
    """The room's name in a file's, `Garden_!id:server.json`."""
    stem = PurePosixPath(uncopied(name)).name.removesuffix(".json")
    return stem.removesuffix(key).rstrip("_- ") if key.startswith("!") and stem.endswith(key) else ""


def _shown(key: str) -> str:
    return key.lstrip("!#").partition(":")[0] or key
