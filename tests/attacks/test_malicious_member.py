"""A member who wants to harm the others from inside: the key is theirs, and what they write is signed."""

from __future__ import annotations

import os
import random
import time

import pytest

from quire.core import clock, commit
from quire.core.bundle_file import Kind, Record
from quire.core.commit import Commit, decode_commit, decode_head, encode_commit
from quire.core.control import AddDevice, Admit, Policy, Role, Rotate, Seal, SealedKey, SetRole
from quire.core.crypto.epochs import epoch_id
from quire.core.ids import ChannelId
from quire.core.limits import AHEAD_MS_MAX
from quire.core.operation import Post
from quire.core.welcome import seal_welcome
from quire.storage import log
from quire.store import parking
from quire.store.wallclock import now_ms
from quire.testing.authors import Author, Pen
from quire.testing.people import Person, carry, meet, refuses
from tests.attacks.attacker import Hostile, rules, seen_afterwards, unmoved
from tests.people.conftest import Make, agree, sound
from tests.sync.links import sync

Trio = tuple[Person, Person, Person, ChannelId]


def unsigned(encoded: bytes) -> bytes:
    """The same commit with a signature that is none."""
    received, _ = decode_commit(encoded)
    return encode_commit(Commit(received.head, bytes(64), received.operations))


def test_junk_sealed_to_one_device_is_reported_each_time_and_mended(trio: Trio) -> None:
    """Two false keys for Ada's device only, the second together with the first once more: both are asked for again."""
    ada, bob, carol, team = trio
    hostile = Hostile(bob)
    pen = hostile.pen(team)
    junk = (SealedKey(ada.store.device, bytes(1168)),)
    first, second = os.urandom(32), os.urandom(32)
    ada.take([hostile.sealed(team, pen.control(Rotate(first), Seal(first, junk)))])
    again = pen.control(Rotate(second), Seal(first, junk), Seal(second, junk))
    ada.take([hostile.sealed(team, again)])
    epochs = ada.graph(team).state.epochs
    assert ada.store.device in epochs.reported(first)
    assert ada.store.device in epochs.reported(second)
    meet(carol, ada)
    carol.say(team, "under a key that all of us have")
    meet(carol, ada)
    assert seen_afterwards(ada, team)["bodies"] == ["under a key that all of us have"]
    current = ada.graph(team).state.epochs.current
    assert current is not None
    assert current.epoch in ada.keys(team)


def test_who_was_sealed_junk_says_so_by_a_direct_link_to_who_has_the_key(trio: Trio) -> None:
    """World 148 of those that sync: what Carol says about the key, and her new one, she could seal only under that key.
    Ada has it, and so would come to the new one by what is sealed under it; but Carol cannot seal that, and welcomes her."""
    ada, bob, carol, team = trio
    hostile = Hostile(bob)
    pen = hostile.pen(team)
    key, made = pen.new_key(Author.of(ada.store))
    junk = Seal(epoch_id(key, team), (SealedKey(carol.store.device, bytes(1168)),))
    rotation = hostile.sealed(team, pen.control(*made, junk))
    for one in (ada, carol):
        one.take([rotation])
    carol.say(team, "under a key of mine")
    sync(ada, carol)
    assert ada.reads(team) == ["under a key of mine"]
    agree(team, ada, carol)


def test_a_signature_made_junk_inside_a_run_makes_no_two_opinions(trio: Trio) -> None:
    """The run's last signature vouches for all. Whoever reads, in whatever order, agrees; verify holds; and a fork there
    is proved by what follows."""
    ada, bob, carol, team = trio
    hostile = Hostile(bob)
    pen = hostile.pen(team)
    run = [pen.write(Post("1"))]
    twin = pen.fork()
    run += [unsigned(pen.write(Post("2"))), unsigned(pen.write(Post("3"))), pen.write(Post("4"))]
    other = [twin.write(Post("two")), twin.write(Post("three"))]
    with unmoved(ada):
        assert rules(ada.take([hostile.sealed(team, *run[1:3])])) == ["commit_signature"] * 2
    assert rules(ada.take([hostile.sealed(team, *run)])) == []
    assert rules(ada.take([hostile.sealed(team, *other)])) == []
    carol.take([hostile.sealed(team, *other)])
    carol.take([hostile.sealed(team, run[3])])
    carol.take([hostile.sealed(team, run[2])])  # the one after it is here now
    assert rules(carol.take([hostile.sealed(team, *run)])) == []
    meet(ada, carol)
    agree(team, ada, carol)
    assert sorted(seen_afterwards(carol, team)["bodies"]) == ["1", "2", "3", "4", "three", "two"]
    [fork] = carol.chat.forks(team)
    assert sorted(map(len, fork.heads)) == [1, 3]  # one side is signed at once, the other by its third


