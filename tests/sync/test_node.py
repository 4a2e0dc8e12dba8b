"""`Node` as a program uses it: over real links and a real relay, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quire import Node
from quire.core.ids import ChannelId
from quire.node import relays
from quire.node.node import NodeEvent
from quire.testing.people import Person
from quire.transports.interface import Address

HERE = Address("127.0.0.1", 0)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Person, Person, ChannelId]:
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    return ada, bob, team


@asynccontextmanager
async def until(node: Node) -> AsyncIterator[asyncio.Queue[NodeEvent]]:
    events: asyncio.Queue[NodeEvent] = asyncio.Queue()

    async def pass_on() -> None:
        async for event in node.events():
            events.put_nowait(event)

    task = asyncio.create_task(pass_on())
    try:
        async with asyncio.timeout(60):
            yield events
    finally:
        task.cancel()


async def kind(events: asyncio.Queue[NodeEvent], wanted: str, *, new: bool = False) -> NodeEvent:
    while True:
        event = await events.get()
        if event.kind == wanted and (event.new or not new):
            return event


def test_a_peer_that_goes_and_comes_back_is_kept_in_step(two: tuple[Person, Person, ChannelId]) -> None:
    ada, bob, team = two

    async def main() -> None:
        async with Node(bob.chat) as yours, until(yours) as events:
            async with Node(ada.chat, listen=HERE) as mine:
                assert mine.address is not None
                address = mine.address
                yours.keep(address)
                await kind(events, "synced", new=True)
                assert [report.peer for report in yours.peers] == [ada.store.device]
            assert (await kind(events, "lost")).address == str(address)
            assert yours.peers == []
            ada.chat.send_message(team, "while away")
            async with Node(ada.chat, listen=address):
                await kind(events, "synced", new=True)
                ada.chat.send_message(team, "and live")
                while bob.reads(team) != ["while away", "and live"]:
                    await kind(events, "synced", new=True)

    asyncio.run(main())


def test_two_who_put_more_than_they_hold_at_once_do_not_wait_for_each_other(
    two: tuple[Person, Person, ChannelId], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a put may stand behind more of another's items than are kept in memory."""
    ada, bob, team = two
    for one in (bob, ada, bob):
        asyncio.run(Node(one.chat).sync_with_relay(url))
    monkeypatch.setattr(relays, "TAKE_BYTES", 2_000)
    monkeypatch.setattr(relays, "IN_FLIGHT_MAX", 2)
    monkeypatch.setattr("quire.store.bundling.PART_BYTES", 600)  # an item for every commit or two
    for number in range(150):
        for one in (ada, bob):
            one.chat.send_message(team, f"{one.name} {number} " + "x" * 300)

    async def main() -> None:
        async with asyncio.timeout(90):
            await asyncio.gather(*(Node(one.chat).sync_with_relay(url) for one in (ada, bob)))
            await asyncio.gather(*(Node(one.chat).sync_with_relay(url) for one in (ada, bob)))

    asyncio.run(main())
    assert len(ada.reads(team)) == len(bob.reads(team)) == 300
