"""What must hold: each bound of the project beside what was measured. Reported, never asserted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from bench import (
    archiving,
    backing,
    building,
    erasing,
    exporting,
    letting,
    memory,
    opening,
    people,
    reading,
    sending,
    syncing,
)
from bench.measuring import FLOOR, OURS, SQLITE, Row
from bench.ours import KINDS


class Target(NamedTuple):
    """A bound on a row: on Quire's own figure, or (`of`) on its ratio to a contender's."""

    part: str
    what: str
    bound: Literal["at least", "at most"]
    limit: float
    of: str = ""
    size_min: int = 0


TARGETS = (
    Target(building.PART, "bulk import", "at least", 0.6, FLOOR, size_min=100_000),
    Target(building.PART, "bulk import", "at least", 30_000, size_min=1_000_000),
    Target(sending.PART, "one durable send at a time", "at least", 0.6, FLOOR),
    Target(sending.PART, "32 writers over one", "at least", 5),
    Target(reading.PART, "newest 50", "at most", 150),
    Target(reading.PART, "50 by cursor, depth 50 %", "at most", 150),
    Target(reading.PART, "50 by cursor, depth 99 %", "at most", 150),
    Target(reading.PART, "depth 99 % over depth 0 %", "at most", 1.2),
    Target(reading.PART, "get_message", "at most", 25),
    Target(reading.PART, "thread of 20, replies", "at most", 100),
    *(Target(reading.PART, f"search, newest 20: {kind}", "at most", 2_000) for kind in KINDS),
    Target(opening.PART, "open and newest 50, in process", "at most", 30),
    Target(opening.PART, "opening, over the smallest history", "at most", 1.3),
    Target(building.PART, "disk, all included", "at most", 450, size_min=100_000),
    Target(opening.PART, "fresh process, raw key", "at most", 3, SQLITE),
    Target(opening.PART, "quire read", "at most", 10, SQLITE),
    Target(memory.PART, "reading", "at most", 150),
    Target(memory.PART, "importing", "at most", 350),
    Target(people.PART, "rotate", "at most", 1.5),
    Target(people.PART, "rotate, a device", "at most", 1_500),
    Target(people.PART, "resolve, one more control commit", "at most", 5),
    Target(people.PART, "join, first page", "at most", 1_000),
    Target(people.PART, "join", "at least", 0.6, FLOOR, size_min=100_000),
    Target(people.PART, "join, signature checks", "at most", 1),
    Target(backing.PART, "first backup", "at least", 60),
    Target(backing.PART, "backing up", "at most", 200),
    Target(backing.PART, "a backup after 1,000 messages", "at most", 2),
    Target(backing.PART, "a backup after 1,000 messages, written", "at most", 2),
    Target(backing.PART, "restore, first page", "at most", 3),
    Target(backing.PART, "restoring", "at most", 200),
    Target(exporting.PART, "export, jsonl", "at least", 60_000),
    Target(exporting.PART, "exporting", "at most", 200),
    Target(syncing.PART, "sync", "at least", 0.4, FLOOR, size_min=100_000),
    Target(syncing.PART, syncing.BARE, "at least", 0.4, FLOOR, size_min=100_000),
    Target(syncing.PART, "sync", "at least", 30_000, size_min=100_000),
    Target(syncing.PART, "sync, on the wire", "at most", 110),
    Target(syncing.PART, "sync, first page", "at most", 1_500),
    Target(syncing.PART, "first page by a relay", "at most", 1_500),
    Target(syncing.PART, "nothing new, 100 channels", "at most", 20),
    Target(syncing.PART, "nothing new, both ways", "at most", 8_192),
    Target(syncing.PART, "a message by a relay, half within", "at most", 15),
    Target(syncing.PART, "a message by a relay, 99 % within", "at most", 60),
    Target(syncing.PART, "a relay's durable puts", "at least", 2_000),
    Target(erasing.PART, "erase an author's 10,000 messages", "at most", 3),
    Target(letting.PART, "half let go", "at least", 8_333, size_min=100_000),
    Target(letting.PART, "a post meanwhile, the slowest", "at most", 50),
    Target(archiving.PART, "a post while archiving, the slowest", "at most", 50),
    Target(archiving.PART, "archiving and bringing back", "at most", 200),
)


class Verdict(NamedTuple):
    """A target at one size of history."""

    row: Row
    target: Target
    measured: float

    @property
    def met(self) -> bool:
        if self.target.bound == "at least":
            return self.measured >= self.target.limit
        return self.measured <= self.target.limit


def with_growth(rows: Iterable[Row]) -> list[Row]:
    """The rows, and how opening grows from the smallest history on."""
    every = list(rows)
    opens = sorted(
        (row for row in every if row.what == "open and newest 50, in process"), key=lambda r: r.size
    )
    for row in opens[1:]:
        growth = row.values[OURS] / opens[0].values[OURS]
        every.append(Row(row.part, row.size, "opening, over the smallest history", "x", {OURS: growth}))
    return every


def verdicts(rows: Sequence[Row]) -> Iterator[Verdict]:
    """Every target that was measured, at every size it is for."""
    for target in TARGETS:
        for row in sorted(rows, key=lambda row: row.size):
            if (row.part, row.what) != (target.part, target.what) or row.size < target.size_min:
                continue
            other = row.values.get(target.of) if target.of else 1.0
            if other:
                yield Verdict(row, target, row.values[OURS] / other)
