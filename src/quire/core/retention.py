"""What is let go, and when: from policies and facts of messages to a decision (docs/spec/12-retention.md).

Pure, so that all devices with the same policies, messages and clock come to the same. There are two kinds of bounds.
A `Cut` lets go of everything before a time, except what its policy spares; a `Window` of everything in a span of time
that one kind of message falls into, and spares nothing. `bounds_of` makes them from policies, `goes` asks them. Where
several are in force a message goes if any one says so: the stricter counts, whoever set it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from quire.core.clock import at
from quire.core.control import EXEMPT_ALL, EXEMPT_BOOKMARKS, EXEMPT_PINS, EXEMPT_THREADS

Acts: TypeAlias = Sequence[tuple[int, int]]  # (hybrid time, value) of what set a policy, in order of time

RETENTION = ("keep", "keep_count", "keep_bytes", "keep_attachments", "exempt")
TIMERS = ("disappear", "disappear_read")
EXEMPTIONS = {"pins": EXEMPT_PINS, "bookmarks": EXEMPT_BOOKMARKS, "threads": EXEMPT_THREADS}


class Keeping(msgspec.Struct, frozen=True):
    """What a policy keeps. 0 is no bound."""

    age_ms: int = 0
    count: int = 0  # of messages
    size_bytes: int = 0  # of their operations
    attachments_ms: int = 0
    exempt: int = EXEMPT_ALL  # EXEMPT_PINS | EXEMPT_BOOKMARKS | EXEMPT_THREADS

    @property
    def is_bounded(self) -> bool:
        """Is anything ever let go by it?"""
        return bool(self.age_ms or self.count or self.size_bytes or self.attachments_ms)


class Cut(msgspec.Struct, frozen=True):
    """All before a time goes, but for what is spared."""

    before: int  # hybrid
    exempt: int
    rule: str
    pause: int = 0  # a thread in which nobody wrote for longer, hybrid, begins anew; 0: however long


class Window(msgspec.Struct, frozen=True):
    """All of a span of time goes."""

    first: int  # hybrid
    end: int  # the first that does not
    rule: str
    own: bool | None = None  # only what we wrote, only what others did; None: all


class Bounds(msgspec.Struct, frozen=True):
    """What is in force in a channel at one moment."""

    cuts: tuple[Cut, ...] = ()
    windows: tuple[Window, ...] = ()
    attachments: tuple[Cut, ...] = ()

    @property
    def end(self) -> int:
        """Nothing from this hybrid time on goes."""
        return max([*(cut.before for cut in self.cuts), *(window.end for window in self.windows)], default=0)

    @property
    def floor(self) -> int:
        """Before this hybrid time nothing stands but what is spared."""
        return max((cut.before for cut in self.cuts), default=0)

    def __add__(self, other: Bounds) -> Bounds:
        """Both in force at once."""
        return Bounds(
            self.cuts + other.cuts, self.windows + other.windows, self.attachments + other.attachments
        )


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What counts of one message."""

    time: int  # hybrid: its order time, and of an import no later than its commit's
    own: bool = False
    pinned: bool = False
    bookmarked: bool = False
    deleted: bool = False
    thread_time: int = -1  # of the newest standing reply in its thread, if it is in one
    thread_since: Mapping[int, int] = {}  # pause -> `written_since` of the standing replies there


# What a cut spares, one rule for each exemption.


def is_pinned(facts: Facts, cut: Cut) -> bool:
    """A pin holds a message as long as it stands; a deleted message has nothing to hold."""
    return facts.pinned and not facts.deleted


def is_bookmarked(facts: Facts, cut: Cut) -> bool:
    """A bookmark holds it where it is bookmarked: for the person's own devices, as nobody else knows."""
    return facts.bookmarked and not facts.deleted


def is_in_a_thread_that_goes_on(facts: Facts, cut: Cut) -> bool:
    """A thread stays whole as long as its newest reply does: also what in it is older, or deleted.

    Not what came before so long a pause that it would have gone in it: who was online then let it go.
    """
    if facts.thread_time < cut.before:
        return False
    return not cut.pause or facts.time + cut.pause >= facts.thread_since[cut.pause]


def written_since(times: Iterable[int], pause: int) -> int:
    """Since when a thread has gone on without a longer pause.

    times    of its replies, the newest first; at least one
    """
    since = -1
    for time in times:
        if since >= 0 and since - time > pause:
            break
        since = time
    return since


SPARED: tuple[tuple[int, Callable[[Facts, Cut], bool]], ...] = (
    (EXEMPT_PINS, is_pinned),
    (EXEMPT_BOOKMARKS, is_bookmarked),
    (EXEMPT_THREADS, is_in_a_thread_that_goes_on),
)


