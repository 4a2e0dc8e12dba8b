"""Commits from other logs: checked, kept and applied, in whatever order, grouping and repetition they come.

Each commit is taken or refused as a whole, by itself; a refused one leaves nothing and stops no other:

    form        canonical bytes, and every operation in it too, before anything is applied (store/arrivals.py)
    channel     known, or founded by this very commit
    control     the control commits that it names are known; otherwise it waits for them, whole (`parked`)
    right       membership as of those control commits lets its author write; what a removal has cut off since is kept
                aside, and what was never anybody's right is refused
    signature   its own, or of content that of the one after it in the log, which is kept (store/placing.py)
    place       its log is in this channel and nobody else's; what does not link to its neighbours there is a fork
                (store/forks.py)

Control commits come first, since content may have its right from them. Of the content of a log the newest is decided
first, since it may vouch for those before it. Gaps in a log are normal: a neighbour that comes later is checked then.
All is written in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import apsw
import msgspec

from quire.core import clock, commit
from quire.core.control import ControlOperation, Create, kind_of
from quire.core.ids import ChannelId, DeviceId, Incarnation, log_prefix, message_id
from quire.core.limits import (
    AHEAD_MS_MAX,
    PARKED_BYTES_MAX,
    PARKED_PER_CHANNEL_MAX,
    PARKED_PER_DEVICE_MAX,
    WAITING_PER_DEVICE_MAX,
)
from quire.core.membership import ControlCommit, EpochInfo, Graph
from quire.core.operation import SALT_SIZE, Erase
from quire.core.timeline import MAY_ALL, order_time
from quire.errors import FullError, MalformedError, PeerError, StorageError, UnauthorisedError
from quire.storage import backlog, controls, erasures, heights, keychain, log, retention
from quire.storage import timeline as rows
from quire.storage.attachments import any_doomed
from quire.storage.erasures import unnamed
from quire.store import ledger, quota, wallclock
from quire.store import retention as retention_of
from quire.store.apply import Item
from quire.store.arrivals import PARKED, Arrival, Prepared, parked, prepare, targets
from quire.store.attachments import sweep
from quire.store.columns import empty
from quire.store.erasing import name_versions
from quire.store.filling import Filling
from quire.store.forgetting import is_over
from quire.store.forks import arrange, begin_branch
from quire.store.letting import drop_expired
from quire.store.people import as_control, content_rights, takes
from quire.store.placing import Chain, require_signature
from quire.store.quota import grows
from quire.store.settling import settle
from quire.store.withdraw import set_aside

if TYPE_CHECKING:
    from quire.store.local import LocalStore

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
        over: list[FullError] = []

        def work(db: apsw.Connection) -> _Ingestion:
            run = _Ingestion(store.ledger, store.device, db, refused)
            if store.ledger.is_over and any(grows(one.operations) for one in given.arrivals):
                over.append(quota.refusal(db))
            run.take([one for one in given.arrivals if not over or not grows(one.operations)])
            return run

        run = store.ledger.run(work, meanwhile)
        if over:  # who may do what, deletions and erasures were taken
            raise over[0]
        if any_doomed(store.database.reader):  # files of what was erased
            sweep(store)
        if unnamed(store.database.reader):
            with suppress(StorageError, UnauthorisedError):  # what follows from it; else the next time
                name_versions(store)
        repeated, waiting, forked = repeated + run.repeated, run.parked, tuple(sorted(run.forked))
    else:
        store.release_due()
    refused.pop(PARKED, None)
    listed = tuple(Refused(position, refused[position]) for position in sorted(refused))
    return IngestReport(given.count - repeated - len(refused) - waiting, repeated, listed, waiting, forked)


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
        self._own_device = device
        self._db = db
        self._refused = refused
        self.repeated = 0
        self._under: dict[tuple[bytes, ...], bool] = {}  # control heads -> do we have the key of their epoch?
        self.parked = 0
        self._now = wallclock.now_ms()
        self.forked: set[bytes] = set()
        self._settled: set[bytes] = set()  # ids of what was kept or parked by now
        self._chains: dict[tuple[bytes, bytes], Chain] = {}
        self._full: dict[tuple[bytes, str], bool] = {}  # device and table: does it hold all it may there?
        self._tangled: dict[bytes, set[tuple[bytes, bytes]]] = {}  # by channel: logs with branches that grew
        self._accepted: dict[bytes, list[tuple[Arrival, log.LogRow, int]]] = {}  # by channel, with rights
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

    def retry(self, channel: log.ChannelRow) -> None:
        """Look again at what waits whole in a channel."""
        self._take_channel(channel, [])

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
        self._unpark(arrival)

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
        prefix = self._free_prefix(head)
        require_signature(arrival)
        n = log.insert_channel(
            self._db, id=ChannelId(head.channel), genesis=arrival.id, kind=create.kind, creator=signer,
            source=create.source, key=create.key, name=create.name, time=head.time,
            first=message_id(prefix, 1, 0), own=signer == self._pen.signer,
        )  # fmt: skip
        row = self._new_log(n, head, prefix, signer)
        self._keep(arrival, row, MAY_ALL)
        self._keep_control(arrival, row)
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
            self._chains[of] = Chain(self._db, of, [one.head.seq for one in group])
        self._take_control(channel, graph, [one for one in arrivals if one.is_control])
        for of, group in logs.items():
            self._take_content(
                channel.n, graph, self._chains[of], [one for one in group if not one.is_control]
            )
        self._apply(channel.n, graph)

    def _is_repeated(self, arrival: Arrival) -> bool:
        """Is it here, or waiting, or was it taken before in this batch?"""
        if arrival.position == PARKED:
            return False
        is_here = self._chains[arrival.log].has(arrival)
        if is_here and arrival.id not in self._settled and self._fills(arrival):
            return not arrival.is_control
        repeated = is_here or arrival.id in self._settled
        self.repeated += repeated
        return repeated

    def _fills(self, arrival: Arrival) -> bool:
        """Does a commit that is here bring something that is not?"""
        row = self._moved(arrival)
        if row is None or not self._filling.fills(arrival, row):
            return False
        if arrival.is_control:
            self._chains[arrival.log].forget(row, arrival.head.seq)
        else:
            self._settled.add(arrival.id)
        return True

    def _doubt(self, n: int, graph: Graph, head: commit.Head) -> None:
        """What a commit names as control commits is none of what is here as nothing but holes."""
        unknown = [id for id in head.control_heads if id not in graph]
        for row, seq in self._filling.forget_control(n, unknown):
            chain = self._chains.get((row.device, row.incarnation))
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
        row = self._row(n, arrival, f"quire:{identity.hex()}")
        graph.add(control)
        self._keep(arrival, row, MAY_ALL)
        self._keep_control(arrival, row)

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
                row = self._row(n, arrival, signer)
            except PeerError as error:
                self._refuse(arrival, error)
                continue
            received = arrival.commit
            commits.append((row.n, arrival.head.seq, received.head, received.signature, rights))
            self._kept(arrival, row)
            accepted.append((arrival, row, rights))
        self._note_kept(commits)
        log.insert_commits(self._db, commits)

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
        self._require_key(graph, head)
        rights = self._rights(graph, head)
        if not rights and self._is_full(head.device, "voided"):
            raise PeerError(
                "too much that does not count is kept of this device",
                rule="too_many_waiting",
                device=head.device,
            )
        self._require_room(arrival)
        return f"quire:{identity.hex()}", rights

    def _require_key(self, graph: Graph, head: commit.Head) -> None:
        """We must have the key that it was written under: what we cannot seal we could not hand on.

        A liar may put it into a bundle under another key, for some of us only, and we would never agree.
        """
        heads = head.control_heads
        if heads not in self._under:
            epoch = graph.epoch_at(heads)
            held = keychain.epoch_keys(self._db, head.channel) if epoch else {}
            self._under[heads] = epoch is None or epoch.epoch in held or self._is_over(graph, epoch)
        if not self._under[heads]:
            raise PeerError("it was written under a key that is not here", rule="epoch_key_unknown")

    def _is_over(self, graph: Graph, epoch: EpochInfo) -> bool:
        """Is it an epoch whose key nobody is to have any more? What stands of it goes under the present one."""
        channel = log.channel_by_id(self._db, graph.channel)
        if channel is None:
            return False
        bounds, _ = retention_of.bounds_apart(self._db, channel, self._now, counted=False)
        return is_over(graph, bounds, epoch)

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

    @staticmethod
    def _require_own_signature(arrival: Arrival) -> None:
        if arrival.position != PARKED:  # that was checked before it was parked
            require_signature(arrival)

    def _row(self, n: int, arrival: Arrival, signer: str) -> log.LogRow:
        """The log, or the branch of it, that a commit continues. Raises: PeerError if that is not of this channel."""
        head, chain = arrival.head, self._chains[arrival.log]
        chain.require_channel(n)
        row = chain.row_for(arrival)
        if row is None and not chain.rows:
            row = self._new_log(n, head, self._free_prefix(head), signer)
            chain.rows.append(row)
        elif row is None:
            if chain.contradicts(arrival):
                self.forked.add(head.channel)
            row = begin_branch(self._db, chain.rows[0], arrival.id)
            if head.device == self._own_device:  # a copy of this vault wrote in it: whichever side it was,
                for one in chain.rows:
                    log.close_log(self._db, one.n)
                self._pen.forget_end(n)  # we begin another
            chain.rows.append(row)
        if len(chain.rows) > 1:
            self._tangled.setdefault(head.channel, set()).add(arrival.log)
        return row

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
        device = arrival.head.device
        if not self._is_full(device, "waiting"):
            return
        if clock.is_ahead(arrival.head.time, self._now) or not all(map(self._is_here, targets(arrival))):
            raise PeerError("too much of this device waits already", rule="too_many_waiting", device=device)

    def _is_full(self, device: bytes, table: str) -> bool:
        """Does as much of a device wait, or not count, as may? Asked once for a batch, which overshoots by itself at most."""
        full = self._full.get((device, table))
        if full is None:
            full = backlog.waiting_of_device(self._db, device, table) >= WAITING_PER_DEVICE_MAX
            self._full[device, table] = full
        return full

    def _is_here(self, target: bytes) -> bool:
        return rows.get_row(self._db, target) is not None

    # Waiting for what a commit names

    def _park(self, arrival: Arrival, reason: str) -> None:
        """Keep a whole commit, signed itself, until what it names comes, or its time; bounded for each device and channel."""
        if reason == "ahead":
            backlog.note_parked_due(self._db, (arrival.head.time >> clock.COUNTER_BITS) - AHEAD_MS_MAX)
        if arrival.position == PARKED:
            backlog.set_parked_reason(self._db, arrival.id, reason)
            return
        head, encoded = arrival.head, commit.encode_commit(arrival.commit)
        of_device, of_channel, size = backlog.parked_counts(self._db, head.device, head.channel)
        is_full = of_device >= PARKED_PER_DEVICE_MAX or of_channel >= PARKED_PER_CHANNEL_MAX
        if is_full or size + len(encoded) > PARKED_BYTES_MAX:
            raise PeerError(
                "too much of this device or channel waits already",
                rule="too_many_waiting",
                device=head.device,
            )
        self._settled.add(arrival.id)
        backlog.park(self._db, arrival.id, head.channel, head.device, reason, self._now, encoded)
        self.parked += 1

    def _unpark(self, arrival: Arrival) -> None:
        """What was parked is taken now, or never will be."""
        if arrival.position == PARKED:
            backlog.unpark(self._db, arrival.id)

    # Keeping

    def _new_log(self, channel: int, head: commit.Head, prefix: bytes, signer: str) -> log.LogRow:
        device, incarnation = DeviceId(head.device), Incarnation(head.incarnation)
        row = log.insert_log(self._db, channel, device, incarnation, prefix, signer, own=False)
        if device == self._own_device:
            log.close_log(self._db, row.n)  # a log of ours that a copy of this vault wrote, or wrote on
        return row

    def _keep(self, arrival: Arrival, row: log.LogRow, rights: int) -> None:
        received = arrival.commit
        heights.note_kept(self._db, row.n, [arrival.head.seq])
        log.insert_commit(self._db, row.n, arrival.head.seq, received.head, received.signature, rights)
        self._kept(arrival, row)

    def _note_kept(self, commits: Sequence[tuple[int, int, bytes, bytes, int]]) -> None:
        places: dict[int, list[int]] = {}
        for n, seq, *_ in commits:
            places.setdefault(n, []).append(seq)
        for n, seqs in places.items():
            heights.note_kept(self._db, n, seqs)

    def _kept(self, arrival: Arrival, row: log.LogRow) -> None:
        """What follows from a commit's being kept in its log."""
        if chain := self._chains.get(arrival.log):
            chain.keep(row, arrival)
        self._unpark(arrival)
        if row.own:
            log.close_log(self._db, row.n)
            self._pen.forget_end(row.channel)

    def _keep_control(self, arrival: Arrival, row: log.LogRow) -> None:
        places = enumerate(zip(arrival.operations, arrival.commit.operations, strict=True))
        controls.insert_control(
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
        applier = self._pen.applier
        items: list[Item] = []
        posts, ids = empty(), list[bytes]()
        if tangled:
            accepted = [self._settled_place(*one) for one in accepted]
        erased = self._named_by_erasures(n, accepted)
        for arrival, of, rights in accepted:
            self._filling.note(arrival, of)
            every = _ids(arrival, of, range(len(arrival.operations))) if erased else ()
            if not rights:
                set_aside(self._db, row, _items(arrival, of, rights))
            elif (
                arrival.posts is None
                or clock.is_ahead(arrival.head.time, self._now)
                or not erased.isdisjoint(every)
            ):
                items += _items(arrival, of, rights)
            else:
                posts.add(arrival.posts, of.signer, rows.OURS if of.signer == self._pen.signer else 0)
                ids += _ids(arrival, of, arrival.places)
                items += _items(arrival, of, rights, arrival.others)
        for arrival, of, rights, brought in self._filling.take_filled(row.id):
            found = [item for item in _items(arrival, of, rights) if item.id in brought]
            if rights:
                items += found
            else:
                set_aside(self._db, row, found)
        times = [arrival.head.time for arrival, _, _ in accepted]
        newest = max((time for time in times if not clock.is_ahead(time, self._now)), default=0)
        if ids:
            ids, posts = posts.sorted_by_time(ids)
            applier.place(self._db, row, ids, posts)
        if items or ids:
            applier.apply(self._db, row, items, self._now, placed=ids)
        log.touch_channel(self._db, n, clock=newest)
        if retention.is_bounded(self._db, n):
            came = [*zip(posts.times, ids, strict=True), *((_order_time(item), item.id) for item in items)]
            drop_expired(self._db, applier, row, came, self._now)

    def _settled_place(
        self, arrival: Arrival, of: log.LogRow, rights: int
    ) -> tuple[Arrival, log.LogRow, int]:
        """The log that a commit is in, and its rights, now that what branched was arranged."""
        of = self._moved(arrival) or of
        return arrival, of, log.rights_at(self._db, message_id(of.prefix, arrival.head.seq, 0))

    def _named_by_erasures(self, n: int, accepted: Sequence[tuple[Arrival, log.LogRow, int]]) -> set[bytes]:
        """What is erased is applied one by one: the ids, whether they stand or not, that any erasure of the channel names."""
        named = {
            what.id
            for arrival, _, _ in accepted
            for operation in arrival.operations
            if type(operation) is Erase
            for what in operation.entries
        }
        if erasures.any_here(self._db):
            ids = [id for one, of, _ in accepted for id in _ids(one, of, range(len(one.operations)))]
            named.update(erasures.erasures_on(self._db, n, ids) if ids else ())
        return named

    def _moved(self, arrival: Arrival) -> log.LogRow | None:
        """The row of its log that a commit is in, since it may have been moved."""
        for row in log.branches(self._db, arrival.head.device, arrival.head.incarnation):
            stored = log.get_commit(self._db, row.n, arrival.head.seq)
            if stored and stored[0] == arrival.commit.head:
                return row
        return None


def _order_time(item: Item) -> int:
    return order_time(item.operation, item.time) if item.operation is not None else item.time


def _seq(arrival: Arrival) -> int:
    return arrival.head.seq


def _ids(arrival: Arrival, row: log.LogRow, places: Iterable[int]) -> list[bytes]:
    start = row.prefix + arrival.head.seq.to_bytes(4, "big")
    return [start + at.to_bytes(2, "big") for at in places]


def _items(arrival: Arrival, row: log.LogRow, rights: int, places: Sequence[int] | None = None) -> list[Item]:
    """Its operations, or those at these places, to be applied one by one."""
    every = range(len(arrival.operations)) if places is None else places
    time, signer, salted = arrival.head.time, row.signer, arrival.commit.operations
    return [
        Item(id, time, signer, arrival.operations[at], salted[at], rights)
        for id, at in zip(_ids(arrival, row, every), every, strict=True)
    ]


def _as_control(arrival: Arrival) -> ControlCommit:
    return as_control(arrival.commit.head, arrival.head, arrival.operations)
