"""Two ends of a link in memory, and people who sync over one."""

from __future__ import annotations

import asyncio

from quire.core.ids import DeviceId
from quire.errors import TransportError
from quire.node.peer import PeerSync, SyncReport
from quire.testing.people import Person


class End:
    """One end."""

    def __init__(
        self, peer: DeviceId, out: asyncio.Queue[bytes | None], into: asyncio.Queue[bytes | None]
    ) -> None:
        self._peer, self._out, self._into = peer, out, into
        self.frames_max = -1  # the link breaks after so many
        self.sent: list[bytes] = []

    @property
    def peer(self) -> DeviceId:
        return self._peer

    async def send(self, frame: bytes) -> None:
        if len(self.sent) == self.frames_max:
            await self.close()
            raise TransportError("the link is cut", rule="link_lost")
        self.sent.append(frame)
        await self._out.put(frame)

    async def receive(self) -> bytes | None:
        return await self._into.get()

    async def close(self) -> None:
        if not self._out.full():
            self._out.put_nowait(None)


def ends(one: Person, other: Person) -> tuple[End, End]:
    there: asyncio.Queue[bytes | None] = asyncio.Queue(64)
    back: asyncio.Queue[bytes | None] = asyncio.Queue(64)
    return End(other.store.device, there, back), End(one.store.device, back, there)


def sync(one: Person, other: Person) -> tuple[SyncReport, SyncReport]:
    """Both until they rest."""

    async def both() -> tuple[SyncReport, SyncReport]:
        here, there = ends(one, other)
        async with asyncio.timeout(60):
            return await asyncio.gather(PeerSync(one.chat, here).run(), PeerSync(other.chat, there).run())

    return asyncio.run(both())
