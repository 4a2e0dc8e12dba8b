"""sigtop's long text form of Signal conversations: a block of fields, an empty line, the text.

    Conversation: Ann (+441234)

    From: Ann (+441234)
    Type: incoming
    Sent: Fri, 31 Jan 2020 18:05:00 +0000
    Reaction: 👍 from Bob

    the text, of any lines

A block begins at a `From:` that `Type:` follows, or at a `Type:` alone (Signal's own notices), after an empty
line. A quoted message stands in lines that begin with `>`, versions of an edited one, newest first, in
lines that begin with `|`. A message is named by who sent it and when, to the second, so that a quote,
which tells both, names what it answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

from quire.exchange.lines import LineIds
from quire.exchange.model import Attachment, Author, Channel, Edit, Message, Reaction, Record, Skipped
from quire.exchange.text import valid_time_ms

LINES_MAX = 20_000  # of one block
SENT = re.compile(
    r"[A-Z][a-z]{2}, (\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)$"
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FIELD = re.compile(r"(From|Type|Sent|Received|Attachment|Reaction|Edited|Version): (.*)$")
DETAILED = re.compile(r"(?P<name>.+?) \([^()]*\)$")
FILE = re.compile(r"(?P<name>.*) \((?P<type>[^,()]*)(?:, (?P<size>\d{1,15}) bytes)?\)$")


def is_long_form(lines: list[str]) -> bool:
    """Do these first lines, blank ones left out, begin such a file?"""
    fields = [match[1] for match in map(FIELD.match, lines[:6]) if match is not None]
    return bool(lines) and lines[0].startswith("Conversation: ") and "Type" in fields


def long_form(file: str, lines: Iterator[str | None], channel: str) -> Iterator[Record]:
    """The records of one file."""
    ids = LineIds()
    known: set[str] = set()
    title = ""
    for at, block in _blocks(lines):
        if not title:
            told = next((line for line in block if line.startswith("Conversation: ")), "")
            title = channel or _plain(told.removeprefix("Conversation: ")) or "Signal"
            yield Channel(title, title, kind="direct")
        if not any(line.startswith("Type: ") for line in block):
            continue
        yield from _message(file, at, block, title, ids, known)


def _blocks(lines: Iterator[str | None]) -> Iterator[tuple[int, list[str]]]:
    """(line number, lines) of each block."""
    block: list[str] = []
    at = 0
    held: str | None = None  # a `From:` that begins a block if the next line says so
    blank = True
    for number, line in enumerate(lines, start=1):
        text = line if line is not None else ""
        begins = text.startswith("Type: ") and (blank or held is not None)
        if begins:
            if block:
                yield at, block
            block, at = ([held] if held is not None else []), number
            held = None
        elif held is not None:
            block.append(held)
            held = None
        if not begins and blank and text.startswith("From: "):
            held = text
        elif len(block) < LINES_MAX:
            block.append(text)
        blank = not text
    if held is not None:
        block.append(held)
    if block:
        yield at, block


def _message(
    file: str, at: int, block: list[str], channel: str, ids: LineIds, known: set[str]
) -> Iterator[Record]:
    fields, rest = _fields(block)
    time = _time(fields.get("Sent", [""])[0]) or _time(fields.get("Received", [""])[0])
    if time is None:
        yield Skipped(file, f"line {at}", "no time")
        return
    author = _plain(fields.get("From", [""])[0])
    kind = fields.get("Type", [""])[0]
    if author and author not in known:
        known.add(author)
        yield Author(author, author)
    key = ids.name(str(time), author, "")
    versions = _versions(rest)
    quoted, body = _quote(rest if not versions else [])
    edits: tuple[Edit, ...] = ()
    if versions:
        (_, body), *later = versions
        edits = tuple(Edit(when, text) for when, text in later if when is not None)
    if kind not in ("incoming", "outgoing") or not author:
        words = body or f"[{kind}]"
        yield Message(channel, key, time, author, words, notice="other")
        return
    reply_to = LineIds().name(str(quoted[1]), quoted[0], "") if quoted else ""
    yield Message(
        channel, key, time, author, body,
        reply_to=reply_to if reply_to != key else "",
        reply_to_time_ms=quoted[1] if quoted and reply_to != key else None,
        attachments=tuple(_file(text) for text in fields.get("Attachment", ())),
        reactions=_reactions(fields.get("Reaction", [])),
        edits=edits,
    )  # fmt: skip


def _fields(block: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The fields at the block's head, and what follows the empty line."""
    fields: dict[str, list[str]] = {}
    for place, line in enumerate(block):
        match = FIELD.match(line)
        if match is None:
            return fields, block[place:]
        fields.setdefault(match[1], []).append(match[2])
    return fields, []


def _quote(lines: list[str]) -> tuple[tuple[str, int] | None, str]:
    """((who, when) of the message answered, the text)"""
    lines = lines[:]
    while lines and not lines[0]:
        del lines[0]
    quote: list[str] = []
    if len(lines) > 1 and lines[0].startswith("> From: ") and lines[1].startswith("> Sent: "):
        end = next((place for place, line in enumerate(lines) if not line.startswith(">")), len(lines))
        quote, lines = lines[:end], lines[end:]
    text = "\n".join(lines).strip("\n")
    if not quote:
        return None, text
    when = _time(quote[1].removeprefix("> Sent: "))
    return (None if when is None else (_plain(quote[0].removeprefix("> From: ")), when)), text


def _versions(lines: list[str]) -> list[tuple[int | None, str]]:
    """(time, text) of each version, oldest first; none for a message never edited."""
    lines = [line for line in lines if line]
    if not lines or not all(line.startswith("|") for line in lines) or not lines[0].startswith("| Version: "):
        return []
    versions: list[tuple[int | None, str]] = []
    group: list[str] = []
    for line in [*(line[2:] for line in lines[1:]), "Version: 0"]:
        if line.startswith("Version: "):
            fields, rest = _fields(group)
            versions.append((_time(fields.get("Sent", [""])[0]), _quote(rest)[1]))
            group = []
        else:
            group.append(line)
    return versions[::-1]


def _reactions(texts: list[str]) -> tuple[Reaction, ...]:
    by_emoji: dict[str, list[str]] = {}
    for text in texts:
        emoji, sign, who = text.partition(" from ")
        if sign and emoji and who:
            by_emoji.setdefault(emoji, []).append(who)
    return tuple(Reaction(emoji, tuple(dict.fromkeys(people))) for emoji, people in by_emoji.items())


def _file(text: str) -> Attachment:
    match = FILE.match(text)
    if match is None:
        return Attachment(text or "file")
    name = match["name"] if match["name"] != "no filename" else "file"
    return Attachment(
        name, media_type=match["type"], size_bytes=int(match["size"]) if match["size"] else None
    )


def _plain(name: str) -> str:
    """A name without the number or id that follows it in parentheses."""
    match = DETAILED.match(name)
    return match["name"] if match else name


def _time(text: str) -> int | None:
    match = SENT.match(text)
    if match is None or match[2] not in MONTHS:
        return None
    day, year, hour, minute, second, ahead, behind = (int(match[n]) for n in (1, 3, 4, 5, 6, 8, 9))
    try:
        offset = timedelta(hours=ahead, minutes=behind) * (1 if match[7] == "+" else -1)
        moment = datetime(
            year, MONTHS.index(match[2]) + 1, day, hour, minute, second, tzinfo=timezone(offset)
        )
    except ValueError:
        return None
    return valid_time_ms((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
