"""Worlds in which people erase: what an erasure names is in nobody's vault that has it, and all come to show the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.core.ids import MessageId
from quire.testing import world_erasing
from quire.testing.world import World
from quire.testing.world_sync import SyncingWorld

SMALL = {"devices": 6, "liars": 1, "channels": 1}


def live(folder: Path, seed: int, steps: int, kind: type[World] = World) -> World:
    with kind(folder, seed, **SMALL) as world:
        world.erase()
        world.run(steps)
        world.heal()
        world.check_converged()
        world.check_safety()
    return world


def erased(world: World) -> set[MessageId]:
    """What honest people wrote and somebody erased by right."""
    found = {id for one in world.honest for id in world_erasing.erased_by_right(one)}
    return found & world.said.keys()


@pytest.mark.slow
@pytest.mark.bounded
def test_in_small_worlds_what_is_erased_stays_erased(tmp_path: Path) -> None:
    found = 0
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with World(folder, seed, **SMALL) as world:
            world.erase()
            world.run(100)
            world.heal()
            world.check_converged()
            world.check_safety()
            found += len(erased(world))
    assert found


@pytest.mark.slow
@pytest.mark.bounded
def test_also_where_devices_sync_over_links_and_relays(tmp_path: Path) -> None:
    live(tmp_path, 1, 100, SyncingWorld)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "seed", "steps"),
    [
        # verify counted what a moderator without the right to post did to a message
        (World, 24, 120),
        # an erasure lost its right, and by relays alone nobody was brought the bytes again
        (SyncingWorld, 9, 100),
        # a device whose maker was revoked came into no channel that the maker had not been in
        (World, 37, 140),
        # a fault of the world: a liar could make nothing of a commit that had been erased in part
        (World, 33, 160),
    ],
)
def test_a_seed_that_found_a_fault(tmp_path: Path, kind: type[World], seed: int, steps: int) -> None:
    live(tmp_path, seed, steps, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [World, SyncingWorld])
@pytest.mark.parametrize("seed", range(10, 30))
def test_in_many_small_worlds_what_is_erased_stays_erased(
    tmp_path: Path, seed: int, kind: type[World]
) -> None:
    live(tmp_path, seed, 160, kind)


@pytest.mark.slow
@pytest.mark.bounded
def test_the_check_finds_what_is_still_there(tmp_path: Path) -> None:
    with World(tmp_path, 1, **SMALL) as world:
        world.erase()
        world.run(100)
        world.heal()
        machine = next(
            one for one in world.honest if set(world_erasing.erased_by_right(one)) & world.said.keys()
        )
        id = min(set(world_erasing.erased_by_right(machine)) & world.said.keys())
        store = world.at(machine).store
        body = next(one for one in world.said[id].bodies if one)
        store.ledger.run(
            lambda db: db.execute("INSERT INTO meta VALUES('left', ?)", (b"\xff" + _packed(body),)).fetchall()
        )
        with pytest.raises(AssertionError, match="in its pages"):
            world_erasing.check_erased(world, machine)


def _packed(body: str) -> bytes:
    from quire.core.encoding import encode

    return encode(body)
