"""One vault and one peer, over one link: carries out what the session (sync/session.py) says.

Four tasks: one reads frames, one writes them, one takes records in, one gives; two more are for files (node/files.py). Taking and
giving run in a thread each, since both wait for the disk; what was taken is acknowledged only when it is durable. Who reads never
waits for who writes, or two that give each other much would wait for each other. A link that breaks at any point costs nothing
but what was on its way: the next session begins from what is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec

from quire.channels.manager import ChannelManager
from quire.channels.syncing import Syncing
from quire.core.bundle_file import Record
from quire.core.ids import ChannelId, DeviceId
from quire.errors import MalformedError, PeerError, TransportError
from quire.node.files import EFFECTS as FILE_EFFECTS
from quire.node.files import FileReport, FileSync
from quire.node.noting import Settled
from quire.store.offering import Holding
from quire.sync import session as said
from quire.sync.session import Session
from quire.transports.interface import Link

REFUSED_MAX = 1_000  # kept in a report: a liar's go on for ever
ROUNDS_MAX = 32  # of one sync, unless it is to go on: who always has something new is left
MUCH = 500  # commits taken in at once: history comes, not talk
TAKE_BYTES = 16 << 20  # taken in at once: several bundles share a transaction
MUCH_BYTES = 128 << 10  # of records, from which on the writer is set for more: some 1,500 messages


class SyncReport(msgspec.Struct):
    """What a sync with one peer brought, so far."""

    peer: bytes = b""
    rounds: int = 0
    new: int = 0  # commits that came
    given: int = 0  # records that went
    messages: Counter[bytes] = msgspec.field(
        default_factory=Counter
    )  # that came, by channel, as far as named
    refused: list[PeerError] = []  # the first REFUSED_MAX
    channels: list[bytes] = []  # that are new here
    # Channels in which, when the last round began, one of us lacked what the other has.
    differing: tuple[bytes, ...] = ()
    sent_bytes: int = 0
    received_bytes: int = 0
    ended: str = ""  # why the peer ended it, if it did
    files: FileReport = msgspec.field(default_factory=FileReport)


class PeerSync:
    """Keeps one vault in step with one peer."""

    def __init__(
        self,
        chat: ChannelManager,
        link: Link,
        *,
        live: bool = False,
        notify: Callable[[SyncReport], None] | None = None,
        progress: Callable[[SyncReport], None] | None = None,
    ) -> None:
        """
        live        go on after both rest, until the link ends: each calls `changed` when its vault changed
        notify      called when a round is over
        progress    called while much comes, before that
        """
        self._vault = Syncing(chat)
        self._link = link
        self._live = live
        self._notify = notify or (lambda report: None)
        self._progress = progress or (lambda report: None)
        self._peer: DeviceId = link.peer
        self._session = Session(self._vault.device, link.peer, os.urandom)
        self._taking = ThreadPoolExecutor(1, thread_name_prefix="quire-take")
        self._giving = ThreadPoolExecutor(1, thread_name_prefix="quire-give")
        self._records: asyncio.Queue[tuple[int, Record] | None] = asyncio.Queue()  # None: all was sent
        self._credit = asyncio.Event()
        self._unmatched: tuple[ChannelId, ...] = ()
        self._common: tuple[ChannelId, ...] = ()
        self._offers: dict[ChannelId, bytes] = {}
        self._news = False  # did this round bring anything?
        self._late = False
        self._over = False
        self._done = asyncio.Event()  # the peer has ended, or we shall
        self._rests = asyncio.Event()  # no round comes any more
        self._given: asyncio.Task[None] | None = None
        self._greeting = asyncio.Lock()
        self._equal: tuple[ChannelId, ...] = ()
        self._theirs: dict[ChannelId, Holding] = {}
        self.settled = Settled()  # what the peer had when both rested last, with nothing new for either
        self.report = SyncReport(peer=link.peer)
        self._frames: asyncio.Queue[tuple[bytes, asyncio.Future[None] | None]] = asyncio.Queue()
        self._files = FileSync(
            self._vault, self._session.files, link.peer, self._carry_out, self._nothing_to_give
        )
        self.report.files = self._files.report

    async def run(self) -> SyncReport:
        """Sync until both rest, or live until the link ends. Raises: TransportError, PeerError, StorageError."""
        running = (
            self._take_all(),
            self._read_all(),
            self._write_all(),
            self._files.run(),
            self._until_done(),
        )
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(one) for one in running]
        try:
            await self._greet()
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:  # in their order: of two that failed at once the first says why
                if task in done:
                    task.result()
            if not self.report.ended:
                with contextlib.suppress(TransportError):  # the peer, at rest too, may have gone first
                    await self._carry_out(self._session.part(), wait=True)
        except PeerError as error:
            await self._say_bye(error)
            raise
        finally:
            if self._given is not None:
                tasks.append(self._given)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._over = True
            self._taking.submit(self._vault.rest)  # if it broke off while much came
            for pool in (self._taking, self._giving):  # what is being written is completed
                await asyncio.to_thread(pool.shutdown)
            await self._files.close()
            await self._link.close()
        return self.report

    @property
    def behind(self) -> bool:
        """Did the vault change while a round went on, so that another is due?"""
        return self._late and self._session.idle

    def leave(self) -> None:
        """End here, as soon as may be; `run` returns."""
        self.report.ended = self.report.ended or "closed"
        self._done.set()

    async def changed(self) -> None:
        """The vault changed: begin a round if that concerns the peer and none is going on."""
        self._late = not self._session.idle
        concerns = self._session.idle and await self._in(self._giving, self._vault.offers) != self._offers
        if concerns and self._session.idle:
            await self._greet()
        elif self._session.idle:
            self._files.look()

    # What the session says

    async def _greet(self) -> None:
        async with self._greeting:  # the peer may begin the same round meanwhile
            if self._session.greeted:
                return
            await self._in(self._giving, self._vault.prepare)
            self._offers = await self._in(self._giving, self._vault.offers)
            self._news = False
            await self._carry_out(self._session.greet(self._offers))

    async def _read_all(self) -> None:
        while True:
            frame = await self._link.receive()
            if frame is None:
                self.report.ended = self.report.ended or "closed"
                self._done.set()
                return
            self.report.received_bytes += len(frame)
            await self._carry_out(self._session.receive(frame))

    async def _write_all(self) -> None:
        while True:
            frame, written = await self._frames.get()
            try:
                await self._link.send(frame)
            except TransportError as error:
                if written is not None and not written.done():
                    written.set_exception(error)
                    written.exception()  # whether anybody waits for it or not
                raise
            if written is not None and not written.done():
                written.set_result(None)

    async def _carry_out(self, effects: list[said.Effect], *, wait: bool = False) -> None:
        for effect in effects:
            if isinstance(effect, FILE_EFFECTS):
                self._files.handle(effect)
                continue
            match effect:
                case said.Send(frame=frame):
                    await self._send(frame, wait=wait)
                case said.Greeted():
                    await self._greet()
                case said.Matched():
                    await self._ask(effect)
                case said.Give(holdings=holdings):
                    found = self._theirs = {one: Holding(*some) for one, some in holdings.items()}
                    self._given = asyncio.create_task(self._give(found))
                    self._given.add_done_callback(self._fail)
                case said.Take(number=number, record=record):
                    self._records.put_nowait((number, record))  # bounded by the session's window
                case said.Received():
                    self._records.put_nowait(None)
                case said.Credit():
                    self._credit.set()
                case said.Rested(again=again):
                    await self._rested(again)
                case said.Parted(rule=rule):
                    self.report.ended = rule or "closed"
                    self._done.set()

    def _fail(self, task: asyncio.Task[None]) -> None:
        """An error in giving ends the whole, as one in reading does."""
        if not task.cancelled() and task.exception() is not None:
            self._records.put_nowait(None)

    async def _send(self, frame: bytes, *, wait: bool = False) -> None:
        """Put a frame on its way.

        wait    until the link has it; not for who reads
        """
        self.report.sent_bytes += len(frame)
        written = asyncio.get_running_loop().create_future() if wait else None
        self._frames.put_nowait((frame, written))
        if written is not None:
            await written

    async def _nothing_to_give(self) -> None:
        """Returns when no records are on their way."""
        while self._given is not None and not self._given.done():
            await asyncio.wait({self._given})

    async def _ask(self, matched: said.Matched) -> None:
        self._unmatched, self._equal, self._theirs = matched.unmatched, matched.equal, {}
        self._common = (*matched.differing, *matched.equal)
        self.report.differing = matched.differing
        for channel in matched.differing:
            holding = await self._in(self._giving, self._vault.holding, channel)
            for effect in self._session.ask(channel, holding.heights, holding.tags):
                assert isinstance(effect, said.Send)
                await self._send(effect.frame)
        await self._carry_out(self._session.asked())

    # Giving

    async def _give(self, holdings: dict[ChannelId, Holding]) -> None:
        holdings = dict(holdings)
        for channel in self._unmatched:  # it may be let in, and not know of it
            if await self._in(self._giving, self._vault.is_in, channel, self._peer):
                holdings.setdefault(channel, Holding())
        for channel, theirs in holdings.items():
            given = self._vault.giving(channel, theirs, self._peer)
            try:
                while (one := await self._in(self._giving, _next, given)) is not None:
                    await self._give_one(one)
            finally:
                self._giving.submit(given.close)  # after what the thread may be at
        await self._carry_out(self._session.sent())

    async def _give_one(self, record: Record) -> None:
        while not self._session.room:
            self._credit.clear()
            await self._credit.wait()
        self.report.given += 1
        for effect in self._session.give(record):
            assert isinstance(effect, said.Send)
            await self._send(effect.frame, wait=True)

    # Taking

    async def _take_all(self) -> None:
        while True:
            item = await self._records.get()
            if self._given is not None and self._given.done() and not self._given.cancelled():
                self._given.result()
            if item is None:
                if self._given is not None:
                    await self._given
                await self._in(self._taking, self._vault.rest)
                await self._carry_out(self._session.rest(again=self._news))
                continue
            number, record = item
            batch, size, ends = [record], len(record.data), False
            while size < TAKE_BYTES and not self._records.empty():
                following = self._records.get_nowait()
                if following is None:
                    ends = True
                    break
                number, record = following
                batch.append(record)
                size += len(record.data)
            await self._take(batch, much=size >= MUCH_BYTES and bool(self.report.messages))
            await self._carry_out(self._session.taken(number))
            if ends:
                self._records.put_nowait(None)

    async def _take(self, batch: list[Record], *, much: bool = False) -> None:
        found = await self._in(self._taking, partial(self._vault.take, batch, much=much))
        self.report.new += found.new
        self.report.messages.update(channel for channel, _ in found.messages)
        if found.new >= MUCH:
            self._progress(self.report)
        self.report.refused += found.refused[: REFUSED_MAX - len(self.report.refused)]
        self.report.channels += found.channels
        if found.new or found.requests or found.answers or found.channels:
            self._news = True

    async def _rested(self, again: bool) -> None:
        self.report.rounds += 1
        if not again:
            self.settled = Settled({one: self._offers[one] for one in self._equal}, self._theirs)
        self._notify(self.report)
        if again and (self._live or self.report.rounds < ROUNDS_MAX):
            await self._greet()
            return
        self._files.look(self._common)  # messages are in step: now files
        if not self._live:
            self._rests.set()

    async def _until_done(self) -> None:
        """Until the peer ends, or both rest and want no files."""
        resting = asyncio.create_task(self._rests.wait())
        parted = asyncio.create_task(self._done.wait())
        try:
            await asyncio.wait({resting, parted}, return_when=asyncio.FIRST_COMPLETED)
            if not parted.done():
                content = asyncio.create_task(self._files.content.wait())
                try:
                    await asyncio.wait({content, parted}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    content.cancel()
        finally:
            resting.cancel()
            parted.cancel()

    async def _say_bye(self, error: PeerError) -> None:
        rule = error.rule if isinstance(error, MalformedError) else "refused"
        try:
            await asyncio.wait_for(self._carry_out(self._session.part(rule[:64]), wait=True), 1)
        except (TransportError, TimeoutError):
            return

    async def _in(self, pool: ThreadPoolExecutor, do: Callable[..., Any], *arguments: Any) -> Any:
        if self._over:
            raise TransportError("this sync has ended", rule="link_lost")
        return await asyncio.get_running_loop().run_in_executor(pool, do, *arguments)


def _next(given: Generator[Record, None, None]) -> Record | None:
    return next(given, None)
