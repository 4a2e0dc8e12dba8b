"""A vault as a relay's user: taking in what its mailboxes hold.

A relay is no peer: it says nothing of what it has. So we note what we put there and what we found there (relay_notes.py), and
give it the rest (relay_outgoing.py). Which mailboxes are ours: relay_boxes.py. What items are is in core/relay_items.py.
docs/spec/10-relay.md, section 4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import apsw

from quire.channels.manager import ChannelManager
from quire.channels.needs import Needs
from quire.channels.relay_boxes import Mailboxes
from quire.channels.relay_notes import Found, RelayNotes
from quire.channels.relay_outgoing import Outgoing, marked
from quire.core.bundle import bundle_tag, open_bundle, tag_of
from quire.core.bundle_file import Kind, Record
from quire.core.commit import AnyCommit, Head, holes_of, peek_commit
from quire.core.crypto.epochs import EpochKey
from quire.core.ids import ChannelId
from quire.core.reach import Page
from quire.core.relay_items import (
    MARK,
    NEED,
    PART,
    Part,
    assembled,
    name_of_mark,
    part_of,
    record_of,
)
from quire.errors import MalformedError, PeerError
from quire.storage import aboard, erasures, keychain, log, parts
from quire.store.bundling import Place

if TYPE_CHECKING:
    from quire.store.unbundling import BundleReport


EARLY_MAX = 16  # pieces that came before their messages, of a megabyte each


class Relaying:
    """What a node needs of a vault to use relays."""

    def __init__(self, chat: ChannelManager) -> None:
        self._chat = chat
        self._store = chat.store
        self._early: list[Record] = []  # pieces of files whose messages are still on their way
        self._needs = Needs(chat.store)
        self.boxes = Mailboxes(chat)
        self.notes = RelayNotes(chat.store)
        self.outgoing = Outgoing(chat, self.notes)
        self.needed = False  # did somebody say that they lack what we could put?
        self._openers: dict[bytes, tuple[ChannelId, EpochKey]] = {}  # by bundle tag
        self.newest: dict[bytes, int] = {}  # of each page, the time of its item that came last, if it has one

    def take(self, relay: bytes, came: Sequence[Found | Page]) -> BundleReport:
        """Take in items; when this returns what they hold is on disk. That they were read is noted by `settle`, and here
        if pages came.
        """
        items = [one for one in came if isinstance(one, Found)]
        whole, wholes, done = self._records(relay, items)
        files = [*self._early, *(one for one, _ in whole if one.kind == Kind.FILE)]
        records = [*(one for one, _ in whole if one.kind != Kind.FILE), *files]
        report = self._chat._take(lambda: records, self._chat.fetch_limit())
        self._early = [Record(Kind.FILE, data) for data in report.unnamed[-EARLY_MAX:]]
        self.newest = {}
        for record, mailbox in whole:
            if record.kind == Kind.BUNDLE:
                places, time = self._places(record.data)
                self.notes.lie_there(places)
                if mailbox and time:
                    self.newest[mailbox] = time
        if any(one.data[:1] == bytes([NEED]) for one in items):
            self.notes.settle(relay)
        needs = [self._needs.heed(relay, one.data) for one in items if one.data[:1] == bytes([NEED])]
        self.needed = self.needed or any(needs)

        self.notes.move(relay, came)

        def note(db: apsw.Connection) -> None:
            for mailbox, whole in wholes:
                parts.drop_parts(db, relay, mailbox, whole)
            for name in done:
                aboard.set_done(db, relay, marked(name))

        if wholes or done:
            self._store.ledger.run(note)
        paged = any(isinstance(one, Page) and one.newest for one in came)  # a page is not to come twice
        if paged or self.notes.many:
            self.notes.settle(relay)
        return report

    def _records(
        self, relay: bytes, items: Sequence[Found]
    ) -> tuple[list[tuple[Record, bytes]], list[tuple[bytes, bytes]], list[bytes]]:
        """What items hold: records, and of which mailbox's page they are; which of them came in parts; and the names of
        marks. Junk is stepped over.
        """
        records = [
            (record, one.mailbox if one.paged else b"")
            for one in items
            if (record := record_of(one.data)) is not None
        ]
        coming: list[tuple[bytes, Part]] = []
        done: list[bytes] = []
        for one in items:
            with contextlib.suppress(MalformedError):
                if one.data[:1] == bytes([PART]):
                    coming.append((one.mailbox, part_of(one.data)))
                elif one.data[:1] == bytes([MARK]):
                    done.append(name_of_mark(one.data))
        if not coming:
            return records, [], done

        def keep(db: apsw.Connection) -> list[tuple[bytes, bytes, dict[int, bytes]]]:
            for mailbox, part in coming:
                parts.put_part(db, relay, mailbox, *part)
            wanted = dict.fromkeys((mailbox, part.whole) for mailbox, part in coming)
            found = ((*one, parts.whole_parts(db, relay, *one)) for one in wanted)
            return [(mailbox, whole, all_) for mailbox, whole, all_ in found if all_ is not None]

        whole = self._store.ledger.run(keep)
        for _, name, all_ in whole:
            with contextlib.suppress(MalformedError):
                records.append((assembled(name, all_), b""))
        return records, [(mailbox, name) for mailbox, name, _ in whole], done

    def _places(self, bundle: bytes) -> tuple[list[Place], int]:
        """Where the commits of a bundle are here, and the time of the newest; of what is none, or no key opens, nothing is."""
        db = self._store.database.reader
        found: list[Place] = []
        time = 0
        try:
            channel, key = self._opener(tag_of(bundle))
            commits = open_bundle(bundle, key, channel)
        except (PeerError, KeyError):
            return found, time
        for one in commits:
            with contextlib.suppress(PeerError):
                received, head = peek_commit(one)
                time = max(time, head.time)
                place = _place(db, received, head)
                found += [place] if place is not None else []
        return found, time

    def _opener(self, tag: bytes) -> tuple[ChannelId, EpochKey]:
        """Of which channel and key a bundle is. Raises: KeyError."""
        if tag not in self._openers:
            for id, held in keychain.all_epoch_keys(self._store.database.reader):
                channel, key = ChannelId(id), EpochKey(held)
                self._openers[bundle_tag(key, channel)] = channel, key
        return self._openers[tag]


def _place(db: apsw.Connection, received: AnyCommit, head: Head) -> Place | None:
    for of in log.branches(db, head.device, head.incarnation):
        stored = log.get_commit(db, of.n, head.seq)
        if stored is not None and stored[0] == received.head:
            start = of.prefix + head.seq.to_bytes(4, "big")
            ours = erasures.holes_between(db, start + bytes(2), start + b"\xff\xff")
            if len(holes_of(received)) > len(ours):
                return None  # what lies there is less than what is here
            return of.n, head.seq
    return None
