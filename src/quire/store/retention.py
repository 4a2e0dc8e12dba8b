"""What is to go from a channel, here and now: its policies, read from rows, and the messages they are about.

core/retention.py decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import apsw
import msgspec

from quire.core import retention
from quire.core.clock import at
from quire.core.control import EXEMPT_ALL, EXEMPT_BOOKMARKS, EXEMPT_PINS, EXEMPT_THREADS
from quire.core.operation import KINDS, Edit, Post, React, Unreact, stored_operation
from quire.core.retention import Acts, Bounds, Facts, Keeping
from quire.storage import log
from quire.storage import retention as rows
from quire.storage.cold import is_reference
from quire.storage.retention import Candidate
from quire.storage.timeline import DELETED, OURS, PINNED

SCAN = 4_096  # messages read at once
THREADS_MAX = 10_000  # threads that are remembered while messages are looked at


def keeping(values: Mapping[str, int]) -> Keeping:
    """A policy by the names of its parts."""
    return Keeping(
        values.get("keep", 0), values.get("keep_count", 0), values.get("keep_bytes", 0),
        values.get("keep_attachments", 0), values.get("exempt", EXEMPT_ALL),
    )  # fmt: skip


def values(keeping: Keeping) -> dict[str, int]:
    """The parts of a policy by name."""
    found = (keeping.age_ms, keeping.count, keeping.size_bytes, keeping.attachments_ms, keeping.exempt)
    return dict(zip(retention.RETENTION, found, strict=True))


def now_in_force(acts: Mapping[str, Acts]) -> dict[str, int]:
    """The value that each policy has."""
    return {name: found[-1][1] for name, found in acts.items() if found}


def bounds(db: apsw.Connection, channel: log.ChannelRow, now_ms: int) -> Bounds:
    """All that is in force in a channel on this device."""
    return bounds_apart(db, channel, now_ms)[1]


def bounds_apart(
    db: apsw.Connection, channel: log.ChannelRow, now_ms: int, *, counted: bool = True
) -> tuple[Bounds, Bounds]:
    """What everybody in a channel lets go; and that with what only this device or its person does.

    counted    by count and size too, for which what is here is looked through
    """
    acts, here = rows.policies(db, channel.n), rows.here(db, channel.n)
    everybody = channel_bounds(db, channel, acts, now_ms, counted=counted)
    both = everybody + retention.read_bounds(
        acts.get("disappear_read", ()), now_ms, lambda moment_ms: rows.read_before(db, channel.id, moment_ms)
    )
    if here:
        both += here_bounds(db, channel, keeping(here), now_ms, counted=counted)
    return everybody, both


def channel_bounds(
    db: apsw.Connection,
    channel: log.ChannelRow,
    acts: Mapping[str, Acts],
    now_ms: int,
    *,
    counted: bool = True,
) -> Bounds:
    """What everybody in the channel lets go."""
    if not acts:
        return Bounds()
    policy = keeping(now_in_force(acts))
    age = retention.age_floor(acts.get("keep", ()), now_ms)
    found = _counted(db, channel, policy) if counted else (0, 0)
    kept = retention.keeping_bounds(policy, age, now_ms, *found)
    return kept + retention.posted_bounds(acts.get("disappear", ()), now_ms)


def here_bounds(
    db: apsw.Connection, channel: log.ChannelRow, policy: Keeping, now_ms: int, *, counted: bool = True
) -> Bounds:
    """What this device lets go besides."""
    age = at(now_ms - policy.age_ms) if policy.age_ms else 0
    found = _counted(db, channel, policy) if counted else (0, 0)
    return retention.keeping_bounds(policy, age, now_ms, *found)


def _counted(db: apsw.Connection, channel: log.ChannelRow, policy: Keeping) -> tuple[int, int]:
    """From when on a policy's count and size keep what is here."""
    count = size = 0
    if policy.count and channel.messages >= policy.count:
        count = rows.time_of_newest(db, channel.n, channel.messages, policy.count)
    if policy.size_bytes:
        size = retention.sized_from(rows.sizes_newest_first(db, channel.n), policy.size_bytes)
    return count, size


class Looking:
    """Facts of messages under one set of bounds. Threads are looked at only where they decide."""

    def __init__(self, db: apsw.Connection, bounds: Bounds) -> None:
        self._db = db
        self._bounds = bounds
        sparing = [cut for cut in (*bounds.cuts, *bounds.attachments) if cut.exempt & EXEMPT_THREADS]
        self._least = min(
            (cut.before for cut in sparing), default=None
        )  # a thread that ended before spares nothing
        self._pauses = {cut.pause for cut in sparing if cut.pause}
        self._threads: dict[bytes, dict[int, int]] = {}

    def facts(self, one: Candidate) -> Facts:
        """What counts of a message."""
        flags = one.flags
        return Facts(
            one.time, bool(flags & OURS), bool(flags & PINNED), bool(one.bookmarked), bool(flags & DELETED),
            one.thread_time, self._thread(one),
        )  # fmt: skip

    def goes(self, one: Candidate) -> str:
        """The rule by which it goes; "" if it stays."""
        return retention.goes(self._bounds, self.facts(one))

    def _thread(self, one: Candidate) -> dict[int, int]:
        """Since when its thread has gone on, by how long a pause ends that."""
        if self._least is None or one.thread_time < self._least or not self._pauses:
            return {}
        found = self._threads.get(one.thread)
        if found is None:
            if len(self._threads) >= THREADS_MAX:
                self._threads.clear()
            found = self._threads[one.thread] = {
                pause: retention.written_since(rows.reply_times(self._db, one.thread), pause)
                for pause in self._pauses
            }
        return found