def test_a_fork_reaches_who_has_the_longer_side_of_it_as_the_log(trio: Trio) -> None:
    """By what each says it has, the shorter side alone looks like the beginning of the longer one."""
    ada, bob, carol, team = trio
    hostile = Hostile(bob)
    pen = hostile.pen(team)
    common = pen.write(Post("common"))
    shorter = min((pen.fork().write(Post("there")) for _ in range(16)), key=_id)
    twins = [(twin.write(Post("here")), twin) for twin in [pen.fork() for _ in range(16)]]
    first, twin = max(twins, key=lambda one: _id(one[0]))
    longer = [first, twin.write(Post("here again"))]
    assert _id(shorter) < _id(longer[0])  # it is the log for who knows both
    assert ada.take([hostile.sealed(team, common, *longer, shorter)]).forked == [team]
    carol.take([hostile.sealed(team, common, *longer)])
    sync(ada, carol)
    agree(team, ada, carol)
    assert seen_afterwards(carol, team)["bodies"].count("there") == 1
    assert len(carol.chat.forks(team)) == 1


def test_a_role_whose_giver_forked_their_log_mutes_nobody(trio: Trio) -> None:
    """Bob makes Carol an admin and forks his log there, so that it never counts. All that she writes from then on knows of
    that, and counts for what she is without it; what she is not is refused before it is written."""
    ada, bob, carol, team = trio
    ada.chat.set_role(team, bob.identity, "admin")
    meet(*trio[:3])
    hostile = Hostile(bob)
    pen = hostile.pen(team)
    twin = pen.fork()
    forked = [pen.control(SetRole(carol.identity, Role.ADMIN)), twin.write(Post("in the same place"))]
    for one in (ada, carol):
        assert one.take([hostile.sealed(team, *forked)]).forked == [team]
    assert carol.role(team) == "member"
    carol.say(team, "still here")
    carol.chat.rotate_key(team)
    carol.say(team, "under a key of mine")
    assert refuses(lambda: carol.chat.set_policy(team, "post", Role.MODERATOR)) == "grant_void"
    meet(ada, carol)
    agree(team, ada, carol)
    assert {"still here", "under a key of mine"} <= set(seen_afterwards(ada, team)["bodies"])
    assert all(one.standing for one in ada.graph(team).story() if one.identity == carol.identity)
    ada.chat.set_role(team, carol.identity, "moderator")
    meet(ada, carol)
    carol.chat.set_topic(team, "a moderator's")
    meet(ada, carol)
    agree(team, ada, carol)
    assert ada.chat.get_channel(team).topic == "a moderator's"


def _id(encoded: bytes) -> bytes:
    return commit.commit_id(commit.peek_commit(encoded)[0].head)


def test_every_branch_of_a_log_that_forks_twice_is_shown(trio: Trio) -> None:
    """The second fork is inside a branch: the log itself has nothing in its place."""
    ada, bob, _, team = trio
    hostile = Hostile(bob)
    pen = hostile.pen(team)
    commits = [pen.write(Post("common"))]
    twin = pen.fork()
    commits += [pen.write(Post("here")), twin.write(Post("there")), twin.write(Post("there more"))]
    third = twin.fork()
    commits += [twin.write(Post("x")), third.write(Post("y"))]
    assert ada.take([hostile.sealed(team, *commits)]).forked == [team]
    shown = ada.chat.forks(team)
    branches = [
        row for row in log.logs_of(ada.store.database.reader, ada.store.channel_row(team).n) if row.branch
    ]
    assert len(shown) == len(branches) == 2
    assert {fork.seq for fork in shown} == {2, 4}
    assert {fork.author for fork in shown} == {"bob"}
    sound(ada)


