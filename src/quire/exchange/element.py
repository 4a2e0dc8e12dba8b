"""Element's exports of a room that are not JSON: pages (`messages.html`, `messages2.html`) and plain text.

A page shows an event a box, with the event's id, so answers hold across pages; its clock shows hours and minutes and a
heading tells the day, both in the exporter's zone. Who wrote several messages in a row is named above the first. The
text has a line an event, `Fri, Apr 16, 2021, 17:20:00 - Ann: hello`, and no ids: those are made (lines.py). Neither
tells reactions or who edited what when.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote

from quire.errors import FormatError
from quire.exchange.datetext import date_ms
from quire.exchange.lines import LineIds, WallClock, guarded, is_clutter, text_lines
from quire.exchange.markup import to_markdown
from quire.exchange.model import (
    NOBODY,
    Attachment,
    Author,
    Channel,
    Message,
    Options,
    Record,
    Skipped,
)
from quire.exchange.pages import Element, classes, inner_html, parse, pieces, text_of
from quire.exchange.sources import Source
from quire.exchange.text import clean, valid_time_ms

NAME = "element"
TITLE = "Element room export, HTML or plain text (JSON keeps more)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = True

HEAD_BYTES = 1 << 16
TEXT_MAX = 1 << 20  # characters of one message of a text
UNREADABLE_MAX = 50  # reported one by one
EDITED = "(edited)"

EVENT = re.compile(r"<(?:div|li)\s[^<>]{0,300}?\bclass\s*=\s*[\"']?mx_Export_EventWrapper\b")
OWN = re.compile(rb"mx_Export_EventWrapper|mx_RoomView_MessageList")
ROOM = re.compile(r"matrix\.to/#/(?P<room>!|%21)(?P<rest>[^/?\"']+)")
BODIES = {  # a class -> what kind of content it is
    "mx_MTextBody": "text", "mx_MNoticeBody": "text", "mx_MEmoteBody": "emote", "mx_MImageBody": "file", "mx_MVideoBody": "file",
    "mx_MAudioBody": "file", "mx_MVoiceMessageBody": "file", "mx_MFileBody": "file", "mx_MStickerBody": "file",
    "mx_RedactedBody": "gone", "mx_TextualEvent": "notice", "mx_EventTileBubble": "notice", "mx_MPollBody": "poll",
    "mx_UnknownBody": "text", "mx_DecryptionFailureBody": "closed",
}  # fmt: skip
NOTICES = (  # words of Element's lines on what happened -> kind of notice
    (re.compile(r"\b(?:joined|accepted .{0,200}invit)"), "join"),
    (re.compile(r"\b(?:left|removed|kicked|banned)\b.{0,200}(?:room|space|:|$)"), "leave"),
    (re.compile(r"\bchanged the (?:topic|room topic)"), "topic"),
    (re.compile(r"\bchanged the room name|room name to"), "name"),
    (re.compile(r"\b(?:un)?pinned (?:a|messages|message)|changed the pinned messages"), "pin"),
)
LINE = re.compile(
    r"(?P<when>[^\W\d_]{2,9}\.?,? (?:[^\W\d_]{3,9}\.? \d{1,2}|\d{1,2}\.? [^\W\d_]{3,9}\.?),? \d{4},?"
    r" \d{1,2}:\d\d(?::\d\d)?(?:[ \u00a0\u202f][AaPp]\.?[Mm]\.?)?) - (?P<rest>.*)$",
    re.S,
)
SAID = re.compile(r"(?P<who>[^:\n]{1,120}(?::[a-z0-9.-]+\.[a-z]{2,24})?): (?P<text>.*)$", re.S)
CLOCK = re.compile(r"\d{1,2}[:.]\d\d(?:[:.]\d\d)?(?:\s*[AaPp]\.?[Mm]\.?)?")
ANSWER = re.compile(r"<[^<>\n]{1,200}?(?: \"[^\n]{0,60}\")?> (?P<text>.*)$", re.S)
FILE = re.compile(
    r"(?P<name>[^\n]{0,255}?) \((?:File Attached|Media omitted(?: - file size limit exceeded)?|Error fetching file)\)$",
    re.I,
)
MARKED_FILE = "(File Attached)"
TEXT_NAME = re.compile(r"(?:matrix|element) - (?P<room>.+) - Chat Export\b", re.I)


class Begin(NamedTuple):
    """The first line of an event, in a text."""

    time_ms: int
    when: str
    rest: str


def recognise(source: Source) -> int:
    best = 0
    for name in [name for name in source.names() if _is_page(name)][:8]:
        if OWN.search(source.peek(name, HEAD_BYTES)):
            return 3
    for name in [name for name in source.names() if _is_text(name)][:8]:
        lines = text_lines(io.BytesIO(source.peek(name, 4096)))
        if LINE.match(next(lines, "") or ""):
            best = max(best, 3 if TEXT_NAME.match(PurePosixPath(name).name) else 2)
    return best


def read(source: Source, options: Options) -> Iterator[Record]:
    """All pages and texts of rooms. Raises FormatError if there is none."""
    reader = _Reader(source, options)
    for name, stream in source.walk(lambda name: _is_page(name) or _is_text(name)):
        yield from guarded(name, (reader.page if _is_page(name) else reader.text)(name, stream))
    if not reader.rooms:
        raise FormatError(f"{source.path.name} holds no room", rule="no_messages")


def _is_page(name: str) -> bool:
    return name.lower().endswith((".html", ".htm")) and not is_clutter(name)


def _is_text(name: str) -> bool:
    return name.lower().endswith(".txt") and not is_clutter(name)


class _Reader:
    """What is remembered from file to file."""

    def __init__(self, source: Source, options: Options) -> None:
        self.source = source
        self.options = options
        self.clock = WallClock(options.timezone)
        self.rooms: dict[str, LineIds] = {}
        self.names: dict[str, str] = {}

    # Pages

    def page(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        room: Channel | None = None
        day: int | None = None
        author = NOBODY
        for number, piece in enumerate(pieces(stream, EVENT)):
            tree = parse(piece) if piece else None
            if not number:
                if piece is None or ("mx_MessageList" not in piece and "mx_RoomView" not in piece):
                    return  # some other page
                day = _day(tree)
                continue
            box = (
                None if tree is None else next((e for e in tree.iter() if "mx_EventTile" in classes(e)), None)
            )
            if box is None:
                yield Skipped(name, f"event {number}", "too long" if piece is None else "not HTML")
                continue
            if room is None:
                room = self.room(piece or "", stream, name)
                yield from self.opened(room)
            who, shown = _author(box)
            author = who or author
            if who and self.names.get(who) != shown:
                self.names[who] = shown
                yield Author(who, shown)
            yield from self.event(box, room, author, day, name, number)
            following = _day(tree)
            day = day if following is None else following

    def room(self, piece: str, stream: BinaryIO, name: str) -> Channel:
        """By its id, which the links of its events tell; its name stands above them on the first page only."""
        found = ROOM.search(piece)
        shown, topic = _titles(self.source.peek(name, HEAD_BYTES).decode("utf-8", "replace"))
        shown = self.options.channel or shown or PurePosixPath(name).parent.name or self.source.path.stem
        key = "!" + unquote(found["rest"]) if found else shown
        return Channel(key, shown, topic=topic)

    def opened(self, room: Channel) -> Iterator[Channel]:
        if room.key not in self.rooms:
            self.rooms[room.key] = LineIds()
            yield room

    def event(
        self, box: Element, room: Channel, author: str, day: int | None, file: str, number: int
    ) -> Iterator[Record]:
        wrapper = box.getparent()
        key = box.get("data-event-id") or ("" if wrapper is None else wrapper.get("id")) or ""
        time = self.time(box, day)
        if time is None:
            yield Skipped(file, f"event {number}", "no time")
            return
        kind, content = _content(box)
        if kind == "closed":
            return
        words = clean(text_of(content)) if content is not None else ""
        if kind == "notice" or content is None:
            words = words or clean(text_of(box))
            key = clean(key) or self.rooms[room.key].name(str(time), "", words)
            yield Message(
                room.key, key, time, author if author != NOBODY else "", words, notice=_notice(words)
            )
            return
        files = tuple(_files(content)) if kind == "file" else ()
        body = "" if kind in ("file", "gone") else _body(content)
        if kind == "emote":
            shown = self.names.get(author, "")
            body = body.removeprefix("* ").removeprefix(shown).lstrip()
        key = clean(key) or self.rooms[room.key].name(str(time), author, body or words)
        target = _answered(box)
        edited = any("mx_EventTile_edited" in classes(e) for e in box.iter())
        yield Message(
            room.key, key, time, author, body,
            reply_to=target if target != key else "",
            attachments=files,
            edited_ms=time if edited else None,
            deleted=kind == "gone",
            action=kind == "emote",
        )  # fmt: skip

    def time(self, box: Element, day: int | None) -> int | None:
        """Of its date, if the page gives one with it, else of the heading and the clock."""
        for element in box.iter():
            if "mx_MessageTimestamp" not in classes(element):
                continue
            for text in (element.get("title") or "", text_of(element)):
                if (whole := date_ms(text)) is not None:
                    return self.shifted(whole)
            shown = CLOCK.search(text_of(element))
            clock = date_ms("1970-01-01 " + shown[0]) if shown else None
            if day is not None and clock is not None:
                return self.shifted(day + clock)
        return None

    def shifted(self, wall_ms: int) -> int | None:
        return valid_time_ms(self.clock.wall_ms(wall_ms)) if wall_ms >= 0 else None

    # Texts

    def text(self, name: str, stream: BinaryIO) -> Iterator[Record]:
        lines = text_lines(stream)
        first = list(islice(lines, 1))
        if not first or self.begin(first[0]) is None:
            return  # some other text
        found = TEXT_NAME.match(PurePosixPath(name).name)
        shown = self.options.channel or (found["room"] if found else "")
        shown = shown or PurePosixPath(name).stem.replace("export", "") or self.source.path.stem
        room = Channel(shown, shown)
        yield from self.opened(room)
        begun: Begin | None = None
        text: list[str] = []
        size = unreadable = 0
        for number, line in enumerate(chain(first, lines), start=1):
            begin = self.begin(line)
            if begin is not None:
                if begun is not None:
                    yield from self.said(room.key, begun, text)
                begun, text, size = begin, [begin.rest], len(begin.rest)
            elif line is None or size > TEXT_MAX:
                unreadable += 1
                if unreadable <= UNREADABLE_MAX:
                    yield Skipped(name, f"line {number}", "a line too long to be a message")
            else:
                text.append(line)
                size += len(line) + 1
        if begun is not None:
            yield from self.said(room.key, begun, text)

    def begin(self, line: str | None) -> Begin | None:
        found = LINE.match(line) if line else None
        time = None if found is None else date_ms(found["when"])
        time = None if time is None else self.shifted(time)
        return None if found is None or time is None else Begin(time, found["when"], found["rest"])

    def said(self, room: str, begin: Begin, lines: list[str]) -> Iterator[Record]:
        words = "\n".join(lines).rstrip("\n")
        found = SAID.match(words)
        if found is None or found["who"].count('"') % 2:  # the colon stands in a name or a topic
            action = words.startswith("* ")
            body = words[2:] if action else words
            key = self.rooms[room].name(begin.when, "", words)
            yield Message(
                room,
                key,
                begin.time_ms,
                NOBODY if action else "",
                body,
                notice="" if action else _notice(words),
                action=action,
            )
            return
        who, text = clean(found["who"]), clean(found["text"])
        if who not in self.names:
            self.names[who] = who
            yield Author(who, who)
        key = self.rooms[room].name(begin.when, who, text)
        files: tuple[Attachment, ...] = ()
        if file := FILE.match(text):
            name = file["name"] or "file"
            files, text = (Attachment(name, file=name if text.endswith(MARKED_FILE) else ""),), ""
        elif answer := ANSWER.match(text):
            text = answer["text"]
        deleted = text in ("Message deleted", "Message removed")
        yield Message(
            room, key, begin.time_ms, who, "" if deleted else text, attachments=files, deleted=deleted
        )


def _day(tree: Element | None) -> int | None:
    """The day that the last heading in a piece names."""
    found = None
    for element in () if tree is None else tree.iter("h2"):
        if any(one.startswith("mx_DateSeparator") for one in classes(element)) or "separator" in (
            (parent.get("role") or "") if (parent := element.getparent()) is not None else ""
        ):
            shown = date_ms(text_of(element))
            found = found if shown is None else shown
    return found


def _titles(head: str) -> tuple[str, str]:
    """The room's name and topic, as the page shows them."""
    name = topic = ""
    tree = parse(head)
    for element in () if tree is None else tree.iter():
        for one in classes(element):
            if one.endswith("RoomHeader_nametext"):
                name = name or clean(text_of(element))
            elif one.endswith("RoomHeader_topic"):
                topic = topic or clean(text_of(element))
    return name, topic


