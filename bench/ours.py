"""Quire as its users call it: `LocalStore` and `ChannelManager`, an import run for history."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from bench.data import Wanted
from bench.measuring import OURS
from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import KeyFile, RawKey
from quire.core.ids import ChannelId, MessageId
from quire.exchange import model
from quire.storage.outside import create_key_file
from quire.store.importing import ImportRun
from quire.store.local import LocalStore
from quire.store.tally import Tally

PAGE = 50
HITS = 20
SOURCE = "bench"
KINDS = ("word", "word in a channel", "word from an author", "phrase")  # of searches


class Spot(msgspec.Struct, frozen=True):
    """A message, by all the names that contenders have for it."""

    channel: str  # as imported
    original: str  # id, as imported
    channel_id: ChannelId
    channel_n: int
    id: MessageId
    time: int  # hybrid

    @property
    def cursor(self) -> str:
        return f"{self.time:x}.{self.id.hex()}"


class Ours:
    """A vault."""

    name = OURS

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "vault"
        self.key_file = Path(create_key_file(folder / "vault.key").path)
        self.store = LocalStore.create(self.folder, KeyFile(self.key_file))
        self.manager = ChannelManager(self.store)
        self.tally = Tally(True)
        self.seconds = 0.0  # spent on loading
        self._run = ImportRun(self.store, SOURCE, self.tally)
        self._bulk = self.store.database.bulk()
        self._bulk.__enter__()

    @property
    def raw_key(self) -> RawKey:
        return RawKey(self.store.database.key)

    def load(self, batches: Iterable[list[model.Record]]) -> Iterator[list[model.Record]]:
        """Import batches, durably; gives each when it is on disk. Reading them in is not timed."""
        source = iter(batches)
        ahead = deque(itertools.islice(source, 2))  # one to write, and one to make ready meanwhile
        done = deque(ahead)
        steps = self._run.take_all(ahead.popleft() for _ in iter(lambda: bool(ahead), False))
        while True:
            start = time.perf_counter()
            step = next(steps, steps)
            self.seconds += time.perf_counter() - start
            if step is steps:
                break
            yield done.popleft()
            following = list(itertools.islice(source, 1))
            ahead.extend(following)
            done.extend(following)
        start = time.perf_counter()
        self._bulk.__exit__(None, None, None)
        self.seconds += time.perf_counter() - start

    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def close(self) -> None:
        self.store.close()

    def send(self, channel: ChannelId, body: str) -> None:
        self.manager.send_message(channel, body)

    # Reading: each gives the call to be timed

    def page(self, spot: Spot, *, newest: bool = False) -> Callable[[], object]:
        read, id, before = (
            self.store.get_channel_messages_paginated,
            spot.channel_id,
            None if newest else spot.cursor,
        )
        return lambda: read(id, limit=PAGE, before=before)

    def at_offset(self, spot: Spot, offset: int) -> Callable[[], object]:
        read, id = self.store.get_channel_messages_paginated, spot.channel_id
        return lambda: read(id, limit=PAGE, offset=offset)

    def get(self, spot: Spot) -> Callable[[], object]:
        read, id = self.store.get_message, spot.id
        return lambda: read(id)

    def thread(self, root: Spot) -> Callable[[], object]:
        read, id = self.manager.get_message_with_thread, root.id
        return lambda: read(id)

    def search(self, wanted: Wanted, kind: str, spot: Spot) -> Callable[[], object]:
        search, query = self.store.search, query_of(wanted, kind)
        channel = spot.channel_id if kind == "word in a channel" else None
        return lambda: search(query, channel=channel, limit=HITS)


def query_of(wanted: Wanted, kind: str) -> str:
    """A search as a person writes it."""
    if kind == "phrase":
        return f'"{wanted.phrase}"'
    return f'{wanted.word} from:"{wanted.author}"' if kind == "word from an author" else wanted.word
