"""Roads on which two devices that are being linked meet, by the open half of a code: a folder, a relay, a local network.

What travels is the few messages of linking (core/crypto/linking.py), which protect themselves: a road need not be
trusted, and nothing is proven by it. Each message is whole or not there; on each road the first that comes for a step is
the one. Whoever puts junk there spoils the attempt, and learns nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from quire.core.crypto.beacons import beacon_tags, instance_of, link_beacon, recognised
from quire.core.crypto.mailboxes import link_mailbox
from quire.core.limits import BUNDLE_BYTES_MAX
from quire.core.relay_frames import ITEM_BYTES_MAX, CaughtUp, Item
from quire.errors import TransportError, UsageError
from quire.transports.direct import HANDSHAKE_S, blind_context, close_stream, server_context
from quire.transports.lan import Lan, Neighbour, own_addresses
from quire.transports.relay import RelayClient
from quire.transports.relay import connect as connect_relay

T = TypeVar("T")

STEP_NAME = "quire-link-{}"
POLL_S = 0.2
WAIT_S = 600.0  # for somebody to type a code, to carry a stick, or to put all history at a relay
ANSWER_S = 60.0  # for a machine that was there a moment ago, over a network
ANSWERS = (2, 3, 4)  # the steps that are such answers
MESSAGE_BYTES_MAX = BUNDLE_BYTES_MAX + (
    64 << 10
)  # over the longest message, whose own limit says what is wrong
FIRST_BYTES_MAX = 256  # of the message that a stranger may send
PART_BYTES_MAX = (
    ITEM_BYTES_MAX - 4
)  # of a message in a relay's item: step (1) || part (2) || last (1) || bytes
PARTS_MAX = -(-MESSAGE_BYTES_MAX // PART_BYTES_MAX)
RECONNECT_S = 1.0
GUESTS_MAX = 16  # who may knock at once on a local network


class Road(Protocol):
    """Where messages of linking go to and fro."""

    async def send(self, step: int, message: bytes) -> None:
        """Let the other side have it. Raises: TransportError."""

    async def receive(self, step: int) -> bytes:
        """The other side's message of that step.

        Raises: UsageError(rule="link_timeout"), TransportError with rule "link_unanswered" or another.
        """

    async def close(self) -> None:
        """End."""


class FolderRoad:
    """Messages as files in a folder that both reach; what was read is removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clear(self) -> None:
        """Take away what an attempt before this one left, also half written."""
        for left in [
            *self._folder.glob(STEP_NAME.format("*")),
            *self._folder.glob(f".{STEP_NAME.format('*')}"),
        ]:
            left.unlink(missing_ok=True)

    async def send(self, step: int, message: bytes) -> None:
        path = self._path(step)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with fresh.open("wb") as file:
                file.write(message)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)

    async def receive(self, step: int) -> bytes:
        return await _in_time(self._receive(step))

    async def _receive(self, step: int) -> bytes:
        path = self._path(step)
        while True:
            with contextlib.suppress(FileNotFoundError):  # also while a stick is on its way
                with path.open("rb") as file:
                    message = file.read(MESSAGE_BYTES_MAX)
                path.unlink(missing_ok=True)
                return message
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        pass

    def _path(self, step: int) -> Path:
        return self._folder / STEP_NAME.format(step)


class RelayRoad:
    """Messages as items in a mailbox at a relay. A connection that breaks is made anew."""

    def __init__(self, url: str, place: bytes) -> None:
        self._url = url
        self._mailbox = link_mailbox(place)
        self._client: RelayClient | None = None
        self._after = 0  # the cursor of the last item that was read
        self._parts: dict[int, list[bytes]] = {}  # step -> what has come of its message

    async def open(self, *, fresh: bool = False) -> None:
        """Connect.

        fresh    step over what lies there: it is from somebody before us

        Raises: UsageError(rule="relay_url"), TransportError.
        """
        client = await self._connected()
        if fresh:
            async for frame in client.frames():
                if isinstance(frame, Item | CaughtUp):
                    self._after = frame.cursor
                if isinstance(frame, CaughtUp):
                    return

    async def send(self, step: int, message: bytes) -> None:
        parts = [message[at : at + PART_BYTES_MAX] for at in range(0, len(message), PART_BYTES_MAX)] or [b""]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            item = bytes([step]) + number.to_bytes(2, "big") + bytes([last]) + part

            async def put(client: RelayClient, item: bytes = item) -> None:
                await client.put(self._mailbox.public, item)

            await _in_time(self._trying(put))

    async def receive(self, step: int) -> bytes:
        async def read(client: RelayClient) -> bytes:
            async for frame in client.frames():
                if isinstance(frame, Item) and frame.cursor > self._after:
                    self._after = frame.cursor
                    if (whole := self._take(frame.data, step)) is not None:
                        return whole
            raise AssertionError("frames end in an error")

        return await _in_time(self._trying(read), step)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _connected(self) -> RelayClient:
        if self._client is None:
            self._client = await connect_relay(self._url)
            await self._client.open(self._mailbox)
            await self._client.subscribe(self._mailbox.public, self._after)
        return self._client

    async def _trying(self, do: Callable[[RelayClient], Awaitable[T]]) -> T:
        """Over this connection or the next; a relay keeps the same item once, so nothing is doubled."""
        while True:
            try:
                return await do(await self._connected())
            except TransportError as error:
                if error.rule == "relay_refused":
                    raise
                await self.close()
                self._client = None
                await asyncio.sleep(RECONNECT_S)

    def _take(self, item: bytes, step: int) -> bytes | None:
        """A part of the message that we wait for; the whole, with the last. What else lies there is nothing to us."""
        if len(item) < 4 or item[0] != step:
            return None
        parts, number = self._parts.setdefault(step, []), int.from_bytes(item[1:3], "big")
        if number != len(parts) or number >= PARTS_MAX:
            return None
        parts.append(item[4:])
        return b"".join(self._parts.pop(step)) if item[3] else None


