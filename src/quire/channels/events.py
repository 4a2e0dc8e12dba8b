"""Live events: within a process by queue, across processes by SQLite's change counter."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quire.core.ids import ChannelId
from quire.core.views import Event, Message
from quire.storage import log

if TYPE_CHECKING:
    from quire.store.local import LocalStore

QUEUE_MAX = 10_000  # a subscriber that does not read loses the oldest events, not our memory
POLL_S = 0.25  # how often another process's writes are looked for; one read of a counter each


class EventHub:
    """Hands events to whoever subscribed."""

    def __init__(self) -> None:
        self._subscribers: list[queue.Queue[Event]] = []
        self._lock = threading.Lock()

    def publish(self, event: Event) -> None:
        """Give a durable event to every subscriber."""
        with self._lock:
            for subscriber in self._subscribers:
                if subscriber.full():
                    subscriber.get_nowait()
                subscriber.put_nowait(event)

    @contextmanager
    def subscribe(self) -> Iterator[Iterator[Event]]:
        """An endless iterator of events from now on."""
        events: queue.Queue[Event] = queue.Queue(QUEUE_MAX)
        with self._lock:
            self._subscribers.append(events)
        try:
            yield iter(events.get, None)
        finally:
            with self._lock:
                self._subscribers.remove(events)


def follow(store: LocalStore, channel: ChannelId) -> Iterator[Message]:
    """Messages that arrive in a channel from this call on, by order of arrival of their commits."""
    db = store.database.reader
    n = store.channel_row(channel).n
    seen = {row.n: log.newest_commit(db, row.n)[0] for row in log.logs(db) if row.channel == n}
    return _arrivals(store, n, seen)


def _arrivals(store: LocalStore, n: int, seen: dict[int, int]) -> Iterator[Message]:
    pause = threading.Event()
    version: object = None
    while True:
        db = store.database.reader
        # The pragma, not `data_version()`: only what reads the file notices another process's commit.
        if (now := db.pragma("data_version")) == version:
            pause.wait(POLL_S)
            continue
        version = now
        arrived: list[Message] = []
        for row in log.logs(db):
            if row.channel == n:
                for seq, _, _ in log.commits(db, row.n, seen.get(row.n, 0)):
                    seen[row.n] = seq
                    for id, _ in log.commit_operations(db, row.prefix, seq):
                        found = store.reader.find(id)
                        if found is not None:
                            arrived.append(found)
        arrived.sort(key=lambda message: (message.time, message.id))
        yield from arrived
