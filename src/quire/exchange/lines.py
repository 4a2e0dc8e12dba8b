"""Chats kept as plain text: lines from bytes, wall-clock times, and ids that survive another export.

Text logs have no ids, no zone and no declared encoding. So each importer of such a format takes from
here: `text_lines` (bounded lines, whatever the encoding), `WallClock` (local dates and times to
milliseconds, cheaply: consecutive lines share their hour) and `LineIds`. A line is named by a digest of
what every export of the same chat shows alike: the time as written, the author, the text, and which
one it is among equals. Two overlapping exports so give the same names, and the store drops the second.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import blake2b
from typing import BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quire.errors import FormatError, UsageError
from quire.exchange.model import Record, Skipped
from quire.exchange.text import valid_time_ms

LINE_MAX = 1 << 20  # bytes of one line; what is longer is no line of a chat
BUFFER_BYTES = 1 << 18
HOURS_KEPT = 4096  # of the clock's cache
NAMES_KEPT = 8192  # of recent lines, to tell equal ones apart

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
BUDDHIST = 543  # years ahead of ours, in Thai exports
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(raw: bytes) -> str:
    """Bytes of a text as text: UTF-8, else Windows' Latin, which is what old clients wrote."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def raw_lines(stream: BinaryIO, line_max: int = LINE_MAX) -> Iterator[bytes | None]:
    """Lines without their end; None for one over `line_max` bytes, which are passed over."""
    reader = io.BufferedReader(stream, BUFFER_BYTES)  # type: ignore[type-var]  # only readinto() is used
    try:
        readline = reader.readline
        while line := readline(line_max):
            if line[-1:] == b"\n":
                yield line[:-2] if line[-2:-1] == b"\r" else line[:-1]
            elif len(line) < line_max:
                yield line
            else:
                while line and line[-1:] != b"\n":
                    line = readline(line_max)
                yield None
    finally:
        if not stream.closed:  # whoever left off in the middle may have closed it before this runs
            reader.detach()  # the stream is its source's to close


def text_lines(stream: BinaryIO) -> Iterator[str | None]:
    """Lines as text: UTF-8 with or without its mark, UTF-16 by its mark, else Windows' Latin."""
    lines = raw_lines(stream)
    first = next(lines, b"")
    if first is not None and first.startswith(UTF16):
        yield from _utf16_lines(first, lines)
        return
    yield None if first is None else decode(first.removeprefix(codecs.BOM_UTF8))
    for line in lines:
        if line is None:
            yield None
            continue
        try:
            yield line.decode()
        except UnicodeDecodeError:
            yield line.decode("cp1252", "replace")


def _utf16_lines(first: bytes, lines: Iterator[bytes | None]) -> Iterator[str | None]:
    """The byte 0x0A is half of U+000A here (or of another character), so lines are put together anew."""
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    text = decoder.decode(first)
    for raw in lines:
        # A CR before the LF was its own character: its bytes are never one byte before 0x0A.
        text += decoder.decode(b"\n" + (raw or b""))
        *whole, text = text.split("\n")
        for line in whole:
            yield line.removesuffix("\r")
        if len(text) > LINE_MAX:
            yield None
            text = ""
    text += decoder.decode(b"", final=True)
    if text:
        yield text


CLUTTER = re.compile(
    r"(?:^|/)(?:__MACOSX/|\.|thumbs\.db$|desktop\.ini$|(?:readme|licen[cs]e|copying|notice|changelog)[^/]*$)",
    re.I,
)


COPIED = re.compile(r"(?:[ _]-?[ _]?copy)?(?:[ _-]?\(\d{1,3}\)|(?<=copy)[ _]?\d{0,3})(?=\.[^./]+$|$)", re.I)


def is_clutter(name: str) -> bool:
    """Files that archives pick up on their way and no export owns: hidden ones, READMEs, licences."""
    return CLUTTER.search(name) is not None


def uncopied(name: str) -> str:
    """A file's name without what a program adds to a second copy: `a (1).json`, `a copy.json`."""
    return COPIED.sub("", name)


class WallClock:
    """Dates and times as a clock on the wall showed them, in one zone, to Unix milliseconds."""

    def __init__(self, zone_name: str = "") -> None:
        """Raises UsageError if no zone has that name."""
        self.zone: tzinfo = UTC
        if zone_name:
            try:
                self.zone = ZoneInfo(zone_name)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise UsageError(
                    f"there is no time zone {zone_name}",
                    rule="unknown_timezone",
                    hint="an IANA name, such as Europe/Berlin",
                ) from error
        self._hours: dict[tuple[int, int, int, int], int | None] = {}

    def ms(self, year: int, month: int, day: int, hour: int, minute: int, second: int = 0) -> int | None:
        """None if there is no such time, or it is out of bounds."""
        key = (year, month, day, hour)
        try:
            start = self._hours[key]
        except KeyError:
            start = self._hour_ms(*key)
        if start is None or not (0 <= minute < 60 and 0 <= second < 61):
            return None
        return valid_time_ms(start + (minute * 60 + second) * 1000)

    def wall_ms(self, shown_ms: int) -> int | None:
        """What the clock showed, given as if it were UTC's."""
        moment = EPOCH + timedelta(milliseconds=shown_ms)
        start = self.ms(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
        return None if start is None else start + shown_ms % 1000

    def _hour_ms(self, year: int, month: int, day: int, hour: int) -> int | None:
        if len(self._hours) >= HOURS_KEPT:
            self._hours.clear()
        try:
            moment = datetime(full_year(year), month, day, hour, tzinfo=self.zone)
            start = (moment - EPOCH) // timedelta(hours=1) * HOUR_MS
            start += (moment - EPOCH) % timedelta(hours=1) // timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            self._hours[year, month, day, hour] = None
            return None
        self._hours[year, month, day, hour] = start
        return start


def full_year(year: int) -> int:
    """Two digits are 1970 to 2069; a Thai year is ours and 543."""
    if year < 100:
        return year + (2000 if year < 70 else 1900)
    return year - BUDDHIST if year > 2400 else year


class LineIds:
    """Names for the lines of one chat, the same in every export that holds them."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._older: dict[bytes, int] = {}

    def name(self, when: str, author: str, text: str) -> str:
        """A name from the time as written, the author and the text: 24 hex digits."""
        key = blake2b(f"{when}\0{author}\0{text}".encode("utf-8", "replace"), digest_size=12).digest()
        seen = self._recent.get(key)
        if seen is None:
            seen = self._older.get(key, 0)
            if len(self._recent) >= NAMES_KEPT:
                self._older, self._recent = self._recent, {}
        self._recent[key] = seen + 1
        if seen:
            key = blake2b(key + seen.to_bytes(4, "big"), digest_size=12).digest()
        return key.hex()


def guarded(file: str, records: Iterator[Record]) -> Iterator[Record]:
    """`records` of one file; where its archive is damaged, what could be read and a note of the rest."""
    try:
        yield from records
    except FormatError as error:
        yield Skipped(file, "from here on", str(error))
