"""One connection to a relay: its frames, in turn, and what it is sent.

Who puts faster than they may, or than the disk takes it, is read from more slowly. Who subscribes is sent from the disk, a page
at a time, as fast as they read: nothing waits in memory for a slow reader. So is who reads backwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
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
    Subscribe,
    decode_from_device,
    encode_frame,
    to_be_signed,
)
from quire.errors import MalformedError
from quire.relay.backend import Kept

if TYPE_CHECKING:
    from quire.relay.server import Relay


class Connection:
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


def signed(mailbox: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(mailbox).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
