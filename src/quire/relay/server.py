"""The relay's server: a WebSocket at /v1, /healthz and /metrics.

A connection (connection.py) opens mailboxes by signing its nonce for each, and then puts, subscribes and reads. Puts of all
connections that wait together share one transaction and one flush to the disk; only then is each acknowledged. What was kept
for long enough expires, in the background.

Nothing that says who did what is logged: no address, no mailbox. docs/spec/10-relay.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter as Counts
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from quire.core.relay_frames import (
    Bye,
    Put,
    Refused,
    Stored,
    encode_frame,
)
from quire.errors import StorageError
from quire.relay.backend import Backend, Usage
from quire.relay.bounds import Memory, Pace
from quire.relay.connection import Connection
from quire.relay.limits import LIMITS, Limits
from quire.relay.protocols import protocols

FRAME_BYTES_MAX = 2 << 20
BATCH_PUTS_MAX = 2_048  # in one transaction
EXPIRE_PAUSE_S = 60.0
GRACE_S = 5  # for open connections, when the relay ends
log = logging.getLogger("quire.relay")


class Relay:
    """Mailboxes, and those who use them."""

    def __init__(self, backend: Backend, limits: Limits = LIMITS) -> None:
        self.backend = backend
        self.limits = limits
        self.registry = CollectorRegistry()
        self._puts = Counter("quire_relay_puts", "Items put", registry=self.registry)
        self._refusals = Counter("quire_relay_refusals", "Requests refused", ["rule"], registry=self.registry)
        self._slowed = Counter("quire_relay_slowed", "Requests that had to wait", registry=self.registry)
        self._sent = Counter("quire_relay_items_sent", "Items sent to readers", registry=self.registry)
        self._open = Gauge("quire_relay_connections", "Open connections", registry=self.registry)
        self._kept = Gauge("quire_relay_kept_bytes", "Bytes kept", registry=self.registry)
        held = Gauge("quire_relay_memory_bytes", "Bytes held for connections", registry=self.registry)
        held.set_function(lambda: self.memory.held)
        self.memory = Memory(limits.memory_bytes_max, limits.memory_per_address_max)
        self.pace = Pace(limits.requests_per_s, limits.requests_at_once)
        self._parted: Counts[str] = Counts()  # since the log last told of it
        self._waiting: asyncio.Queue[tuple[Put, Connection]] = asyncio.Queue()
        self._readers: dict[bytes, set[Connection]] = {}
        self._addresses: Counts[str] = Counts()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="quire-relay")
        self._usage = Usage(0, 0)

    def app(self) -> Starlette:
        """As an ASGI application."""
        routes = [
            WebSocketRoute("/v1", self._serve),
            Route("/healthz", self._healthz),
            Route("/metrics", self._metrics),
        ]
        return Starlette(routes=routes, lifespan=self._living)

    @contextlib.asynccontextmanager
    async def _living(self, app: Starlette) -> AsyncIterator[None]:
        await self.on_disk(self._count)
        tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._expire())]
        log.info("started")
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.on_disk(self.backend.close)
            self._disk.shutdown()
            log.info("ended")

    async def on_disk(self, do: Any, *arguments: Any) -> Any:
        """Run what blocks, one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, do, *arguments)

    # What is asked

    async def _serve(self, socket: WebSocket) -> None:
        address = socket.client.host if socket.client else ""
        total = self._addresses.total()
        limit = self.limits
        await socket.accept()
        if total >= limit.connections_max or self._addresses[address] >= limit.connections_per_address_max:
            self.refused("too_many_connections")
            await socket.send_bytes(encode_frame(Bye("too_many_connections")))
            await socket.close()
            return
        self._addresses[address] += 1
        self._open.inc()
        connection = Connection(self, socket, address)
        try:
            await connection.run()
        finally:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
            self._open.dec()
            self.memory.free(address, connection.opened * limit.mailbox_cost)
            for mailbox in connection.places:
                readers = self._readers.get(mailbox, set())
                readers.discard(connection)
                if not readers:
                    self._readers.pop(mailbox, None)

    def subscribe(self, mailbox: bytes, connection: Connection) -> None:
        self._readers.setdefault(mailbox, set()).add(connection)

    def refused(self, rule: str) -> None:
        self._refusals.labels(rule).inc()
        self._parted[rule] += 1

    def slowed(self) -> None:
        self._slowed.inc()

    def sent(self, count: int) -> None:
        self._sent.inc(count)

    def put(self, put: Put, connection: Connection) -> None:
        self._waiting.put_nowait((put, connection))

    # In the background

    async def _write(self) -> None:
        """All puts that wait, in one transaction; then each is told."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH_PUTS_MAX and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                cursors = await self.on_disk(self._keep, [(put.mailbox, put.data) for put, _ in batch])
            except StorageError:  # what there is room for is kept all the same
                for one in batch:
                    await self._write_alone(*one)
            else:
                for (put, connection), cursor in zip(batch, cursors, strict=True):
                    self._stored(put, connection, cursor)
            for put, connection in batch:
                self.memory.free(connection.address, len(put.data))

    async def _write_alone(self, put: Put, connection: Connection) -> None:
        try:
            cursors = await self.on_disk(self._keep, [(put.mailbox, put.data)])
        except StorageError as error:
            log.warning("refused", extra={"rule": error.rule})
            self.refused(error.rule)
            connection.answer(Refused(put.number, error.rule))
        else:
            self._stored(put, connection, cursors[0])

    def _stored(self, put: Put, connection: Connection, cursor: int) -> None:
        self._puts.inc()
        if cursor > connection.places.get(put.mailbox, cursor):
            connection.own.setdefault(put.mailbox, set()).add(cursor)
        connection.answer(Stored(put.number, cursor))
        for reader in self._readers.get(put.mailbox, ()):
            reader.wake(put.mailbox)

    def _keep(self, items: list[tuple[bytes, bytes]]) -> list[int]:
        size = sum(len(data) for _, data in items)
        if self._usage.bytes + size > self.limits.relay_bytes_max:
            raise StorageError("the relay is full", rule="relay_full")
        cursors = self.backend.put(items, now_ms(), self.limits.mailbox_bytes_max)
        self._usage = Usage(
            self._usage.mailboxes, self._usage.bytes + size
        )  # at most: counted anew each minute
        return cursors

    def _count(self) -> None:
        """How much there is, counted where puts are: between two of them."""
        self._usage = self.backend.usage()

    async def _expire(self) -> None:
        while True:
            try:
                while await self.on_disk(self.backend.expire, now_ms() - self.limits.ttl_ms):
                    await asyncio.sleep(0)
                await self.on_disk(self._count)
                self._kept.set(self._usage.bytes)
            except StorageError as error:
                log.warning("expiring failed", extra={"rule": error.rule})
            parted, self._parted = self._parted, Counts()
            for rule, count in sorted(parted.items()):  # who it was is not for the log
                log.info("refused", extra={"rule": rule, "count": count})
            await asyncio.sleep(EXPIRE_PAUSE_S)

    # What an operator asks

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"ok": True, "bytes": self._usage.bytes})  # whoever asks costs the disk nothing

    async def _metrics(self, request: Request) -> Response:
        return Response(generate_latest(self.registry), media_type="text/plain; version=0.0.4")


def server(relay: Relay, host: str, port: int) -> uvicorn.Server:
    """A server, to be run: it ends in good order when it is told to by a signal."""
    head, frames = protocols(relay)
    config = uvicorn.Config(
        relay.app(), host, port, ws=frames, http=head, ws_max_size=FRAME_BYTES_MAX, ws_per_message_deflate=False,
        ws_ping_interval=relay.limits.alive_s, ws_ping_timeout=None, log_config=None, access_log=False,
        server_header=False, date_header=False, lifespan="on", timeout_graceful_shutdown=GRACE_S, loop="asyncio",
        h11_max_incomplete_event_size=16_384,
    )  # fmt: skip
    return _Server(config)


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it, so that an end in good order is one for the shell, too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def now_ms() -> int:
    return time.time_ns() // 1_000_000
