"""One vault and one relay: takes in what its mailboxes hold, and puts there what they lack.

Control commits come first, then the newest page of every mailbox. What was said here goes then, and what comes is heard;
the rest of what is there follows backwards (sync/backlog.py). Only then goes what others said, so that nothing is put twice.
A key that comes in opens further mailboxes. Like a sync with a peer, it can break at any point: what was taken in, and
what was put, is noted in the same vault.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from quire.channels.manager import ChannelManager
from quire.channels.relay_boxes import Boxes
from quire.channels.relay_notes import Found, RelayItem
from quire.channels.relaying import Relaying
from quire.core.bundle_file import Record
from quire.core.crypto.keys import SigningKey
from quire.core.crypto.mailboxes import inbox
from quire.core.reach import Page, Reach
from quire.core.relay_frames import CaughtUp, Item, Left
from quire.core.relay_items import assembled, part_of, record_of
from quire.errors import MalformedError, PeerError, QuireError, TransportError
from quire.node.peer import MUCH, REFUSED_MAX
from quire.sync.backlog import Backlog
from quire.transports.interface import PATIENCE, Patience
from quire.transports.relay import RelayClient, connect

TAKE_BYTES = 16 << 20  # taken in at once
ITEM_COST = 256  # in memory, besides its data
INBOX_BYTES_MAX = 64 << 20  # for a recovery: the newest; whoever knows a person may leave things there
OTHERS_S = (1.0, 4.0)  # before what any member can put: one of them is enough
SETTLE_S = 0.5  # of quiet, before it is noted what lies there
IN_FLIGHT_MAX = 16  # puts that are not acknowledged


class RelayReport(msgspec.Struct):
    """What a relay brought and got, so far."""

    url: str = ""
    relay: bytes = b""  # its id, once it has said that
    new: int = 0  # commits that came
    given: int = 0  # items that went
    messages: Counter[bytes] = msgspec.field(
        default_factory=Counter
    )  # that came, by channel, as far as named
    refused: list[PeerError] = []  # the first REFUSED_MAX
    channels: list[bytes] = []  # that are new here
    files: int = 0  # attachments that are whole here now


async def fetch_inbox(url: str, identity: bytes) -> list[Record]:
    """All that lies in a person's inbox: enough to begin a recovery with. Raises: TransportError, MalformedError."""
    found: deque[Record] = deque()
    gathered, size = _Gathered(), 0
    async with await connect(url) as client:
        key = inbox(identity)
        await client.open(key)
        await client.subscribe(key.public, 0)
        async for frame in client.frames():
            if isinstance(frame, CaughtUp):
                break
            if not isinstance(frame, Item):
                continue
            record = record_of(frame.data) or gathered.add(frame.data)
            if record is not None:
                found.append(record)
                size += len(record.data)
                while size > INBOX_BYTES_MAX:
                    size -= len(found.popleft().data)
    return list(found)


class _Gathered:
    """Records that come in parts, one after the other: who puts another between spoils their own."""

    def __init__(self) -> None:
        self._whole, self._parts = b"", dict[int, bytes]()

    def add(self, item: bytes) -> Record | None:
        """The record that this item was the last part of."""
        with contextlib.suppress(MalformedError):
            part = part_of(item)
            if part.whole != self._whole:
                self._whole, self._parts = part.whole, {}
            self._parts[part.number] = part.data
            if len(self._parts) == part.parts:
                return assembled(self._whole, self._parts)
        return None


