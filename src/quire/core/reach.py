"""How much of a relay's mailbox was read: all up to one cursor, but for what lies in some stretches before it.

A mailbox is read from its end backwards, so that the newest is here first, and this may break off anywhere: what was not
read of it stays a stretch. docs/spec/10-relay.md, section 4.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from quire.core.limits import STRETCHES_MAX
from quire.core.relay_frames import CURSOR_MAX

FIRST = 0  # the rank of mailboxes that are read to their beginning before all others: they may hold keys
Stretch = tuple[int, int]  # two cursors: what lies between them, without either


def is_empty(stretch: Stretch) -> bool:
    """Can nothing lie in it?"""
    return stretch[1] - stretch[0] <= 1


class Page(NamedTuple):
    """What was asked for has come."""

    mailbox: bytes
    asked: Stretch
    left: Stretch  # what of it has not
    newest: int  # the highest cursor that came; 0: none


class Reach(msgspec.Struct, array_like=True, frozen=True):
    """What was read of one mailbox."""

    top: int = 0
    unread: tuple[Stretch, ...] = ()  # below it, ascending

    @property
    def ahead(self) -> Stretch:
        """All that came since."""
        return self.top, CURSOR_MAX

    def heard(self, cursor: int) -> Reach:
        """After an item that follows in order."""
        return Reach(max(self.top, cursor), self.unread)

    def read(self, asked: Stretch, left: Stretch, newest: int) -> Reach:
        """After some of a stretch.

        left      what was not read of it
        newest    the highest cursor that came of it; 0: none
        """
        unread = sorted({*self.unread, left} - {asked} - ({left} if is_empty(left) else set()))
        while len(unread) > STRETCHES_MAX:  # the oldest two become one: what was between them is read again
            unread[:2] = [(unread[0][0], unread[1][1])]
        return Reach(max(self.top, newest), tuple(unread))
