"""WhatsApp chats: the text file that "Export chat" makes, alone or in its zip with the media.

A message begins with a date, a time and mostly a sender; all lines up to the next such beginning are
its text. How dates look depends on the phone's language, and `03/04/20` reads two ways, so a first pass
over the whole file tries the three orders at once and keeps the one under which no date is impossible
and time runs forward; `options.date_order` overrides it. The same pass settles whether lines begin with
a bracket (iPhone) or end their time with a dash (Android): a pasted line of the other kind is text.

Lines without a sender are WhatsApp's own: notices. Its words are in whatsapp_words.py. Nothing has an id,
so messages get theirs from time, sender and text (lines.py), which meet again in a later export.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from quire.errors import FormatError
from quire.exchange.dateorder import Orders, ordered
from quire.exchange.lines import LineIds, WallClock, full_year, guarded, is_clutter, text_lines
from quire.exchange.model import Attachment, Author, Channel, Message, Options, Record, Skipped, Warn
from quire.exchange.sources import Source
from quire.exchange.whatsapp_words import (
    ATTACHED,
    ATTACHED_TAG,
    ATTACHED_WORDS,
    CHAT_NAME,
    CHAT_NAME_INSIDE,
    EDITED_TAG,
    EDITED_WORDS,
    MARKS,
    OMITTED_LINE,
    OMITTED_TAG,
    OMITTED_WORDS,
    half_of_day,
    is_deleted,
    notice_kind,
)

NAME = "whatsapp"
TITLE = "WhatsApp chat (text, or zip with media)"
NOTICES_ARE_MESSAGES = False
EDITS_ARE_MARKED = True

TEXT_MAX = 1 << 20  # characters of one message; WhatsApp itself allows 65,536
UNREADABLE_MAX = 50  # reported one by one
PEEKED = 8

NAMELESS = ("chat", "whatsapp chat", "")  # files that all chats are called alike

_M = f"[{MARKS}]*"
_HALF = r"(?:[^\W\d_][^\W\d_]{0,11}(?:\.?[ \u00a0\u202f]?[^\W\d_]{1,6})?\.?)"
HEADER = re.compile(
    rf"{_M}(?P<open>\[)?{_M}(?P<a>\d{{1,4}}){_M}\s?[./\-‐-―年년]\s?{_M}(?P<b>\d{{1,2}}){_M}\s?[./\-‐-―月월]\s?{_M}"
    rf"(?P<c>\d{{1,4}}){_M}[.日일]?(?: г\.?| р\.)?[,،、]?(?:[\s\u00a0\u202f]+(?:à|klo|kl\.?|um|at|às|a las"
    rf"|alle|в|o|om))?[\s\u00a0\u202f]*{_M}"
    rf"(?P<before>{_HALF}[\s\u00a0\u202f]?)?(?P<h>\d{{1,2}})[:.](?P<m>\d\d)(?:[:.](?P<s>\d\d))?"
    rf"(?:[\s\u00a0\u202f]?(?P<after>{_HALF}))?{_M}(?:(?P<close>\])|\s?(?P<dash>[-–—])(?=\s)"
    rf"|(?P<colon>:)(?=\s)){_M}\s?"
)
SENDER = re.compile(r"(?P<name>[^:\n]{1,120}?):(?:[ \u00a0](?P<text>.*)|(?P<tight>(?!//).*))$", re.S)
APPROXIMATE = re.compile(r"^~[\s\u00a0\u202f]*")  # before the name of someone not among the contacts
MENTION = re.compile("@\u2068~?[\u00a0\u202f ]?([^\u2068\u2069\n]{1,120})\u2069")
DOCUMENT = re.compile(r"[\u200e\u200f]?(?P<name>[^\n•/\\]{1,200}\.[A-Za-z0-9]{1,8}) • ")
QUOTES = re.compile('["“”«»]')
IRC = re.compile(r"<[^<>\s]{1,40}>\s|(?:-\*-|-->|<--|<->|-!-|[*→←⇐⇒—]|\*{3})\s")
IRC_DONE = re.compile(
    r"\S{1,40}, (?:joining|quitting|parting|leaving)\. \(|\S{1,40} (?:[\[(]\S+@\S+[\])] )?has (?:joined|left|quit)\b.{0,20}[#(\[]"
)
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.S)
BOLD = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]*[^\s*])\*(?![\w*])")
STRUCK = re.compile(r"(?<![\w~])~(?=[^\s~])([^~\n]*[^\s~])~(?![\w~])")
OWN_TEXT = re.compile(
    r"\u200e?(?:[A-Z]{3,}:|\S+: https?://)"
)  # a poll, a place: WhatsApp writes, a person sends


class Begin(NamedTuple):
    """The beginning of a message, as written."""

    parts: tuple[int, int, int]
    hour: int
    minute: int
    second: int
    rest: str


class Survey(msgspec.Struct):
    """What the first pass over one chat finds."""

    style: str = ""  # open | dash | colon
    order: str = ""
    sure: bool = True
    group: bool = False
    title: str = ""  # who an iPhone's first line, WhatsApp's own, is said to be of: the chat itself
    odd_halves: bool = False  # a word beside the time that is no morning and no afternoon we know


def recognise(source: Source) -> int:
    best = 0
    for name in [n for n, size in sorted(source.sizes().items()) if size and _may_be_chat(n)][:PEEKED]:
        lines = [line for line in text_lines(io.BytesIO(source.peek(name, 8192))) if line and line.strip()]
        matches = [match for match in map(HEADER.match, lines) if match is not None]
        if not matches or HEADER.match(lines[0]) is None or _is_irc(lines):
            continue
        told = "whatsapp" in f"{source.path.name}/{name}".lower() or name.endswith("_chat.txt")
        seconds = any(match["s"] for match in matches)
        best = max(best, 3 if told else 2 if seconds or matches[0]["dash"] else 1)
    return best


def read(source: Source, options: Options) -> Iterator[Record]:
    """Each chat of the export. Raises FormatError if there is none."""
    clock = WallClock(options.timezone)
    surveys: dict[str, Survey] = {}
    for name, stream in source.walk(_may_be_chat):
        try:
            survey = _survey(text_lines(stream), options)
        except FormatError as error:
            yield Skipped(name, "the whole file", str(error))
            continue
        if survey is not None:
            surveys[name] = survey
    if not surveys:
        raise FormatError(f"{source.path.name} holds no WhatsApp chat", rule="unknown_format")
    for name, stream in source.walk(lambda n: n in surveys):
        survey = surveys[name]
        shown = options.channel if options.channel and len(surveys) == 1 else _chat_name(source, name)
        if shown.strip("_ ").lower() in NAMELESS:
            shown = survey.title or shown
        yield Channel(shown, shown, kind="group" if survey.group else "direct")
        if not survey.sure:
            yield Warn(f"{name}: the dates read two ways; {survey.order} was taken (see --date-order)")
        if survey.odd_halves:
            yield Warn(
                f"{name}: a word beside the times is in no language known; they were read as they stand"
            )
        yield from guarded(name, _Chat(name, shown, survey, clock).records(text_lines(stream)))


def _may_be_chat(name: str) -> bool:
    return name.lower().endswith(".txt") and not (is_clutter(name) and not name.endswith("_chat.txt"))


def _is_irc(lines: list[str]) -> bool:
    """A log whose times look like an iPhone's, but whose people stand in angles."""
    rests = [line[match.end() :] for line in lines if (match := HEADER.match(line))]
    return any(IRC_DONE.match(rest) for rest in rests) or (
        sum(IRC.match(rest) is not None for rest in rests) * 2 > len(rests)
    )


