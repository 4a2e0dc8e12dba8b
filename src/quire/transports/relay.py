"""A relay's client: mailboxes opened, items put and received, over one WebSocket.

    async with await connect("wss://relay.example") as relay:
        await relay.open(key); await relay.subscribe(key.public, after=cursor)
        cursor = await relay.put(key.public, item)
        async for frame in relay.frames(): ...      # Item, and CaughtUp when all that was there has come
        await relay.read(key.public, after, before) # backwards, a page: Items, and then Left

What is not read is not taken from the network, so memory stays bounded. When the link breaks, everything waiting
raises TransportError; who goes on connects again and subscribes from the last cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException

from quire.core.crypto.keys import SigningKey
from quire.core.relay_frames import (
    ITEM_BYTES_MAX,
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
    decode_from_relay,
    encode_frame,
    to_be_signed,
)
from quire.errors import MalformedError, TransportError, UsageError
from quire.transports.interface import PATIENCE, Patience

CONNECT_S = 10.0
FRAME_BYTES_MAX = 2 << 20
FRAMES_WAITING_MAX = 64
Coming = Item | CaughtUp | Left


class _Socket(ClientConnection):
    """Knows when the last byte came: a large item on a slow road is no silence, though no frame is whole yet."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.heard = self.loop.time()

    def data_received(self, data: bytes) -> None:
        self.heard = self.loop.time()
        super().data_received(data)


class RelayClient:
    """One connection to a relay."""

    def __init__(self, socket: _Socket, challenge: Challenge, patience: Patience = PATIENCE) -> None:
        self._socket = socket
        self._patience = patience
        self._listening: float | None = None  # since when; None: more is there than we take
        self._nonce = challenge.nonce
        self.relay = challenge.relay
        self._number = 0
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._frames: asyncio.Queue[Coming | None] = asyncio.Queue(FRAMES_WAITING_MAX)
        self._opened: set[bytes] = set()
        self._why: TransportError | MalformedError | None = None
        self._reading = asyncio.create_task(self._read_all())
        self._life = asyncio.create_task(self._show_life())

    async def open(self, key: SigningKey) -> None:
        """Show that we may use a mailbox; once a connection is enough."""
        if key.public not in self._opened:
            self._opened.add(key.public)
            signature = key.sign(to_be_signed(self._nonce, key.public))
            await self._say(Open(self._next(), key.public, signature))

    async def put(self, mailbox: bytes, item: bytes) -> int:
        """Keep an item; its cursor, once it is on the relay's disk.

        Raises: TransportError; of rule "relay_refused" if it will not keep it (`details["by"]` says why).
        UsageError(rule="item_size").
        """
        if not 1 <= len(item) <= ITEM_BYTES_MAX:
            raise UsageError(
                f"an item has 1 to {ITEM_BYTES_MAX} bytes", rule="item_size", size_bytes=len(item)
            )
        number = self._next()
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._say(Put(number, mailbox, item))
            cursor: int = await answer
            return cursor
        finally:
            self._answers.pop(number, None)

    async def subscribe(self, mailbox: bytes, after: int) -> None:
        """Ask for what is in a mailbox after a cursor, and for what comes."""
        await self._say(Subscribe(self._next(), mailbox, after))

    async def read(
        self, mailbox: bytes, after: int, before: int, *, newest: bool = True, items_max: int = READ_ITEMS_MAX
    ) -> None:
        """Ask for a page of what lies between two cursors, from its end or its beginning on; with a Left it has come."""
        await self._say(Read(self._next(), mailbox, after, before, newest, items_max))

    async def frames(self) -> AsyncIterator[Coming]:
        """What comes. Raises: TransportError, MalformedError when the link ends; TransportError(rule="relay_refused") if
        a mailbox is not given.
        """
        while (frame := await self._frames.get()) is not None:
            yield frame
        raise self._why or _lost()

    async def close(self) -> None:
        for task in (self._reading, self._life):
            task.cancel()
        await asyncio.gather(self._reading, self._life, return_exceptions=True)
        with contextlib.suppress(WebSocketException, OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._socket.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def _say(self, frame: Frame) -> None:
        try:
            await self._socket.send(encode_frame(frame))
        except (ConnectionClosed, OSError) as error:
            raise self._why or _lost() from error

    async def _read_all(self) -> None:
        try:
            while True:
                self._listening = asyncio.get_running_loop().time()
                data = await self._socket.recv()
                self._listening = None
                await self._take(_decoded(data))
        except (ConnectionClosed, OSError):
            self._why = self._why or _lost()
        except (MalformedError, TransportError) as error:
            self._why = error
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(self._why or _lost())
            while self._frames.full():
                self._frames.get_nowait()
            self._frames.put_nowait(None)

    async def _show_life(self) -> None:
        """Signs of life for the relay; and an end, if none come from it."""
        patience, loop = self._patience, asyncio.get_running_loop()
        left = patience.silence_s
        with contextlib.suppress(ConnectionClosed, OSError):
            while left > 0:
                await asyncio.sleep(min(patience.alive_s, left))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience.alive_s):  # it waits while the road is full
                        await self._socket.ping()
                if self._listening is None:
                    left = patience.silence_s
                else:
                    left = patience.silence_s - (loop.time() - max(self._listening, self._socket.heard))
            self._why = self._why or TransportError("the relay is silent", rule="link_silent")
            self._socket.transport.abort()

    async def _take(self, frame: Frame) -> None:
        match frame:
            case Item() | CaughtUp() | Left():
                await self._frames.put(frame)
            case Stored(number=number, cursor=cursor):
                if (answer := self._answers.get(number)) and not answer.done():
                    answer.set_result(cursor)
            case Refused(number=number, rule=rule):
                refused = TransportError(f"the relay refused it: {rule}", rule="relay_refused", by=rule)
                if number not in self._answers:  # whoever waits for what is in a mailbox would wait for ever
                    raise refused
                if not (answer := self._answers[number]).done():
                    answer.set_exception(refused)
            case Bye(rule=rule):
                raise TransportError(f"the relay ended it: {rule}", rule="relay_ended", by=rule)
            case _:
                raise MalformedError("this may not come now", rule="out_of_turn")


