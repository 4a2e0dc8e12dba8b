"""Devices on the same local network: announces this one, knows those that share a channel with it, and keeps a link to each.

A device announces itself under a certificate that changes every hour, and whenever the network does; each such turn has
other tags (core/crypto/beacons.py). Of two who know each other the one of the lesser instance connects, the other only
if nothing came of that. That something is announced says nothing: connecting is the test.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from quire.channels.beacons import Beacons
from quire.core.crypto.beacons import beacon_tags, instance_of, recognised
from quire.core.crypto.keys import SigningKey
from quire.core.ids import DeviceId
from quire.errors import QuireError, TransportError
from quire.node.pauses import Hurry, Pauses
from quire.transports.direct import DirectLink, Listener, connect
from quire.transports.interface import Address
from quire.transports.lan import Lan, Neighbour, own_addresses

CHECK_S = 2.0  # how often interfaces and keys are looked at
TURN_S = 3_600.0  # then another certificate, other tags
LOOK_S = 2.0  # of one look around: who is there answers within some tenths of a second
DEFER_S = 3.0  # of who has the greater instance: both at once would make two links

Look = Callable[..., Awaitable[Any]]


async def look_around(
    beacons: Beacons, interfaces: Sequence[str], seconds: float = LOOK_S
) -> list[Neighbour]:
    """Who of ours is announced on the local network just now. Raises: TransportError."""
    addresses = own_addresses(interfaces)
    if not addresses:
        raise TransportError(
            "this machine is on no local network",
            rule="lan_no_interface",
            hint="--interface ADDRESS names one",
        )
    seen: dict[bytes, Neighbour] = {}

    def found(one: Neighbour) -> None:
        seen[one.instance] = one

    def gone(instance: bytes) -> None:
        seen.pop(instance, None)

    lan = Lan(found, gone)
    try:
        await lan.open(addresses)
        known = await asyncio.to_thread(beacons.known)
        await asyncio.sleep(seconds)
    finally:
        await lan.close()
    return [one for one in seen.values() if recognised(known, one.instance, one.tags)]


class Neighbours:
    """The local network of one node."""

    def __init__(
        self,
        beacons: Beacons,
        key: SigningKey,
        listener: Listener | None,
        *,
        interfaces: Sequence[str],
        look: Look,
        serve: Callable[[DirectLink, Address], Awaitable[None]],
        is_live: Callable[[bytes], bool],
        trouble: Callable[[str, str, float], Awaitable[None]],
        hurry: Hurry,
    ) -> None:
        """
        interfaces    the addresses of those to use; none: all that are on a local network
        look          runs what reads the vault, in its thread
        serve         runs a link until it ends
        trouble       told where something failed, by which rule, and in how many seconds it is tried again
        """
        self._beacons = beacons
        self._key = key
        self._listener = listener
        self._interfaces = interfaces
        self._look = look
        self._serve = serve
        self._is_live = is_live
        self._trouble = trouble
        self._hurry = hurry
        self._seen: dict[bytes, Neighbour] = {}
        self._meetings: dict[bytes, asyncio.Task[None]] = {}
        self._judging: set[asyncio.Task[None]] = set()
        self._known: list[bytes] = []
        self._own = b""  # our instance, if we announce one

    async def run(self) -> None:
        """Be on the local network until cancelled."""
        pauses, said = Pauses(), ""
        try:
            while True:
                addresses = own_addresses(self._interfaces)
                rule = "lan_no_interface"
                try:
                    if addresses:
                        await self._stay(addresses)
                        rule = ""
                        pauses.reset()
                except TransportError as error:
                    rule = error.rule
                pause = pauses.next_s() if rule else 0.0
                if rule not in ("", said):
                    await self._trouble("", rule, pause)
                said = rule
                await self._hurry.pause(pause)
        finally:
            await self._drop(list(self._meetings.values()))

    async def _stay(self, addresses: tuple[str, ...]) -> None:
        """On these interfaces, until there are others."""
        loop, turned, shown = asyncio.get_running_loop(), 0.0, [b""]
        lan = Lan(self._found, self._gone)
        try:
            await lan.open(addresses)
            while own_addresses(self._interfaces) == addresses:
                await self._learn()
                keys = await self._look(self._beacons.shown)
                turn = not turned or loop.time() - turned > TURN_S
                if self._listener is not None and (turn or keys != shown):
                    if turn:
                        self._listener.renew()
                        turned = loop.time()
                    self._own = instance_of(self._listener.certificate_hash)
                    tags = beacon_tags(keys, self._own, os.urandom)
                    await lan.announce(self._own, self._listener.address.port, tags)
                    shown = keys
                await self._hurry.pause(CHECK_S)
        finally:
            self._seen.clear()
            await self._drop(list(self._judging))
            await lan.close()

    async def _learn(self) -> None:
        """New keys make neighbours of those who were strangers."""
        known = await self._look(self._beacons.known)
        if known != self._known:
            self._known = known
            for neighbour in tuple(self._seen.values()):
                self._judge(neighbour)

    # Who is there

    def _found(self, neighbour: Neighbour) -> None:
        self._seen[neighbour.instance] = neighbour
        self._judge(neighbour)

    def _gone(self, instance: bytes) -> None:
        self._seen.pop(instance, None)  # a link that there is goes on

    def _judge(self, neighbour: Neighbour) -> None:
        if neighbour.instance not in self._meetings:
            task = asyncio.create_task(self._recognise(neighbour))
            self._judging.add(task)
            task.add_done_callback(self._judging.discard)

    async def _recognise(self, neighbour: Neighbour) -> None:
        instance = neighbour.instance
        if (
            await self._look(recognised, self._known, instance, neighbour.tags)
            and instance not in self._meetings
        ):
            task = self._meetings[instance] = asyncio.create_task(self._meet(instance))
            task.add_done_callback(lambda _: self._meetings.pop(instance, None))

    async def _meet(self, instance: bytes) -> None:
        """Keep a link to a neighbour for as long as it is announced."""
        pauses, device = Pauses(), b""
        if self._own > instance:
            await asyncio.sleep(DEFER_S)
        while (neighbour := self._seen.get(instance)) is not None:
            if device and self._is_live(device):
                await self._hurry.pause(CHECK_S)
                continue
            where, rule = str(neighbour.addresses[0]), "unreachable"
            for address in neighbour.addresses:
                try:
                    link = await connect(address, self._key, instance=instance)
                    device, where, rule = link.peer, str(address), ""
                    break
                except QuireError as error:
                    where, rule = str(address), error.rule
            else:
                await self._rest(where, rule, pauses)
                continue
            if device == DeviceId(self._key.public):
                await link.close()
                return
            if self._is_live(device):  # it was faster
                await link.close()
                continue
            try:
                await self._serve(link, address)
                pauses.reset()
                rule = "closed"
            except QuireError as error:
                rule = error.rule
            await self._rest(where, rule, pauses)

    async def _rest(self, where: str, rule: str, pauses: Pauses) -> None:
        pause = pauses.next_s()
        await self._trouble(where, rule, pause)
        if await self._hurry.pause(pause):
            pauses.reset()

    async def _drop(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
