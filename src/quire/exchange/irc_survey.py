"""The first pass over IRC logs: is a file a log at all, in which stamps, and what does it name.

Only the head of a file is looked at, unless its dates are three numbers: then all of them are needed to tell the
order of day and month.
"""

from __future__ import annotations

import contextlib
import io
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import chain, islice
from typing import BinaryIO

import msgspec

from quire.errors import FormatError
from quire.exchange.dateorder import Orders
from quire.exchange.irc_styles import (
    COLON,
    STAMPS,
    channel_in,
    day_marker,
    happening,
    notice_kind,
    plain,
    split_stamp,
)
from quire.exchange.lines import is_clutter, text_lines
from quire.exchange.model import Options
from quire.exchange.sources import Source

HEAD_LINES = 400  # of a file, looked at before it is read
LINKS_MAX = 5_000_000  # annotated replies held, 8 bytes each
ANNOTATION = re.compile(r"^(?P<stem>.+)\.annotations?\.txt$", re.I)
LINK = re.compile(r"\s*(\d{1,9})[ \t]+(\d{1,9})[ \t]+-\s*$")
NOT_A_LOG = re.compile(
    r"\.(?:jpe?g|png|gif|pdf|zip|gz|xz|bz2|html?|xml|json|jsonl|csv|tsv|mbox|db|sqlite|py|js|css)$", re.I
)


class Head(msgspec.Struct, frozen=True):
    """What the first lines of a file tell."""

    stamp: int  # the commonest of irc_styles.STAMPS
    channel: str
    day: date | None  # its first line's, by a marker
    year: int  # of any marker: for stamps without one
    star_is_action: bool
    sure: bool  # nearly every line is in a known style
    dated: bool  # the lines themselves carry their date
    order: str = ""  # of the numbers of dates, where the whole file was looked through for it
    order_sure: bool = True
    weak: bool = (
        False  # a log only beside others that are: it has nothing but talk by colons, or nothing but notices
    )
    colons: bool = False  # talk is `nick: text`


class Survey(msgspec.Struct):
    """What the first pass finds in the whole export."""

    heads: dict[str, Head] = {}
    links: dict[str, array[int]] = {}  # path without ending -> (line, answer) pairs, flat
    channel: str = ""  # if all that name one name the same


def survey_of(source: Source, options: Options) -> Survey:
    """The first pass: every file's head, and all annotations."""
    survey = Survey({}, {})
    names = set(source.names())
    channels: Counter[str] = Counter()
    room = LINKS_MAX
    for name, stream in source.walk(may_be_log):
        if (match := ANNOTATION.match(name)) and (links := _links(stream, room)) is not None:
            survey.links[match["stem"]] = links
            room -= len(links) // 2
            continue
        if re.sub(r"\.(?:ascii|tok)\.txt$", ".raw.txt", name) != name and f"{stem(name)}.raw.txt" in names:
            continue  # a worked-over copy of a log that is here itself
        head = _head(stream, options)
        if head is not None:
            survey.heads[name] = head
    heads = survey.heads.values()
    strong = {(head.stamp, colons) for head in heads if not head.weak for colons in {False, head.colons}}
    survey.heads = {
        name: head
        for name, head in survey.heads.items()
        if not head.weak or (head.stamp, head.colons) in strong
    }
    for head in survey.heads.values():
        if head.channel:
            channels[head.channel.lower()] += 1
    if len(channels) == 1:
        survey.channel = next(iter(channels))
    return survey


def _head(stream: BinaryIO, options: Options) -> Head | None:
    lines = text_lines(stream)
    try:
        first = list(islice(lines, HEAD_LINES))
        head = look(iter(first))
    except FormatError:
        return None  # damaged before anything could be told
    if head is None or options.date_order or "p1" not in STAMPS[head.stamp].groupindex:
        return head
    return _ordered(head, chain(first, lines))


def _ordered(head: Head, lines: Iterator[str | None]) -> Head:
    """`head` with the order of its dates, `03/04/2020`, as the whole file tells it."""
    orders = Orders()
    american = False
    with contextlib.suppress(FormatError):
        for line in lines:
            if line and (match := STAMPS[head.stamp].match(line)):
                american = american or match["ap"] is not None
                orders.take((int(match["p1"]), int(match["p2"]), int(match["Y"])))
    order, sure = orders.best("", american)
    return msgspec.structs.replace(head, order=order, order_sure=sure)


def look(lines: Iterator[str | None]) -> Head | None:
    """What a file's first lines tell; None if it is no IRC log."""
    stamps: Counter[int] = Counter()
    channels: Counter[str] = Counter()
    total = known = marked = spoken = dated = plainly = happened = 0
    talk = False  # Pidgin's and Adium's: `nick: text`, which is in no mark of its own
    day: date | None = None
    year = 0
    for line in lines:
        if line is None or not line.strip():
            continue
        total += 1
        if (marker := day_marker(line)) is not None:
            if day is None and not stamps:
                day = marker[0]
            elif day is None:
                day = date.fromordinal(max(1, marker[0].toordinal() - marker[1]))
            year = year or marker[0].year
            known += 1
            talk = talk or line.startswith("Conversation with ")
        found = split_stamp(line, stamps.most_common(1)[0][0] if stamps else 0, "")
        if found is not None:
            stamps[found[0]] += 1
            dated += found[1].year > 0 or found[1].unix_ms is not None
        rest = found[1].rest if found is not None else line
        told = happening(rest, True) or (plain(rest) if talk and found is not None else None)
        noted = told.kind not in ("", "action") if told is not None else notice_kind(rest) != ""
        known += (told is not None or noted) if found is not None else line.startswith("===")
        spoken += told is not None and found is not None and told.kind in ("", "action")
        plainly += told is None and found is not None and not noted and COLON.match(rest) is not None
        happened += noted and found is not None
        marked += rest.lstrip().startswith(("===", "-!-", "*** ", "-->", "<--"))
        if noted or "\t" in rest or found is None or rest.startswith("*"):
            channels[channel_in(line)] += 1
    del channels[""]
    # `nick: text` is talk where other lines, or other files, tell who came and went.
    colons = not spoken and plainly > 0
    weak = not spoken and (not happened or not plainly)
    spoken, known = spoken or plainly, known + (plainly if colons else 0)
    if not stamps or known * 2 < total or not (spoken or happened):
        return None
    name = channels.most_common(1)[0][0] if channels else ""
    sure = known * 10 >= total * 8 and spoken > 0
    return Head(
        stamps.most_common(1)[0][0], name, day, year, marked > 0, sure, dated * 2 > sum(stamps.values()),
        weak=weak, colons=colons,
    )  # fmt: skip


def peeked(data: bytes) -> Iterator[str | None]:
    """The lines of a file's first bytes; the last may be cut, so it does not count."""
    lines = list(text_lines(io.BytesIO(data)))
    return iter(lines[:-1] if len(lines) > 1 and not data.endswith(b"\n") else lines)


def _links(stream: BinaryIO, room: int) -> array[int] | None:
    """The pairs of an annotation file; None if it is something else."""
    links = array("I")
    try:
        for line in text_lines(stream):
            if not line:
                continue
            match = LINK.match(line)
            if match is None:
                return None
            if len(links) < 2 * room:
                links.extend((int(match[1]), int(match[2])))
    except FormatError:
        pass  # the links that could be read still hold
    return links


def may_be_log(name: str) -> bool:
    return not is_clutter(name) and not NOT_A_LOG.search(name)


def stem(name: str) -> str:
    return re.sub(r"(?:\.(?:raw|ascii|tok))?\.(?:txt|log)$", "", name, flags=re.I)
