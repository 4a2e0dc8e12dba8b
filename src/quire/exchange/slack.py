"""Slack: exports of any year, pages as its API returns them, and event streams.

Three layouts, often mixed by the tools people use, are read by one rule: every JSON file that is no table
(`slack_files.py`) is a list of objects, or has one under `messages`, or is one object a line; each object
is a message or an event (`slack_message.py`, `slack_events.py`). The file's path gives the channel, and
for thread files the root.

Pages of `conversations.history` hold a channel's own messages, thread files the replies. A reply that was
also sent to the channel is in both, and only its thread file may know that it is one; so thread files
are first read for their ids alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO, cast

from quire.errors import FormatError
from quire.exchange.jsonin import Prefixed, objects, taken
from quire.exchange.jsonpull import Broken
from quire.exchange.loose_json import decode, json_lines, mapping, sequence
from quire.exchange.model import NotCarried, Options, PinEvent, Record, Skipped, Warn
from quire.exchange.slack_events import Stream, looks_like_event, unwrap
from quire.exchange.slack_files import (
    CHANNELS,
    LINES,
    TEXTS,
    USERS,
    Directory,
    Place,
    is_export_file,
    place_of,
)
from quire.exchange.slack_message import Converter, timestamp
from quire.exchange.sources import Source
from quire.exchange.text import string, time_ms

NAME = "slack"
TITLE = "Slack: export (zip or folder), API pages, event stream"
NOTICES_ARE_MESSAGES = True
EDITS_ARE_MARKED = True

WHOLE_MAX = 48 << 20  # bytes of a JSON file that is decoded at once; larger ones are streamed
TEXT_HEAD = 4096  # bytes of a text that say whether it holds events
REPLIES_MAX = 2_000_000  # replies whose thread only a thread file tells
PEEKED_MAX = 6  # files looked into to recognise the format

KINDS = ("day", "page", "thread", "other")
TS = re.compile(rb'"(?:ts|event_ts|deleted_ts|thread_ts)"\s*:\s*"?1?\d{9}\.\d{1,6}')
SPOKEN = re.compile(rb'"(?:text|reaction|subtype|pin_count|user_profile)"\s*:')
LISTED = re.compile(rb'"(?:team_id|is_general|is_archived|is_member|is_im|is_mpim)"\s*:')


def recognise(source: Source) -> int:
    """How sure this is Slack: by what its likeliest files begin with."""
    try:
        names = [name for name in source.names() if is_export_file(name)]
        places = [place for place in map(place_of, names) if place is not None]
        places.sort(key=lambda place: (KINDS.index(place.kind), place.file.endswith(TEXTS)))
        tables = [
            name for name in names if name.rsplit("/", 1)[-1] in USERS or name.rsplit("/", 1)[-1] in CHANNELS
        ]
        for place in islice(places, PEEKED_MAX):
            head = source.peek(place.file, 8192)
            if place.file.endswith(TEXTS) and not _holds_objects(head):
                continue
            if TS.search(head) and SPOKEN.search(head):
                return 3 if tables or place.kind != "other" or b'"event' in head else 2
        if any(LISTED.search(source.peek(name, 8192)) for name in islice(tables, PEEKED_MAX)):
            return 2
    except (FormatError, OSError):
        pass
    return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """All records: tables first, then messages in the order of the files."""
    return _Reader(source, options).records()


class _Reader:
    """One pass over an export."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source = source
        self.options = options
        self.directory = Directory()
        self.directory.load(source)
        self.converter = Converter(self.directory)
        self.stream = Stream(self.converter)
        self.roots: dict[tuple[str, str], str] = {}  # (channel, reply) -> root, from thread files

    def records(self) -> Iterator[Record]:
        yield from self.directory.skipped
        places = {place.file: place for place in map(place_of, self.source.names()) if place is not None}
        if not places and not self.directory.channels:
            raise self._empty()
        if any(place.kind == "thread" for place in places.values()):
            self._read_threads(places)
        found = False
        try:
            for name, stream in self.source.walk(places.__contains__):
                try:
                    for record in self._file(places[name], stream):
                        found = True
                        yield record
                except (FormatError, OSError) as error:  # one file cannot be read: the others may be
                    yield Skipped(name, "the rest of the file", str(error)[:200])
        except (FormatError, OSError) as error:
            if not found:
                raise
            yield Skipped(self.source.path.name, "the rest", str(error)[:200])
        if not found and not self.directory.channels and all(name.endswith(TEXTS) for name in places):
            raise self._empty()
        yield from self.stream.end()
        yield from self._ending()

    def _empty(self) -> FormatError:
        return FormatError(f"{self.source.path.name} holds no Slack messages", rule="no_messages")

    def _ending(self) -> Iterator[Record]:
        """Channels without messages, pins, and what the summary should tell."""
        for key, info in self.directory.channels.items():
            if info.kind != "direct":
                yield from self.converter.channel(key)
            for ts, created, user in info.pins if key in self.converter.opened else ():
                target_ms = time_ms(ts)
                if target_ms is not None:
                    yield PinEvent(key, ts, time_ms(created) or target_ms, user, target_time_ms=target_ms)
        if not self.directory.has_users:
            yield Warn("no list of users: names are those the messages carry, else ids")
        if self.converter.unlisted and self.directory.channels:
            yield Warn(f"{len(self.converter.unlisted)} channels with messages stand in no list of channels")
        for what, count in (self.directory.not_carried + self.converter.not_carried).items():
            if count:
                yield NotCarried(what, count)

    def _read_threads(self, places: dict[str, Place]) -> None:
        for name, stream in self.source.walk(lambda name: name in places and places[name].kind == "thread"):
            place = places[name]
            channel = self._channel(place)
            try:
                items = sequence(_listed(decode(stream.read(WHOLE_MAX))))
            except (ValueError, FormatError, OSError):
                continue  # it is reported when it is read for its messages
            for item in map(mapping, items):
                if (ts := timestamp(item.get("ts"))) != place.thread and len(self.roots) < REPLIES_MAX:
                    self.roots[channel, ts] = place.thread

    def _channel(self, place: Place) -> str:
        alone = place.kind == "other" or not place.folder
        if alone and self.options.channel:
            return self.directory.key(self.options.channel.removeprefix("#"))
        root = place.file.rpartition("/")[0].rpartition("/")[0]
        return self.directory.key(place.folder or place.file.rsplit("/", 1)[-1].rsplit(".", 1)[0], root)

    def _file(self, place: Place, stream: BinaryIO) -> Iterator[Record]:
        channel = self._channel(place)
        if place.file.endswith(TEXTS):
            head = taken(stream, TEXT_HEAD)
            if not _holds_objects(head):
                return  # a text of some other kind beside the messages
            stream = cast(BinaryIO, Prefixed(head, stream))
        if place.file.endswith((*LINES, *TEXTS)):
            yield from self._lines(place, stream, channel)
            return
        data = taken(stream, WHOLE_MAX + 1)
        if len(data) > WHOLE_MAX:
            yield from self._streamed(place, cast(BinaryIO, Prefixed(data, stream)), channel)
            return
        yield from self._whole(place, data, channel)
        stream.read(1)  # a damaged file says so now

    def _whole(self, place: Place, data: bytes, channel: str) -> Iterator[Record]:
        try:
            found = decode(data)
        except ValueError as error:
            yield from self._broken(place, data, channel, error)
            return
        items = _listed(found)
        if isinstance(found, dict):
            if items is None:
                items = [found]  # a single event, or no message at all
            channel = self._page_channel(found) or channel
        elif items is None:
            items = []
            if place.kind != "other":
                yield Skipped(place.file, "the whole file", "holds no list of messages")
        yield from self._items(place, items, channel, "item")

    def _page_channel(self, page: dict[str, Any]) -> str:
        """Some tools put the channel into the page itself."""
        found = page.get("channel_info") or page.get("channel")
        info = found if isinstance(found, dict) else page if page.get("channel_id") else {"id": found}
        key = string(info.get("id")) or string(info.get("channel_id"))
        if not key or "messages" not in page:
            return ""
        if key not in self.directory.channels and info.get("name"):
            self.directory.add_channel(info, "channel")
        return key

    def _items(self, place: Place, items: list[Any], channel: str, unit: str) -> Iterator[Record]:
        for number, item in enumerate(items, 1):
            yield from self._item(place, item, channel, f"{unit} {number}")

    def _item(self, place: Place, item: Any, channel: str, position: str) -> list[Record]:
        """The records of one list item or line: a message, an event, or nothing of Slack's."""
        sure = place.kind != "other"  # the file's name says that it holds messages
        if not isinstance(item, dict):
            return [Skipped(place.file, position, "not an object")] if sure or isinstance(item, list) else []
        event = unwrap(item)
        if "ts" not in event and event.get("type") != "message" and not looks_like_event(event):
            return [Skipped(place.file, position, "a message without a valid time")] if sure else []
        root = self.roots.get((channel, timestamp(event.get("ts"))), "") if self.roots else ""
        out = self.stream.take(event, place, channel, position, root)
        if "slackdump_thread_replies" in event or "replies" in event:
            thread = Place(place.file, "thread", place.folder, timestamp(event.get("ts")))
            out.extend(self._items(thread, _whole_replies(event), channel, f"{position}, reply"))
        return out

    def _lines(self, place: Place, stream: BinaryIO, channel: str) -> Iterator[Record]:
        for number, item in json_lines(stream):
            if isinstance(item, ValueError):
                yield Skipped(place.file, f"line {number}", f"not JSON: {item}"[:200])
            elif isinstance(found := _listed(item), list) and isinstance(item, list | dict):
                yield from self._items(place, found, channel, f"line {number}, item")
            else:
                yield from self._item(place, item, channel, f"line {number}")

    def _streamed(self, place: Place, stream: BinaryIO, channel: str) -> Iterator[Record]:
        for number, (_, item) in enumerate(objects(stream, ARRAYS, lambda key, value: None), 1):
            if isinstance(item, Broken):
                yield Skipped(place.file, f"item {number}", item.reason)
            else:
                yield from self._item(place, item, channel, f"item {number}")

    def _broken(self, place: Place, data: bytes, channel: str, error: ValueError) -> Iterator[Record]:
        """Not one document: perhaps one a line; else what stands before the break is saved."""
        first = data.lstrip(b"\xef\xbb\xbf \t\r\n").split(b"\n", 1)[0]
        try:
            alone = isinstance(decode(first), dict)
        except ValueError:
            alone = False
        if alone:
            yield from self._lines(place, io.BytesIO(data), channel)
        elif place.kind == "other" and TS.search(data[: 1 << 16]) is None:
            if len(self.source.sizes()) == 1:
                yield Skipped(place.file, "the whole file", f"not JSON: {error}"[:200])
        else:
            yield from self._streamed(place, io.BytesIO(data), channel)


def _whole_replies(message: dict[str, Any]) -> list[Any]:
    """The replies that some tools put into their root. Slack itself puts only their authors and times there."""
    listed = message.get("slackdump_thread_replies") or message.get("replies")
    return [reply for reply in map(mapping, sequence(listed)) if "text" in reply and "ts" in reply]


def _holds_objects(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n\x1e")[:1] == b"{"


ARRAYS = frozenset(["", "messages", "events"])


def _listed(found: Any) -> list[Any] | None:
    """The list of messages in a document: itself, or `messages`, or search results' `matches`."""
    if isinstance(found, dict):
        listed = found.get("messages", found.get("events"))
        if isinstance(listed, dict):
            listed = listed.get("matches")
        return listed if isinstance(listed, list) else None
    return found if isinstance(found, list) else None
