"""Group commit: many threads, few commits; a refusal and an interrupt concern one of them only."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from quire.channels.manager import ChannelManager
from quire.core.ids import MessageId
from quire.core.views import Message
from quire.errors import NotFoundError, UsageError
from quire.storage import database
from quire.store import ledger as ledger_module
from quire.store import turns
from quire.store.local import LocalStore
from tests import vaults
from tests.oracle import check

THREADS = 32
EACH = 20
DEADLINE_SECONDS = 30


def in_threads(works: list[Callable[[], object]]) -> list[BaseException | None]:
    """Run each in a thread of its own, at once; what each raised."""
    raised: list[BaseException | None] = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def run(number: int) -> None:
        barrier.wait()
        try:
            works[number]()
        except BaseException as error:
            raised[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()
    return raised


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        os.sched_yield()


def commits(store: LocalStore) -> int:
    return store.stats().commits


def test_many_threads_share_commits_and_every_message_is_there(
    store: LocalStore, manager: ChannelManager
) -> None:
    channel = manager.create_channel("general").id
    before = commits(store)
    sent: list[list[Message]] = [[] for _ in range(THREADS)]

    def send(thread: int) -> Callable[[], None]:
        def work() -> None:
            for number in range(EACH):
                sent[thread].append(manager.send_message(channel, f"{thread}/{number}"))

        return work

    assert in_threads([send(thread) for thread in range(THREADS)]) == [None] * THREADS
    assert commits(store) - before < THREADS * EACH * 0.8  # how few depends on the disk; see the next test
    for thread, messages in enumerate(sent):
        assert [message.body for message in messages] == [f"{thread}/{n}" for n in range(EACH)]
        assert messages == sorted(messages, key=lambda m: (m.time, m.id))
    found = vaults.in_fresh_process(
        store.folder, "answer = [m.body for m in manager.get_stored_messages('general')]"
    )
    assert sorted(found) == sorted(f"{t}/{n}" for t in range(THREADS) for n in range(EACH))
    check(store)


def test_threads_that_write_first_at_once_share_one_pen(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two would each remember where our logs end, and meet in one place."""
    made: list[ledger_module.Ledger] = []
    begun = threading.Barrier(2)

    class Slow(ledger_module.Ledger):
        def __init__(self, *given: object) -> None:
            with suppress(threading.BrokenBarrierError):
                begun.wait(0.2)  # a second maker would come here, too
            super().__init__(*given)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(ledger_module, "Ledger", Slow)
    found: list[ledger_module.Ledger] = []
    assert in_threads([lambda: found.append(store.ledger)] * 8) == [None] * 8
    assert len(made) == 1
    assert found == made * 8


class Held:
    """Lets a group form: the first writer stops at a point until the others' requests wait behind it."""

    def __init__(self, store: LocalStore, point: str, waiting: int, then: Callable[[], None]) -> None:
        self.reached = threading.Event()
        self._store = store
        self._point = point
        self._waiting = waiting
        self._then = then

    def __call__(self, point: str) -> None:
        if point == self._point and not self.reached.is_set():
            self.reached.set()
            wait_until(lambda: len(self._store.ledger._turns._waiting) >= self._waiting)
            self._then()


def interrupt() -> None:
    raise KeyboardInterrupt


