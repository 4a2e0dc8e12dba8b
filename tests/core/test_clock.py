"""The hybrid clock: never backwards, never after the fact, and never so far ahead that it hides its own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core.clock import at, is_ahead, tick
from quire.core.limits import AHEAD_MS_MAX, TIME_MS_MAX
from quire.errors import UsageError

NOW = 1_700_000_000_000
clocks = st.integers(0, TIME_MS_MAX)


def test_a_tick_is_the_wall_clock_when_nothing_is_newer() -> None:
    assert tick(NOW, 0) == at(NOW)
    assert tick(NOW, at(NOW - 1, 0xFFFF)) == at(NOW)


def test_a_tick_follows_what_is_known() -> None:
    assert tick(NOW, at(NOW)) == at(NOW, 1)
    assert tick(NOW, at(NOW + 5, 7)) == at(NOW + 5, 8)
    assert tick(NOW, at(NOW, 0xFFFF)) == at(NOW + 1)  # a full counter carries into the next millisecond


@given(clocks, st.integers(0, at(TIME_MS_MAX)))
def test_a_tick_is_after_all_that_is_believed_and_never_ahead(now_ms: int, newest: int) -> None:
    time = tick(now_ms, newest)
    assert time >= at(now_ms)
    assert not is_ahead(time, now_ms)
    assert time > newest or is_ahead(newest + 1, now_ms)


def test_ahead_is_beyond_the_bound_not_at_it() -> None:
    assert not is_ahead(at(NOW + AHEAD_MS_MAX, 0xFFFF), NOW)
    assert is_ahead(at(NOW + AHEAD_MS_MAX + 1), NOW)


def test_many_events_in_one_millisecond_stay_in_order() -> None:
    times, newest = [], 0
    for _ in range(70_000):
        newest = tick(NOW, newest)
        times.append(newest)
    assert times == sorted(set(times))


@pytest.mark.parametrize("now_ms", [-1, TIME_MS_MAX + 1])
def test_an_impossible_wall_clock_is_refused(now_ms: int) -> None:
    with pytest.raises(UsageError) as refusal:
        tick(now_ms, 0)
    assert refusal.value.rule == "clock_out_of_range"
