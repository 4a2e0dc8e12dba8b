"""Writing our own commits: many callers, one transaction, one signature a channel.

Callers hand in requests; whoever finds nobody writing becomes the writer and takes all that wait, in one
transaction and one fsync (group commit). Messages of one channel that wait together become one commit.
A request is checked against all that came before it; a refusal is its caller's alone. Nothing is
returned before it is durable.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import apsw

from quire.core import clock, commit
from quire.core.control import AddDevice, ControlOperation, Create, Device, RevokeDevice, Role, kind_of
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import SigningKey
from quire.core.crypto.secrets import Secret
from quire.core.ids import ChannelId, DeviceId, IdentityId, Incarnation, MessageId, log_prefix, message_id
from quire.core.limits import CONTROL_HEADS_MAX, OPERATIONS_PER_COMMIT_MAX
from quire.core.membership import Graph
from quire.core.operation import EpochKey as EpochKeyOperation
from quire.core.operation import Operation, encode_operation
from quire.core.timeline import MAY_ALL, MAY_POST, lacks_right
from quire.errors import MalformedError, NotFoundError, UnauthorisedError, UsageError
from quire.storage import backlog, controls, keychain, log
from quire.storage.database import Database, Statement, fault, translate
from quire.storage.meta import get_meta
from quire.store import epochs, group, quota
from quire.store.apply import Applier, Item
from quire.store.columns import Posts
from quire.store.people import People, as_control, takes
from quire.store.witness import Witness

COMMIT_BYTES_TARGET = 1 << 20  # an import's commits are cut here, so that one travels at once
GROUP_MAX = 1_000  # requests in one transaction
ENDS_MAX = 10_000  # channels whose end is remembered
DUE_EVERY_MS = 1_000  # how often a writer looks for held operations whose time has come

T = TypeVar("T")


def now_ms() -> int:
    """The wall clock, Unix ms."""
    return time.time_ns() // 1_000_000


Prepare = Callable[[apsw.Connection, log.ChannelRow], Sequence[Operation]]


class Request:
    """One caller's wish. `prepare` reads, refuses by raising, and gives the operations to write."""

    __slots__ = ("alone", "channel", "done", "error", "gate", "ids", "leads", "post", "prepare", "time")

    def __init__(self, channel: ChannelId, prepare: Prepare, *, post: bool, alone: bool = False) -> None:
        self.channel = channel
        self.prepare = prepare
        self.post = post  # gives exactly one Post, and would whatever else is written first
        self.alone = alone  # wants the turn for itself (`run`), not to be written by another
        self.ids: list[MessageId] = []
        self.time = 0  # hybrid time of what was written
        self.error: BaseException | None = None
        self.done = False
        self.leads = False
        self.gate = threading.Lock()  # opens when it is done, or when it is its turn to lead
        self.gate.acquire()


