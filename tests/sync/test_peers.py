"""Two vaults come into step over a link: what one has the other gets, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quire.node.peer import PeerSync
from quire.testing.people import Person
from tests.sync.links import ends, sync


@pytest.fixture
def two(tmp_path: Path) -> tuple[Person, Person]:
    return Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")


def test_joining_by_a_link_and_talking_needs_nothing_but_sync(two: tuple[Person, Person]) -> None:
    ada, bob = two
    team = ada.chat.create_channel("team").id
    ada.say(team, "before bob came")
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    sync(ada, bob)
    assert bob.role(team) == "member"
    assert bob.reads(team) == ["before bob came"]
    bob.say(team, "hello")
    ada.say(team, "hello bob")
    sync(bob, ada)
    for one in two:
        one.reopen()
    assert ada.digest(team) == bob.digest(team)
    assert ada.reads(team) == ["before bob came", "hello", "hello bob"]
    assert ada.store.verify().ok
    assert bob.store.verify().ok


def test_nothing_new_is_one_hello_each(two: tuple[Person, Person]) -> None:
    ada, bob = two
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    sync(ada, bob)
    report, other = sync(ada, bob)
    assert (report.new, other.new, report.given, other.given) == (0, 0, 0, 0)
    assert report.rounds == 1
    assert report.differing == ()
    assert report.sent_bytes < 300


def test_a_channel_that_is_not_shared_is_not_named(two: tuple[Person, Person]) -> None:
    ada, bob = two
    secret = ada.chat.create_channel("secret").id
    ada.say(secret, "for nobody else")

    async def both() -> bytes:
        here, there = ends(ada, bob)
        await asyncio.gather(PeerSync(ada.chat, here).run(), PeerSync(bob.chat, there).run())
        return b"".join(here.sent)

    said = asyncio.run(both())
    assert said
    for private in (secret, ada.identity, b"secret", b"for nobody", ada.store.device):
        assert private not in said
    assert bob.chat.list_channels() == []


def test_who_was_removed_gets_nothing_new(two: tuple[Person, Person]) -> None:
    ada, bob = two
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    sync(ada, bob)
    ada.say(team, "with bob")
    sync(ada, bob)
    ada.chat.remove_member(team, bob.identity)
    ada.say(team, "without bob")
    sync(ada, bob)
    assert bob.reads(team) == ["with bob"]
    assert bob.role(team) == "none"


def test_who_was_out_and_is_let_in_again_hears_of_it_by_sync_alone(two: tuple[Person, Person]) -> None:
    """What lets them in is sealed under a key that they never got, though they still have an older one."""
    ada, bob = two
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    sync(ada, bob)
    ada.chat.remove_member(team, bob.identity)
    sync(ada, bob)
    ada.say(team, "meanwhile")
    ada.chat.add_member(team, bob.chat.key_card())
    sync(bob, ada)
    assert bob.role(team) == "member"
    ada.say(team, "welcome back")
    sync(ada, bob)
    assert bob.digest(team) == ada.digest(team)
    again, _ = sync(ada, bob)
    assert (again.rounds, again.given) == (1, 0)


@pytest.mark.parametrize("frames", range(1, 16, 2))
def test_a_link_that_breaks_anywhere_costs_nothing(two: tuple[Person, Person], frames: int) -> None:
    ada, bob = two
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    for number in range(5):
        ada.say(team, f"message {number}")

    async def broken() -> None:
        here, there = ends(ada, bob, frames)
        async with asyncio.timeout(30):
            await asyncio.gather(
                PeerSync(ada.chat, here).run(), PeerSync(bob.chat, there).run(), return_exceptions=True
            )

    asyncio.run(broken())
    bob.reopen()
    sync(ada, bob)
    assert bob.reads(team) == [f"message {number}" for number in range(5)]
    assert bob.digest(team) == ada.digest(team)


def test_live_what_one_writes_the_other_has_at_once(two: tuple[Person, Person]) -> None:
    ada, bob = two
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    sync(ada, bob)

    async def live() -> list[str]:
        here, there = ends(ada, bob)
        rested = asyncio.Event()
        mine = PeerSync(ada.chat, here, live=True)
        yours = PeerSync(bob.chat, there, live=True, notify=lambda report: rested.set())
        running = asyncio.gather(mine.run(), yours.run())
        try:
            async with asyncio.timeout(30):
                await rested.wait()
                with bob.chat.events() as events:
                    await asyncio.to_thread(ada.say, team, "live")
                    await mine.changed()
                    event = await asyncio.to_thread(next, events)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert event.message is not None
        return [bob.chat.get_message(event.message).body]

    assert asyncio.run(live()) == ["live"]
