"""What a vault knows of others: whom it met, what each lacks, what nobody else has; and that it is still known later."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quire import Node
from quire.channels.manager import ChannelManager
from quire.channels.standing import OtherStatus, Standing
from quire.cli.telling import Teller
from quire.core.ids import ChannelId
from quire.errors import TransportError
from quire.node.node import NodeEvent
from quire.storage import aboard, log
from quire.store.offering import Holding
from quire.testing.people import Person, meet
from quire.transports.interface import Address
from tests.sync.test_node import HERE, kind, until


@pytest.fixture
def two(tmp_path: Path) -> tuple[Person, Person, ChannelId]:
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    return ada, bob, team


def other(one: Person, device: bytes) -> OtherStatus:
    [found] = [other for other in Standing(one.chat).others() if other.id == device]
    return found


def sync_once(ada: Person, bob: Person) -> Address:
    """Bob comes to Ada, once, and she notes how far he is."""

    async def main() -> Address:
        async with Node(ada.chat, listen=HERE) as node, until(node) as events:
            assert node.address is not None
            await Node(bob.chat).sync_with(node.address)
            await kind(events, "lost")
            return node.address

    return asyncio.run(main())


def test_who_was_met_and_how_far_they_are_is_known_after_a_restart(
    two: tuple[Person, Person, ChannelId],
) -> None:
    ada, bob, team = two
    before = other(bob, ada.store.device)
    assert (before.seen_ms, before.name, before.kind, before.channels) == (0, "ada", "device", 1)
    bob.chat.send_message(team, "one")
    assert Standing(bob.chat).outbox()[team] > 0
    where = sync_once(ada, bob)
    bob.reopen()
    ada.reopen()
    met = other(bob, ada.store.device)
    assert met.seen_ms > 0
    assert (met.road, met.address, met.behind) == ("direct", str(where), 0)
    assert (other(ada, bob.store.device).road, other(ada, bob.store.device).behind) == ("", 0)
    assert Standing(bob.chat).outbox() == {team: 0}
    for text in ("two", "three"):
        bob.chat.send_message(team, text)
    assert other(bob, ada.store.device).behind == Standing(bob.chat).outbox()[team] == 2
    with pytest.raises(TransportError):
        asyncio.run(Node(bob.chat).sync_with(where))
    missed = other(bob, ada.store.device)
    assert (missed.rule, missed.behind) == ("unreachable", 2)
    assert missed.tried_ms >= missed.seen_ms
    sync_once(ada, bob)
    now = other(bob, ada.store.device)
    assert (now.rule, now.tried_ms, now.behind) == ("", 0, 0)


def test_what_somebody_may_not_have_they_do_not_lack(tmp_path: Path) -> None:
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    ada.chat.send_message(team, "before Bob")
    bob.chat.join_channel(ada.chat.create_invite(team, history="joined").text())
    sync_once(ada, bob)
    assert bob.reads(team) == []
    assert other(ada, bob.store.device).behind == 0
    ada.chat.send_message(team, "after")
    assert other(ada, bob.store.device).behind == 1
    sync_once(ada, bob)
    assert bob.reads(team) == ["after"]
    assert other(ada, bob.store.device).behind == 0


def test_what_lies_at_a_relay_is_in_no_outbox(two: tuple[Person, Person, ChannelId], url: str) -> None:
    ada, bob, team = two
    bob.chat.send_message(team, "one")
    assert Standing(bob.chat).outbox()[team] > 0
    asyncio.run(Node(bob.chat).sync_with_relay(url))
    assert Standing(bob.chat).outbox() == {team: 0}
    assert other(bob, ada.store.device).behind > 0  # of Ada it is not known
    [relay] = [one for one in Standing(bob.chat).others() if one.kind == "relay"]
    assert (relay.name, relay.road, relay.behind, relay.identity) == (url, "relay", 0, b"")
    bob.chat.send_message(team, "two")
    [relay] = [one for one in Standing(bob.chat).others() if one.kind == "relay"]
    assert relay.behind == 1


def test_who_lost_what_they_had_lacks_it_again(two: tuple[Person, Person, ChannelId]) -> None:
    """The last that a peer said counts, not all that it ever said."""
    ada, bob, team = two
    bob.chat.send_message(team, "one")
    sync_once(ada, bob)
    db = bob.store.database.reader
    row = log.channel_by_id(db, team)
    assert row is not None
    assert other(bob, ada.store.device).behind == 0
    said = Standing(bob.chat)
    said.note_met(ada.store.device, "direct", "x:1", differing={team: Holding()})
    assert all(aboard.aboard(db, ada.store.device, of.n) == [] for of in log.logs_of(db, row.n))
    assert Standing(bob.chat).outbox()[team] > 0


def test_a_live_link_says_what_came_and_leaves_a_note_when_it_ends(
    two: tuple[Person, Person, ChannelId],
) -> None:
    ada, bob, team = two

    async def main() -> None:
        async with Node(ada.chat, listen=HERE) as mine:
            assert mine.address is not None
            yours = Node(bob.chat)
            async with yours, until(yours) as events:
                yours.keep(mine.address)
                await kind(events, "synced")
                bob.chat.send_message(team, "live")
                event = await kind(events, "synced")
                while not event.given:
                    event = await kind(events, "synced")
                ada.chat.send_message(team, "and back")
                event = await kind(events, "synced", new=True)
                while not event.messages:
                    event = await kind(events, "synced")
                assert event.messages == ((team, 1),)
                await kind(events, "synced")  # the round in which nothing was new

    asyncio.run(main())
    assert other(bob, ada.store.device).behind == 0
    assert Standing(bob.chat).outbox() == {team: 0}


class Shown:
    """A session as far as `Teller` needs one."""

    def __init__(self, chat: ChannelManager) -> None:
        self.manager = chat
        self.lines: list[str] = []
        self.out: Any = SimpleNamespace(json=False, show=self.lines.append)


def test_what_up_says_is_for_people(two: tuple[Person, Person, ChannelId]) -> None:
    ada, bob, team = two
    session = Shown(bob.chat)
    teller = Teller(cast(Any, session))
    peer, where = bytes(ada.store.device), "192.168.1.20:8441"
    for event in (
        NodeEvent("listening", "0.0.0.0:8441"),
        NodeEvent("connected", where, peer),
        NodeEvent("synced", where, peer),
        NodeEvent("synced", where, peer, new=3, given=1, messages=((team, 2),)),
        NodeEvent("coming", where, peer, new=12_000),
        NodeEvent("lost", where, rule="closed", again_s=2.6),
        NodeEvent("lost", "10.0.0.9:8441", rule="unreachable", again_s=61.2),
        NodeEvent("resumed"),
        NodeEvent("lan", rule="lan_no_interface", again_s=1.2),
    ):
        teller.say(event)
    assert [text.partition("  ")[2] for text in session.lines] == [
        "listening on 0.0.0.0:8441",
        f"ada: connected ({where})",
        "ada: 2 messages in #team; 1 record given",
        "ada: 12,000 new commits so far",
        f"ada: gone ({where}): closed; again in 3 s",
        "10.0.0.9:8441: gone: unreachable; again in 61 s",
        "this machine was asleep: connecting anew",
        "not on the local network: lan_no_interface; again in 1 s",
    ]


def test_up_says_what_one_has_become(two: tuple[Person, Person, ChannelId]) -> None:
    ada, bob, team = two
    session = Shown(bob.chat)
    teller = Teller(cast(Any, session))
    synced = NodeEvent("synced", "192.168.1.20:8441", bytes(ada.store.device), new=1)

    def said() -> str:
        bob.take(ada.give())
        session.lines.clear()
        teller.say(synced)
        return session.lines[-1].partition("  ")[2]

    ada.chat.set_role(team, bob.identity, "moderator")
    assert said() == "you are moderator of #team now"
    ada.chat.remove_member(team, bob.identity, reason="moved on")
    assert said() == "you are out of #team: ada removed you (moved on)"
    ada.chat.add_member(team, bob.chat.key_card())
    assert said() == "you are in #team again: quire read team"
    assert said() == "ada: 1 new commit"  # and nothing is said twice


def test_up_says_that_one_is_not_let_in(two: tuple[Person, Person, ChannelId]) -> None:
    ada, bob, _ = two
    other = ada.chat.create_channel("other").id
    link = ada.chat.create_invite(other)
    session = Shown(bob.chat)
    teller = Teller(cast(Any, session))
    bob.chat.join_channel(link.text())
    ada.chat.withdraw_invite(other, ada.chat.invites(other)[0].key)
    ada.take(bob.give())
    bob.take(ada.give())
    for _ in range(2):
        teller.say(NodeEvent("synced", "192.168.1.20:8441", bytes(ada.store.device)))
    [said] = [text.partition("  ")[2] for text in session.lines]
    assert said == "you are not let into #other: the invite was withdrawn, says ada"
