"""Linking a device of one's own over any road, and the history that follows: what a program with an event loop does.

old device                              new device
Waiting(store).open(...)  shows a code
async for step in ...                   road = await guest_road(code, ...)
device = await waiting.link(name)       await link_guest(guest, road, folder, unlock)
await serve_history(...)                fetch (node/fetching.py)
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quire.channels.manager import ChannelManager
from quire.core.crypto.link_code import LinkCode
from quire.core.crypto.secrets import Unlock
from quire.errors import TransportError, UsageError
from quire.node.fetching import from_lan, from_relay
from quire.node.node import Node
from quire.transports.interface import Address
from quire.transports.meeting import FolderRoad, LanHost, RelayRoad, Road, lan_guest

if TYPE_CHECKING:
    from quire.store.linking import LinkGuest, LinkHost

SERVE_S = 600.0  # for the new device to come for its history
DONE = 5  # a step after the last: by a relay, all that is needed lies there now


async def host_roads(
    code: LinkCode,
    *,
    folder: Path | None = None,
    relay: str = "",
    lan: Sequence[str] | None = None,
) -> list[Road]:
    """Roads on which the old device waits for the new one; `lan` as of `Node`. Raises: UsageError, TransportError."""
    roads: list[Road] = []
    try:
        if folder is not None:
            road = FolderRoad(folder)
            road.clear()
            roads.append(road)
        if relay:
            there = RelayRoad(relay, code.place)
            roads.append(there)
            await there.open(fresh=True)
        if lan is not None:
            near = LanHost()
            roads.append(near)
            try:
                await near.open(code.place, lan)
            except TransportError:
                if len(roads) == 1:
                    raise
                await near.close()
                roads.remove(near)
    except BaseException:
        await close_all(roads)
        raise
    return roads


async def guest_road(
    code: LinkCode, *, folder: Path | None = None, relay: str = "", lan: Sequence[str] = ()
) -> Road:
    """The road on which the new device meets the old one: the folder, the relay, or else the local network."""
    if folder is not None:
        return FolderRoad(folder)
    if relay:
        road = RelayRoad(relay, code.place)
        await road.open(fresh=True)  # what the old one answers comes after what we say
        return road
    return await lan_guest(code.place, lan)


async def link_host(host: LinkHost, roads: list[Road], *, name: str = "") -> Road:
    """The old device's side, on the road by which somebody comes first; that road, open.

    Raises: as `LinkHost.answer` and `.grant`; UsageError(rule="link_timeout"), TransportError. The attempt is spent then.
    """
    road, message = await _first(roads)
    try:
        await road.send(2, await asyncio.to_thread(host.answer, message))
        message = await road.receive(3)
        await road.send(4, await asyncio.to_thread(lambda: host.grant(message, name=name)))
    except BaseException:
        await road.close()
        raise
    return road


async def link_guest(guest: LinkGuest, road: Road, folder: Path, unlock: Unlock | None) -> None:
    """The new device's side: makes the vault, or certifies one that was restored, which needs no unlock.

    Raises: as `LinkGuest.offer` and `.finish`, UsageError, TransportError.
    """
    await road.send(1, guest.start())
    await road.send(3, guest.offer(await road.receive(2)))
    message = await road.receive(4)
    await asyncio.to_thread(guest.finish, message, folder, unlock)


async def give_history(
    chat: ChannelManager, host: LinkHost, road: Road, *, relay: str = "", lan: Sequence[str] | None = None
) -> bool:
    """Let the new device have what there is, on the road it came by; did it come for it?

    Raises: TransportError.
    """
    if isinstance(road, RelayRoad):
        await Node(chat).sync_with_relay(relay)
        await road.send(DONE, b"")
        return True
    if not isinstance(road, LanHost) or lan is None:
        return False
    anywhere = Address(lan[0] if len(lan) == 1 else "0.0.0.0", 0)  # noqa: S104 - while it is waited for
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SERVE_S), Node(chat, listen=anywhere, lan=lan) as node:
            async for event in node.events():
                if (event.kind, event.peer, event.rule) == ("lost", host.device, "closed"):
                    return True
    return False


async def fetch_history(
    chat: ChannelManager, road: Road, *, relay: str = "", lan: Sequence[str] | None = None
) -> None:
    """What there is, from the old device, or from the relay where it puts it. Raises: TransportError."""
    if isinstance(road, RelayRoad):
        done = asyncio.create_task(road.receive(DONE))
        try:
            await from_relay(chat, relay, done.done)
        finally:
            done.cancel()
            await asyncio.gather(done, return_exceptions=True)
    elif not isinstance(road, FolderRoad):
        await from_lan(chat, lan or (), lambda: True)


async def close_all(roads: Sequence[Road]) -> None:
    """Close roads that nobody came by."""
    for road in roads:
        await road.close()


async def _first(roads: list[Road]) -> tuple[Road, bytes]:
    """The road by which a first message comes, and the message; the other roads are closed."""
    waiting = {asyncio.create_task(road.receive(1)): road for road in roads}
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    came = next(iter(done))
    await close_all([road for task, road in waiting.items() if task is not came])
    try:
        return waiting[came], came.result()
    except (UsageError, TransportError):
        await waiting[came].close()
        raise
