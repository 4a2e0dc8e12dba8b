"""Kill -9 at any point of retention: a message is here with all that is on it or gone with it, and it is gone in the end.

The process dies at one of its disk calls or at one of the points between statements. The fast suite takes a place to die,
CI a sample, the slow suite every one.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.crash import flows
from tests.crash.letting import Letting, goes_on
from tests.crash.test_flows import Before

SAMPLE = 8
STEP = "let_go"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    """The world before anything goes."""
    folder = tmp_path_factory.mktemp("letting")
    world, after = folder / "world", folder / "after"
    world.mkdir()
    assert flows.outcome(flows.doomed(world, "talk", {}, Letting)) == 0
    flows.duplicate(world, after)
    assert flows.outcome(flows.doomed(after, STEP, {}, Letting)) == 0
    laid = Before("letting", 0, STEP, world, *flows.told(after, STEP))
    points = set(laid.points)
    assert points >= {"before_pruning", "pruned_rows", "pruned", "index_merged", "pages_given"}, points
    return laid


def survive(before: Before, folder: Path, spec: dict[str, Any]) -> bool:
    """Die as `spec` says, and let it go on; False if the step was over before."""
    print(spec)
    world = folder / "world"
    flows.duplicate(before.folder, world)
    died = flows.outcome(flows.doomed(world, STEP, spec, Letting))
    assert died in (-9, 0)
    assert flows.outcome(flows.start(goes_on, str(world))) == 0
    return died == -9


def test_a_kill_leaves_no_message_half_gone_somewhere(before: Before, tmp_path: Path) -> None:
    assert survive(before, tmp_path, random.Random(1).choice(before.specs()))


@pytest.mark.slow
@pytest.mark.bounded
def test_a_kill_leaves_no_message_half_gone_in_a_sample(before: Before, tmp_path: Path) -> None:
    some = random.Random(2).sample(before.specs(), SAMPLE)
    assert all([survive(before, tmp_path / str(n), spec) for n, spec in enumerate(some)])


@pytest.mark.slow
def test_a_kill_leaves_no_message_half_gone_wherever_it_comes(before: Before, tmp_path: Path) -> None:
    for number, spec in enumerate(before.specs()):
        survive(before, tmp_path / str(number), spec)
        shutil.rmtree(tmp_path / str(number))
