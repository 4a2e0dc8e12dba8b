"""Devices that find each other on a local network: real multicast on this machine's own loop, no address told to anybody."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from zeroconf.asyncio import AsyncServiceInfo

from quire import Node
from quire.channels.beacons import Beacons
from quire.core.crypto.beacons import TAGS_MAX, TAGS_STEP, beacon_tag, beacon_tags, instance_of, recognised
from quire.core.ids import ChannelId
from quire.errors import TransportError
from quire.node import neighbours, node
from quire.testing.people import Person
from quire.transports import lan
from quire.transports.direct import server_context
from quire.transports.interface import Address
from quire.transports.lan import SERVICE, Lan, Neighbour, own_addresses
from tests.sync.test_node import HERE, kind, until

LOOP = ("127.0.0.1",)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Person, Person, ChannelId]:
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    return ada, bob, team


@contextlib.asynccontextmanager
async def watching() -> AsyncIterator[asyncio.Queue[Neighbour]]:
    """Everything that is announced here, as a stranger sees it."""
    seen: asyncio.Queue[Neighbour] = asyncio.Queue()
    eyes = Lan(seen.put_nowait, lambda instance: None)
    await eyes.open(LOOP)
    try:
        yield seen
    finally:
        await eyes.close()


async def announced(seen: asyncio.Queue[Neighbour], one: Node) -> Neighbour:
    """What a node says of itself; others that test at the same time are stepped over."""
    assert one.address is not None
    while True:
        neighbour = await seen.get()
        if neighbour.addresses[0].port == one.address.port:
            return neighbour


@pytest.mark.slow
@pytest.mark.bounded
def test_who_asks_to_join_and_a_member_find_each_other_talk_and_find_each_other_again(
    two: tuple[Person, Person, ChannelId],
) -> None:
    ada, bob, team = two
    ada.chat.send_message(team, "before")

    async def main() -> None:
        yours = Node(bob.chat, listen=HERE, lan=LOOP)
        async with yours, until(yours) as events:
            async with Node(ada.chat, listen=HERE, lan=LOOP):
                while bob.reads(team) != ["before"]:
                    await kind(events, "synced")
                ada.chat.send_message(team, "live")
                while bob.reads(team) != ["before", "live"]:
                    await kind(events, "synced")
                assert {report.peer for report in yours.peers} == {ada.store.device}
            ada.chat.send_message(team, "while away")
            async with Node(ada.chat, listen=HERE, lan=LOOP):  # another port, another certificate
                while bob.reads(team) != ["before", "live", "while away"]:
                    await kind(events, "synced")

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.bounded
def test_one_sync_with_whoever_is_there(two: tuple[Person, Person, ChannelId]) -> None:
    ada, bob, team = two
    ada.chat.send_message(team, "hello")

    async def main() -> list[bytes]:
        async with Node(ada.chat, listen=HERE, lan=LOOP) as mine, watching() as seen, asyncio.timeout(60):
            await announced(seen, mine)
            return [report.peer async for _, report in Node(bob.chat).sync_on_lan(LOOP)]

    assert asyncio.run(main()) == [ada.store.device]
    assert bob.reads(team) == ["hello"]


def test_an_announcement_tells_a_stranger_nothing_and_each_is_another(
    two: tuple[Person, Person, ChannelId], tmp_path: Path
) -> None:
    ada, bob, team = two
    eve = Person.create(tmp_path, "eve")
    eve.chat.create_channel("alone")

    async def main() -> list[Neighbour]:
        found = []
        async with watching() as seen, asyncio.timeout(60):
            for _ in range(2):
                async with Node(ada.chat, listen=HERE, lan=LOOP) as mine:
                    found.append(await announced(seen, mine))
        return found

    first, second = asyncio.run(main())
    assert first.instance != second.instance
    assert not first.tags & second.tags
    assert len(first.tags) == len(second.tags) == TAGS_STEP
    assert recognised(Beacons(bob.chat).known(), first.instance, first.tags)
    assert not recognised(Beacons(eve.chat).known(), first.instance, first.tags)
    said = first.instance + b"".join(sorted(first.tags))
    for secret in (ada.store.device, ada.identity, team):
        assert not any(secret[at : at + 4] in said for at in range(len(secret) - 3))


def test_who_copies_an_announcement_is_shown_no_device(two: tuple[Person, Person, ChannelId]) -> None:
    """Eve repeats Ada's name and tags with an address of her own: Bob comes, sees another certificate, and says nothing."""
    ada, bob, _ = two
    heard: list[bytes] = []

    async def main() -> None:
        knocked = asyncio.Event()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(bytes([1]) + os.urandom(16))
            with contextlib.suppress(OSError):
                heard.append(await reader.read())
            knocked.set()
            writer.close()

        server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=server_context())
        port = server.sockets[0].getsockname()[1]
        instance = instance_of(server_context().certificate_hash)  # Ada's, of which Eve has not the key
        eve = Lan(lambda one: None, lambda instance: None)
        await eve.open(LOOP)
        await eve.announce(instance, port, beacon_tags(Beacons(ada.chat).shown(), instance, os.urandom))
        yours = Node(bob.chat, lan=LOOP)
        async with yours, until(yours) as events:
            lost = await kind(events, "lost")
            assert (lost.rule, lost.address) == ("link_other_certificate", f"127.0.0.1:{port}")
            assert lost.again_s > 0
            await knocked.wait()
        await eve.close()
        server.close()

    asyncio.run(main())
    assert heard == [b""]


