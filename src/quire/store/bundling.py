"""Bundle files: what this vault knows, sealed for those who may read it; and taking in what such a file holds.

A commit is sealed under the epoch that its author wrote under, so a newcomer opens what their keys open and no more.
A control commit that brings a new key is so sealed under the one before. Who has not been heard of in a channel yet
gets its control log in a welcome, sealed to their devices. Everybody's self-channel travels along, sealed to
themselves: others carry it, so that a vault that burnt comes back from any of them.

Reading goes over the file as often as it brings a key that opens more of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import apsw
import msgspec

from quire.core import limits
from quire.core.bundle import bundle_tag, in_parts, open_bundle, seal_bundle, tag_of
from quire.core.bundle_file import Kind, Record, read_bundle_file
from quire.core.commit import Commit, decode_commit, decode_head, encode_commit
from quire.core.control import CONTROL_KINDS as KINDS
from quire.core.control import Report, Seal, decode_control
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, verify
from quire.core.encoding import Codec, encode
from quire.core.ids import ChannelId
from quire.core.membership import Graph, resolve
from quire.core.operation import SALT_SIZE
from quire.core.welcome import RECIPIENTS_MAX, open_welcome, recipient_tag, recipients, seal_welcome
from quire.errors import MalformedError, PeerError, UnauthorisedError, UsageError
from quire.storage import log
from quire.store import epochs
from quire.store.ledger import now_ms
from quire.store.people import as_control

if TYPE_CHECKING:
    from quire.store.local import LocalStore

FILE_PIECE = 1 << 20
WELCOME_BYTES = limits.BUNDLE_PLAIN_BYTES_MAX - (1 << 20)  # one welcome: a control log is read whole
PART_BYTES = 1 << 20  # one bundle: what a relay carries at once
COMMITS_AT_ONCE = 1_000


class Carried(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One person's self-channel, sealed to themselves, as others keep it for them."""

    owner: bytes
    stamp_ms: int  # the newest replaces
    device: bytes
    parts: Annotated[tuple[tuple[int, bytes], ...], msgspec.Meta(max_length=limits.CARRIED_PARTS_MAX)]


class _Signed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    carried: bytes
    signature: bytes


_carried_codec = Codec(Carried, "carried")
_signed_codec = Codec(_Signed, "carried")


class BundleReport(msgspec.Struct):
    """What a bundle file brought."""

    new: int = 0  # commits
    repeated: int = 0
    parked: int = 0
    refused: list[PeerError] = []
    channels: list[bytes] = []  # that are new here
    requests: int = 0  # of people who want to be let in
    kept: int = 0  # self-channels of others, carried for them
    closed: int = 0  # bundles and welcomes that no key here opens
    damaged: list[MalformedError] = []
    forked: list[bytes] = []  # channels in which a device proved to write in two copies of its vault

    @property
    def ok(self) -> bool:
        return not self.refused and not self.damaged


# Writing


def records(store: LocalStore, channels: Sequence[log.ChannelRow]) -> Iterator[Record]:
    """What the members of these channels may have of them, and everybody's self-channel.

    Of a channel that we are in no more, what we wrote ourselves: also that we left.
    """
    db = store.database.reader
    for row in channels:
        if not row.role:
            yield from _bundles(db, row, store.ledger.people.graph(db, row), own=store.own_key)
            continue
        ready = with_key(store, row.id)
        if ready is None:
            continue
        graph = store.ledger.people.graph(db, ready)
        yield from _welcomes(db, ready, graph)
        yield from _bundles(db, ready, graph)
    if channels:
        yield carried(store)
        for sealed in log.kept(db):
            yield Record(Kind.KEPT, sealed)


def with_key(store: LocalStore, id: ChannelId) -> log.ChannelRow | None:
    """A channel whose present key we hold, made if there is none yet; None if we may not make one."""

    def work(db: apsw.Connection) -> log.ChannelRow | None:
        row = log.channel_by_id(db, id)
        assert row is not None
        graph = store.ledger.people.graph(db, row)
        current = graph.state.epochs.current
        held = log.epoch_keys(db, id)
        if row.role >= 2 and (
            graph.state.epochs.change_needed(now_ms()) or current is None or current.epoch not in held
        ):
            operations = epochs.renewal(db, row, graph, now_ms())
            if operations:
                row = store.ledger.add_control(db, row, graph, operations)
                current, held = graph.state.epochs.current, log.epoch_keys(db, id)
        if row.role >= 2 and (operations := epochs.reunion(db, row, graph)):
            row = store.ledger.add_control(db, row, graph, operations)
        return row if current is not None and held else None

    return store.ledger.run(work)


