"""Sync over a real TCP road that fails: it goes on where it was, sends little twice, and notices a link that is only
seemingly there."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quire import Node
from quire.channels.relaying import Relaying
from quire.channels.syncing import Syncing
from quire.core.ids import ChannelId, DeviceId
from quire.errors import TransportError
from quire.node import relays
from quire.node.peer import PeerSync
from quire.node.relays import RelaySync
from quire.store import bundling
from quire.sync import session
from quire.testing.people import Person
from quire.testing.proxy import Fault, Proxy
from quire.transports.direct import DirectLink, connect, listen
from quire.transports.interface import Address, Patience
from tests.relay.raw import metric
from tests.relay.running import relaying
from tests.sync.links import sync
from tests.sync.test_node import HERE, kind, until

MESSAGES = 40
WINDOW = 3  # records, and puts, that may be under way
BREAKS_MAX = 400
IMPATIENT = Patience(
    alive_s=0.1, silence_s=3.0
)  # thirty signs of life that do not come: no busy machine is so late
Two = tuple[Person, Person, ChannelId]


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Two:
    """Bob is in Ada's channel, and lacks forty messages, about as many records."""
    monkeypatch.setattr(bundling, "PART_BYTES", 600)
    monkeypatch.setattr(session, "WINDOW_RECORDS", WINDOW)
    monkeypatch.setattr(relays, "IN_FLIGHT_MAX", WINDOW)
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    sync(ada, bob)
    for number in range(MESSAGES):
        ada.chat.send_message(team, f"message {number} " + "x" * 300)
    return ada, bob, team


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with relaying(tmp_path / "relay") as found:
        yield found


