"""Every view and the search index, thrown away and made again from the operations' bytes in the log.

All in one transaction: killed at any point, the old ones are there. The bytes are first copied aside, because
the tables that keep them are themselves sorted by what is to be recomputed. Then commit by commit, in the
order of the logs, operations go through the same `Applier` as when they came; order does not matter to it.

Nothing is lost, whatever state the log is in: bytes that do not decode, or that belong to no commit, go to
`waiting` with nothing to wait for, where `verify` goes on naming them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from quire.core import clock, commit
from quire.core.control import Create
from quire.core.operation import SALT_SIZE, Operation, decode_operation
from quire.errors import MalformedError
from quire.storage import log, schema
from quire.storage.database import fault
from quire.store import ledger
from quire.store.apply import Applier, Item

if TYPE_CHECKING:
    from quire.store.findings import Progress
    from quire.store.local import LocalStore

BATCH = 10_000  # operations applied together
BATCH_BYTES = 8 << 20
KEPT = ("message", "operation", "waiting")
VIEWS = (
    "author",
    "reaction",
    "thread",
    "thread_author",
    "marker",
    "bookmark",
    "contact",
    "device_name",
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
            return store.ledger.run(lambda db: _Rebuilding(store.own_key, db, progress).run())
    finally:
        store.ledger.applier.forget()  # it remembers numbers of rows that are gone


class _Rebuilding:
    """The work, inside its transaction."""

    def __init__(self, own_key: str, db: apsw.Connection, progress: Progress | None) -> None:
        self._db = db
        self._applier = Applier(own_key)
        self._now = ledger.now_ms()
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
        for row in log.logs(db):
            channel = channels.get(row.channel)
            if channel is None:
                continue
            for seq, encoded, _ in log.commits(db, row.n):
                self._take_commit(channel, row, seq, encoded)
                if len(self._items) >= BATCH or self._size >= BATCH_BYTES:
                    self._apply(channel)
                    self._progress("rebuilding views", self._done, total[0])
            self._apply(channel)
        self._keep_the_rest()
        self._applier.flush(db)
        fault("rebuild_views")
        db.execute("DROP TABLE aside")
        self._progress("rebuilding views", total[0], total[0])
        return self._done

    def _set_aside(self) -> None:
        """Copy all bytes by id, and empty everything else. A row kept twice is kept once."""
        db = self._db
        db.execute("CREATE TABLE aside(id BLOB PRIMARY KEY, op BLOB NOT NULL) STRICT, WITHOUT ROWID")
        for table in KEPT:
            db.execute(f"INSERT OR IGNORE INTO aside SELECT id, op FROM {table}")
            db.execute(f"DELETE FROM {table}")
        for table in VIEWS:
            db.execute(f"DROP TABLE IF EXISTS {table}")
        db.execute(schema.VIEWS)
        db.execute(RESET)

    def _take_commit(self, channel: log.ChannelRow, row: log.LogRow, seq: int, encoded: bytes) -> None:
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
        founds = commit.commit_id(encoded) == channel.genesis
        if founds:
            self._found(channel, head.time, place + b"\0\0")
        for id, op in sorted(stored):
            operation = _decoded(op)
            if operation is None:
                self._put_back(channel.n, id, op, head.time, row.signer)
                continue
            self._items.append(Item(id, head.time, row.signer, operation, op))
            self._size += len(op)
        if founds or not clock.is_ahead(head.time, self._now):
            log.touch_channel(self._db, channel.n, clock=head.time)

    def _found(self, channel: log.ChannelRow, time: int, id: bytes) -> None:
        """What the first operation says of its channel."""
        create = log.control_operation(self._db, id)
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
        log.insert_waiting(self._db, [(id, channel, None, None, time, signer, 0, op)])


def _decoded(op: bytes) -> Operation | None:
    try:
        operation = decode_operation(op[SALT_SIZE:])
        return operation if isinstance(operation, Operation) else None
    except MalformedError:
        return None