def _chat_name(source: Source, name: str) -> str:
    """The chat's name from its file's, or from the archive's or folder's where all files are `_chat.txt`."""
    path = PurePosixPath(name)
    stem = path.stem
    if stem.strip("_ ").lower() in NAMELESS:
        stem = path.parent.name or re.sub(r"\.(?:zip|tar|txt)(?:\.\w+)?$", "", source.path.name, flags=re.I)
    stem = re.sub(r"(?:[ _-]*\(\d+\)|[ _]copy)$", "", stem)
    if inside := CHAT_NAME_INSIDE.match(stem):
        return str(inside[inside.lastgroup or 0]).strip()
    return CHAT_NAME.sub("", stem).strip() or stem or "WhatsApp"


def _style(match: re.Match[str]) -> str:
    if match["open"]:
        return "open" if match["close"] else ""
    return "dash" if match["dash"] else "colon" if match["colon"] and match["s"] else ""


def _begin(line: str, style: str) -> Begin | None:
    """The beginning of a message if `line` has one in the chat's own style."""
    match = HEADER.match(line)
    if match is None or _style(match) != style:
        return None
    hour = int(match["h"])
    half = half_of_day(match["before"] or match["after"] or "")
    if half is not None and hour <= 12:
        hour = hour % 12 + (12 if half == "pm" else 0)
    parts = (int(match["a"]), int(match["b"]), int(match["c"]))
    return Begin(parts, hour % 24, int(match["m"]), int(match["s"] or 0), line[match.end() :])


