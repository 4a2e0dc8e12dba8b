"""Live events: within a process from the hub, across processes by SQLite's change counter."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quire.core.ids import ChannelId
from quire.core.views import Event, Message
from quire.storage import contents, log
from quire.storage.database import guarded

if TYPE_CHECKING:
    from quire.store.local import LocalStore

QUEUE_MAX = 10_000  # a subscriber that does not read loses the oldest events, not our memory
POLL_S = 0.25  # how often another process's writes are looked for; one read of a counter each


class EventHub:
    """Hands events to whoever subscribed."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[Event], None]] = []
        self._lock = threading.Lock()

    @property
    def is_heard(self) -> bool:
        """Has anybody subscribed?"""
        return bool(self._subscribers)

    def publish(self, event: Event) -> None:
        """Give a durable event to every subscriber."""
        if not self._subscribers:
            return  # nobody: as mostly, and then 32 writers need not wait for each other here
        with self._lock:
            for deliver in self._subscribers:
                deliver(event)

    @contextmanager
    def delivering(self, deliver: Callable[[Event], None]) -> Iterator[None]:
        """Call `deliver` with every event, in the thread that wrote it; it must be quick and may not raise."""
        with self._lock:
            self._subscribers.append(deliver)
        try:
            yield
        finally:
            with self._lock:
                self._subscribers.remove(deliver)

    @contextmanager
    def subscribe(self) -> Iterator[Iterator[Event]]:
        """An endless iterator of events from now on."""
        events: deque[Event] = deque(maxlen=QUEUE_MAX)
        ready = threading.Condition()

        def deliver(event: Event) -> None:
            with ready:
                events.append(event)
                ready.notify()

        def take() -> Event:
            with ready:
                ready.wait_for(lambda: events)
                return events.popleft()

        with self.delivering(deliver):
            yield iter(take, None)


class Arrivals:
    """The messages that arrive in one channel from now on, a batch at a time. One caller at a time."""

    def __init__(self, store: LocalStore, channel: ChannelId) -> None:
        db = store.database.reader
        self._store = store
        self._channel = store.channel_row(channel).n
        self._seen = {
            row.n: log.newest_commit(db, row.n)[0] for row in log.logs(db) if row.channel == self._channel
        }
        self._version: tuple[object, object] | None = None

    @guarded
    def take(self) -> list[Message]:
        """What came since the last call, in the timeline's order."""
        db = self._store.database.reader
        # The pragma, not `data_version()`: only what reads the file notices another process's commit.
        # Its numbers are a connection's own, and the next call may come from another thread.
        version = (db, db.pragma("data_version"))
        if version == self._version:
            return []
        self._version = version
        arrived: list[Message] = []
        for row in log.logs(db):
            if row.channel == self._channel:
                for seq, _, _ in log.commits(db, row.n, self._seen.get(row.n, 0)):
                    self._seen[row.n] = seq
                    for id, _ in contents.commit_operations(db, row.prefix, seq):
                        found = self._store.reader.find(id)
                        if found is not None:
                            arrived.append(found)
        arrived.sort(key=lambda message: (message.time, message.id))
        return arrived


def follow(store: LocalStore, channel: ChannelId) -> Iterator[Message]:
    """Messages that arrive in a channel from this call on, by order of arrival of their commits."""
    return _endless(Arrivals(store, channel))


def _endless(arrivals: Arrivals) -> Iterator[Message]:
    pause = threading.Event()
    while True:
        arrived = arrivals.take()
        yield from arrived
        if not arrived:
            pause.wait(POLL_S)
