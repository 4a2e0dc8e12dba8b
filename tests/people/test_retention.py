"""What a channel lets go, among people: who may say so, and that all come to the same."""

from __future__ import annotations

from datetime import timedelta

import pytest

from quire import Keeping
from quire.channels.syncing import Syncing
from quire.core.ids import ChannelId
from quire.core.operation import Origin, Post
from quire.errors import UnauthorisedError
from quire.store import wallclock
from quire.testing.people import Person, meet
from tests.clocks import Clock
from tests.people.conftest import Make, agree

DAY = 86_400_000
Trio = tuple[Person, Person, Person, ChannelId]


def test_who_may_not_set_policies_sets_none(trio: Trio) -> None:
    ada, bob, _, team = trio
    with pytest.raises(UnauthorisedError) as refused:
        bob.chat.set_retention(team, Keeping(DAY))
    assert refused.value.rule == "role_too_low"
    bob.chat.set_retention(team, Keeping(DAY), here=True)  # what they keep themselves is theirs to say
    assert bob.chat.get_retention(team).here == Keeping(DAY)
    assert ada.chat.get_retention(team).channel == Keeping()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_everybody_lets_go_of_the_same_and_it_does_not_come_back(trio: Trio, clock: Clock) -> None:
    ada, bob, carol, team = trio
    for person in (ada, bob, carol):
        person.say(team, f"{person.name} long ago")
    meet(ada, bob, carol)
    before = ada.give(team)  # an old file
    clock.ahead_ms = 400 * DAY
    ada.say(team, "today")
    ada.chat.set_retention(team, Keeping(365 * DAY))
    meet(ada, bob, carol)
    for person in (ada, bob):  # Carol has not come to it yet
        assert person.chat.enforce_retention().messages == 3
    meet(ada, bob, carol)
    assert ada.reads(team) == bob.reads(team) == ["today"]
    assert carol.chat.enforce_retention().messages == 3
    for person in (ada, bob, carol):
        person.take(before)
        assert person.reads(team) == ["today"]
        assert person.chat.enforce_retention().messages == 0
    agree(team, ada, bob, carol)


def test_a_newcomer_gets_what_stands_and_misses_nothing(trio: Trio, people: Make, clock: Clock) -> None:
    ada, bob, _, team = trio
    old = ada.say(team, "long ago")
    ada.say(team, "as long ago, and pinned")
    ada.chat.pin([message.id for message in ada.chat.get_stored_messages(team)][-1])
    ada.chat.add_reaction(old, "👍")
    meet(ada, bob)
    clock.ahead_ms = 400 * DAY
    ada.say(team, "today")
    ada.chat.set_retention(team, Keeping(365 * DAY))
    ada.chat.enforce_retention()
    [dora] = people("dora")
    dora.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, dora)
    assert dora.reads(team) == ["as long ago, and pinned", "today"]
    assert {one.missing for one in Syncing(dora.chat).status()} == {0}
    meet(ada, bob, dora)
    bob.chat.enforce_retention()
    agree(team, ada, bob, dora)


def test_what_is_too_old_when_it_comes_is_never_durable(trio: Trio, clock: Clock) -> None:
    ada, bob, carol, team = trio
    carol.say(team, "written offline, a year ago")
    root = ada.say(team, "a root that all have")
    bob.take(ada.give(team))
    carol.take(ada.give(team))
    clock.ahead_ms = 400 * DAY
    ada.chat.set_retention(team, Keeping(365 * DAY))
    ada.chat.enforce_retention()
    bob.take(ada.give(team))
    bob.chat.enforce_retention()
    assert ada.reads(team) == bob.reads(team) == []
    carol.chat.send_message(team, "and now a reply to what is gone", thread=root)  # she has not heard of it
    ada.take(carol.give(team))
    assert ada.reads(team) == ["and now a reply to what is gone"]
    [shown] = ada.chat.get_stored_messages(team)
    assert shown.root is None
    meet(ada, bob, carol)
    for person in (ada, bob, carol):
        person.chat.enforce_retention()
    agree(team, ada, bob, carol)


