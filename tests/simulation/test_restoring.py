"""Worlds in which devices are destroyed and made anew of old backups, and relays go back: what is gone stays gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from quire.store import apply, restoring
from quire.store.backup_packing import Holdings
from quire.testing import world_restoring
from quire.testing.world import Violation, World
from quire.testing.world_sync import SyncingWorld

SMALL = {"devices": 6, "liars": 1, "channels": 1}


def live(folder: Path, seed: int, steps: int, kind: type[World] = World) -> World:
    with kind(folder, seed, **SMALL) as world:
        world.erase()
        world.let_go()
        world.restore()
        world.run(steps)
        world.heal()
        world.check_converged()
        world_restoring.haunt(world)
    return world


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("kind", [World, SyncingWorld])
def test_in_a_small_world_nothing_comes_back_from_a_backup(tmp_path: Path, kind: type[World]) -> None:
    world = live(tmp_path, 1, 100, kind)
    assert world.lost


@pytest.mark.slow
@pytest.mark.parametrize("kind", [World, SyncingWorld])
@pytest.mark.parametrize("seed", range(10, 30))
def test_in_many_small_worlds_nothing_comes_back_from_a_backup(
    tmp_path: Path, seed: int, kind: type[World]
) -> None:
    live(tmp_path, seed, 140, kind)


@contextmanager
def a_backup_keeps_what_it_has() -> Iterator[None]:
    """No pack is written anew, whatever was erased since."""
    with patch.object(Holdings, "agrees", lambda *_: True):
        yield


@contextmanager
def a_restored_vault_forgets_what_was_let_go() -> Iterator[None]:
    with patch.object(restoring, "_say_away", lambda *_: None):
        yield


@contextmanager
def takes_the_erased_as_it_comes() -> Iterator[None]:
    """An erasure that is here already does nothing to what comes after it."""

    def all_of_it(db: Any, channel: Any, items: Any) -> list[Any]:
        return [one for one in items if one.operation is not None]

    with patch.object(apply, "strike", all_of_it):
        yield


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize(
    ("fault", "said", "seed"),
    [
        (a_backup_keeps_what_it_has, "in its backup", 2),
        (a_restored_vault_forgets_what_was_let_go, "does not show", 16),
        (takes_the_erased_as_it_comes, "which was erased", 1),
    ],
)
def test_a_fault_is_seen(
    tmp_path: Path, fault: Callable[[], AbstractContextManager[None]], said: str, seed: int
) -> None:
    with pytest.raises(Violation, match=f"seed {seed}, .*{said}"), fault():
        live(tmp_path, seed, 100)
