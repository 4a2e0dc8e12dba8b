"""Commits from other logs: checked, kept and applied, in whatever order, grouping and repetition they come.

Each commit is taken or refused as a whole, by itself; a refused one leaves nothing and stops no other:

    form        canonical bytes, and every operation in it too, before anything is applied
    channel     known, or founded by this very commit
    right       the device is one the channel's creator vouched for
    control     the control commits it names are known
    place       its log is in this channel and nobody else's; nothing else has its seq; it links to its neighbours
    signature   one for each unbroken run of linked commits of a log: the last one's covers the run

Gaps in a log are normal: a neighbour that comes later is checked then. All is written in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
import msgspec

from quire.core import clock, commit
from quire.core.control import Create, kind_of
from quire.core.crypto.keys import decode_certificate, verify
from quire.core.ids import ChannelId, CommitId, DeviceId, Incarnation, log_prefix, message_id
from quire.core.limits import WAITING_PER_DEVICE_MAX
from quire.core.operation import KINDS, SALT_SIZE, Post, decode_operation
from quire.errors import MalformedError, PeerError, UnauthorisedError
from quire.storage import log
from quire.storage import timeline as rows
from quire.store import ledger
from quire.store.apply import Item

if TYPE_CHECKING:
    from quire.store.local import LocalStore


class Refused(msgspec.Struct, frozen=True):
    """A commit that was not taken: its position in what was given, and the rule it broke."""

    position: int
    error: PeerError


class IngestReport(msgspec.Struct, frozen=True):
    """What became of the commits given: each is new, repeated (here already) or refused."""

    new: int
    repeated: int
    refused: tuple[Refused, ...]


class Arrival(NamedTuple):
    """A commit of right form."""

    position: int
    commit: commit.Commit
    head: commit.Head
    id: CommitId
    operations: list[Any]  # Operation, or ControlOperation

    @property
    def log(self) -> tuple[bytes, bytes, bytes]:
        return self.head.channel, self.head.device, self.head.incarnation

    @property
    def is_control(self) -> bool:
        return type(self.operations[0]) not in KINDS

    @property
    def founds(self) -> bool:
        return type(self.operations[0]) is Create


def ingest(store: LocalStore, encoded_commits: Sequence[bytes]) -> IngestReport:
    """Take commits of any logs; see this module. Memory is bounded by what is given at once.

    Raises: StorageError, with nothing taken; a commit's own faults are in the report.
    """
    refused: dict[int, PeerError] = {}
    arrivals: list[Arrival] = []
    for position, encoded in enumerate(encoded_commits):
        try:
            arrivals.append(_decoded(position, encoded))
        except PeerError as error:
            refused[position] = error
    repeated = 0
    if arrivals:
        repeated = store.ledger.run(
            lambda db: _Ingestion(store.ledger, store.device, db, refused).take(arrivals)
        )
    listed = tuple(Refused(position, refused[position]) for position in sorted(refused))
    return IngestReport(len(encoded_commits) - repeated - len(refused), repeated, listed)


def _decoded(position: int, encoded: bytes) -> Arrival:
    """A commit whose form, content root and every operation hold. Raises: MalformedError."""
    received, head = commit.decode_commit(encoded)
    operations = [decode_operation(salted[SALT_SIZE:]) for salted in received.operations]
    if any(type(operation) is Create for operation in operations[1:]):
        raise MalformedError("only a commit's first operation founds a channel", rule="create_misplaced")
    if len({type(operation) in KINDS for operation in operations}) > 1:
        raise MalformedError("a control commit holds control operations only", rule="control_mixed")
    return Arrival(position, received, head, commit.commit_id(received.head), operations)


class _Ingestion:
    """One call's work, inside its transaction. Refusals are noted by position."""

    def __init__(
        self, pen: ledger.Ledger, device: DeviceId, db: apsw.Connection, refused: dict[int, PeerError]
    ) -> None:
        self._pen = pen
        self._own_device = device
        self._db = db
        self._refused = refused
        self._repeated = 0
        self._now = ledger.now_ms()
        self._accepted: dict[bytes, list[tuple[Arrival, log.LogRow]]] = {}  # by channel
        self._devices: dict[bytes, set[bytes]] = {}  # by channel: those that may write

    def take(self, arrivals: list[Arrival]) -> int:
        """Keep and apply what may be; how many were here already."""
        for arrival in arrivals:
            if arrival.founds:
                self._each(arrival, self._found)
        logs: dict[tuple[bytes, bytes, bytes], list[Arrival]] = {}
        for arrival in arrivals:
            if not arrival.founds and self._each(arrival, self._admit):
                logs.setdefault(arrival.log, []).append(arrival)
        for group in logs.values():
            self._take_log(group)
        for channel, accepted in self._accepted.items():
            self._apply(channel, accepted)
        return self._repeated

    def _each(self, arrival: Arrival, rule: Callable[[Arrival], None]) -> bool:
        """Whether a rule lets a commit pass; its refusal is noted."""
        try:
            rule(arrival)
        except PeerError as error:
            self._refused[arrival.position] = error
            return False
        return True

    # Channels

    def _found(self, arrival: Arrival) -> None:
        """A new channel, by the commit that creates it."""
        create, head = arrival.operations[0], arrival.head
        assert isinstance(create, Create)
        salted = arrival.commit.operations[0]
        if commit.channel_id(salted[SALT_SIZE:]) != head.channel:
            raise MalformedError(
                "this is not the operation that the channel is named by", rule="channel_id_differs"
            )
        if head.seq != 1 or head.control_heads:
            raise MalformedError("a channel begins with a log's first commit", rule="create_misplaced")
        known = log.channel_by_id(self._db, head.channel)
        if known is not None:
            if known.genesis != arrival.id:
                raise PeerError("this channel began with another commit", rule="fork", channel=head.channel)
            self._repeated += 1
            return
        certificate = decode_certificate(create.device.certificate)
        certificate.verify()
        if certificate.device != head.device:
            raise UnauthorisedError("the certificate is another device's", rule="certificate_device")
        if create.kind == "self":  # our own was made with the vault; no other may become it
            raise UnauthorisedError("this is not our self-channel", rule="self_channel_foreign")
        signer = f"quire:{certificate.identity.hex()}"
        prefix = self._free_prefix(head)
        self._require_signature(arrival)
        self._require_room(arrival)
        n = log.insert_channel(
            self._db, id=ChannelId(head.channel), genesis=arrival.id, kind=create.kind, creator=signer,
            source=create.source, key=create.key, name=create.name, time=head.time,
            first=message_id(prefix, 1, 0), own=signer == self._pen.signer,
        )  # fmt: skip
        self._keep(arrival, self._new_log(n, head, prefix, signer))

    def _admit(self, arrival: Arrival) -> None:
        """What a commit must be before its log is looked at."""
        head = arrival.head
        channel = log.channel_by_id(self._db, head.channel)
        if channel is None:
            raise UnauthorisedError("this channel is not known here", rule="channel_unknown")
        if head.device not in self._writers(channel):
            raise UnauthorisedError("this device may not write in the channel", rule="device_unknown")
        if head.control_heads != (channel.genesis,):
            raise PeerError("it names control commits that are not here", rule="control_head_unknown")

    def _writers(self, channel: log.ChannelRow) -> set[bytes]:
        """The devices with a right to write: the one that founded the channel; in the self-channel, ours."""
        if channel.id not in self._devices:
            founding = {
                row.device
                for row in log.logs_of(self._db, channel.n)
                if (first := log.get_commit(self._db, row.n, 1))
                and commit.commit_id(first[0]) == channel.genesis
            }
            self._devices[channel.id] = founding | ({self._own_device} if channel.kind == "self" else set())
        return self._devices[channel.id]

    # One log

    def _take_log(self, group: list[Arrival]) -> None:
        """Take the commits of one log, in order of seq."""
        head = group[0].head
        prefix = log_prefix(DeviceId(head.device), Incarnation(head.incarnation))
        row = log.log_by_prefix(self._db, prefix)
        try:
            if row is None:
                self._free_prefix(head)
            else:
                self._require_same_log(row, head)
        except PeerError as error:
            self._refused.update({arrival.position: error for arrival in group})
            return
        for arrival in self._authentic(self._unseen(row, group)):
            if not self._each(arrival, self._require_room):
                continue
            if row is None:
                channel = log.channel_by_id(self._db, head.channel)
                assert channel is not None
                row = self._new_log(channel.n, head, prefix, channel.creator)
            if self._each(arrival, partial(self._require_place, row)):
                self._keep(arrival, row)

    def _unseen(self, row: log.LogRow | None, group: list[Arrival]) -> list[Arrival]:
        """Without what is here already, or twice in the group."""
        seen: set[bytes] = set()
        unseen = []
        for arrival in group:
            stored = log.get_commit(self._db, row.n, arrival.head.seq) if row else None
            if arrival.id in seen or (stored and stored[0] == arrival.commit.head):
                self._repeated += 1
            else:
                seen.add(arrival.id)
                unseen.append(arrival)
        return unseen

    def _authentic(self, group: list[Arrival]) -> list[Arrival]:
        """Those whose device signed them: by their own signature, or by that of a later one linked to them."""
        by_id = {bytes(arrival.id): arrival for arrival in group}
        settled: set[bytes] = set()
        authentic = []
        for last in sorted(group, key=lambda arrival: arrival.head.seq, reverse=True):
            if last.id in settled or not self._each(last, self._require_signature):
                continue
            linked: Arrival | None = last
            while linked is not None and linked.id not in settled:
                settled.add(linked.id)
                authentic.append(linked)
                linked = by_id.get(linked.head.previous)
        return sorted(authentic, key=lambda arrival: (arrival.head.seq, arrival.position))

    @staticmethod
    def _require_signature(arrival: Arrival) -> None:
        signed = commit.to_be_signed(arrival.commit.head)
        if not verify(arrival.head.device, arrival.commit.signature, signed):
            raise MalformedError("the device did not sign this", rule="commit_signature")

    def _free_prefix(self, head: commit.Head) -> bytes:
        """The prefix of a log that is new here."""
        prefix = log_prefix(DeviceId(head.device), Incarnation(head.incarnation))
        row = log.log_by_prefix(self._db, prefix)
        if row is not None:
            self._require_same_log(row, head)
            raise PeerError("this log is here already, in another channel", rule="log_of_another_channel")
        return prefix

    def _require_same_log(self, row: log.LogRow, head: commit.Head) -> None:
        if (row.device, row.incarnation) != (head.device, head.incarnation):
            raise PeerError("another log has the same prefix", rule="prefix_taken")
        if log.channel_by_n(self._db, row.channel).id != head.channel:
            raise PeerError("this log is here already, in another channel", rule="log_of_another_channel")

    def _require_place(self, row: log.LogRow, arrival: Arrival) -> None:
        """Nothing else has its seq, and it links to the neighbours that are here."""
        seq = arrival.head.seq
        if log.get_commit(self._db, row.n, seq) is not None:
            raise PeerError("another commit has this place in its log", rule="fork", seq=seq)
        before = log.get_commit(self._db, row.n, seq - 1)
        after = log.get_commit(self._db, row.n, seq + 1)
        if before is not None and commit.commit_id(before[0]) != arrival.head.previous:
            raise PeerError("it does not continue the commit before it", rule="link", seq=seq)
        if after is not None and commit.decode_head(after[0]).previous != arrival.id:
            raise PeerError("the commit after it continues another", rule="link", seq=seq)

    def _require_room(self, arrival: Arrival) -> None:
        """A device's operations may wait for what they refer to, or for their time, but not without bound."""
        if not log.waiting_exists(self._db):
            return
        device = arrival.head.device
        if log.waiting_of_device(self._db, device) < WAITING_PER_DEVICE_MAX:
            return
        if clock.is_ahead(arrival.head.time, self._now) or not all(map(self._is_here, _targets(arrival))):
            raise PeerError("too much of this device waits already", rule="too_many_waiting", device=device)

    def _is_here(self, target: bytes) -> bool:
        return rows.get_row(self._db, target) is not None

    # Keeping

    def _new_log(self, channel: int, head: commit.Head, prefix: bytes, signer: str) -> log.LogRow:
        device, incarnation = DeviceId(head.device), Incarnation(head.incarnation)
        row = log.insert_log(self._db, channel, device, incarnation, prefix, signer, own=False)
        if device == self._own_device:
            log.close_log(self._db, row.n)  # a log of ours that a copy of this vault wrote, or wrote on
        return row

    def _keep(self, arrival: Arrival, row: log.LogRow) -> None:
        log.insert_commit(self._db, row.n, arrival.head.seq, arrival.commit.head, arrival.commit.signature)
        if row.own:
            log.close_log(self._db, row.n)
        if arrival.is_control:
            places = enumerate(zip(arrival.operations, arrival.commit.operations, strict=True))
            log.insert_control(
                self._db,
                [
                    (message_id(row.prefix, arrival.head.seq, index), row.channel, kind_of(operation), salted)
                    for index, (operation, salted) in places
                ],
            )
            return
        self._accepted.setdefault(arrival.head.channel, []).append((arrival, row))

    def _apply(self, channel: bytes, accepted: list[tuple[Arrival, log.LogRow]]) -> None:
        row = log.channel_by_id(self._db, channel)
        assert row is not None
        items = [item for arrival, of in accepted for item in _items(arrival, of)]
        times = [arrival.head.time for arrival, _ in accepted]
        newest = max((time for time in times if not clock.is_ahead(time, self._now)), default=0)
        self._pen.applier.apply(self._db, row, items, self._now, newest)


def _items(arrival: Arrival, row: log.LogRow) -> Iterable[Item]:
    time, seq = arrival.head.time, arrival.head.seq
    for index, operation in enumerate(arrival.operations):
        salted = arrival.commit.operations[index]
        yield Item(message_id(row.prefix, seq, index), time, row.signer, operation, salted)


def _targets(arrival: Arrival) -> Iterable[bytes]:
    for operation in arrival.operations:
        target = operation.root if isinstance(operation, Post) else getattr(operation, "target", None)
        if target is not None:
            yield target
