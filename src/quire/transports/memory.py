"""Two ends of a link within one process, with the bounds and the errors of a real one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from quire.core.ids import DeviceId
from quire.errors import TransportError
from quire.transports.interface import check_frame

FRAMES_MAX = 16  # under way in one direction


class _Line:
    """What both ends share: frames for each, which of them has closed, and whether the link broke."""

    def __init__(self) -> None:
        self.frames: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self.closed = [False, False]
        self.broken = False
        self._waiting: list[asyncio.Future[None]] = []

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait for something to be so. Raises: TransportError if the link breaks before."""
        while not self.broken and not ready():
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            finally:
                self._waiting.remove(waiter)
        if self.broken:
            raise TransportError("the link broke", rule="link_lost")

    def changed(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)


class MemoryLink:
    """One end."""

    def __init__(self, peer: DeviceId, line: _Line, side: int) -> None:
        self._peer, self._line, self._side = peer, line, side

    @property
    def peer(self) -> DeviceId:
        return self._peer

    async def send(self, frame: bytes) -> None:
        check_frame(frame)
        line, there = self._line, self._line.frames[1 - self._side]
        await line.until(lambda: len(there) < FRAMES_MAX or any(line.closed))
        if any(line.closed):
            raise TransportError("the link has ended", rule="link_lost")
        there.append(frame)
        line.changed()

    async def receive(self) -> bytes | None:
        line, here = self._line, self._line.frames[self._side]
        await line.until(lambda: bool(here) or any(line.closed))
        if line.closed[self._side]:
            raise TransportError("the link has ended", rule="link_lost")
        if not here:
            return None
        frame = here.popleft()
        line.changed()
        return frame

    async def close(self) -> None:
        self._line.closed[self._side] = True
        self._line.changed()

    def cut(self) -> None:
        """The link breaks, for both."""
        self._line.broken = True
        self._line.changed()


def memory_links(one: DeviceId, other: DeviceId) -> tuple[MemoryLink, MemoryLink]:
    """The end that `one` holds, and the end that `other` holds."""
    line = _Line()
    return MemoryLink(other, line, 0), MemoryLink(one, line, 1)