def _author(box: Element) -> tuple[str, str]:
    """(key, name); both "" where the message goes on in the name of who wrote the one before."""
    shown = key = ""
    for element in box.iter():
        found = classes(element)
        if any(e.startswith("mx_ReplyChain") or e == "mx_ReplyTile" for e in found):
            continue
        if "mx_DisambiguatedProfile_displayName" in found or "mx_SenderProfile_displayName" in found:
            if not _within(element, box, "mx_ReplyChain", "mx_ReplyTile"):
                shown = shown or clean(text_of(element))
        elif "mx_DisambiguatedProfile_mxid" in found or "mx_SenderProfile_mxid" in found:
            key = key or clean(text_of(element))
        title = element.get("title") or ""
        if not key and title.startswith("@") and ":" in title and any("vatar" in one for one in found):
            key = clean(title)
    return (key or shown, shown or key) if shown else ("", "")


def _within(element: Element, box: Element, *names: str) -> bool:
    for above in element.iterancestors():
        if above is box:
            return False
        if any(one in names for one in classes(above)):
            return True
    return False


def _content(box: Element) -> tuple[str, Element | None]:
    """What kind of content an event has, and where it stands."""
    for element in box.iter():
        for one in classes(element):
            if one in BODIES and not _within(element, box, "mx_ReplyChain", "mx_ReplyTile"):
                return BODIES[one], element
    return "notice", None


def _body(content: Element) -> str:
    element = next((e for e in content.iter() if "mx_EventTile_body" in classes(e)), content)
    html = inner_html(element)
    return clean(to_markdown(html, preserve="<p" not in html).removesuffix(EDITED).rstrip())


def _files(content: Element) -> Iterator[Attachment]:
    """The file of a message: its link, and its name where it is shown."""
    url = name = ""
    for element in content.iter():
        for field in ("href", "src"):
            url = url or (element.get(field) or "" if isinstance(element.tag, str) else "")
        if "mx_MFileBody_info_filename" in classes(element) or element.tag == "img":
            name = name or clean(text_of(element) or element.get("alt") or "")
    url = clean(url)
    yield Attachment(name or unquote(url.rpartition("/")[2]) or "file", url)


def _answered(box: Element) -> str:
    """The event that one answers, by the link of the quotation above it."""
    for element in box.iter("a"):
        if "mx_reply_anchor" in classes(element):
            return clean(element.get("data-scroll-to") or (element.get("href") or "").rpartition("#")[2])
    return ""


def _notice(words: str) -> str:
    return next((kind for pattern, kind in NOTICES if pattern.search(words)), "other")