async def connect(url: str, *, patience: Patience = PATIENCE) -> RelayClient:
    """A connection to a relay.

    url    ws://host:port or wss://host:port

    Raises: UsageError(rule="relay_url"), TransportError(rule="relay_unreachable"), MalformedError.
    """
    try:
        async with asyncio.timeout(CONNECT_S):
            socket = await open_socket(
                relay_url(url), max_size=FRAME_BYTES_MAX, compression=None, max_queue=16, proxy=None,
                ping_interval=None, create_connection=_Socket,
            )  # fmt: skip
            assert isinstance(socket, _Socket)
            try:
                challenge = _decoded(await socket.recv())
                if isinstance(challenge, Bye):
                    raise TransportError(f"the relay ended it: {challenge.rule}", rule="relay_ended")
                if not isinstance(challenge, Challenge):
                    raise MalformedError("a relay begins with a challenge", rule="out_of_turn")
                if challenge.version != VERSION:
                    raise _other_version(challenge.version)
                return RelayClient(socket, challenge, patience)
            except BaseException:
                await socket.close()
                raise
    except InvalidURI as error:
        raise UsageError(f"{url} is no relay's address", rule="relay_url", hint="wss://HOST:PORT") from error
    except (OSError, TimeoutError, WebSocketException) as error:
        raise TransportError(
            f"no relay answers at {url}", rule="relay_unreachable", hint="is quire relay running there?"
        ) from error


def _other_version(version: int) -> MalformedError:
    older = "the relay" if version < VERSION else "Quire here"
    return MalformedError(
        f"the relay speaks version {version} of its protocol, and this Quire {VERSION}",
        rule="relay_version",
        hint=f"update {older}, which is the older of the two",
    )


def relay_url(url: str) -> str:
    """Where the relay's WebSocket is."""
    return url.rstrip("/") + "/v1"


def _decoded(data: str | bytes) -> Frame:
    if isinstance(data, str):
        raise MalformedError("a relay speaks bytes", rule="relay_frame")
    return decode_from_relay(data)


def _lost() -> TransportError:
    return TransportError("the link to the relay broke", rule="link_lost")
