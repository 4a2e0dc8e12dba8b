"""Relays of a simulated world: one that keeps its word, and one that breaks it in every way that we know of.

A client of theirs stands in for `quire.transports.relay.RelayClient`. What it says takes time, and the connection may break.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Self

from quire.core.bundle_file import KNOWN
from quire.core.crypto.keys import SigningKey
from quire.core.relay_frames import READ_ITEMS_MAX, CaughtUp, Item, Left, decode_from_relay, encode_frame
from quire.errors import MalformedError, QuireError, TransportError
from quire.relay.backend import Kept
from quire.storage import aboard
from quire.testing.relay_suite import MemoryBackend
from quire.testing.world_net import FRAME_S, Net, Side, item_hash
from quire.transports.relay import Coming

if TYPE_CHECKING:
    from quire.testing.world import Machine

LIES = ("lose", "withhold", "repeat", "reorder", "forge", "misplace", "stale", "ahead", "junk")
LIE_CHANCE = 0.15
FORGE = 3  # as many items are made up at once
ROOM = 1 << 30
PAGE_ITEMS = 5  # so that mailboxes take several pages


class WorldRelay:
    """A relay. `lies` are what it does besides its work."""

    def __init__(self, name: str, relay: bytes, draw: random.Random, lies: tuple[str, ...] = ()) -> None:
        self.name = name
        self.lies = lies
        self.draw = draw
        self.backend = MemoryBackend(relay)
        self.clients: list[RelayEnd] = []
        self.given: dict[bytes, list[tuple[bytes, int, bytes]]] = {}  # device -> (mailbox, cursor, item hash)

    def lie(self, what: str) -> bool:
        return what in self.lies and self.draw.random() < LIE_CHANCE

    def keep(self, mailbox: bytes, data: bytes, now_ms: int) -> int:
        """The cursor; a liar's may be of nothing."""
        if self.lie("lose"):
            return self.draw.randrange(1, 1_000)
        [cursor] = self.backend.put([(mailbox, data)], now_ms, ROOM)
        return cursor

    def items(self, mailbox: bytes, after: int) -> list[Item]:
        """What follows in a mailbox, or what it says does."""
        return self._told(mailbox, after, self.backend.after(mailbox, after, ROOM, ROOM))

    def page(self, mailbox: bytes, after: int, before: int, newest: bool, items_max: int) -> list[Item]:
        """Some of what lies between two cursors, or what it says does."""
        count = min(items_max, PAGE_ITEMS)
        if newest:
            return self._told(mailbox, after, self.backend.before(mailbox, before, after, count, ROOM))
        kept = self.backend.after(mailbox, after, count, ROOM)
        return self._told(mailbox, after, [one for one in kept if one.cursor < before])

    def _told(self, mailbox: bytes, after: int, found_there: Sequence[Kept]) -> list[Item]:
        kept = [Item(mailbox, one.cursor, one.data) for one in found_there]
        if not self.lies:
            return kept
        draw, found = self.draw, [one for one in kept if not self.lie("withhold")]
        if self.lie("stale"):
            found = found[: len(found) // 2]
        if found and self.lie("repeat"):
            found += draw.sample(found, max(1, len(found) // 2))
        if self.lie("reorder"):
            draw.shuffle(found)
        if found and self.lie("forge"):
            for one in draw.sample(found, min(FORGE, len(found))):
                data = bytearray(one.data)
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
                found.append(Item(mailbox, one.cursor + draw.randrange(3), bytes(data)))
        if self.lie("misplace"):
            other = draw.choice(self.backend.mailboxes() or [mailbox])
            found += [
                Item(mailbox, one.cursor, one.data) for one in self.backend.after(other, 0, FORGE, ROOM)
            ]
        if self.lie("ahead"):
            found.append(Item(mailbox, after + draw.choice((1_000, 1 << 62, 1 << 63)), b"\2ahead"))
        if self.lie("junk"):
            found += [
                Item(mailbox, draw.randrange(1_000), draw.randbytes(draw.randrange(200)))
                for _ in range(FORGE)
            ]
        return found


class RelayEnd:
    """One connection of a device."""

    def __init__(self, net: Net, relay: WorldRelay, side: Side, frames_max: int = -1) -> None:
        self._net, self._relay, self._side = net, relay, side
        self._left = frames_max
        self.relay = relay.backend.relay
        self._places: dict[bytes, int] = {}
        self._frames: asyncio.Queue[Coming | None] = asyncio.Queue()
        self._opened: set[bytes] = set()
        self._waiting: list[asyncio.Future[int]] = []
        self._broken = False
        self._why: QuireError = TransportError("the link to the relay broke", rule="link_lost")
        self._at = 0.0
        side.on_crash.append(self.cut)
        relay.clients.append(self)

    async def open(self, key: SigningKey) -> None:
        self._opened.add(key.public)

    async def put(self, mailbox: bytes, item: bytes) -> int:
        self._step()
        assert mailbox in self._opened
        machine = self._side.machine
        self._net.world.carried(machine, item)
        answer: asyncio.Future[int] = self._net.loop.create_future()
        self._waiting.append(answer)
        self._later(self._keep, mailbox, item, answer)
        try:
            return await answer
        finally:
            self._waiting.remove(answer)

    async def subscribe(self, mailbox: bytes, after: int) -> None:
        self._step()
        assert mailbox in self._opened
        self._places[mailbox] = after
        self._later(self._give, mailbox, True)

    async def read(
        self, mailbox: bytes, after: int, before: int, *, newest: bool = True, items_max: int = READ_ITEMS_MAX
    ) -> None:
        self._step()
        assert mailbox in self._opened
        self._later(self._give_page, mailbox, after, before, newest, items_max)

    async def frames(self) -> AsyncIterator[Coming]:
        while (frame := await self._frames.get()) is not None:
            if isinstance(frame, Item) and frame.data and frame.data[0] in KNOWN:
                found = self._relay.given.setdefault(self._side.machine.store.device, [])
                found.append((frame.mailbox, frame.cursor, item_hash(frame.data[0], frame.data[1:])))
            yield frame
        raise self._why

    def cut(self) -> None:
        self._broken = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(self._why)
        self._frames.put_nowait(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._broken = True
        if self in self._relay.clients:
            self._relay.clients.remove(self)

    def _step(self) -> None:
        if self._left == 0:
            self.cut()
        self._left -= 1
        if self._broken:
            raise self._why

    def _later(self, do: Callable[..., object], *arguments: object) -> None:
        self._at = max(self._net.loop.time(), self._at) + self._net.random.random() * FRAME_S
        self._net.loop.call_at(self._at, do, *arguments)

    def _keep(self, mailbox: bytes, item: bytes, answer: asyncio.Future[int]) -> None:
        if self._broken:
            return
        cursor = self._relay.keep(mailbox, item, self._net.world.now_ms)
        for client in self._relay.clients:
            if mailbox in client._places and client is not self:
                client._later(client._give, mailbox, False)
        if not answer.done():
            answer.set_result(cursor)

    def _give(self, mailbox: bytes, tells: bool) -> None:
        if self._broken:
            return
        for item in self._relay.items(mailbox, self._places[mailbox]):
            if not self._say(item):
                return
            self._places[mailbox] = max(self._places[mailbox], item.cursor)
        if tells:
            self._frames.put_nowait(CaughtUp(mailbox, self._places[mailbox]))

    def _give_page(self, mailbox: bytes, after: int, before: int, newest: bool, items_max: int) -> None:
        if self._broken:
            return
        found = self._relay.page(mailbox, after, before, newest, items_max)
        for item in found:
            if not self._say(item):
                return
        cursors = [item.cursor for item in found if after < item.cursor < before]
        left = (after, after)
        if cursors:
            left = (after, min(cursors)) if newest else (max(cursors), before)
        self._say(Left(mailbox, *left))

    def _say(self, said: Coming) -> bool:
        """What the client hears, if it is of a form that it takes."""
        frame = encode_frame(said)
        self._net.world.carried(self._side.machine, frame)
        try:
            decode_from_relay(frame)
        except MalformedError as error:
            self._why = error
            self.cut()
            return False
        self._frames.put_nowait(said)
        return True


def check_cursors(relay: WorldRelay, machine: Machine) -> str:
    """What a device will not ask for again it has taken in: "" if so, or what is wrong. An honest relay's only."""
    db = machine.store.database.reader
    for mailbox, cursor, digest in relay.given.get(machine.store.device, ()):
        reach = aboard.reach(db, relay.backend.relay, mailbox)
        passed = cursor <= reach.top and not any(after < cursor < before for after, before in reach.unread)
        if passed and digest not in machine.taken:
            return f"{machine.name} will not ask {relay.name} again for what it has not taken in"
    return ""