def is_spared(facts: Facts, cut: Cut) -> bool:
    """Does the policy that a cut comes from hold this message all the same?"""
    return any(cut.exempt & bit and rule(facts, cut) for bit, rule in SPARED)


def goes(bounds: Bounds, facts: Facts) -> str:
    """The rule by which a message goes; "" if it stays."""
    for window in bounds.windows:
        if window.first <= facts.time < window.end and window.own in (None, facts.own):
            return window.rule
    for cut in bounds.cuts:
        if facts.time < cut.before and not is_spared(facts, cut):
            return cut.rule
    return ""


# From policies to bounds.


def spans(acts: Acts, now_ms: int) -> Iterator[tuple[int, int, int]]:
    """(from, until, value) of each time that a policy was not 0, up to now; `until` is the first that is not in it."""
    now = at(now_ms) + 1
    for place, (since, value) in enumerate(acts):
        until = min(acts[place + 1][0] if place + 1 < len(acts) else now, now)
        if value and since < until:
            yield since, until, value


def age_floor(acts: Acts, now_ms: int) -> int:
    """Before this hybrid time all has been too old at some moment: a policy that was loosened brings nothing back."""
    return max((until - at(value) for _, until, value in spans(acts, now_ms)), default=0)


def posted_windows(acts: Acts, now_ms: int) -> Iterator[Window]:
    """What disappears a while after it was posted: by the timer that stood when it was."""
    for since, until, value in spans(acts, now_ms):
        yield Window(since, min(until, at(now_ms - value)), "disappeared")


def read_windows(acts: Acts, now_ms: int, read_before: Callable[[int], int]) -> Iterator[Window]:
    """What disappears a while after it was read: what others wrote, from our first reading; our own, from writing it.

    read_before    up to which hybrid time messages had been read by a moment, Unix ms; -1 if none had
    """
    for since, until, value in spans(acts, now_ms):
        yield Window(since, min(until, at(now_ms - value)), "disappeared_read", True)
        yield Window(since, min(until, read_before(now_ms - value) + 1), "disappeared_read", False)


def posted_bounds(acts: Acts, now_ms: int) -> Bounds:
    """What a timer from posting lets go by now."""
    return _windows(posted_windows(acts, now_ms))


def read_bounds(acts: Acts, now_ms: int, read_before: Callable[[int], int]) -> Bounds:
    """What a timer from reading lets go by now, for one person."""
    return _windows(read_windows(acts, now_ms, read_before))


def _windows(found: Iterable[Window]) -> Bounds:
    return Bounds(windows=tuple(window for window in found if window.first < window.end))


def keeping_bounds(
    keeping: Keeping, age: int, now_ms: int, count_from: int = 0, size_from: int = 0
) -> Bounds:
    """The cuts of one policy.

    age           what is older goes, hybrid (`age_floor`, or for a policy without a past `now - keeping.age_ms`)
    count_from    hybrid time of the oldest message that its count keeps
    size_from     the same for its size
    """
    cuts = ((age, "too_old"), (count_from, "too_many"), (size_from, "too_much"))
    files = at(now_ms - keeping.attachments_ms) if keeping.attachments_ms else 0
    pause = at(keeping.age_ms)
    return Bounds(
        cuts=tuple(Cut(before, keeping.exempt, rule, pause) for before, rule in cuts if before > 0),
        attachments=(Cut(files, keeping.exempt, "attachment_too_old"),) if files > 0 else (),
    )


def is_settled(bounds: Bounds, first: int, last: int) -> bool:
    """Is everything from one hybrid time to another too old for everybody, whatever anybody has?"""
    return any(cut.rule == "too_old" and last < cut.before for cut in bounds.cuts) or any(
        window.own is None and window.first <= first and last < window.end for window in bounds.windows
    )


def looser(here: Keeping, channel: Keeping) -> list[str]:
    """Where a policy of one device would keep more than its channel's does, which it cannot: the names."""
    pairs = (
        ("keep", here.age_ms, channel.age_ms), ("keep_count", here.count, channel.count),
        ("keep_bytes", here.size_bytes, channel.size_bytes),
        ("keep_attachments", here.attachments_ms, channel.attachments_ms),
    )  # fmt: skip
    return [name for name, ours, theirs in pairs if ours and theirs and ours > theirs]


def sized_from(sizes: Iterable[tuple[int, int]], size_bytes: int) -> int:
    """The time of the oldest message that still fits with all newer ones into a size; 0 if all do. The newest always does.

    sizes    (time, bytes) of the messages that stand, the newest first
    """
    last, total = 0, 0
    for time, size in sizes:
        total += size
        if total > size_bytes:
            return last or time
        last = time
    return 0
