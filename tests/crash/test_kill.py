"""Kill -9 and power cuts: what was acknowledged is there, what was not is there whole or not at all.

A scripted session that uses every way of writing runs in a process that dies at one of its writes: before,
in the middle of, or after it; at one of the points between statements; or in a power cut, where of what was
not synced an arbitrary part reaches the disk. Then the vault is opened, compared with the states that an
undisturbed run went through, checked against its log, and written to. The fast suite takes a sample,
the slow one goes through the session.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import KeyFile
from quire.errors import UnlockError
from quire.store.local import LocalStore
from tests.crash.session import ERASED, Spec, in_doomed_process, look, prepare
from tests.oracle import check

SAMPLE = 26
STRIDE = 3  # of the write points, in the slow suite
POWER_CUTS = 250
TEARS: list[dict[str, Any]] = [{}, {"tear": 0.5}, {"tear": 0.7, "sectors": True}, {"tear": 1.0}]


class Reference(NamedTuple):
    """An undisturbed session: how the vault looked after each step, and how many places to die there are."""

    names: list[str]
    states: list[Any]
    writes: int
    points: int
    ends: list[tuple[int, int]]  # writes and points up to the end of each step


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("reference") / "vault"
    prepare(folder)
    code, said = in_doomed_process(folder, {"looks": True})
    assert code == 0
    states: list[Any] = []
    for line in said:
        if line[0] == "done":
            states.append(line[4] if line[4] is not None else states[-1])
    names = [line[2] for line in said if line[0] == "begin"]
    ends = [(line[2], line[3]) for line in said if line[0] == "done"]
    return Reference(names, states, said[-1][2], said[-1][3], ends)


def specs(reference: Reference) -> Iterator[Spec]:
    for number, at in enumerate(range(1, reference.writes + 1, STRIDE)):
        yield {"kind": "kill", "at": at, **TEARS[number % len(TEARS)]}
    for at in range(1, reference.points + 1):
        yield {"kind": "hook", "at": at}
    chance = random.Random(2)
    for seed in range(POWER_CUTS):
        yield {"kind": "power", "at": chance.randrange(1, reference.writes + 1), "seed": seed}


def test_the_session_has_many_places_to_die(reference: Reference) -> None:
    assert reference.writes > 500
    assert reference.points > 80
    assert len({str(state) for state in reference.states}) > 15


@pytest.mark.parametrize("number", range(SAMPLE))
def test_nothing_acknowledged_is_lost_in_a_sample(reference: Reference, tmp_path: Path, number: int) -> None:
    every = list(specs(reference))
    survive(reference, tmp_path, random.Random(number).choice(every))


@pytest.mark.slow
@pytest.mark.parametrize("sample", [pytest.param(6, marks=pytest.mark.bounded), 0])
def test_a_death_while_erasing_leaves_all_or_nothing(
    reference: Reference, tmp_path: Path, sample: int
) -> None:
    """At every point that is named, and every second write, of the two steps that erase; or at some of them."""
    first = reference.names.index("erase")
    assert reference.names[first : first + 2] == ["erase", "erase"]
    (writes, points), (writes_end, points_end) = reference.ends[first - 1], reference.ends[first + 1]
    assert points_end - points > 6
    places: list[Spec] = [{"kind": "hook", "at": at} for at in range(points + 1, points_end + 1)]
    places += [
        {"kind": "kill", "at": at, **TEARS[at % len(TEARS)]} for at in range(writes + 1, writes_end, 2)
    ]
    for number, spec in enumerate(random.Random(1).sample(places, sample) if sample else places):
        folder = tmp_path / str(number)
        folder.mkdir()
        survive(reference, folder, spec)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_anywhere(reference: Reference, tmp_path: Path) -> None:
    for number, spec in enumerate(specs(reference)):
        folder = tmp_path / str(number)
        folder.mkdir()
        survive(reference, folder, spec)


def survive(reference: Reference, folder: Path, spec: Spec) -> None:
    """Die as `spec` says, and see what is left."""
    print(spec)  # shown by pytest when this fails
    vault = folder / "vault"
    prepare(vault)
    code, said = in_doomed_process(vault, spec)
    assert code == -9
    begun = max(line[1] for line in said if line[0] == "begin")
    done = max((line[1] for line in said if line[0] == "done"), default=-1)
    if done < 0 and not vault.exists():
        LocalStore.create(vault, key(vault, 1))
    names = reference.names
    keys = [2] if "key" in names[: done + 1] else [1, 2] if names[begun] == "key" else [1]
    with opened_by_any(vault, keys) as store:
        seen, allowed = look(store), [reference.states[max(done, 0)], reference.states[begun]]
        if names[begun] == "import" and seen not in allowed:  # batches came in: it is simply begun again
            ChannelManager(store).import_(folder / "export.jsonl", format="jsonl")
            seen, allowed = look(store), [reference.states[begun]]
        assert seen in allowed, f"after {names[done]}, during {names[begun]}"
        check(store)
        for text in ERASED[: names[: done + 1].count("erase")]:
            assert text.encode() not in store.database.reader.serialize("main")
        report = store.verify()  # also: who is in has the present key
        assert report.ok, report.problems
        ChannelManager(store).create_channel("life goes on")
        ChannelManager(store).send_message("life goes on", "here")
        check(store)
    backup = folder / "backup"
    if (backup / "manifest").exists():
        LocalStore.restore(backup, folder / "restored", key(vault, 2))
        with LocalStore.open(folder / "restored", key(vault, 2)) as copy:
            assert look(copy) == reference.states[begun]


def key(vault: Path, number: int) -> KeyFile:
    return KeyFile(str(vault.with_name(f"{vault.name}.key{number}")))


def opened_by_any(vault: Path, keys: list[int]) -> LocalStore:
    for number in keys[:-1]:
        try:
            return LocalStore.open(vault, key(vault, number))
        except UnlockError:
            continue
    return LocalStore.open(vault, key(vault, keys[-1]))
