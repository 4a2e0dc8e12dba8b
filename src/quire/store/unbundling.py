"""Reading bundle files: taking in what one holds for us.

Bundles are gathered into batches, each a transaction: the first is one bundle, so that the first page is there at once,
the others are larger, and the next one is opened while the disk takes this one. What is known already is stepped over
by the heads of its commits, so a file that was read halfway is simply read again.

A file is gone over as often as it brings a key that opens more of it, within bounds: a file that was written in
order takes two or three passes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from quire.core import limits
from quire.core.bundle import bundle_tag, open_bundle, tag_of
from quire.core.bundle_file import Kind, Record, read_bundle_file
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.sealing import public_of
from quire.core.file_record import open_file_piece
from quire.core.ids import ChannelId, FileId
from quire.core.membership import resolve
from quire.core.welcome import open_welcome, recipient_tag, recipients
from quire.errors import MalformedError, PeerError, UnauthorisedError, UsageError
from quire.storage import keychain, log
from quire.storage.meta import get_meta
from quire.store.arrivals import Arrival, Prepared, posts_of, prepare
from quire.store.carrying import Carried, open_carried
from quire.store.file_records import FileRecords
from quire.store.ingest import take
from quire.store.people import as_control
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.local import LocalStore

FILE_PIECE = 1 << 20
BATCH_BYTES = 4 << 20  # commits in one transaction, but for the last bundle: some 15,000 messages
MESSAGES_MAX = 1_000  # named one by one in a report; who gets more looks at the channels
PASSES_MAX = 16  # over one file; each but the last must have brought something


class BundleReport(msgspec.Struct):
    """What a bundle file brought."""

    new: int = 0  # commits
    repeated: int = 0
    parked: int = 0
    refused: list[PeerError] = []
    channels: list[bytes] = []  # that are new here
    people: list[
        bytes
    ] = []  # known channels whose control log went on: members, roles, rules or keys changed
    requests: int = 0  # of people who want to be let in
    answers: bool = False  # there is a refusal now for somebody who asked
    kept: int = 0  # self-channels of others, carried for them
    closed: int = 0  # bundles and welcomes that no key here opens
    damaged: list[MalformedError] = []
    forked: list[bytes] = []  # channels in which a device proved to write in two copies of its vault
    files: list[FileId] = []  # attachments that are whole here now
    unnamed: list[bytes] = []  # records of files that no message here names
    messages: list[
        tuple[bytes, bytes]
    ] = []  # channel and id of what may be a new message, the first MESSAGES_MAX

    @property
    def ok(self) -> bool:
        return not self.refused and not self.damaged


class _Batch:
    """Opened bundles on their way in, as one transaction."""

    def __init__(self) -> None:
        self.prepared = Prepared(0, [], 0, {})
        self.places: list[int] = []  # of the records that it is from
        self.ends: list[int] = []  # the position after the last commit of each
        self.size = 0

    def add(self, place: int, opened: Prepared) -> None:
        self.size += sum(map(_size, opened.arrivals))
        self.prepared.add(opened)
        self.places.append(place)
        self.ends.append(self.prepared.count)

    def place_of(self, position: int) -> int:
        return self.places[bisect_right(self.ends, position)]


def _size(arrival: Arrival) -> int:
    return len(arrival.commit.head) + sum(map(len, arrival.commit.operations))


class Reading:
    """Taking in the records of one bundle file, or of any road that can bring them again."""

    def __init__(
        self,
        store: LocalStore,
        records: Callable[[], Iterable[Record | MalformedError]],
        *,
        on_request: Callable[[bytes], bool] = lambda sealed: False,
        on_refusal: Callable[[bytes], bool] = lambda sealed: False,
        file_bytes_max: int = limits.FILE_BYTES_MAX,
        goes_on: bool = False,
    ) -> None:
        """
        file_bytes_max    larger files are taken only if somebody here asked for them
        goes_on           more of what came before: the first page is there, and the writer is set for much (`Database.bulk`)
        """
        self._files = FileRecords(store, file_bytes_max)
        self._store = store
        self._db = store.database.reader
        self._source = records
        self._on_request = on_request
        self._on_refusal = on_refusal
        self._done: set[int] = set()  # records that need not be looked at again
        self._again: set[int] = set()  # those of which something found no room to wait in
        self._crowded: list[PeerError] = []  # what found none in this pass
        self._keys: dict[bytes, tuple[ChannelId, EpochKey]] = {}  # by bundle tag
        self._tagged: set[tuple[bytes, bytes]] = set()  # (channel, key) that are in it
        self._batch_bytes = (
            BATCH_BYTES if goes_on else 0
        )  # until the first page is there: one bundle at a time
        self._left: Iterator[tuple[int, Record]] = iter(())
        self._in_bulk = goes_on
        self._held: tuple[int, Record] | None = None  # read, and not yet looked at
        self.report = BundleReport()

    def run(self) -> BundleReport:
        """Read until nothing more opens."""
        with ExitStack() as settings:
            settings.callback(self._files.close)
            for number in range(PASSES_MAX):
                before = len(self._done), self.report.new
                self._pass(settings, first=number == 0)
                if (len(self._done), self.report.new) == before:
                    break
        self.report.refused += self._crowded
        self.report.files = self._files.came
        return self.report

    def _pass(self, settings: ExitStack, *, first: bool) -> None:
        self._learn_keys()
        self._crowded = []
        self.report.closed = 0
        self._left = self._records(first)
        batch = self._gather()
        while batch.places or self._held:
            following: list[_Batch] = []
            if not batch.places:
                held, self._held = self._held, None
                assert held is not None
                self._take(*held)
            elif batch.prepared.is_content:
                if self._batch_bytes and not self._in_bulk:
                    settings.enter_context(self._store.database.bulk())
                    self._in_bulk = True
                if batch.prepared.arrivals:
                    self._batch_bytes = BATCH_BYTES
                self._take_batch(batch, lambda into=following: into.append(self._gather()))  # type: ignore[misc]
            else:
                self._take_batch(batch)
            batch = following[0] if following else self._gather()

    def _records(self, first: bool) -> Iterator[tuple[int, Record]]:
        for place, record in enumerate(self._source()):
            if isinstance(record, MalformedError):
                if first:
                    self.report.damaged.append(record)
            elif place not in self._done:
                yield place, record

    def _gather(self) -> _Batch:
        """Open the next bundles, up to what goes into one transaction or to something else. Writes nothing."""
        batch = _Batch()
        while not batch.places or batch.size < self._batch_bytes:
            item = self._held or next(self._left, None)
            self._held = None
            if item is None:
                return batch
            place, record = item
            if record.kind != Kind.BUNDLE:
                self._held = item
                return batch
            try:
                opened = self._opened(record.data)
            except PeerError as error:
                self._refuse(place, error)
                continue
            if opened is not None:
                batch.add(place, opened)
            elif batch.places and not batch.prepared.is_content:  # it may bring the key to this one
                self._held = item
                return batch
            else:
                self.report.closed += 1
        return batch

    def _opened(self, data: bytes) -> Prepared | None:
        """A bundle's commits, looked at; None if no key here opens it. Raises: MalformedError."""
        found = self._keys.get(tag_of(data))
        if found is None:
            return None
        channel, key = found
        return prepare(self._db, open_bundle(data, key, channel), channel=channel)

    def _take_batch(self, batch: _Batch, meanwhile: Callable[[], None] | None = None) -> None:
        again: set[int] = set()
        for position, error in self._ingest(batch.prepared, meanwhile, self._again.isdisjoint(batch.places)):
            place = batch.place_of(position)
            if error.rule == "too_many_waiting":  # what it waits for may be further down
                again.add(place)
                self._crowded.append(error)
            elif place not in self._again:
                self.report.refused.append(error)
        self._again |= again
        self._done.update(place for place in batch.places if place not in again)

    def _ingest(
        self, given: Prepared, meanwhile: Callable[[], None] | None = None, fresh: bool = True
    ) -> list[tuple[int, PeerError]]:
        """Take commits; those refused, by position.

        fresh    they were not given before in this reading
        """
        before = {} if given.is_content else self._control_heads()
        result = take(self._store, given, meanwhile)
        report = self.report
        report.new += result.new
        if fresh:
            report.repeated += result.repeated
            report.parked += result.parked
        report.forked += [one for one in result.forked if one not in report.forked]
        refused = {one.position for one in result.refused}
        for one in given.arrivals:
            if not one.is_control and len(report.messages) < MESSAGES_MAX and one.position not in refused:
                report.messages += posts_of(one)[: MESSAGES_MAX - len(report.messages)]
        if not given.is_content:
            self._learn_keys()
            now = self._control_heads()
            report.channels += sorted(now.keys() - before.keys())
            grown = {id for id, heads in before.items() if now.get(id) != heads}
            report.people += sorted(grown.difference(report.people))
        return [(one.position, one.error) for one in result.refused]

    def _control_heads(self) -> dict[bytes, bytes]:
        """Every channel, and where its control log ends."""
        return {row.id: row.heads for row in log.all_channels(self._db)}

    def _learn_keys(self) -> None:
        """Know the tags of all epochs whose keys are here."""
        for pair in keychain.all_epoch_keys(self._db):
            if pair not in self._tagged:
                self._tagged.add(pair)
                channel, key = ChannelId(pair[0]), EpochKey(pair[1])
                self._keys[bundle_tag(key, channel)] = channel, key

    # Everything but bundles

    def _take(self, place: int, record: Record) -> None:
        try:
            if self._one(record.kind, record.data):
                self._done.add(place)
            else:
                self.report.closed += 1
        except PeerError as error:
            self._refuse(place, error)

    def _refuse(self, place: int, error: PeerError) -> None:
        self._done.add(place)
        self.report.refused.append(error)

    def _one(self, kind: int, data: bytes) -> bool:
        """Take one record, or a part of one; False if it does not open yet."""
        match kind:
            case Kind.WELCOME:
                return self._welcome(data)
            case Kind.BUNDLE:
                opened = self._opened(data)
                if opened is not None:
                    self._take_now(opened)
                return opened is not None
            case Kind.REQUEST:
                if self._on_request(data):
                    self.report.requests += 1
                    return True
                return False
            case Kind.REFUSAL:
                return self._on_refusal(data)
            case Kind.KEPT:
                return self._kept(data)
            case Kind.FILE:
                return self._file(data)
        return False

    def _file(self, data: bytes) -> bool:
        """A piece of a file: the messages that name it came before."""
        found = self._keys.get(tag_of(data))
        if found is not None:
            channel, key = found
            if not self._files.take(open_file_piece(data, key, channel)):
                self.report.unnamed.append(data)
        return found is not None

    def _take_now(self, given: Prepared) -> None:
        self.report.refused += [error for _, error in self._ingest(given)]
        self._learn_keys()  # a self-channel's content is keys, too

    def _welcome(self, data: bytes) -> bool:
        seeds = [bytes(get_meta(self._db, "sealing_seed"))]
        if self._store.ledger.recovery_seed is not None:
            seeds.append(self._store.ledger.recovery_seed.reveal())
        tags = recipients(data)
        for seed in seeds:
            if recipient_tag(public_of(seed)) in tags:
                welcome = open_welcome(data, seed)
                given = prepare(self._db, welcome.commits, channel=welcome.channel)
                self._require_member(welcome.channel, given)
                self._take_now(given)
                return True
        return False

    def _require_member(self, channel: ChannelId, given: Prepared) -> None:
        """Nobody plants a channel here that we are not in: a welcome to a new one must make us a member."""
        if log.channel_by_id(self._db, channel) is not None:
            return
        control = [
            as_control(one.commit.head, one.head, one.operations) for one in given.arrivals if one.is_control
        ]
        try:
            state = resolve(channel, control)
        except UsageError:  # a part of a control log: its beginning comes first
            state = None
        if state is None or not state.member(self._store.ledger.people.identity):
            raise UnauthorisedError(
                "this welcome is to a channel that we are not in", rule="welcome_not_member"
            )

    def _kept(self, data: bytes) -> bool:
        """Our own self-channel is taken in; another's is kept for them, the newest only."""
        found = open_carried(data)
        if found.owner == self._store.ledger.people.identity:
            opened = [self._part(kind, part) for kind, part in found.parts]
            return all(opened)
        if found.stamp_ms > now_ms() + limits.AHEAD_MS_MAX:  # nothing would ever replace it
            raise PeerError("a self-channel from the future", rule="carried_ahead")
        if found.stamp_ms <= keychain.kept_stamp(
            self._db, found.owner
        ):  # the same, mostly: nothing to write for
            self.report.kept += 1
        elif self._is_known(found):
            self._store.ledger.run(lambda db: keychain.keep(db, found.owner, found.stamp_ms, data))
            self.report.kept += 1
        return True

    def _part(self, kind: int, data: bytes) -> bool:
        """A part of our own self-channel; nothing else stands in one, so nothing nests."""
        if kind in (Kind.WELCOME, Kind.BUNDLE):
            return self._one(kind, data)
        raise MalformedError("a self-channel is welcomes and bundles", rule="carried_part", kind=kind)

    def _is_known(self, found: Carried) -> bool:
        """Is it by a device of somebody whom we share a channel with?"""
        db = self._db
        people = self._store.ledger.people
        for row in log.channels(db):
            device = people.state(db, row).device(found.device) if row.role else None
            if device is not None and device.identity == found.owner:
                return True
        return False


def read_file(store: LocalStore, path: Path) -> BundleReport:
    """Take in what a bundle file holds for us. Raises: UsageError(rule="file_unreadable")."""
    return Reading(store, lambda: read_bundle_file(file_pieces(path))).run()


def file_pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(FILE_PIECE):
                yield piece
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", rule="file_unreadable", hint="check the path"
        ) from error
