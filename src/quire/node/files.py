"""Files with one peer: carries out what sync/files.py says, beside the records of `PeerSync`.

One thread reads and writes files, whatever goes on with messages. What we want is asked for when a round is over, so a message
is never behind a film; what the peer wants goes when we have no records to give.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec

from quire.core.ids import ChannelId, DeviceId
from quire.errors import FullError, MalformedError, StorageError, TransportError
from quire.sync.effects import Effect
from quire.sync.files import (
    FileHere,
    FileLacked,
    FileOver,
    FileSession,
    PeerContent,
    ServeFile,
    TakeOutline,
    TakePiece,
)

if TYPE_CHECKING:
    from quire.channels.syncing import Syncing
    from quire.store.fetching import Incoming, Outgoing, Wanted

FILES_AT_ONCE = 4  # that come from one peer
REFUSED_MAX = 100  # of a liar's, kept in a report
EFFECTS = (ServeFile, TakeOutline, TakePiece, FileLacked, FileHere, FileOver, PeerContent)


class Look(Effect, frozen=True):
    """A round is over, or something here changed: see what is to come, and what has."""

    channels: tuple[ChannelId, ...] | None  # that both sides have; None: as before


class FileReport(msgspec.Struct):
    """What a sync with one peer brought of files, so far."""

    came: int = 0  # files that are whole here now
    came_bytes: int = 0  # pieces that came, sealed
    given_bytes: int = 0
    lacked: int = 0  # that the peer had not got
    refused: list[MalformedError] = []  # the first REFUSED_MAX
    full: bool = False  # no room here: no more was asked for


class FileSync:
    """Files with one peer."""

    def __init__(
        self,
        vault: Syncing,
        session: FileSession,
        peer: DeviceId,
        carry_out: Callable[..., Awaitable[None]],
        may_serve: Callable[[], Awaitable[None]],
    ) -> None:
        """
        carry_out    sends what the session says; with `wait`, when it is on its way
        may_serve    returns when no record is on its way to the peer
        """
        self._vault = vault
        self._session = session
        self._peer = peer
        self._carry_out = carry_out
        self._may_serve = may_serve
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="quire-files")
        self._channels: tuple[ChannelId, ...] = ()
        self._waiting: deque[Wanted] = deque()  # that we want and have not asked for yet
        self._coming: dict[bytes, Incoming] = {}
        self._passed: set[tuple[bytes, int]] = (
            set()
        )  # file and size: what this peer has not got, or lied about
        self._orders: asyncio.Queue[ServeFile] = asyncio.Queue()  # bounded by the session
        self._said: asyncio.Queue[Effect] = asyncio.Queue()  # likewise
        self._server = vault.file_server(peer)
        self._begun = False
        self._over = False
        self.content = asyncio.Event()  # neither side wants anything
        self.report = FileReport()

    async def run(self) -> None:
        """Until it is cancelled. Raises: TransportError, StorageError."""
        tasks = [asyncio.create_task(self._serve_all()), asyncio.create_task(self._take_all())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """What has come of files stays."""
        self._over = True
        await asyncio.to_thread(self._pool.shutdown)
        for one in self._coming.values():
            one.close()
        self._coming.clear()

    def look(self, channels: Iterable[ChannelId] | None = None) -> None:
        """A round is over, or something here changed: ask for what is to come, and say what has.

        channels    both sides have them; None: as before
        """
        self._said.put_nowait(Look(None if channels is None else tuple(channels)))

    async def _refresh(self, channels: tuple[ChannelId, ...] | None) -> None:
        if channels is not None:
            self._begun, self._channels = True, channels
        if not self._begun:
            return
        for file in self._session.lacked:
            if await self._in(self._server.is_here, file):
                await self._carry_out(self._session.here(file))
        if not self.report.full:
            found = await self._in(self._vault.wanted_files, self._channels, self._peer)
            self._waiting = deque(one for one in found if self._is_new(one))
        await self._ask()

    def _is_new(self, one: Wanted) -> bool:
        """A message may name a file with a size that it never had: that is not to keep the true one away."""
        known = one.file in self._coming or self._session.is_asking(one.file)
        return not known and (one.file, one.size_bytes) not in self._passed

    def handle(self, effect: Effect) -> None:
        """Carry out what the session says of files. At once: whoever reads the link is never to wait for it to send."""
        if isinstance(effect, ServeFile):
            self._orders.put_nowait(effect)
        else:
            self._said.put_nowait(effect)

    # What we want

    async def _ask(self) -> None:
        """Ask for as many files as may come at once; when nothing is left, say so."""
        while self._waiting and len(self._coming) < FILES_AT_ONCE:
            one = self._waiting.popleft()
            if not self._is_new(one):
                continue
            incoming = await self._opened(self._vault.begin_file, one)
            if incoming is not None:
                self._coming[one.file] = incoming
                await self._carry_out(self._session.want(one.file, one.size_bytes, incoming.next))
        if not self._waiting and not self._coming and self._session.idle:
            await self._carry_out(self._session.satisfied())
            self._look_if_content()

    def _look_if_content(self) -> None:
        if self._session.content and self._session.peer_content:
            self.content.set()
        else:
            self.content.clear()

    async def _take_all(self) -> None:
        while True:
            match await self._said.get():
                case TakeOutline() | TakePiece() as effect:
                    await self._take(effect)
                case FileLacked(file=file):
                    self.report.lacked += 1
                    await self._pass(file)
                case FileHere(file=file):
                    self._passed = {one for one in self._passed if one[0] != file}
                    await self._refresh(None)
                case FileOver():
                    await self._refresh(None)
                case Look(channels=channels):
                    await self._refresh(channels)
                case PeerContent():
                    self._look_if_content()

    async def _take(self, effect: TakeOutline | TakePiece) -> None:
        incoming = self._coming.get(effect.file)
        if incoming is None:
            return  # given up meanwhile
        try:
            if isinstance(effect, TakeOutline):
                await self._in(incoming.take_outline, effect.hashes)
                return
            whole = await self._in(incoming.take_piece, effect.number, effect.data)
        except MalformedError as error:
            self.report.refused += [error][: REFUSED_MAX - len(self.report.refused)]
            self._session.give_up(effect.file)
            await self._pass(effect.file)
            return
        except FullError:  # messages may still fit
            self.report.full = True
            self._waiting.clear()
            self._session.give_up(effect.file)
            await self._pass(effect.file)
            return
        self.report.came_bytes += len(effect.data)
        await self._carry_out(self._session.took(effect.file, effect.number))
        if whole:
            self.report.came += 1
            del self._coming[effect.file]
            incoming.close()
            await self._in(self._vault.file_came, effect.file)
            await self._ask()

    async def _pass(self, file: bytes) -> None:
        """Ask this peer no more for a file."""
        incoming = self._coming.pop(file, None)
        if incoming is not None:
            self._passed.add((file, incoming.size))
            incoming.close()
        await self._ask()

    # What the peer wants

    async def _serve_all(self) -> None:
        while True:
            await self._serve(await self._orders.get())

    async def _serve(self, order: ServeFile) -> None:
        outgoing: Outgoing | None = await self._opened(self._server.open, order.file)
        left = order.count
        try:
            if outgoing is not None and order.first + order.count <= outgoing.pieces:
                if order.first == 0:
                    await self._carry_out(self._session.outline(order.file, outgoing.outline), wait=True)
                while left:
                    await self._may_serve()
                    number = order.first + order.count - left
                    data = await self._in(outgoing.piece, number)
                    self.report.given_bytes += len(data)
                    await self._carry_out(self._session.piece(order.file, number, data), wait=True)
                    left -= 1
        except (MalformedError, StorageError):  # the disk lost it: `verify` names it, and nobody is to wait
            pass
        finally:
            if outgoing is not None:
                outgoing.close()
        if left:
            await self._carry_out(self._session.lacks(order.file, left))

    async def _opened(self, do: Callable[..., Any], *arguments: Any) -> Any:
        """What `do` opens; closed again if we are cancelled while the thread is at it."""
        if self._over:
            raise TransportError("this sync has ended", rule="link_lost")
        opening = self._pool.submit(do, *arguments)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise

    async def _in(self, do: Callable[..., Any], *arguments: Any) -> Any:
        if self._over:
            raise TransportError("this sync has ended", rule="link_lost")
        return await asyncio.get_running_loop().run_in_executor(self._pool, do, *arguments)


def _close(opening: Future[Any]) -> None:
    if not opening.cancelled() and opening.exception() is None and (opened := opening.result()) is not None:
        opened.close()
