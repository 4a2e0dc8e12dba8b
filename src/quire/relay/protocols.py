"""The bytes of a relay's connections, watched: uvicorn's two protocols, with an end for whoever holds one for nothing.

A connection has `head_s` to become a WebSocket, or to ask for /healthz or /metrics and be gone. A WebSocket is ended whose
frame takes more memory than its address may have, that cuts one into thousands of parts, pings as fast as it can, takes
nothing of what it asked for, or says nothing at all, not even that it is there. All that comes is a sign of life, however
slowly: docs/spec/10-relay.md, 2.7 and 3.3.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from quire.relay.bounds import Pace

if TYPE_CHECKING:
    from quire.relay.server import Relay

PARTS_MAX = 1_024  # of one message
PINGS_PER_S, PINGS_AT_ONCE = 1.0, 64
UNREAD_BYTES_MAX = 64 << 10  # of answers to pings, which wait for nobody
SOCKETS_SPARE = 256  # beyond the connections: heads, health checks


def protocols(relay: Relay) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """For HTTP and for WebSockets, of one relay."""

    class Head(H11Protocol):
        """A connection before it is a WebSocket, if it ever is."""

        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            limits = relay.limits
            if len(self.connections) > limits.connections_max + SOCKETS_SPARE:
                relay.refused("too_many_connections")
                transport.abort()
                return
            self._late = self.loop.call_later(limits.head_s, self._too_late)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._late is not None:
                self._late.cancel()
            super().connection_lost(exc)

        def _too_late(self) -> None:
            if self.transport.get_protocol() is self:
                relay.refused("head_slow")
                self.transport.abort()

    class Frames(WebSocketsSansIOProtocol):
        """A WebSocket."""

        _watching: asyncio.TimerHandle | None = None
        _address = ""
        _held = 0  # of a message that is not whole
        _parts = _parts_bytes = 0
        _written = _gone = 0
        _heard_at = _moved_at = 0.0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._address = self.client[0] if self.client else ""
            self._pings = Pace(PINGS_PER_S, PINGS_AT_ONCE)
            self._heard_at = self._moved_at = self.loop.time()
            self._watching = self.loop.call_later(relay.limits.alive_s, self._watch)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._watching is not None:
                self._watching.cancel()
            self._hold(0)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._heard_at = self.loop.time()
            super().data_received(data)
            if not self.transport.is_closing():
                self._hold(len(cast(Any, self.conn).reader.buffer) + self._parts_bytes)

        def handle_bytes(self, event: Frame) -> None:
            self._part(event)
            super().handle_bytes(event)

        def handle_text(self, event: Frame) -> None:
            self._part(event)
            super().handle_text(event)

        def handle_cont(self, event: Frame) -> None:
            self._part(event)
            super().handle_cont(event)

        def handle_ping(self) -> None:
            if self._pings.wait_s("") or self.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
                self._end("too_many_pings")
            else:
                super().handle_ping()

        async def send(self, message: Any) -> None:
            await super().send(message)
            if message["type"] == "websocket.send":
                self._written += len(message.get("bytes") or b"")
            await self.writable.wait()  # what was sent is not held here, too

        def _part(self, event: Frame) -> None:
            self._parts, self._parts_bytes = self._parts + 1, self._parts_bytes + len(event.data)
            if event.fin:
                self._parts = self._parts_bytes = 0
            elif self._parts > PARTS_MAX:
                self._end("too_many_parts")

        def _hold(self, size: int) -> None:
            """So much of a message is here that is not whole."""
            more, self._held = size - self._held, size
            if more < 0:
                relay.memory.free(self._address, -more)
            elif more:
                fits = relay.memory.fits(self._address, more)
                relay.memory.hold(self._address, more)
                if not fits:
                    self._end("too_much_memory")

        def _watch(self) -> None:
            """Now and then: is anybody there?"""
            limits, now = relay.limits, self.loop.time()
            self._watching = self.loop.call_later(limits.alive_s, self._watch)
            unsent = self.transport.get_write_buffer_size()
            gone, self._gone = (
                self._gone,
                self._written - unsent,
            )  # our pings make it less, and nothing else does
            if not unsent or self._gone > gone:
                self._moved_at = now
            if self.read_paused:
                self._heard_at = now  # it is we who do not listen
            if now - self._moved_at > limits.silence_s:
                self._end("reads_nothing")
            elif now - self._heard_at > limits.silence_s:
                self._end("silent")

        def _end(self, rule: str) -> None:
            if not self.transport.is_closing():
                relay.refused(rule)
            self.transport.abort()

    return Head, Frames
