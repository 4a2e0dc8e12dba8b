"""Gitter: rooms as tab-separated files, and arrays of messages as its API gave them.

The TSV files (as the freeCodeCamp archive published them) have one room each and no header:
`room_id room_uri sent_at from_userid from_username message_id text`, quoted as CSV is, newest first. A
header is understood where there is one. A record begins where a line's time column holds a time, so a
text of several lines, or one stray quote, never swallows the records behind it. Texts are Markdown as
they stand. The archive names people in texts by user name and in columns by id, so a first pass over
the files learns which is which.

API pages (`/rooms/ID/chatMessages`) are arrays of objects with `sent`, `fromUser` and `text`; they do not
name their room, so the file does.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from quire.errors import FormatError
from quire.exchange.jsonin import objects
from quire.exchange.jsonpull import Broken
from quire.exchange.lines import guarded, is_clutter, text_lines
from quire.exchange.model import Author, Channel, Message, Options, Record, Skipped
from quire.exchange.sources import Source
from quire.exchange.text import clean, iso_ms, string

NAME = "gitter"
TITLE = "Gitter rooms (TSV, or JSON as its API gives it)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = False

COLUMNS = ("room_id", "room_uri", "sent_at", "from_userid", "from_username", "message_id", "text")
OTHER_NAMES = {
    "roomid": "room_id", "room": "room_uri", "uri": "room_uri", "sent": "sent_at", "time": "sent_at",
    "timestamp": "sent_at", "date": "sent_at", "user_id": "from_userid", "userid": "from_userid",
    "fromuser.id": "from_userid", "from_user_id": "from_userid", "username": "from_username",
    "user": "from_username", "fromuser.username": "from_username", "id": "message_id", "body": "text",
    "message": "text",
}  # fmt: skip
TIME = r'"?\d{4}-\d\d-\d\d[T ]\d\d:\d\d[^\t]*'
FIRST_ROW = re.compile(r'"?[0-9a-f]{24}"?\t[^\t]+\t' + TIME + r"\t")
API_OBJECT = re.compile(
    rb'^(?:\xef\xbb\xbf)?\s*\[\s*\{(?=.{0,8000}"sent"\s*:)(?=.{0,8000}"fromUser"\s*:)', re.S
)
MENTION = re.compile(r"(?<![\w`])@([A-Za-z0-9][A-Za-z0-9_-]*)")
UNNAMED = "unknown"  # somebody whose account is gone: an author like any other, but without a name
RECORD_MAX = 1 << 20  # characters of one record; Gitter itself allowed 4,096 of text
PEOPLE_MAX = 1_000_000
PEEKED = 6  # files looked at to recognise the format


def recognise(source: Source) -> int:
    for name in [n for n, size in sorted(source.sizes().items()) if size and _is_table(n)][:PEEKED]:
        head = next(text_lines(io.BytesIO(source.peek(name))), None) or ""
        if FIRST_ROW.match(head) or _header(head):
            return 3
    for name in [n for n in source.names() if _is_json(n)][:PEEKED]:
        if API_OBJECT.match(source.peek(name, 9000)):
            return 3
    return 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """Every room, in the order of the files. Raises FormatError if there is none."""
    people = _people(source)
    names: dict[str, str] = {}  # Author.key -> name, as already yielded
    rooms: set[str] = set()
    found = False
    for name, stream in source.walk(lambda n: _is_table(n) or _is_json(n)):
        rows = _table(name, stream, people) if _is_table(name) else _pages(name, stream, options)
        for record in guarded(name, rows):
            found = True
            match record:
                case Author(key=key, name=shown):
                    if names.get(key) == shown:
                        continue
                    names[key] = shown
                case Channel(key=key):
                    if key in rooms:
                        continue
                    rooms.add(key)
                case _:
                    pass
            yield record
    if not found:
        raise FormatError(f"{source.path.name} holds no Gitter room", rule="no_messages")


def _is_table(name: str) -> bool:
    return name.lower().endswith((".tsv", ".tab", ".csv", ".txt")) and not is_clutter(name)


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json") and not is_clutter(name)


def _header(line: str) -> dict[str, int] | None:
    """Column name -> place, if `line` is a header that names what is needed."""
    cells = [cell.strip().strip('"').lower() for cell in line.split("\t")]
    columns: dict[str, int] = {}
    for place, cell in enumerate(cells):
        columns.setdefault(OTHER_NAMES.get(cell, cell), place)
    return columns if columns.keys() >= {"sent_at", "message_id", "text"} else None


def _people(source: Source) -> dict[str, str]:
    """Lower-case user name -> Author.key, from all tables."""
    people: dict[str, str] = {}
    for _, stream in source.walk(_is_table):
        with suppress(FormatError):  # the second pass reports it
            for line in text_lines(stream):
                cells = line.split("\t", 5) if line and FIRST_ROW.match(line) else []
                if len(cells) == 6 and len(people) < PEOPLE_MAX:
                    people[cells[4].strip('"').lower()] = cells[3].strip('"')
    return people


def _table(name: str, stream: BinaryIO, people: dict[str, str]) -> Iterator[Record]:
    lines = text_lines(stream)
    first = next(lines, None)
    while first is not None and not first.strip():
        first = next(lines, None)
    if first is None:
        return  # an empty room
    columns = _header(first)
    if columns is None and not FIRST_ROW.match(first):
        if name.lower().endswith((".tsv", ".tab")):
            yield Skipped(name, "line 1", "this is not a table of Gitter messages")
        return
    places = columns or {column: place for place, column in enumerate(COLUMNS)}
    starts = re.compile(r"(?:[^\t\n]*\t){%d}%s(?:\t|$)" % (places["sent_at"], TIME))  # noqa: UP031
    yielded = ""
    begun = "" if columns else first
    at, number = 1, 1
    for line in lines:
        number += 1
        if line is None:
            yield Skipped(name, f"line {number}", "a line too long to be a message")
        elif not starts.match(line) and begun and len(begun) < RECORD_MAX:
            begun += "\n" + line
        else:
            if begun:
                for record in _row(name, at, begun, places, people, yielded):
                    yielded = record.key if isinstance(record, Channel) else yielded
                    yield record
            begun, at = line, number
    if begun:
        yield from _row(name, at, begun, places, people, yielded)


def _row(
    file: str, line: int, text: str, places: dict[str, int], people: dict[str, str], channel: str
) -> Iterator[Record]:
    cells = _cells(text, max(places.values()) + 1)
    if cells is None:
        yield Skipped(file, f"line {line}", "too few columns")
        return
    values = {column: cells[place] for column, place in places.items()}
    sent, key = iso_ms(values["sent_at"]), values["message_id"]
    if sent is None or not key:
        yield Skipped(file, f"line {line}", "no time" if sent is None else "no message id")
        return
    room = values.get("room_uri") or values.get("room_id") or PurePosixPath(file).stem
    if room != channel:
        yield Channel(room, room)
    author = values.get("from_userid") or values.get("from_username") or UNNAMED
    yield Author(author, values.get("from_username") or author)
    yield Message(room, key, sent, author, values["text"], mentions=_mentions(values["text"], people))


def _cells(text: str, count: int) -> list[str] | None:
    """The columns of one record, unquoted as CSV is; a record quoted wrongly is split at its tabs."""
    if '"' in text:
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t", strict=True))
        except csv.Error:
            rows = []
        if len(rows) == 1 and len(rows[0]) == count:
            return rows[0]
    cells = text.split("\t", count - 1)
    return cells if len(cells) == count else None


def _mentions(text: str, people: dict[str, str]) -> tuple[str, ...]:
    if "@" not in text:
        return ()
    found = (people.get(name.lower()) for name in MENTION.findall(text))
    return tuple(dict.fromkeys(key for key in found if key))


def _pages(name: str, stream: BinaryIO, options: Options) -> Iterator[Record]:
    path = PurePosixPath(name)
    numbered = re.fullmatch(r"(?:page|messages|chat-?messages)?[-_ ]?\d*", path.stem, re.I)
    room = options.channel or (path.parent.name if numbered and path.parent.name else path.stem)
    place, begun = 0, False
    for _, item in objects(stream, frozenset({""}), lambda key, value: None):
        place += 1
        if not isinstance(item, dict) or not item.keys() & {"fromUser", "sent"}:
            if place == 1:
                return  # some other file beside the rooms
            reason = item.reason if isinstance(item, Broken) else "this is not a Gitter message"
            yield Skipped(name, f"item {place}", reason)
            continue
        if not begun:
            yield Channel(room, room)
            begun = True
        yield from _api_message(name, place, room, item)


def _api_message(file: str, place: int, room: str, item: dict[str, Any]) -> Iterator[Record]:
    sent, key = iso_ms(string(item.get("sent"))), string(item.get("id"))
    if sent is None or not key:
        yield Skipped(file, f"item {place}", "no time" if sent is None else "no message id")
        return
    user = item.get("fromUser")
    user = user if isinstance(user, dict) else {}
    author = string(user.get("id")) or string(user.get("username")) or UNNAMED
    yield Author(author, string(user.get("username")) or string(user.get("displayName")) or author)
    listed = item.get("mentions")
    mentions = (
        [string(m.get("userId")) for m in listed if isinstance(m, dict)] if isinstance(listed, list) else []
    )
    parent = string(item.get("parentId"))
    yield Message(
        room,
        key,
        sent,
        author,
        clean(string(item.get("text"))),
        thread=parent if parent != key else "",
        mentions=tuple(dict.fromkeys(m for m in mentions if m)),
        edited_ms=iso_ms(string(item.get("editedAt"))),
        action=item.get("status") is True,
    )
