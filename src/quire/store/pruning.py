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
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import apsw
import msgspec

from quire.core.ids import ChannelId
from quire.core.retention import Bounds
from quire.storage import freeing, keychain, log
from quire.storage import retention as policies
from quire.storage.cold import any_segment
from quire.storage.database import fault
from quire.storage.erasures import POLICY
from quire.storage.pending import bounded_channels, retention_due
from quire.store import attachments, erasing, forgetting, letting, wallclock
from quire.store import retention as deciding

if TYPE_CHECKING:
    from quire.store.local import LocalStore

T = TypeVar("T")
STEP_MS = 15  # what a step aims at: whoever posts meanwhile waits so long at most
STEP_FIRST, STEP_MAX = 64, 1_024  # messages
STEP_FEW = 8  # of so few that their words are cut out of the index one by one, which takes 2 ms each where it is large
PAUSE_MS_MAX = 50  # after each step half of what it took: other processes write in it
FREE_SHARE = (
    50  # of the file: when more than one in so many pages is free, though nothing went, some are given back
)
EVERY_MS = 60_000  # how often anybody looks what has come due meanwhile
HELD_MS = 5_000  # for so long after a step of one who goes on no other process takes one too, within somebody's post


class Pruned(msgspec.Struct):
    """What was let go."""

    messages: int = 0
    operations: int = 0  # messages included
    size_bytes: int = 0  # of operations, in the log
    freed_bytes: int = 0  # given back to the file system
    channels: tuple[ChannelId, ...] = ()
    longest_ms: float = 0.0  # the longest transaction: so long a writer may have waited

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
    with store.letting_go():
        for took in steps(store, only, done, goes_on=budget_ms is None):
            if budget_ms is not None and (time.monotonic() - began) * 1000 >= budget_ms:
                break
            time.sleep(min(took, PAUSE_MS_MAX) / 2 / 1000)
    return done


def steps(
    store: LocalStore, only: ChannelId | None, done: Pruned, *, goes_on: bool = True
) -> Iterator[float]:
    """The same one step at a time; how long each took, ms. For who has other things to do between them.

    goes_on    until all is gone: others need not do a part of it meanwhile
    """
    held_ms = 0
    for took in _steps(store, only, done):
        now = wallclock.now_ms()
        if goes_on and abs(now - held_ms) >= HELD_MS // 2:
            held_ms = now
            _look_at(store, done, now + HELD_MS)
        yield took
    if only is None or held_ms:
        _look_at(store, done, wallclock.now_ms() + EVERY_MS if only is None else 0)


def _look_at(store: LocalStore, done: Pruned, moment_ms: int) -> None:
    _run(store, done, lambda db: policies.look_at(db, moment_ms))


def _steps(store: LocalStore, only: ChannelId | None, done: Pruned) -> Iterator[float]:
    db = store.database.reader
    for n in bounded_channels(db):
        row = log.channel_by_n(db, n)
        if only in (None, row.id):
            yield from _timed(_channel_steps(store, row, done))
            yield from _timed(_file_steps(store, row, done))
            yield from _timed(_hole_steps(store, row, done))
            yield from _timed(_stray_steps(store, row, done))
            yield from _timed(_epoch_steps(store, row, done))
    if any_segment(db):
        from quire.store import owing, segments

        owing.settle(store)
        segments.sweep(store)  # of what was let go, the files of the archive
    yield from _timed(_index_steps(store, done))
    yield from _timed(_space_steps(store, done))


def _timed(some: Iterator[None]) -> Iterator[float]:
    while True:
        began = time.perf_counter()
        if next(some, some) is some:
            return
        yield (time.perf_counter() - began) * 1000


def _run(store: LocalStore, done: Pruned, work: Callable[[apsw.Connection], T]) -> T:
    """One transaction; the longest is told."""
    began = time.perf_counter()
    result = store.ledger.run(work)
    done.longest_ms = max(done.longest_ms, (time.perf_counter() - began) * 1000)
    store.database.checkpoint_beside()
    return result


def is_due(store: LocalStore) -> bool:
    """Is it time to look whether anything is to go?"""
    due = retention_due(store.database.reader)
    return due is not None and due <= wallclock.now_ms()


# Messages


