"""Pages at any depth, single messages, threads and searches, of a running program.

Every call is repeated on many places of the history (or, searches, on one query) with warm caches. Quire gives
finished objects; the others bare tuples, from the same places.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from bench.building import Built
from bench.floor import PAGE_SQL, THREAD_SQL
from bench.measuring import FLOOR, OURS, Calls, Row, medians_us
from bench.ours import KINDS, PAGE, SOURCE, Ours, Spot
from bench.peers import Peer
from quire.core.ids import ChannelId, MessageId
from quire.storage import log
from quire.storage import timeline as rows

PART = "read"
CHANNELS, DEEP, GETS, THREADS = 20, 20, 200, 50  # places that are read
ROUNDS, SEARCH_ROUNDS = 15, 100
DEPTHS = (0, 50, 99)
SEED = 1


def measure(built: Built) -> list[Row]:
    """Median times of reading this history."""
    places = Places(built)
    size = built.size
    found: list[Row] = []

    def row(
        what: str, ours: Calls, floor: Calls, theirs: Callable[[Peer], Calls], rounds: int = ROUNDS
    ) -> None:
        if ours:  # a tiny history has no thread
            calls = {OURS: ours, FLOOR: floor} | {peer.name: theirs(peer) for peer in built.peers}
            found.append(Row(PART, size, what, "us", medians_us(calls, rounds)))

    ours, floor = built.ours, built.floor
    newest = places.newest()
    row(
        "newest 50",
        [ours.page(spot, newest=True) for spot in newest],
        [floor.page(spot, newest=True) for spot in newest],
        lambda peer: [peer.page(spot, newest=True) for spot in newest],
    )
    for depth in DEPTHS:
        spots = places.at_depth(depth / 100)
        row(
            f"50 by cursor, depth {depth} %",
            [ours.page(spot) for spot in spots],
            [floor.page(spot) for spot in spots],
            lambda peer, spots=spots: [peer.page(spot) for spot in spots],  # type: ignore[misc]
        )
    first, last = found[-len(DEPTHS)].values[OURS], found[-1].values[OURS]
    found.append(Row(PART, size, "depth 99 % over depth 0 %", "x", {OURS: last / first}))
    spot, offset = places.middle()
    row(
        "50 by offset, depth 50 %",
        [ours.at_offset(spot, offset)], [floor.at_offset(spot, offset)],
        lambda peer: [peer.at_offset(spot, offset)],
    )  # fmt: skip
    anywhere, roots = places.anywhere(), places.roots()
    row(
        "get_message",
        [ours.get(spot) for spot in anywhere], [floor.get(spot) for spot in anywhere],
        lambda peer: [peer.get(spot) for spot in anywhere],
    )  # fmt: skip
    row(
        "thread of 20, replies",
        [_replies(ours, spot) for spot in roots],
        [_floor_replies(built, spot) for spot in roots],
        lambda peer: [peer.thread(spot) for spot in roots],
    )
    row(
        "thread of 20 with its root and summary",
        [ours.thread(spot) for spot in roots], [floor.thread(spot) for spot in roots],
        lambda peer: [peer.thread(spot) for spot in roots],
    )  # fmt: skip
    wanted = built.history.wanted
    for kind in KINDS:
        row(
            f"search, newest 20: {kind}",
            [ours.search(wanted, kind, newest[0])],
            [floor.search(wanted, kind, newest[0], places.author())],
            lambda peer, kind=kind: [peer.search(wanted, kind, newest[0])],  # type: ignore[misc]
            SEARCH_ROUNDS,
        )
    return found


def _replies(ours: Ours, root: Spot) -> Callable[[], object]:
    return lambda: ours.store.get_thread_replies(root.id)


def _floor_replies(built: Built, root: Spot) -> Callable[[], object]:
    run = built.floor.db.execute
    return lambda: run(THREAD_SQL, (bytes(root.id), 51)).fetchall()


class Places:
    """Where to read: the same places for all contenders."""

    def __init__(self, built: Built) -> None:
        self._built = built
        self._db = built.floor.db
        self._chance = random.Random(SEED)
        keys = {row.n: row for row in log.channels(built.ours.store.database.reader) if row.source == SOURCE}
        largest = sorted(keys.values(), key=lambda row: (-row.messages, row.n))
        self._largest = largest[:CHANNELS]

    def newest(self) -> list[Spot]:
        """The newest message of each of the largest channels."""
        return [self._at(row, 0) for row in self._largest]

    def at_depth(self, depth: float) -> list[Spot]:
        """Messages about that far down the largest channel, none without a whole page below it."""
        last = max(0, self._largest[0].messages - PAGE - 1)
        first = min(int(self._largest[0].messages * depth), last - DEEP)
        return [self._at(self._largest[0], max(0, first + number)) for number in range(DEEP)]

    def middle(self) -> tuple[Spot, int]:
        """The largest channel, and the offset of its middle."""
        return self._at(self._largest[0], 0), self._largest[0].messages // 2

    def anywhere(self) -> list[Spot]:
        """Messages at random."""
        chosen = self._chance.choices(self._largest, [row.messages for row in self._largest], k=GETS)
        return [self._at(row, self._chance.randrange(row.messages)) for row in chosen]

    def roots(self) -> list[Spot]:
        """Roots of threads with 20 replies."""
        found: Any = self._built.ours.store.database.reader.execute(
            "SELECT root FROM thread WHERE replies <= 20 ORDER BY replies DESC, root LIMIT ?", (THREADS,)
        )
        return [self._spot(root) for (root,) in found.fetchall()]

    def author(self) -> int:
        """The number of the author searched for."""
        key = f"{SOURCE}:{self._built.history.wanted.author}"
        return rows.authors_by_key(self._built.ours.store.database.reader, [key]).get(key, -1)

    def _at(self, channel: log.ChannelRow, offset: int) -> Spot:
        row: Any = self._db.execute(PAGE_SQL, (channel.n, 1 << 62, b"", 1, offset)).fetchone()
        return self._spot(row[2])

    def _spot(self, id: bytes) -> Spot:
        message = self._built.ours.store.get_message(MessageId(id))
        assert message.origin is not None
        row = self._built.ours.store.channel_row(message.channel)
        return Spot(row.key, message.origin.id, ChannelId(row.id), row.n, message.id, message.time)
