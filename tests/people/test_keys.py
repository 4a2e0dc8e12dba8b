"""Who should read can, who is out cannot: random histories of people, devices, scopes and liars, with real keys.

A few people act on what each of them happens to know: let in with any scope, put out, leave, change the key, all at
once. Mallory, a member, seals wrong keys, gives keys away, lays false links, writes as if it were earlier. Then all
meet. From there on:

    every honest member has the present key, and every other that they may read and some honest writer has
    nobody outside could know the present key, whatever they kept of all that was ever written
    nobody could ever know a key from before what they were shown, or from after they were put out: `crossed` is the limit
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from quire.core.control import (
    HISTORY_ALL,
    HISTORY_JOINED,
    Admit,
    ControlOperation,
    Create,
    Link,
    Policy,
    Role,
    Rotate,
    Seal,
    SealedKey,
)
from quire.core.crypto import epochs as crypto
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import decode_certificate
from quire.core.membership import EpochInfo, Graph
from quire.errors import UnauthorisedError
from quire.store import epochs, group
from tests.core.membership.people import START_MS, id_of, set_role
from tests.people.keyed import CHANNEL, LOG, Machine, World

PEOPLE = ("Alice", "Bob", "Carol", "Dave", "Erin")
LIAR = "Mallory"
STEPS = 22


@pytest.fixture(autouse=True)
def _on_a_shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("log", "controls", "keychain"):
        monkeypatch.setattr(epochs, name, LOG)
    for name in ("log", "keychain"):
        monkeypatch.setattr(group, name, LOG)


def world_of(seed: int, monkeypatch: pytest.MonkeyPatch) -> World:
    """Alice's channel, with Bob and Carol in it; the others outside."""
    world = World(seed)
    monkeypatch.setattr(epochs, "os", SimpleNamespace(urandom=random.Random(f"keys {seed}").randbytes))
    people = PEOPLE if seed % 2 else (*PEOPLE, LIAR)
    alice, bob, carol, *others = (world.machine(person) for person in people)
    world.machine("Bob", 2)
    alice.write([Create("group", "a channel", bytes(16), alice.entry)])
    alice.admit(bob, Role.ADMIN, HISTORY_ALL)
    alice.admit(carol, Role.ADMIN, HISTORY_ALL)
    if LIAR in people:
        alice.admit(others[-1], Role.MEMBER, HISTORY_ALL)
    for one in world.machines.values():
        one.take(world.commits)
    return world


def act(world: World) -> None:
    """Somebody does something, if they may."""
    choose = world.choose
    machine = choose.choice([one for one in world.machines.values() if one.role is not Role.NONE] or [None])
    if machine is None:
        return
    other = choose.choice([one for one in world.machines.values() if one.person != machine.person])
    world.now_ms += choose.randrange(5_000)
    if choose.random() < 0.4:
        machine.take(other.have.values())
    try:
        choose.choice(ways_of(machine, other))()
    except UnauthorisedError:
        return


def ways_of(machine: Machine, other: Machine) -> list[Callable[[], object]]:
    world, choose = machine.world, machine.world.choose
    if machine.person == LIAR:
        return [lambda: machine.write(lie(machine)), lambda: machine.write(lie(machine), backdated(machine))]
    date = choose.randrange(START_MS, world.now_ms + 1)
    past = choose.choice([HISTORY_ALL, HISTORY_ALL, HISTORY_JOINED, date])
    role = choose.choice([Role.GUEST, Role.MEMBER, Role.ADMIN, Role.ADMIN])
    second = world.machines["Bob 2"]

    def tell() -> None:  # and whoever it is learns what this device knows
        other.take(machine.have.values())

    often: list[Callable[[], object]] = [
        lambda: machine.admit(other, min(role, machine.role), past),
        lambda: machine.remove(other),
        machine.with_key,
        lambda: machine.write(epochs.rotation(*at(machine), receivers(machine))),
        tell,
    ]
    seldom: list[Callable[[], object]] = [
        lambda: machine.remove(machine, leaving=True),
        lambda: machine.write([set_role(other.person, role)]),
        lambda: machine.write([Policy("history", past)]),
        lambda: machine.write(group.add_device(*at(machine), second.entry)),
        lambda: machine.write(group.revoke_device(*at(machine), second.id)),
    ]
    return often * 3 + seldom