def test_an_import_s_commit_of_which_half_is_gone_is_given_all_the_same(
    trio: Trio, people: Make, clock: Clock
) -> None:
    ada, bob, _, team = trio
    now = wallclock.now_ms()
    ada.store.write_operations(
        team,
        *(Post(f"message {n}", origin=Origin("old", "x", str(n), now - n * DAY)) for n in range(600)),
    )
    meet(ada, bob)
    ada.chat.set_retention(team, Keeping(300 * DAY + DAY // 2))
    assert ada.chat.enforce_retention().messages == 299
    [dora] = people("dora")
    dora.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, dora)
    assert len(dora.reads(team)) == 301
    assert {one.missing for one in Syncing(dora.chat).status()} == {0}
    meet(ada, bob, dora)
    bob.chat.enforce_retention()
    agree(team, ada, bob, dora)


def test_a_bookmark_holds_a_message_for_its_owner_alone(trio: Trio, people: Make, clock: Clock) -> None:
    ada, bob, carol, team = trio
    dear = ada.say(team, "dear to Bob")
    ada.chat.edit_message(dear, "very dear to Bob")
    meet(ada, bob, carol)
    bob.chat.bookmark(dear)
    clock.ahead_ms = 400 * DAY
    ada.chat.set_retention(team, Keeping(365 * DAY))
    meet(ada, bob, carol)
    for person in (ada, bob, carol):
        person.chat.enforce_retention()
    assert (ada.reads(team), bob.reads(team), carol.reads(team)) == ([], ["very dear to Bob"], [])
    [dora] = people("dora")
    dora.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, dora)
    dora.take(bob.give(team))
    assert dora.reads(team) == []
    bob.chat.unbookmark(dear)
    bob.chat.enforce_retention()
    meet(ada, bob, carol, dora)
    agree(team, ada, bob, carol, dora)


def test_what_one_device_lets_go_of_stays_with_the_others(trio: Trio, people: Make, clock: Clock) -> None:
    ada, bob, _, team = trio
    ada.say(team, "long ago")
    meet(ada, bob)
    clock.ahead_ms = 40 * DAY
    bob.chat.set_retention(team, Keeping(30 * DAY), here=True)
    assert bob.chat.enforce_retention().messages == 1
    meet(ada, bob)
    assert (ada.reads(team), bob.reads(team)) == (["long ago"], [])
    [dora] = people("dora")
    dora.chat.join_channel(ada.chat.create_invite(team).text())
    dora.take(bob.give(team))
    meet(bob, dora)
    meet(ada, dora)
    assert dora.reads(team) == ["long ago"]  # Bob gave no hole in its place
    assert bob.store.verify().ok
    assert bob.store.repair().ok
    assert bob.reads(team) == []


def test_messages_disappear_from_posting_and_from_reading(trio: Trio, clock: Clock) -> None:
    ada, bob, carol, team = trio
    ada.say(team, "before the timer")
    ada.chat.set_disappearing(team, timedelta(days=7))
    meet(ada, bob, carol)
    bob.say(team, "for a week")
    meet(ada, bob, carol)
    clock.ahead_ms = 6 * DAY
    assert ada.chat.enforce_retention().messages == 0
    clock.ahead_ms = 8 * DAY
    for person in (ada, bob, carol):
        assert person.chat.enforce_retention().messages == 1
        assert person.reads(team) == ["before the timer"]
    ada.chat.set_disappearing(team, timedelta(days=1), from_read=True)
    meet(ada, bob, carol)
    bob.say(team, "for a day")
    meet(ada, bob, carol)
    ada.chat.mark_read(team)
    clock.ahead_ms = 10 * DAY
    assert [person.chat.enforce_retention().messages for person in (ada, bob, carol)] == [1, 1, 0]
    carol.chat.mark_read(team)
    clock.ahead_ms = 12 * DAY
    assert carol.chat.enforce_retention().messages == 1
    meet(ada, bob, carol)
    agree(team, ada, bob, carol)
