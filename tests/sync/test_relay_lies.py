"""A relay that keeps back, repeats, changes and makes up what it gives: found out, or harmless."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.channels.relay_notes import Found, RelayItem
from quire.channels.relaying import Relaying
from quire.channels.syncing import Syncing
from quire.core.bundle_file import Kind
from quire.core.ids import ChannelId
from quire.core.reach import Reach
from quire.testing.people import Person
from tests.sync.links import sync

RELAY = b"r" * 16
Story = tuple[Person, Person, ChannelId, list[RelayItem]]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Ada and Bob share a channel; three messages of Ada's are on the way, an item each."""
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    sync(ada, bob)
    _given(ada, everything=True)
    items = []
    for body in ("one", "two", "three"):
        ada.say(team, body)
        [item] = _given(ada, everything=False)
        items.append(item)
    return ada, bob, team, items


def _given(person: Person, *, everything: bool) -> list[RelayItem]:
    """What a person puts, all of which the relay acknowledges."""
    vault = Relaying(person.chat)
    items = list(vault.outgoing.items(RELAY, everything=everything))
    for item in items:
        vault.notes.given(RELAY, item)
    vault.notes.settle(RELAY)
    return items


def _found(items: list[RelayItem]) -> list[Found]:
    return [Found(item.mailbox.public, number, item.data) for number, item in enumerate(items, start=1)]


def test_what_a_relay_keeps_back_shows_and_comes_by_another_road(story: Story) -> None:
    ada, bob, team, items = story
    Relaying(bob.chat).take(RELAY, _found([items[0], items[2]]))
    bob.reopen()
    assert bob.reads(team) == ["one", "three"]
    [status] = Syncing(bob.chat).status()
    assert (status.missing, status.complete) == (1, False)
    sync(ada, bob)
    assert bob.reads(team) == ["one", "two", "three"]
    [status] = Syncing(bob.chat).status()
    assert status.complete


def test_what_a_relay_repeats_changes_or_makes_up_does_nothing(story: Story) -> None:
    ada, bob, team, items = story
    vault = Relaying(bob.chat)
    vault.take(RELAY, _found(items))
    shown = ada.digest(team)
    assert bob.digest(team) == shown
    flipped = bytearray(items[0].data)
    flipped[-1] ^= 1
    box = items[0].mailbox.public
    for number, data in enumerate(
        (
            items[1].data,
            bytes(flipped),
            items[2].data[:-9],
            bytes([Kind.WELCOME]) + bytes(2_000),
            b"\x63made up",
            b"\x02",
        ),
        10,
    ):
        report = vault.take(RELAY, [Found(box, number, data)])
        assert report.new == 0
        assert not report.channels
    assert bob.digest(team) == shown
    assert bob.store.verify().ok
    assert vault.notes.reaches(RELAY, [box]) == {box: Reach(15)}  # none of it is asked for again


def test_a_relay_is_given_each_thing_once_and_what_it_gave_not_at_all(story: Story) -> None:
    ada, bob, team, items = story
    assert _given(ada, everything=True) == []
    vault = Relaying(bob.chat)
    vault.take(RELAY, _found(items))
    mine = {one.data for one in items}
    assert all(item.data not in mine for item in vault.outgoing.items(RELAY, everything=True))
    vault.notes.settle(RELAY)
    bob.reopen()
    later = _given(bob, everything=True)
    assert all(item.data not in {one.data for one in items} for item in later)
    bob.say(team, "four")
    assert len(_given(bob, everything=False)) == 1
    assert _given(bob, everything=True) == []
    assert len(_given(bob, everything=True)) < len(
        list(Relaying(bob.chat).outgoing.items(b"o" * 16, everything=True))
    )
