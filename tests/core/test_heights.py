"""What is here of a log, and what of it somebody lacks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core import limits
from quire.core.heights import (
    LogHeight,
    coarse,
    count,
    digest,
    is_well_formed,
    joined,
    lacking,
    present,
    spans_of,
)

SEQS = st.sets(st.integers(1, 60))


def seqs_of(spans: list[tuple[int, int]]) -> set[int]:
    return {seq for first, last in spans for seq in range(first, last + 1)}


@given(SEQS, SEQS)
def test_spans_are_sets_of_seqs(ours: set[int], theirs: set[int]) -> None:
    left = lacking(spans_of(ours), spans_of(theirs))
    assert seqs_of(left) == ours - theirs
    assert left == spans_of(ours - theirs)  # the fewest, ascending
    assert count(left) == len(ours - theirs)
    assert seqs_of(joined([*spans_of(ours), *spans_of(theirs)])) == ours | theirs


@given(SEQS)
def test_what_is_here_is_all_but_the_gaps(seqs: set[int]) -> None:
    last = max(seqs, default=0)
    gaps = lacking([(1, last)] if last else [], spans_of(seqs))
    assert seqs_of(present(last, gaps)) == seqs
    if last:
        assert is_well_formed(height(last, tuple(gaps)))


def height(last: int, gaps: tuple[tuple[int, int], ...] = (), device: bytes = b"d") -> LogHeight:
    return LogHeight(device * 32, bytes(16), b"", last, bytes(32), gaps)


def test_too_many_gaps_are_named_as_fewer_that_cover_them() -> None:
    gaps = [(seq, seq) for seq in range(1, 2 * limits.GAPS_PER_LOG_MAX + 10, 2)]
    some = coarse(gaps)
    assert len(some) == limits.GAPS_PER_LOG_MAX
    assert seqs_of(gaps) <= seqs_of(list(some))
    assert is_well_formed(height(gaps[-1][1] + 1, some))
    assert not is_well_formed(height(gaps[-1][1] + 1, tuple(gaps)))
    assert coarse(gaps[:3]) == tuple(gaps[:3])


@pytest.mark.parametrize(
    "gaps", [((0, 1),), ((3, 2),), ((2, 3), (4, 5)), ((4, 5), (2, 2)), ((9, 10),), ((2, 12),)], ids=str
)
def test_gaps_that_cannot_be_are_refused(gaps: tuple[tuple[int, int], ...]) -> None:
    assert not is_well_formed(height(10, gaps))


def test_a_digest_is_of_what_is_here_and_not_of_its_order() -> None:
    one, other = height(3), height(5, ((1, 2),), b"e")
    assert digest([one, other]) == digest([other, one])
    assert len({digest([]), digest([one]), digest([one, other]), digest([height(3, ((1, 1),))])}) == 4
