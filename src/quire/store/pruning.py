"""Letting go: what retention says is to go is destroyed here, in steps that are short enough to write in between.

    policies of the channel, and of this device  ->  bounds (store/retention.py)
    messages before their end, oldest first       ->  those that go, some hundreds a step
    each step, one transaction                    ->  rows, words and bytes go, the commitments stay (store/erasing.py)
    after them                                    ->  the index is written anew, free pages go back, in steps

Nothing says how far it has come: what is to go and is still here is what is left to do. So it may be killed anywhere and goes
on with whoever looks next: `quire up`, every opening for writing, every write now and then, `quire retention --run`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from quire.core.commit import decode_head
from quire.core.ids import ChannelId
from quire.core.operation import Post, stored_operation
from quire.core.retention import Bounds, Facts, goes
from quire.storage import erasures, freeing, heights, log, search
from quire.storage import retention as policies
from quire.storage import timeline as rows
from quire.storage.database import fault
from quire.storage.erasures import LOCAL, POLICY
from quire.store import attachments, erasing, forgetting, ledger
from quire.store import retention as deciding
from quire.store.apply import Applier, Item, indexed, shown_body

if TYPE_CHECKING:
    from quire.store.local import LocalStore

STEP_MS = 20  # what a step aims at: whoever posts meanwhile waits so long at most, and a checkpoint
STEP_FIRST, STEP_MAX = 64, 1_024  # messages
BULK = 64  # messages from which on words are forgotten first and taken out of the index later
PAUSE_MS_MAX = 50  # after each step half of what it took: other processes write in it
IMPORTED_COUNT = 256  # operations in a commit that only an import makes
EVERY_MS = 60_000  # how often anybody looks what has come due meanwhile


class Pruned(msgspec.Struct):
    """What was let go."""

    messages: int = 0
    operations: int = 0  # messages included
    size_bytes: int = 0  # of operations, in the log
    freed_bytes: int = 0  # given back to the file system
    channels: tuple[ChannelId, ...] = ()
    longest_ms: float = 0.0  # of a step: how long at most a writer waited for one

    def add(self, channel: ChannelId, messages: int, operations: int, size_bytes: int) -> None:
        self.messages += messages
        self.operations += operations
        self.size_bytes += size_bytes
        self.channels = tuple(dict.fromkeys([*self.channels, channel]))


def enforce(store: LocalStore, only: ChannelId | None = None, budget_ms: float | None = None) -> Pruned:
    """Let go of all that is to go, in one channel or in all; memory does not grow with it.

    budget_ms    stop after the step in which so much time is over

    Raises: StorageError, with all steps before the last one done.
    """
    began, done = time.monotonic(), Pruned()
    for took in steps(store, only, done):
        if budget_ms is not None and (time.monotonic() - began) * 1000 >= budget_ms:
            return done
        time.sleep(min(took, PAUSE_MS_MAX) / 2 / 1000)
    return done


def steps(store: LocalStore, only: ChannelId | None, done: Pruned) -> Iterator[float]:
    """The same one step at a time; how long each took, ms. For who has other things to do between them."""
    db = store.database.reader
    for n in policies.bounded_channels(db):
        row = log.channel_by_n(db, n)
        if only in (None, row.id):
            yield from _timed(_channel_steps(store, row, done), done)
            yield from _timed(_file_steps(store, row), done)
            yield from _timed(_hole_steps(store, row), done)
            yield from _timed(_stray_steps(store, row), done)
            yield from _timed(_epoch_steps(store, row), done)
    yield from _timed(_index_steps(store), done)
    yield from _timed(_space_steps(store, done), done)
    if only is None:
        next_ms = ledger.now_ms() + EVERY_MS
        store.ledger.run(lambda db: policies.look_at(db, next_ms))


def _timed(some: Iterator[None], done: Pruned) -> Iterator[float]:
    while True:
        began = time.perf_counter()
        if next(some, some) is some:
            return
        took = (time.perf_counter() - began) * 1000
        done.longest_ms = max(done.longest_ms, took)
        yield took


def is_due(store: LocalStore) -> bool:
    """Is it time to look whether anything is to go?"""
    due = policies.looks_at(store.database.reader)
    return due is not None and due <= ledger.now_ms()


# Messages


def _channel_steps(store: LocalStore, row: log.ChannelRow, done: Pruned) -> Iterator[None]:
    """Let go of what is to go in one channel."""
    db, now_ms = store.database.reader, ledger.now_ms()
    channel, both = deciding.bounds_apart(db, row, now_ms)
    size, waiting = STEP_FIRST, []
    for one, _ in deciding.expired(db, row, both):
        waiting.append(one.id)
        if len(waiting) == size:
            took = _step(store, row, channel, both, waiting, now_ms, done)
            size = max(STEP_FIRST, min(STEP_MAX, int(size * min(2.0, STEP_MS / max(took, 0.1)))))
            waiting = []
            yield
    if waiting:
        _step(store, row, channel, both, waiting, now_ms, done)
        yield


def _step(
    store: LocalStore,
    row: log.ChannelRow,
    channel: Bounds,
    both: Bounds,
    ids: list[bytes],
    now_ms: int,
    done: Pruned,
) -> float:
    """One transaction; how long it took, ms. What it is about is looked at once more: it may have been pinned meanwhile."""
    began = time.perf_counter()

    def work(db: apsw.Connection) -> tuple[int, int, int]:
        return _let_go_of(db, store.ledger.applier, log.channel_by_n(db, row.n), channel, both, ids, now_ms)

    done.add(row.id, *store.ledger.run(work))
    return (time.perf_counter() - began) * 1000


def _let_go_of(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    everybody: Bounds,
    both: Bounds,
    ids: Iterable[bytes],
    now_ms: int,
) -> tuple[int, int, int]:
    """Those of these messages that go now, each for the reason that it goes for."""
    some: dict[int, list[bytes]] = {POLICY: [], LOCAL: []}
    for_all, here = deciding.Looking(db, everybody), deciding.Looking(db, both)
    for one in policies.candidates_of(db, ids):
        if here.goes(one):
            some[POLICY if for_all.goes(one) else LOCAL].append(one.id)
    counts = [let_go(db, applier, channel, found, why, now_ms) for why, found in some.items() if found]
    return sum(one[0] for one in counts), sum(one[1] for one in counts), sum(one[2] for one in counts)


def let_go(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    ids: Sequence[bytes],
    why: int,
    now_ms: int,
) -> tuple[int, int, int]:
    """Take messages of one channel, with all that is on them, out of the vault; (messages, operations, bytes) gone.

    The same as `erasing.destroy`, for many that mostly stand alone: it looks at no thread as a whole.
    """
    applier.flush(db)
    found = rows.get_rows(db, ids)
    named = {row.id for row in found}
    nested = [row for row in found if row.flags & rows.THREADED and _replies_to_replies(db, row, named)]
    if nested:  # whose place is to be found anew when their root is gone
        left = [id for id in ids if id not in {row.id for row in nested}]
        size = erasing.destroy(db, applier, channel, [row.id for row in nested], why, now_ms)
        counts = let_go(db, applier, channel, left, why, now_ms) if left else (0, 0, 0)
        return counts[0] + len(nested), counts[1] + len(nested), counts[2] + size
    fault("before_pruning")
    _forget_words(db, found)
    attachments.forget(db, [row.id for row in found if _has_files(row)])
    on_them: Any = db.execute(
        "DELETE FROM operation WHERE target IN carray(?) RETURNING id, op", (apsw.carray(tuple(named)),)
    ).fetchall()
    _let_threads_go(db, channel, found, named)
    _delete(db, found)
    fault("pruned_rows")
    gone = [*on_them, *((row.id, row.op) for row in found if not row.flags & rows.HOLLOW)]
    erasing.leave_holes(db, channel.n, gone, why)
    _recount(db, channel, found)
    applier.forget()
    waiting = erasing.take_waiting_for(db, channel, sorted(named))
    if waiting:  # it stands alone now, or goes, too
        from quire.store.people import put_back

        put_back(db, applier, channel, waiting, now_ms)
    fault("pruned")
    return len(found), len(gone), sum(len(op) for _, op in gone)


def _has_files(row: rows.MessageRow) -> bool:
    post = stored_operation(row.op)
    assert isinstance(post, Post)
    return bool(post.attachments)


def _forget_words(db: apsw.Connection, found: Sequence[rows.MessageRow]) -> None:
    shown = []
    for row in found:
        if not row.flags & rows.DELETED:
            post = stored_operation(row.op)
            assert isinstance(post, Post)
            shown.append((row.doc, *indexed(post, shown_body(db, row, post), row)))
    if len(shown) >= BULK:
        freeing.forget_words(db, shown)
    else:
        for doc, text, tags in shown:
            search.remove(db, doc, (text, tags))


def _replies_to_replies(db: apsw.Connection, root: rows.MessageRow, named: set[bytes]) -> bool:
    """Does a reply that stays name another than the root that goes? Then it is in that one's thread from now on."""
    replies: Any = db.execute("SELECT id, op FROM message WHERE root = ?", (root.id,))
    for id, op in replies:
        if id not in named:
            post = stored_operation(op)
            assert isinstance(post, Post)
            if post.root != root.id:
                return True
    return False


