"""A vault as a relay's user sees it: which mailboxes are ours, what is to go into them, and taking in what they hold.

A relay is no peer: it says nothing of what it has. So we note what we put there and what we found there (storage/aboard.py),
and give it the rest: what we wrote at once; what others wrote only when a connection begins, for they mostly put it there
themselves. What items are is in core/relay_items.py. docs/spec/10-relay.md, section 4.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING

import apsw
import msgspec

from quire.channels.manager import ChannelManager
from quire.channels.needs import Needs, need_of
from quire.core.bundle import bundle_tag, open_bundle, tag_of
from quire.core.bundle_file import Kind, Record
from quire.core.commit import AnyCommit, Head, holes_of, peek_commit
from quire.core.crypto.epochs import EpochKey, epoch_id
from quire.core.crypto.keys import SigningKey
from quire.core.crypto.mailboxes import (
    content_mailbox,
    control_mailbox,
    file_mailbox,
    inbox,
    invite_mailbox,
)
from quire.core.heights import Span, lacking, spans_of
from quire.core.ids import ChannelId, IdentityId
from quire.core.invite import parse_link
from quire.core.membership import Graph
from quire.core.reach import FIRST, Page, Reach
from quire.core.relay_items import (
    MARK,
    NEED,
    PART,
    Part,
    assembled,
    items_of,
    mark_of,
    name_of_mark,
    need_tag,
    part_of,
    record_of,
)
from quire.errors import MalformedError, PeerError
from quire.storage import aboard, backlog, controls, erasures, heights, keychain, log, parts
from quire.storage.attachments import newest_uses
from quire.storage.database import guarded
from quire.storage.timeline import OURS
from quire.store.behind import devices_behind
from quire.store.bundling import Place, Wanted, content_parts, control_records, with_key
from quire.store.file_records import records_of
from quire.store.offering import welcomes
from quire.store.people import read_graph
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.unbundling import BundleReport


FILE_BYTES_MAX = 8 << 20  # larger files are for direct links
FILE_AGE_MS = 30 * 24 * 3_600_000  # older ones have come by now, or are asked for
FILE_EPOCHS_MAX = 8  # whose files are looked for
EARLY_MAX = 16  # pieces that came before their messages, of a megabyte each
LOOK_MS = 60_000  # invites expire, keys grow old: what follows from them is looked at so often
UNSETTLED_MAX = 2_000  # commits
AGAIN_MS = 30 * 24 * 3_600_000  # welcomes and requests are put again when they are so old


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


class Boxes(msgspec.Struct, frozen=True):
    """Mailboxes by name: those that are followed from where we were, and those that are read from the newest on."""

    followed: dict[bytes, SigningKey]
    content: dict[bytes, tuple[SigningKey, int]]  # and its rank: which is read first


class Relaying:
    """What a node needs of a vault to use relays."""

    def __init__(self, chat: ChannelManager) -> None:
        self._chat = chat
        self._store = chat.store
        self._early: list[Record] = []  # pieces of files whose messages are still on their way
        self._needs = Needs(chat.store)
        self.needed = False  # did somebody say that they lack what we could put?
        self.postponed = False  # is there a welcome that another member may be putting just now?
        self._unsettled: dict[int, list[int]] = {}  # log -> commits that lie there, which is not noted yet
        self._reaches: dict[bytes, Reach] = {}  # what of each mailbox was read
        self._openers: dict[bytes, tuple[ChannelId, EpochKey]] = {}  # by bundle tag
        self._moved: set[bytes] = set()  # of which that is not noted yet
        self.newest: dict[
            bytes, int
        ] = {}  # the time of the item that came last of each page, as far as it has one
        self._again = False  # is the relay being read from its beginning?
        self._graphs: dict[int, tuple[bytes, Graph]] = {}  # channel -> its heads, and what they tell
        self._ready: dict[
            int, tuple[object, bool]
        ] = {}  # channel -> when its key was looked at, and was there one
        self._boxes: tuple[object, Boxes] = ((), Boxes({}, {}))

    @guarded
    def file_mailboxes(self) -> dict[bytes, SigningKey]:
        """Those that may hold files of the last epochs, by their names; to be read after all others."""
        db, people = self._store.database.reader, self._store.ledger.people
        found: dict[bytes, SigningKey] = {}
        for row in log.channels(db):
            held = keychain.epoch_keys(db, row.id)
            for info in people.state(db, row).epochs.every()[:FILE_EPOCHS_MAX] if row.role else ():
                if info.epoch in held:
                    key = file_mailbox(EpochKey(held[info.epoch]), row.id)
                    found[key.public] = key
        return found

    @guarded
    def mailboxes(self) -> Boxes:
        """All that may hold something for us."""
        db, people, now = self._store.database.reader, self._store.ledger.people, now_ms()
        epochs, rows = keychain.all_epoch_keys(db), log.channels(db)
        state = (epochs, [(row.n, row.heads, row.role) for row in rows], now // LOOK_MS)
        if state == self._boxes[0]:  # it is asked after each message
            return self._boxes[1]
        keys = [control_mailbox(EpochKey(key), ChannelId(channel)) for channel, key in epochs]
        keys.append(inbox(self._chat.identity))
        ranks: dict[
            bytes, int
        ] = {}  # by epoch: those of the self-channel hold keys, then the newest of each channel
        for row in rows:
            state_of = people.state(db, row) if row.role else None
            invites = state_of.invites.values() if state_of else ()
            keys += [invite_mailbox(invite.key, row.id) for invite in invites if invite.open_at(now)]
            for rank, info in enumerate(state_of.epochs.every() if state_of else (), FIRST + 1):
                ranks[info.epoch] = FIRST if row.kind == "self" else rank
        content: dict[bytes, tuple[SigningKey, int]] = {}
        for channel, held in epochs:
            key, id = EpochKey(held), ChannelId(channel)
            box = content_mailbox(key, id)
            content[box.public] = box, ranks.get(epoch_id(key, id), FIRST + 1)
        self._boxes = state, Boxes({key.public: key for key in keys}, content)
        return self._boxes[1]

    @guarded
    def reaches(self, relay: bytes, mailboxes: Iterable[bytes]) -> dict[bytes, Reach]:
        """What of each was read."""
        self._again = self._again or aboard.is_done(self._store.database.reader, relay, aboard.AGAIN)
        return {one: self._reach(relay, one) for one in mailboxes}

    def _reach(self, relay: bytes, mailbox: bytes) -> Reach:
        if mailbox not in self._reaches:
            self._reaches[mailbox] = aboard.reach(self._store.database.reader, relay, mailbox)
        return self._reaches[mailbox]

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
                self._lie_there(places)
                if mailbox and time:
                    self.newest[mailbox] = time
        if any(one.data[:1] == bytes([NEED]) for one in items):
            self.settle(relay)
        needs = [self._needs.heed(relay, one.data) for one in items if one.data[:1] == bytes([NEED])]
        self.needed = self.needed or any(needs)

        self._move(relay, came)

        def note(db: apsw.Connection) -> None:
            for mailbox, whole in wholes:
                parts.drop_parts(db, relay, mailbox, whole)
            for name in done:
                aboard.set_done(db, relay, _marked(name))

        if wholes or done:
            self._store.ledger.run(note)
        many = sum(map(len, self._unsettled.values())) > UNSETTLED_MAX
        if many or any(isinstance(one, Page) and one.newest for one in came):  # a page is not to come twice
            self.settle(relay)
        return report

    def _move(self, relay: bytes, came: Sequence[Found | Page]) -> None:
        for one in came:
            before = reach = self._reach(relay, one.mailbox)
            if isinstance(one, Page):
                reach = before.read(one.asked, one.left, one.newest)
            elif not one.paged:
                reach = before.heard(one.cursor)
            if reach != before:
                self._reaches[one.mailbox] = reach
                self._moved.add(one.mailbox)

    def _lie_there(self, places: Iterable[Place]) -> None:
        for n, seq in places:
            self._unsettled.setdefault(n, []).append(seq)

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

    def _lacking(self, relay: bytes, n: int, spans: Iterable[Span]) -> list[Span]:
        """What of these commits of a log does not lie there."""
        left = lacking(spans, aboard.aboard(self._store.database.reader, relay, n))
        return lacking(left, spans_of(self._unsettled[n])) if left and n in self._unsettled else left

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

    def giving(
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
        left = [self._lacking(relay, n, spans_of(seqs)) for n, seqs in logs.items()]
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

    def given(self, relay: bytes, item: RelayItem) -> None:
        """It is on the relay's disk. Noted by `settle`, but for what is never put twice."""
        self._lie_there(item.places)
        if item.once:
            self._store.ledger.run(lambda db: aboard.set_done(db, relay, item.once))

    # What goes

    def _requests(self, relay: bytes) -> Generator[RelayItem, None, None]:
        db = self._store.database.reader
        for channel, text, name, _ in backlog.joinings(db):
            row, once = log.channel_by_id(db, channel), _once("request", text.encode())
            if (row is None or not row.role) and not aboard.is_done(db, relay, once):
                link = parse_link(text)
                mailbox = invite_mailbox(link.secret.key(link.channel).public, link.channel)
                yield from _items(mailbox, self._chat._request(text, name), once=once)

    def _channel(
        self, relay: bytes, row: log.ChannelRow, everything: bool, patient: bool
    ) -> Generator[RelayItem, None, None]:
        db = self._store.database.reader
        spans = {}
        for of in log.logs_of(db, row.n):
            if everything or of.own == log.OPEN:
                left = self._lacking(relay, of.n, heights.here(db, of.n))
                if left:
                    spans[of.n] = left
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
            if aboard.is_done(db, relay, once) or (not ours and aboard.is_done(db, relay, _marked(once))):
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

    # What came

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


def _items(
    mailbox: SigningKey, record: Record, places: tuple[Place, ...] = (), once: bytes = b""
) -> Generator[RelayItem, None, None]:
    """A record as items; with the last of them it is there."""
    items = list(items_of(record))
    for item in items[:-1]:
        yield RelayItem(mailbox, item)
    yield RelayItem(mailbox, items[-1], places, once)


def _marked(name: bytes) -> bytes:
    """That somebody says that they put it: not the same as having put it."""
    return hashlib.sha256(b"mark" + name).digest()


def _is_of(item: bytes, key: bytes, channel: ChannelId) -> bool:
    return need_tag(item) == bundle_tag(EpochKey(key), channel)


def _piece_once(file: bytes, number: int) -> bytes:
    """A name for a piece that was put, or (-1) for the last of them."""
    return hashlib.sha256(b"file" + file + number.to_bytes(4, "big", signed=True)).digest()


def _once(what: str, *parts: bytes) -> bytes:
    """A name for something that need not be put again, for some time: relays do not keep things for ever."""
    hashed = hashlib.sha256(f"{what} {now_ms() // AGAIN_MS}".encode())
    for part in parts:
        hashed.update(len(part).to_bytes(4, "big") + part)
    return hashed.digest()
