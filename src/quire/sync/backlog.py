"""What of a relay's mailboxes is asked for, and in which order: a state machine without I/O (docs/spec/10-relay.md, section 4).

Each mailbox is looked at from its end, a page; then its stretches that are unread are read, the newest first. Mostly a
mailbox holds what was said in the order in which it was said, and the newest is at the end of a stretch. But who put a whole
history there at once put the newest first. So both ends of a stretch are looked at, and from there on it is read where
what came last was newer: whatever the order, the newest comes first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from quire.core.reach import FIRST, Page, Reach, Stretch
from quire.core.relay_frames import READ_ITEMS_MAX
from quire.errors import MalformedError

FLYING_MAX = 256  # asked for, and not here yet


class Ask(NamedTuple):
    """Some of a stretch of a mailbox, from its end on or from its beginning."""

    mailbox: bytes
    stretch: Stretch
    newest: bool
    items_max: int = READ_ITEMS_MAX


class _Box:
    """One mailbox. The times are those of the last that came from either end of a stretch; None: nothing did."""

    def __init__(self, rank: int, reach: Reach) -> None:
        self.rank = rank
        self.reach = reach
        self.looked = False
        self.asked: Ask | None = None
        self.newest = self.last = 0  # cursors that came: the highest, and the last
        self.at_end: int | None = None
        self.at_beginning: int | None = None

    @property
    def is_done(self) -> bool:
        return self.looked and not self.reach.unread


class Backlog:
    """What is still to be read of mailboxes."""

    def __init__(self) -> None:
        self._boxes: dict[bytes, _Box] = {}
        self._due: list[tuple[int, int, bytes]] = []  # a heap: rank, turn, mailbox
        self._turn = 0
        self._flying = self._unlooked = self._undone = self._undone_first = 0

    @property
    def is_looked(self) -> bool:
        """Has the newest page of each come?"""
        return not self._unlooked

    @property
    def is_done(self) -> bool:
        """Has everything?"""
        return not self._undone

    @property
    def is_begun(self) -> bool:
        """Has everything of the first rank?"""
        return not self._undone_first

    def add(self, mailbox: bytes, rank: int, reach: Reach) -> None:
        """One more mailbox.

        rank    whose turn it is before others'
        """
        self._boxes[mailbox] = _Box(rank, reach)
        self._unlooked += 1
        self._undone += 1
        self._undone_first += rank == FIRST
        self._put(mailbox, rank)

    def asks(self, *, everything: bool) -> Iterator[Ask]:
        """What to ask for now.

        everything    not the first rank alone
        """
        while self._due and self._flying < FLYING_MAX and (everything or self._due[0][0] == FIRST):
            _, _, mailbox = heapq.heappop(self._due)
            box = self._boxes[mailbox]
            box.asked, box.newest, box.last = _next(mailbox, box), 0, 0
            self._flying += 1
            yield box.asked

    def came(self, mailbox: bytes, cursor: int) -> bool:
        """An item came: was it asked for here?"""
        box = self._boxes.get(mailbox)
        if box is None or box.asked is None:
            return False
        after, before = box.asked.stretch
        if after < cursor < before:
            box.newest, box.last = max(box.newest, cursor), cursor
            return True
        return False

    def left(self, mailbox: bytes, left: Stretch) -> Page:
        """That was all, for now. Raises: MalformedError with rule "out_of_turn" or "relay_left"."""
        box = self._boxes.get(mailbox)
        if box is None or box.asked is None:
            raise MalformedError("a relay answers what nobody asked", rule="out_of_turn")
        asked = box.asked.stretch
        if not asked[0] <= left[0] <= left[1] <= asked[1] or left == asked:
            raise MalformedError("a relay leaves more than was asked for", rule="relay_left")
        return Page(mailbox, asked, left, box.newest)

    def broken(self) -> list[Page]:
        """The link broke: what came of pages that did not end."""
        found = []
        for mailbox, box in self._boxes.items():
            if box.asked is not None and box.last:
                (after, before), last = box.asked.stretch, box.last
                left = (after, last) if box.asked.newest else (last, before)
                found.append(Page(mailbox, box.asked.stretch, left, box.newest))
        return found

    def read(self, page: Page, reach: Reach, time: int | None) -> bool:
        """A page was taken in; was it the first of its mailbox?

        reach    of the mailbox, from now on
        time     of the newest message of the item that came last; None: of none
        """
        box = self._boxes[page.mailbox]
        assert box.asked is not None
        first, box.looked = not box.looked, True
        if page.left not in reach.unread:  # another stretch comes next
            box.at_end = box.at_beginning = None
        elif time is not None and box.asked.newest:
            box.at_end = time
        elif time is not None:
            box.at_beginning = time
        box.reach, box.asked = reach, None
        self._flying -= 1
        self._unlooked -= first
        if box.is_done:
            self._undone -= 1
            self._undone_first -= box.rank == FIRST
        else:
            self._put(page.mailbox, box.rank)
        return first

    def _put(self, mailbox: bytes, rank: int) -> None:
        self._turn += 1
        heapq.heappush(self._due, (rank, self._turn, mailbox))


def _next(mailbox: bytes, box: _Box) -> Ask:
    if not box.looked:
        return Ask(mailbox, box.reach.ahead, newest=True)
    stretch, end, beginning = box.reach.unread[-1], box.at_end, box.at_beginning
    if end is not None and beginning is None:
        return Ask(mailbox, stretch, newest=False, items_max=1)
    return Ask(mailbox, stretch, newest=end is None or beginning is None or beginning <= end)
