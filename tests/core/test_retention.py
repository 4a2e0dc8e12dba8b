"""What is let go, as decided: one test for each clause of docs/spec/12-retention.md, sections 2 and 3."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

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
    goes,
    keeping_bounds,
    looser,
    posted_bounds,
    read_bounds,
    sized_from,
    spans,
    written_since,
)

DAY = 86_400_000
NOW = 1_000 * DAY
times = st.integers(1, NOW).map(at)
PAUSE = at(30 * DAY)


def in_thread(facts: Facts, replies: list[int]) -> Facts:
    """The same in a thread with replies at these times."""
    if not replies:
        return facts
    newest_first = sorted(replies, reverse=True)
    since = {PAUSE: written_since(newest_first, PAUSE)}
    return structs.replace(facts, thread_time=newest_first[0], thread_since=since)


facts_of = st.builds(Facts, times, st.booleans(), st.booleans(), st.booleans(), st.booleans())
threads = st.lists(times, max_size=4)
cuts = st.builds(Cut, times, st.integers(0, EXEMPT_ALL), st.sampled_from(["too_old", "too_many"]))
windows = st.builds(Window, times, times, st.just("disappeared"), st.one_of(st.none(), st.booleans()))
bounds = st.builds(Bounds, st.tuples(cuts) | st.tuples(cuts, cuts), st.tuples() | st.tuples(windows))
acts_of = st.lists(st.tuples(times, st.sampled_from([0, DAY, 7 * DAY, 400 * DAY])), max_size=5).map(
    lambda found: sorted(found)
)


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
        found = posted_bounds(acts, NOW)
        assert (goes(found, Facts(at(day * DAY))) == "disappeared") == expected, day
    soon = posted_bounds(acts, 206 * DAY)
    assert goes(soon, Facts(at(198 * DAY)))
    assert not goes(soon, Facts(at(201 * DAY)))  # thirty days have not passed
    assert not goes(soon, Facts(at(199 * DAY + 1)))


def test_a_timer_from_reading_begins_with_the_first_reading() -> None:
    acts = [(at(100 * DAY), DAY)]

    def read_before(moment_ms: int) -> int:
        return at(150 * DAY) if moment_ms >= 200 * DAY else -1

    early, late = (read_bounds(acts, day * DAY, read_before) for day in (200, 201))
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


@given(st.integers(0, EXEMPT_ALL), facts_of, threads)
def test_what_is_spared(exempt: int, facts: Facts, replies: list[int]) -> None:
    facts = in_thread(facts, replies)
    bound = kept_for(30, exempt)
    floor = at(NOW - 30 * DAY)
    spared = (
        (exempt & EXEMPT_PINS and facts.pinned and not facts.deleted)
        or (exempt & EXEMPT_BOOKMARKS and facts.bookmarked and not facts.deleted)
        or (exempt & EXEMPT_THREADS and goes_on(facts.time, replies, floor))
    )
    assert bool(goes(bound, facts)) == (facts.time < floor and not spared)


def goes_on(time: int, replies: list[int], floor: int) -> bool:
    """In the words of the clause: its newest reply stands, and from it on nobody was silent for so long."""
    if max(replies, default=-1) < floor:
        return False
    later = sorted(reply for reply in replies if reply >= time)
    return all(then - before <= PAUSE for before, then in pairwise([time, *later]))


def test_a_pin_holds_against_the_channel_and_not_against_the_device() -> None:
    old = Facts(at(NOW - 50 * DAY), pinned=True)
    assert goes(kept_for(30), old) == ""
    assert goes(kept_for(30) + kept_for(40, exempt=0), old) == "too_old"


def test_a_thread_stays_whole_and_goes_whole() -> None:
    bound, old = kept_for(30), at(NOW - 90 * DAY)
    replies = [at(NOW - day * DAY) for day in (1, 25, 50, 70)]
    assert goes(bound, in_thread(Facts(old), replies)) == ""
    assert goes(bound, in_thread(Facts(old, deleted=True), replies)) == ""
    assert goes(bound, in_thread(Facts(old), [at(NOW - 31 * DAY)])) == "too_old"


def test_a_reply_after_a_long_pause_brings_nothing_back() -> None:
    """Whoever was online in the pause has let go of what was before it: so does who was not."""
    bound, old, reply = kept_for(30), Facts(at(NOW - 90 * DAY)), at(NOW - DAY)
    assert goes(bound, in_thread(old, [reply])) == "too_old"
    assert goes(bound, in_thread(Facts(at(NOW - 40 * DAY)), [reply, at(NOW - 29 * DAY)])) == ""
    by_count = keeping_bounds(Keeping(count=3), 0, NOW, at(NOW - 10 * DAY))
    assert goes(by_count, in_thread(old, [reply])) == ""


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
