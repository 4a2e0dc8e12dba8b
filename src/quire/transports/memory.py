"""Two ends of a link within one process, with the bounds and the errors of a real one."""

from __future__ import annotations

import asyncio

from quire.core.ids import DeviceId
from quire.core.limits import FRAME_BYTES_MAX
from quire.errors import MalformedError, TransportError
from quire.transports.interface import check_frame

FRAMES_MAX = 16  # under way in one direction


class MemoryLink:
    """One end."""

    def __init__(
        self, peer: DeviceId, out: asyncio.Queue[bytes | None], into: asyncio.Queue[bytes | None]
    ) -> None:
        self._peer = peer
        self._out, self._into = out, into
        self._broken = asyncio.Event()
        self._other: MemoryLink | None = None
        self._closed = False

    @property
    def peer(self) -> DeviceId:
        return self._peer

    async def send(self, frame: bytes) -> None:
        check_frame(frame)
        await self._unless_broken(self._out.put(frame))

    async def receive(self) -> bytes | None:
        if self._into.empty() and self._closed:
            return None
        frame: bytes | None = await self._unless_broken(self._into.get())
        if frame is None:
            self._closed = True
        elif len(frame) > FRAME_BYTES_MAX:
            raise MalformedError("a frame larger than any may be", rule="frame_too_large")
        return frame

    async def close(self) -> None:
        if not self._broken.is_set() and self._other is not None and not self._other._broken.is_set():
            try:
                self._out.put_nowait(None)
            except asyncio.QueueFull:
                self._other._broken.set()
        self._broken.set()

    def cut(self) -> None:
        """The link breaks, for both."""
        self._broken.set()
        if self._other is not None:
            self._other._broken.set()

    async def _unless_broken(self, doing: object) -> bytes | None:
        if self._broken.is_set():
            doing.close()  # type: ignore[attr-defined]
            raise TransportError("the link broke", rule="link_lost")
        work = asyncio.ensure_future(doing)  # type: ignore[call-overload]
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait({work, broken}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise TransportError("the link broke", rule="link_lost")
            done: bytes | None = work.result()
            return done
        finally:
            work.cancel()
            broken.cancel()


def memory_links(one: DeviceId, other: DeviceId) -> tuple[MemoryLink, MemoryLink]:
    """The end that `one` holds, and the end that `other` holds."""
    there: asyncio.Queue[bytes | None] = asyncio.Queue(FRAMES_MAX)
    back: asyncio.Queue[bytes | None] = asyncio.Queue(FRAMES_MAX)
    here, far = MemoryLink(other, there, back), MemoryLink(one, back, there)
    here._other, far._other = far, here
    return here, far
