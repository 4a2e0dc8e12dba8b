"""Larger histories, with liars in them: any order of arrival, one state, and the invariants of the small scopes.

People know what they happen to know, write under any device, from any past, again in a place they used before, and
do whatever the forms allow. Hypothesis looks for the smallest history that two replicas disagree about.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.core import clock
from quire.core.control import (
    HISTORY_JOINED,
    ControlOperation,
    Decline,
    Policy,
    Report,
    RevokeDevice,
    Role,
    SetRole,
    Unban,
    Uninvite,
)
from quire.core.membership import ControlCommit, Graph, resolve
from tests.core.membership.histories import summary
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

PEOPLE = ("Alice", "Bob", "Carol", "Dave", "Erin", "Frank")
DOORS = ("one", "two")
EPOCHS = ("1", "2", "3", "4", "5")


def any_operation(choose: random.Random) -> list[ControlOperation]:
    """What someone might write, right or wrong."""
    who, door, name = choose.choice(PEOPLE), choose.choice(DOORS), choose.choice(EPOCHS)
    role = choose.choice([role for role in Role if role])
    number, issuer = choose.randrange(1, 4), choose.randrange(1, 4)
    fresh = device(who, 2, created_ms=5_000)
    key: list[ControlOperation] = [rotate(name), seal(name, device_of(choose.choice(PEOPLE)))]
    ways: list[list[ControlOperation]] = [
        [admit(who, role)],
        [admit(who, role, history=HISTORY_JOINED, devices=(fresh,)), *key],
        [invited(who, door, Role.MEMBER)],
        [invited(who, door, Role.MEMBER)],
        [asking(who, door)],
        [invite(door, role, choose.randrange(3), approval=choose.random() < 0.3)],
        [Uninvite(id_of(door))],
        [set_role(who, role)],
        [set_role(who, role)],
        [remove(who, ban=choose.random() < 0.2), *key],
        [remove(who), *key],
        [Unban(id_of(who))],
        [Decline(id_of(who))],
        [add_device(who, number, device_of(who, issuer))],
        [add_device(who, number, created_ms=choose.randrange(1, 4) * 1_000)],
        [revoke(who, number), *key],
        [Policy(choose.choice(["invite", "post"]), choose.choice([Role.MEMBER, Role.ADMIN]))],
        key,
        [Report(epoch(name))],
    ]
    return choose.choice(ways)


@cache
def history(seed: int, count: int) -> list[ControlCommit]:
    """A start with three who may do much, then commits by anyone, knowing anything: most of them rightful."""
    choose = random.Random(seed)
    world = World("Alice", "group", rotate("0"))
    world.write(
        "Alice",
        admit("Bob", Role.ADMIN),
        admit("Carol", Role.ADMIN, devices=(device("Carol"), device("Carol", 2))),
    )
    world.write("Bob", admit("Dave", Role.MODERATOR), invite("one", uses=2), invite("two", Role.MODERATOR))
    for place in range(count):
        latest = len(world.commits) - 1
        known = {max(2, latest - choose.randrange(4)) for _ in range(choose.choice([1, 1, 2]))}
        heads = sorted(world.commits[one].id for one in known)
        if choose.random() < 0.2:
            heads = list(world.graph.heads)
        seq = 10 if choose.random() < 0.05 else place + 10  # sometimes where it wrote before
        when = START_MS + 10_000 + 1_000 * (0 if choose.random() < 0.05 else place)
        commit = None
        for _ in range(choose.choice([1, 30, 30, 30, 30])):
            who = device_of(choose.choice(PEOPLE), choose.choice([1, 1, 1, 2, 3]))
            commit = commit_of(who, seq, clock.at(when), heads, any_operation(choose))
            if not world.graph._judge(commit).record.rule:
                break
        assert commit is not None
        world.commits.append(commit)
        world.graph.add(commit)
    return world.commits


histories = st.builds(history, st.integers(0, 1 << 30), st.integers(2, 14))


def test_histories_are_not_all_of_a_kind() -> None:
    """Most of what is written is rightful, and most that can befall it does."""
    found = Counter(
        verdict.rule or ("contested" if verdict.contested else "")
        for seed in range(60)
        for verdict in resolve(CHANNEL, history(seed, 14)).story[3:]
    )
    assert found[""] > sum(found.values()) / 2
    assert {
        "contested", "forked", "grant_void", "removed_before", "role_lowered_before", "invite_withdrawn",
    } <= set(found)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.integers(0, 1 << 30))
def test_any_order_gives_one_state(commits: list[ControlCommit], seed: int) -> None:
    shuffled = random.Random(seed)
    whole = resolve(CHANNEL, commits)
    expected = summary(whole)
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
                summary(graph.state)  # answers asked for on the way must not change later ones
                graph.state.epochs.change_needed(START_MS)
        assert summary(graph.state) == expected
        assert sorted((info.epoch, info.commit) for info in graph.state.epochs.candidates) == sorted(keys)
        assert graph.state.epochs.current == whole.epochs.current
        assert graph.state.policies == whole.policies
        assert graph.state.asks == whole.asks
        assert graph.state.invites == whole.invites


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
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
@given(histories)
def test_a_void_commit_that_nobody_knows_changes_nothing(commits: list[ControlCommit]) -> None:
    state = resolve(CHANNEL, commits)
    standing = {one.id: one.standing for one in state.story}
    used = {one.id for one in state.story if one.rule == "forked"}
    for commit in commits:
        revokes = any(
            isinstance(one, RevokeDevice) for one in commit.operations
        )  # that is settled apart (4.2)
        if commit.id in state.heads and not standing[commit.id] and commit.id not in used and not revokes:
            rest = [one for one in commits if one is not commit]
            places = [(one.prefix, one.seq) for one in rest]
            if (commit.prefix, commit.seq) in places:
                continue  # it is half of a fork: that is an effect
            without = resolve(CHANNEL, rest)
            assert {one.id: one.standing for one in without.story} == {
                id: stands for id, stands in standing.items() if id != commit.id
            }
            assert {who: (m.role, m.key, tuple(m.devices)) for who, m in without.members.items()} == {
                who: (m.role, m.key, tuple(m.devices)) for who, m in state.members.items()
            }
