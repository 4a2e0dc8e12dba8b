"""What was erased, or let go by retention, never comes back by a relay, though its items lie there as they were put.

The relay is a process of its own. It holds the old items to the end; who reads it newest first meets the erasure before
what it erases, who reads it again meets both again, and who comes new has never heard of either.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from quire import Keeping, Node
from quire.channels.syncing import Syncing
from quire.core.ids import ChannelId
from quire.storage import aboard
from quire.testing.people import Person
from tests.clocks import Clock
from tests.people.test_erasing import NEEDLE, clean, holds
from tests.relay.raw import metric
from tests.relay.running import relaying
from tests.sync.test_node import two
from tests.sync.test_relay_needs import by_relay

__all__ = ["two"]  # a fixture
DAY = 86_400_000
Two = tuple[Person, Person, ChannelId]


def read_again(one: Person) -> None:
    """From the beginning, as after an erasure that lost its right: a relay cannot be told from one that serves all anew."""

    def again(db: apsw.Connection) -> None:
        aboard.read_again(db)

    one.store.ledger.run(again)


def joins_by_relay(tmp_path: Path, name: str, ada: Person, team: ChannelId, url: str) -> Person:
    """Somebody new, who has met nobody but the relay."""
    newcomer = Person.create(tmp_path, name)
    newcomer.chat.join_channel(ada.chat.create_invite(team).text())
    by_relay(url, newcomer, ada, newcomer)
    return newcomer


def brought_again(url: str, *people: Person) -> None:
    """Everybody reads all that the relay has once more, until nothing moves."""
    for one in people:
        read_again(one)
    before = metric(url, "quire_relay_items_sent_total")
    by_relay(url, *people, *people)
    assert metric(url, "quire_relay_items_sent_total") >= before + 3 * len(people), "it is all read again"
    for one in people:
        report = asyncio.run(Node(one.chat).sync_with_relay(url))
        assert (report.new, report.given, report.refused) == (0, 0, [])
        one.reopen()


def test_what_was_erased_never_comes_back_by_a_relay(two: Two, url: str, tmp_path: Path) -> None:
    ada, bob, team = two
    by_relay(url, bob, ada, bob)
    said = ada.say(team, f"{NEEDLE} one")
    by_relay(url, ada, bob)
    ada.chat.edit_message(said, f"{NEEDLE} two")
    bobs = bob.say(team, f"{NEEDLE} of Bob's")
    by_relay(url, ada, bob, ada)
    assert holds(ada)
    assert holds(bob)
    ada.chat.erase_message(said)
    ada.chat.erase_message(bobs)
    ada.say(team, "the newest")
    by_relay(url, ada, bob)
    carol = joins_by_relay(tmp_path, "carol", ada, team, url)
    for _ in range(2):
        for one in (ada, bob, carol):
            assert not holds(one)
            assert [text for text in one.reads(team) if text] == ["the newest"]
            for id in (said, bobs):
                deleted = one.chat.get_message(id).deleted
                assert deleted is not None
                assert deleted.erased
        brought_again(url, ada, bob, carol)
    clean(ada, bob, carol)
    assert bob.digest(team) == ada.digest(team) == carol.digest(team)
    with relaying(tmp_path / "another") as (_, other):  # what goes to another relay has holes
        by_relay(other, ada, bob, carol)
        dora = joins_by_relay(tmp_path, "dora", ada, team, other)
    assert not holds(dora)
    assert [text for text in dora.reads(team) if text] == ["the newest"]


@pytest.mark.slow
@pytest.mark.bounded
def test_who_wrote_offline_what_answers_something_erased_brings_nothing_back(two: Two, url: str) -> None:
    ada, bob, team = two
    by_relay(url, bob, ada, bob)
    said = ada.say(team, f"{NEEDLE} one")
    by_relay(url, ada, bob)
    bob.chat.send_message(team, "an answer", thread=said)  # offline
    ada.chat.erase_message(said)
    by_relay(url, ada, bob, ada)
    brought_again(url, ada, bob)
    assert not holds(ada)
    assert not holds(bob)
    assert ada.digest(team) == bob.digest(team)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.slow
@pytest.mark.bounded
def test_what_retention_let_go_never_comes_back_by_a_relay(
    two: Two, url: str, tmp_path: Path, clock: Clock
) -> None:
    ada, bob, team = two
    by_relay(url, bob, ada, bob)
    for one in (ada, bob, ada):
        one.say(team, f"{NEEDLE} of {one.name}")
        by_relay(url, ada, bob)
    clock.ahead_ms = 400 * DAY
    ada.say(team, "today")
    ada.chat.set_retention(team, Keeping(365 * DAY))
    by_relay(url, ada, bob)
    for one in (ada, bob):
        assert one.chat.enforce_retention().messages == 3
    carol = joins_by_relay(tmp_path, "carol", ada, team, url)
    for _ in range(2):
        for one in (ada, bob, carol):
            assert one.reads(team) == ["today"]
            assert not holds(one)
        assert carol.chat.enforce_retention().messages == 0
        brought_again(url, ada, bob, carol)
    assert {one.missing for person in (ada, bob, carol) for one in Syncing(person.chat).status()} == {0}
    clean(ada, bob, carol)
    assert bob.digest(team) == ada.digest(team) == carol.digest(team)


def test_what_one_device_lets_go_of_does_not_come_back_to_it_and_stays_with_the_others(
    two: Two, url: str, clock: Clock
) -> None:
    ada, bob, team = two
    by_relay(url, bob, ada, bob)
    ada.say(team, f"{NEEDLE} long ago")
    by_relay(url, ada, bob)
    clock.ahead_ms = 400 * DAY
    bob.chat.set_retention(team, Keeping(365 * DAY), here=True)
    assert bob.chat.enforce_retention().messages == 1
    brought_again(url, ada, bob)
    assert bob.reads(team) == []
    assert not holds(bob)
    assert ada.reads(team) == [f"{NEEDLE} long ago"]
