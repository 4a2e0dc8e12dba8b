"""Kill -9 at any point of archiving and bringing back: each message reads as before, and it ends where it was to be.

And of a backup that must write packs anew while the archive's disk is away: what it held is in it, before and after. The
process dies at one of its disk calls or at one of the points between statements. The fast suite takes one place to die of each,
CI a sample, the slow suite every one.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.crash import flows
from tests.crash.cooling import Cooling, cools_on, saves_on, warms_on
from tests.crash.test_flows import Before

SAMPLE = 3
POINTS = {
    "cool": {"segment_noted", "segment_written", "segment_flushed", "segment_read_back", "segment_placed", "segment_step"},
    "warm": {"segment_back", "segment_doomed", "segment_removed"},
    "save": {"backup_pack", "backup_packed", "backup_manifest", "backup_named"},
}  # fmt: skip
GOES_ON = {"cool": cools_on, "warm": warms_on, "save": saves_on}


def laid(folder: Path, begin: str, step: str) -> Before:
    world, after = folder / "world", folder / "after"
    world.mkdir()
    assert flows.outcome(flows.doomed(world, begin, {}, Cooling)) == 0
    flows.duplicate(world, after)
    assert flows.outcome(flows.doomed(after, step, {}, Cooling)) == 0
    before = Before("cooling", 0, step, world, *flows.told(after, step))
    assert set(before.points) >= POINTS[step], before.points
    return before


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Before]:
    """The world before everything is archived (`cool`), brought back (`warm`), or in a backup written anew (`save`)."""
    begin = {"cool": "talk", "warm": "talk_and_cool", "save": "lay_out"}
    return cache(lambda step: laid(tmp_path_factory.mktemp(step), begin[step], step))


def survive(before: Before, folder: Path, spec: dict[str, Any]) -> bool:
    """Die as `spec` says, and let it go on; False if the step was over before."""
    print(before.step, spec)
    world = folder / "world"
    flows.duplicate(before.folder, world)
    died = flows.outcome(flows.doomed(world, before.step, spec, Cooling))
    assert died in (-9, 0)
    assert flows.outcome(flows.start(GOES_ON[before.step], str(world))) == 0
    return died == -9


@pytest.mark.parametrize("step", ["cool", "save"])
def test_a_kill_leaves_every_message_readable_somewhere(
    before: Callable[[str], Before], tmp_path: Path, step: str
) -> None:
    world = before(step)
    points = [at for at, name in enumerate(world.points, start=1) if name in POINTS[step]]
    assert survive(world, tmp_path, {"kind": "hook", "at": random.Random(step).choice(points)})


@pytest.mark.slow
@pytest.mark.bounded
def test_a_kill_leaves_every_message_readable_in_a_sample(
    before: Callable[[str], Before], tmp_path: Path
) -> None:
    for step in GOES_ON:
        some = random.Random(2).sample(before(step).specs(), SAMPLE)
        assert all([survive(before(step), tmp_path / f"{step}{n}", spec) for n, spec in enumerate(some)])


@pytest.mark.slow
def test_a_kill_leaves_every_message_readable_wherever_it_comes(
    before: Callable[[str], Before], tmp_path: Path
) -> None:
    for step in GOES_ON:
        for number, spec in enumerate(before(step).specs()):
            survive(before(step), tmp_path / str(number), spec)
            shutil.rmtree(tmp_path / str(number))