def _let_threads_go(
    db: apsw.Connection, channel: log.ChannelRow, found: Sequence[rows.MessageRow], named: set[bytes]
) -> None:
    """Threads without these messages: one whose root goes is none any more, and its replies stand alone."""
    ended = [row.id for row in found if row.flags & rows.THREADED]
    db.executemany("UPDATE message SET root = NULL WHERE root = ?", ((id,) for id in ended))
    db.executemany("DELETE FROM thread WHERE root = ?", ((id,) for id in ended))
    db.executemany("DELETE FROM thread_author WHERE root = ?", ((id,) for id in ended))
    gone: dict[bytes, Counter[int]] = {}
    for row in found:
        if row.root is not None and row.root not in named:
            counts = gone.setdefault(row.root, Counter())
            if not row.flags & rows.DELETED:
                counts[row.author] += 1
    emptied = sum(_without(db, root, counts, named) for root, counts in gone.items())
    log.touch_channel(db, channel.n, threads=-len(ended) - emptied)


def _without(db: apsw.Connection, root: bytes, counts: Counter[int], named: set[bytes]) -> bool:
    """A thread without some of its replies; whether it is none any more, as the last one went."""
    left: Any = db.execute(
        "SELECT 1 FROM message WHERE root = ? AND id NOT IN carray(?) LIMIT 1",
        (root, apsw.carray(tuple(named))),
    ).fetchone()
    row = rows.get_row(db, root)
    assert row is not None
    post = stored_operation(row.op)
    assert isinstance(post, Post)
    if left is None and not post.title:
        db.execute("DELETE FROM thread WHERE root = ?", (root,))
        db.execute("DELETE FROM thread_author WHERE root = ?", (root,))
        rows.set_flags(db, row, row.flags & ~rows.THREADED, row.edit)
        return True
    participants = sum(rows.count_author(db, root, author, -count) for author, count in counts.items())
    last: Any = db.execute(
        "SELECT time, id FROM message WHERE root = ? AND flags & ? = 0 AND id NOT IN carray(?)"
        " ORDER BY time DESC, id DESC LIMIT 1",
        (root, rows.DELETED, apsw.carray(tuple(named))),
    ).fetchone()
    db.execute(
        "UPDATE thread SET replies = replies - ?, participants = participants + ?, last_time = ?, last_id = ? WHERE root = ?",
        (counts.total(), participants, *(last or (row.time, None)), root),
    )
    return False