def surely(found: Bounds) -> str:
    """SQL about a row m of `message`: does it go, as its own row and its thread's say at once? Of most that go it is true;
    the others are looked at one by one (`expired`)."""
    windows = [rows.in_span(one.first, one.end, one.own) for one in found.windows]
    cuts = [
        rows.before_unless(
            one.before,
            pins=bool(one.exempt & EXEMPT_PINS),
            bookmarks=bool(one.exempt & EXEMPT_BOOKMARKS),
            threads=bool(one.exempt & EXEMPT_THREADS),
        )
        for one in found.cuts
    ]
    return f"({' OR '.join([*windows, *cuts]) or '0'})"


def expired(
    db: apsw.Connection,
    channel: log.ChannelRow,
    found: Bounds,
    after: tuple[int, bytes] = (-1, b""),
    but: str = "0",
) -> Iterator[tuple[Candidate, str]]:
    """The messages of a channel that go, the oldest first, each with the rule that says so.

    but    `surely`: without those
    """
    looking = Looking(db, found)
    while some := rows.candidates(db, channel.n, found.end, after, SCAN, but):
        for one in some:
            if rule := looking.goes(one):
                yield one, rule
        after = (some[-1].time, some[-1].id)


def expired_of(db: apsw.Connection, found: Bounds, ids: Sequence[bytes]) -> list[bytes]:
    """Those of these operations that are messages and go."""
    looking = Looking(db, found)
    return [one.id for one in rows.candidates_of(db, ids) if looking.goes(one)]


def hidden(db: apsw.Connection, channel: log.ChannelRow, now_ms: int) -> set[bytes]:
    """Messages that are here for a bookmark of ours alone, and what is on them: gone for everybody else, given to nobody."""
    if not (marked := rows.bookmarked(db, channel.id)) or not (acts := rows.policies(db, channel.n)):
        return set()
    looking = Looking(db, channel_bounds(db, channel, acts, now_ms))
    alone = [
        one.id
        for one in rows.candidates_of(db, marked)
        if looking.goes(msgspec.structs.replace(one, bookmarked=0))
    ]
    return {*alone, *rows.ids_on(db, alone)}


class Preview(msgspec.Struct):
    """What a policy would let go now."""

    messages: int = 0
    deleted: int = 0  # of these, how many were deleted before
    reactions: int = 0  # given and taken back
    versions: int = 0  # edits
    attachments: int = 0  # named by those messages
    operations: int = 0  # all in all
    size_bytes: int = 0  # what they take in the log
    oldest_ms: int | None = None
    newest_ms: int | None = None
    rules: dict[str, int] = {}  # why -> messages
    years: dict[int, int] = {}  # when they are from -> messages


def preview(db: apsw.Connection, channel: log.ChannelRow, found: Bounds) -> Preview:
    """Count what would go."""
    seen = Preview()
    for one, rule in expired(db, channel, found):
        _count(db, one, rule, seen)
    return seen


def weigh(db: apsw.Connection, channel: log.ChannelRow, found: Bounds) -> tuple[int, int]:
    """How many messages would go, and the bytes of all operations that would."""
    sure = surely(found)
    messages, size = rows.weight(db, channel.n, found.end, sure)
    seen = Preview()
    for one, rule in expired(db, channel, found, but=sure):
        _count(db, one, rule, seen)
    return messages + seen.messages, size + seen.size_bytes


def _count(db: apsw.Connection, one: Candidate, rule: str, seen: Preview) -> None:
    op = rows.post_bytes(db, one.id)
    seen.messages += 1
    seen.deleted += bool(one.flags & DELETED)
    seen.operations += 1
    seen.size_bytes += len(op)
    if not is_reference(op):
        post = stored_operation(op)
        assert isinstance(post, Post)
        seen.attachments += len(post.attachments)
    seen.rules[rule] = seen.rules.get(rule, 0) + 1
    time_ms = one.time >> 16
    seen.oldest_ms = time_ms if seen.oldest_ms is None else min(seen.oldest_ms, time_ms)
    seen.newest_ms = time_ms if seen.newest_ms is None else max(seen.newest_ms, time_ms)
    year = datetime.fromtimestamp(time_ms / 1000, UTC).year
    seen.years[year] = seen.years.get(year, 0) + 1
    for kind, size in rows.on_message(db, one.id):
        seen.operations += 1
        seen.size_bytes += size
        seen.versions += kind == KINDS[Edit]
        seen.reactions += kind in (KINDS[React], KINDS[Unreact])