class RelaySync:
    """Keeps one vault in step with one relay."""

    def __init__(
        self,
        chat: ChannelManager,
        url: str,
        *,
        live: bool = False,
        notify: Callable[[RelayReport], None] | None = None,
        progress: Callable[[RelayReport], None] | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        """
        live        go on until the link ends: call `changed` when the vault changed
        notify      called whenever all is taken and given
        progress    called while much comes, before that
        """
        self._vault = Relaying(chat)
        self._url = url
        self._patience = patience
        self._live = live
        self._notify = notify or (lambda report: None)
        self._progress = progress or (lambda report: None)
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="quire-relaying")
        self._came: deque[Found | Page] = deque()
        self._came_bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._full = asyncio.Event()
        self._behind: set[bytes] = set()  # mailboxes that are followed, of which more is there
        self._known: set[bytes] = set()
        self._backlog = Backlog()  # of those that are read from the newest on
        self._open = False  # may it be asked for, now that the control commits are here?
        self._all_given = False  # did all go that others wrote?
        self._with_files = False  # are their mailboxes read, too? When all others have been
        self._due = True  # is there anything to give, for all we know?
        self._again_s: float | None = None  # when to give what others may be giving now, in the loop's time
        self._ended: BaseException | None = None
        self.report = RelayReport(url)

    async def run(self) -> RelayReport:
        """Sync once, or live until the link ends. Raises: TransportError, MalformedError, StorageError."""
        try:
            async with await connect(self._url, patience=self._patience) as client:
                self.report.relay = client.relay
                reading = asyncio.create_task(self._read(client))
                try:
                    await self._work(client)
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
                    with contextlib.suppress(QuireError):
                        await self._on_disk(self._vault.notes.settle, client.relay)
        finally:
            await asyncio.to_thread(self._disk.shutdown)
        return self.report

    def changed(self) -> None:
        """The vault changed."""
        self._due = True
        self._wake.set()

    def leave(self) -> None:
        """End here: `run` raises TransportError(rule="link_left")."""
        self._ended = TransportError("we left", rule="link_left")
        self._wake.set()

    async def _work(self, client: RelayClient) -> None:
        loop = asyncio.get_running_loop()
        await self._subscribe(client)
        while True:
            if self._came:
                await self._take(client)
            elif self._is_behind():
                await self._ask(client)
                await self._rest()
            elif self._due and (self._all_given or not self._backlog.is_done):
                self._due = False
                await self._give(
                    client, self._vault.outgoing.items(client.relay, everything=False, patient=self._live)
                )
            elif not self._backlog.is_done:
                await self._ask(client)
                await self._rest()
            elif not self._with_files:
                self._with_files = True
                await self._subscribe(client)
            elif not self._all_given:
                self._all_given, self._due = True, False
                await self._give(
                    client, self._vault.outgoing.items(client.relay, everything=True, patient=self._live)
                )
                await self._give(client, self._vault.outgoing.needs(client.relay))
            elif self._again_s is not None and loop.time() >= self._again_s:
                self._again_s, self._vault.needed = None, False
                await self._give(client, self._vault.outgoing.items(client.relay, everything=True))
            elif self._again_s is None and not self._live:
                await self._on_disk(self._vault.notes.settle, client.relay)
                self._notify(self.report)
                return
            else:
                self._notify(self.report)
                await self._rest()
            if self._ended is not None:
                raise self._ended
            if (self._vault.needed or self._vault.outgoing.postponed) and self._again_s is None:
                pause = random.uniform(*OTHERS_S) if self._live else 0.0  # noqa: S311 - not all at once
                self._again_s = loop.time() + pause

    def _is_behind(self) -> bool:
        """Are control commits on their way, or newest pages?"""
        if not self._behind and not self._open and self._backlog.is_begun:
            self._open = True
        return bool(self._behind) or not self._open or not self._backlog.is_looked

    async def _ask(self, client: RelayClient) -> None:
        """For what is still to be read, as far as it is its turn."""
        for ask in self._backlog.asks(everything=self._open):
            await client.read(ask.mailbox, *ask.stretch, newest=ask.newest, items_max=ask.items_max)

    async def _rest(self) -> None:
        """Wait for something to do. What is known is noted when it is quiet, and not while messages fly."""
        first = (
            self._is_behind() or not self._backlog.is_done
        )  # what is there comes before what is to go again
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(None if first else self._again_s):
                if not self._vault.notes.is_settled:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(SETTLE_S):
                            await self._wake.wait()
                        self._wake.clear()
                        return
                    await self._on_disk(self._vault.notes.settle, self.report.relay)
                await self._wake.wait()
        self._wake.clear()

    async def _read(self, client: RelayClient) -> None:
        try:
            async for frame in client.frames():
                match frame:
                    case Item(mailbox=mailbox, cursor=cursor, data=data):
                        paged = self._backlog.came(mailbox, cursor)
                        self._came.append(Found(mailbox, cursor, data, paged))
                        self._came_bytes += len(data) + ITEM_COST
                    case Left(mailbox=mailbox, after=after, before=before):
                        self._came.append(self._backlog.left(mailbox, (after, before)))
                    case CaughtUp(mailbox=mailbox):
                        self._behind.discard(mailbox)
                self._wake.set()
                while self._came_bytes > TAKE_BYTES:
                    self._room.clear()
                    self._full.set()
                    await self._room.wait()
        except Exception as error:
            self._ended = error
            ended = {one.mailbox for one in self._came if isinstance(one, Page)}
            self._came += (one for one in self._backlog.broken() if one.mailbox not in ended)
            self._wake.set()

    async def _subscribe(self, client: RelayClient) -> None:
        boxes: Boxes = await self._on_disk(self._vault.boxes.all)
        followed = boxes.followed
        if self._with_files:
            followed = followed | await self._on_disk(self._vault.boxes.of_files)
        fresh = {name: key for name, key in followed.items() if name not in self._known}
        content = {name: box for name, box in boxes.content.items() if name not in self._known}
        reaches = await self._on_disk(self._vault.notes.reaches, client.relay, [*fresh, *content])
        self._known |= {*fresh, *content}
        for name, key in fresh.items():
            await self._follow(client, key, reaches[name])
        for name, (key, rank) in content.items():
            await client.open(key)
            self._backlog.add(name, rank, reaches[name])
            self._open = False  # its control commits come first
        await self._ask(client)

    async def _follow(self, client: RelayClient, key: SigningKey, reach: Reach) -> None:
        self._behind.add(key.public)
        await client.open(key)
        await client.subscribe(key.public, reach.top)

    async def _take(self, client: RelayClient) -> None:
        batch = list(self._came)
        self._came.clear()
        self._came_bytes = 0
        self._full.clear()
        self._room.set()
        found = await self._on_disk(self._vault.take, client.relay, batch)
        if self._ended is None:
            await self._turn(client, [one for one in batch if isinstance(one, Page)])
        self.report.new += found.new
        self.report.messages.update(channel for channel, _ in found.messages)
        if found.new >= MUCH:
            self._progress(self.report)
        self.report.refused += found.refused[: REFUSED_MAX - len(self.report.refused)]
        self.report.channels += found.channels
        self.report.files += len(found.files)
        if found.new or found.requests or found.answers or found.channels:
            self._due = self._due or not self._live or bool(found.requests or found.answers or found.channels)
            await self._subscribe(client)  # whoever watches the vault says if there is anything to give

    async def _turn(self, client: RelayClient, pages: Sequence[Page]) -> None:
        """Pages are taken in: what comes into their mailboxes from now on is heard, and the next are asked for."""
        reaches = await self._on_disk(
            self._vault.notes.reaches, client.relay, [page.mailbox for page in pages]
        )
        for page in pages:
            reach = reaches[page.mailbox]
            if self._backlog.read(page, reach, self._vault.newest.get(page.mailbox)):
                self._behind.add(page.mailbox)
                await client.subscribe(page.mailbox, reach.top)
        if pages:
            await self._ask(client)

    async def _give(self, client: RelayClient, giving: Generator[RelayItem, None, None]) -> None:
        flying: deque[tuple[RelayItem, asyncio.Task[int]]] = deque()
        try:
            while (item := await self._on_disk(self._next, client.relay, giving)) is not None:
                await client.open(item.mailbox)
                flying.append((item, asyncio.create_task(client.put(item.mailbox.public, item.data))))
                if len(flying) >= IN_FLIGHT_MAX:
                    await self._stored(client, *flying[0])
                    flying.popleft()
            while flying:
                await self._stored(client, *flying[0])
                flying.popleft()
        finally:
            self._disk.submit(giving.close)
            for _, task in flying:
                task.cancel()
            await asyncio.gather(*(task for _, task in flying), return_exceptions=True)
        await self._subscribe(client)  # a new key may have been made

    def _next(self, relay: bytes, giving: Generator[RelayItem, None, None]) -> RelayItem | None:
        return next((item for item in giving if self._vault.outgoing.lacks(relay, item)), None)

    async def _stored(self, client: RelayClient, item: RelayItem, task: asyncio.Task[int]) -> None:
        while not task.done():  # its answer may stand behind more than we hold: that is taken in first
            full = asyncio.create_task(self._full.wait())
            await asyncio.wait({task, full}, return_when=asyncio.FIRST_COMPLETED)
            full.cancel()
            if self._full.is_set():
                await self._take(client)
        try:
            task.result()
        except TransportError as error:
            if item.may_fail and error.rule == "relay_refused":
                return  # it has no room for files: who wants one asks us
            raise
        self.report.given += 1
        await self._on_disk(self._vault.notes.given, client.relay, item)

    async def _on_disk(self, do: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._disk, do, *arguments)
