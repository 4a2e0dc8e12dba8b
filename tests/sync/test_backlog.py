"""The order in which a relay's mailboxes are read, whatever order they were filled in; and that nothing is passed over."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from quire.core.limits import STRETCHES_MAX
from quire.core.reach import FIRST, Reach
from quire.core.relay_frames import CURSOR_MAX
from quire.errors import MalformedError
from quire.sync.backlog import FLYING_MAX, Ask, Backlog
from quire.testing.people import refuses

BOX, OTHER = b"b" * 32, b"o" * 32
PAGE = 4


class Mailbox:
    """A relay's, and what of it a reader has: items are the times of what was said in them, by cursor."""

    def __init__(self, times: list[int]) -> None:
        self.items = dict(enumerate(times, start=1))
        self.reach = Reach()
        self.read: list[int] = []  # times, as they came

    def reading(self, pages_max: int = 1_000) -> None:
        """Read it, or so many pages of it, as a fresh process would."""
        backlog = Backlog()
        backlog.add(BOX, 1, self.reach)
        while not backlog.is_done and pages_max:
            [ask] = backlog.asks(everything=True)
            self.answer(backlog, ask)
            pages_max -= 1

    def answer(self, backlog: Backlog, ask: Ask) -> bool:
        after, before = ask.stretch
        there = [cursor for cursor in self.items if after < cursor < before]
        came = (there[::-1] if ask.newest else there)[: min(PAGE, ask.items_max)]
        assert all(backlog.came(ask.mailbox, cursor) for cursor in came)
        assert not backlog.came(ask.mailbox, after)
        left = (after, after)
        if came:
            left = (after, came[-1]) if ask.newest else (came[-1], before)
        page = backlog.left(ask.mailbox, left)
        self.reach = self.reach.read(page.asked, page.left, page.newest)
        self.read += (self.items[cursor] for cursor in came)
        return backlog.read(page, self.reach, self.items[came[-1]] if came else None)


def out_of_turn(times: list[int]) -> int:
    return sum(one < following for one, following in pairwise(times))


def test_what_was_said_in_order_comes_backwards_and_one_look_at_its_beginning() -> None:
    box = Mailbox(list(range(100)))
    box.reading()
    assert sorted(box.read) == list(range(100))
    assert box.read[:4] == [99, 98, 97, 96]
    assert out_of_turn(box.read) == 1
    assert box.reach == Reach(100)


def test_a_history_that_was_put_at_once_newest_first_comes_newest_first_too() -> None:
    box = Mailbox([*range(100)][::-1])
    box.reading()
    assert sorted(box.read) == list(range(100))
    assert box.read[PAGE:] == list(range(99, PAGE - 1, -1))  # the first page is the end: who could know


def test_live_messages_behind_a_history_come_before_it() -> None:
    box = Mailbox([*range(100)][::-1] + list(range(100, 140)))
    box.reading()
    assert box.read[:4] == [139, 138, 137, 136]
    rest = [one for one in box.read if one >= PAGE]  # without the page at the seam, which nobody could know
    assert out_of_turn(rest) == 1  # one look at the beginning
    assert sorted(box.read) == list(range(140))


@pytest.mark.parametrize("seed", range(10))
def test_a_reading_that_breaks_goes_on_where_it_was_and_passes_over_nothing(seed: int) -> None:
    draw = random.Random(seed)
    box = Mailbox(draw.sample(range(1_000), 60))
    for _ in range(12):
        box.reading(draw.randrange(4))
        for _ in range(draw.randrange(12)):
            box.items[len(box.items) + 1] = draw.randrange(1_000)
    box.reading()
    assert sorted(box.read) == sorted(box.items.values())  # each once
    assert box.reach == Reach(len(box.items))


def test_what_may_hold_keys_is_read_to_its_beginning_before_anything_else() -> None:
    backlog = Backlog()
    own, others = Mailbox(list(range(10))), Mailbox(list(range(10)))
    backlog.add(OTHER, 1, Reach())
    backlog.add(BOX, FIRST, Reach())
    asked: list[bytes] = []
    while not backlog.is_begun:
        for ask in backlog.asks(everything=False):
            asked.append(ask.mailbox)
            own.answer(backlog, ask)
    assert set(asked) == {BOX}
    assert not backlog.is_looked
    [ask] = backlog.asks(everything=True)
    assert ask.mailbox == OTHER
    assert others.answer(backlog, ask)  # its first page
    assert backlog.is_looked
    assert not backlog.is_done


def test_not_everything_is_asked_for_at_once() -> None:
    backlog = Backlog()
    for number in range(FLYING_MAX + 5):
        backlog.add(number.to_bytes(32, "big"), 1, Reach())
    assert len(list(backlog.asks(everything=True))) == FLYING_MAX
    assert list(backlog.asks(everything=True)) == []


@pytest.mark.parametrize("left", [(0, CURSOR_MAX), (3, 3 + CURSOR_MAX), (9, 5)])
def test_a_relay_that_leaves_more_than_was_asked_for_is_parted_with(left: tuple[int, int]) -> None:
    backlog = Backlog()
    assert refuses(lambda: backlog.left(BOX, (0, 0))) == "out_of_turn"
    backlog.add(BOX, 1, Reach())
    assert refuses(lambda: backlog.left(BOX, (0, 0))) == "out_of_turn"
    list(backlog.asks(everything=True))
    with pytest.raises(MalformedError) as failure:
        backlog.left(BOX, left)
    assert failure.value.rule == "relay_left"


def test_stretches_are_bounded_and_nothing_falls_out_of_them() -> None:
    reach = Reach()
    for number in range(STRETCHES_MAX * 3):
        top = (number + 1) * 10
        reach = reach.read(reach.ahead, (reach.top, top - 2), top)
        reach = reach.heard(top + 1)
    assert len(reach.unread) == STRETCHES_MAX
    every = {cursor for after, before in reach.unread for cursor in range(after + 1, before)}
    for number in range(STRETCHES_MAX * 3):
        assert {*range(number * 10 + 2, number * 10 + 8)} <= every  # unread stays unread