def _delete(db: apsw.Connection, found: Sequence[rows.MessageRow]) -> None:
    """The rows of messages, and what is counted of each."""
    db.executemany(
        "DELETE FROM reaction WHERE target = ?", [(row.id,) for row in found if row.flags & rows.REACTED]
    )
    db.executemany("DELETE FROM doc WHERE n = ?", sorted((row.doc,) for row in found))
    db.executemany(
        "DELETE FROM message WHERE channel = ? AND time = ? AND id = ?",
        [(row.channel, row.time, row.id) for row in found],
    )


def _recount(db: apsw.Connection, channel: log.ChannelRow, found: Sequence[rows.MessageRow]) -> None:
    standing = sum(not row.flags & rows.DELETED for row in found)
    log.touch_channel(db, channel.n, messages=-standing)
    if any(row.time >= channel.last_time for row in found):
        db.execute(
            "UPDATE channel SET last_time = coalesce((SELECT max(time) FROM message WHERE channel = ?1), 0) WHERE n = ?1",
            (channel.n,),
        )


# Files, and holes that others left


def _file_steps(store: LocalStore, row: log.ChannelRow) -> Iterator[None]:
    """Let go of the files of messages that are too old for them; the messages stay."""
    db = store.database.reader
    both = deciding.bounds(db, row, ledger.now_ms())
    before = max((cut.before for cut in both.attachments), default=0)
    uses = policies.old_files(db, row.n, before) if before else []
    looking = deciding.Looking(db, Bounds(both.attachments))
    old = {
        one.id for one in policies.candidates_of(db, {message for _, message in uses}) if looking.goes(one)
    }
    kept = {file for file, message in uses if message not in old}
    gone = sorted({file for file, _ in uses} - kept)
    for at in range(0, len(gone), STEP_FIRST):
        store.ledger.run(lambda db, some=gone[at : at + STEP_FIRST]: attachments.drop(db, some))  # type: ignore[misc]
        yield
    if attachments.sweep(store):
        yield


