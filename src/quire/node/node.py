"""`Node`: keeps a vault in step with peers while it runs.

    async with Node(chat, listen=parse_address("0.0.0.0")) as node:
        node.keep(parse_address("192.168.1.20"))
        async for event in node.events(): ...

What one peer brings goes on to the others, since it changes the vault, as does what this or another process writes. A peer
that goes away is tried again, after a pause that grows and is never the same for two.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import msgspec

from quire.channels.manager import ChannelManager
from quire.channels.syncing import Syncing
from quire.core.ids import DeviceId
from quire.core.views import Event
from quire.errors import QuireError
from quire.node.peer import PeerSync, SyncReport
from quire.node.relays import RelayReport, RelaySync
from quire.transports.direct import DirectLink, Listener, connect, listen
from quire.transports.interface import Address

POLL_S = 0.2  # how often another process's writes are looked for
PAUSE_S, PAUSE_MAX_S = 1.0, 60.0  # before a peer is tried again
EVENTS_MAX = 10_000  # who does not read loses the oldest


class NodeEvent(msgspec.Struct, frozen=True):
    """Something happened. `kind`: listening, connected, synced, refused, lost."""

    kind: str
    address: str = ""
    peer: bytes = b""
    new: int = 0  # commits that came since the last event of this peer
    given: int = 0  # records that went
    rule: str = ""


class Node:
    """A vault and its peers. `start` and `stop`, or `async with`; the store stays open."""

    def __init__(self, chat: ChannelManager, *, listen: Address | None = None) -> None:
        """
        listen    take connections there
        """
        self._chat = chat
        self._vault = Syncing(chat)
        self._listen = listen
        self._listener: Listener | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._live: set[PeerSync] = set()
        self._relays: set[RelaySync] = set()
        self._events: deque[NodeEvent] = deque(maxlen=EVENTS_MAX)
        self._happened = asyncio.Condition()
        self._wake = asyncio.Event()
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="quire-look")
        self._stack = contextlib.ExitStack()

    @property
    def address(self) -> Address | None:
        """Where it listens."""
        return None if self._listener is None else self._listener.address

    @property
    def peers(self) -> list[SyncReport]:
        """Who is connected now."""
        return [one.report for one in self._live]

    async def start(self) -> None:
        """Listen, if asked to, and watch the vault. Raises: TransportError(rule="address_taken")."""
        loop = asyncio.get_running_loop()

        def wake(event: Event) -> None:
            loop.call_soon_threadsafe(self._wake.set)

        self._stack.enter_context(self._vault.delivering(wake))
        if self._listen is not None:
            key = self._vault.key
            self._listener = await listen(self._listen, key, self._accepts, self._serve)
            await self._tell(NodeEvent("listening", str(self._listener.address)))
        self._begin(self._watch())

    async def stop(self) -> None:
        """End all links in good order."""
        self._stack.close()
        if self._listener is not None:
            await self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._looking.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def sync_with(self, address: Address, *, expect: DeviceId | None = None) -> SyncReport:
        """Sync with whoever listens there until both have what they may. Raises: TransportError, PeerError."""
        link = await connect(address, self._vault.key, expect=expect)
        return await PeerSync(self._chat, link).run()

    async def sync_with_relay(self, url: str) -> RelayReport:
        """Take in what a relay has for us, and put there what it lacks. Raises: TransportError, MalformedError."""
        return await RelaySync(self._chat, url).run()

    def keep(self, address: Address) -> None:
        """Stay in step with whoever listens there, from now on."""
        self._begin(self._keep(str(address), lambda: self._keep_peer(address)))

    def keep_relay(self, url: str) -> None:
        """Stay in step with a relay, from now on."""
        self._begin(self._keep(url, lambda: self._keep_relay(url)))

    async def events(self) -> AsyncIterator[NodeEvent]:
        """What happens, from the start on."""
        while True:
            async with self._happened:
                await self._happened.wait_for(lambda: bool(self._events))
                event = self._events.popleft()
            yield event

    # Links

    async def _accepts(self, device: DeviceId) -> bool:
        """Who shares a channel with us; a stranger only while an invite of ours is open."""
        known: bool = await self._look(self._vault.speaks_to, device)
        return known

    async def _serve(self, link: DirectLink) -> None:
        try:
            await self._run(link, "")
        except QuireError as error:  # a full disk, too: the peer tries again
            await self._tell(NodeEvent("lost", peer=link.peer, rule=error.rule))

    async def _keep(self, where: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run this whenever it ends, after a pause that grows while it fails at once."""
        pause, loop = PAUSE_S, asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await run()
                rule = "closed"
            except QuireError as error:
                rule = error.rule
            await self._tell(NodeEvent("lost", where, rule=rule))
            if loop.time() - began > PAUSE_MAX_S:
                pause = PAUSE_S
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - so that not all come at once
            pause = min(pause * 2, PAUSE_MAX_S)

    async def _keep_peer(self, address: Address) -> None:
        await self._run(await connect(address, self._vault.key), str(address))

    async def _keep_relay(self, url: str) -> None:
        sync = RelaySync(self._chat, url, live=True, notify=self._telling(url))
        self._relays.add(sync)
        try:
            await sync.run()
        finally:
            self._relays.discard(sync)

    async def _run(self, link: DirectLink, address: str) -> None:
        peer = bytes(link.peer)
        sync = PeerSync(self._chat, link, live=True, notify=self._telling(address, peer))
        self._live.add(sync)
        await self._tell(NodeEvent("connected", address, peer))
        try:
            await sync.run()
        finally:
            self._live.discard(sync)

    def _telling(self, address: str, peer: bytes = b"") -> Callable[[SyncReport | RelayReport], None]:
        """Makes events of what a report has more than the last time."""
        new = given = refused = 0

        def rested(report: SyncReport | RelayReport) -> None:
            nonlocal new, given, refused
            for error in report.refused[refused:]:
                self._begin(self._tell(NodeEvent("refused", address, peer, rule=error.rule)))
            self._begin(
                self._tell(NodeEvent("synced", address, peer, report.new - new, report.given - given))
            )
            new, given, refused = report.new, report.given, len(report.refused)

        return rested

    # The vault

    async def _watch(self) -> None:
        """Whatever changes the vault, here or in another process, peers hear of."""
        before = await self._look(self._vault.version)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            self._wake.clear()
            now = await self._look(self._vault.version)
            if now != before or any(sync.behind for sync in self._live):
                before = now
                for relay in self._relays:
                    relay.changed()
                for sync in tuple(self._live):
                    with contextlib.suppress(QuireError):  # its own task says so, and ends it
                        await sync.changed()

    async def _look(self, do: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._looking, do, *arguments)

    def _begin(self, doing: Any) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, event: NodeEvent) -> None:
        async with self._happened:
            self._events.append(event)
            self._happened.notify_all()
