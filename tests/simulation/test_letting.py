"""Worlds in which people let go of what they wrote: what went never shows again, and the others see all the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.testing import world_letting
from quire.testing.world import World
from quire.testing.world_sync import SyncingWorld

SMALL = {"devices": 6, "liars": 1, "channels": 1}


def live(folder: Path, seed: int, steps: int, **size: int) -> World:
    with World(folder, seed, **size) as world:
        world.let_go()
        world.run(steps)
        world.heal()
        world.check_converged()
        world.check_safety()
    return world


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("seed", [1, 2])
def test_in_a_small_world_what_went_stays_gone(tmp_path: Path, seed: int) -> None:
    world = live(tmp_path, seed, 100, **SMALL)
    assert sum(len(machine.gone) for machine in world.machines) > 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 30))
def test_in_many_small_worlds_what_went_stays_gone(tmp_path: Path, seed: int) -> None:
    live(tmp_path, seed, 160, **SMALL)


@pytest.mark.slow
@pytest.mark.bounded
def test_the_place_of_what_was_erased_goes_too(tmp_path: Path) -> None:
    """A message is erased, and then let go: verify missed the place that the erasure had left."""
    with SyncingWorld(tmp_path, 11, **SMALL) as world:
        world.erase()
        world.let_go()
        world.run(100)
        world.heal()
        world.check_converged()


@pytest.mark.slow
@pytest.mark.bounded
def test_the_check_finds_what_comes_back(tmp_path: Path) -> None:
    """With a device that forgets what it let go of, and so takes it again, the world is not as it must be."""
    with World(tmp_path, 1, **SMALL) as world:
        world.let_go()
        world.run(100)
        world.heal()
        world.check_safety()
        machine = max(world.honest, key=lambda one: len(one.gone))
        assert machine.gone
        store = world.at(machine).store
        store.ledger.run(lambda db: db.execute("DELETE FROM destroyed WHERE why IN (3, 4)").fetchall())
        with pytest.raises(AssertionError, match="let go of"):
            world_letting.check_gone(world, machine)