def at(machine: Machine) -> tuple[Any, Any, Any]:
    """What functions of `store/epochs.py` and `store/group.py` begin with."""
    return machine.shelf, machine.row, machine.graph


def receivers(machine: Machine) -> dict[bytes, bytes]:
    shelf, row, graph = at(machine)
    return epochs.recipients(shelf, row, graph.state, graph.state.epochs.expected())


def lie(machine: Machine) -> list[ControlOperation]:
    """What a member can write about keys that is not so."""
    choose = machine.world.choose
    known = machine.state.epochs.every()
    somebody = choose.choice(list(machine.world.machines.values()))
    fresh = EpochKey(choose.randbytes(32))
    name = crypto.epoch_id(fresh, CHANNEL)
    others = machine.world.machines.values()
    mixed = [sealed(fresh, one) if choose.random() < 0.5 else false_seal(one) for one in others]
    rotated: list[ControlOperation] = [
        Rotate(name),
        Seal(name, tuple(choose.sample(mixed, choose.randrange(1, len(mixed))))),
    ]
    if not known:
        return rotated
    one, two = choose.choice(known).epoch, choose.choice(known).epoch
    false_link = Link(name, one, choose.randbytes(60))
    ways: list[list[ControlOperation]] = [
        rotated,
        [*rotated, false_link],
        [Seal(one, (false_seal(somebody),))],
    ]
    if one in machine.keys:
        ways.append([Seal(one, (sealed(EpochKey(machine.keys[one]), somebody),))])
        ways.append([Seal(one, (sealed(EpochKey(machine.keys[one]), somebody),))])
    if one != two:
        ways.append([Link(one, two, choose.randbytes(60))])
    return choose.choice(ways)


def sealed(key: EpochKey, to: Machine) -> SealedKey:
    return SealedKey(to.id, crypto.seal_to(key, CHANNEL, to.id, to.entry.sealing))


def false_seal(to: Machine) -> SealedKey:
    return SealedKey(to.id, to.world.choose.randbytes(1168))


def backdated(machine: Machine) -> tuple[bytes, ...]:
    return (machine.world.choose.choice(list(machine.have)),)


# What must hold once all have met


def check_readers(world: World, honest: list[Machine]) -> int:
    """Everybody who is in has the present key, and what they may read of what some honest writer has."""
    state = honest[0].state
    current = state.epochs.current
    assert current is not None
    had = {epoch for one in honest if one.role >= Role.MEMBER for epoch in one.keys}
    for machine in honest:
        if machine.role is Role.NONE:
            continue
        assert current.epoch in machine.keys, f"{machine.name} has not the present key"
        may = state.epochs.admissible(id_of(machine.person))
        lacking = [one for one in had if state.epochs.reach(one) <= may and one not in machine.keys]
        assert not lacking, f"{machine.name} lacks {len(lacking)} keys"
        assert set(machine.keys) == world.could_know(machine)
    return len(had)


def check_present_key(world: World, graph: Graph) -> int:
    """Nobody outside could know what is written under now, but from a member who gave it away unseen."""
    state = graph.state
    current = state.epochs.current
    assert current is not None
    outside = [one for one in world.machines.values() if state.device(one.id) is None]
    unseen = given_away(world, graph)
    for machine in outside:
        assert current.epoch not in world.could_know(machine, unseen), f"{machine.name} knows the present key"
    return len(outside)


