"""A thief of one device of several, unlocked: its keys and all it could read are theirs, until its owner says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.core.control import AddDevice, Policy, RevokeDevice, Rotate
from quire.core.ids import ChannelId
from quire.core.limits import AHEAD_MS_MAX
from quire.core.operation import Post
from quire.errors import UnauthorisedError
from quire.storage import keychain, log
from quire.store.wallclock import now_ms
from quire.testing.authors import Author
from quire.testing.people import Person, carry, meet
from tests.attacks.attacker import Hostile, rules, seen_afterwards, unmoved
from tests.people.conftest import Make, agree, team_of
from tests.people.test_devices import linked

Theft = tuple[Person, Person, Person, ChannelId]


@pytest.fixture
def theft(people: Make, tmp_path: Path) -> Theft:
    """Ada, her stolen laptop, and Bob, who shares a channel with them."""
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    laptop = linked(ada, tmp_path, "laptop")
    laptop.say(team, "from the laptop, before")
    ada.take(laptop.give())
    meet(bob, ada, laptop)
    return ada, laptop, bob, team


@pytest.mark.slow
@pytest.mark.bounded
def test_after_its_revocation_a_stolen_device_neither_reads_nor_writes(theft: Theft) -> None:
    ada, laptop, bob, team = theft
    hostile, held = Hostile(laptop), laptop.keys(team)
    ada.chat.revoke_device(laptop.store.device)
    ada.say(team, "after the theft")
    carry(ada, bob)
    pen = hostile.pen(team)
    late = [pen.write(Post("I am Ada")), pen.control(Policy("rotation", 7_200_000))]
    old = laptop.store.channel_row(team).control_heads
    spent = [hostile.pen(team, old).write(Post("backdated"))]
    for victim in (bob, ada):
        victim.take([hostile.sealed(team, *late, *spent)])
        assert victim.chat.policies(team)["rotation"] != 7_200_000
    bob.say(team, "so I heard")
    carry(bob, ada)
    assert seen_afterwards(bob, team)["bodies"] == [
        "from the laptop, before",
        "after the theft",
        "so I heard",
    ]
    laptop.take(ada.give())
    laptop.take(bob.give())
    assert laptop.reads(team)[0] == "from the laptop, before"
    assert "after the theft" not in laptop.reads(team)
    assert "so I heard" not in laptop.reads(team)
    current = ada.graph(team).state.epochs.current
    assert current is not None
    assert current.epoch not in held
    own = log.self_channel(ada.store.database.reader)
    current = ada.graph(own.id).state.epochs.current
    assert current is not None
    assert current.epoch not in laptop.keys(own.id)
    agree(team, ada, bob)
    laptop.store.close()


@pytest.mark.slow
@pytest.mark.bounded
def test_a_thief_revokes_no_senior_device_and_what_they_added_falls_with_them(theft: Theft) -> None:
    ada, laptop, bob, team = theft
    hostile, planted = Hostile(laptop), Author(seed=71)
    with pytest.raises(UnauthorisedError, match="device"):
        laptop.chat.revoke_device(ada.store.device)
    pen = hostile.pen(team)
    coup = pen.control(RevokeDevice(ada.store.device, ()), Rotate(b"e" * 32))
    bob.take([hostile.sealed(team, coup)])
    assert bob.graph(team).verdict(pen.previous).rule == "device_senior"
    foreign = hostile.pen(team)
    bob.take([hostile.sealed(team, foreign.control(AddDevice(planted.entry)))])  # not of Ada's identity
    assert bob.graph(team).verdict(foreign.previous).rule == "device_foreign"
    assert bob.graph(team).state.device(ada.store.device) is not None
    ada.chat.revoke_device(laptop.store.device)
    meet(ada, bob)
    assert [
        device.device for device in bob.graph(team).state.devices.values() if device.identity == ada.identity
    ] == [ada.store.device]
    agree(team, ada, bob)
    laptop.store.close()


def test_a_thief_does_not_spoil_what_others_keep_for_the_owner(theft: Theft) -> None:
    """An empty self-channel of the newest stamp there is would take the place of the true one, for ever."""
    ada, laptop, bob, _ = theft
    hostile = Hostile(laptop)
    with unmoved(bob):
        ahead = hostile.carried(ada.identity, stamp_ms=now_ms() + 2 * AHEAD_MS_MAX)
        assert rules(bob.take([ahead])) == ["carried_ahead"]
    ada.chat.revoke_device(laptop.store.device)
    carry(ada, bob)
    with unmoved(bob):  # of a device that is Ada's no more
        assert bob.take([hostile.carried(ada.identity, stamp_ms=now_ms() + 1_000)]).kept == 0
    before = keychain.kept(bob.store.database.reader)
    carry(ada, bob)
    assert keychain.kept(bob.store.database.reader) != before  # the true one still comes in
    laptop.store.close()