def _welcomes(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> Iterator[Record]:
    """The control log for each device of a member that no commit we could seal would bring the present key."""
    state = graph.state
    behind = epochs.recipients(db, row, state, sorted(_behind(db, row, graph)))
    publics = [public for public in behind.values() if epochs.is_usable(public)]
    for first in range(0, len(publics), RECIPIENTS_MAX):
        some = publics[first : first + RECIPIENTS_MAX]
        for part in in_parts(control_log(db, row, graph), WELCOME_BYTES):
            yield Record(Kind.WELCOME, seal_welcome(row.id, part, some, os.urandom))


def _behind(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> set[bytes]:
    """Devices that cannot come to the present key by what they hold for sure: the keys they made or wrote under.

    A seal travels under the epoch before it. So who was away for a removal and let in again, or was sealed the
    wrong key, or is new, has nothing that opens the commit that their key is in.
    """
    epochs_ = graph.state.epochs
    assert epochs_.current is not None
    places = log.control_places(db, row.n)
    by_place = {place: id for id, place in places.items()}
    under: dict[bytes, bytes] = {}  # commit -> the epoch it travels under
    roads: dict[bytes, dict[bytes, set[bytes]]] = {}  # epoch -> device -> epochs that lead to it
    for id, op in log.control_rows(db, row.n, KINDS[Seal]):
        seal, commit = decode_control(op[SALT_SIZE:]), by_place[id[:14]]
        assert isinstance(seal, Seal)
        if commit not in under:
            encoded = log.commit_at(db, id[:14])
            assert encoded is not None
            under[commit] = _epoch_of(graph, decode_head(encoded).control_heads)
        for one in seal.keys:
            roads.setdefault(seal.epoch, {}).setdefault(one.recipient, set()).add(under[commit])
    for id, op in log.control_rows(db, row.n, KINDS[Report]):
        report, branch = decode_control(op[SALT_SIZE:]), log.log_by_prefix(db, id[:10])
        assert isinstance(report, Report)
        assert branch is not None
        roads.get(report.epoch, {}).pop(branch.device, None)  # what was sealed to it did not open
    held: dict[bytes, set[bytes]] = {}
    for info in epochs_.every():
        held.setdefault(info.device, set()).add(info.epoch)
    for branch in log.logs_of(db, row.n):
        if heads := _newest_content_heads(db, branch, by_place):
            held.setdefault(branch.device, set()).add(_epoch_of(graph, heads))
    return {
        device
        for device in graph.state.devices
        if not _leads(epochs_.current.epoch, device, held.get(device, set()), roads)
    }


def _newest_content_heads(
    db: apsw.Connection, of: log.LogRow, control: Mapping[bytes, bytes]
) -> tuple[bytes, ...]:
    for seq in range(log.newest_commit(db, of.n)[0], 0, -1):
        if of.prefix + seq.to_bytes(4, "big") not in control and (found := log.get_commit(db, of.n, seq)):
            return decode_head(found[0]).control_heads
    return ()


def _leads(
    epoch: bytes, device: bytes, held: set[bytes], roads: dict[bytes, dict[bytes, set[bytes]]]
) -> bool:
    """Does a chain of seals to a device lead from a key that it holds to this one?"""
    seen: set[bytes] = set()
    todo = [epoch]
    while todo:
        one = todo.pop()
        if one in held:
            return True
        if one not in seen:
            seen.add(one)
            todo += roads.get(one, {}).get(device, ())
    return False


def control_log(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> Iterator[bytes]:
    """Every control commit of a channel, encoded, in order of time."""
    places = log.control_places(db, row.n)
    for verdict in graph.story():
        yield _encoded(db, places[verdict.id])


def _bundles(db: apsw.Connection, row: log.ChannelRow, graph: Graph, *, own: str = "") -> Iterator[Record]:
    """Every commit under the epoch that it was written under: control commits first, then the newest logs' ends.

    own    only those of this person
    """
    held = {id: EpochKey(key) for id, key in log.epoch_keys(db, row.id).items()}
    control: dict[bytes, list[bytes]] = {}
    places = log.control_places(db, row.n)
    for verdict in graph.story():
        if own and f"quire:{verdict.identity.hex()}" != own:
            continue
        encoded = _encoded(db, places[verdict.id])
        control.setdefault(_epoch_of(graph, decode_commit(encoded)[1].control_heads), []).append(encoded)
    for epoch, commits in control.items():
        yield from _sealed(commits, held.get(epoch), row.id)
    for branch in log.logs_of(db, row.n):
        if own and branch.signer != own:
            continue
        yield from _log_bundles(db, row, branch, graph, held)


def _log_bundles(
    db: apsw.Connection, row: log.ChannelRow, of: log.LogRow, graph: Graph, held: dict[bytes, EpochKey]
) -> Iterator[Record]:
    """The content of one log, its end first, in pieces of bounded size."""
    last = log.newest_commit(db, of.n)[0]
    while last > 0:
        first = max(1, last - COMMITS_AT_ONCE + 1)
        by_epoch: dict[bytes, list[bytes]] = {}
        for heads, encoded in stored_commits(db, of, first, last):
            by_epoch.setdefault(_epoch_of(graph, heads), []).append(encoded)
        for epoch, commits in by_epoch.items():
            yield from _sealed(commits, held.get(epoch), row.id)
        last = first - 1


def _sealed(commits: Iterable[bytes], key: EpochKey | None, channel: ChannelId) -> Iterator[Record]:
    if key is None:  # ours to carry in the vault, not to hand on
        return
    for part in in_parts(commits, PART_BYTES):
        yield Record(Kind.BUNDLE, seal_bundle(part, key, channel, os.urandom))


def _epoch_of(graph: Graph, heads: tuple[bytes, ...]) -> bytes:
    """The epoch that a commit naming these heads was written under; what is older than all goes with the first."""
    found = graph.epoch_at(heads) if heads else None
    return found.epoch if found else graph.state.epochs.every()[-1].epoch


def stored_commits(
    db: apsw.Connection, of: log.LogRow, first: int, last: int
) -> list[tuple[tuple[bytes, ...], bytes]]:
    """(control heads, encoded commit) of a log's content commits from seq `first` to `last`."""
    operations = log.operations_between(db, of.prefix, first, last)
    found = []
    for seq, head, signature in log.commits_between(db, of.n, first, last):
        salted = operations.get(seq)
        if salted:
            found.append(
                (decode_head(head).control_heads, encode_commit(Commit(head, signature, tuple(salted))))
            )
    return found


def _encoded(db: apsw.Connection, place: bytes) -> bytes:
    """One commit as it travels."""
    row = log.log_by_prefix(db, place[:10])
    assert row is not None
    seq = int.from_bytes(place[10:], "big")
    stored = log.get_commit(db, row.n, seq)
    assert stored is not None
    salted = tuple(op for _, op in log.commit_operations(db, row.prefix, seq))
    return encode_commit(Commit(*stored, salted))


def carried(store: LocalStore) -> Record:
    """Our self-channel, sealed to our own devices and our recovery key, signed by this device."""
    db = store.database.reader
    row = with_key(store, log.self_channel(db).id)
    assert row is not None
    graph = store.ledger.people.graph(db, row)
    publics = epochs.recipients(db, row, graph.state, graph.state.epochs.expected())
    parts = [
        (int(Kind.WELCOME), seal_welcome(row.id, part, list(publics.values()), os.urandom))
        for part in in_parts(control_log(db, row, graph), PART_BYTES)
    ]
    parts += [(int(kind), data) for kind, data in _bundles(db, row, graph)]
    owner = store.ledger.people.identity
    encoded = encode(Carried(owner, now_ms(), store.device, tuple(parts)))
    signature = store.ledger.sign(Label.CARRIED.encode() + encoded)
    return Record(Kind.KEPT, encode(_Signed(encoded, signature)))


def open_carried(data: bytes) -> Carried:
    """What somebody had others keep; its signature holds. Raises: MalformedError."""
    signed: _Signed = _signed_codec.decode(data)
    found: Carried = _carried_codec.decode(signed.carried)
    if not verify(found.device, signed.signature, Label.CARRIED.encode() + signed.carried):
        raise MalformedError("its device did not sign this", rule="carried_signature")
    return found


# Reading


class Reading:
    """Taking in one bundle file."""

    def __init__(
        self,
        store: LocalStore,
        pieces: Callable[[], Iterable[bytes]],
        *,
        on_request: Callable[[bytes], bool],
    ) -> None:
        self._store = store
        self._pieces = pieces
        self._on_request = on_request
        self._done: set[int] = set()  # records that need not be looked at again
        self.report = BundleReport()

    def run(self) -> BundleReport:
        """Read until nothing more opens."""
        first = True
        while True:
            before = len(self._done)
            self._pass(first=first)
            if len(self._done) == before:
                return self.report
            first = False

    def _pass(self, *, first: bool) -> None:
        self._keys = self._tags()
        self.report.closed = 0
        for place, record in enumerate(read_bundle_file(self._pieces())):
            if isinstance(record, MalformedError):
                if first:
                    self.report.damaged.append(record)
            elif place not in self._done:
                self._take(place, record)

    def _take(self, place: int, record: Record) -> None:
        try:
            if self._one(record.kind, record.data):
                self._done.add(place)
            else:
                self.report.closed += 1
        except PeerError as error:
            self._done.add(place)
            self.report.refused.append(error)

    def _one(self, kind: int, data: bytes) -> bool:
        """Take one record; False if it does not open yet."""
        match kind:
            case Kind.WELCOME:
                return self._welcome(data)
            case Kind.BUNDLE:
                return self._bundle(data)
            case Kind.REQUEST:
                if self._on_request(data):
                    self.report.requests += 1
                    return True
                return False
            case Kind.KEPT:
                return self._kept(data)
        return False

    def _welcome(self, data: bytes) -> bool:
        seeds = [bytes(log.get_meta(self._store.database.reader, "sealing_seed"))]
        if self._store.ledger.recovery_seed is not None:
            seeds.append(self._store.ledger.recovery_seed.reveal())
        tags = recipients(data)
        for seed in seeds:
            if recipient_tag(_public(seed)) in tags:
                welcome = open_welcome(data, seed)
                self._require_member(welcome.channel, welcome.commits)
                self._ingest(welcome.commits, welcome.channel)
                return True
        return False

    def _require_member(self, channel: ChannelId, commits: list[bytes]) -> None:
        """Nobody plants a channel here that we are not in: a welcome to a new one must make us a member."""
        if log.channel_by_id(self._store.database.reader, channel) is not None:
            return
        decoded = [decode_commit(encoded) for encoded in commits]
        try:
            state = resolve(
                channel,
                [
                    as_control(one.head, head, [decode_control(op[SALT_SIZE:]) for op in one.operations])
                    for one, head in decoded
                    if head.channel == channel
                ],
            )
        except UsageError:  # a part of a control log: its beginning comes first
            state = None
        if state is None or not state.member(self._store.ledger.people.identity):
            raise UnauthorisedError(
                "this welcome is to a channel that we are not in", rule="welcome_not_member"
            )

    def _bundle(self, data: bytes) -> bool:
        found = self._keys.get(tag_of(data))
        if found is None:
            return False
        channel, key = found
        self._ingest(open_bundle(data, key, channel), channel)
        return True

    def _ingest(self, commits: list[bytes], channel: ChannelId) -> None:
        for encoded in commits:
            if decode_commit(encoded)[1].channel != channel:
                raise MalformedError("a commit of another channel was put in", rule="bundle_channel")
        known = log.channel_by_id(self._store.database.reader, channel) is not None
        result = self._store.ingest(commits)
        report = self.report
        report.new += result.new
        report.repeated += result.repeated
        report.parked += result.parked
        report.forked += [one for one in result.forked if one not in report.forked]
        report.refused += [one.error for one in result.refused]
        if result.new:
            self._keys = self._tags()
        if not known and log.channel_by_id(self._store.database.reader, channel) is not None:
            report.channels.append(channel)

    def _kept(self, data: bytes) -> bool:
        """Our own self-channel is taken in; another's is kept for them, the newest only."""
        found = open_carried(data)
        if found.owner == self._store.ledger.people.identity:
            opened = [self._part(kind, part) for kind, part in found.parts]
            return all(opened)
        if self._is_known(found):
            self._store.ledger.run(lambda db: log.keep(db, found.owner, found.stamp_ms, data))
            self.report.kept += 1
        return True

    def _part(self, kind: int, data: bytes) -> bool:
        """A part of our own self-channel; nothing else stands in one, so nothing nests."""
        if kind == Kind.WELCOME:
            return self._welcome(data)
        if kind == Kind.BUNDLE:
            return self._bundle(data)
        raise MalformedError("a self-channel is welcomes and bundles", rule="carried_part", kind=kind)

    def _is_known(self, found: Carried) -> bool:
        """Is it by a device of somebody whom we share a channel with?"""
        db = self._store.database.reader
        people = self._store.ledger.people
        for row in log.channels(db):
            device = people.state(db, row).device(found.device) if row.role else None
            if device is not None and device.identity == found.owner:
                return True
        return False

    def _tags(self) -> dict[bytes, tuple[ChannelId, EpochKey]]:
        found: dict[bytes, tuple[ChannelId, EpochKey]] = {}
        for channel, key in log.all_epoch_keys(self._store.database.reader):
            id, epoch_key = ChannelId(channel), EpochKey(key)
            found[bundle_tag(epoch_key, id)] = (id, epoch_key)
        return found


def read_file(store: LocalStore, path: Path, *, on_request: Callable[[bytes], bool]) -> BundleReport:
    """Take in what a bundle file holds for us. Raises: UsageError(rule="file_unreadable")."""
    return Reading(store, lambda: file_pieces(path), on_request=on_request).run()


def file_pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(FILE_PIECE):
                yield piece
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", rule="file_unreadable", hint="check the path"
        ) from error


def _public(seed: bytes) -> bytes:
    from quire.core.crypto.sealing import public_of

    return public_of(seed)