def test_a_clock_pushed_to_the_limit_stops_nobody(trio: Trio) -> None:
    """As far ahead as is believed, the counter full; what is further is held and shows nowhere."""
    ada, bob, carol, team = trio
    hostile = Hostile(bob)
    pen = hostile.pen(team)
    pen.time = clock.at(now_ms() + AHEAD_MS_MAX - 1_000, 0xFFFE)
    pushed = [pen.write(Post("soon")), pen.write(Post("sooner"))]
    pen.time = clock.at((1 << 43) - 1, 0xFFF0)
    pushed.append(pen.write(Post("year 2248")))
    ada.take([hostile.sealed(team, *pushed)])
    for n in range(3):
        ada.say(team, f"now {n}")
    ada.chat.rotate_key(team)
    assert seen_afterwards(ada, team)["bodies"] == ["soon", "sooner", "now 0", "now 1", "now 2"]
    assert ada.store.channel_row(team).clock < clock.at(now_ms() + AHEAD_MS_MAX)
    carry(ada, carol)
    assert carol.reads(team)[-1] == "now 2"


def test_a_past_that_nobody_has_waits_and_is_bounded(trio: Trio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PARKED_PER_DEVICE_MAX", 5)
    ada, bob, _, team = trio
    hostile = Hostile(bob)
    chance = random.Random(1)
    invented = [tuple(sorted(chance.randbytes(32) for _ in range(64))) for _ in range(8)]
    commits = [hostile.pen(team, heads).write(Post("x")) for heads in invented]
    report = ada.take([hostile.sealed(team, *commits)])
    assert (report.parked, rules(report)) == (5, ["too_many_waiting"] * 3)
    with unmoved(ada):
        heads = tuple(sorted(chance.randbytes(32) for _ in range(65)))
        assert rules(ada.take([hostile.sealed(team, hostile.pen(team, heads).write(Post("x")))])) == [
            "too_many_control_heads"
        ]
    assert seen_afterwards(ada, team)["bodies"] == []


@pytest.mark.slow
@pytest.mark.bounded
def test_nobody_adds_a_device_of_somebody_else_to_themselves(trio: Trio) -> None:
    """Ada's certificate in Bob's AddDevice, in an Admit as if she were new, and beside one of his own."""
    ada, bob, carol, team = trio
    hostile, hers = Hostile(bob), Author.of(ada.store)
    stranger = Author(seed=31)
    for operation, rule in (
        (AddDevice(hers.entry), "device_foreign"),
        (AddDevice(stranger.entry), "device_foreign"),
        (Admit((hers.entry,), Role.MEMBER, 0), "role_too_low"),
        (Admit((stranger.entry, hers.entry), Role.MEMBER, 0), "certificate_identity"),
    ):
        members = carol.roles(team)
        pen = hostile.pen(team)
        carol.take([hostile.sealed(team, pen.control(operation))])
        assert carol.graph(team).verdict(pen.previous).rule == rule
        assert carol.roles(team) == members
        assert carol.graph(team).state.owner_of(ada.store.device) == ada.identity
    sound(carol)


@pytest.mark.slow
@pytest.mark.bounded
def test_a_member_cannot_speak_or_act_as_another_by_heads_of_their_choice(trio: Trio) -> None:
    """To have been an admin once is no help: what was taken is taken, at old heads too."""
    ada, bob, carol, team = trio
    ada.chat.set_role(team, "bob", "admin")
    meet(ada, bob, carol)
    hostile = Hostile(bob)
    old = bob.store.channel_row(team).control_heads
    ada.chat.set_role(team, "bob", "member")
    meet(ada, bob, carol)
    coup = hostile.pen(team, old).remove(Author.of(carol.store))
    for victim in (ada, carol):
        victim.take([hostile.sealed(team, coup)])
        assert victim.role(team, carol) == "member"
    meet(ada, carol)
    agree(team, ada, carol)


# Time bombs


def welcomed(ada: Person, size: int, *, wide: bool) -> tuple[float, int]:
    """A stranger's channel of so many control commits that Ada is admitted to: CPU seconds, and what was new."""
    eve = Author(seed=5)
    channel = eve.channel("deep")
    pen = channel.pen
    commits = [channel.founding, pen.admit(Author.of(ada.store))]
    for n in range(size):
        one = Pen(eve, channel.id, pen.control_heads, time=pen.time, pasts=pen.pasts) if wide else pen
        commits.append(one.write(Policy("rotation", 3_600_000 + n)))
        one.control_heads = (one.previous,)
    data = seal_welcome(channel.id, commits, [Author.of(ada.store).sealing], os.urandom)
    begun = time.process_time()
    report = ada.take([Record(Kind.WELCOME, data)])
    spent = time.process_time() - begun
    assert rules(report) == []
    ada.say(channel.id, "and one can write in it")
    return spent, report.new


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("wide", [False, True])
def test_a_control_log_costs_its_length_and_no_more(people: Make, *, wide: bool) -> None:
    """Twice as deep, or twice as wide, is about twice the work: by the square it would be four times."""
    ada, bob = people("ada", "bob")
    little, _ = welcomed(ada, 150, wide=wide)
    much, new = welcomed(bob, 600, wide=wide)
    assert new == 602
    assert much < 9 * little + 0.3
    sound(ada)


@pytest.mark.slow
def test_a_control_log_of_10_000_is_read_in_seconds(people: Make) -> None:
    [ada] = people("ada")
    spent, new = welcomed(ada, 10_000, wide=False)
    assert new == 10_002
    assert spent < 30  # by the square it was minutes, inside one transaction


@pytest.mark.slow
def test_a_thousand_forks_of_one_place_are_kept_shown_and_verified_in_seconds(people: Make) -> None:
    [ada] = people("ada")
    eve = Author(seed=5)
    channel = eve.channel()
    ada.store.ingest([channel.founding, channel.pen.admit(Author.of(ada.store))])
    twin = eve.pen(channel)
    twin.write(Post("not given"))
    begun = time.process_time()
    assert ada.store.ingest([twin.fork().write(Post(str(n))) for n in range(1_000)]).new == 1_000
    assert len(ada.chat.forks(channel.id)) == 999
    assert ada.store.verify().ok
    assert time.process_time() - begun < 30
    ada.say(channel.id, "still here")


@pytest.mark.slow
@pytest.mark.bounded
def test_what_a_removed_admin_wrote_beyond_the_cut_is_weighed_at_once(people: Make) -> None:
    """Each such commit asked for the last control commit of its log that the removal knew, by looking at all of them."""
    [ada] = people("ada")

    def spent(size: int, seed: int) -> float:
        eve, bob = Author(seed=seed), Author(seed=seed + 1)
        channel = eve.channel()
        pen, theirs = channel.pen, bob.pen(channel)
        commits = [channel.founding, pen.admit(Author.of(ada.store)), pen.admit(bob, Role.ADMIN)]
        theirs.see(pen)
        commits += [theirs.control(Policy("rotation", 3_600_000 + n)) for n in range(size)]
        pen.see(theirs)
        ada.store.ingest([*commits, pen.remove(bob)])
        late = [theirs.write(Post("x")) for _ in range(size)]
        begun = time.process_time()
        assert ada.store.ingest(late).new == size
        return time.process_time() - begun

    little, much = spent(100, 40), spent(800, 50)
    assert much < 16 * little + 0.2


@pytest.mark.slow
@pytest.mark.bounded
def test_seventy_rightful_acts_at_once_push_out_nothing_that_a_senior_did(trio: Trio) -> None:
    """All stand, and are newer than the removal of their author, which the others' commits must go on naming."""
    ada, bob, carol, team = trio
    hostile = Hostile(bob)
    heads = bob.store.channel_row(team).control_heads
    pens = [hostile.pen(team, heads) for _ in range(70)]
    flood = [pen.control(Rotate(os.urandom(32))) for pen in pens]
    ada.chat.remove_member(team, "bob")
    ada.say(team, "first")
    for victim in (ada, carol):
        victim.take([hostile.sealed(team, *flood)])
    carry(ada, carol)
    ada.say(team, "second")
    carol.say(team, "third")
    meet(ada, carol)
    for victim in (ada, carol):
        assert victim.role(team, bob) == "none"
    assert seen_afterwards(carol, team)["bodies"] == ["first", "second", "third"]
    held = set(bob.keys(team))
    for victim in (ada, carol):
        db = victim.store.database.reader
        for row in log.logs_of(db, victim.store.channel_row(team).n):
            for _, head, _ in log.commits(db, row.n):
                named = decode_head(head).control_heads
                if row.device != bob.store.device and decode_head(head).time > pens[0].time:
                    under = victim.graph(team).epoch_at(named)
                    assert under is not None
                    assert under.epoch not in held or heads == named
    agree(team, ada, carol)
