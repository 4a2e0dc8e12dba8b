"""A TCP road that fails on purpose: it stands between two programs on loopback and does to their bytes what networks do.

    async with Proxy(address) as proxy:
        proxy.fault = Fault(cut_after=5_000)         # of each connection that begins from now on
        ... connect to proxy.address ...
        proxy.swallow()                          # those that are there carry nothing any more, and do not say so

What is behind it is real: sockets, TLS, WebSockets. Nothing here waits but for a throttle.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import NamedTuple, Self

from quire.transports.interface import Address

PIECE = 16 << 10


class Fault(NamedTuple):
    """What happens to a connection. Bytes are counted in both directions together."""

    cut_after: int = -1  # then both ends are closed
    reset_after: int = -1  # likewise, but rudely
    swallow_after: int = -1  # then it takes everything, gives nothing, and stays
    bytes_per_s: float = 0.0  # each way; 0: as fast as they go
    delay_s: float = 0.0  # before each piece


class Proxy:
    """Passes connections on to an address."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[_Link] = set()
        self.fault = Fault()
        self.connections = 0
        self.bytes = 0  # that came through

    @property
    def address(self) -> Address:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    def swallow(self) -> None:
        """The connections that are there carry nothing from here on."""
        for link in self._links:
            link.swallows = True

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *failure: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)  # what was aborted is closed now

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # also if it never began

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        link = _Link(self, self.fault, (writer, back))
        self._links.add(link)
        ways = [asyncio.ensure_future(link.carry(*way)) for way in ((reader, back), (there, writer))]
        try:
            await asyncio.gather(*ways)
        except (OSError, EOFError, _Ended):
            pass
        finally:
            for end in (writer, back):  # first: we may be cancelled once more as we wait
                end.transport.abort()
            self._links.discard(link)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


class _Ended(Exception):
    pass


class _Link:
    """One connection through it."""

    def __init__(self, proxy: Proxy, fault: Fault, ends: tuple[asyncio.StreamWriter, ...]) -> None:
        self._proxy, self._fault, self._ends = proxy, fault, ends
        self._carried = 0
        self.swallows = False

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        fault = self._fault
        piece = max(1, int(fault.bytes_per_s / 50)) if fault.bytes_per_s else PIECE
        while data := await source.read(piece):
            if fault.delay_s:
                await asyncio.sleep(fault.delay_s)
            if fault.bytes_per_s:
                await asyncio.sleep(len(data) / fault.bytes_per_s)
            self._fate(len(data))
            if not self.swallows:
                self._proxy.bytes += len(data)
                target.write(data)
                await target.drain()
        if self.swallows:
            await asyncio.Event().wait()
        with contextlib.suppress(OSError, RuntimeError):
            target.write_eof()

    def _fate(self, size: int) -> None:
        """Before so many bytes more come through."""
        self._carried += size
        fault = self._fault
        if 0 <= fault.swallow_after <= self._carried:
            self.swallows = True
        if 0 <= fault.reset_after <= self._carried:
            for end in self._ends:  # closed so, a socket says that it was reset
                end.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            raise _Ended
        if 0 <= fault.cut_after <= self._carried:
            raise _Ended
