"""Text and times as the files of others have them, made fit for records.

Every importer puts what it takes from a file through these few functions: text without lone
surrogates (they cannot be encoded, so they cannot be stored), times as Unix milliseconds within
bounds. A value that makes no sense is None, never an exception: bad input is normal input.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo

__all__ = ["TIME_MAX_MS", "clean", "iso_ms", "millis", "string", "time_ms", "valid_time_ms"]

TIME_MAX_MS = 7_258_118_400_000  # 2200-01-01: later is a broken number, not a message from the future

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
SURROGATE = re.compile("[\ud800-\udfff]")
DECIMAL = re.compile(r"(\d{1,16})(?:\.(\d*))?", re.ASCII)


def clean(text: str) -> str:
    """`text` with surrogate pairs joined and every lone surrogate replaced by U+FFFD."""
    if text.isascii() or SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def string(value: object) -> str:
    """A JSON value as clean text: strings and plain numbers; "" for all else, null above all."""
    if type(value) is str:
        return clean(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return str(value)
    except ValueError:  # an integer of more digits than Python will print
        return ""


def valid_time_ms(value: object) -> int | None:
    """`value` if it is a whole number of milliseconds from 1970 to 2200."""
    if type(value) is int and 0 <= value < TIME_MAX_MS:
        return value
    return None


def time_ms(value: object) -> int | None:
    """Unix seconds (a number, or digits with or without a fraction) as milliseconds, rounded down."""
    if type(value) is str:
        if len(value) == 17 and value[10] == "." and value.isascii():  # Slack's: 1600000000.000100
            whole, part = value[:10], value[11:]
            if whole.isdecimal() and part.isdecimal():
                return int(whole + part[:3]) if whole < "7258118400" else None
        match = DECIMAL.fullmatch(value) or DECIMAL.fullmatch(value.strip())
        if match is None:
            return None
        return valid_time_ms(int(match[1]) * 1000 + int(((match[2] or "") + "000")[:3]))
    if type(value) is int:
        return valid_time_ms(value * 1000)
    if isinstance(value, float) and 0 <= value < TIME_MAX_MS:  # not NaN, and no overflow below
        # To the microsecond first: 1.001 * 1000 is 1000.9999...
        return valid_time_ms(round(value * 1_000_000) // 1000)
    return None


def millis(value: object) -> int | None:
    """Unix milliseconds (a number, or digits) as an int, rounded down."""
    if type(value) is str:
        match = DECIMAL.fullmatch(value) or DECIMAL.fullmatch(value.strip())
        return None if match is None else valid_time_ms(int(match[1]))
    if isinstance(value, float) and math.isfinite(value):
        return valid_time_ms(math.floor(value))
    return valid_time_ms(value)


def iso_ms(text: str, zone: tzinfo = UTC) -> int | None:
    """An ISO 8601 date and time as milliseconds; `zone` is for texts that name none."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return valid_time_ms((moment - EPOCH) // MILLISECOND)
    except (ValueError, OverflowError, TypeError):
        return None