class LanHost:
    """The old device on a local network: announces that it waits at this place, and takes who speaks first."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._lan = Lan(lambda one: None, lambda instance: None)
        self._first: asyncio.Queue[tuple[_Stream, bytes]] = asyncio.Queue(1)
        self._knocking: set[asyncio.Task[None]] = set()
        self._stream: _Stream | None = None

    async def open(self, place: bytes, interfaces: Sequence[str] = ()) -> None:
        """Listen on a free port. Raises: TransportError with rule "lan_no_interface" or "lan_unavailable"."""
        addresses = _addresses(interfaces)
        context = server_context()
        host = addresses[0] if len(addresses) == 1 else "0.0.0.0"  # noqa: S104 - for as long as somebody types a code
        self._server = await asyncio.start_server(
            self._take, host, 0, ssl=context, ssl_handshake_timeout=HANDSHAKE_S
        )
        instance = instance_of(context.certificate_hash)
        await self._lan.open(addresses)
        port = self._server.sockets[0].getsockname()[1]
        await self._lan.announce(instance, port, beacon_tags([link_beacon(place)], instance, os.urandom))

    async def send(self, step: int, message: bytes) -> None:
        assert self._stream is not None
        await self._stream.send(step, message)

    async def receive(self, step: int) -> bytes:
        if self._stream is not None:
            return await self._stream.receive(step)
        self._stream, message = await _in_time(self._first.get())
        return message

    async def close(self) -> None:
        await self._lan.close()
        if self._server is not None:
            self._server.close()
        for task in self._knocking:
            task.cancel()
        await asyncio.gather(*self._knocking, return_exceptions=True)
        if self._stream is not None:
            await self._stream.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._knocking) >= GUESTS_MAX or self._stream is not None:
            writer.close()
            return
        task = asyncio.create_task(self._hear(_Stream(reader, writer)))
        self._knocking.add(task)
        task.add_done_callback(self._knocking.discard)

    async def _hear(self, stream: _Stream) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                message = await stream.read(1, FIRST_BYTES_MAX)
            self._first.put_nowait((stream, message))
        except (TransportError, TimeoutError, asyncio.QueueFull):
            await stream.close()
        except asyncio.CancelledError:
            await stream.close()
            raise


class _Stream:
    """Messages over one connection: step (1) || length (4) || bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, step: int, message: bytes) -> None:
        try:
            self._writer.write(bytes([step]) + len(message).to_bytes(4, "big") + message)
            await _in_time(self._writer.drain())
        except OSError as error:
            raise _lost() from error

    async def receive(self, step: int) -> bytes:
        return await _in_time(self.read(step, MESSAGE_BYTES_MAX), step)

    async def read(self, step: int, size_max: int) -> bytes:
        try:
            head = await self._reader.readexactly(5)
            size = int.from_bytes(head[1:], "big")
            if head[0] != step or size > size_max:
                raise _lost()
            return await self._reader.readexactly(size)
        except (OSError, EOFError) as error:
            raise _lost() from error

    async def close(self) -> None:
        await close_stream(self._writer)


async def lan_guest(place: bytes, interfaces: Sequence[str] = ()) -> Road:
    """The new device's end on a local network, once somebody there waits at this place. Raises: UsageError, TransportError."""
    waiting: asyncio.Queue[Neighbour] = asyncio.Queue()
    lan = Lan(waiting.put_nowait, lambda instance: None)
    keys = [link_beacon(place)]
    try:
        await lan.open(_addresses(interfaces))

        async def meet() -> Road:
            while True:
                neighbour = await waiting.get()
                if recognised(keys, neighbour.instance, neighbour.tags):
                    for address in neighbour.addresses:
                        with contextlib.suppress(OSError, TransportError):
                            return await _connect(*address, neighbour.instance)

        return await _in_time(meet())
    finally:
        await lan.close()


async def _connect(host: str, port: int, instance: bytes) -> _Stream:
    async with asyncio.timeout(HANDSHAKE_S):
        reader, writer = await asyncio.open_connection(host, port, ssl=blind_context())
    shown: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = shown.getpeercert(binary_form=True) or b""
    if not hashlib.sha256(certificate).digest().startswith(instance):
        await close_stream(writer)
        raise _lost()
    return _Stream(reader, writer)


def _addresses(interfaces: Sequence[str]) -> tuple[str, ...]:
    found = own_addresses(interfaces)
    if not found:
        raise TransportError(
            "this machine is on no local network",
            rule="lan_no_interface",
            hint="--relay URL, or a folder; --interface ADDRESS names a network",
        )
    return found


async def _in_time(doing: Awaitable[T], step: int = 1) -> T:
    """Not to wait for ever; for an answer over a network, not even long."""
    answer = step in ANSWERS
    try:
        async with asyncio.timeout(ANSWER_S if answer else WAIT_S):
            return await doing
    except TimeoutError:
        if answer:
            raise TransportError(
                "the other machine says no more: was the code right?",
                rule="link_unanswered",
                hint="begin again on both",
            ) from None
        raise UsageError(
            "the other machine did not answer", rule="link_timeout", hint="begin again on both"
        ) from None


def _lost() -> TransportError:
    return TransportError("the other machine went away", rule="link_lost", hint="begin again on both")
