"""People who sync over a link in memory, and a link that breaks."""

from __future__ import annotations

import asyncio

from quire.node.peer import PeerSync, SyncReport
from quire.testing.people import Person
from quire.transports.memory import MemoryLink, memory_links


class Recorded:
    """An end that keeps what is sent over it, and breaks after so many frames."""

    def __init__(self, link: MemoryLink, frames_max: int = -1) -> None:
        self._link = link
        self._frames_max = frames_max
        self.sent: list[bytes] = []
        self.peer, self.receive, self.close = link.peer, link.receive, link.close

    async def send(self, frame: bytes) -> None:
        if len(self.sent) == self._frames_max:
            self._link.cut()
        self.sent.append(frame)
        await self._link.send(frame)


def ends(one: Person, other: Person, frames_max: int = -1) -> tuple[Recorded, MemoryLink]:
    here, there = memory_links(one.store.device, other.store.device)
    return Recorded(here, frames_max), there


def sync(one: Person, other: Person) -> tuple[SyncReport, SyncReport]:
    """Both until they rest."""

    async def both() -> tuple[SyncReport, SyncReport]:
        here, there = ends(one, other)
        async with asyncio.timeout(60):
            return await asyncio.gather(PeerSync(one.chat, here).run(), PeerSync(other.chat, there).run())

    return asyncio.run(both())