def _survey(lines: Iterator[str | None], options: Options) -> Survey | None:
    """One pass: the style, the order of dates, whether it is a group. None if it is no chat."""
    styles = dict.fromkeys(("open", "dash", "colon"), 0)
    orders = {style: Orders() for style in styles}
    senders: set[str] = set()
    american = odd = group = False
    title = ""
    total = 0
    for line in lines:
        total += 1
        if line is None or (match := HEADER.match(line)) is None or not (style := _style(match)):
            if total > 100 and not any(styles.values()):
                return None
            continue
        styles[style] += 1
        if style == "open" and sum(styles.values()) == 1:
            first, said = _sender(line[match.end() :])
            title = first if said.startswith("\u200e") else ""
        parts = (int(match["a"]), int(match["b"]), int(match["c"]))
        orders[style].take(parts)
        if half := match["before"] or match["after"]:
            american = american or half in ("AM", "PM")
            odd = odd or half_of_day(half) is None
        if len(senders) < 3:
            sender, text = _sender(line[match.end() :])
            group = group or (not sender and notice_kind(text) in ("join", "leave"))
            senders |= {sender} - {""}
    style = max(styles, key=lambda s: styles[s])
    if not styles[style]:
        return None
    order, sure = orders[style].best(options.date_order, american)
    return Survey(style, order, sure, group or len(senders) > 2, title, odd)


class _Chat:
    """One chat file being read."""

    def __init__(self, file: str, channel: str, survey: Survey, clock: WallClock) -> None:
        self.file = file
        self.channel = channel
        self.survey = survey
        self.clock = clock
        self.ids = LineIds()
        self.known: set[str] = set()

    def records(self, lines: Iterator[str | None]) -> Iterator[Record]:
        begun: Begin | None = None
        text: list[str] = []
        at = size = unreadable = 0
        for number, line in enumerate(lines, start=1):
            begin = _begin(line, self.survey.style) if line is not None else None
            if begin is not None:
                if begun is not None:
                    yield from self.message(begun, text, at)
                begun, text, at, size = begin, [begin.rest], number, len(begin.rest)
            elif line is None or begun is None or size > TEXT_MAX:
                if line is None or line.strip(MARKS + " "):
                    unreadable += 1
                    if unreadable <= UNREADABLE_MAX:
                        yield Skipped(self.file, f"line {number}", "this belongs to no message")
            else:
                text.append(line)
                size += len(line) + 1
        if begun is not None:
            yield from self.message(begun, text, at)

    def message(self, begin: Begin, lines: list[str], at: int) -> Iterator[Record]:
        year, month, day = ordered(begin.parts, self.survey.order)
        time = self.clock.ms(year, month, day, begin.hour, begin.minute, begin.second)
        if time is None:
            yield Skipped(self.file, f"line {at}", "no such date")
            return
        when = f"{full_year(year)}-{month}-{day} {begin.hour}:{begin.minute}:{begin.second}"
        whole = "\n".join(lines).rstrip("\n")
        sender, text = _sender(whole)
        if not sender or self.is_notice(sender, text):
            words = (text if sender else whole).strip(MARKS + " ")
            actor = next((name for name in (sender,) if name in self.known and words.startswith(name)), "")
            key = self.ids.name(when, "", words)
            yield Message(self.channel, key, time, actor, words, notice=notice_kind(words))
            return
        if sender not in self.known:
            self.known.add(sender)
            yield Author(sender, sender)
        yield _message(self.channel, self.ids.name(when, sender, text), time, sender, text)

    def is_notice(self, sender: str, text: str) -> bool:
        """iPhones put the group's or a member's name before WhatsApp's own lines, and U+200E into them."""
        if self.survey.style != "open" or not text.startswith("\u200e"):
            return False
        plain = text.strip(MARKS + " ")
        return not (
            OWN_TEXT.match(text)
            or _file(text) is not None
            or is_deleted(plain)
            or "\n" in plain
            or len(plain) > 1000
        )


