"""Whose turn it is to write: callers hand in requests, and whoever finds nobody writing leads, for all that wait.

Who leads first waits for those who were written with the last one, a moment (docs/decisions/0018-company.md).
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import apsw

from quire.core.ids import ChannelId, MessageId
from quire.core.operation import Operation
from quire.storage import log

GROUP_MAX = 1_000  # requests in one transaction
PATIENCE_SECONDS = (
    0.001  # how long who leads waits for company at most: about what a good disk takes for a commit
)

Prepare = Callable[[apsw.Connection, log.ChannelRow], Sequence[Operation]]


class Request:
    """One caller's wish. `prepare` reads, refuses by raising, and gives the operations to write."""

    __slots__ = ("alone", "channel", "done", "error", "gate", "ids", "leads", "post", "prepare", "time")

    def __init__(self, channel: ChannelId, prepare: Prepare, *, post: bool, alone: bool = False) -> None:
        self.channel = channel
        self.prepare = prepare
        self.post = post  # gives exactly one Post, and would whatever else is written first
        self.alone = alone  # wants the turn for itself (`run`), not to be written by another
        self.ids: list[MessageId] = []
        self.time = 0  # hybrid time of what was written
        self.error: BaseException | None = None
        self.done = False
        self.leads = False
        self.gate = threading.Lock()  # opens when it is done, or when it is its turn to lead
        self.gate.acquire()


class Turns:
    """The queue of those who want to write."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._led = False  # is someone writing?
        self._company = 1  # how many were written together last
        self._awaited = 0  # how many who leads still waits for
        self._mutex = threading.Lock()  # over those above
        self._come = threading.Lock()  # opens when they have come
        self._come.acquire()

    @contextmanager
    def taken_by(self, request: Request) -> Iterator[None]:
        """Wait until a request is done or may be done by this thread; then let the next one lead.

        Those whose request another thread wrote go their way at once: a lock that everybody had to pass
        would let the next writer begin with whoever happened to be through.
        """
        with self._mutex:
            self._waiting.append(request)
            if not self._led:
                self._led = request.leads = True
            elif self._awaited:
                self._awaited -= 1
                if not self._awaited:
                    self._come.release()
        try:
            if not request.leads:
                request.gate.acquire()
            yield
        finally:
            # What others wrote is out of the queue's way already: one lock less.
            if request.leads or not request.done:
                with self._mutex:
                    request.done = True  # also if it was interrupted: nobody waits for it any more
                    if request.leads:
                        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and self._waiting[0].done:
            self._waiting.popleft()
        self._led = bool(self._waiting)
        if self._led:
            self._waiting[0].leads = True
            self._waiting[0].gate.release()

    def together(self) -> list[Request]:
        """The requests that wait and may be written in one transaction, the oldest first. They leave the queue when
        they are settled, so an interrupt loses none."""
        self._await_company()
        with self._mutex:
            waiting = [request for request in list(self._waiting)[:GROUP_MAX] if not request.done]
            group = list(itertools.takewhile(lambda request: not request.alone, waiting))
            self._company = len(group)
        return group

    def _await_company(self) -> None:
        """Writers who were let go together come back together, one after the other: whoever began with the first of them
        would have the disk for one message, and all others wait for it. Who writes alone waits for nobody."""
        try:
            with self._mutex:
                self._awaited = max(0, self._company - len(self._waiting))
            if self._awaited:
                self._come.acquire(timeout=PATIENCE_SECONDS)
        finally:
            with self._mutex:
                self._awaited = 0
                self._come.acquire(blocking=False)  # closed again, though they came


def release(group: list[Request]) -> None:
    """These are done: let their callers go."""
    for request in group:
        request.done = True
        if not request.leads:
            request.gate.release()
