"""Hybrid logical clock: 48 bits of Unix milliseconds, 16 bits of counter, in one integer.

Source: Kulkarni, Demirbas et al., "Logical Physical Clocks" (2014), with the pair packed as in its
section 6. A time is never clamped: what lies beyond `AHEAD_MS_MAX` is held until its time comes, so
that every replica gives every operation the same place.
"""

from __future__ import annotations

from quire.core.limits import AHEAD_MS_MAX, TIME_MS_MAX
from quire.errors import UsageError

COUNTER_BITS = 16


def at(ms: int, counter: int = 0) -> int:
    """The hybrid time of a millisecond."""
    return ms << COUNTER_BITS | counter


def tick(now_ms: int, newest: int) -> int:
    """The time of a new event, after every event known (`newest`) and not before the wall clock.

    If that would be ahead of the clock (which was set back), `newest` does not count: a message of our own
    that is held even here would be lost to whoever wrote it.

    Raises: UsageError(rule="clock_out_of_range") if the machine's clock is beyond year 2248 or before 1970.
    """
    if not 0 <= now_ms <= TIME_MS_MAX:
        raise UsageError("this machine's clock is far off", rule="clock_out_of_range", hint="set the date")
    now = at(now_ms)
    return now if newest < now or is_ahead(newest + 1, now_ms) else newest + 1


def is_ahead(time: int, now_ms: int) -> bool:
    """Must an operation of this time be held?"""
    return time >> COUNTER_BITS > now_ms + AHEAD_MS_MAX
