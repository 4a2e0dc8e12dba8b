"""DiscordChatExporter's CSV and plain text, of any version: one file a channel (or a part of one).

They are the poorest of its formats: no ids, no replies, no edits, reactions only counted. So a message is
named by its time, author and text (lines.py). CSV has had its columns quoted since 2018 and parted by commas
since 2020 (once semicolons); its times are ISO since 2024. Plain text has `[time] author` above each message and
marks like `{Attachments}` below it; the first versions had `author [time]` above all that somebody wrote in a
row, which then is one message. Printed times are the exporter's clock, in any order of day and month.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC
from typing import BinaryIO

import msgspec

from quire.errors import FormatError
from quire.exchange.dateorder import Orders
from quire.exchange.datetext import date_ms, numbers_in
from quire.exchange.lines import LineIds, WallClock, guarded, text_lines
from quire.exchange.markup import quote
from quire.exchange.model import (
    NOBODY,
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
from quire.exchange.sources import Source, heads
from quire.exchange.text import iso_ms, valid_time_ms

NAME = "discord-text"
TITLE = "DiscordChatExporter CSV or plain text (files, folder or zip)"
NOTICES_ARE_MESSAGES = True
EDITS_ARE_MARKED = True

RECORD_MAX = 1 << 20  # characters of one message
HEAD_LINES = 12  # above the messages of a plain text

TITLES = re.compile(r"(?:AuthorID[;,])?Author[;,]Date[;,]Content[;,]Attachments\b")
ROW = re.compile(
    r"\"?\d{15,21}\"?[;,]|\"[^\"\n]{1,80}\";\""
)  # how a quoted row begins, and no text inside one does
BARE_ROW = re.compile(r"[^;\n]{1,80};(?=[^;\n]*\d)[^;\n]{6,40};")
RULE = re.compile(r"={40,}\s*$")
ABOVE = re.compile(r"\[(?P<when>[^\[\]\n]{6,60})\] (?P<who>.{1,100}?)(?P<pin> \(pinned\))?$")
BESIDE = re.compile(r"(?P<who>.{1,100}?)\s{1,2}\[(?P<when>[^\[\]\n]{6,60})\]$")
SECTION = re.compile(r"\{(Attachments|Embed|Stickers|Reactions|Forwarded Message)\}$")
COUNTED = re.compile(r"(?P<sign>\S+?) \((?P<count>\d{1,9})\)(?:,|$)")
SPACED = re.compile(r"(?P<sign>\S+)(?: \((?P<count>\d{1,9})\))?(?:\s|$)")
UPLOAD = re.compile(r"https?://(?:cdn|media)\.discordapp\.(?:com|net)/attachments/\S+$")
EXPORTED = re.compile(r"Exported ([\d.,\s]{1,20}) message")
FILE_ID = re.compile(r"[\[_](\d{15,21})\]?[^/]*$")
FILE_TAIL = re.compile(r"(?: \[(?:\d{15,21}|part \d+)\]| \((?:after|before|\d{4}-)[^()]*\))+$")
NOTICES = (  # what the exporter writes for Discord's own lines
    (re.compile(r"Joined the server\.|Added .{1,100} to the group\.|Added a recipient\."), "join"),
    (re.compile(r"Left the group\.|Removed .{1,100} from the group\.|Removed a recipient\."), "leave"),
    (re.compile(r"Changed the channel name(?:\.|: .*)"), "name"),
    (re.compile(r"Pinned a message\."), "pin"),
    (re.compile(r"Started a call that lasted [\d.,]+ minutes\.|Changed the channel icon\.|Started a thread\."), "other"),
)  # fmt: skip


class Raw(msgspec.Struct):
    """A message as the file has it."""

    where: str
    who: str = ""
    when: str = ""
    body: str = ""
    key: str = ""  # the author's id
    files: tuple[str, ...] = ()
    reactions: tuple[tuple[str, int], ...] = ()
    pinned: bool = False


class Survey(msgspec.Struct):
    """What the first pass over one file finds."""

    table: bool
    channel: Channel
    order: str
    sure: bool


def recognise(source: Source) -> int:
    return 3 if any(_kind(_head(head)) for head in heads(source, _wanted)) else 0


def read(source: Source, options: Options) -> Iterator[Record]:
    """All files. Raises FormatError if none is an exported channel."""
    surveys: dict[str, Survey] = {}
    for name, stream in source.walk(_wanted):
        try:
            survey = _survey(name, stream, options)
        except FormatError as error:
            yield Skipped(name, "the whole file", str(error))
            continue
        if survey is not None:
            surveys[name] = survey
    if not surveys:
        raise FormatError(f"{source.path.name} holds no exported channel", rule="no_messages")
    reader = _Reader(WallClock(options.timezone))
    for name, stream in source.walk(surveys.__contains__):
        survey = surveys[name]
        if survey.channel.key not in reader.ids:
            reader.ids[survey.channel.key] = LineIds()
            yield survey.channel
        if not survey.sure:
            yield Warn(f"{name}: the dates read two ways; {survey.order} was taken (see --date-order)")
        yield from guarded(name, reader.file(name, stream, survey))
    for what, count in reader.lost.items():
        yield NotCarried(what, count)


class _Reader:
    """What is remembered from file to file."""

    def __init__(self, clock: WallClock) -> None:
        self.clock = clock
        self.ids: dict[str, LineIds] = {}
        self.names: dict[str, str] = {}
        self.lost: Counter[str] = Counter()

    def file(self, name: str, stream: BinaryIO, survey: Survey) -> Iterator[Record]:
        lines = text_lines(stream)
        found = _rows(lines) if survey.table else _Page(self.lost).messages(lines)
        count, said = 0, None
        for raw in found:
            if isinstance(raw, int):
                said = raw
                continue
            count += 1
            time = self.time(raw.when, survey.order)
            if time is None:
                yield Skipped(
                    name,
                    raw.where,
                    "no time that can be read" if raw.when else "too few columns, or too long",
                )
                continue
            yield from self.message(raw, time, survey.channel.key)
        if said is not None and said != count:
            yield Warn(f"{name} says it has {said} messages and has {count}")

    def time(self, text: str, order: str) -> int | None:
        """Milliseconds; a text without an offset is in the zone that was asked for."""
        if (exact := iso_ms(text, self.clock.zone)) is not None:
            return exact
        shown = date_ms(text, order)
        if shown is None or self.clock.zone is UTC:
            return valid_time_ms(shown)
        return self.clock.wall_ms(shown)

    def message(self, raw: Raw, time: int, channel: str) -> Iterator[Record]:
        author = raw.key or raw.who or NOBODY
        if author != NOBODY and self.names.get(author) != raw.who:
            self.names[author] = raw.who
            yield Author(author, raw.who or author)
        kind = notice_of(raw.body)
        yield Message(
            channel, self.ids[channel].name(str(time), author, raw.body), time, author, raw.body,
            notice=kind if not raw.files else "",
            attachments=tuple(map(_attachment, raw.files)),
            reactions=tuple(Reaction(_sign(sign), unknown=count) for sign, count in raw.reactions if count),
            pinned=raw.pinned,
        )  # fmt: skip


def notice_of(body: str) -> str:
    """Which of Discord's own lines a text is, as the exporter words them; "" if none."""
    return next((kind for pattern, kind in NOTICES if pattern.fullmatch(body)), "")


