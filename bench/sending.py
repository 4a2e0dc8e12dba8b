"""One durable message at a time, and 32 threads at once."""

from __future__ import annotations

import itertools
import os
import statistics
import threading
import time

from bench.building import Built
from bench.floor import catching, indexed
from bench.measuring import FLOOR, OURS, Row
from quire.core.ids import ChannelId
from quire.storage import timeline as rows

PART = "send"
SENDS = 600
WRITERS, SENDS_EACH, ROUNDS = 32, 30, 7
CHANNEL = "talk"


def measure(built: Built) -> list[Row]:
    """Rates of durable sends into this history."""
    bodies = [message.body for message in itertools.islice(built.history.messages(built.size), SENDS)]
    os.sync()  # what earlier parts left to write, or to give back, is nobody's message
    channel = built.ours.manager.create_channel(CHANNEL).id
    built.ours.send(channel, bodies[0])  # the first one makes the pen
    single = _one_by_one(built, channel, bodies)
    speedups, rates = [], []
    for _ in range(ROUNDS):
        alone = _rate(built, channel, bodies, writers=1)
        rates.append(_rate(built, channel, bodies, writers=WRITERS))
        speedups.append(rates[-1] / alone)
    return [
        Row(PART, built.size, "one durable send at a time", "messages/s", single),
        Row(PART, built.size, f"{WRITERS} writers", "messages/s", {OURS: statistics.median(rates)}),
        Row(PART, built.size, f"{WRITERS} writers over one", "x", {OURS: statistics.median(speedups)}),
    ]


def _one_by_one(built: Built, channel: ChannelId, bodies: list[str]) -> dict[str, float]:
    """The contenders take turns at every message; the rate is that of the median message."""
    taken: dict[str, list[float]] = {contender.name: [] for contender in built.all}
    clock = time.perf_counter
    with catching() as caught:
        for body in bodies:
            start = clock()
            built.ours.send(channel, body)
            taken[OURS].append(clock() - start)
            row = caught.take()
            docs = [((post[1] >> rows.DOC_SHIFT) + post[3], post[0], post[3]) for post in row.posts]
            found = indexed(row.posts)
            start = clock()
            built.floor.write(row.posts, docs, found)
            taken[FLOOR].append(clock() - start)
            for peer in built.peers:
                start = clock()
                peer.send(CHANNEL, body)
                taken[peer.name].append(clock() - start)
    return {name: 1 / statistics.median(seconds) for name, seconds in taken.items()}


def _rate(built: Built, channel: ChannelId, bodies: list[str], writers: int) -> float:
    """Sends a second, all threads together. However many they are they send as much: one send in 256 indexes all of them."""
    gate = threading.Barrier(writers + 1)
    each = WRITERS * SENDS_EACH // writers
    failures: list[BaseException] = []

    def write() -> None:
        gate.wait()
        try:
            for body in itertools.islice(itertools.cycle(bodies), each):
                built.ours.send(channel, body)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    gate.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    if failures:
        raise failures[0]
    return writers * each / seconds
