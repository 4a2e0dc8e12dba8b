"""Worlds drawn from a seed: safe at every step, converged once healed (`quire.testing.world`).

pytest tests/simulation -m "slow and bounded"     # the seeds that found something, and one world of thirty: half a minute
pytest tests/simulation -m slow                   # 24 worlds of thirty devices, 400 steps each: about half an hour

Run to its end on 24 November 2026: of the 24 all held but number 23, which holds since what it found was mended (the
last story of tests/people/test_closed_commits.py); of the others 1 to 6 and 10 to 14 were run again on 1 December
2026. Of a hundred worlds of six devices (seeds 200 to 299, 80 steps) 240 and 268 found what `FOUND` says.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.testing.world import World

SMALL = {"devices": 6, "liars": 1, "channels": 1}


def live(folder: Path, seed: int, steps: int, **size: int) -> World:
    """A world, from its beginning to its healing. Raises: Violation, with the seed and the last steps."""
    with World(folder, seed, **size) as world:
        world.run(steps)
        world.heal()
        world.check_converged()
    return world


@pytest.mark.parametrize("seed", [3, 10])
def test_a_small_world_is_safe_and_converges(tmp_path: Path, seed: int) -> None:
    world = live(tmp_path, seed, 60, **SMALL)
    assert len(world.said) > 5


FOUND = {
    106: "who left under a liar's key, which they lacked, could tell nobody, not even their other devices",
    137: "a fault of the world: a request that waits for approval comes every time, and was taken for news",
    138: "a device noted a key where another could read it that it had ended, and that its self-channel did not know yet",
    139: "a device that had come to its end noted a key in the self-channel, and its vault did not verify",
    187: "what a removed device wrote under its own key waited for a link, and the link for what it names",
    191: "a key that came with a device's end was noted where that device could read it",
    240: "a fault of the world: who was put out under a key that they never had cannot hear of it, and need not",
    268: "with a clock that was set back one could do nothing that must come after what one knows",
}


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_found_a_fault(tmp_path: Path, seed: int) -> None:
    live(tmp_path, seed, 80, **SMALL)


@pytest.mark.slow
@pytest.mark.bounded
def test_thirty_devices_are_safe_and_converge(tmp_path: Path) -> None:
    live(tmp_path, 0, 100)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 25))
def test_many_worlds_of_thirty_devices_are_safe_and_converge(tmp_path: Path, seed: int) -> None:
    live(tmp_path, seed, 400)