class Ledger:
    """This device's pen."""

    def __init__(
        self, database: Database, signer: str, key: SigningKey, entry: Device, witness: Witness
    ) -> None:
        self._database = database
        self._key = key
        self._device = DeviceId(key.public)
        self._entry = entry
        self._witness = witness
        self._witnessed = False
        self._version: object = None  # of the database, when this pen last wrote
        self._ends: dict[int, tuple[log.LogRow, int, bytes]] = {}  # channel -> our log, its last seq and id
        self._due_ms = -DUE_EVERY_MS  # when we last looked for held operations that are due
        self._last: tuple[bytes, bytes] | None = None  # place and head of the newest commit of a transaction
        self.has_written = False
        self.is_over = False  # was the vault's hard quota reached when the transaction began?
        self.signer = signer
        self.applier = Applier(signer)
        self.people = People(IdentityId(bytes.fromhex(signer.partition(":")[2])), key.public)
        self.recovery_seed: Secret | None = None  # only while a vault is being recovered
        self._waiting: deque[Request] = deque()
        self._led = False  # is someone writing?
        self._mutex = threading.Lock()  # over the two above

    def write(self, channel: ChannelId, prepare: Prepare) -> list[MessageId]:
        """Durably write what `prepare` gives; the ids. Raises what `prepare` raises, or StorageError."""
        return self._write(Request(channel, prepare, post=False)).ids

    def write_post(self, channel: ChannelId, prepare: Prepare) -> tuple[MessageId, int]:
        """The same for exactly one Post, whatever else is written first; its id and hybrid time."""
        request = self._write(Request(channel, prepare, post=True))
        return request.ids[0], request.time

    def _write(self, request: Request) -> Request:
        assert self.entry
        with self._turn(request):
            while not request.done:
                self._write_group()
        if request.error is not None:
            raise request.error
        return request

    def run(self, work: Callable[[apsw.Connection], T], meanwhile: Callable[[], None] | None = None) -> T:
        """A larger piece of work (an import's batch) in a transaction of its own.

        meanwhile    called while index and disk take the transaction, to make the next one ready; not to write
        """
        last: list[Statement] = []
        with self._turn(Request(ChannelId(b""), lambda db, channel: [], post=False, alone=True)):
            self._last = None
            try:
                with self._database.transaction(meanwhile, last) as db:
                    self.begin(db)
                    result = work(db)
                    last += self._note(db)
                self._written(db)
                return result
            except apsw.Error as error:
                self._undo()
                raise translate(error) from error
            except BaseException:
                self._undo()
                raise

    @contextmanager
    def _turn(self, request: Request) -> Iterator[None]:
        """Wait until a request is done or may be done by this thread; then let the next one lead.

        Those whose request another thread wrote go their way at once: a lock that everybody had to pass
        would let the next writer begin with whoever happened to be through.
        """
        with self._mutex:
            self._waiting.append(request)
            if not self._led:
                self._led = request.leads = True
        try:
            if not request.leads:
                request.gate.acquire()
            yield
        finally:
            with self._mutex:
                request.done = True  # also if it was interrupted: nobody waits for it any more
                if request.leads:
                    self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and self._waiting[0].done:
            self._waiting.popleft()
        self._led = bool(self._waiting)
        if self._led:
            self._waiting[0].leads = True
            self._waiting[0].gate.release()

    def _write_group(self) -> None:
        """Write what waits. A request leaves the queue when it is settled, so an interrupt loses none."""
        with self._mutex:
            waiting = [request for request in list(self._waiting)[:GROUP_MAX] if not request.done]
        group = list(itertools.takewhile(lambda request: not request.alone, waiting))
        last: list[Statement] = []
        self._last = None
        try:
            with self._database.transaction(last=last) as db:
                self.begin(db)
                self._prepare_and_append(db, group)
                last += self._note(db)
            self._written(db)
        except BaseException as error:
            self._undo()
            if not isinstance(error, Exception):  # an interrupt: this thread's, not the others'
                if not self._is_kept():
                    for request in group:
                        request.ids, request.error = [], None
                    raise
                self._settle(group)
                raise
            failure = translate(error) if isinstance(error, apsw.Error) else error
            for request in group:
                request.error = request.error or failure
        self._settle(group)

    @staticmethod
    def _settle(group: list[Request]) -> None:
        for request in group:
            request.done = True
            if not request.leads:
                request.gate.release()

    def _is_kept(self) -> bool:
        """Is the last commit that we signed on disk? An interrupt during COMMIT is seen only after it."""
        if self._last is None:
            return False
        place, head = self._last
        return log.commit_at(self._database.writer, place) == head

    def _prepare_and_append(self, db: apsw.Connection, group: list[Request]) -> None:
        posts: dict[ChannelId, tuple[log.ChannelRow, list[tuple[Request, Operation, bytes]]]] = {}

        def flush() -> None:
            for channel, together in posts.values():
                draft = self.draft(db, channel)
                draft.extend_encoded([one for _, one, _ in together], [encoded for _, _, encoded in together])
                for (request, _, _), item in zip(together, draft.finish(), strict=True):
                    request.ids, request.time = [MessageId(item.id)], item.time
            posts.clear()

        for request in group:
            if not request.post:
                flush()  # it must see what came before it
            try:
                beside = posts.get(request.channel)  # nothing was written to the channel since
                channel = beside[0] if beside else _channel(db, request.channel)
                operations = request.prepare(db, channel)
                _require_rights(channel, operations)
                self.require_room(db, operations)
                encoded = list(
                    map(encode_operation, operations)
                )  # refused here, where only its caller hears of it
            except MalformedError as error:  # of our caller's making, not a peer's
                request.error = UsageError(str(error), rule=error.rule, hint="see docs/limits.md")
                continue
            except apsw.Error:
                raise  # the database's trouble is everyone's
            except Exception as error:  # also a value of a wrong type: it is its caller's alone
                request.error = error
                continue
            if request.post:
                posts.setdefault(request.channel, (channel, []))[1].append(
                    (request, operations[0], encoded[0])
                )
            elif operations:
                draft = self.draft(db, channel)
                request.ids = draft.extend_encoded(operations, encoded)
                draft.finish()
        flush()

    # Inside a transaction

    def begin(self, db: apsw.Connection) -> None:
        """Before the first write of a session: is this vault the one last written here? And what is due?"""
        if not self._witnessed:
            place = self._witness.last()
            if place is None or log.commit_at(db, place) is None:
                log.close_own_logs(db)
                self._ends.clear()
            self._witnessed = True
        if (db, db.data_version()) != self._version:  # somebody else wrote since, in another process mostly
            self._ends.clear()
            self.applier.others_wrote()
        self.has_written = True
        self.is_over = get_meta(db, quota.HARD) is not None and quota.is_over(db)
        now = now_ms()
        if abs(now - self._due_ms) >= DUE_EVERY_MS:
            self._due_ms = now
            if backlog.is_due(db, now):
                self.applier.release_due(db, now)
            if backlog.is_parked_due(db, now):
                from quire.store.ingest import retry_due  # which imports this module

                retry_due(self, self._device, db)

    def require_room(self, db: apsw.Connection, operations: Iterable[Operation | None]) -> None:
        """Raises: FullError(rule="quota_hard") for what would make a vault larger that is as large as it may be."""
        if self.is_over and quota.grows(operations):
            raise quota.refusal(db)

    def draft(self, db: apsw.Connection, channel: log.ChannelRow) -> Draft:
        """Commits to come in our log of a channel; ids are known as operations are added."""
        if channel.rotate_ms <= now_ms():
            channel = self._renew(db, channel)
        return self._draft(db, channel)

    def _draft(self, db: apsw.Connection, channel: log.ChannelRow) -> Draft:
        end = self._ends.get(channel.n)
        if end is None:
            own = log.own_log(db, channel.n) or self._new_log(db, channel.n)
            end = self._ends[channel.n] = (own, *log.newest_commit(db, own.n))
        return Draft(self, db, channel, *end)

    def heads_named(self, db: apsw.Connection, channel: log.ChannelRow) -> tuple[bytes, ...]:
        """The control heads that our next commit in a channel names; a commit has room for so many."""
        if len(channel.control_heads) <= CONTROL_HEADS_MAX:
            return channel.control_heads
        return self.people.graph(db, channel).frontier(self._device)

    def remember_end(self, channel: int, own: log.LogRow, seq: int, head_id: bytes) -> None:
        """Where our log of a channel ends now, so that the next commit need not look."""
        if len(self._ends) >= ENDS_MAX:
            self._ends.clear()
        self._ends[channel] = (own, seq, head_id)

    def forget_end(self, channel: int) -> None:
        """Our log of a channel was closed."""
        self._ends.pop(channel, None)

    def append(
        self, db: apsw.Connection, channel: log.ChannelRow, operations: Sequence[Operation]
    ) -> list[MessageId]:
        """Write operations to our log of a channel, apply them, and give their ids in order."""
        draft = self.draft(db, channel)
        ids = draft.extend(operations)
        draft.finish()
        return ids

    @property
    def is_certified(self) -> bool:
        """May this device write? A restored one whose owner gave no words waits for its certificate."""
        return bool(self._entry.certificate)

    @property
    def entry(self) -> Device:
        """Our device, as channels know it. Raises: UsageError(rule="device_uncertified")."""
        if not self.is_certified:
            raise UsageError(
                "this device is not yet one of yours: it reads, and writes nothing",
                rule="device_uncertified",
                hint="`quire restore` with --recovery takes the 24 words",
            )
        return self._entry

    @entry.setter
    def entry(self, entry: Device) -> None:
        self._entry = entry

    @property
    def signing_key(self) -> SigningKey:
        """This device's."""
        return self._key

    def sign(self, message: bytes) -> bytes:
        """This device's signature; the message begins with a label."""
        return self._key.sign(message)

    def commit(
        self, db: apsw.Connection, own: log.LogRow, seq: int, head: bytes, rights: int = MAY_ALL
    ) -> None:
        """Sign a head and keep it. Raises: as `entry`."""
        assert self.entry
        log.insert_commit(db, own.n, seq, head, self._key.sign(commit.to_be_signed(head)), rights)
        self._last = (own.prefix + seq.to_bytes(4, "big"), head)

    def create_channel(
        self, db: apsw.Connection, *, kind: str, name: str, source: str = "", key: str = ""
    ) -> log.ChannelRow:
        """Found a channel: its first commit, by which everything in it is anchored."""
        recovery = bytes(get_meta(db, "recovery")) if kind == "self" else b""
        first_device, *others = [self.entry] if kind == "self" else group.chain_to(self, db)
        create = Create(kind, name, os.urandom(16), first_device, recovery, source, key)
        operations: list[ControlOperation] = [create, *map(AddDevice, others)]
        encoded = [encode_operation(operation) for operation in operations]
        id = commit.channel_id(encoded[0])
        incarnation = Incarnation(os.urandom(16))
        prefix = log_prefix(self._device, incarnation)
        salted = commit.with_salts(encoded, os.urandom)
        time = clock.tick(now_ms(), 0)
        head = commit.build_head(
            channel=id, device=self._device, incarnation=incarnation, seq=1, previous=b"",
            control_heads=(), time=time, salted=salted,
        )  # fmt: skip
        first = message_id(prefix, 1, 0)
        n = log.insert_channel(
            db, id=id, genesis=commit.commit_id(head), kind=kind, creator=self.signer, source=source,
            key=key, name=name, time=time, first=first, own=True,
        )  # fmt: skip
        row = log.insert_log(db, n, self._device, incarnation, prefix, self.signer, own=True)
        self.commit(db, row, 1, head)
        controls.insert_control(
            db,
            [
                (message_id(prefix, 1, index), n, kind_of(operation), bytes_)
                for index, (operation, bytes_) in enumerate(zip(operations, salted, strict=True))
            ],
        )
        channel = log.channel_by_n(db, n)
        if others:
            channel = self.settle(db, n, self.people.graph(db, channel), operations, review=False)
        return channel

    # Control commits

    def write_control(
        self,
        id: ChannelId,
        prepare: Callable[[apsw.Connection, log.ChannelRow, Graph], Sequence[ControlOperation]],
    ) -> log.ChannelRow:
        """Durably write the control commit that `prepare` gives, with all that follows from it.

        Raises: what `prepare` raises, UnauthorisedError with the rule that it would break, StorageError.
        """
        assert self.entry

        def work(db: apsw.Connection) -> log.ChannelRow:
            channel = _channel(db, id)
            graph = self.people.graph(db, channel)
            return self.add_control(db, channel, graph, prepare(db, channel, graph))

        return self.run(work)

    def add_control(
        self,
        db: apsw.Connection,
        channel: log.ChannelRow,
        graph: Graph,
        operations: Sequence[ControlOperation],
    ) -> log.ChannelRow:
        """The same inside a transaction."""
        # Also if our clock was set back since: nobody would take it otherwise.
        least = graph.after(self._device)
        graph.check(operations, self._device, max(clock.tick(now_ms(), channel.clock), least))
        draft = self._draft(db, channel)
        encoded = draft.control(operations, least)
        fault("after_control")
        graph.add(as_control(encoded, commit.decode_head(encoded), operations))
        return self.settle(db, channel.n, graph, operations, review=any(map(takes, operations)))

    def settle(
        self,
        db: apsw.Connection,
        n: int,
        graph: Graph,
        operations: Iterable[ControlOperation],
        *,
        review: bool,
    ) -> log.ChannelRow:
        """Draw the consequences of new control commits of a channel, which its graph has already."""
        channel = log.channel_by_n(db, n)
        seeds: dict[bytes, bytes] = {self._device: bytes(get_meta(db, "sealing_seed"))}
        if self.recovery_seed is not None:
            seeds[self.people.identity] = self.recovery_seed.reveal()
        fresh, wrong = epochs.learn(db, channel, operations, seeds)
        for epoch, key in fresh.items():
            self._remember_key(db, channel, graph, epoch, key)
        fault("after_keys")
        channel = self.people.settle(db, self.applier, n, graph, now_ms(), review=review)
        if (
            channel.kind == "self"
            and channel.role
            and any(isinstance(one, RevokeDevice) for one in operations)
        ):
            self.note_keys_again(db)
            channel = log.channel_by_n(db, n)
        known = graph.state.epochs
        if withheld := epochs.withheld(operations, self._device):
            held = keychain.epoch_keys(db, channel.id)
            wrong += [
                one.epoch for one in known.candidates if one.epoch in withheld and one.epoch not in held
            ]
        reports = [
            one
            for one in dict.fromkeys(wrong)
            if channel.role and one in known and self._device not in known.reported(one)
        ]
        if reports:
            channel = self.add_control(db, channel, graph, epochs.report(reports))
        return channel

    def _remember_key(
        self, db: apsw.Connection, channel: log.ChannelRow, graph: Graph, epoch: bytes, key: EpochKey
    ) -> None:
        """Keep an epoch's key, also in the self-channel: for our other devices and for recovery.

        Kept back while a device that has come to its end in the channel has not there: it would read the key there.
        """
        keychain.put_epoch(db, channel.id, epoch, key.reveal())
        if channel.kind != "self" and not self._keeps_back(db, graph):
            self.append(db, log.self_channel(db), [EpochKeyOperation(channel.id, epoch, key.reveal())])

    def _keeps_back(self, db: apsw.Connection, graph: Graph) -> bool:
        """Is a device of ours, also one that our self-channel has not heard of, to be kept from a channel's keys?"""
        own = log.self_channel(db)
        if own.role == Role.NONE:  # we came to our end ourselves: nobody takes what we note
            return True
        ended, state = graph.state.revoked(self.people.identity), self.people.state(db, own)
        return not all(state.is_revoked(device) for device in ended)

    def note_keys_again(self, db: apsw.Connection) -> None:
        """Note in the self-channel the keys that our other devices do not get there: those that were kept back until a
        device came to its end there, too, and those that are in one commit with a key that was destroyed."""
        from quire.store.forgetting import noted_where_it_goes

        own = log.self_channel(db)
        noted = noted_where_it_goes(db, own)
        missing = [
            EpochKeyOperation(row.id, epoch, key)
            for row in log.channels(db)
            if not self._keeps_back(db, self.people.graph(db, row))
            for epoch, key in keychain.epoch_keys(db, row.id).items()
            if (row.id, epoch) not in noted
        ]
        if missing:
            self.append(db, own, missing)

    def _renew(self, db: apsw.Connection, channel: log.ChannelRow) -> log.ChannelRow:
        """Change the channel's key, or give it to who lacks it, before something is written under it."""
        if not channel.rights & MAY_POST:
            return channel
        graph = self.people.graph(db, channel)
        operations = epochs.renewal(db, channel, graph, now_ms())
        return self.add_control(db, channel, graph, operations) if operations else channel

    def _new_log(self, db: apsw.Connection, channel: int) -> log.LogRow:
        incarnation = Incarnation(os.urandom(16))
        prefix = log_prefix(self._device, incarnation)
        return log.insert_log(db, channel, self._device, incarnation, prefix, self.signer, own=True)

    def _note(self, db: apsw.Connection) -> list[Statement]:
        """At the end of a transaction; what is left to do in it."""
        if self._last is not None:
            self._witness.note(self._last[0])
        return self.applier.last(db)

    def _written(self, db: apsw.Connection) -> None:
        """After a commit: what the caches hold is what is there, until the database has another version."""
        self._version = (db, db.data_version())

    def _undo(self) -> None:
        """After a rollback: what the caches learned did not happen. The witness is asked again: if it names
        a commit that was not kept, the next write begins new logs."""
        self.applier.forget()
        self.people.forget()
        self._ends.clear()
        self._witnessed = False


