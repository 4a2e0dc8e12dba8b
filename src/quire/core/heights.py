"""Heights: how much of each log of a channel somebody has, and what another lacks of it.

What is here of a log is everything up to its last commit but the gaps, since history comes newest first and may stay
partial. Two who have the same say so in 16 bytes (`digest`). docs/spec/09-sync.md, section 2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from quire.core.encoding import encode
from quire.core.limits import GAPS_PER_LOG_MAX, SEQ_MAX

Span = tuple[int, int]  # first and last seq, both in it
DIGEST_SIZE = 16
LABEL = b"quire/v1 heights\x00"


class LogHeight(msgspec.Struct, array_like=True, frozen=True):
    """What somebody has of one log, or of a branch of it."""

    device: bytes
    incarnation: bytes
    branch: bytes  # empty: the log itself; else the id of the first commit on the branch
    last: int  # seq of the last commit
    id: bytes  # of that commit
    gaps: tuple[Span, ...] = ()  # ascending, none touches the next

    @property
    def log(self) -> tuple[bytes, bytes, bytes]:
        return self.device, self.incarnation, self.branch


def is_well_formed(height: LogHeight) -> bool:
    """Do its fields have sizes and an order that can be?"""
    sizes = (len(height.device), len(height.incarnation), len(height.id)) == (32, 16, 32)
    if not sizes or len(height.branch) not in (0, 32) or not 1 <= height.last <= SEQ_MAX:
        return False
    after = 0
    for first, last in height.gaps:
        if not after < first <= last < height.last:
            return False
        after = last + 1  # at least one commit is between two gaps
    return len(height.gaps) <= GAPS_PER_LOG_MAX


def digest(heights: Iterable[LogHeight]) -> bytes:
    """16 bytes that are alike where all heights are."""
    ordered = sorted(heights, key=lambda one: one.log)
    return hashlib.sha256(LABEL + encode(ordered)).digest()[:DIGEST_SIZE]


def coarse(gaps: Sequence[Span]) -> tuple[Span, ...]:
    """At most `GAPS_PER_LOG_MAX` gaps: the oldest become one, so that some of what is here is named as lacking."""
    if len(gaps) <= GAPS_PER_LOG_MAX:
        return tuple(gaps)
    cut = len(gaps) - GAPS_PER_LOG_MAX + 1
    return ((gaps[0][0], gaps[cut - 1][1]), *gaps[cut:])


def present(last: int, gaps: Iterable[Span]) -> list[Span]:
    """What is here of a log whose last commit has seq `last`."""
    return list(_without([(1, last)] if last else [], gaps))


def lacking(ours: Iterable[Span], theirs: Iterable[Span]) -> list[Span]:
    """What of ours is not theirs, ascending."""
    return list(_without(ours, theirs))


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same seqs in the fewest spans, ascending."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


def spans_of(seqs: Iterable[int]) -> list[Span]:
    """Runs of seqs that follow each other."""
    return joined((seq, seq) for seq in seqs)


def count(spans: Iterable[Span]) -> int:
    """How many seqs there are in spans that do not overlap."""
    return sum(last - first + 1 for first, last in spans)


def _without(spans: Iterable[Span], taken: Iterable[Span]) -> Iterator[Span]:
    away = joined(taken)
    at = 0
    for first, last in joined(spans):
        while at < len(away) and away[at][1] < first:
            at += 1
        near = at
        while near < len(away) and away[near][0] <= last:
            if first < away[near][0]:
                yield first, away[near][0] - 1
            first = away[near][1] + 1
            near += 1
        if first <= last:
            yield first, last
