"""Dates and times as exporters print them for people: `09 December 2022 12:35`, `4:05 PM, 05 Jul 2019`.

For pages that have no machine-readable time. English month names, any order that the text itself
decides; where two numbers could both be the day, the caller's `order` does. The result is the clock on
the wall as if it were UTC: the zone is the caller's knowledge too, unless the text names its offset.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_MS = 60_000

MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_TIME = re.compile(r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:[.,]\d+)?\s*([AaPp])?(?:\.?[Mm]\b)?")
_OFFSET = re.compile(r"(?:UTC|GMT)\s*(?:([+-])\s*(\d{1,2})(?::?(\d{2}))?)?|([+-])(\d{2}):(\d{2})\b")
_NAMED = re.compile(
    r"(?:(\d{1,2})(?:st|nd|rd|th)?[\s./-]+)?([A-Za-z]{3,9})\.?[\s./,-]+(\d{1,4})(?:,?[\s./-]+(\d{4}))?"
)
_WEEKDAY = re.compile(r"\b(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?\b\.?,?", re.I)
_NUMBERED = re.compile(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})")


@lru_cache(maxsize=4096)
def date_ms(text: str, order: str = "dmy") -> int | None:
    """Milliseconds of the wall clock that `text` shows, less the offset it names; None if it shows none."""
    date = _date(text, order)
    if date is None:
        return None
    rest = text.replace(date[3], " ", 1)
    offset = _OFFSET.search(rest)
    clock = _TIME.search(rest[: offset.start()] if offset and offset.start() else rest)
    hour, minute, second = (int(clock[1]), int(clock[2]), int(clock[3] or 0)) if clock else (0, 0, 0)
    if clock and clock[4] and hour <= 12:
        hour = hour % 12 + (12 if clock[4] in "pP" else 0)
    try:
        moment = datetime(*date[:3], hour, minute, min(second, 59), tzinfo=UTC)
        return (moment - EPOCH) // timedelta(milliseconds=1) - (_offset_ms(offset) if offset else 0)
    except (ValueError, OverflowError):
        return None


def numbers_in(text: str) -> tuple[int, int, int] | None:
    """The three numbers of a date that names no month, as they stand; None if there are none."""
    if any(MONTHS.get(found[2][:3].lower()) for found in _NAMED.finditer(text)):
        return None
    found = _NUMBERED.search(text)
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def _offset_ms(found: re.Match[str]) -> int:
    sign, hours, minutes = (found[1], found[2], found[3]) if found[1] else (found[4], found[5], found[6])
    size = (int(hours or 0) * 60 + int(minutes or 0)) * MINUTE_MS
    return -size if sign == "-" else size


def _date(text: str, order: str) -> tuple[int, int, int, str] | None:
    """Year, month, day, and the piece of text that says so."""
    for found in _NAMED.finditer(_WEEKDAY.sub("", text)):
        month = MONTHS.get(found[2][:3].lower())
        if month and found[1]:  # 9 December 2022
            return _year(int(found[3])), month, int(found[1]), _piece(found, 3)
        if month and found[4]:  # December 9, 2022
            return int(found[4]), month, int(found[3]), found[0]
    numbers = _NUMBERED.search(text)
    if numbers is None:
        return None
    first, second, third = (int(number) for number in numbers.groups())
    if len(numbers[1]) > 2:
        return first, second, third, numbers[0]
    if second > 12 or (order == "mdy" and first <= 12):
        first, second = second, first
    return _year(third), second, first, numbers[0]


def _piece(found: re.Match[str], group: int) -> str:
    return found.string[found.start() : found.end(group)]


def _year(year: int) -> int:
    return year + 2000 if year < 70 else year + 1900 if year < 100 else year
