"""Small histories, made: all ways for a few people to act at once, and every order in which their commits can come.

After a fixed start (an owner, two admins, a member; an outsider with a certificate) come a few control commits from a
small alphabet of acts, each naming any earlier ones as its heads.

    histories(3, acts)   every history: every act at every place of every shape, the wrongful ones included
    rightful(5, acts)    every history of acts that their authors had the right to, up to symmetry; or `timed`, in every
                         order of time
    arrive(commits)      the graph that they come to, in every order of arrival
    arrive_together(..)  the same for many histories, which share their beginnings: the orders of all of them are one tree

A wrongful act never counts (docs/spec/06-membership.md, 1.3), and who names one knows what it names: so a history with
it comes to what the history without it comes to. A test shows that for all histories of three, and `rightful` leaves
such out. Two histories are the same up to symmetry if the same acts know of the same acts and each device's come in
the same order: of the orders of time that fit, one is taken, unless the history is `timed`. In `histories` all are there,
but for neighbours who know the same.
"""

from __future__ import annotations

import copy
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from hashlib import sha256
from itertools import combinations, product
from typing import Any, NamedTuple

from quire.core import clock
from quire.core.control import ControlOperation, Role
from quire.core.membership import ControlCommit, Graph, Membership, resolve
from quire.core.membership.index import Index
from quire.errors import UnauthorisedError
from tests.core.membership.people import (
    CHANNEL,
    START_MS,
    World,
    admit,
    commit_of,
    device,
    device_of,
    id_of,
    invite,
    invited,
    prefix_of,
    remove,
    revoke,
    rotate,
    set_role,
)

ALPHABET: list[tuple[str, int, tuple[ControlOperation, ...]]] = [
    ("Alice", 1, (remove("Bob"),)),
    ("Bob", 1, (remove("Carol"),)),
    ("Carol", 1, (remove("Bob"),)),
    ("Carol", 1, (set_role("Dave", Role.ADMIN),)),
    ("Dave", 1, (remove("Carol"),)),
    ("Bob", 1, (admit("Erin", Role.ADMIN),)),
    ("Erin", 1, (remove("Carol"),)),
    ("Alice", 1, (set_role("Bob", Role.MEMBER),)),
    ("Bob", 1, (remove("Bob"),)),
    ("Carol", 1, (invited("Erin", "door"),)),
    ("Bob", 1, (revoke("Alice"),)),
    ("Alice", 1, (remove("Alice"),)),
    ("Carol", 2, (revoke("Carol"),)),
    ("Carol", 1, (remove("Dave"),)),
    ("Alice", 1, (admit("Bob", Role.ADMIN),)),
    ("Bob", 1, (set_role("Carol", Role.MEMBER),)),
    ("Dave", 1, (remove("Bob"),)),
    ("Dave", 1, (rotate("of Dave"),)),
]
Shape = tuple[tuple[int, ...], ...]  # for each commit the earlier ones it names
Acts = tuple[int, ...]  # places in the alphabet
ALL: Acts = tuple(range(len(ALPHABET)))


@cache
def start() -> tuple[ControlCommit, ...]:
    world = World("Alice")
    world.write("Alice", admit("Bob", Role.ADMIN))
    carol = admit(
        "Carol", Role.ADMIN, devices=(device("Carol", 1, created_ms=1), device("Carol", 2, created_ms=2))
    )
    world.write("Alice", carol, invite("door", Role.MEMBER, uses=1))
    world.write("Bob", admit("Dave"))
    return tuple(world.commits)


@cache
def started() -> Graph:
    graph = Graph(CHANNEL)
    for commit in start():
        graph.add(commit)
    return graph


# Shapes, and histories