def test_tags_are_those_of_the_keys_that_matter_most_among_random_ones() -> None:
    keys = [bytes([number, number >> 8]) for number in range(TAGS_MAX + 5)]
    tags = beacon_tags(keys, b"i" * 16, os.urandom)
    assert len(tags) == TAGS_MAX
    assert tags == sorted(tags)
    shown = [key for key in keys if beacon_tag(key, b"i" * 16) in tags]
    assert shown == keys[:TAGS_MAX]
    few = beacon_tags(keys[:2], b"i" * 16, os.urandom)
    assert len(few) == TAGS_STEP
    assert len(set(few) & set(beacon_tags(keys[:2], b"i" * 16, os.urandom))) == 2
    assert beacon_tag(b"key", b"0123456789abcdef").hex() == "b0349a882ba44d37"  # HMAC-SHA256, frozen


def service(name: str, port: int = 1, **said: Any) -> AsyncServiceInfo:
    properties = {name.encode(): value for name, value in said.items()}
    return AsyncServiceInfo(
        SERVICE, f"{name}.{SERVICE}", port=port, properties=properties, parsed_addresses=["10.0.0.7"]
    )


def test_what_a_neighbour_says_is_taken_only_in_order() -> None:
    instance, own = b"i" * 16, ["10.0.0.1"]
    good = lan._neighbour(instance, service("a", v=b"1", t0=b"x" * 8 + b"y" * 8), own)
    assert good == Neighbour(instance, (Address("10.0.0.7", 1),), frozenset((b"x" * 8, b"y" * 8)))
    assert lan._neighbour(instance, service("a", v=b"2"), own) is None
    assert lan._neighbour(instance, service("a"), own) is None
    assert lan._neighbour(instance, service("a", 0, v=b"1"), own) is None
    for address in ("127.0.0.1", "8.8.8.8"):  # ourselves, and the world
        odd = AsyncServiceInfo(SERVICE, f"a.{SERVICE}", port=1, properties={b"v": b"1"})
        odd.addresses = [bytes(map(int, address.split(".")))]
        assert lan._neighbour(instance, odd, own) is None
    for name in ("", "ab", "printer", "AB" * 16, "ab" * 17):
        assert lan._instance(f"{name}.{SERVICE}") is None
    assert lan._instance(f"{instance.hex()}.{SERVICE}") == instance


def test_a_machine_without_a_network_says_so_and_tries_again(
    two: tuple[Person, Person, ChannelId], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, _, _ = two
    assert own_addresses(["203.0.113.9"]) == ()
    assert "127.0.0.1" not in own_addresses()

    async def main() -> None:
        mine = Node(ada.chat, listen=HERE, lan=["203.0.113.9"])
        async with mine, until(mine) as events:
            event = await kind(events, "lan")
            assert event.rule == "lan_no_interface"
            with pytest.raises(TransportError) as failure:
                async for _ in mine.sync_on_lan(["203.0.113.9"]):
                    pass
            assert failure.value.rule == "lan_no_interface"

    asyncio.run(main())


def test_another_network_is_another_announcement(
    two: tuple[Person, Person, ChannelId], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, _, _ = two
    here: list[tuple[str, ...]] = [("127.0.0.1",)]
    monkeypatch.setattr(neighbours, "CHECK_S", 0.01)
    monkeypatch.setattr(neighbours, "own_addresses", lambda chosen: here[-1])

    async def main() -> tuple[Neighbour, Neighbour]:
        async with watching() as seen, asyncio.timeout(60), Node(ada.chat, listen=HERE, lan=()) as mine:
            first = await announced(seen, mine)
            here.append(("127.0.0.1", "127.0.0.2"))
            second = first
            while second.instance == first.instance:
                second = await announced(seen, mine)
            return first, second

    first, second = asyncio.run(main())
    assert not first.tags & second.tags


def test_a_machine_that_was_asleep_connects_anew_at_once(
    two: tuple[Person, Person, ChannelId], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, team = two
    apart = [0.0]
    monkeypatch.setattr(node, "_apart", lambda: apart[-1])

    async def main() -> None:
        async with Node(ada.chat, listen=HERE) as mine:
            assert mine.address is not None
            yours = Node(bob.chat)
            async with yours, until(yours) as events:
                yours.keep(mine.address)
                await kind(events, "synced", new=True)
                apart.append(3_600.0)
                await kind(events, "resumed")
                await kind(events, "connected")
                ada.chat.send_message(team, "good morning")
                while bob.reads(team) != ["good morning"]:
                    await kind(events, "synced")

    asyncio.run(main())