def given_away(world: World, graph: Graph) -> set[bytes]:
    """What a member wrote without any right: they might as well have whispered it."""
    wrongful = [
        one for one in world.commits if graph._records[one.id].rule and graph.state.device(one.device)
    ]
    seals = [one for commit in wrongful for one in commit.operations if isinstance(one, Seal)]
    return {key.sealed for one in seals for key in one.keys}


def check_other_keys(world: World, graph: Graph) -> int:
    """Among honest people nobody could ever know more than they were let in to, or what began after they were put out."""
    kept = 0
    unforeseen = crossed(world, graph)
    for machine in world.machines.values():
        shown = {info.epoch for info in graph.state.epochs.every() if is_shown(graph, machine, info)}
        beyond = world.could_know(machine, unforeseen) - shown
        assert not beyond, f"{machine.name} could know {len(beyond)} keys too many"
        kept += len(graph.state.epochs.every()) - len(shown)
    return kept


def crossed(world: World, graph: Graph) -> set[bytes]:
    """Links laid from a key that stood already, while others who knew nothing of it gave that key to somebody.

    Each was right in what they knew, and together they may show a newcomer more than their scope (spec 06, 8.4).
    """
    gives: dict[bytes, list[bytes]] = {}  # epoch -> commits that give its key
    for commit in world.commits:
        for operation in commit.operations:
            if isinstance(operation, Seal | Link):
                given = operation.epoch if isinstance(operation, Seal) else operation.parent
                gives.setdefault(given, []).append(commit.id)
    found = set()
    for commit in world.commits:
        laid = graph._records[commit.id]
        for link in (one for one in commit.operations if isinstance(one, Link)):
            others = [graph._records[id] for id in gives[link.epoch]]
            if any(not laid.knows(one) and not one.knows(laid) and one is not laid for one in others):
                found.add(link.sealed)
    return found


def is_shown(graph: Graph, machine: Machine, info: EpochInfo) -> bool:
    """Was this person ever let in to this epoch, and not put out before it?"""
    person = id_of(machine.person)
    began = graph._records[info.commit]
    removals = [one.record for one in graph.state.removals(person) if began.knows(one.record)]
    for commit in machine.world.commits:
        record = graph._records[commit.id]
        for operation in () if record.rule else commit.operations:
            if isinstance(operation, Create) and person == record.identity:
                if not removals:
                    return True
            elif isinstance(operation, Admit):
                let_in = decode_certificate(operation.devices[0].certificate).identity == person
                history = operation.history
                wide = history == HISTORY_ALL or not record.knows(began)
                dated = history > HISTORY_JOINED and info.time >> 16 >= history
                if let_in and (wide or dated) and all(record.knows(one) for one in removals):
                    return True
    return False


def live_and_check(seed: int, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """One history, half of them without a liar."""
    world = world_of(seed, monkeypatch)
    for _ in range(STEPS):
        act(world)
    honest = [one for one in world.machines.values() if one.person != LIAR]
    world.now_ms += 60_000
    world.heal(honest)
    told = Counter(histories=1)
    if not any(one.role >= Role.MEMBER for one in honest):
        return told  # nobody is left to change a key
    graph = honest[0].graph
    told["keys"] = check_readers(world, honest)
    told["outside"] = check_present_key(world, graph)
    if seed % 2:
        told["kept"] = check_other_keys(world, graph)
    return told + Counter(type(operation).__name__ for one in world.commits for operation in one.operations)


def test_a_few_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    told = sum((live_and_check(seed, monkeypatch) for seed in range(6)), Counter())
    assert told["kept"] > 10
    assert told["outside"] > 10


@pytest.mark.slow
@pytest.mark.bounded
def test_many_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    told = sum((live_and_check(seed, monkeypatch) for seed in range(6, 60)), Counter())
    assert told["Report"] > 10
    assert told["Rotate"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("thousand", range(4))
def test_thousands_of_histories(thousand: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(1_000 * thousand + 60, 1_000 * thousand + 1_060):
        try:
            live_and_check(seed, monkeypatch)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