def _wanted(name: str) -> bool:
    return name.lower().endswith((".csv", ".txt")) and "__MACOSX/" not in name and "_Files/" not in name


def _head(data: bytes) -> list[str]:
    lines = text_lines(io.BytesIO(data))
    return [line or "" for line in itertools.islice(lines, HEAD_LINES)]


def _kind(head: list[str]) -> str:
    """table | page | "" """
    if head and TITLES.match(head[0].lstrip("\ufeff")):
        return "table"
    rules = [place for place, line in enumerate(head) if RULE.match(line)]
    above = [line.partition(":")[0] for line in head[rules[0] + 1 :]] if rules else []
    return "page" if above[:2] == ["Guild", "Channel"] else ""


def _survey(name: str, stream: BinaryIO, options: Options) -> Survey | None:
    """One pass: which kind, which channel, which order of dates. None if it is no export."""
    lines = text_lines(stream)
    head = [line or "" for line in itertools.islice(lines, HEAD_LINES)]
    kind = _kind(head)
    if not kind:
        return None
    whole = itertools.chain(head, lines)
    found = _rows(whole) if kind == "table" else _Page(Counter()).messages(whole)
    orders = Orders()
    american = False
    for raw in found:
        if isinstance(raw, Raw) and (parts := numbers_in(raw.when)) is not None:
            american = american or raw.when.rstrip()[-2:].upper() in ("AM", "PM")
            orders.take(parts)
    order, sure = orders.best(options.date_order, american)
    return Survey(kind == "table", _channel(name, head if kind == "page" else [], options), order, sure)


