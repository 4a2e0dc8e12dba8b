"""Archiving: the bytes of old messages go into segments, beside the vault or elsewhere, and come back (spec 16).

    messages before a date, and their edits, oldest first
    -> a segment: sealed one by one, flushed, read back and compared with their commitments, given its name
    -> the rows: a reference in the place of the bytes, some hundreds in a transaction

A row has its bytes or the reference to a file that is whole, so there is nothing to go on with after a kill: what is
still in the vault is what is left to do. The segment's key is in the vault only, and each operation's secret in its
row only: what destroys the row (erasure, retention) destroys the operation in the file, wherever that is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import apsw
import msgspec

from quire.core import limits
from quire.core.ids import ChannelId
from quire.core.operation import KINDS, Edit
from quire.core.segment import HEADER_SIZE, ID_SIZE, SECRET_SIZE, check_header, decode_reference
from quire.core.values import replace
from quire.errors import FullError, MalformedError, StorageError
from quire.storage import cold, freeing, log, search
from quire.storage import timeline as rows
from quire.storage.cold import MAKING, WHOLE, SegmentRow
from quire.storage.database import fault
from quire.storage.segment_files import NewSegment, make_folder, remove
from quire.store import quota
from quire.store.segments import place_of, require, segments_lock, tidy
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.care import Progress
    from quire.store.local import LocalStore

LEAST = 96  # bytes of an operation (and its salt) that is worth a reference of 65
_Result = TypeVar("_Result")
_Item = TypeVar("_Item")
STEP = 256  # rows changed in one transaction, in about 10 ms: who posts meanwhile waits no longer …
STEP_BYTES = 256 << 10  # … of at most so many bytes, or of one row
BATCH = 500  # messages looked at together
KEY_SIZE = 32


class ArchiveReport(msgspec.Struct):
    """What was archived, or would be; or what came back."""

    messages: int = 0
    operations: int = 0  # with the edits of messages
    vault_bytes: int = 0  # that their rows have become smaller (or larger, if they came back)
    segments: int = 0
    segment_bytes: int = 0  # of the files
    freed_bytes: int = 0  # given back to the file system
    free_bytes: int = (
        0  # of the vault's file, that hold nothing now: for what comes, or `compact` gives them back
    )
    longest_ms: float = 0.0  # the longest step: what a post meanwhile waits at most
    oldest_ms: int | None = None
    newest_ms: int | None = None

    def see(self, time: int) -> None:
        """A message of this time is among them."""
        self.messages += 1
        ms = time >> 16
        self.oldest_ms = ms if self.oldest_ms is None else min(self.oldest_ms, ms)
        self.newest_ms = ms if self.newest_ms is None else max(self.newest_ms, ms)


class _Moving(NamedTuple):
    """A row whose bytes are to become a reference."""

    table: str
    where: tuple[Any, ...]
    length: int
    reference: bytes


# Archiving


def archive(
    store: LocalStore,
    channel: ChannelId,
    before_ms: int,
    to: str | None = None,
    progress: Progress | None = None,
) -> ArchiveReport:
    """Move the bytes of a channel's messages before a time into segments.

    to    a folder that is there; None: one in the vault's

    Raises: NotFoundError, BusyError, FullError, StorageError: what was moved by then is, the rest is as it was.
    """
    own = to is None
    place = cold.FOLDER if to is None else place_of(store, to)
    done = ArchiveReport()
    with segments_lock(store):
        tidy(store)
        make_folder(os.path.join(store.database.blocks.vault, place), own=own)
        row = store.channel_row(channel)
        total = _count(store, row, before_ms) if progress else 0
        found = _Candidates(store, row, before_ms, done)
        while not found.is_done:
            _one_segment(store, row, place, found, done)
            if progress:
                progress("archiving", done.messages, total)
        done.freed_bytes = give_back(store, done)
        db = store.database.reader
        done.free_bytes = freeing.free_pages(db) * int(db.pragma("page_size"))
    return done


def preview(store: LocalStore, channel: ChannelId, before_ms: int) -> ArchiveReport:
    """What `archive` would move; nothing is changed."""
    done = ArchiveReport()
    found = _Candidates(store, store.channel_row(channel), before_ms, done)
    for table, _, op in found:
        done.operations += 1
        done.vault_bytes += len(op) - cold.REFERENCE_SIZE
        assert table
    return done


class _Candidates:
    """What is to be archived: (table, key of the row, bytes) of messages and their edits, oldest first."""

    def __init__(self, store: LocalStore, row: log.ChannelRow, before_ms: int, done: ArchiveReport) -> None:
        self._store = store
        self._channel = row.n
        self._end = before_ms << 16
        self._done = done
        self._place: tuple[int, bytes] = (-1, b"")
        self._waiting: list[Any] = []
        self.first = self.last = 0  # times of the messages given since `begin`
        self.is_done = False

    def begin(self) -> None:
        """What comes next goes into another segment."""
        self.first = self.last = -1

    def __iter__(self) -> Iterator[tuple[str, tuple[Any, ...], bytes]]:
        while True:
            if not self._waiting:
                self._waiting = self._batch()[::-1]
                if not self._waiting:
                    self.is_done = True
                    return
            time, id, flags, op = self._waiting.pop()
            found: list[tuple[str, tuple[Any, ...], bytes]] = []
            if len(op) >= LEAST and not flags & rows.HOLLOW:
                found.append(("message", (self._channel, time, id), op))
            if flags & rows.EDITED:
                found += self._edits(id)
            if found:
                self._done.see(time)
                self.first = time if self.first < 0 else self.first
                self.last = time
            yield from found

    def _batch(self) -> list[Any]:
        found = self._store.database.reader.execute(
            "SELECT time, id, flags, op FROM message WHERE channel = ? AND (time, id) > (?, ?) AND time < ?"
            f" AND (length(op) >= {LEAST} OR flags & {rows.EDITED}) ORDER BY time, id LIMIT {BATCH}",
            (self._channel, *self._place, self._end),
        ).fetchall()
        if found:
            self._place = found[-1][:2]  # type: ignore[assignment]
        return found

    def _edits(self, id: bytes) -> Iterator[tuple[str, tuple[Any, ...], bytes]]:
        found: Any = self._store.database.reader.execute(
            f"SELECT id, op FROM operation WHERE target = ? AND kind = ? AND length(op) >= {LEAST}",
            (id, KINDS[Edit]),
        ).fetchall()
        for edit, op in found:
            yield "operation", (edit,), op


def _one_segment(
    store: LocalStore, row: log.ChannelRow, place: str, found: _Candidates, done: ArchiveReport
) -> None:
    """Fill one segment, and let the rows of what is in it refer to it."""
    found.begin()
    some = iter(found)
    first = next(some, None)
    if first is None:
        return
    made = SegmentRow(
        0, row.n, os.urandom(ID_SIZE), os.urandom(KEY_SIZE), place, MAKING, 0, b"", 0, 0, 0, now_ms()
    )

    def note(db: apsw.Connection) -> int:
        search.index_tail(db)  # a search is not to need what is archived
        return cold.put_segment(db, made)

    made = replace(made, n=store.ledger.run(note))
    path = store.database.blocks.path(made)
    fault("segment_noted")
    file = NewSegment(path, made.n, made.id, made.key)
    try:
        moving = [_sealed(file, *first)]
        for one in some:
            moving.append(_sealed(file, *one))
            if file.size >= limits.SEGMENT_BYTES or len(moving) >= limits.SEGMENT_OPERATIONS:
                break
        digest = file.finish()
        made = replace(
            made, state=WHOLE, size=file.size, digest=digest, operations=len(moving), first=found.first,
            last=found.last,
        )  # fmt: skip
        _read_back(path + ".part", made, moving)
        file.place()
        _switch(store, made, moving, done)
    except BaseException:
        file.close()
        _abandon(store, made)
        raise
    done.segments += 1
    done.segment_bytes += made.size


def _sealed(file: NewSegment, table: str, where: tuple[Any, ...], op: bytes) -> _Moving:
    reference = file.add(os.urandom(SECRET_SIZE), op, cold.commitment_of(op))
    return _Moving(table, where, len(op), reference)


def _read_back(path: str, made: SegmentRow, moving: Iterable[_Moving]) -> None:
    """Every operation as the disk has it now, against its commitment.

    Raises: StorageError(rule="segment_unreadable").
    """
    from quire.core.segment import open_record

    try:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            check_header(file.read(HEADER_SIZE), made.id)
            for one in moving:
                reference = decode_reference(one.reference)
                open_record(made.key, made.id, reference, file.read(reference.size))
        size, digest = cold.digest_of(path)
    except (OSError, MalformedError) as error:
        raise StorageError(
            f"the disk does not give back what was written to {path}",
            rule="segment_unreadable",
            hint="nothing was moved there; check the disk",
        ) from error
    if (size, digest) != (made.size, made.digest):
        raise StorageError(
            f"{path} is not what was written", rule="segment_unreadable", hint="check the disk"
        )
    fault("segment_read_back")


def _switch(store: LocalStore, made: SegmentRow, moving: list[_Moving], done: ArchiveReport) -> None:
    """Let the rows refer to the segment, some hundreds at a time. What changed meanwhile stays as it is."""
    for some in in_steps(moving, [one.length for one in moving]):

        def work(db: apsw.Connection, some: list[_Moving] = some) -> tuple[int, int]:
            db.execute(
                "UPDATE segment SET state = ?, size = ?, digest = ?, operations = ?, first = ?, last = ? WHERE n = ?",
                (WHOLE, made.size, made.digest, made.operations, made.first, made.last, made.n),
            )
            return _refer(db, some)

        count, size = _timed(store, work, done)
        done.operations += count
        done.vault_bytes += size
        fault("segment_step")


def in_steps(every: Sequence[_Item], sizes: Sequence[int]) -> Iterator[list[_Item]]:
    """What is changed in one transaction each: at most `STEP`, and at most `STEP_BYTES` or one."""
    step: list[_Item] = []
    room = STEP_BYTES
    for one, size in zip(every, sizes, strict=True):
        if step and (len(step) >= STEP or size > room):
            yield step
            step, room = [], STEP_BYTES
        step.append(one)
        room -= size
    if step:
        yield step


def _refer(db: apsw.Connection, some: list[_Moving]) -> tuple[int, int]:
    """Put references in the place of bytes; how many rows, and bytes less.

    All rows are taken out before the first goes in again: only so SQLite joins pages that would stay half empty.
    """
    changed: dict[str, list[Any]] = {table: [] for table in _TAKE}
    size = 0
    for one in some:
        found = db.execute(_TAKE[one.table], (*one.where, one.length)).fetchone()
        if found is not None:
            changed[one.table].append((*found[:-1], one.reference))
            size += one.length - cold.REFERENCE_SIZE
    for table, put in _PUT.items():
        db.executemany(put, changed[table])
    return sum(map(len, changed.values())), size


_TAKE = {
    "message": "DELETE FROM message WHERE channel = ? AND time = ? AND id = ? AND length(op) = ?"
    f" AND flags & {rows.HOLLOW} = 0 RETURNING channel, time, id, spill, author, flags, root, edit, op",
    "operation": "DELETE FROM operation WHERE id = ? AND length(op) = ?"
    " RETURNING id, channel, kind, target, time, author, void, previous, op",
}
_PUT = {
    table: f"INSERT INTO {table}({sql.partition(' RETURNING ')[2]}) VALUES(?,?,?,?,?,?,?,?,?)"
    for table, sql in _TAKE.items()
}


def _timed(store: LocalStore, work: Callable[[apsw.Connection], _Result], done: ArchiveReport) -> _Result:
    """One transaction, and a pause of half as long, in which others write."""
    began = time.perf_counter()
    result = store.ledger.run(work)
    took = time.perf_counter() - began
    done.longest_ms = max(done.longest_ms, took * 1e3)
    time.sleep(min(took / 2, 0.05))
    return result


def _abandon(store: LocalStore, made: SegmentRow) -> None:
    """What was begun is not to be: nothing refers to it, unless a step did."""
    if not cold.is_live(store.database.reader, made):
        remove(store.database.blocks.path(made))
        store.ledger.run(lambda db: cold.drop_segment(db, made.n))


def _count(store: LocalStore, row: log.ChannelRow, before_ms: int) -> int:
    sql = f"SELECT count(*) FROM message WHERE channel = ? AND time < ? AND length(op) >= {LEAST}"
    found: Any = store.database.reader.execute(sql, (row.n, before_ms << 16)).fetchone()
    return int(found[0])


# Bringing back


def unarchive(store: LocalStore, channel: ChannelId, progress: Progress | None = None) -> ArchiveReport:
    """Bring all that is archived of a channel back into the vault, and remove its segments.

    Raises, before anything is changed: UnreachableError, FullError(rule="quota_hard"). CorruptError, BusyError, FullError,
    StorageError.
    """
    done = ArchiveReport()
    with segments_lock(store):
        tidy(store)
        row = store.channel_row(channel)
        db = store.database.reader
        kept = [one for one in cold.segments(db, row.n) if one.state == WHOLE]
        require(store, kept)
        done.segments, done.segment_bytes = len(kept), sum(one.size for one in kept)
        total = sum(one.operations for one in kept)
        _require_room(store, row)
        for table, step in (("message", _messages_back), ("operation", _edits_back)):
            place: Any = None
            while True:
                place, count, size = step(store, row, place, done)
                if place is None:
                    break
                done.operations += count
                done.vault_bytes += size
                fault("segment_back")
                if progress:
                    progress("bringing back", done.operations, total)
            assert table
        tidy(store)
    return done


def _require_room(store: LocalStore, row: log.ChannelRow) -> None:
    """Raises: FullError(rule="quota_hard") if what comes back is more than the vault may hold."""
    db = store.database.reader
    more = 0
    for table in ("message", "operation"):
        longer = f"coalesce(sum(archived_length(op) - {cold.REFERENCE_SIZE}), 0)"
        sql = f"SELECT {longer} FROM {table} WHERE channel = ? AND {_ARCHIVED}"
        found: Any = db.execute(sql, (row.n,)).fetchone()
        more += max(0, int(found[0]))
    if quota.is_over(db, more):
        now = quota.view(db)
        raise FullError(
            f"the vault's quota is too small: it holds {now.used_bytes:,} bytes of {now.hard:,}, and {more:,} would come back",
            rule="quota_hard",
            hint="raise it: `quire quota --hard`, or delete, erase or archive something else first; nothing was changed",
            used_bytes=now.used_bytes,
            limit=now.hard,
            more_bytes=more,
        )


_ARCHIVED = f"length(op) = {cold.REFERENCE_SIZE} AND substr(op, {cold.MARKED_AT}, 1) = x'c1'"


def _messages_back(
    store: LocalStore, row: log.ChannelRow, place: Any, done: ArchiveReport
) -> tuple[Any, int, int]:
    found: Any = store.database.reader.execute(
        f"SELECT time, id, op, archived(op) FROM message WHERE channel = ? AND (time, id) > (?, ?) AND {_ARCHIVED}"
        f" ORDER BY time, id LIMIT {STEP}",
        (row.n, *(place or (-1, b""))),
    ).fetchall()
    if not found:
        return None, 0, 0
    sql = "UPDATE message SET op = ? WHERE channel = ? AND time = ? AND id = ? AND op = ?"
    count, size = _back(store, sql, [(whole, row.n, time, id, op) for time, id, op, whole in found], done)
    for at, *_ in found:
        done.see(at)
    return found[-1][:2], count, size


def _edits_back(
    store: LocalStore, row: log.ChannelRow, place: Any, done: ArchiveReport
) -> tuple[Any, int, int]:
    found: Any = store.database.reader.execute(
        f"SELECT id, op, archived(op) FROM operation WHERE id > ? AND channel = ? AND {_ARCHIVED} ORDER BY id LIMIT {STEP}",
        (place or b"", row.n),
    ).fetchall()
    if not found:
        return None, 0, 0
    sql = "UPDATE operation SET op = ? WHERE id = ? AND op = ?"
    count, size = _back(store, sql, [(whole, id, op) for id, op, whole in found], done)
    return found[-1][0], count, size


def _back(store: LocalStore, sql: str, values: list[tuple[Any, ...]], done: ArchiveReport) -> tuple[int, int]:
    def work(db: apsw.Connection, some: list[tuple[Any, ...]]) -> tuple[int, int]:
        count = size = 0
        for value in some:
            db.execute(sql, value)
            if db.changes():
                count, size = count + 1, size + len(value[0]) - len(value[-1])
        return count, size

    count = size = 0
    for some in in_steps(values, [len(value[0]) for value in values]):
        more = _timed(store, partial(work, some=some), done)
        count, size = count + more[0], size + more[1]
    return count, size


def give_back(store: LocalStore, done: ArchiveReport) -> int:
    """Give most of the pages that are free now back to the file system, in steps; bytes."""
    db = store.database.reader
    page, before = db.pragma("page_size"), freeing.free_pages(db)
    free = before
    while free > freeing.KEPT_PAGES:
        _timed(store, freeing.give_back, done)
        left = freeing.free_pages(db)
        if left >= free:
            break
        free = left
    store.database.checkpoint()
    return int((before - free) * page)
