"""Unix times whose unit is not the one that the format has.

Tools that rewrite an export turn milliseconds into seconds, or seconds into nanoseconds, and keep the field's name. The
years 1990 to 2099 are four ranges of numbers that do not meet, one a unit, so a number tells its own. What lies in
none of them is taken as the format says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from quire.exchange.model import Warn
from quire.exchange.text import millis, time_ms, valid_time_ms

FROM_S, TO_S = 631_152_000, 4_102_444_800  # 1990 and 2100
FROM_MS, TO_MS = FROM_S * 1000, TO_S * 1000
NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
UNITS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}  # how many are a second


class Moments:
    """The times of one export, and how many of them were in another unit."""

    def __init__(self, unit: str) -> None:
        """unit   of the format: "s" or "ms" """
        self._unit = unit
        self._odd: Counter[str] = Counter()

    def ms(self, value: Any) -> int | None:
        """A number, or its digits, as milliseconds; None if it is none, or out of bounds."""
        if self._unit == "ms":
            if type(value) is int and FROM_MS <= value < TO_MS:
                return value
            found = millis(value)
        else:
            found = time_ms(value)
        if found is not None and FROM_MS <= found < TO_MS:
            return found
        unit = unit_of(value)
        if unit in ("", self._unit):
            return found
        self._odd[unit] += 1
        return valid_time_ms(int(float(value) * 1000) if unit == "s" else int(value) * 1000 // UNITS[unit])

    def warnings(self) -> Iterator[Warn]:
        for unit, count in sorted(self._odd.items()):
            yield Warn(f"{count:,} times are in {NAMES[unit]}, not in {NAMES[self._unit]}, and were read so")


def unit_of(value: Any) -> str:
    """The unit in which a number, or its digits, lies in 1990 to 2099; "" if there is none."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return ""
    return next((unit for unit, size in UNITS.items() if FROM_S <= number / size < TO_S), "")
