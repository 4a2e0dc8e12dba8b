"""The same seed, the same world: what happened and every byte that was carried, in any process.

Equal are the steps, what became of them, and all records on the road: they are what the fingerprint covers. Not equal
are the files of the vaults, whose cipher draws numbers of its own for every page; nothing that is checked depends on
them. Another version of a library that packs or seals may carry other bytes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.testing.world import Violation, World
from tests.simulation.replaying import elsewhere
from tests.simulation.test_canaries import SMALL, shows_what_lies_beyond_a_cut


def test_a_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with World(tmp_path / "here", 17, **SMALL) as world:
        world.run(30)
        expected = [world.fingerprint, *world.trace]
    assert elsewhere("world import World", tmp_path / "there", 17, 30, "1") == expected
    (tmp_path / "another").mkdir()
    with World(tmp_path / "another", 18, **SMALL) as world:
        world.run(3)
        assert world.trace[:3] != expected[1:4]


def test_a_violation_replays(tmp_path: Path) -> None:
    told: list[str] = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        with (
            pytest.raises(Violation) as failure,
            shows_what_lies_beyond_a_cut(),
            World(tmp_path / name, 8, **SMALL) as world,
        ):
            world.run(40)
        told.append(f"{world.fingerprint} {failure.value}")
    assert told[0] == told[1]


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("seed", [106, 187])
def test_a_long_world_replays(tmp_path: Path, seed: int) -> None:
    first, second = (
        elsewhere("world import World", tmp_path / salt, seed, 150, salt) for salt in ("0", "4242")
    )
    assert first == second
    assert len(first) == 151
