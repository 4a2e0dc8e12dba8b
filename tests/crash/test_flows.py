"""Kill -9 while people found, invite, join, rotate, remove, leave, link, revoke and recover.

Each step of each flow runs in a process that dies at one of its disk calls (SQLite's, or files made and renamed) or
at one of the points between statements. A fresh process looks at what is left: nobody is in a channel without its
key, no file is half there. Then fresh processes do the step again, as a person would, and what comes after it; and
everybody is a member with keys, reads the others, nothing is lost and nothing is double (tests/crash/flows.py).
The fast suite takes a few places to die, CI a sample, the slow suite every one.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quire.store.local import LocalStore
from quire.testing.people import key_of
from tests.crash import flows
from tests.crash.flows import FLOWS, World

FAST = 2
SAMPLE = 24
TEARS = (0.0, 0.5, 1.0)
LINK = "link"


class Before(NamedTuple):
    """A world before one of the steps of a flow, and how many places to die the step has."""

    flow: str
    number: int
    step: str
    folder: Path
    calls: int
    points: list[str]

    def specs(self) -> list[dict[str, Any]]:
        kills = [
            {"kind": "kill", "at": at, "tear": TEARS[at % len(TEARS)]} for at in range(1, self.calls + 1)
        ]
        return kills + [{"kind": "hook", "at": at} for at in range(1, len(self.points) + 1)]

    def survive(self, folder: Path, spec: dict[str, Any]) -> bool:
        """Die as `spec` says, and go on; False if the step was over before."""
        print(self.flow, self.step, spec)  # shown by pytest when this fails
        world = folder / "world"
        flows.duplicate(self.folder, world)
        if self.flow == LINK:
            died = flows.linked(world, self.step, spec)
            flows.stands(world)
            if not (world / "laptop").exists():
                flows.linked(world)
            steps = ["carry"]
        else:
            died = flows.outcome(flows.doomed(world, self.step, spec))
            flows.stands(world)
            steps = list(FLOWS[self.flow][0][self.number :])
        assert died in (-9, 0)
        flows.goes_on(world, steps, self.flow)
        return died == -9


Lay = Callable[[str], list[Before]]


@pytest.fixture(scope="module")
def lay(tmp_path_factory: pytest.TempPathFactory) -> Lay:
    """The worlds before each step of a flow."""

    @cache
    def laid(flow: str) -> list[Before]:
        folder = tmp_path_factory.mktemp(flow)
        return list(_link(folder) if flow == LINK else _steps(folder, flow))

    return laid


def _steps(folder: Path, flow: str) -> Iterator[Before]:
    steps, ready = FLOWS[flow]
    world = folder / "0"
    world.mkdir()
    for step in steps[:ready]:
        assert flows.outcome(flows.doomed(world, step, {})) == 0
    for number, step in enumerate(steps[ready:], ready):
        after = folder / str(number)
        flows.duplicate(world, after)
        assert flows.outcome(flows.doomed(after, step, {})) == 0
        yield Before(flow, number, step, world, *flows.told(after, step))
        world = after
    flows.goes_on(world, [], flow)


def _link(folder: Path) -> Iterator[Before]:
    world, after = folder / "before", folder / "after"
    world.mkdir()
    assert flows.outcome(flows.doomed(world, "with_road", {})) == 0
    flows.duplicate(world, after)
    flows.linked(after)
    for step in ("host", "guest"):
        yield Before(LINK, 0, step, world, *flows.told(after, step))
    flows.goes_on(after, [], LINK)


EVERY = (*FLOWS, LINK)


@pytest.mark.parametrize("number", range(FAST))
def test_a_broken_flow_goes_on_in_a_few_places(lay: Lay, tmp_path: Path, number: int) -> None:
    chance = random.Random(number)
    [before] = lay("leave")
    assert before.survive(tmp_path, chance.choice(before.specs()[: before.calls]))


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("flow", EVERY)
def test_a_broken_flow_goes_on_in_a_sample(lay: Lay, tmp_path: Path, flow: str) -> None:
    chance = random.Random(flow)
    died = 0
    for number in range(SAMPLE // len(EVERY)):
        before = chance.choice(lay(flow))
        (tmp_path / str(number)).mkdir()
        died += before.survive(tmp_path / str(number), chance.choice(before.specs()))
    assert died


@pytest.mark.slow
@pytest.mark.parametrize("flow", EVERY)
def test_a_broken_flow_goes_on_wherever_it_broke(lay: Lay, tmp_path: Path, flow: str) -> None:
    for before in lay(flow):
        died = 0
        for number, spec in enumerate(before.specs()):
            folder = tmp_path / f"{before.step}{number}"
            folder.mkdir()
            died += before.survive(folder, spec)
            shutil.rmtree(folder)
        print(f"{flow}, {before.step}: {died} of {len(before.specs())} died")
        assert died > 0.9 * len(before.specs())  # how many pages a key's random bytes touch differs


def test_what_a_killed_creation_left_is_taken_away_and_one_at_work_is_not(tmp_path: Path) -> None:
    (tmp_path / ".ada.1.new").mkdir()
    (tmp_path / ".ada.1.new" / "vault.db").write_bytes(b"half")
    (tmp_path / ".adam.1.new").write_bytes(b"another's")
    World(tmp_path).people()
    assert not (tmp_path / ".ada.1.new").exists()
    assert (tmp_path / ".adam.1.new").exists()
    with LocalStore.open(tmp_path / "ada", key_of(tmp_path / "ada")) as store:
        assert store.verify().ok