class Draft:
    """Operations on their way into one log, cut into commits of a bounded size."""

    def __init__(
        self,
        ledger: Ledger,
        db: apsw.Connection,
        channel: log.ChannelRow,
        own: log.LogRow,
        seq: int,
        previous: bytes,
    ) -> None:
        self._ledger = ledger
        self._db = db
        self._channel = channel
        self._own = own
        self._seq, self._previous = seq, previous
        self._now = now_ms()
        self._time = channel.clock
        self._size = 0
        self._open: list[bytes] = []  # the commitments of operations in the commit being filled
        self._unsigned: list[Item] = []  # those of them that are applied one by one
        self._items: list[Item] = []
        self._posts: list[tuple[list[MessageId], Posts]] = []  # those that are applied all at once

    def add(self, operation: Operation) -> MessageId:
        """Take one more operation; its id. Raises: MalformedError (a limit), with nothing added."""
        return self.extend([operation])[0]

    def extend(self, operations: Sequence[Operation]) -> list[MessageId]:
        """Take operations; their ids. Raises: MalformedError (a limit), with nothing added."""
        return self.extend_encoded(operations, [encode_operation(operation) for operation in operations])

    def extend_encoded(self, operations: Sequence[Operation], encoded: Sequence[bytes]) -> list[MessageId]:
        """The same for operations and their bytes, as `encode_operation` gave them."""
        self._ledger.require_room(self._db, operations)
        ids: list[MessageId] = []
        salted = commit.with_salts(encoded, os.urandom)
        signer, rights = self._own.signer, self._channel.rights
        for first, some in self._take(salted, commit.commitments_of(salted)):
            part = slice(first, first + len(some))
            self._unsigned += [
                Item(id, 0, signer, operation, bytes_, rights)
                for id, operation, bytes_ in zip(some, operations[part], salted[part], strict=True)
            ]
            ids += some
        return ids

    def extend_posts(self, posts: Posts, commitments: Sequence[bytes]) -> list[MessageId]:
        """The same for posts that are encoded and salted. No other device can have named them yet: nothing waits for them."""
        if self._ledger.is_over:
            raise quota.refusal(self._db)
        ids = [id for _, some in self._take(posts.salted, commitments) for id in some]
        self._posts.append((ids, posts))
        return ids

    def _take(
        self, salted: Sequence[bytes], commitments: Sequence[bytes]
    ) -> Iterator[tuple[int, list[MessageId]]]:
        """Fill commits; for as many as go into each, where they begin and their ids."""
        first = 0
        while first < len(salted):
            last = self._fitting(salted, first)
            if last == first:
                self._seal()
                continue
            at, place = len(self._open), self._own.prefix + (self._seq + 1).to_bytes(4, "big")
            self._open += commitments[first:last]
            yield first, [MessageId(place + i.to_bytes(2, "big")) for i in range(at, at + last - first)]
            first = last

    def _fitting(self, salted: Sequence[bytes], first: int) -> int:
        """Up to where operations fit into the open commit; one always fits an empty one."""
        room = OPERATIONS_PER_COMMIT_MAX - len(self._open)
        size = self._size
        last = first
        for bytes_ in salted[first : first + room]:
            size += len(bytes_)
            if size > COMMIT_BYTES_TARGET and (self._open or last > first):
                break
            self._size = size
            last += 1
        return last

    def finish(self) -> list[Item]:
        """Sign what is open and apply everything; what was applied one by one, in order."""
        self._seal()
        fault("after_commits")
        for ids, posts in self._posts:
            self._ledger.applier.place(self._db, self._channel, ids, posts, self._time)
        if self._items:
            self._ledger.applier.apply(self._db, self._channel, self._items, self._now, self._time)
        return self._items

    def _seal(self) -> None:
        if not self._open:
            return
        self._sign(self._open, self._channel.rights)
        for item in self._unsigned:
            item.time = self._time
        self._items += self._unsigned
        self._open, self._unsigned, self._size = [], [], 0

    def _sign(self, commitments: list[bytes], rights: int, least: int = 0) -> bytes:
        """The next commit of this log, of this time at least; its encoded head."""
        self._seq, self._time = self._seq + 1, max(clock.tick(self._now, self._time), least)
        head = commit.build_head(
            channel=self._channel.id,
            device=self._own.device,
            incarnation=self._own.incarnation,
            seq=self._seq,
            previous=self._previous,
            control_heads=self._ledger.heads_named(self._db, self._channel),
            time=self._time,
            commitments=commitments,
        )
        self._ledger.commit(self._db, self._own, self._seq, head, rights)
        self._previous = commit.commit_id(head)
        self._ledger.remember_end(self._channel.n, self._own, self._seq, self._previous)
        return head

    def control(self, operations: Sequence[ControlOperation], least: int) -> bytes:
        """Write one control commit, of this time at least; its encoded head. Its effects are for store/people.py."""
        salted = commit.with_salts([encode_operation(operation) for operation in operations], os.urandom)
        head = self._sign(commit.commitments_of(salted), MAY_ALL, least)
        place = self._own.prefix + self._seq.to_bytes(4, "big")
        controls.insert_control(
            self._db,
            [
                (place + index.to_bytes(2, "big"), self._channel.n, kind_of(operation), bytes_)
                for index, (operation, bytes_) in enumerate(zip(operations, salted, strict=True))
            ],
        )
        log.touch_channel(self._db, self._channel.n, clock=self._time)
        return head


def _require_rights(channel: log.ChannelRow, operations: Sequence[Operation]) -> None:
    """Raises: UnauthorisedError, naming the role that would do."""
    if channel.rights == MAY_ALL:
        return
    if channel.role == Role.NONE:
        raise UnauthorisedError("you are not a member of this channel", rule="not_a_member")
    if any(lacks_right(operation, channel.rights) for operation in operations):
        raise UnauthorisedError(
            f"a {Role(channel.role).name.lower()} may not do this here",
            rule="role_too_low",
            hint="`quire policy` says which role may; an admin can give you one",
        )


def _channel(db: apsw.Connection, id: bytes) -> log.ChannelRow:
    channel = log.channel_by_id(db, id)
    if channel is None:
        raise NotFoundError("there is no such channel", rule="no_channel")
    return channel
