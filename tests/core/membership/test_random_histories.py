"""Larger histories, with liars in them: any order of arrival, one state, and the invariants of the small scopes.

People know what they happen to know, write under any device, from any past, again in a place they used before, and
do whatever the forms allow. Hypothesis looks for the smallest history that two replicas disagree about.
"""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.core import clock
from quire.core.control import (
    HISTORY_JOINED,
    ControlOperation,
    Decline,
    Policy,
    Report,
    Role,
    SetRole,
    Unban,
    Uninvite,
)
from quire.core.membership import ControlCommit, Graph, resolve
from tests.core.membership.people import (
    CHANNEL,
    START_MS,
    World,
    add_device,
    admit,
    asking,
    commit_of,
    device,
    device_of,
    epoch,
    id_of,
    invite,
    invited,
    remove,
    revoke,
    rotate,
    seal,
    set_role,
)
from tests.core.membership.test_small_scopes import summary

PEOPLE = ("Alice", "Bob", "Carol", "Dave", "Erin")
people = st.sampled_from(PEOPLE)
roles = st.sampled_from([role for role in Role if role])
numbers = st.integers(1, 3)
doors = st.sampled_from(["one", "two"])
names = st.sampled_from(["1", "2", "3"])
operations: st.SearchStrategy[ControlOperation] = st.one_of(
    st.builds(lambda who, role: admit(who, role), people, roles),
    st.builds(
        lambda who, role: admit(who, role, history=HISTORY_JOINED, devices=(device(who, 2, created_ms=5_000),)),
        people, roles,
    ),
    st.builds(invited, people, doors, roles),
    st.builds(asking, people, doors),
    st.builds(invite, doors, roles, st.integers(0, 2), approval=st.booleans()),
    st.builds(lambda door: Uninvite(id_of(door)), doors),
    st.builds(set_role, people, roles),
    st.builds(lambda who, ban: remove(who, ban=ban), people, st.booleans()),
    st.builds(lambda who: Unban(id_of(who)), people),
    st.builds(lambda who: Decline(id_of(who)), people),
    st.builds(lambda who, number, issuer: add_device(who, number, device_of(who, issuer)), people, numbers, numbers),
    st.builds(lambda who, number, ms: add_device(who, number, created_ms=ms), people, numbers, st.integers(1, 3)),
    st.builds(revoke, people, numbers),
    st.builds(lambda role: Policy("invite", role), st.integers(Role.MEMBER, Role.OWNER)),
    st.builds(rotate, names),
    st.builds(lambda name, who: seal(name, device_of(who)), names, people),
    st.builds(lambda name: Report(epoch(name)), names),
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[ControlCommit]:
    """A start with three who may do much, then up to 14 commits by anyone, knowing anything."""
    world = World("Alice")
    world.write(
        "Alice",
        admit("Bob", Role.ADMIN),
        admit("Carol", Role.ADMIN, devices=(device("Carol"), device("Carol", 2))),
    )
    commits = list(world.commits)
    for place in range(draw(st.integers(2, 14))):
        latest = len(commits) - 1
        known = draw(st.sets(st.integers(max(1, latest - 5), latest), min_size=1, max_size=3))
        who = device_of(draw(people), draw(st.sampled_from([1, 1, 1, 2, 3])))
        seq = place + 10 if draw(st.integers(0, 9)) else 10  # sometimes where it wrote before
        when = clock.at(START_MS + 10_000 + 1_000 * (place if draw(st.integers(0, 9)) else 0))
        heads = sorted(commits[one].id for one in known)
        commits.append(commit_of(who, seq, when, heads, draw(st.lists(operations, min_size=1, max_size=2))))
    return commits


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.integers(0, 1 << 30))
def test_any_order_gives_one_state(commits: list[ControlCommit], seed: int) -> None:
    shuffled = random.Random(seed)
    whole = resolve(CHANNEL, commits)
    expected = summary(whole, commits)
    keys = [(info.epoch, info.commit) for info in whole.epochs.candidates]
    for _ in range(3):
        graph = Graph(CHANNEL)
        waiting = list(commits)
        while waiting:
            ready = [one for one in waiting if all(head in graph for head in one.heads)]
            commit = shuffled.choice(ready)
            graph.add(commit)
            waiting.remove(commit)
            if shuffled.random() < 0.5:
                summary(graph.state, commits)  # answers asked for on the way must not change later ones
                graph.state.epochs.change_needed(START_MS)
        assert summary(graph.state, commits) == expected
        assert sorted((info.epoch, info.commit) for info in graph.state.epochs.candidates) == sorted(keys)
        assert graph.state.epochs.current == whole.epochs.current
        assert graph.state.policies == whole.policies
        assert graph.state.asks == whole.asks
        assert graph.state.invites == whole.invites


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_the_creator_is_never_out_but_by_their_own_devices(commits: list[ControlCommit]) -> None:
    state = resolve(CHANNEL, commits)
    by_alice = {one.id for one in state.story if one.standing and one.identity == id_of("Alice")}
    own = [
        operation
        for commit in commits
        if commit.id in by_alice
        for operation in commit.operations
        if operation in (remove("Alice"), remove("Alice", ban=True)) or isinstance(operation, SetRole)
    ]
    if not own:
        assert state.members[id_of("Alice")].role is Role.OWNER


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_a_void_commit_that_nobody_knows_changes_nothing(commits: list[ControlCommit]) -> None:
    state = resolve(CHANNEL, commits)
    standing = {one.id: one.standing for one in state.story}
    used = {one.id for one in state.story if one.rule == "forked"}
    for commit in commits:
        if commit.id in state.heads and not standing[commit.id] and commit.id not in used:
            rest = [one for one in commits if one is not commit]
            places = [(one.prefix, one.seq) for one in rest]
            if (commit.prefix, commit.seq) in places:
                continue  # it is half of a fork: that is an effect
            without = resolve(CHANNEL, rest)
            assert {one.id: one.standing for one in without.story} == {
                id: stands for id, stands in standing.items() if id != commit.id
            }
            assert without.members == state.members
