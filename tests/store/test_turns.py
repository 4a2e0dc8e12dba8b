"""Who leads waits for those who were written with it before, so that the disk is asked once for all."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from quire.core.ids import ChannelId
from quire.store import turns
from quire.store.turns import Request, Turns, release

DEADLINE_SECONDS = 30


def request() -> Request:
    return Request(ChannelId(b""), lambda db, channel: [], post=True)


class Writers:
    """Threads that each hand in one request, one after the other."""

    def __init__(self, queue: Turns) -> None:
        self.queue = queue
        self._threads: list[threading.Thread] = []

    def come(self, count: int) -> None:
        for _ in range(count):
            before = len(self.queue._waiting)
            thread = threading.Thread(target=self._write)
            thread.start()
            self._threads.append(thread)
            while len(self.queue._waiting) == before and thread.is_alive():
                pass

    def _write(self) -> None:
        mine = request()
        with self.queue.taken_by(mine):
            if not mine.done:
                release(self.queue.together())

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive()


def lead(queue: Turns, meanwhile: Callable[[], None]) -> int:
    """Lead once, with what comes before the group is taken; how many it is."""
    mine = request()
    with queue.taken_by(mine):
        assert mine.leads
        meanwhile()
        group = queue.together()
        release(group)
    return len(group)


def test_who_leads_waits_for_those_of_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Turns()
    writers = Writers(queue)
    assert lead(queue, lambda: writers.come(3)) == 4
    writers.join()
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", DEADLINE_SECONDS)
    begins = threading.Event()

    def later() -> None:
        assert begins.wait(DEADLINE_SECONDS)
        writers.come(3)

    thread = threading.Thread(target=later)
    thread.start()
    assert lead(queue, begins.set) == 4  # it began alone
    thread.join(DEADLINE_SECONDS)
    writers.join()


def test_who_writes_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    queue = Turns()

    class Come:
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            if blocking:
                waits.append(timeout)
            return False

    writers = Writers(queue)
    monkeypatch.setattr(queue, "_come", Come())
    assert [lead(queue, lambda: None) for _ in range(3)] == [1, 1, 1]
    assert waits == []
    assert lead(queue, lambda: writers.come(2)) == 3
    writers.join()
    assert [lead(queue, lambda: None) for _ in range(3)] == [1, 1, 1]
    assert waits == [turns.PATIENCE_SECONDS]  # once, in vain
