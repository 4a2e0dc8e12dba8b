"""Somebody who was put out. They hold every key until then, their device, their 24 words, links they saw, and friends who
have not heard of it yet."""

from __future__ import annotations

import pytest

from quire.core import clock
from quire.core.bundle import open_bundle, tag_of
from quire.core.bundle_file import Kind
from quire.core.control import AddDevice, Device, Policy, Report
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import SigningKey, certify, consent_to, identity_key
from quire.core.crypto.sealing import public_of
from quire.core.ids import ChannelId, DeviceId
from quire.core.operation import Delete, Post
from quire.errors import MalformedError
from quire.store.wallclock import now_ms
from quire.testing.authors import Author
from quire.testing.people import Person, carry, meet
from tests.attacks.attacker import Hostile, rules, seen_afterwards, unmoved
from tests.people.conftest import Make, agree

Trio = tuple[Person, Person, Person, ChannelId]


def put_out(trio: Trio) -> Hostile:
    """Bob, a moderator with a past, is removed by Ada; Carol knows. Bob's own vault has not heard of it."""
    ada, bob, carol, team = trio
    ada.chat.set_role(team, "bob", "moderator")
    bob.say(team, "when I was here")
    meet(ada, bob, carol)
    ada.chat.remove_member(team, "bob")
    carry(ada, carol)
    return Hostile(bob)


def another_device(bob: Person) -> Author:
    """A machine that nobody has heard of, certified by the identity itself: the 24 words are theirs to keep."""
    assert bob.store.recovery_phrase is not None
    device, seed = SigningKey(b"n" * 32), b"s" * 32
    sealing, now = public_of(seed), now_ms()
    certificate = certify(
        identity_key(bob.store.recovery_phrase), bob.identity, DeviceId(device.public), sealing, now,
        consent_to(device, bob.identity, sealing, now),
    )  # fmt: skip
    return Author(7, device=device, sealing_seed=seed, certificate=certificate.encode())


def test_none_of_their_keys_opens_what_is_written_afterwards(trio: Trio) -> None:
    ada, bob, carol, team = trio
    bob = put_out(trio).person
    ada.say(team, "without bob")
    carol.say(team, "nor by me")
    meet(ada, carol)
    held = {channel_key: EpochKey(channel_key) for channel_key in bob.keys(team).values()}
    opened = b""
    for record in [*ada.records(), *carol.records()]:
        for key in held.values() if record.kind == Kind.BUNDLE else ():
            try:
                opened += b"".join(open_bundle(record.data, key, team))
            except MalformedError:
                assert tag_of(record.data)
    assert b"when I was here" in opened  # the attack works as far as it should
    assert b"without bob" not in opened
    assert b"nor by me" not in opened
    bob.take(ada.give())
    assert seen_afterwards(bob, team)["bodies"] == ["when I was here"]


def test_a_new_device_of_theirs_does_not_bring_them_back(trio: Trio) -> None:
    """It adds itself, as whoever recovers does, at heads from before the removal; it posts, and asks for the key."""
    ada, bob, carol, team = trio
    hostile = put_out(trio)
    hostile.author = another_device(bob)
    pen = hostile.pen(team)
    adding = pen.control(AddDevice(Device(hostile.author.entry.certificate, hostile.author.sealing)))
    said = pen.write(Post("it is me, from a new phone"))
    asking = pen.control(Report(bob.graph(team).state.epochs.every()[0].epoch))
    for victim in (ada, carol):
        victim.take([hostile.sealed(team, adding, said, asking)])
        assert victim.role(team, bob) == "none"
        assert victim.graph(team).state.device(hostile.author.device.public) is None
    ada.say(team, "still without you")
    meet(ada, carol)
    current = ada.graph(team).state.epochs.current
    assert current is not None
    assert hostile.author.device.public not in ada.graph(team).state.epochs.recipients(current.epoch)
    assert seen_afterwards(carol, team)["bodies"] == ["when I was here", "still without you"]
    agree(team, ada, carol)


