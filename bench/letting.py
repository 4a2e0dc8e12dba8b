"""Letting go: half of a history is destroyed in the background while somebody posts, and the space is given back."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from bench.data import History
from bench.measuring import OURS, Row
from bench.people import with_history
from quire.channels.manager import ChannelManager
from quire.core.ids import ChannelId
from quire.core.retention import Keeping
from quire.store.opening import FILE_NAME

PART = "retention"
BETWEEN_S = 0.02  # from one post to the next


def measure(history: History, size: int, scratch: Path) -> list[Row]:
    """The newest half of one channel's messages is kept; the posts that came meanwhile are timed."""
    folder = scratch / f"letting-{size}"
    folder.mkdir()
    ada, bob, team = with_history(history, size, folder)
    file = ada.store.folder / FILE_NAME
    ada.store.database.checkpoint()
    before = file.stat().st_size
    ada.chat.set_retention(team, Keeping(count=size // 2, exempt=0))
    with Posting(ada.chat, team) as posting:
        start = time.perf_counter()
        done = ada.chat.enforce_retention(team)
        seconds = time.perf_counter() - start
    ada.store.database.checkpoint()
    after = file.stat().st_size
    for person in (ada, bob):
        person.store.close()
    shutil.rmtree(folder)
    return [
        Row(PART, size, "half let go", "messages/s", {OURS: done.messages / seconds}),
        Row(PART, size, "half let go, all of it", "s", {OURS: seconds}),
        Row(PART, size, "longest step", "ms", {OURS: done.longest_ms}),
        Row(PART, size, "a post meanwhile, 99 % within", "ms", {OURS: posting.within(0.99)}),
        Row(PART, size, "a post meanwhile, the slowest", "ms", {OURS: posting.within(1.0)}),
        Row(PART, size, "file afterwards", "of before", {OURS: after / before}),
    ]


class Posting:
    """Somebody who posts as long as it lasts."""

    def __init__(self, chat: ChannelManager, channel: ChannelId) -> None:
        self._chat, self._channel = chat, channel
        self._stop = threading.Event()
        self._taken_ms: list[float] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Posting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def within(self, share: float) -> float:
        """How long so large a share of the posts took at most, ms."""
        taken = sorted(self._taken_ms)
        return taken[min(int(len(taken) * share), len(taken) - 1)]

    def _run(self) -> None:
        while True:
            start = time.perf_counter()
            self._chat.send_message(self._channel, "said meanwhile")
            self._taken_ms.append((time.perf_counter() - start) * 1e3)
            if self._stop.wait(BETWEEN_S):
                return