def antichains(pasts: list[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """The heads that one more commit may name, and the past that it then has, as a bitmask."""
    for size in range(len(pasts) + 1):
        for heads in combinations(range(len(pasts)), size):
            if not any(pasts[a] >> b & 1 for a in heads for b in heads):
                past = 0
                for head in heads:
                    past |= pasts[head] | 1 << head
                yield heads, past


@cache
def shapes(count: int) -> list[Shape]:
    """Every way in which `count` commits may name earlier ones as heads."""
    found: list[tuple[Shape, list[int]]] = [((), [])]
    for _ in range(count):
        found = [
            ((*names, heads), [*pasts, past])
            for names, pasts in found
            for heads, past in antichains(pasts)
        ]  # fmt: skip
    return [names for names, _ in found]


def history(acts: Acts, shape: Shape) -> list[ControlCommit]:
    """The commits after the start. A device's commits have times and seqs in their order here."""
    made: list[ControlCommit] = []
    for act, names in zip(acts, shape, strict=True):
        made.append(_commit(act, [made[name] for name in names], len(made)))
    return made


def _commit(act: int, heads: list[ControlCommit], place: int) -> ControlCommit:
    return _written(act, heads, 100 + place, START_MS + 100_000 + 1_000 * place)


def _written(act: int, heads: list[ControlCommit], seq: int, time_ms: int) -> ControlCommit:
    who, number, operations = ALPHABET[act]
    ids = sorted(head.id for head in heads) or [start()[-1].id]
    return commit_of(device_of(who, number), seq, clock.at(time_ms), ids, operations)


def _next(act: int, heads: list[ControlCommit], before: ControlCommit | None) -> ControlCommit:
    """The same in every history in which the same is known: its time follows from what it names and its device's last."""
    known = [*heads, before] if before else heads
    time_ms = max((one.time >> 16 for one in known), default=START_MS + 100_000)
    return _written(act, heads, before.seq + 1 if before else 100, time_ms + 1_000 + act)


def histories(
    count: int, alphabet: Acts = ALL, keep: float = 1, seed: int = 0
) -> Iterator[list[ControlCommit]]:
    """All of them, or that part, chosen by the seed. Concurrent neighbours come in one order only."""
    choose = random.Random(seed)
    for shape in shapes(count):
        for acts in product(alphabet, repeat=count):
            independent = any(
                acts[i] > acts[i + 1] and i not in shape[i + 1] and shape[i] == shape[i + 1]
                for i in range(count - 1)
            )
            if not independent and (keep >= 1 or choose.random() < keep):
                yield history(acts, shape)


class Grown(NamedTuple):
    """A history that may go on."""

    acts: Acts
    made: list[ControlCommit]
    pasts: list[int]
    names: list[bytes]
    graph: Graph


def rightful(count: int, alphabet: Acts, *, timed: bool = False) -> list[list[ControlCommit]]:
    """Every history of valid acts, up to symmetry: without one of its last commits it is one of those a size smaller."""
    found = [Grown((), [], [], [], started())]
    for place in range(count):
        longer = []
        seen: set[tuple[bytes, ...]] = set()
        for acts, made, pasts, names, graph in found:
            for heads, past in antichains(pasts):
                for act in alphabet:
                    last = _last(act, acts)
                    name = _name(act, [names[head] for head in heads], b"" if last is None else names[last])
                    whole = (*names, name) if timed else tuple(sorted([*names, name]))
                    if whole in seen:
                        continue
                    named = [made[head] for head in heads]
                    before = None if last is None else made[last]
                    commit = _commit(act, named, place) if timed else _next(act, named, before)
                    if not graph._judge(commit).record.rule:
                        seen.add(whole)
                        grown = graph if place + 1 == count else fork(graph, commit)
                        longer.append(
                            Grown((*acts, act), [*made, commit], [*pasts, past], [*names, name], grown)
                        )
        found = longer
    return [one.made for one in found]


def names_of(acts: Acts, shape: Shape) -> tuple[bytes, ...]:
    """The history by its names: the same for all that are the same up to symmetry."""
    names: list[bytes] = []
    for place, heads in enumerate(shape):
        last = _last(acts[place], acts[:place])
        names.append(
            _name(acts[place], [names[head] for head in heads], b"" if last is None else names[last])
        )
    return tuple(sorted(names))


def _last(act: int, acts: Acts) -> int | None:
    """The place of the last of these by the same device."""
    by = ALPHABET[act][:2]
    return max((place for place, one in enumerate(acts) if ALPHABET[one][:2] == by), default=None)


def _name(act: int, heads: list[bytes], before: bytes) -> bytes:
    """What one does and knows, and after which of its device's own."""
    return sha256(repr((act, sorted(heads), before)).encode()).digest()


# Orders of arrival


def fork(graph: Graph, *commits: ControlCommit) -> Graph:
    """A graph that goes on by itself: the same records in lists of its own, and no answers remembered."""
    other = copy.copy(graph)
    other._index = Index(**{one.name: _copied(getattr(graph._index, one.name)) for one in fields(Index)})
    for name in ("_records", "_heads", "_trunk", "_settled", "_forks"):
        setattr(other, name, _copied(getattr(graph, name)))
    other._state, other._views, other._rights, other._frontiers = None, OrderedDict(), {}, {}
    for commit in commits:
        other.add(commit)
    return other


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return set(value) if isinstance(value, set) else value


def arrive(commits: list[ControlCommit]) -> Graph:
    """What they come to, which is the same in every order in which no commit comes before one that it names."""
    [(_, graph)] = arrive_together([commits])
    assert summary(graph.state) == summary(resolve(CHANNEL, [*reversed(commits), *start()]))
    return graph


Left = tuple[ControlCommit, ...]


def arrive_together(
    found: Sequence[list[ControlCommit]], tell: Callable[[Graph], object] = lambda graph: summary(graph.state)
) -> Iterator[tuple[list[ControlCommit], Graph]]:
    """Each history and what it comes to, once every order of arrival of all of them was gone through and came to that.

    What begins alike is gone through once. A graph is given as soon as there is one, so only a few are held.

    tell    what is to be the same
    """
    known = frozenset(commit.id for commit in start())
    whole = [(number, tuple(commits)) for number, commits in enumerate(found)]
    expected: dict[int, object] = {}
    for number, graph in _ends(fork(started()), known, whole):
        told = tell(graph)
        if number not in expected:
            expected[number] = told
            yield found[number], graph
        assert told == expected[number], found[number]
    assert len(expected) == len(found)


def _ends(graph: Graph, known: frozenset[bytes], left: list[tuple[int, Left]]) -> Iterator[tuple[int, Graph]]:
    """One graph for each order of each history, of which these are the commits that did not come yet.

    Answers asked for on the way must not change later ones.
    """
    nexts: dict[bytes, tuple[ControlCommit, list[tuple[int, Left]]]] = {}
    for number, commits in left:
        if not commits:
            yield number, graph
        for commit in commits:
            if known.issuperset(commit.heads):
                rest = tuple(one for one in commits if one is not commit)
                nexts.setdefault(commit.id, (commit, []))[1].append((number, rest))
    if nexts:
        graph.state.members  # noqa: B018
    for commit, rests in nexts.values():
        yield from _ends(fork(graph, commit), known | {commit.id}, rests)


def rights(graph: Graph) -> object:
    """What everybody may write who names any of the commits, or all, and what would be refused of them now."""
    found: list[object] = [summary(graph.state)]
    for name in map(device_of, ("Alice", "Bob", "Carol", "Dave", "Erin")):
        for heads in [(id,) for id in graph.ids] + [graph.heads]:
            try:
                may = graph.authority(id_of(name), prefix_of(name), 200, heads)
                found.append((name, sorted(heads), may.role, may.may("post"), may.may("pin")))
            except UnauthorisedError as error:
                found.append((name, sorted(heads), error.rule))
    return sorted(found[1:], key=repr), found[0]


def summary(state: Membership) -> object:
    """All that a state says, comparable."""
    verdicts = [(one.id, one.standing, one.rule, one.by, one.role, one.contested) for one in state.story]
    people = {
        who: (m.role, m.since, m.admitted, m.key, tuple(m.devices.items()))
        for who, m in state.members.items()
    }
    return verdicts, people, state.heads, state.banned, state.acting_owner, tuple(sorted(state.invites))
