"""Bulk import: the same history into every contender, a batch each in turns, and what it takes on disk.

Counted is the time from parsed messages in hand to all of them durable, searchable and out of the WAL. What
was built stays for the other parts.
"""

from __future__ import annotations

import operator
import shutil
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.data import BATCH, History
from bench.floor import Floor, catching
from bench.measuring import Row
from bench.ours import Ours
from bench.peers import Peer, peers
from quire.exchange import model

PART = "import"
ROUNDS = {10_000: 9, 100_000: 7}  # histories built, of which the median counts; larger ones once
BY_CHANNEL_MAX = 100_000  # messages that are sorted in memory


class Built:
    """A history in every contender."""

    def __init__(self, folder: Path, history: History, size: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.history = history
        self.size = size
        self.ours = Ours(folder)
        self.floor = Floor(folder)
        self.peers: list[Peer] = peers(folder)

    @property
    def all(self) -> list[Ours | Floor | Peer]:
        return [self.ours, self.floor, *self.peers]

    def load(self, batches: Iterable[list[model.Record]]) -> None:
        """Write everything, the contenders taking turns."""
        with catching() as caught:
            for batch in self.ours.load(batches):
                self.floor.load(caught.take())
                for peer in self.peers:
                    peer.load(batch)
            self.floor.load(caught.take())
        self.floor.finish()
        for peer in self.peers:
            peer.finish()

    def close(self) -> None:
        for contender in self.all:
            contender.close()

    def remove(self) -> None:
        self.close()
        shutil.rmtree(self.folder)


def build(history: History, size: int, scratch: Path) -> tuple[Built, list[Row]]:
    """A history of `size` in every contender, and what building it took."""
    seconds: dict[str, list[float]] = {}
    for left in reversed(range(ROUNDS.get(size, 1))):
        built = Built(scratch / f"history-{size}", history, size)
        built.load(history.batches(size))
        for contender in built.all:
            seconds.setdefault(contender.name, []).append(contender.seconds)
        if left:
            built.remove()
    rates = {name: size / statistics.median(taken) for name, taken in seconds.items()}
    disk = {contender.name: contender.bytes() / size for contender in built.all}
    return built, [
        Row(PART, size, "bulk import", "messages/s", rates),
        Row(PART, size, "disk, all included", "bytes/message", disk),
        Row(PART, size, "mean body", "bytes", {"": history.body_bytes}),
    ]


def by_channel(history: History, size: int, scratch: Path) -> list[Row]:
    """The same messages channel after channel, as exports with a folder for each have them."""
    if size > BY_CHANNEL_MAX:
        return []
    built = Built(scratch / f"channels-{size}", history, size)
    built.load(_sorted(history, size))
    rates = {contender.name: size / contender.seconds for contender in built.all}
    built.remove()
    return [Row(PART, size, "bulk import, channel after channel", "messages/s", rates)]


def _sorted(history: History, size: int) -> Iterator[list[model.Record]]:
    messages = sorted(history.messages(size), key=operator.attrgetter("channel"))
    for start in range(0, size, BATCH):
        yield list[model.Record](messages[start : start + BATCH])