@pytest.mark.slow
@pytest.mark.bounded
def test_the_link_they_came_by_does_not_let_them_in_again(trio: Trio) -> None:
    ada, bob, carol, team = trio
    link = ada.chat.create_invite(team, uses=0)
    meet(ada, bob, carol)
    put_out(trio)
    ada.chat.withdraw_invite(team, link.secret.key(team).public)
    bob.chat.leave_channel(team)
    bob.chat.join_channel(link.text())
    with unmoved(
        ada, besides=("refusal",)
    ):  # what is to be answered is kept: one for a device, at most so many
        assert rules(ada.take(bob.records()[:1])) == ["invite_withdrawn"]
    with unmoved(ada):
        assert rules(ada.take(bob.records()[:1])) == ["invite_withdrawn"]
    assert seen_afterwards(ada, team)["members"] == sorted(one.identity.hex() for one in (ada, carol))


@pytest.mark.slow
@pytest.mark.bounded
def test_who_they_let_in_and_what_they_deleted_meanwhile_counts_for_nothing(trio: Trio) -> None:
    """All of it dated before the removal, at heads that do not know it."""
    ada, _, carol, team = trio
    kept = ada.say(team, "worth keeping")
    hostile = put_out(trio)
    friend = Author(seed=8)
    early = clock.at(now_ms() - 3_600_000)
    pen = hostile.pen(team)
    pen.time = max(early, pen.time)
    commits = [pen.write(Delete(kept)), pen.admit(friend), pen.write(Post("backdated"))]
    theirs = hostile.pen(team, pen.control_heads)
    theirs.author, theirs.time = friend, pen.time
    commits.append(theirs.write(Post("the friend")))
    for victim in (carol, ada):
        victim.take([hostile.sealed(team, *commits)])
    meet(ada, carol)
    assert seen_afterwards(ada, team)["bodies"] == ["worth keeping", "when I was here"]
    agree(team, ada, carol)


@pytest.mark.slow
@pytest.mark.bounded
def test_seventy_contradicting_acts_stop_nobody_from_writing(trio: Trio) -> None:
    """A commit names 64 control heads at most. Void ones, in logs of their own, are kept too: there is room for the others."""
    ada, bob, carol, team = trio
    hostile = put_out(trio)
    heads = bob.store.channel_row(team).control_heads
    flood = [hostile.pen(team, heads).control(Policy("rotation", 7_200_000 + n)) for n in range(70)]
    for victim in (ada, carol):
        assert victim.take([hostile.sealed(team, *flood)]).new == 70
    ada.say(team, "we go on")
    carol.say(team, "so we do")
    ada.chat.set_role(team, carol.identity, "admin")
    meet(ada, carol)
    assert ada.role(team, bob) == "none"
    assert carol.role(team) == "admin"
    assert seen_afterwards(carol, team)["bodies"][-2:] == ["we go on", "so we do"]
    agree(team, ada, carol)
    held = bob.keys(team)
    for victim in (ada, carol):
        assert victim.graph(team).epoch_at(victim.store.channel_row(team).control_heads[:1]) is not None
        current = victim.graph(team).state.epochs.current
        assert current is not None
        assert current.epoch not in held


@pytest.mark.slow
@pytest.mark.bounded
def test_a_friend_of_another_name_comes_by_an_open_link_until_it_is_withdrawn(
    trio: Trio, people: Make
) -> None:
    """What the others can do against it is to withdraw the link."""
    ada, _, _, team = trio
    link = ada.chat.create_invite(team, uses=0)
    put_out(trio)
    [mask] = people("mask")
    mask.chat.join_channel(link.text())
    assert ada.take(mask.give()).requests == 1
    assert ada.role(team, mask) == "member"
    ada.chat.ban_member(team, mask.identity)
    ada.chat.withdraw_invite(team, link.secret.key(team).public)
    [second] = people("second")
    second.chat.join_channel(link.text())
    with unmoved(ada, besides=("refusal",)):
        assert rules(ada.take(second.give())) == ["invite_withdrawn"]
    with unmoved(ada):
        assert rules(ada.take(second.give())) == ["invite_withdrawn"]