class Counting:
    """How many records vaults took in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records = 0
        take = Syncing.take

        def counted(vault: Syncing, records: Any, **named: Any) -> Any:
            given = list(records)
            report = take(vault, given, **named)
            self.records += len(given)
            return report

        monkeypatch.setattr(Syncing, "take", counted)


@pytest.mark.parametrize("how", ["cut_after", "reset_after"])
def test_a_direct_sync_goes_on_where_it_was_whatever_byte_it_is_cut_at(
    two: Two, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, team = two
    taken = Counting(monkeypatch)

    async def main() -> tuple[int, int]:
        serving: list[PeerSync] = []
        tasks: list[asyncio.Task[Any]] = []

        async def accepts(device: DeviceId) -> bool:
            return True

        async def on_link(link: DirectLink) -> None:
            serving.append(PeerSync(ada.chat, link))
            tasks.append(asyncio.ensure_future(serving[-1].run()))
            await asyncio.gather(tasks[-1], return_exceptions=True)

        listener = await listen(HERE, Syncing(ada.chat).key, accepts, on_link)
        breaks, seen = 0, -1
        async with Proxy(listener.address) as proxy, asyncio.timeout(100):
            while breaks < BREAKS_MAX:
                proxy.fault = Fault(**{how: 4_000 + 611 * (breaks % 7)})
                if len(bob.reads(team)) == seen and breaks % 4 == 3:  # it must come on, if slowly
                    proxy.fault = Fault(**{how: 40_000})
                seen = len(bob.reads(team))
                try:
                    link = await connect(proxy.address, Syncing(bob.chat).key)
                    await PeerSync(bob.chat, link).run()
                except TransportError:
                    breaks += 1
                    continue
                break
        await listener.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        return breaks, sum(one.report.given for one in serving)

    breaks, given = asyncio.run(main())
    assert 3 < breaks < BREAKS_MAX
    bob.reopen()
    assert bob.digest(team) == ada.digest(team)
    assert len(bob.reads(team)) == MESSAGES
    assert given <= taken.records + WINDOW * breaks  # sent twice: what was under way
    assert taken.records < MESSAGES + WINDOW * breaks


@pytest.mark.slow
@pytest.mark.bounded
def test_what_is_put_and_read_by_a_relay_goes_on_where_it_was(
    two: Two, relay: tuple[subprocess.Popen[str], str]
) -> None:
    ada, bob, team = two
    url = relay[1]
    host, _, port = url.removeprefix("ws://").partition(":")

    async def broken_into(person: Person, proxy: Proxy) -> int:
        """Sync through it until one is whole: how often it broke."""
        for breaks in range(BREAKS_MAX):
            proxy.fault = Fault(cut_after=4_000 + 1_500 * breaks)
            try:
                await RelaySync(person.chat, f"ws://{proxy.address}").run()
            except TransportError:
                continue
            return breaks
        raise AssertionError("it never came through")

    async def main() -> tuple[int, int]:
        async with Proxy(Address(host, int(port))) as proxy, asyncio.timeout(100):
            return await broken_into(ada, proxy), await broken_into(bob, proxy)

    putting, reading = asyncio.run(main())
    assert putting > 2
    assert reading > 2
    bob.reopen()
    assert bob.digest(team) == ada.digest(team)
    assert len(bob.reads(team)) == MESSAGES
    whole = sum(
        len(list(Relaying(one.chat).outgoing.items(b"another relay...", everything=True)))
        for one in (ada, bob)
    )
    assert metric(url, "quire_relay_puts_total") <= whole + WINDOW * (putting + reading)


@pytest.mark.slow
@pytest.mark.bounded
def test_a_direct_link_that_only_seems_to_be_there_is_given_up_and_made_again(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, team = two
    monkeypatch.setattr("quire.node.pauses.PAUSE_S", 0.05)

    async def main() -> None:
        async with (
            Node(ada.chat, listen=HERE, patience=IMPATIENT) as mine,
            Node(bob.chat, patience=IMPATIENT) as yours,
            until(yours) as events,
        ):
            assert mine.address is not None
            async with Proxy(mine.address) as proxy:
                yours.keep(proxy.address)
                while len(bob.reads(team)) < MESSAGES:
                    await kind(events, "synced", new=True)
                proxy.swallow()
                ada.chat.send_message(team, "into the void")
                assert (await kind(events, "lost")).rule == "link_silent"
                while bob.reads(team)[-1] != "into the void":
                    await kind(events, "synced", new=True)
                assert proxy.connections > 1

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.bounded
def test_a_link_to_a_relay_that_only_seems_to_be_there_is_given_up_and_made_again(
    two: Two, relay: tuple[subprocess.Popen[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, team = two
    monkeypatch.setattr("quire.node.pauses.PAUSE_S", 0.05)
    host, _, port = relay[1].removeprefix("ws://").partition(":")

    async def main() -> None:
        async with (
            Proxy(Address(host, int(port))) as proxy,
            Node(bob.chat, patience=IMPATIENT) as yours,
            until(yours) as events,
        ):
            await Node(ada.chat).sync_with_relay(relay[1])
            yours.keep_relay(f"ws://{proxy.address}")
            while len(bob.reads(team)) < MESSAGES:
                await kind(events, "synced", new=True)
            proxy.swallow()
            ada.chat.send_message(team, "into the void")
            await Node(ada.chat).sync_with_relay(relay[1])
            assert (await kind(events, "lost")).rule == "link_silent"
            while bob.reads(team)[-1] != "into the void":
                await kind(events, "synced", new=True)

    asyncio.run(main())


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("road", ["direct", "relay"])
def test_what_comes_slowly_is_no_silence(
    two: Two, road: str, relay: tuple[subprocess.Popen[str], str]
) -> None:
    """A message that takes longer than a silence may be."""
    ada, bob, team = two
    sync(ada, bob)
    ada.chat.send_message(
        team, "".join(map(chr, random.Random(1).choices(range(0x4E00, 0x9E00), k=100_000)))
    )  # it hardly shrinks
    slow, patience = Fault(bytes_per_s=60_000), Patience(alive_s=0.3, silence_s=2.0)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        if road == "relay":
            await Node(ada.chat).sync_with_relay(relay[1])
            host, _, port = relay[1].removeprefix("ws://").partition(":")
            async with Proxy(Address(host, int(port))) as proxy:
                proxy.fault, began = slow, loop.time()
                await RelaySync(bob.chat, f"ws://{proxy.address}", patience=patience).run()
                return loop.time() - began
        async with Node(ada.chat, listen=HERE, patience=patience) as mine:
            assert mine.address is not None
            async with Proxy(mine.address) as proxy:
                proxy.fault, began = slow, loop.time()
                await Node(bob.chat, patience=patience).sync_with(proxy.address)
                return loop.time() - began

    assert asyncio.run(main()) > patience.silence_s
    assert bob.digest(team) == ada.digest(team)
