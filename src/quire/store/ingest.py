"""Commits from other logs: checked, kept and applied, in whatever order, grouping and repetition they come.

Each commit is taken or refused as a whole, by itself; a refused one leaves nothing and stops no other:

    form        canonical bytes, and every operation in it too, before anything is applied (store/arrivals.py)
    channel     known, or founded by this very commit
    control     the control commits that it names are known; otherwise it waits for them, whole (`parked`)
    right       membership as of those control commits lets its author write; what a removal has cut off since is kept
                aside, and what was never anybody's right is refused
    signature   its own, or of content that of the one after it in the log, which is kept (store/placing.py)
    archive     what it changes is in the vault, or in a file that is at hand; otherwise it waits for that, whole
    place       its log is in this channel and nobody else's; what does not link to its neighbours there is a fork
                (store/forks.py)

Control commits come first, since content may have its right from them. Of the content of a log the newest is decided
first, since it may vouch for those before it. Gaps in a log are normal: a neighbour that comes later is checked then.
All is written in one transaction: `_Ingestion` takes a commit through these, `Keeper` (store/keeping.py) puts it into its
log, `Parking` (store/parking.py) bounds what waits, and store/effects.py applies what was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import apsw
import msgspec

from quire.core import clock, commit
from quire.core.control import ControlOperation, Create
from quire.core.ids import ChannelId, DeviceId, message_id
from quire.core.membership import ControlCommit, Graph
from quire.core.operation import SALT_SIZE
from quire.core.rights import MAY_ALL
from quire.errors import (
    FullError,
    MalformedError,
    PeerError,
    StorageError,
    UnauthorisedError,
    UnreachableError,
)
from quire.storage import backlog, log
from quire.storage.backlog import AWAY
from quire.storage.erasures import unnamed
from quire.storage.log import ChannelRow
from quire.storage.pending import any_doomed
from quire.store import ledger, quota, wallclock
from quire.store.arrivals import PARKED, Arrival, Prepared, parked, prepare
from quire.store.attachments import sweep
from quire.store.effects import Accepted, take_effect
from quire.store.erasing import name_versions
from quire.store.filling import Filling
from quire.store.forks import arrange
from quire.store.keeping import Keeper
from quire.store.parking import Parking, unpark
from quire.store.people import as_control, takes
from quire.store.placing import Chain, require_signature, row_of
from quire.store.quota import grows
from quire.store.rights import KeysHeld, rights_of
from quire.store.settling import settle

if TYPE_CHECKING:
    from quire.store.local import LocalStore


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


def ingest(store: LocalStore, encoded_commits: Sequence[bytes]) -> IngestReport:
    """Take commits of any logs; see this module. Memory is bounded by what is given at once.

    Raises: StorageError, with nothing taken; FullError(rule="quota_hard"), with all taken that makes no vault larger; a
    commit's own faults are in the report.
    """
    return take(store, prepare(store.database.reader, encoded_commits))


def take(store: LocalStore, given: Prepared, meanwhile: Callable[[], None] | None = None) -> IngestReport:
    """The same for commits that were looked at already.

    meanwhile    called while the disk takes them, to look at the next ones; not to write
    """
    refused, waiting, repeated = dict(given.refused), 0, given.repeated
    forked: tuple[bytes, ...] = ()
    if given.arrivals:
        runs, over = _take(store, given.arrivals, refused, meanwhile)
        if over:  # who may do what, deletions and erasures were taken
            raise over[0]
        if any_doomed(store.database.reader):  # files of what was erased
            sweep(store)
        if unnamed(store.database.reader):
            with suppress(StorageError, UnauthorisedError):  # what follows from it; else the next time
                name_versions(store)
        repeated += sum(run.repeated for run in runs)
        waiting = sum(run.parked for run in runs)
        forked = tuple(sorted({id for run in runs for id in run.keeper.forked}))
    else:
        store.release_due()
    refused.pop(PARKED, None)
    listed = tuple(Refused(position, refused[position]) for position in sorted(refused))
    return IngestReport(given.count - repeated - len(refused) - waiting, repeated, listed, waiting, forked)


def _take(
    store: LocalStore,
    arrivals: Sequence[Arrival],
    refused: dict[int, PeerError],
    meanwhile: Callable[[], None] | None = None,
) -> tuple[list[_Ingestion], list[FullError]]:
    """Take commits in one transaction; what the quota refused, at most one error.

    Where what is to change is archived and not at hand, in two, and so on, until it is known which need it: those wait, whole.
    """
    fresh: dict[int, PeerError] = {}
    over: list[FullError] = []

    def work(db: apsw.Connection) -> _Ingestion:
        fresh.clear()
        run = _Ingestion(store.ledger, store.device, db, fresh)
        if store.ledger.is_over and any(grows(one.operations) for one in arrivals):
            over[:] = [quota.refusal(db)]
        run.take([one for one in arrivals if not over or not grows(one.operations)])
        return run

    def wait(db: apsw.Connection) -> _Ingestion:
        fresh.clear()
        run = _Ingestion(store.ledger, store.device, db, fresh)
        run.set_aside(arrivals[0])
        return run

    try:
        runs = [store.ledger.run(work, meanwhile)]
    except UnreachableError:
        if len(arrivals) == 1:
            runs, over = [store.ledger.run(wait)], []
        else:
            half = len(arrivals) // 2
            parts = [_take(store, some, fresh) for some in (arrivals[:half], arrivals[half:])]
            runs = [run for some, _ in parts for run in some]
            over = [error for _, some in parts for error in some][:1]
    refused.update(fresh)
    return runs, over


def retry_away(store: LocalStore) -> None:
    """Take what waited for files of the archive that are at hand now."""
    db = store.database.reader
    for id in backlog.channels_parked(db, AWAY):
        channel = log.channel_by_id(db, id)
        for one in parked(db, id, AWAY) if channel is not None else ():

            def work(db: apsw.Connection, channel: ChannelRow = channel, one: Arrival = one) -> None:  # type: ignore[assignment]
                _Ingestion(store.ledger, store.device, db, {}).retry(channel, one)

            with suppress(UnreachableError):  # it waits on
                store.ledger.run(work)


def retry_due(pen: ledger.Ledger, device: DeviceId, db: apsw.Connection) -> None:
    """Try what waited whole for its time, which has come; inside a transaction."""
    for id in backlog.take_parked_due(db):
        channel = log.channel_by_id(db, id)
        if channel is not None:
            _Ingestion(pen, device, db, {}).retry(channel)


class _Ingestion:
    """One call's work, inside its transaction. Refusals are noted by position."""

    def __init__(
        self, pen: ledger.Ledger, device: DeviceId, db: apsw.Connection, refused: dict[int, PeerError]
    ) -> None:
        self._pen = pen
        self._people = pen.people
        self._db = db
        self._refused = refused
        self.repeated = 0
        self._now = wallclock.now_ms()
        self._keys = KeysHeld(db, self._now)
        self._parking = Parking(db, self._now)
        self.keeper = Keeper(pen, device, db, self._now)
        self._settled: set[bytes] = set()  # ids of what was kept or parked by now
        self._accepted: dict[bytes, list[Accepted]] = {}  # by channel, with rights
        self._filling = Filling(db, pen.applier, self._now)

    def take(self, arrivals: list[Arrival]) -> None:
        """Keep and apply what may be."""
        for arrival in arrivals:
            if arrival.founds:
                self._each(arrival, self._found)
        channels: dict[bytes, list[Arrival]] = {}
        for arrival in arrivals:
            if not arrival.founds:
                channels.setdefault(arrival.head.channel, []).append(arrival)
        for id, group in channels.items():
            channel = log.channel_by_id(self._db, id)
            if channel is not None:
                self._take_channel(channel, group)
            for arrival in group if channel is None else ():
                self._refused[arrival.position] = UnauthorisedError(
                    "this channel is not known here", rule="channel_unknown"
                )

    @property
    def parked(self) -> int:
        """How many commits wait whole since."""
        return self._parking.count

    def retry(self, channel: log.ChannelRow, *some: Arrival) -> None:
        """Look again at what waits whole in a channel; of what waits for an archive, only at these."""
        self._take_channel(channel, list(some))

    def set_aside(self, arrival: Arrival) -> None:
        """Let a commit wait that changes what is archived and not at hand."""

        def wait(arrival: Arrival) -> None:
            self._require_own_signature(arrival)
            self._park(arrival, reason=AWAY)

        self._each(arrival, wait)

    def _each(self, arrival: Arrival, rule: Callable[[Arrival], None]) -> bool:
        """Whether a rule lets a commit pass; its refusal is noted."""
        try:
            rule(arrival)
        except PeerError as error:
            self._refuse(arrival, error)
            return False
        return True

    def _refuse(self, arrival: Arrival, error: PeerError) -> None:
        self._refused[arrival.position] = error
        unpark(self._db, arrival)

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
            self.repeated += 1
            return
        if clock.is_ahead(head.time, self._now):  # its time would be the channel's from here on
            raise PeerError("this channel was founded in the future", rule="founded_ahead")
        graph = Graph(head.channel)
        verdict = graph.add(_as_control(arrival))
        if verdict.rule:
            raise UnauthorisedError(
                f"the channel does not begin as it must: {verdict.rule}", rule=verdict.rule
            )
        signer = f"quire:{verdict.identity.hex()}"
        if create.kind == "self" and signer != self._pen.signer:
            raise UnauthorisedError("this is not our self-channel", rule="self_channel_foreign")
        prefix = self.keeper.free_prefix(head)
        require_signature(arrival)
        n = log.insert_channel(
            self._db, id=ChannelId(head.channel), genesis=arrival.id, kind=create.kind, creator=signer,
            source=create.source, key=create.key, name=create.name, time=head.time,
            first=message_id(prefix, 1, 0), own=signer == self._pen.signer,
        )  # fmt: skip
        row = self.keeper.new_log(n, head, prefix, signer)
        self.keeper.keep(arrival, row, MAY_ALL)
        self.keeper.keep_control(arrival, row)
        settle(self._pen, self._db, n, graph, arrival.operations, review=False)

    def _take_channel(self, channel: log.ChannelRow, arrivals: list[Arrival]) -> None:
        """Take commits of one channel: control commits first, then content, which they may give the right to."""
        graph = self._people.graph(self._db, channel)
        reasons = backlog.parked_reasons(self._db, channel.id)
        if reasons:
            self._settled.update(backlog.parked_ids(self._db, channel.id))
        if "ahead" in reasons or (reasons and any(one.is_control for one in arrivals)):
            arrivals = parked(self._db, channel.id) + arrivals
        logs: dict[tuple[bytes, bytes], list[Arrival]] = {}
        for arrival in arrivals:
            logs.setdefault(arrival.log, []).append(arrival)
        for of, group in logs.items():
            self.keeper.chains[of] = Chain(self._db, of, [one.head.seq for one in group])
        self._take_control(channel, graph, [one for one in arrivals if one.is_control])
        for of, group in logs.items():
            self._take_content(
                channel.n, graph, self.keeper.chains[of], [one for one in group if not one.is_control]
            )
        self._apply(channel.n, graph)

    def _is_repeated(self, arrival: Arrival) -> bool:
        """Is it here, or waiting, or was it taken before in this batch?"""
        was_parked = arrival.position == PARKED
        is_here = self.keeper.chains[arrival.log].has(arrival)
        if was_parked and not is_here:
            return False
        if is_here and (was_parked or arrival.id not in self._settled) and self._fills(arrival):
            unpark(self._db, arrival)
            return not arrival.is_control
        repeated = is_here or arrival.id in self._settled
        if repeated:
            unpark(self._db, arrival)
        self.repeated += repeated
        return repeated

    def _fills(self, arrival: Arrival) -> bool:
        """Does a commit that is here bring something that is not?"""
        row = row_of(self._db, arrival)
        if row is None or not self._filling.fills(arrival, row):
            return False
        if arrival.is_control:
            self.keeper.chains[arrival.log].forget(row, arrival.head.seq)
        else:
            self._settled.add(arrival.id)
        return True

    def _doubt(self, n: int, graph: Graph, head: commit.Head) -> None:
        """What a commit names as control commits is none of what is here as nothing but holes."""
        unknown = [id for id in head.control_heads if id not in graph]
        for row, seq in self._filling.forget_control(n, unknown):
            chain = self.keeper.chains.get((row.device, row.incarnation))
            if chain is not None:
                chain.forget(row, seq)

    # Control commits

    def _take_control(self, channel: log.ChannelRow, graph: Graph, arrivals: list[Arrival]) -> None:
        """Take control commits after those that they name, however they came."""
        review = False
        operations: list[ControlOperation] = []
        signed: dict[bytes, Arrival] = {}
        for one in arrivals:
            if one.id in signed:
                self.repeated += 1
            elif not self._is_repeated(one) and self._each(one, self._require_own_signature):
                signed[one.id] = one
        todo = sorted(signed.values(), key=lambda one: one.head.time, reverse=True)
        early: dict[bytes, list[Arrival]] = {}  # by a control commit that they name and that is not here
        while todo:
            one = todo.pop()
            missing = next((head for head in one.head.control_heads if head not in graph), None)
            if missing is not None:
                early.setdefault(missing, []).append(one)
                continue
            behind = not graph.is_newest(one.head.control_heads)
            if self._each(one, partial(self._take_one_control, channel.n, graph)):
                operations += one.operations
                review = review or behind or any(map(takes, one.operations))
                todo += early.pop(one.id, ())
        for some in early.values():
            for one in some:
                self._each(one, partial(self._park, reason="control_head_unknown"))
        if operations:
            settle(self._pen, self._db, channel.n, graph, operations, review=review)

    def _take_one_control(self, n: int, graph: Graph, arrival: Arrival) -> None:
        if clock.is_ahead(arrival.head.time, self._now):
            self._park(arrival, reason="ahead")
            return
        control = _as_control(arrival)
        identity = graph.author_of(control)
        if not identity:  # nobody's word: it can never have an effect
            raise UnauthorisedError("this device may not write in the channel", rule="device_unknown")
        row = self.keeper.row_for(n, arrival, f"quire:{identity.hex()}")
        graph.add(control)
        self.keeper.keep(arrival, row, MAY_ALL)
        self.keeper.keep_control(arrival, row)

    # Content

    def _take_content(self, n: int, graph: Graph, chain: Chain, arrivals: list[Arrival]) -> None:
        """The content of one log: decided from the newest on, so that it vouches for those before; placed in order."""
        kept: list[tuple[Arrival, str, int]] = []
        for arrival in sorted(arrivals, key=_seq, reverse=True):
            if self._is_repeated(arrival):
                continue
            try:
                decided = self._decide(n, graph, chain, arrival)
            except PeerError as error:
                self._refuse(arrival, error)
                continue
            if decided is not None:
                kept.append((arrival, *decided))
                self._settled.add(arrival.id)
                chain.vouch(arrival)
        accepted = self._accepted.setdefault(graph.channel, [])
        commits: list[tuple[int, int, bytes, bytes, int]] = []
        for arrival, signer, rights in reversed(kept):
            try:
                row = self.keeper.row_for(n, arrival, signer)
            except PeerError as error:
                self._refuse(arrival, error)
                continue
            received = arrival.commit
            commits.append((row.n, arrival.head.seq, received.head, received.signature, rights))
            self.keeper.kept(arrival, row)
            accepted.append((arrival, row, rights))
        self.keeper.keep_all(commits)

    def _decide(self, n: int, graph: Graph, chain: Chain, arrival: Arrival) -> tuple[str, int] | None:
        """Who a content commit speaks for and what they may in it, by the right that its author has where it was
        written. None: it was parked."""
        head = arrival.head
        if not head.control_heads:
            raise UnauthorisedError("it names nothing that its right could be from", rule="device_unknown")
        is_known = all(id in graph for id in head.control_heads)
        if not (is_known and chain.continues(arrival)):
            self._require_own_signature(arrival)
        if not is_known:
            self._doubt(n, graph, head)
            self._park(arrival, reason="control_head_unknown")
            return None
        identity = graph.at(head.control_heads).owner_of(head.device)
        if not identity:
            raise UnauthorisedError("this device may not write in the channel", rule="device_unknown")
        self._keys.require(graph, head)
        rights = rights_of(graph, head)
        if not rights and self._parking.is_full(head.device, "voided"):
            raise PeerError(
                "too much that does not count is kept of this device",
                rule="too_many_waiting",
                device=head.device,
            )
        self._parking.require_room(arrival)
        return f"quire:{identity.hex()}", rights

    @staticmethod
    def _require_own_signature(arrival: Arrival) -> None:
        if arrival.position != PARKED:  # that was checked before it was parked
            require_signature(arrival)

    def _park(self, arrival: Arrival, reason: str) -> None:
        self._parking.park(arrival, reason)
        self._settled.add(arrival.id)

    # What follows

    def _apply(self, n: int, graph: Graph) -> None:
        row = log.channel_by_n(self._db, n)
        accepted = self._accepted.pop(row.id, [])
        tangled = self.keeper.tangled.pop(row.id, set())
        if tangled:
            for device, incarnation in sorted(tangled):
                arrange(self._db, self._pen.applier, device, incarnation, self._now)
            for prefix, seq in log.content_forks(self._db, n):
                graph.add_fork(prefix, seq)
            self._people.settle(self._db, self._pen.applier, n, graph, self._now, review=True)
            accepted = [_settled_place(self._db, *one) for one in accepted]
        take_effect(self._db, self._pen.applier, self._pen.signer, row, accepted, self._filling, self._now)


def _settled_place(db: apsw.Connection, arrival: Arrival, of: log.LogRow, rights: int) -> Accepted:
    """The log that a commit is in, and its rights, now that what branched was arranged."""
    of = row_of(db, arrival) or of
    return arrival, of, log.rights_at(db, message_id(of.prefix, arrival.head.seq, 0))


def _seq(arrival: Arrival) -> int:
    return arrival.head.seq


def _as_control(arrival: Arrival) -> ControlCommit:
    return as_control(arrival.commit.head, arrival.head, arrival.operations)