def formed_group(
    store: LocalStore,
    patch: pytest.MonkeyPatch,
    first: Callable[[], object],
    others: list[Callable[[], object]],
    *,
    point: str = "before_commit",
    then: Callable[[], None] = lambda: None,
) -> list[BaseException | None]:
    """`first` writes alone; the others wait behind it and make the next group. What each raised."""
    held = Held(store, point, 1 + len(others), then)
    patch.setattr(database, "fault_hook", held)

    def later(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            held.reached.wait(DEADLINE_SECONDS)
            return work()

        return run

    return in_threads([first, *[later(work) for work in others]])


def test_a_group_is_one_commit_and_a_refusal_in_it_is_one_callers(
    store: LocalStore, manager: ChannelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = manager.create_channel("general").id
    first = manager.send_message(channel, "root")
    before = commits(store)
    nowhere = type(first.id)(bytes(16))
    wrong: object = 7
    raised = formed_group(
        store,
        monkeypatch,
        lambda: manager.send_message(channel, "first"),
        [
            lambda: manager.send_message(channel, "second"),
            lambda: manager.send_message(channel, "reply to nothing", thread=nowhere),
            lambda: manager.send_message(channel, "third", thread=first.id),
            lambda: manager.send_message(channel, "\ud800"),
            lambda: manager.send_message(channel, "x" * (1 << 20) + "x"),
            lambda: manager.send_message(channel, wrong),  # type: ignore[arg-type]
            lambda: manager.send_message(channel, "fourth"),
        ],
    )
    assert [type(error) for error in raised] == [
        type(None), type(None), NotFoundError, type(None), UsageError, UsageError, TypeError, type(None),
    ]  # fmt: skip
    assert commits(store) - before == 2
    assert sorted(vaults.bodies(store, "general")) == ["first", "fourth", "root", "second", "third"]
    check(store)


@pytest.mark.parametrize("point", ["after_commits", "before_posts", "before_commit", "after_commit"])
def test_an_interrupt_in_one_thread_is_not_the_others(
    store: LocalStore, manager: ChannelManager, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    channel = manager.create_channel("general").id
    others: list[Callable[[], object]] = [
        lambda n=n: manager.send_message(channel, f"other {n}")  # type: ignore[misc]
        for n in range(6)
    ]
    raised = formed_group(
        store,
        monkeypatch,
        lambda: manager.send_message(channel, "first"),
        others,
        point=point,
        then=interrupt,
    )
    assert [type(error) for error in raised] == [KeyboardInterrupt] + [type(None)] * 6
    expected = [f"other {n}" for n in range(6)] + (["first"] if point == "after_commit" else [])
    assert sorted(vaults.bodies(store, "general")) == sorted(expected)
    check(store)
    manager.send_message(channel, "the next one")
    assert vaults.bodies(store, "general")[-1] == "the next one"


@pytest.mark.parametrize("point", ["after_posts", "before_commit", "after_commit"])
def test_an_interrupted_leader_leaves_its_group_whole(
    store: LocalStore, manager: ChannelManager, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The one interrupted is writing for others: they are told of success, once, or are written again."""
    channel = manager.create_channel("general").id
    posts = 0
    real = store.ledger._prepare_and_append

    def spy(db: object, group: list[turns.Request]) -> None:
        nonlocal posts
        posts = len(group)
        real(db, group)  # type: ignore[arg-type]

    monkeypatch.setattr(store.ledger, "_prepare_and_append", spy)
    interrupted = threading.Event()

    def hook(reached: str) -> None:
        if reached == point and posts > 1 and not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    held = Held(store, "before_commit", 7, lambda: None)

    def both(reached: str) -> None:
        held(reached)
        hook(reached)

    def later(number: int) -> Callable[[], object]:
        def run() -> object:
            held.reached.wait(DEADLINE_SECONDS)
            return manager.send_message(channel, f"other {number}")

        return run

    monkeypatch.setattr(database, "fault_hook", both)
    raised = in_threads([lambda: manager.send_message(channel, "first"), *[later(n) for n in range(6)]])
    assert [type(error) for error in raised].count(KeyboardInterrupt) == 1
    assert [type(error) for error in raised].count(type(None)) == 6
    leader = next(n for n, error in enumerate(raised) if error is not None) - 1
    found = vaults.bodies(store, "general")
    acknowledged = ["first"] + [f"other {n}" for n in range(6) if n != leader]
    assert sorted(set(found) - {f"other {leader}"}) == sorted(acknowledged)
    assert len(found) == len(set(found))
    check(store)


def test_more_requests_than_one_group_takes(
    store: LocalStore, manager: ChannelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "GROUP_MAX", 3)
    channel = manager.create_channel("general").id
    works: list[Callable[[], object]] = [
        lambda n=n: manager.send_message(channel, str(n))  # type: ignore[misc]
        for n in range(20)
    ]
    raised = formed_group(store, monkeypatch, lambda: manager.send_message(channel, "first"), works)
    assert raised == [None] * 21
    assert sorted(vaults.bodies(store, "general")) == sorted(["first", *map(str, range(20))])


def test_readers_see_whole_moments_while_writers_write(store: LocalStore, manager: ChannelManager) -> None:
    """A page never lacks what an older answer showed, and never shows a half-done deletion."""
    channel = manager.create_channel("general").id
    done = threading.Event()

    def write() -> None:
        try:
            root = manager.send_message(channel, "root")
            for number in range(60):
                reply = manager.send_message(channel, f"m{number}", thread=root.id)
                manager.add_reaction(reply.id, "👍")
                if number % 3 == 0:
                    manager.delete_message(reply.id)
        finally:
            done.set()

    def read() -> None:
        seen: set[MessageId] = set()
        while not done.is_set():
            page = manager.get_stored_messages_paginated(channel, limit=1000)
            ids = {message.id for message in page.messages}
            assert seen <= ids
            seen = ids
            for message in page.messages:
                assert not (message.deleted and message.body)
            for hit in manager.search("m*", limit=50).hits:
                assert hit.message.body.startswith("m")

    assert in_threads([write, read, read, read]) == [None] * 4
    check(store)
