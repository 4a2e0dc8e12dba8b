"""Commits from other logs: checked, kept and applied, in whatever order, grouping and repetition they come.

Each commit is taken or refused as a whole, by itself; a refused one leaves nothing and stops no other:

    form        canonical bytes, and every operation in it too, before anything is applied
    channel     known, or founded by this very commit
    signature   one for each unbroken run of linked commits of a log: the last one's covers the run
    control     the control commits that it names are known; otherwise it waits for them, whole (`parked`)
    right       membership as of those control commits lets its author write; what a removal has cut off since is kept
                aside, and what was never anybody's right is refused
    place       its log is in this channel and nobody else's; what does not link to its neighbours there is a fork
                (store/forks.py)

Control commits come first, since content may have its right from them. Gaps in a log are normal: a neighbour that
comes later is checked then. All is written in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
import msgspec

from quire.core import clock, commit
from quire.core.control import ControlOperation, Create, kind_of
from quire.core.crypto.keys import verify
from quire.core.ids import ChannelId, CommitId, DeviceId, Incarnation, log_prefix, message_id
from quire.core.limits import (
    PARKED_BYTES_MAX,
    PARKED_PER_CHANNEL_MAX,
    PARKED_PER_DEVICE_MAX,
    WAITING_PER_DEVICE_MAX,
)
from quire.core.membership import ControlCommit, Graph
from quire.core.operation import KINDS, SALT_SIZE, Post, decode_operation
from quire.core.timeline import MAY_ALL
from quire.errors import MalformedError, PeerError, UnauthorisedError
from quire.storage import log
from quire.storage import timeline as rows
from quire.store import ledger
from quire.store.apply import Item
from quire.store.forks import arrange, begin_branch
from quire.store.people import as_control, content_rights, takes
from quire.store.withdraw import set_aside

if TYPE_CHECKING:
    from quire.store.local import LocalStore


PARKED = -1  # the position of a commit that was parked before and is tried again
PERMANENT = {"device_unknown", "author_revoked", "author_not_member"}  # had no right where it was written


class Refused(msgspec.Struct, frozen=True):
    """A commit that was not taken: its position in what was given, and the rule it broke."""

    position: int
    error: PeerError


class IngestReport(msgspec.Struct, frozen=True):
    """What became of the commits given: each is new, repeated (here already), parked or refused."""

    new: int
    repeated: int
    refused: tuple[Refused, ...]
    parked: int = 0  # they wait, whole, for a control commit that they name, or for their time
    forked: tuple[bytes, ...] = ()  # channels in which a log proved to have been continued twice


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
    repeated = parked = 0
    forked: tuple[bytes, ...] = ()
    if arrivals:

        def work(db: apsw.Connection) -> tuple[int, int, tuple[bytes, ...]]:
            run = _Ingestion(store.ledger, store.device, db, refused)
            return run.take(arrivals), run.parked, tuple(sorted(run.forked))

        repeated, parked, forked = store.ledger.run(work)
    refused.pop(PARKED, None)
    listed = tuple(Refused(position, refused[position]) for position in sorted(refused))
    return IngestReport(
        len(encoded_commits) - repeated - len(refused) - parked, repeated, listed, parked, forked
    )


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
        self._people = pen.people
        self._own_device = device
        self._db = db
        self._refused = refused
        self._repeated = 0
        self.parked = 0
        self._now = ledger.now_ms()
        self.forked: set[bytes] = set()
        self._tangled: dict[bytes, set[tuple[bytes, bytes]]] = {}  # by channel: logs with branches that grew
        self._accepted: dict[bytes, list[tuple[Arrival, log.LogRow]]] = {}  # by channel

    def take(self, arrivals: list[Arrival]) -> int:
        """Keep and apply what may be; how many were here already."""
        for arrival in arrivals:
            if arrival.founds:
                self._each(arrival, self._found)
        channels: dict[bytes, list[Arrival]] = {}
        for arrival in arrivals:
            if not arrival.founds and self._each(arrival, self._require_channel):
                channels.setdefault(arrival.head.channel, []).append(arrival)
        for id, group in channels.items():
            self._take_channel(id, group)
        return self._repeated

    def _each(self, arrival: Arrival, rule: Callable[[Arrival], None]) -> bool:
        """Whether a rule lets a commit pass; its refusal is noted."""
        try:
            rule(arrival)
        except PeerError as error:
            self._refused[arrival.position] = error
            self._unpark(arrival)
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
        graph = Graph(head.channel)
        verdict = graph.add(_as_control(arrival))
        if verdict.rule:
            raise UnauthorisedError(
                f"the channel does not begin as it must: {verdict.rule}", rule=verdict.rule
            )
        signer = f"quire:{verdict.identity.hex()}"
        if create.kind == "self" and signer != self._pen.signer:
            raise UnauthorisedError("this is not our self-channel", rule="self_channel_foreign")
        prefix = self._free_prefix(head)
        self._require_signature(arrival)
        n = log.insert_channel(
            self._db, id=ChannelId(head.channel), genesis=arrival.id, kind=create.kind, creator=signer,
            source=create.source, key=create.key, name=create.name, time=head.time,
            first=message_id(prefix, 1, 0), own=signer == self._pen.signer,
        )  # fmt: skip
        row = self._new_log(n, head, prefix, signer)
        self._keep(arrival, row, MAY_ALL)
        self._keep_control(arrival, row)
        self._pen.settle(self._db, n, graph, arrival.operations, review=False)

    def _require_channel(self, arrival: Arrival) -> None:
        if log.channel_by_id(self._db, arrival.head.channel) is None:
            raise UnauthorisedError("this channel is not known here", rule="channel_unknown")

    def _take_channel(self, id: bytes, arrivals: list[Arrival]) -> None:
        """Take commits of one channel: control commits first, then content, which they may give the right to."""
        channel = log.channel_by_id(self._db, id)
        assert channel is not None
        graph = self._people.graph(self._db, channel)
        logs: dict[tuple[bytes, bytes, bytes], list[Arrival]] = {}
        for arrival in arrivals:
            logs.setdefault(arrival.log, []).append(arrival)
        fresh = [one for group in logs.values() for one in self._authentic(self._unseen(group))]
        waiting = log.parked_reasons(self._db, id)
        if waiting and ("ahead" in waiting or any(one.is_control for one in fresh)):
            fresh = [_decoded(PARKED, encoded) for encoded in log.parked_commits(self._db, id)] + fresh
        self._take_control(channel, graph, [one for one in fresh if one.is_control])
        for one in fresh:
            if not one.is_control:
                self._each(one, partial(self._take_content, channel.n, graph))
        self._apply(channel.n, graph)

    # Control commits

    def _take_control(self, channel: log.ChannelRow, graph: Graph, arrivals: list[Arrival]) -> None:
        """Take control commits after those that they name, however they came."""
        review = False
        operations: list[ControlOperation] = []
        todo = sorted(arrivals, key=lambda one: one.head.time)
        while todo:
            ready = [one for one in todo if all(head in graph for head in one.head.control_heads)]
            if not ready:
                break
            for one in ready:
                behind = set(one.head.control_heads) != set(graph.heads)
                if self._each(one, partial(self._take_one_control, channel.n, graph)):
                    operations += one.operations
                    review = review or behind or any(map(takes, one.operations))
            tried = {one.id for one in ready}
            todo = [one for one in todo if one.id not in tried]
        for one in todo:
            self._each(one, partial(self._park, reason="control_head_unknown"))
        if operations:
            self._pen.settle(self._db, channel.n, graph, operations, review=review)

    def _take_one_control(self, n: int, graph: Graph, arrival: Arrival) -> None:
        if clock.is_ahead(arrival.head.time, self._now):
            self._park(arrival, reason="ahead")
            return
        control = _as_control(arrival)
        identity = graph.author_of(control)
        if not identity:  # nobody's word: it can never have an effect
            raise UnauthorisedError("this device may not write in the channel", rule="device_unknown")
        row = self._row(n, graph, arrival, f"quire:{identity.hex()}")
        graph.add(control)
        self._keep(arrival, row, MAY_ALL)
        self._keep_control(arrival, row)

    # Content

    def _take_content(self, n: int, graph: Graph, arrival: Arrival) -> None:
        """A content commit, by the right that its author has where it was written."""
        head = arrival.head
        if not head.control_heads:
            raise UnauthorisedError("it names nothing that its right could be from", rule="device_unknown")
        if any(id not in graph for id in head.control_heads):
            self._park(arrival, reason="control_head_unknown")
            return
        identity = graph.at(head.control_heads).owner_of(head.device)
        if not identity:
            raise UnauthorisedError("this device may not write in the channel", rule="device_unknown")
        rights = self._rights(graph, head)
        if not rights and log.waiting_of_device(self._db, head.device, "voided") >= WAITING_PER_DEVICE_MAX:
            raise PeerError(
                "too much that does not count is kept of this device",
                rule="too_many_waiting",
                device=head.device,
            )
        self._require_room(arrival)
        row = self._row(n, graph, arrival, f"quire:{identity.hex()}")
        self._keep(arrival, row, rights)
        self._accepted.setdefault(head.channel, []).append((arrival, row))

    @staticmethod
    def _rights(graph: Graph, head: commit.Head) -> int:
        """What its author may do; 0 for what a removal has cut off since, which may be void itself one day.

        Raises: UnauthorisedError for who had no right when it was written.
        """
        try:
            return content_rights(graph, head)
        except UnauthorisedError as error:
            if error.rule in PERMANENT:
                raise
            return 0

    # One log

    def _unseen(self, group: list[Arrival]) -> list[Arrival]:
        """Without what is here already, or twice in the group."""
        head = group[0].head
        seen = {bytes(id) for id in log.parked_ids(self._db, head.channel)}
        rows_ = log.branches(self._db, head.device, head.incarnation)
        unseen = []
        for arrival in group:
            stored = [log.get_commit(self._db, row.n, arrival.head.seq) for row in rows_]
            if arrival.id in seen or any(one and one[0] == arrival.commit.head for one in stored):
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

    def _row(self, n: int, graph: Graph, arrival: Arrival, signer: str) -> log.LogRow:
        """The log, or the branch of it, that a commit continues. Raises: PeerError if its place does not fit."""
        head = arrival.head
        branches = log.branches(self._db, head.device, head.incarnation)
        if not branches:
            return self._new_log(n, head, self._free_prefix(head), signer)
        if branches[0].channel != n:
            raise PeerError("this log is here already, in another channel", rule="log_of_another_channel")
        for row in branches:
            if self._fits(row, arrival, alone=len(branches) == 1):
                break
        else:
            if self._contradicts(branches, arrival):
                self.forked.add(head.channel)
            row = begin_branch(self._db, branches[0], arrival.id)
            if head.device == self._own_device:  # a copy of this vault wrote in it: whichever side it was,
                for one in branches:
                    log.close_log(self._db, one.n)
                self._pen.forget_end(n)  # we begin another
        if row.branch or len(branches) > 1:
            self._tangled.setdefault(head.channel, set()).add((head.device, head.incarnation))
        return row

    def _fits(self, row: log.LogRow, arrival: Arrival, *, alone: bool) -> bool:
        """Is its place free there, and does it link to the neighbours that are here?"""
        seq = arrival.head.seq
        if log.get_commit(self._db, row.n, seq) is not None:
            return False
        before = log.get_commit(self._db, row.n, seq - 1)
        after = log.get_commit(self._db, row.n, seq + 1)
        if before is None and not alone:
            return False
        if before is not None and commit.commit_id(before[0]) != arrival.head.previous:
            return False
        return after is None or commit.decode_head(after[0]).previous == arrival.id

    def _contradicts(self, branches: list[log.LogRow], arrival: Arrival) -> bool:
        """Is there proof that the log was continued twice? Raises: MalformedError if one side is not signed by itself."""
        head, rivals = arrival.head, []
        for row in branches:
            at, before, after = (log.get_commit(self._db, row.n, head.seq + step) for step in (0, -1, 1))
            if at is not None:
                rivals.append(at)
            if before is not None and commit.commit_id(before[0]) != head.previous:
                rivals.append(before)
            if after is not None and commit.decode_head(after[0]).previous != arrival.id:
                rivals.append(after)
        sides = [*rivals, (arrival.commit.head, arrival.commit.signature)] if rivals else []
        for encoded, signature in sides:
            if not verify(head.device, signature, commit.to_be_signed(encoded)):
                raise MalformedError("one side of a fork is not signed", rule="commit_signature")
        return bool(rivals)

    def _free_prefix(self, head: commit.Head) -> bytes:
        """The prefix of a log that is new here."""
        prefix = log_prefix(DeviceId(head.device), Incarnation(head.incarnation))
        row = log.log_by_prefix(self._db, prefix)
        if row is not None:
            same = (row.device, row.incarnation) == (head.device, head.incarnation)
            if not same:
                raise PeerError("another log has the same prefix", rule="prefix_taken")
            raise PeerError("this log is here already, in another channel", rule="log_of_another_channel")
        return prefix

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

    # Waiting for what a commit names

    def _park(self, arrival: Arrival, reason: str) -> None:
        """Keep a whole commit until what it names comes, or its time; bounded for each device and channel."""
        if arrival.position == PARKED:
            return
        head, encoded = arrival.head, commit.encode_commit(arrival.commit)
        of_device, of_channel, size = log.parked_counts(self._db, head.device, head.channel)
        is_full = of_device >= PARKED_PER_DEVICE_MAX or of_channel >= PARKED_PER_CHANNEL_MAX
        if is_full or size + len(encoded) > PARKED_BYTES_MAX:
            raise PeerError(
                "too much of this device or channel waits already",
                rule="too_many_waiting",
                device=head.device,
            )
        log.park(self._db, arrival.id, head.channel, head.device, reason, self._now, encoded)
        self.parked += 1

    def _unpark(self, arrival: Arrival) -> None:
        """What was parked is taken now, or never will be."""
        if arrival.position == PARKED:
            log.unpark(self._db, arrival.id)

    # Keeping

    def _new_log(self, channel: int, head: commit.Head, prefix: bytes, signer: str) -> log.LogRow:
        device, incarnation = DeviceId(head.device), Incarnation(head.incarnation)
        row = log.insert_log(self._db, channel, device, incarnation, prefix, signer, own=False)
        if device == self._own_device:
            log.close_log(self._db, row.n)  # a log of ours that a copy of this vault wrote, or wrote on
        return row

    def _keep(self, arrival: Arrival, row: log.LogRow, rights: int) -> None:
        head, signature = arrival.commit.head, arrival.commit.signature
        log.insert_commit(self._db, row.n, arrival.head.seq, head, signature, rights)
        self._unpark(arrival)
        if row.own:
            log.close_log(self._db, row.n)
            self._pen.forget_end(row.channel)

    def _keep_control(self, arrival: Arrival, row: log.LogRow) -> None:
        places = enumerate(zip(arrival.operations, arrival.commit.operations, strict=True))
        log.insert_control(
            self._db,
            [
                (message_id(row.prefix, arrival.head.seq, index), row.channel, kind_of(operation), salted)
                for index, (operation, salted) in places
            ],
        )
        time = arrival.head.time
        if not clock.is_ahead(time, self._now):
            log.touch_channel(self._db, row.channel, clock=time)

    def _apply(self, n: int, graph: Graph) -> None:
        row = log.channel_by_n(self._db, n)
        accepted = self._accepted.pop(row.id, [])
        tangled = self._tangled.pop(row.id, set())
        if tangled:
            for device, incarnation in sorted(tangled):
                arrange(self._db, self._pen.applier, device, incarnation, self._now)
            for prefix, seq in log.content_forks(self._db, n):
                graph.add_fork(prefix, seq)
            self._people.settle(self._db, self._pen.applier, n, graph, self._now, review=True)
        items: list[Item] = []
        for arrival, of in accepted:
            if tangled:
                of = self._moved(arrival) or of
            rights = log.rights_at(self._db, message_id(of.prefix, arrival.head.seq, 0))
            found = _items(arrival, of, rights)
            if rights:
                items += found
            else:
                set_aside(self._db, row, found)
        times = [arrival.head.time for arrival, _ in accepted]
        newest = max((time for time in times if not clock.is_ahead(time, self._now)), default=0)
        if items:
            self._pen.applier.apply(self._db, row, items, self._now)
        log.touch_channel(self._db, n, clock=newest)

    def _moved(self, arrival: Arrival) -> log.LogRow | None:
        """The row of its log that a commit is in, since it may have been moved."""
        for row in log.branches(self._db, arrival.head.device, arrival.head.incarnation):
            stored = log.get_commit(self._db, row.n, arrival.head.seq)
            if stored and stored[0] == arrival.commit.head:
                return row
        return None


def _items(arrival: Arrival, row: log.LogRow, rights: int) -> list[Item]:
    time, seq = arrival.head.time, arrival.head.seq
    return [
        Item(message_id(row.prefix, seq, index), time, row.signer, operation, salted, rights)
        for index, (operation, salted) in enumerate(
            zip(arrival.operations, arrival.commit.operations, strict=True)
        )
    ]


def _as_control(arrival: Arrival) -> ControlCommit:
    return as_control(arrival.commit.head, arrival.head, arrival.operations)


def _targets(arrival: Arrival) -> Iterable[bytes]:
    for operation in arrival.operations:
        target = operation.root if isinstance(operation, Post) else getattr(operation, "target", None)
        if target is not None:
            yield target
