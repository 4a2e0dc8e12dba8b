"""`Node`: keeps a vault in step with peers while it runs.

    async with Node(chat, listen=parse_address("0.0.0.0")) as node:
        node.keep(parse_address("192.168.1.20"))
        async for event in node.events(): ...

What one peer brings goes on to the others, since it changes the vault, as does what this or another process writes. A peer
that goes away is tried again, after a pause that grows and is never the same for two; a machine that was asleep tries all at
once. With `lan`, devices that share a channel find each other where multicast reaches (node/neighbours.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import msgspec

from quire.channels.beacons import Beacons
from quire.channels.manager import ChannelManager
from quire.channels.standing import Standing
from quire.channels.syncing import Syncing
from quire.core.ids import DeviceId
from quire.core.views import Event
from quire.errors import PeerError, QuireError, TransportError
from quire.node.noting import Notes, Settled
from quire.node.pauses import PAUSE_MAX_S, Hurry, Pauses
from quire.node.peer import PeerSync, SyncReport
from quire.node.relays import RelayReport, RelaySync
from quire.transports.direct import DirectLink, Listener, connect, listen
from quire.transports.interface import PATIENCE, Address, Patience, parse_address
from quire.transports.relay import connect as connect_relay

if TYPE_CHECKING:
    from quire.node.neighbours import Neighbours

POLL_S = 0.2  # how often another process's writes are looked for
ASLEEP_S = 5.0  # if the clock on the wall went on so much longer than ours, the machine was asleep
LET_GO_EVERY_S, LET_GO_PAUSE_S = 5.0, 0.01  # how often it looks what is to go, and between two steps of it
EVENTS_MAX = 10_000  # who does not read loses the oldest


class NodeEvent(msgspec.Struct, frozen=True):
    """Something happened. `kind`: listening, connected, coming (of much, some; `new` is the sum), synced, refused, lost;
    resumed (the machine was asleep); lan (the local network cannot be used: `rule`); file (an attachment of `message` is
    here now)."""

    kind: str
    address: str = ""
    peer: bytes = b""
    new: int = 0  # commits that came since the last event of this peer
    given: int = 0  # records that went
    rule: str = ""
    again_s: float = 0.0  # when it is tried again
    messages: tuple[tuple[bytes, int], ...] = ()  # of `new`, by channel, as far as they were named
    message: bytes = b""  # whose file came


class Node:
    """A vault and its peers. `start` and `stop`, or `async with`; the store stays open."""

    def __init__(
        self,
        chat: ChannelManager,
        *,
        listen: Address | None = None,
        lan: Sequence[str] | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        """
        listen      take connections there
        lan         find devices that share a channel with us, and be found by them if we listen: on the interfaces
                    with these addresses, or if none is given, on all that are on a local network
        patience    how long a link lives in silence, in seconds
        """
        self._chat = chat
        self._vault = Syncing(chat)
        self._listen = listen
        self._lan = lan
        self._patience = patience
        self._hurry = Hurry()
        self._notes = Notes(Standing(chat))
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
            loop.call_soon_threadsafe(self._woken)
            if event.kind == "attachment" and event.message is not None:
                came = NodeEvent("file", message=event.message)
                loop.call_soon_threadsafe(lambda: self._begin(self._tell(came)))

        self._stack.enter_context(self._vault.delivering(wake))
        if self._listen is not None:
            key = self._vault.key
            self._listener = await listen(
                self._listen, key, self._accepts, self._serve, patience=self._patience
            )
            await self._tell(NodeEvent("listening", str(self._listener.address)))
        if self._lan is not None:
            self._begin(self._neighbours(self._lan).run())
        self._begin(self._watch())
        self._begin(self._let_go())

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
        try:
            link = await connect(address, self._vault.key, expect=expect, patience=self._patience)
        except TransportError as error:
            await self._notes.missed(str(address), error.rule)
            raise
        return await self._once(link, "direct", str(address))

    async def sync_on_lan(self, interfaces: Sequence[str] = ()) -> AsyncIterator[tuple[Address, SyncReport]]:
        """Sync with each that shares a channel with us and is found on the local network; who does not answer is left out.

        interfaces    as `lan` of the class

        Raises: TransportError with rule "lan_no_interface" or "lan_unavailable".
        """
        from quire.node.neighbours import look_around

        key, met = self._vault.key, {bytes(self._vault.device)}
        for neighbour in await look_around(Beacons(self._chat), interfaces):
            for address in neighbour.addresses:
                try:
                    link = await connect(address, key, instance=neighbour.instance, patience=self._patience)
                except (TransportError, PeerError):
                    continue
                if link.peer in met:
                    await link.close()
                else:
                    met.add(link.peer)
                    yield address, await self._once(link, "lan", str(address))
                break

    async def sync_with_relay(self, url: str) -> RelayReport:
        """Take in what a relay has for us, and put there what it lacks. Raises: TransportError, MalformedError."""
        try:
            report = await RelaySync(self._chat, url, patience=self._patience).run()
        except TransportError as error:
            await self._notes.missed(url, error.rule)
            raise
        await self._notes.rested(report.relay, "relay", url, Settled())
        return report

    async def _once(self, link: DirectLink, road: str, address: str) -> SyncReport:
        sync = PeerSync(self._chat, link)
        report = await sync.run()
        await self._notes.rested(bytes(link.peer), road, address, sync.settled)
        return report

    async def answers(self, kind: str, address: str, id: bytes) -> str:
        """Does a device or a relay answer at an address, and is it the one? "", or the rule by which not."""
        try:
            if kind == "relay":
                await (await connect_relay(address)).close()
            else:
                link = await connect(parse_address(address), self._vault.key, expect=DeviceId(id))
                await link.close()
        except QuireError as error:
            await self._notes.missed(address, error.rule)
            return error.rule
        return ""

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
        rule, second = "closed", self._is_live(link.peer)
        try:
            await self._run(link, "", "")
        except QuireError as error:  # a full disk, too: the peer tries again
            rule, second = error.rule, False
        if not second:
            await self._tell(NodeEvent("lost", peer=link.peer, rule=rule))

    async def _keep(self, where: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run this whenever it ends, after a pause that grows while it fails at once."""
        pauses, loop = Pauses(), asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await run()
                rule = "closed"
            except QuireError as error:
                rule = error.rule
            if loop.time() - began > PAUSE_MAX_S:
                pauses.reset()
            pause = pauses.next_s()
            if rule != "closed":
                await self._notes.missed(where, rule)
            await self._tell(NodeEvent("lost", where, rule=rule, again_s=pause))
            if await self._hurry.pause(pause):
                pauses.reset()

    def _neighbours(self, interfaces: Sequence[str]) -> Neighbours:
        from quire.node.neighbours import Neighbours  # what it stands on takes a while to load

        async def serve(link: DirectLink, address: Address) -> None:
            await self._run(link, "lan", str(address))

        async def trouble(where: str, rule: str, again_s: float) -> None:
            if where and rule != "closed":
                await self._notes.missed(where, rule)
            await self._tell(NodeEvent("lost" if where else "lan", where, rule=rule, again_s=again_s))

        return Neighbours(
            Beacons(self._chat), self._vault.key, self._listener, interfaces=interfaces, look=self._look,
            serve=serve, is_live=self._is_live, trouble=trouble, hurry=self._hurry,
        )  # fmt: skip

    def _is_live(self, device: bytes) -> bool:
        return any(sync.report.peer == device for sync in self._live)

    async def _keep_peer(self, address: Address) -> None:
        link = await connect(address, self._vault.key, patience=self._patience)
        await self._run(link, "direct", str(address))

    async def _keep_relay(self, url: str) -> None:
        told = self._telling(url)

        def rested(report: RelayReport) -> None:
            told(report)
            settled = Settled(items=report.new + report.given)
            self._begin(self._notes.rested(report.relay, "relay", url, settled))

        sync = RelaySync(
            self._chat, url, live=True, notify=rested, progress=self._coming(url), patience=self._patience
        )
        self._relays.add(sync)
        try:
            await sync.run()
        finally:
            self._relays.discard(sync)

    async def _run(self, link: DirectLink, road: str, address: str) -> None:
        peer = bytes(link.peer)
        told = self._telling(address, peer)

        def rested(report: SyncReport) -> None:
            told(report)
            self._begin(self._notes.rested(peer, road, address, sync.settled))

        sync = PeerSync(self._chat, link, live=True, notify=rested, progress=self._coming(address, peer))
        again = self._is_live(peer)
        self._live.add(sync)
        if not again:  # a second link is one that both began at once: the other side leaves it
            await self._tell(NodeEvent("connected", address, peer))
        try:
            await sync.run()
        finally:
            self._live.discard(sync)
            await self._notes.left(peer)

    def _telling(self, address: str, peer: bytes = b"") -> Callable[[SyncReport | RelayReport], None]:
        """Makes events of what a report has more than the last time."""
        new = given = refused = 0
        messages: Counter[bytes] = Counter()

        def rested(report: SyncReport | RelayReport) -> None:
            nonlocal new, given, refused, messages
            for error in report.refused[refused:]:
                self._begin(self._tell(NodeEvent("refused", address, peer, rule=error.rule)))
            came = tuple((report.messages - messages).items())
            event = NodeEvent("synced", address, peer, report.new - new, report.given - given, messages=came)
            self._begin(self._tell(event))
            new, given, refused = report.new, report.given, len(report.refused)
            messages = report.messages.copy()

        return rested

    def _coming(self, address: str, peer: bytes = b"") -> Callable[[SyncReport | RelayReport], None]:
        def coming(report: SyncReport | RelayReport) -> None:
            self._begin(self._tell(NodeEvent("coming", address, peer, report.new)))

        return coming

    # The vault

    def _woken(self) -> None:
        """This process wrote: relays at once; peers when it is seen whether that concerns them."""
        for relay in self._relays:
            relay.changed()
        self._wake.set()

    async def _watch(self) -> None:
        """Whatever changes the vault, here or in another process, peers hear of."""
        before = await self._look(self._vault.version)
        apart = _apart()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()
            self._wake.clear()
            last, apart = apart, _apart()
            if apart - last > ASLEEP_S:
                await self._resume()
            now = await self._look(self._vault.version)
            if now != before or any(sync.behind for sync in self._live):
                before = now
                for relay in self._relays:
                    relay.changed()
                for sync in tuple(self._live):
                    with contextlib.suppress(QuireError):  # its own task says so, and ends it
                        await sync.changed()

    async def _resume(self) -> None:
        """The machine was asleep: links may be dead without a sign of it, and pauses are over."""
        for sync in self._live:
            sync.leave()
        for relay in self._relays:
            relay.leave()
        await self._tell(NodeEvent("resumed"))
        self._hurry.up()

    async def _let_go(self) -> None:
        """What retention says is to go, goes: a step now, and then a pause."""
        while True:
            with contextlib.suppress(QuireError):  # a full disk, or another process: the next time
                async for _ in self._letting_go():
                    await asyncio.sleep(LET_GO_PAUSE_S)
            await asyncio.sleep(LET_GO_EVERY_S)

    async def _letting_go(self) -> AsyncIterator[None]:
        steps = self._vault.letting_go()
        while await self._look(next, steps, None) is not None:
            yield

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


def _apart() -> float:
    """How far the clock on the wall is from one that stands still while the machine is asleep, in seconds."""
    return time.time() - time.monotonic()
