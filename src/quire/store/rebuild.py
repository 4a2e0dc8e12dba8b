"""Every view and the search index, thrown away and made again from the operations' bytes in the log; before them
membership, from the control commits: what we are in each channel, by what right each commit counts, the keys.

All in one transaction: killed at any point, the old ones are there. The bytes are first copied aside, because
the tables that keep them are themselves sorted by what is to be recomputed. Then commit by commit, in the
order of the logs, operations go through the same `Applier` as when they came; order does not matter to it.

What does not count is kept aside again, and what waits whole stays as it is. Nothing is lost, whatever state the
log is in: bytes that do not decode, or that belong to no commit, go to `waiting` with nothing to wait for, where
`verify` goes on naming them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from quire.core import clock, commit
from quire.core.control import Create
from quire.core.membership import Graph
from quire.core.operation import SALT_SIZE, Operation
from quire.core.operation_form import decode_operation
from quire.core.rights import MAY_ALL
from quire.errors import MalformedError, UnauthorisedError
from quire.storage import backlog, cold, controls, erasures, heights, keychain, log, retention, schema, search
from quire.storage.cold import opened
from quire.storage.database import fault
from quire.storage.meta import get_meta
from quire.store import epochs, wallclock
from quire.store.apply import Applier, Item
from quire.store.people import (
    content_rights,
    control_commits,
    gather,
    retention_acts,
    rotate_at,
    standing_of,
)
from quire.store.withdraw import set_aside

if TYPE_CHECKING:
    from quire.store.findings import Progress
    from quire.store.local import LocalStore

BATCH = 10_000  # operations applied together
BATCH_BYTES = 8 << 20
KEPT = ("message", "operation", "waiting", "voided")
VIEWS = (
    "erasure",
    "author",
    "reaction",
    "thread",
    "thread_author",
    "marker",
    "bookmark",
    "contact",
    "device_name",
    "attachment",
    "doc",
    "tail",
    "search",
)
RESET = (
    "UPDATE channel SET name = '?', name_time = -1, name_id = x'', topic = '', topic_time = -1, topic_id = x'',"
    " clock = 0, messages = 0, threads = 0, last_time = 0"
)


def rebuild(store: LocalStore, progress: Progress | None = None) -> int:
    """Make all views anew; how many operations were applied. Raises: StorageError, with nothing changed."""
    try:
        with store.database.bulk():
            return store.ledger.run(lambda db: _Rebuilding(store, db, progress).run())
    finally:
        store.ledger.applier.forget()  # it remembers numbers of rows that are gone
        store.ledger.people.forget()


class _Rebuilding:
    """The work, inside its transaction."""

    def __init__(self, store: LocalStore, db: apsw.Connection, progress: Progress | None) -> None:
        self._db = db
        self._identity = bytes.fromhex(store.own_key.partition(":")[2])
        self._device = store.device
        self._applier = Applier(store.own_key)
        self._graphs: dict[int, Graph] = {}  # of the channels whose control commits are all here
        self._now = wallclock.now_ms()
        self._progress = progress or (lambda what, done, total: None)
        self._items: list[Item] = []
        self._size = 0
        self._done = 0

    def run(self) -> int:
        db = self._db
        self._progress("setting operations aside", 0, 1)
        self._set_aside()
        fault("rebuild_aside")
        total: Any = db.execute("SELECT count(*) FROM aside").fetchone()
        channels = {row.n: row for row in log.all_channels(db)}
        for channel in channels.values():
            self._gather(channel)
        for row in log.logs(db):
            heights.recount(db, row.n)
            of = channels.get(row.channel)
            if of is None:
                continue
            for seq, encoded, _, rights in log.commits_with_rights(db, row.n):
                self._take_commit(of, row, seq, encoded, rights)
                if len(self._items) >= BATCH or self._size >= BATCH_BYTES:
                    self._apply(of)
                    self._progress("rebuilding views", self._done, total[0])
            self._apply(of)
        self._keep_the_rest()
        self._applier.flush(db)
        if cold.segments(db):
            search.index_tail(db)  # a search is not to need what is archived
        fault("rebuild_views")
        db.execute("DROP TABLE aside")
        self._progress("rebuilding views", total[0], total[0])
        return self._done

    def _set_aside(self) -> None:
        """Copy all bytes by id, and empty everything else. A row kept twice is kept once."""
        db = self._db
        db.execute("CREATE TABLE aside(id BLOB PRIMARY KEY, op BLOB NOT NULL) STRICT, WITHOUT ROWID")
        for table in KEPT:
            db.execute(
                f"INSERT OR IGNORE INTO aside SELECT id, op FROM {table} WHERE id NOT IN (SELECT id FROM destroyed)"
            )
            db.execute(f"DELETE FROM {table}")
        for table in VIEWS:
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute(schema.VIEWS)
        db.execute(RESET)

    def _gather(self, channel: log.ChannelRow) -> None:
        """Who is in a channel, what we may there, and the keys that were sealed to us."""
        db = self._db
        graph, lost = gather(db, channel)
        if lost or not len(graph):
            return  # what its rows say of that is all there is
        self._graphs[channel.n] = graph
        role, rights = standing_of(graph, self._identity, self._device)
        rotate_ms = rotate_at(graph, self._device, self._now)
        log.set_people(db, channel.n, b"".join(graph.heads), role, rights, rotate_ms)
        retention.put_policies(db, channel.n, retention_acts(graph))
        for epoch, key in keychain.epoch_keys(db, channel.id).items():
            if not epochs.is_key(channel.id, epoch, key):
                keychain.drop_epoch(db, channel.id, epoch)
        seeds = {bytes(self._device): bytes(get_meta(db, "sealing_seed"))}
        operations = [one for commit in control_commits(db, channel) for one in commit.operations]
        for epoch, found in epochs.learn(db, channel, operations, seeds)[0].items():
            keychain.put_epoch(db, channel.id, epoch, found.reveal())

    def _right(self, channel: log.ChannelRow, id: bytes, head: commit.Head, kept: int) -> int:
        """By what right a commit counts."""
        graph = self._graphs.get(channel.n)
        if graph is None or any(one not in graph for one in head.control_heads):
            return kept
        if id in graph:
            return MAY_ALL
        try:
            return content_rights(graph, head)
        except UnauthorisedError:
            return 0

    def _take_commit(
        self, channel: log.ChannelRow, row: log.LogRow, seq: int, encoded: bytes, kept: int
    ) -> None:
        """Collect a commit's operations, and move the channel's clock."""
        try:
            head = commit.decode_head(encoded)
        except MalformedError:
            return  # its operations are kept with the rest
        place = row.prefix + seq.to_bytes(4, "big")
        last = place + (head.count - 1).to_bytes(2, "big")
        stored: Any = self._db.execute(
            "DELETE FROM aside WHERE id BETWEEN ? AND ? RETURNING id, op", (place + b"\0\0", last)
        ).fetchall()
        commit_id = commit.commit_id(encoded)
        rights = self._right(channel, commit_id, head, kept)
        if rights != kept:
            log.set_rights(self._db, row.n, seq, rights)
        founds = commit_id == channel.genesis
        if founds:
            self._found(channel, head.time, place + b"\0\0")
        for id, op in sorted(stored):
            operation = _decoded(opened(self._db, op))
            if operation is None:
                self._put_back(channel.n, id, op, head.time, row.signer)
                continue
            item = Item(id, head.time, row.signer, operation, op, rights)
            if rights:
                self._items.append(item)
                self._size += len(op)
            else:
                set_aside(self._db, channel, [item])
        for id in erasures.holes_between(self._db, place + b"\0\0", last):
            if backlog.is_placed(self._db, id):
                continue  # by the erasure that says so, which came before it
            hole = Item(id, head.time, row.signer, None, b"", rights)
            if rights:
                self._items.append(hole)
            else:
                set_aside(self._db, channel, [hole])
        if founds or not clock.is_ahead(head.time, self._now):
            log.touch_channel(self._db, channel.n, clock=head.time)

    def _found(self, channel: log.ChannelRow, time: int, id: bytes) -> None:
        """What the first operation says of its channel."""
        create = controls.control_operation(self._db, id)
        if not isinstance(create, Create):
            return
        self._db.execute(
            "UPDATE channel SET kind = ?, source = ?, key = ? WHERE n = ?",
            (create.kind, create.source, create.key, channel.n),
        )
        log.set_newest_text(self._db, channel.n, "name", create.name, time, id)

    def _apply(self, channel: log.ChannelRow) -> None:
        if self._items:
            self._applier.apply(self._db, channel, self._items, self._now)
            self._done += len(self._items)
            self._items, self._size = [], 0

    def _keep_the_rest(self) -> None:
        """Bytes that belong to no commit."""
        while rest := self._db.execute("SELECT id, op FROM aside LIMIT 100").fetchall():
            for id, op in rest:
                self._put_back(0, id, op, 0, "")
                self._db.execute("DELETE FROM aside WHERE id = ?", (id,))

    def _put_back(self, channel: int, id: Any, op: Any, time: int, signer: str) -> None:
        backlog.insert_waiting(self._db, [(id, channel, None, None, time, signer, 0, op)])


def _decoded(op: bytes) -> Operation | None:
    try:
        operation = decode_operation(op[SALT_SIZE:])
        return operation if isinstance(operation, Operation) else None
    except MalformedError:
        return None