def _channel_steps(store: LocalStore, row: log.ChannelRow, done: Pruned) -> Iterator[None]:
    """Let go of what is to go in one channel."""
    db, now_ms = store.database.reader, wallclock.now_ms()
    channel, both = deciding.bounds_apart(db, row, now_ms)
    size, waiting, count = STEP_FIRST, [], 0
    for one, _ in deciding.expired(db, row, both):
        waiting.append(one.id)
        if len(waiting) == size:
            took = _step(store, row, channel, both, waiting, now_ms, done)
            size = max(STEP_FIRST, min(STEP_MAX, int(size * min(2.0, STEP_MS / max(took, 0.1)))))
            waiting, count = [], count + 1
            yield
            while count % freeing.PARTS_MAX == 0 and _run(store, done, freeing.relieve_index):
                yield
    few = STEP_FIRST if freeing.is_merge_due(db) else STEP_FEW
    for first in range(0, len(waiting), few):
        _step(store, row, channel, both, waiting[first : first + few], now_ms, done)
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
        return letting.let_go_of(
            db, store.ledger.applier, log.channel_by_n(db, row.n), channel, both, ids, now_ms
        )

    done.add(row.id, *_run(store, done, work))
    return (time.perf_counter() - began) * 1000


# Files, and holes that others left


def _file_steps(store: LocalStore, row: log.ChannelRow, done: Pruned) -> Iterator[None]:
    """Let go of the files of messages that are too old for them; the messages stay."""
    db = store.database.reader
    _, both = deciding.bounds_apart(db, row, wallclock.now_ms(), counted=False)
    before = max((cut.before for cut in both.attachments), default=0)
    uses = policies.old_files(db, row.n, before) if before else []
    looking = deciding.Looking(db, Bounds(both.attachments))
    old = {
        one.id for one in policies.candidates_of(db, {message for _, message in uses}) if looking.goes(one)
    }
    kept = {file for file, message in uses if message not in old}
    gone = sorted({file for file, _ in uses} - kept)
    for at in range(0, len(gone), STEP_FIRST):
        _run(store, done, lambda db, some=gone[at : at + STEP_FIRST]: attachments.drop(db, some))  # type: ignore[misc]
        yield
    if attachments.sweep(store):
        yield


def _hole_steps(store: LocalStore, row: log.ChannelRow, done: Pruned) -> Iterator[None]:
    """What came without its bytes and would be gone by now is missed no longer."""
    if policies.missing(store.database.reader, row.n):
        _run(
            store,
            done,
            lambda db: letting.justify(
                db, store.ledger.applier, log.channel_by_n(db, row.n), wallclock.now_ms()
            ),
        )
        yield


def _stray_steps(store: LocalStore, row: log.ChannelRow, done: Pruned) -> Iterator[None]:
    """Let go of what is in no view: it waits for something, or does not count, and is too old for everybody."""
    everybody, _ = deciding.bounds_apart(store.database.reader, row, wallclock.now_ms(), counted=False)

    def work(db: apsw.Connection) -> int:
        found = policies.strays(db, row.n, everybody.floor)
        policies.drop_strays(db, [id for id, _ in found])
        erasing.leave_holes(db, row.n, found, POLICY)
        fault("strays_gone")
        return len(found)

    while everybody.floor and policies.strays(store.database.reader, row.n, everybody.floor):
        _run(store, done, work)
        yield


def _epoch_steps(store: LocalStore, row: log.ChannelRow, done: Pruned) -> Iterator[None]:
    """Destroy the keys of epochs that are over."""
    db, now_ms = store.database.reader, wallclock.now_ms()
    if (
        len(keychain.epoch_keys(db, row.id)) < 2
    ):  # the present one stays; to look further is to read the whole control log
        return
    if forgetting.to_forget(db, row, store.ledger.people.graph(db, row), now_ms):

        def work(db: apsw.Connection) -> None:
            channel = log.channel_by_n(db, row.n)
            gone = forgetting.to_forget(db, channel, store.ledger.people.graph(db, channel), now_ms)
            forgetting.forget(store.ledger, db, channel, gone, now_ms)

        _run(store, done, work)
        yield


# The index and the file


def _index_steps(store: LocalStore, done: Pruned) -> Iterator[None]:
    while freeing.is_merge_due(store.database.reader):
        _run(store, done, freeing.merge_index)
        fault("index_merged")
        yield


def _space_steps(store: LocalStore, done: Pruned) -> Iterator[None]:
    """Give pages back as long as there are many, whoever freed them: a look before this one may have had no time for it."""
    db = store.database.reader
    page, least = db.pragma("page_size"), freeing.KEPT_PAGES
    if not done.messages:
        least = max(least, db.pragma("page_count") // FREE_SHARE)
    while (free := freeing.free_pages(db)) > least:
        _run(store, done, freeing.give_back)
        left = freeing.free_pages(db)
        if left >= free:  # a file that was made without it
            return
        done.freed_bytes += (free - left) * page
        fault("pages_given")
        yield
    if done.messages or done.freed_bytes:
        store.database.checkpoint_beside(1)
        store.database.checkpoint()
