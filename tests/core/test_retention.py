"""What is let go, as decided: one test for each clause of docs/spec/12-retention.md, sections 2 and 3."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quire.core.clock import at
from quire.core.control import EXEMPT_ALL, EXEMPT_BOOKMARKS, EXEMPT_PINS, EXEMPT_THREADS
from quire.core.retention import (
    Acts,
    Bounds,
    Cut,
    Facts,
    Keeping,
    Window,
    age_floor,
    counted_from,
    goes,
    keeping_bounds,
    looser,
    sized_from,
    spans,
    timer_bounds,
)

DAY = 86_400_000
NOW = 1_000 * DAY
times = st.integers(0, NOW).map(at)
facts_of = st.builds(
    Facts, times, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.one_of(st.just(-1), times)
)
cuts = st.builds(Cut, times, st.integers(0, EXEMPT_ALL), st.sampled_from(["too_old", "too_many"]))
windows = st.builds(Window, times, times, st.just("disappeared"), st.one_of(st.none(), st.booleans()))
bounds = st.builds(Bounds, st.tuples(cuts) | st.tuples(cuts, cuts), st.tuples() | st.tuples(windows))
acts_of = st.lists(st.tuples(times, st.sampled_from([0, DAY, 7 * DAY, 400 * DAY])), max_size=5).map(
    lambda found: sorted(found)
)


def never(moment_ms: int) -> int:
    return -1


def kept_for(days: int, exempt: int = EXEMPT_ALL) -> Bounds:
    return keeping_bounds(Keeping(days * DAY, exempt=exempt), at(NOW - days * DAY), NOW)


# 2.2 Age


def test_what_is_older_than_the_policy_goes_and_the_rest_stays() -> None:
    bound = kept_for(30)
    assert goes(bound, Facts(at(NOW - 30 * DAY) - 1)) == "too_old"
    assert goes(bound, Facts(at(NOW - 30 * DAY))) == ""
    assert goes(Bounds(), Facts(0)) == ""


@given(acts_of, st.integers(0, 100 * DAY))
def test_the_floor_never_falls(acts: Acts, later: int) -> None:
    """As time goes by, and whatever is set next: a loosened policy brings nothing back."""
    now = age_floor(acts, NOW)
    assert age_floor(acts, NOW + later) >= now
    for value in (0, DAY, 900 * DAY):
        assert age_floor([*acts, (at(NOW + later) + 1, value)], NOW + later) >= now


def test_an_act_of_a_time_to_come_has_no_effect_yet() -> None:
    assert age_floor([(at(NOW + DAY), DAY)], NOW) == 0
    assert list(spans([(at(NOW + DAY), DAY)], NOW)) == []


# 2.3, 2.4 Count and size


@given(st.lists(times, min_size=1, max_size=30), st.integers(1, 40))
def test_of_a_count_the_newest_are_kept(found: list[int], count: int) -> None:
    newest_first = sorted(found, reverse=True)
    start = counted_from(newest_first, count)
    kept = [time for time in found if time >= start]
    assert len(kept) >= min(count, len(found))
    assert len([time for time in kept if time > start]) < count


@given(st.lists(st.tuples(times, st.integers(1, 500)), min_size=1, max_size=30), st.integers(1, 5_000))
def test_of_a_size_the_newest_that_fit_are_kept(found: list[tuple[int, int]], size: int) -> None:
    newest_first = sorted(found, key=lambda one: -one[0])
    start = sized_from(newest_first, size)
    strictly = sum(bytes_ for time, bytes_ in found if time > start)
    assert strictly <= size
    if start == 0:
        assert sum(bytes_ for _, bytes_ in found) <= size


def test_the_newest_message_fits_always() -> None:
    assert sized_from([(at(7), 100)], 1) <= at(7)
    assert (
        goes(keeping_bounds(Keeping(size_bytes=1), 0, NOW, 0, sized_from([(at(7), 100)], 1)), Facts(at(7)))
        == ""
    )


# 2.6, 2.7 Timers


def test_a_timer_is_that_of_when_the_message_was_posted() -> None:
    acts = [(at(100 * DAY), 7 * DAY), (at(200 * DAY), 30 * DAY), (at(300 * DAY), 0)]
    for day, expected in ((99, False), (100, True), (199, True), (250, True), (299, True), (301, False)):
        found = timer_bounds(acts, (), NOW, never)
        assert (goes(found, Facts(at(day * DAY))) == "disappeared") == expected, day
    soon = timer_bounds(acts, (), 206 * DAY, never)
    assert goes(soon, Facts(at(198 * DAY)))
    assert not goes(soon, Facts(at(201 * DAY)))  # thirty days have not passed
    assert not goes(soon, Facts(at(199 * DAY + 1)))


def test_a_timer_from_reading_begins_with_the_first_reading() -> None:
    acts = [(at(100 * DAY), DAY)]

    def read_before(moment_ms: int) -> int:
        return at(150 * DAY) if moment_ms >= 200 * DAY else -1

    early, late = (timer_bounds((), acts, day * DAY, read_before) for day in (200, 201))
    message = Facts(at(120 * DAY))
    assert goes(early, message) == ""
    assert goes(late, message) == "disappeared_read"
    assert goes(late, Facts(at(160 * DAY))) == ""  # nobody read it yet
    assert goes(early, Facts(at(120 * DAY), own=True)) == "disappeared_read"  # its author has, in writing it


@given(bounds, facts_of)
def test_nothing_is_spared_from_a_timer(found: Bounds, one: Facts) -> None:
    timers = Bounds(windows=found.windows)
    bare = Facts(one.time, one.own)
    assert goes(timers, one) == goes(timers, bare)


# 2.8, 3 Where rules meet


@given(bounds, bounds, facts_of)
def test_of_several_the_stricter_counts(one: Bounds, other: Bounds, facts: Facts) -> None:
    assert bool(goes(one + other, facts)) == bool(goes(one, facts) or goes(other, facts))


@given(st.integers(0, EXEMPT_ALL), facts_of)
def test_what_is_spared(exempt: int, facts: Facts) -> None:
    bound = kept_for(30, exempt)
    floor = at(NOW - 30 * DAY)
    spared = (
        (exempt & EXEMPT_PINS and facts.pinned and not facts.deleted)
        or (exempt & EXEMPT_BOOKMARKS and facts.bookmarked and not facts.deleted)
        or (exempt & EXEMPT_THREADS and facts.thread_time >= floor)
    )
    assert bool(goes(bound, facts)) == (facts.time < floor and not spared)


def test_a_pin_holds_against_the_channel_and_not_against_the_device() -> None:
    old = Facts(at(NOW - 50 * DAY), pinned=True)
    assert goes(kept_for(30), old) == ""
    assert goes(kept_for(30) + kept_for(40, exempt=0), old) == "too_old"


def test_a_thread_stays_whole_and_goes_whole() -> None:
    bound, old, recent = kept_for(30), at(NOW - 90 * DAY), at(NOW - DAY)
    assert goes(bound, Facts(old, thread_time=recent)) == ""
    assert goes(bound, Facts(old, deleted=True, thread_time=recent)) == ""
    assert goes(bound, Facts(old, thread_time=at(NOW - 31 * DAY))) == "too_old"


@given(bounds, facts_of)
def test_bounds_say_where_they_end(found: Bounds, facts: Facts) -> None:
    """What store/retention.py reads up to `end` is all that can go."""
    if goes(found, facts):
        assert facts.time < found.end
        assert facts.time < found.floor or found.windows


def test_a_device_keeps_no_longer_than_its_channel() -> None:
    channel = Keeping(30 * DAY, 1_000)
    assert looser(Keeping(7 * DAY, 100), channel) == []
    assert looser(Keeping(60 * DAY, 100), channel) == ["keep"]
    assert looser(Keeping(count=2_000), channel) == ["keep_count"]
    assert looser(Keeping(60 * DAY), Keeping()) == []