def _channel(name: str, head: list[str], options: Options) -> Channel:
    """What the page says above its messages, or the file's name: `Guild - Category - channel [id]`."""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in head)}
    base = FILE_TAIL.sub("", name.rpartition("/")[2].rpartition(".")[0])
    if (
        not head and base.isdecimal() and "/" in name
    ):  # parts that were numbered by hand, in a folder a channel
        base = name.split("/")[-2]
    number = FILE_ID.search(name)
    path = facts.get("Channel", "") or base
    shown = path.rpartition(" / ")[2] if head else base.rpartition(" - ")[2]
    return Channel(
        key=number[1] if number else path,
        name=options.channel or shown or path,
        topic=facts.get("Topic", ""),
        kind="direct"
        if facts.get("Guild") == "Direct Messages" or base.startswith("Direct Messages - ")
        else "channel",
    )


# CSV


def _rows(lines: Iterator[str | None]) -> Iterator[Raw | int]:
    """Each row; a quote that is never closed costs its row, as the next begins in a way of its own."""
    titles = next(lines, "") or ""
    mark = ";" if ";" in titles else ","
    columns = [title.strip() for title in titles.lstrip("\ufeff").split(mark)]
    begun, at, number = "", 2, 1
    quoted = True
    for number, line in enumerate(itertools.chain(lines, [""]), start=2):
        if number == 2:
            quoted = mark == "," or (line or "").startswith('"')
        line = line or ""
        starts = (ROW if quoted else BARE_ROW).match(line) is not None
        if begun and (starts if not quoted else starts or begun.count('"') % 2 == 0):
            yield _row(begun, mark, columns, quoted, at)
            begun = ""
        if not begun:
            begun, at = line, number
        elif len(begun) < RECORD_MAX:
            begun += "\n" + line
    if begun:
        yield _row(begun.rstrip("\n"), mark, columns, quoted, at)


def _row(text: str, mark: str, columns: list[str], quoted: bool, line: int) -> Raw:
    raw = Raw(f"line {line}")
    if quoted:
        try:
            cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
        except csv.Error:
            return raw
    else:  # the first version quoted nothing: only the text may hold the mark
        cells = text.split(mark, 2)
        cells[2:] = [part for rest in cells[2:] for part in rest.rsplit(mark, 2)]
    values = dict(zip(columns, cells, strict=False))
    if "Content" not in values:
        return raw
    files = values.get("Attachments", "")
    parts = re.split(r",(?=https?://)" if "://" in files else ",", files)
    return Raw(
        raw.where, values.get("Author", ""), values.get("Date", ""), values["Content"], values.get("AuthorID", ""),
        tuple(filter(None, (part.strip() for part in parts))),
        tuple((found["sign"], int(found["count"])) for found in COUNTED.finditer(values.get("Reactions", ""))),
    )  # fmt: skip


# Plain text


