"""What is to go to a relay: what it lacks of what we have, as items for its mailboxes.

What we wrote goes at once; what others wrote only when a connection begins, for they mostly put it there themselves. First what
says who may do what, and the welcomes of who is new, then what was said, the newest first, then small files of our own.
docs/spec/10-relay.md, section 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence

import apsw
import msgspec

from quire.channels.manager import ChannelManager
from quire.channels.needs import need_of
from quire.channels.relay_boxes import LOOK_MS
from quire.channels.relay_notes import RelayItem, RelayNotes
from quire.core.bundle import bundle_tag, tag_of
from quire.core.bundle_file import Kind, Record
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import SigningKey
from quire.core.crypto.mailboxes import content_mailbox, control_mailbox, file_mailbox, inbox, invite_mailbox
from quire.core.heights import spans_of
from quire.core.ids import ChannelId, IdentityId
from quire.core.invite import parse_link
from quire.core.membership import Graph
from quire.core.relay_items import items_of, mark_of, need_tag
from quire.storage import aboard, asking, controls, heights, keychain, log
from quire.storage.attachments import newest_uses
from quire.storage.timeline import OURS
from quire.store.behind import devices_behind
from quire.store.bundling import Place, Wanted, content_parts, control_records, last_word_records, with_key
from quire.store.file_records import records_of
from quire.store.offering import welcomes
from quire.store.people import read_graph
from quire.store.wallclock import now_ms

FILE_BYTES_MAX = 8 << 20  # larger files are for direct links
FILE_AGE_MS = 30 * 24 * 3_600_000  # older ones have come by now, or are asked for
AGAIN_MS = 30 * 24 * 3_600_000  # welcomes and requests are put again when they are so old


class Outgoing:
    """What a vault has to give to relays."""

    def __init__(self, chat: ChannelManager, notes: RelayNotes) -> None:
        self._chat = chat
        self._store = chat.store
        self._notes = notes
        self.postponed = False  # is there a welcome that another member may be putting just now?
        self._graphs: dict[int, tuple[bytes, Graph]] = {}  # channel -> its heads, and what they tell
        self._heard: dict[
            tuple[bytes, int], bytes
        ] = {}  # (relay, channel) -> its heads, when what is void was looked for
        self._ready: dict[
            int, tuple[object, bool]
        ] = {}  # channel -> when its key was looked at, and was there one

    def items(
        self, relay: bytes, *, everything: bool, patient: bool = False
    ) -> Generator[RelayItem, None, None]:
        """What is to go there.

        everything    also what others wrote
        patient       leave welcomes to who let somebody in; `postponed` says if there is one
        """
        self.postponed = False
        self._chat._prepare_to_give()
        db = self._store.database.reader
        yield from self._requests(relay)
        for row in log.all_channels(db):
            yield from self._refusals(relay, row)
            ready = self._with_key(db, row) if row.role else row
            if ready is not None:
                yield from self._channel(relay, ready, everything, patient)
        for row in log.channels(db):
            if row.role:
                yield from self._files(relay, row)

    def lacks(self, relay: bytes, item: RelayItem) -> bool:
        """Is an item still to be put, or has another member put what it holds since?"""
        logs: dict[int, list[int]] = {}
        for n, seq in item.places:
            logs.setdefault(n, []).append(seq)
        left = [self._notes.lacking_there(relay, n, spans_of(seqs)) for n, seqs in logs.items()]
        return not left or any(left)

    def needs(self, relay: bytes) -> Generator[RelayItem, None, None]:
        """What we lack of our channels, for all who read there; when all that lay there is taken in."""
        db = self._store.database.reader
        for row in log.channels(db):
            fresh = not aboard.is_done(db, relay, hashlib.sha256(b"need" + row.id).digest())
            found = need_of(self._store, row, fresh) if row.role else None
            if found is not None and not aboard.is_done(db, relay, found[1]):
                item, name = found
                key = next(
                    EpochKey(one)
                    for one in keychain.epoch_keys(db, row.id).values()
                    if _is_of(item, one, row.id)
                )
                yield RelayItem(control_mailbox(key, row.id), item, once=name)

    def _requests(self, relay: bytes) -> Generator[RelayItem, None, None]:
        db = self._store.database.reader
        for asked in asking.unanswered(db):
            row = log.channel_by_id(db, asked.channel)
            once = _once("request", asked.link.encode(), asked.since_ms.to_bytes(8, "big"))
            if (row is None or not row.role) and not aboard.is_done(db, relay, once):
                link = parse_link(asked.link)
                mailbox = invite_mailbox(link.secret.key(link.channel).public, link.channel)
                yield from _items(mailbox, self._chat._request(asked), once=once)

    def _refusals(self, relay: bytes, row: log.ChannelRow) -> Generator[RelayItem, None, None]:
        db = self._store.database.reader
        for owed in asking.refusals(db, row.n) if row.role else ():
            once = _once("refusal", owed.sealed)
            if not aboard.is_done(db, relay, once):
                yield from _items(inbox(owed.identity), Record(Kind.REFUSAL, owed.sealed), once=once)

    def _channel(
        self, relay: bytes, row: log.ChannelRow, everything: bool, patient: bool
    ) -> Generator[RelayItem, None, None]:
        db = self._store.database.reader
        spans = {}
        for of in log.logs_of(db, row.n):
            if everything or of.own == log.OPEN:
                left = self._notes.lacking_there(relay, of.n, heights.here(db, of.n))
                if left:
                    spans[of.n] = left
        if row.role and self._heard.get((relay, row.n)) != row.heads:
            yield from self._last_words(relay, db, row)
        if not spans and not everything:
            return
        graph = self._graph(db, row)
        keys = [EpochKey(key) for key in keychain.epoch_keys(db, row.id).values()]
        yield from self._control(db, row, graph, spans, keys)
        if row.role and everything:  # who is new reads as soon as may be
            yield from self._welcomes(relay, db, row, graph, patient)
        epochs = set(keychain.epoch_keys(db, row.id))
        boxes = {bundle_tag(key, row.id): content_mailbox(key, row.id) for key in keys}
        for part in content_parts(db, row, graph, wanted=Wanted(spans, epochs)):
            yield from _items(boxes[tag_of(part.record.data)], part.record, part.places)
        if row.role and not everything:  # what was said just now goes before who may be new is looked for
            yield from self._welcomes(relay, db, row, graph, patient)

    def _last_words(
        self, relay: bytes, db: apsw.Connection, row: log.ChannelRow
    ) -> Generator[RelayItem, None, None]:
        """What made a key void, for who has no other: it may lie there already, under one that they lack."""
        self._heard[relay, row.n] = row.heads
        for epoch, ids, found in last_word_records(db, row, self._graph(db, row)):
            once = _once("void", row.id, epoch, *ids)
            if not aboard.is_done(db, relay, once):
                self._heard.pop((relay, row.n), None)  # until it is known to lie there
                mailbox = control_mailbox(EpochKey(keychain.epoch_keys(db, row.id)[epoch]), row.id)
                for record in found[:-1]:
                    yield from _items(mailbox, record)
                for record in found[-1:]:
                    yield from _items(mailbox, record, once=once)

    def _with_key(self, db: apsw.Connection, row: log.ChannelRow) -> log.ChannelRow | None:
        """As `with_key`, looked at again when the channel changed, and every minute."""
        state = (row.heads, row.role, len(keychain.epoch_keys(db, row.id)), now_ms() // LOOK_MS)
        known = self._ready.get(row.n)
        if known is not None and known[0] == state:
            return row if known[1] else None
        ready = with_key(self._store, row.id)
        self._ready[row.n] = state, ready is not None
        return ready

    def _graph(self, db: apsw.Connection, row: log.ChannelRow) -> Graph:
        """The channel's control commits, all that the commits name that were looked up before this."""
        known = self._graphs.get(row.n)
        if known is None or known[0] != log.channel_by_n(db, row.n).heads:
            graph = read_graph(db, row)
            known = self._graphs[row.n] = b"".join(graph.heads), graph
        return known[1]

    def _files(self, relay: bytes, row: log.ChannelRow) -> Generator[RelayItem, None, None]:
        """Small files of our own newer messages, a piece an item, where they have not been put yet."""
        db = self._store.database.reader
        since = (now_ms() - FILE_AGE_MS) << 16
        graph: Graph | None = None
        for file, message in newest_uses(db, row.n, FILE_BYTES_MAX, flags=OURS, since=since):
            first = 0
            while aboard.is_done(db, relay, _piece_once(file, first)):
                first += 1
            if aboard.is_done(db, relay, _piece_once(file, -1)):
                continue
            graph = graph or read_graph(db, row)
            held = [EpochKey(key) for key in keychain.epoch_keys(db, row.id).values()]
            boxes = {bundle_tag(key, row.id): file_mailbox(key, row.id) for key in held}
            last: RelayItem | None = None
            for number, record in records_of(self._store, row, graph, file, message, first):
                if last is not None:
                    yield last
                box = boxes[tag_of(record.data)]
                last = RelayItem(box, next(items_of(record)), once=_piece_once(file, number), may_fail=True)
            if last is not None:
                yield msgspec.structs.replace(last, once=_piece_once(file, -1))

    def _control(
        self,
        db: apsw.Connection,
        row: log.ChannelRow,
        graph: Graph,
        spans: dict[int, list[tuple[int, int]]],
        keys: Sequence[EpochKey],
    ) -> Generator[RelayItem, None, None]:
        boxes = {bundle_tag(key, row.id): control_mailbox(key, row.id) for key in keys}
        wanted: dict[bytes, Place] = {}
        for place in controls.control_places(db, row.n).values():
            of, seq = log.log_by_prefix(db, place[:10]), int.from_bytes(place[10:], "big")
            if of is not None and any(first <= seq <= last for first, last in spans.get(of.n, ())):
                wanted[place] = of.n, seq
        if wanted:
            found = [
                (boxes[tag_of(record.data)], record)
                for record in control_records(db, row, graph, wanted)
                if tag_of(record.data) in boxes
            ]
            for mailbox, record in found[:-1]:
                yield from _items(mailbox, record)
            for mailbox, record in found[-1:]:  # they are acknowledged in order
                yield from _items(mailbox, record, tuple(wanted.values()))

    def _welcomes(
        self, relay: bytes, db: apsw.Connection, row: log.ChannelRow, graph: Graph, patient: bool
    ) -> Generator[RelayItem, None, None]:
        state = graph.state
        epoch = state.epochs.current.epoch if state.epochs.current else b""
        if row.kind == "self":  # for recovery, which has the words and nothing else
            wanted: dict[bytes, set[bytes]] = {self._chat.identity: set(state.epochs.expected())}
        else:
            wanted = {}
            for device in sorted(devices_behind(db, row, graph) - {self._store.device}):
                wanted.setdefault(state.devices[device].identity, set()).add(device)
        for identity, devices in wanted.items():
            told = b"".join(graph.heads) if row.kind == "self" else b""
            once = _once("welcome", row.id, epoch, told, *sorted(devices))
            ours = identity == self._chat.identity or self._let_in(db, row, graph, identity)
            if aboard.is_done(db, relay, once) or (not ours and aboard.is_done(db, relay, marked(once))):
                continue
            if patient and not ours:
                self.postponed = True
                continue
            found = list(welcomes(db, row, graph, devices))
            for record in found[:-1]:
                yield from _items(inbox(identity), record)
            for record in found[-1:]:
                yield from _items(inbox(identity), record, once=once)
            if found and row.kind != "self" and epoch in keychain.epoch_keys(db, row.id):
                mailbox = control_mailbox(EpochKey(keychain.epoch_keys(db, row.id)[epoch]), row.id)
                yield RelayItem(mailbox, mark_of(once))

    def _let_in(self, db: apsw.Connection, row: log.ChannelRow, graph: Graph, identity: bytes) -> bool:
        """Did this device let somebody in? Then it does not rely on others to welcome them."""
        member = graph.state.member(IdentityId(identity))
        place = controls.control_places(db, row.n).get(member.admitted) if member else None
        of = log.log_by_prefix(db, place[:10]) if place else None
        return of is not None and of.device == self._store.device


def _items(
    mailbox: SigningKey, record: Record, places: tuple[Place, ...] = (), once: bytes = b""
) -> Generator[RelayItem, None, None]:
    """A record as items; with the last of them it is there."""
    items = list(items_of(record))
    for item in items[:-1]:
        yield RelayItem(mailbox, item)
    yield RelayItem(mailbox, items[-1], places, once)


def marked(name: bytes) -> bytes:
    """That somebody says that they put it: not the same as having put it."""
    return hashlib.sha256(b"mark" + name).digest()


def _piece_once(file: bytes, number: int) -> bytes:
    """A name for a piece that was put, or (-1) for the last of them."""
    return hashlib.sha256(b"file" + file + number.to_bytes(4, "big", signed=True)).digest()


def _once(what: str, *parts: bytes) -> bytes:
    """A name for something that need not be put again, for some time: relays do not keep things for ever."""
    hashed = hashlib.sha256(f"{what} {now_ms() // AGAIN_MS}".encode())
    for part in parts:
        hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()


def _is_of(item: bytes, key: bytes, channel: ChannelId) -> bool:
    return need_tag(item) == bundle_tag(EpochKey(key), channel)