def _sender(text: str) -> tuple[str, str]:
    """(who, what); who is "" for a line of WhatsApp's own."""
    match = SENDER.match(text)
    if match is None:
        return "", text
    name = match["name"]
    if QUOTES.search(name) and (
        name.count('"') % 2 or name.count("“") != name.count("”") or name.count("«") != name.count("»")
    ):
        return "", text  # the colon stands in a quoted name: `Ann created group "Trip: Rome"`
    if not name.isascii() or name[0] in " ~":
        name = APPROXIMATE.sub("", name.strip(MARKS + " \u00a0\u202f"))
    return name, match["text"] if match["text"] is not None else match["tight"]


def _message(channel: str, key: str, time: int, sender: str, text: str) -> Message:
    if is_deleted(text):
        return Message(channel, key, time, sender, "", deleted=True)
    edited = None
    if (
        text.endswith(">")
        and (tag := EDITED_TAG.search(text))
        and tag.start() > 0
        and EDITED_WORDS.search(tag["word"])
    ):
        text, edited = text[: tag.start()].rstrip(), time
    files: tuple[Attachment, ...] = ()
    if (found := _file(text)) is not None:
        name, inside, text = found
        files = (Attachment(name, name if inside else ""),)
    mentions: tuple[str, ...] = ()
    if "\u2068" in text:
        mentions = tuple(dict.fromkeys(MENTION.findall(text)))
        text = MENTION.sub(r"@\1", text).replace("\u2068", "").replace("\u2069", "")
    body = _markdown(text.strip("\u200e\u200f\u202a\u202c\ufeff"))
    return Message(channel, key, time, sender, body, attachments=files, mentions=mentions, edited_ms=edited)


def _file(text: str) -> tuple[str, bool, str] | None:
    """(the file's name or what stands for it, is it in the export, the text beside it)"""
    marked = "\u200e" in text or "\u200f" in text
    if not marked and "<" not in text and "(" not in text:
        return None  # nearly every message
    if tag := ATTACHED_TAG.search(text):
        return tag["name"].strip(), True, (text[: tag.start()] + text[tag.end() :]).strip(MARKS + " \n")
    if (match := ATTACHED.match(text)) and (
        text.startswith("\u200e") or ATTACHED_WORDS.search(match["word"])
    ):
        return match["name"].strip(), True, text[match.end() :]
    if (match := OMITTED_TAG.match(text)) and OMITTED_WORDS.search(match["word"]):
        return match["word"].strip(MARKS + " "), False, text[match.end() :]
    if marked and (match := OMITTED_LINE.match(text)):
        if (page := DOCUMENT.match(match["word"])) is not None:  # `plan.pdf • 3 pages document omitted`
            return page["name"], False, ""
        return match["word"].strip(MARKS + " "), False, ""
    return None


def _markdown(text: str) -> str:
    """WhatsApp's `*bold*` and `~struck~` as Markdown has them; `_italic_` and code are the same."""
    if text.count("*") < 2 and text.count("~") < 2:
        return text
    parts = CODE.split(text) if "`" in text else [text]
    for place in range(0, len(parts), 2):
        parts[place] = STRUCK.sub(r"~~\1~~", BOLD.sub(r"**\1**", parts[place]))
    return "".join(parts)
