"""Writing our own commits: many callers, one transaction, one signature a channel.

Callers hand in requests; whoever finds nobody writing becomes the writer and takes all that wait, in one
transaction and one fsync (group commit). Messages of one channel that wait together become one commit.
A request is checked against all that came before it; a refusal is its caller's alone. Nothing is
returned before it is durable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import apsw

from quire.core import clock, commit
from quire.core.control import AddDevice, ControlOperation, Create, Device, Role, kind_of
from quire.core.crypto.keys import SigningKey
from quire.core.crypto.secrets import Secret
from quire.core.ids import ChannelId, DeviceId, IdentityId, Incarnation, MessageId, log_prefix, message_id
from quire.core.limits import CONTROL_HEADS_MAX
from quire.core.membership import Graph
from quire.core.operation import Operation
from quire.core.operation_form import encode_operation
from quire.core.rights import MAY_ALL, MAY_POST
from quire.core.timeline import lacks_right
from quire.errors import MalformedError, NotFoundError, UnauthorisedError, UsageError, callers_mistake
from quire.storage import backlog, controls, log
from quire.storage.database import Database, Statement, fault, translate
from quire.storage.meta import get_meta
from quire.store import epochs, group, quota, wallclock
from quire.store.apply import Applier
from quire.store.draft import Draft
from quire.store.people import People, as_control, takes
from quire.store.settling import settle
from quire.store.turns import Prepare, Request, Turns, release
from quire.store.witness import Witness

ENDS_MAX = 10_000  # channels whose end is remembered
DUE_EVERY_MS = 1_000  # how often a writer looks for held operations whose time has come

T = TypeVar("T")


class Ledger:
    """This device's pen."""

    def __init__(
        self, database: Database, signer: str, key: SigningKey, entry: Device, witness: Witness
    ) -> None:
        self._database = database
        database.keep_room()
        self._key = key
        self.device = DeviceId(key.public)
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
        self._turns = Turns()

    def write(self, channel: ChannelId, prepare: Prepare) -> list[MessageId]:
        """Durably write what `prepare` gives; the ids. Raises what `prepare` raises, or StorageError."""
        return self._write(Request(channel, prepare, post=False)).ids

    def write_post(self, channel: ChannelId, prepare: Prepare) -> tuple[MessageId, int]:
        """The same for exactly one Post, whatever else is written first; its id and hybrid time."""
        request = self._write(Request(channel, prepare, post=True))
        return request.ids[0], request.time

    def _write(self, request: Request) -> Request:
        assert self.entry
        with self._turns.taken_by(request):
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
        with self._turns.taken_by(Request(ChannelId(b""), lambda db, channel: [], post=False, alone=True)):
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

    def _write_group(self) -> None:
        """Write what waits."""
        group = self._turns.together()
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
                release(group)
                raise
            failure = translate(error) if isinstance(error, apsw.Error) else error
            for request in group:
                request.error = request.error or failure
        release(group)

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
                if channel.role == Role.NONE and channel.rights != MAY_ALL:
                    raise self._outside(db, channel)
                _require_rights(channel, operations)
                self.require_room(db, operations)
                encoded = list(
                    map(encode_operation, operations)
                )  # refused here, where only its caller hears of it
            except MalformedError as error:
                request.error = callers_mistake(error)
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
        now = wallclock.now_ms()
        if abs(now - self._due_ms) >= DUE_EVERY_MS:
            self._due_ms = now
            if backlog.is_due(db, now):
                self.applier.release_due(db, now)
            if backlog.is_parked_due(db, now):
                from quire.store.ingest import retry_due  # which imports this module

                retry_due(self, self.device, db)

    def require_room(self, db: apsw.Connection, operations: Iterable[Operation | None]) -> None:
        """Raises: FullError(rule="quota_hard") for what would make a vault larger that is as large as it may be."""
        if self.is_over and quota.grows(operations):
            raise quota.refusal(db)

    def draft(self, db: apsw.Connection, channel: log.ChannelRow) -> Draft:
        """Commits to come in our log of a channel; ids are known as operations are added."""
        if channel.rotate_ms <= wallclock.now_ms():
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
        return self.people.graph(db, channel).frontier(self.device)

    def remember_end(self, channel: int, own: log.LogRow, seq: int, head_id: bytes) -> None:
        """Where our log of a channel ends now, so that the next commit need not look."""
        if len(self._ends) >= ENDS_MAX:
            self._ends.clear()
        self._ends[channel] = (own, seq, head_id)

    def forget_end(self, channel: int) -> None:
        """Our log of a channel was closed."""
        self._ends.pop(channel, None)

    def _outside(self, db: apsw.Connection, channel: log.ChannelRow) -> UnauthorisedError:
        """Why we write nothing in a channel that we are not in."""
        if self.people.state(db, channel).is_revoked(self.device):
            return UnauthorisedError(
                "this device was revoked",
                rule="author_revoked",
                hint="what is here stays; `quire link`, in another folder, makes a new device of this machine",
            )
        hint = "`quire log` tells what was done with its members"
        return UnauthorisedError("you are not a member of this channel", rule="not_a_member", hint=hint)

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
                hint="`quire restore` with --recovery takes the 24 words; or `quire link` it to another device of yours",
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
        prefix = log_prefix(self.device, incarnation)
        salted = commit.with_salts(encoded, os.urandom)
        time = clock.tick(wallclock.now_ms(), 0)
        head = commit.build_head(
            channel=id, device=self.device, incarnation=incarnation, seq=1, previous=b"",
            control_heads=(), time=time, salted=salted,
        )  # fmt: skip
        first = message_id(prefix, 1, 0)
        n = log.insert_channel(
            db, id=id, genesis=commit.commit_id(head), kind=kind, creator=self.signer, source=source,
            key=key, name=name, time=time, first=first, own=True,
        )  # fmt: skip
        row = log.insert_log(db, n, self.device, incarnation, prefix, self.signer, own=True)
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
            channel = settle(self, db, n, self.people.graph(db, channel), operations, review=False)
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
        least = graph.after(self.device)
        graph.check(operations, self.device, max(clock.tick(wallclock.now_ms(), channel.clock), least))
        behind = not graph.is_newest(graph.frontier(self.device))  # of too many heads it names some
        draft = self._draft(db, channel)
        encoded = draft.control(operations, least)
        fault("after_control")
        graph.add(as_control(encoded, commit.decode_head(encoded), operations))
        return settle(self, db, channel.n, graph, operations, review=behind or any(map(takes, operations)))

    def _renew(self, db: apsw.Connection, channel: log.ChannelRow) -> log.ChannelRow:
        """Change the channel's key, or give it to who lacks it, before something is written under it."""
        if not channel.rights & MAY_POST:
            return channel
        graph = self.people.graph(db, channel)
        operations = epochs.renewal(db, channel, graph, wallclock.now_ms())
        return self.add_control(db, channel, graph, operations) if operations else channel

    def _new_log(self, db: apsw.Connection, channel: int) -> log.LogRow:
        incarnation = Incarnation(os.urandom(16))
        prefix = log_prefix(self.device, incarnation)
        return log.insert_log(db, channel, self.device, incarnation, prefix, self.signer, own=True)

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


def _require_rights(channel: log.ChannelRow, operations: Sequence[Operation]) -> None:
    """Raises: UnauthorisedError, naming the role that would do."""
    if channel.rights == MAY_ALL:
        return
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