class _Page:
    """One plain text being read."""

    def __init__(self, lost: Counter[str]) -> None:
        self.lost = lost
        self.pattern: re.Pattern[str] | None = None  # of the lines above messages

    def messages(self, lines: Iterator[str | None]) -> Iterator[Raw | int]:
        """Each message, and at the end how many the file says it has."""
        above = rules = size = 0
        begun: Raw | None = None
        text: list[str] = []
        shape = ""
        blank = True
        for number, line in enumerate(lines, start=1):
            line = (line or "").rstrip("\ufeff")
            if above < HEAD_LINES and rules < 2:
                above, rules = above + 1, rules + bool(RULE.match(line))
                continue
            found = None
            if blank and "[" in line:
                found = next(
                    (
                        m
                        for p in ([self.pattern] if self.pattern else (ABOVE, BESIDE))
                        if (m := p.match(line))
                    ),
                    None,
                )
                if found and (
                    _shape(found["when"]) != (shape or _shape(found["when"]))
                    or date_ms(found["when"]) is None
                ):
                    found = None
            if found:
                if begun is not None:
                    yield self.message(begun, text)
                self.pattern, shape = self.pattern or found.re, shape or _shape(found["when"])
                pinned = bool(found.groupdict().get("pin"))
                begun, text, size = Raw(f"line {number}", found["who"], found["when"], pinned=pinned), [], 0
            elif begun is not None and size < RECORD_MAX:
                text.append(line)
                size += len(line) + 1
            blank = not line.strip()
        if begun is not None:
            said = self.ending(text)
            yield self.message(begun, text)
            if said is not None:
                yield said

    def ending(self, text: list[str]) -> int | None:
        """Takes the exporter's last words off the last message: how many messages there are."""
        while text and not text[-1].strip():
            text.pop()
        if len(text) < 3 or not (RULE.match(text[-1]) and RULE.match(text[-3])):
            return None
        said = EXPORTED.match(text[-2])
        if said is None:
            return None
        del text[-3:]
        return int("".join(filter(str.isdecimal, said[1])) or 0)

    def message(self, raw: Raw, text: list[str]) -> Raw:
        """The lines below a message's first, part by part."""
        parts: list[tuple[str, list[str]]] = [("", [])]
        for place, line in enumerate(text):
            if (mark := SECTION.match(line)) and (not place or not text[place - 1].strip()):
                parts.append((mark[1], []))
            else:
                parts[-1][1].append(line)
        for name, lines in parts:
            words = "\n".join(lines).strip("\n")
            if not name:
                raw.body = words
            elif name == "Attachments":
                raw.files += tuple(filter(None, map(str.strip, lines)))
            elif name == "Reactions":
                listed = SPACED.finditer(words.strip())
                raw.reactions = tuple((found["sign"], int(found["count"] or 1)) for found in listed)
            elif name == "Forwarded Message":
                told = re.sub(r"\n?Originally sent: .*$", "", words)
                raw.body = "\n".join(filter(None, (raw.body, "Forwarded:", quote(told) if told else "")))
            else:
                self.lost["embeds" if name == "Embed" else "stickers"] += 1
                if not raw.body and not raw.files:
                    raw.body = words if name == "Embed" else ":sticker:"
        kept = raw.body.split("\n") if self.pattern is BESIDE and "http" in raw.body else []
        if kept:  # the first versions had no mark before files
            raw.files = tuple(line for line in kept if UPLOAD.match(line))
            raw.body = "\n".join(line for line in kept if not UPLOAD.match(line)) if raw.files else raw.body
        return raw


def _shape(when: str) -> str:
    """A printed time without its digits and words: the same for all of a file."""
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", when))


def _attachment(url: str) -> Attachment:
    path = url if "://" in url else url.replace("\\", "/")
    return Attachment(path.partition("?")[0].rpartition("/")[2] or "file", path)


def _sign(sign: str) -> str:
    custom = sign.isascii() and not sign.startswith(":") and not sign.isdecimal()
    return f":{sign}:" if custom else sign
