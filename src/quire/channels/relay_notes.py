"""What is known of a relay: what lies there, and how far its mailboxes were read (storage/aboard.py).

Noting it costs a write, so it is gathered here and noted by `settle`, much at once. What is lost of that, by a kill, is read or
put once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw
import msgspec

from quire.core.crypto.keys import SigningKey
from quire.core.heights import Span, lacking, spans_of
from quire.core.reach import Page, Reach
from quire.storage import aboard
from quire.storage.database import guarded
from quire.store.bundling import Place
from quire.store.local import LocalStore

UNSETTLED_MAX = 2_000  # commits


class RelayItem(msgspec.Struct, frozen=True):
    """Something to put, and what is known once it is there."""

    mailbox: SigningKey
    data: bytes
    places: tuple[Place, ...] = ()
    once: bytes = b""  # never put this again
    may_fail: bool = False  # files are left where a relay has no room


class Found(msgspec.Struct, frozen=True):
    """An item as a relay gave it; empty data: one that we put."""

    mailbox: bytes
    cursor: int
    data: bytes
    paged: bool = False  # of a page that was asked for: the Page says how far that was read


class RelayNotes:
    """What is known of a relay, noted and not yet noted."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._unsettled: dict[int, list[int]] = {}  # log -> commits that lie there, which is not noted yet
        self._reaches: dict[bytes, Reach] = {}  # what of each mailbox was read
        self._moved: set[bytes] = set()  # of which that is not noted yet
        self._again = False  # is the relay being read from its beginning?

    @guarded
    def reaches(self, relay: bytes, mailboxes: Iterable[bytes]) -> dict[bytes, Reach]:
        """What of each was read."""
        self._again = self._again or aboard.is_done(self._store.database.reader, relay, aboard.AGAIN)
        return {one: self._reach(relay, one) for one in mailboxes}

    def _reach(self, relay: bytes, mailbox: bytes) -> Reach:
        if mailbox not in self._reaches:
            self._reaches[mailbox] = aboard.reach(self._store.database.reader, relay, mailbox)
        return self._reaches[mailbox]

    def move(self, relay: bytes, came: Sequence[Found | Page]) -> None:
        """What came was read, and so far."""
        for one in came:
            before = reach = self._reach(relay, one.mailbox)
            if isinstance(one, Page):
                reach = before.read(one.asked, one.left, one.newest)
            elif not one.paged:
                reach = before.heard(one.cursor)
            if reach != before:
                self._reaches[one.mailbox] = reach
                self._moved.add(one.mailbox)

    def lie_there(self, places: Iterable[Place]) -> None:
        """These commits do."""
        for n, seq in places:
            self._unsettled.setdefault(n, []).append(seq)

    def given(self, relay: bytes, item: RelayItem) -> None:
        """It is on the relay's disk. Noted by `settle`, but for what is never put twice."""
        self.lie_there(item.places)
        if item.once:
            self._store.ledger.run(lambda db: aboard.set_done(db, relay, item.once))

    @property
    def many(self) -> bool:
        """Is there so much that it is to be noted now?"""
        return sum(map(len, self._unsettled.values())) > UNSETTLED_MAX

    @property
    def is_settled(self) -> bool:
        """Is all noted that is known of the relay?"""
        return not self._unsettled and not self._moved

    def settle(self, relay: bytes) -> None:
        """Note what lies there and how far it was read. What is lost of that, by a kill, is read or put once more."""
        places = [(n, seq) for n, seqs in self._unsettled.items() for seq in seqs]
        moved = {mailbox: self._reaches[mailbox] for mailbox in self._moved}

        def note(db: apsw.Connection) -> None:
            aboard.note_aboard(db, relay, places)
            if moved and self._again:
                aboard.begin_again(db, relay)
            for mailbox, reach in moved.items():
                aboard.set_reach(db, relay, mailbox, reach)

        if places or moved:
            self._store.ledger.run(note)
            self._unsettled.clear()
            self._again = self._again and not moved
            self._moved.clear()

    def lacking_there(self, relay: bytes, n: int, spans: Iterable[Span]) -> list[Span]:
        """What of these commits of a log does not lie there."""
        left = lacking(spans, aboard.aboard(self._store.database.reader, relay, n))
        return lacking(left, spans_of(self._unsettled[n])) if left and n in self._unsettled else left