def _hole_steps(store: LocalStore, row: log.ChannelRow) -> Iterator[None]:
    """What came without its bytes and would be gone by now is missed no longer."""
    if policies.missing(store.database.reader, row.n):
        store.ledger.run(
            lambda db: justify(db, store.ledger.applier, log.channel_by_n(db, row.n), ledger.now_ms())
        )
        yield


def justify(db: apsw.Connection, applier: Applier, channel: log.ChannelRow, now_ms: int) -> None:
    """Operations that are missing, and that the channel's policy lets go: nobody is asked for them any more.

    Their commits' time says so. A large commit is an import, whose messages may be of any time before: there others are
    believed, if the channel lets go by age at all.
    """
    everybody, _ = deciding.bounds_apart(db, channel, now_ms)
    missing = policies.missing(db, channel.n) if everybody.end else []
    waiting: list[Item] = []
    places: dict[bytes, list[bytes]] = {}
    for id in missing:
        places.setdefault(id[:14], []).append(id)
    for place, ids in places.items():
        encoded, of = log.commit_at(db, place), log.log_by_prefix(db, place[:10])
        if encoded is None or of is None:
            continue
        head = decode_head(encoded)
        imported = everybody.floor > 0 and head.count >= IMPORTED_COUNT
        if imported or goes(everybody, Facts(head.time)):
            erasures.set_why(db, ids, POLICY)
            heights.note_whole(db, of.n, [head.seq])
            waiting += erasing.take_waiting_for(db, channel, ids)
    if waiting:
        from quire.store.people import put_back

        put_back(db, applier, channel, waiting, now_ms)


def _stray_steps(store: LocalStore, row: log.ChannelRow) -> Iterator[None]:
    """Let go of what is in no view: it waits for something, or does not count, and is too old for everybody."""
    everybody, _ = deciding.bounds_apart(store.database.reader, row, ledger.now_ms(), counted=False)

    def work(db: apsw.Connection) -> int:
        found = policies.strays(db, row.n, everybody.floor)
        policies.drop_strays(db, [id for id, _ in found])
        erasing.leave_holes(db, row.n, found, POLICY)
        fault("strays_gone")
        return len(found)

    while everybody.floor and policies.strays(store.database.reader, row.n, everybody.floor):
        store.ledger.run(work)
        yield


def _epoch_steps(store: LocalStore, row: log.ChannelRow) -> Iterator[None]:
    """Destroy the keys of epochs that are over."""
    db, now_ms = store.database.reader, ledger.now_ms()
    if forgetting.to_forget(db, row, store.ledger.people.graph(db, row), now_ms):

        def work(db: apsw.Connection) -> None:
            channel = log.channel_by_n(db, row.n)
            gone = forgetting.to_forget(db, channel, store.ledger.people.graph(db, channel), now_ms)
            forgetting.forget(store.ledger, db, channel, gone, now_ms)

        store.ledger.run(work)
        yield


# What arrives


def drop_expired(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    came: Iterable[tuple[int, bytes]],
    now_ms: int,
) -> None:
    """Let go of what has just come and is to go: in the transaction that brought it, so that it never was durable.

    came    (order time, id) of messages; those that count and size let go go later
    """
    everybody, both = deciding.bounds_apart(db, channel, now_ms, counted=False)
    end = both.end
    ids = [id for time, id in came if time < end]
    if ids:
        _let_go_of(db, applier, log.channel_by_n(db, channel.n), everybody, both, ids, now_ms)
    justify(db, applier, channel, now_ms)


# The index and the file


def _index_steps(store: LocalStore) -> Iterator[None]:
    while freeing.is_merge_due(store.database.reader):
        store.ledger.run(freeing.merge_index)
        fault("index_merged")
        yield


def _space_steps(store: LocalStore, done: Pruned) -> Iterator[None]:
    """Give pages back as long as there are many."""
    page = store.database.reader.pragma("page_size")
    while done.messages and (free := freeing.free_pages(store.database.reader)) > freeing.KEPT_PAGES:
        store.ledger.run(freeing.give_back)
        left = freeing.free_pages(store.database.reader)
        if left >= free:  # a file that was made without it
            return
        done.freed_bytes += (free - left) * page
        fault("pages_given")
        yield
    if done.messages:
        store.database.checkpoint()
