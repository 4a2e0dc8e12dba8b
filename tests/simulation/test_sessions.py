"""Worlds whose devices really sync (`quire.testing.world_sync`): frame by frame over links that break, by relays that lie.

pytest tests/simulation/test_sessions.py -m "slow and bounded"    # the seeds that found something
pytest tests/simulation/test_sessions.py -m slow                  # a hundred worlds of six devices, some of twelve
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from quire.channels.relay_notes import Found
from quire.channels.relaying import Relaying
from quire.core.reach import Page
from quire.node.peer import PeerSync
from quire.storage import aboard
from quire.store import offering
from quire.testing.world import Violation
from quire.testing.world_sync import SyncingWorld
from tests.simulation.replaying import elsewhere

SMALL = {"devices": 6, "liars": 1, "channels": 1}
HONEST = SMALL | {"liars": 0}


def live(folder: Path, seed: int, steps: int, roads: tuple[str, ...] = (), /, **size: int) -> SyncingWorld:
    """A world, from its beginning to its healing. Raises: Violation, with the seed and the last steps.

    roads    by which its devices come together at last; else the seed says
    """
    with SyncingWorld(folder, seed, **size) as world:
        world.roads = roads or world.roads
        world.run(steps)
        world.heal()
        world.check_converged()
    return world


@pytest.mark.parametrize("seed", [26])
def test_a_small_world_that_syncs_is_safe_and_converges(tmp_path: Path, seed: int) -> None:
    world = live(tmp_path, seed, 45, **HONEST)
    assert len(world.said) > 3
    assert sum("meet" in step for step in world.trace) > 5
    assert sum("by_relay" in step for step in world.trace) > 3


# What is broken on purpose is seen


@contextmanager
def forgets_to_ask_for_gaps() -> Iterator[None]:
    """A session that says that it has all up to the last."""
    whole = offering.holding

    def without_gaps(*where: Any) -> offering.Holding:
        found = whole(*where)
        return offering.Holding(
            tuple(msgspec.structs.replace(one, gaps=()) for one in found.heights), found.tags
        )

    with patch.object(offering, "holding", without_gaps):
        yield


@contextmanager
def acknowledges_before_it_is_durable() -> Iterator[None]:
    """A session that takes records in when it has said that they are."""
    take = PeerSync._take

    async def later(self: PeerSync, batch: Any, **how: Any) -> None:
        async def after_a_while() -> None:
            await asyncio.sleep(0.2)
            await take(self, batch, **how)

        self._late_taking = asyncio.ensure_future(after_a_while())  # type: ignore[attr-defined]

    with patch.object(PeerSync, "_take", later):
        yield


@contextmanager
def moves_its_cursor_before_it_stores() -> Iterator[None]:
    """A relay's user that notes first that it has read, and takes in then."""
    take = Relaying.take

    def noting_first(self: Relaying, relay: bytes, items: list[Found | Page]) -> Any:
        def note(db: Any) -> None:
            for one in items:
                if isinstance(one, Found):
                    reach = aboard.reach(db, relay, one.mailbox).heard(one.cursor)
                    aboard.set_reach(db, relay, one.mailbox, reach)

        self._store.ledger.run(note)
        return take(self, relay, items)

    with patch.object(Relaying, "take", noting_first):
        yield


SEEDS_MAX = 40
CANARIES = [  # the fault, what says it, the first world that may see it, and how long it lives
    (forgets_to_ask_for_gaps, "differ about", 4, 60),
    (acknowledges_before_it_is_durable, "acknowledged what it had not taken in", 2, 5),
    (moves_its_cursor_before_it_stores, "will not ask relay again", 3, 20),
]


LATE = forgets_to_ask_for_gaps  # seen by few worlds, so that many are looked at
SLOW = (pytest.mark.slow, pytest.mark.bounded)


@pytest.mark.parametrize(
    ("fault", "said", "first", "steps"),
    [pytest.param(*one, marks=SLOW if one[0] is LATE else ()) for one in CANARIES],
)
def test_a_fault_of_syncing_is_seen(
    tmp_path: Path, fault: Callable[[], AbstractContextManager[None]], said: str, first: int, steps: int
) -> None:
    """By the first world or, since any change of what is carried changes what a seed draws, by one of the next."""
    roads = ("links",) if fault is forgets_to_ask_for_gaps else ()  # a relay gives what they do not ask for
    for seed in range(first, first + SEEDS_MAX):
        (folder := tmp_path / str(seed)).mkdir()
        try:
            with fault():
                live(folder, seed, steps, roads, **HONEST)
        except Violation as seen:
            assert re.search(f"(?s)seed {seed}, .*({said})", str(seen)), seen  # noqa: PT017 - any of many may raise it
            return
    raise AssertionError("nobody saw it")


@pytest.mark.slow
@pytest.mark.bounded
def test_the_same_worlds_without_a_fault_are_sound(tmp_path: Path) -> None:
    for _, _, seed, steps in CANARIES:
        (folder := tmp_path / f"{seed} {steps}").mkdir()
        live(folder, seed, steps, **HONEST)


FOUND = {
    4: "an item whose cursor no database can keep ended the program of whoever read it",
    239: "the world took for a leak that a grant, stronger than a concurrent removal, gives its key to whom it keeps in",
    24: "who left and was let in again got nothing by a direct link: what lets them in is closed to the key they have",
}


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_found_a_fault(tmp_path: Path, seed: int) -> None:
    live(tmp_path, seed, 80, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_worlds_of_six_devices_are_safe_and_converge(tmp_path: Path, seed: int) -> None:
    live(tmp_path, seed, 80, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 7))
def test_worlds_of_twelve_devices_are_safe_and_converge(tmp_path: Path, seed: int) -> None:
    live(tmp_path, seed, 200, devices=12, liars=2, channels=2)


# The same seed, the same bytes


def test_a_seed_gives_the_same_traffic_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with SyncingWorld(tmp_path / "here", 5, **SMALL) as world:
        world.run(20)
        expected = [world.fingerprint, *world.trace]
    assert elsewhere("world_sync import SyncingWorld", tmp_path / "there", 5, 20, "7") == expected
    (tmp_path / "another").mkdir()
    with SyncingWorld(tmp_path / "another", 6, **SMALL) as world:
        world.run(3)
        assert world.trace[:3] != expected[1:4]


def test_no_order_of_hashes_shows_in_what_is_sent(tmp_path: Path) -> None:
    """Two people are welcomed at once by a relay in this world: in which order, no hash of a set may say."""
    first, second = (
        elsewhere("world_sync import SyncingWorld", tmp_path / salt, 332, 6, salt) for salt in ("1", "2")
    )
    assert first == second
    assert len(first) == 7


def test_a_violation_replays_with_its_traffic(tmp_path: Path) -> None:
    told = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with (
            pytest.raises(Violation) as failure,
            acknowledges_before_it_is_durable(),
            SyncingWorld(tmp_path / name, 2, **HONEST) as world,
        ):
            world.run(5)
        told.append(f"{world.fingerprint} {failure.value}")
    assert told[0] == told[1]
