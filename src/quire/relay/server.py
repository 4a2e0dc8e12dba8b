"""The relay's server: a WebSocket at /v1, /healthz and /metrics.

A connection opens mailboxes by signing its nonce for each, and then puts and subscribes. Puts of all connections that wait
together share one transaction and one flush to the disk; only then is each acknowledged. Who subscribes is sent from the
disk, a page at a time, as fast as they read: nothing waits in memory for a slow reader. So is who reads backwards.

Nothing that says who did what is logged: no address, no mailbox. docs/spec/10-relay.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections import Counter as Counts
from collections import deque
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from quire.core.relay_frames import (
    ITEM_BYTES_MAX,
    NONCE_SIZE,
    READ_ITEMS_MAX,
    VERSION,
    Bye,
    CaughtUp,
    Challenge,
    Frame,
    Item,
    Left,
    Open,
    Put,
    Read,
    Refused,
    Stored,
    Subscribe,
    decode_from_device,
    encode_frame,
    to_be_signed,
)
from quire.errors import MalformedError, StorageError
from quire.relay.backend import Backend, Kept, Usage
from quire.relay.bounds import Memory, Pace
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
        self._waiting: asyncio.Queue[tuple[Put, _Connection]] = asyncio.Queue()
        self._readers: dict[bytes, set[_Connection]] = {}
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
        connection = _Connection(self, socket, address)
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

    def subscribe(self, mailbox: bytes, connection: _Connection) -> None:
        self._readers.setdefault(mailbox, set()).add(connection)

    def refused(self, rule: str) -> None:
        self._refusals.labels(rule).inc()
        self._parted[rule] += 1

    def slowed(self) -> None:
        self._slowed.inc()

    def sent(self, count: int) -> None:
        self._sent.inc(count)

    def put(self, put: Put, connection: _Connection) -> None:
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

    async def _write_alone(self, put: Put, connection: _Connection) -> None:
        try:
            cursors = await self.on_disk(self._keep, [(put.mailbox, put.data)])
        except StorageError as error:
            log.warning("refused", extra={"rule": error.rule})
            self.refused(error.rule)
            connection.answer(Refused(put.number, error.rule))
        else:
            self._stored(put, connection, cursors[0])

    def _stored(self, put: Put, connection: _Connection, cursor: int) -> None:
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


class _Connection:
    """One device, as far as a relay knows."""

    def __init__(self, relay: Relay, socket: WebSocket, address: str) -> None:
        self._relay = relay
        self._socket = socket
        self.address = address
        self._nonce = os.urandom(NONCE_SIZE)
        self._opened: set[bytes] = set()
        self.places: dict[bytes, int] = {}  # mailbox -> cursor of the last item sent
        self.own: dict[bytes, set[int]] = {}  # mailbox -> items that were put here, of which it needs no copy
        self._ready: dict[bytes, bool] = {}  # mailboxes to look into; True: say when there is no more
        self._reads: deque[Read] = deque()  # what is asked for, in turn
        self._answers: list[bytes] = []
        self._work = asyncio.Event()
        self._waiting = 0  # puts that are not answered
        self._room = asyncio.Event()
        self._allowed = float(4 * relay.limits.put_bytes_per_s)
        self._at = time.monotonic()

    @property
    def opened(self) -> int:
        """How many mailboxes are open."""
        return len(self._opened)

    async def run(self) -> None:
        relay = self._relay
        await self._socket.send_bytes(
            encode_frame(Challenge(VERSION, self._nonce, relay.backend.relay, ITEM_BYTES_MAX))
        )
        sending = asyncio.create_task(self._send_all())
        try:
            await self._read_all()
        except (WebSocketDisconnect, TimeoutError, RuntimeError):
            pass
        except MalformedError as error:
            relay.refused(error.rule)
            with contextlib.suppress(Exception):
                await self._socket.send_bytes(encode_frame(Bye(error.rule)))
                await self._socket.close(1002)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _read_all(self) -> None:
        async with asyncio.timeout(self._relay.limits.opening_s):
            while not self._opened:
                await self._take_in_turn(await self._next())
        while True:
            await self._take_in_turn(await self._next())

    async def _take_in_turn(self, frame: Frame) -> None:
        """Take a frame once there is time and room for it; meanwhile nothing more is read."""
        if isinstance(frame, Put):
            await self._slow_down(len(frame.data))
            if frame.mailbox in self._opened:
                await self._relay.memory.room(self.address, len(frame.data))
        elif wait_s := self._relay.pace.wait_s(self.address):
            self._relay.slowed()
            await asyncio.sleep(wait_s)
        self._take(frame)

    async def _next(self) -> Frame:
        """The next frame; of who reads no answers, none is read."""
        while len(self._answers) + len(self._reads) >= self._relay.limits.answers_waiting_max:
            self._room.clear()
            await self._room.wait()
        message = await self._socket.receive()
        if message["type"] != "websocket.receive":
            raise WebSocketDisconnect
        return decode_from_device(message.get("bytes") or b"")

    def _take(self, frame: Frame) -> None:
        match frame:
            case Open(number=number, mailbox=mailbox, signature=signature):
                limits, memory = self._relay.limits, self._relay.memory
                if mailbox in self._opened:
                    return
                fits = memory.fits(self.address, limits.mailbox_cost)
                if len(self._opened) >= limits.mailboxes_per_connection_max or not fits:
                    self._refuse(number, "too_many_mailboxes")
                elif not signed(mailbox, signature, to_be_signed(self._nonce, mailbox)):
                    self._refuse(number, "mailbox_signature")
                else:
                    self._opened.add(mailbox)
                    memory.hold(self.address, limits.mailbox_cost)
            case (
                Put(number=number, mailbox=mailbox)
                | Subscribe(number=number, mailbox=mailbox)
                | Read(number=number, mailbox=mailbox)
            ) if mailbox not in self._opened:
                self._refuse(number, "mailbox_not_open")
            case Put():
                self._waiting += 1
                self._relay.put(frame, self)
            case Read():
                self._reads.append(frame)
                self._work.set()
            case Subscribe(mailbox=mailbox, after=after):
                self.places[mailbox] = after
                self._relay.subscribe(mailbox, self)
                self._ready[mailbox] = True
                self._work.set()

    async def _slow_down(self, size: int) -> None:
        """Who puts faster than they may, or than the disk takes it, is read from more slowly."""
        limits = self._relay.limits
        while self._waiting >= limits.puts_waiting_max:
            self._room.clear()
            await self._room.wait()
        now = time.monotonic()
        most = 4.0 * limits.put_bytes_per_s
        self._allowed = min(most, self._allowed + (now - self._at) * limits.put_bytes_per_s) - size
        self._at = now
        if self._allowed < 0:
            await asyncio.sleep(-self._allowed / limits.put_bytes_per_s)

    def _refuse(self, number: int, rule: str) -> None:
        self._relay.refused(rule)
        self.answer(Refused(number, rule), waited=False)

    def answer(self, frame: Frame, *, waited: bool = True) -> None:
        """Say this, by and by."""
        if waited:
            self._waiting -= 1
        self._room.set()
        self._answers.append(encode_frame(frame))
        self._work.set()

    def wake(self, mailbox: bytes) -> None:
        """Something came into a mailbox."""
        self._ready.setdefault(mailbox, False)
        self._work.set()

    async def _send_all(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._answers or self._ready or self._reads:
                answers, self._answers = self._answers, []
                self._room.set()
                for answer in answers:
                    await self._socket.send_bytes(answer)
                if self._ready:
                    mailbox = next(iter(self._ready))
                    await self._send_following(mailbox, self._ready.pop(mailbox))
                if self._reads:
                    await self._send_read(self._reads.popleft())

    async def _send_following(self, mailbox: bytes, tells: bool) -> None:
        """What comes next in a mailbox that is subscribed to."""
        own = self.own.get(mailbox, set())
        found = 0
        async with self._page(self._relay.backend.after, mailbox, self.places[mailbox]) as page:
            for kept in page:
                data = b"" if kept.cursor in own else kept.data
                own.discard(kept.cursor)
                await self._socket.send_bytes(encode_frame(Item(mailbox, kept.cursor, data)))
                self.places[mailbox] = kept.cursor
                found += 1
        if found:  # behind the others: all have their turn
            self._ready[mailbox] = tells or self._ready.get(mailbox, False)
        elif tells:
            await self._socket.send_bytes(encode_frame(CaughtUp(mailbox, self.places[mailbox])))

    async def _send_read(self, asked: Read) -> None:
        """One page of what was asked for, and what is left of that."""
        backend, mailbox = self._relay.backend, asked.mailbox
        after, before = asked.after, asked.before
        reading = (
            (backend.before, mailbox, before, after) if asked.newest else (backend.after, mailbox, after)
        )
        found = False
        async with self._page(*reading, items_max=asked.items_max) as page:
            for kept in page:
                if kept.cursor >= asked.before:
                    break
                await self._socket.send_bytes(encode_frame(Item(mailbox, kept.cursor, kept.data)))
                after, before = (after, kept.cursor) if asked.newest else (kept.cursor, before)
                found = True
            found = found and page[-1].cursor < asked.before
        await self._socket.send_bytes(encode_frame(Left(mailbox, after, before if found else after)))

    @contextlib.asynccontextmanager
    async def _page(
        self, read: Any, *where: bytes | int, items_max: int = READ_ITEMS_MAX
    ) -> AsyncIterator[list[Kept]]:
        """A page of items, and room in memory for it while it is sent."""
        limits, memory = self._relay.limits, self._relay.memory
        size = limits.page_bytes + ITEM_BYTES_MAX  # a page, and what reaches beyond it
        await memory.room(self.address, size)
        try:
            items_max = min(items_max, limits.page_items)
            found: list[Kept] = await self._relay.on_disk(read, *where, items_max, limits.page_bytes)
            over = size - sum(len(kept.data) for kept in found)
            memory.free(self.address, over)
            size -= over
            yield found
            self._relay.sent(len(found))
        finally:
            memory.free(self.address, size)


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


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how grave, what, by which rule, and how often."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": int(record.created * 1000),
            "level": record.levelname.lower(),
            "what": record.getMessage(),
        }
        for name in ("rule", "count"):
            if fact := getattr(record, name, ""):
                said[name] = fact
        if record.exc_info and record.exc_info[0] is not None:
            said["error"] = record.exc_info[0].__name__
        return json.dumps(said)


def signed(mailbox: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(mailbox).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def now_ms() -> int:
    return time.time_ns() // 1_000_000
