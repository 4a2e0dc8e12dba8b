"""Signal conversations as text. Signal itself exports none, so these are the known tools' files.

signal-export (`NAME/chat.md`): `[2020-01-31, 18:05] Ann: text`, newer with seconds and no comma;
reactions as `(- Ann: 👍 -)`, files as Markdown links, quotes as Markdown quotes. sigtop short:
`2020-01-31 18:05 Ann: text` with `[reply to ..., edited, 2 attachments]`. signalbackup-tools:
`[Jan 31, 2020 18:05:00] <Ann> text`. sigtop's long form is blocks of fields: signal_sigtop.py.

The same tools' JSON, and signal-cli's, is in signal_json.py.

A message runs to the next line that begins as the file's first one did. None has ids or a zone: ids
come from time, sender and text (lines.py), the zone is `options.timezone` or UTC.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from quire.errors import FormatError
from quire.exchange.lines import LineIds, WallClock, guarded, is_clutter, text_lines
from quire.exchange.model import (
    GONE,
    Attachment,
    Author,
    Channel,
    Message,
    NotCarried,
    Options,
    Reaction,
    Record,
    Skipped,
)
from quire.exchange.signal_json import JsonReader, kind_of, may_be_json
from quire.exchange.signal_sigtop import is_long_form, long_form
from quire.exchange.sources import Source

NAME = "signal"
TITLE = "Signal conversations (signal-export, sigtop, signalbackup-tools, signal-cli: text or JSON)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = True

TEXT_MAX = 1 << 20  # characters of one message
UNREADABLE_MAX = 50  # reported one by one
PEEKED = 8
MINUTES_MAX = 100_000  # remembered, to find what is answered
HEAD_LINES = 60  # in which a conversation must begin

_DAY = r"(?P<Y>\d{4})-(?P<M>\d\d)-(?P<D>\d\d)"
_CLOCK = r"(?P<h>\d\d?):(?P<m>\d\d)(?::(?P<s>\d\d))?"
BRACKET = re.compile(rf"\[{_DAY}(?P<comma>,)? {_CLOCK}\] (?P<who>[^\n]{{1,120}}?):(?: (?P<text>.*)|$)")
SHORT = re.compile(rf"{_DAY} {_CLOCK} (?P<who>[^\n]{{1,120}}?):(?: (?P<text>.*)|$)")
NAMED = re.compile(
    rf"\[(?P<b>[A-Z][a-z]{{2}}) (?P<D>\d\d?), (?P<Y>\d{{4}}) {_CLOCK}\] (?:(?P<star>\*\*\*)"
    rf"|<(?P<who>[^<>\n]{{0,120}})>)"
    r"(?: (?P<text>.*)|$)"
)
STYLES = {"bracket": BRACKET, "short": SHORT, "named": NAMED}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

REACTIONS = re.compile(r"\n?\(- (?P<list>(?:(?!\(- ).){1,4000}?) -\)[ \t]*$", re.M)
FILE = re.compile(
    r"!?\[(?P<name>[^\[\]\n]{0,255})\]\((?P<path>(?:\./|\.\./)?(?:media|attachments"
    r"|exported_stickers)/[^)\n]+)\)[ ]{0,2}"
)
STICKER = re.compile(r"\n?\(\( (?P<emoji>[^()\n]{0,200}) \)\)")
DETAILS = re.compile(
    r"\[(?P<list>(?:reply to [^\]]+? on \S+ \S+|edited|\d+ attachments?)(?:, (?:edited"
    r"|\d+ attachments?))*)\](?: |$)"
)
REPLY = re.compile(r"reply to (?P<who>.+?) on (?P<when>\d{4}-\d\d-\d\d \d\d:\d\d)")
OWN_KIND = re.compile(r"\[[a-z0-9-]+ message\]$")
SENT_FILE = re.compile(
    r'<(?P<who>[^<>\n]{1,120})> sent (?:file )?(?:"(?P<name>[^"\n]+)"|of type (?P<type>\S+))'
)
MISSING = re.compile(r"\((?P<kind>media|attachment) not exported\)[ ]{0,2}")
CALL = re.compile(
    r"(?:Incoming|Outgoing|Missed) (?:voice |video |group |adhoc )?call(?: \([^()\n]{1,80}\))?$"
)
DELETED = "(This message was deleted)"
NOBODY = "No-Sender"


class Begin(NamedTuple):
    time_ms: int
    when: str
    who: str
    text: str
    starred: bool  # signalbackup-tools: not a message but something that happened


def recognise(source: Source) -> int:
    best = 0
    for name in [n for n, size in sorted(source.sizes().items()) if size and _may_be_chat(n)][:PEEKED]:
        lines = [line for line in text_lines(io.BytesIO(source.peek(name, 8192))) if line and line.strip()]
        markdown = name.lower().endswith(".md")
        if is_long_form(lines) or (lines and NAMED.match(lines[0])):
            best = 3
        elif lines and (match := BRACKET.match(lines[0])):
            sure = 3 if markdown else 1 if match["s"] else 2  # WhatsApp on iPhones always shows seconds
            best = max(best, sure)
        elif lines and SHORT.match(lines[0]):
            best = max(best, 2)
    names = [name for name in source.names() if may_be_json(name)][:PEEKED]
    return 3 if any(kind_of(source, name) for name in names) else best


def read(source: Source, options: Options) -> Iterator[Record]:
    """Each conversation. Raises FormatError if there is none."""
    clock = WallClock(options.timezone)
    found = 0
    kinds = {name: kind_of(source, name) for name in source.names() if may_be_json(name)}
    tables = JsonReader(options.channel, clock)
    for name, stream in source.walk(lambda name: bool(kinds.get(name))):
        for record in guarded(name, tables.file(name, stream, kinds[name])):
            found += isinstance(record, Channel)
            yield record
    yield from tables.moments.warnings()
    for name, stream in source.walk(_may_be_chat):
        for record in guarded(name, _file(source, name, stream, options, clock)):
            found += isinstance(record, Channel)
            yield record
    if not found:
        raise FormatError(f"{source.path.name} holds no Signal conversation", rule="unknown_format")


def _may_be_chat(name: str) -> bool:
    return name.lower().endswith((".txt", ".md")) and not is_clutter(name)


def _file(
    source: Source, name: str, stream: BinaryIO, options: Options, clock: WallClock
) -> Iterator[Record]:
    lines = text_lines(stream)
    head: list[str | None] = []
    style = ""
    for line in lines:
        head.append(line)
        style = next((key for key, pattern in STYLES.items() if line and pattern.match(line)), "")
        if style or len(head) >= HEAD_LINES:
            break
    if is_long_form([line for line in head if line]):
        yield from long_form(name, _joined(head, lines), options.channel)
    elif style:
        shown = options.channel or _chat_name(source, name)
        yield Channel(shown, shown, kind="direct")
        yield from _Chat(name, shown, style, clock).records(_joined(head, lines))


def _joined(head: list[str | None], rest: Iterator[str | None]) -> Iterator[str | None]:
    yield from head
    yield from rest


def _chat_name(source: Source, name: str) -> str:
    path = PurePosixPath(name)
    if path.stem.lower() in ("chat", "index", "messages"):
        return path.parent.name or re.sub(
            r"\.(?:zip|tar|txt|md)(?:\.\w+)?$", "", source.path.name, flags=re.I
        )
    return path.stem


class _Chat:
    """One conversation being read."""

    def __init__(self, file: str, channel: str, style: str, clock: WallClock) -> None:
        self.file = file
        self.channel = channel
        self.pattern = STYLES[style]
        self.clock = clock
        self.ids = LineIds()
        self.known: set[str] = set()
        self.minutes: dict[tuple[str, str], str] = {}  # (who, minute) -> the message, "" if there are several
        self.loose_replies = 0

    def records(self, lines: Iterator[str | None]) -> Iterator[Record]:
        begun: Begin | None = None
        text: list[str] = []
        size = unreadable = 0
        for number, line in enumerate(lines, start=1):
            begin = self.begin(line) if line is not None else None
            if begin is not None:
                if begun is not None:
                    yield from self.message(begun, "\n".join(text))
                begun, text, size = begin, [begin.text], len(begin.text)
            elif line is None or begun is None or size > TEXT_MAX:
                if line is None or line.strip():
                    unreadable += 1
                    if unreadable <= UNREADABLE_MAX:
                        yield Skipped(self.file, f"line {number}", "this belongs to no message")
            else:
                text.append(line)
                size += len(line) + 1
        if begun is not None:
            yield from self.message(begun, "\n".join(text))
        if self.loose_replies:
            yield NotCarried("which of a minute's messages a reply answers", self.loose_replies)

    def begin(self, line: str) -> Begin | None:
        match = self.pattern.match(line)
        if match is None:
            return None
        parts = match.groupdict()
        named = parts.get("b")
        month = int(parts.get("M") or 0)
        if named in MONTHS:
            month = MONTHS.index(named) + 1
        when = (
            int(parts["Y"]),
            month,
            int(parts["D"]),
            int(parts["h"]),
            int(parts["m"]),
            int(parts["s"] or 0),
        )
        time = self.clock.ms(*when)
        if time is None:
            return None  # then it is text that looks like a beginning
        return Begin(time, str(when), parts["who"] or "", parts["text"] or "", bool(parts.get("star")))

    def message(self, begin: Begin, text: str) -> Iterator[Record]:
        key = self.ids.name(begin.when, begin.who, text)
        text = text.strip()
        if begin.starred and (sent := SENT_FILE.match(text)) is not None:
            yield from self.author(sent["who"])
            file = Attachment(sent["name"] or "file", media_type=sent["type"] or "")
            yield Message(self.channel, key, begin.time_ms, sent["who"], "", attachments=(file,))
            return
        if begin.starred or not begin.who or begin.who == NOBODY or OWN_KIND.match(text) or CALL.match(text):
            author = "" if begin.who in ("", NOBODY) else begin.who
            if author:
                yield from self.author(author)
            yield Message(self.channel, key, begin.time_ms, author, text, notice="other")
            return
        yield from self.author(begin.who)
        if text == DELETED:
            yield Message(self.channel, key, begin.time_ms, begin.who, "", deleted=True)
            return
        edited, answered = None, ""
        minute = (begin.who, begin.when.rpartition(",")[0])
        if len(self.minutes) >= MINUTES_MAX:
            self.minutes.clear()
        files: list[Attachment] = []
        if details := DETAILS.match(text):
            text = text[details.end() :]
            edited = begin.time_ms if "edited" in details["list"] else None
            answered = self.answered(details["list"], key)
            if count := re.search(r"(\d{1,3}) attachments?", details["list"]):
                files += [Attachment("file")] * int(count[1])
        reactions: tuple[Reaction, ...] = ()
        if listed := REACTIONS.search(text):
            text = text[: listed.start()] + text[listed.end() :]
            reactions = _reactions(listed["list"])
        files += [Attachment(match["name"] or "file", match["path"]) for match in FILE.finditer(text)]
        files += [Attachment(match["kind"]) for match in MISSING.finditer(text)]
        text = MISSING.sub("", text)
        body = STICKER.sub(r"\n\g<emoji>", FILE.sub("", text)).strip()
        yield Message(
            self.channel, key, begin.time_ms, begin.who, body,
            reply_to=answered, attachments=tuple(files), reactions=reactions, edited_ms=edited,
        )  # fmt: skip
        self.minutes[minute] = "" if minute in self.minutes else key

    def answered(self, details: str, key: str) -> str:
        """The message that one answers, which is named by who wrote it and in which minute."""
        found = REPLY.match(details)
        if found is None:
            return ""
        when = tuple(int(part) for part in re.split(r"[- :]", found["when"]))
        target = self.minutes.get((found["who"], str((*when, 0)).rpartition(",")[0]), "")
        self.loose_replies += not target
        return target if target and target != key else GONE

    def author(self, name: str) -> Iterator[Author]:
        if name not in self.known:
            self.known.add(name)
            yield Author(name, name)


def _reactions(listed: str) -> tuple[Reaction, ...]:
    """`Ann: 👍, Bob: 👍`, by emoji."""
    by_emoji: dict[str, list[str]] = {}
    for part in listed.split(", "):
        who, sign, emoji = part.rpartition(": ")
        if sign and who and emoji:
            by_emoji.setdefault(emoji.strip(), []).append(who.strip())
    return tuple(Reaction(emoji, tuple(dict.fromkeys(people))) for emoji, people in by_emoji.items())
