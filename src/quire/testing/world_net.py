"""The network of a simulated world: an event loop whose time is drawn, links that break, and hands that wait for disks.

What devices say to each other is said by what they really run, `PeerSync` and `RelaySync`. Only the ground under it is
made: no clock, no thread and no socket, but a loop in which the next thing that is due comes at once, and in which all that
takes time takes as long as the seed says. So everything that can go on at once does, in an order that repeats.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from quire.core.bundle_file import KNOWN
from quire.core.ids import DeviceId
from quire.errors import MalformedError, TransportError
from quire.node import files, peer, relays
from quire.storage import database
from quire.sync.messages import Part, Taken, decode_message
from quire.transports.interface import PATIENCE, check_frame

if TYPE_CHECKING:
    from quire.testing.world import Machine, World

FRAMES_UNDER_WAY_MAX = 16
JOB_S, FRAME_S = 0.05, 0.03  # what a disk, and a road, takes at most
VIRTUAL_S_MAX = 3_600.0  # of one meeting: beyond it we call it endless


class Stuck(AssertionError):
    """Everybody waits, and nothing is under way."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without a world around it: when all wait, time jumps to what is due next."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = SimpleNamespace(select=self._jump)

    def time(self) -> float:
        return self._now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        if executor is not None:
            return executor.begin(func, *args)
        future = self.create_future()
        future.set_result(func(*args))
        return future

    def _jump(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck
        if timeout > 0:
            self._now = self._scheduled[0].when()  # type: ignore[attr-defined]
            if self._now > VIRTUAL_S_MAX:
                raise Stuck
        return []

    def _process_events(self, events: list[Any]) -> None: ...

    def _write_to_self(self) -> None: ...


class Hands:
    """In place of a thread pool of one: does one thing after another for a device, each after a time that is drawn."""

    def __init__(self, net: Net, side: Side) -> None:
        self._net, self._side = net, side
        self._free_at = 0.0
        self._local = SimpleNamespace()  # a thread has its own connection to the vault

    def begin(self, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._free_at = max(loop.time(), self._free_at) + self._net.random.random() * JOB_S
        loop.call_at(self._free_at, self._do, future, func, args)
        return future

    def submit(self, func: Callable[..., Any]) -> None:
        self._run(func, ())

    def shutdown(self, wait: bool = True) -> None: ...

    def _do(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if future.cancelled():
            return
        try:
            result = self._run(func, args)
        except BaseException as error:  # also the end of the program
            future.set_exception(error)
        else:
            future.set_result(result)

    def _run(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        with self._side.acting(self._local):
            return func(*args)


class Side:
    """A device while it is connected: its clock is read, its crashes come, when it does something."""

    def __init__(self, net: Net, machine: Machine, crash: Callable[[str], None] | None = None) -> None:
        self.net, self.machine = net, machine
        self._crash = crash
        self.crashed = False
        self.on_crash: list[Callable[[], None]] = []

    @contextmanager
    def acting(self, local: Any = None) -> Iterator[None]:
        """What is done inside is done by this device."""
        from quire.testing.world import Crash

        if self.crashed:
            raise Crash
        store, hook = self.machine.store.database, database.fault_hook
        before = store._local
        self.net.world.at(self.machine)
        database.fault_hook = self._crash
        if local is not None:
            store._local = local
        try:
            yield
        except Crash:
            self.crashed = True
            for end in self.on_crash:
                end()
            raise
        finally:
            database.fault_hook = hook
            store._local = before


class Net:
    """All that goes on between devices for a while."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(self._failed)
        self._failures: list[BaseException] = []
        self._building: Side | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Net:
        for module in (peer, files, relays):
            self._stack.enter_context(patch.object(module, "ThreadPoolExecutor", self._hands))
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()
        self.loop.close()

    def _hands(self, count: int, **options: object) -> Hands:
        assert self._building is not None
        return Hands(self, self._building)

    def build(self, side: Side, make: Callable[[], Any]) -> Any:
        """What makes thread pools gets hands of this device instead."""
        self._building = side
        try:
            return make()
        finally:
            self._building = None

    def run(self, *doing: Any) -> list[Any]:
        """Until all is done: what each came to, or its error. Raises: Stuck."""

        async def all_of_it() -> list[Any]:
            return list(await asyncio.gather(*doing, return_exceptions=True))

        task = self.loop.create_task(all_of_it())
        try:
            found = list(self.loop.run_until_complete(task))
        finally:
            self.world.now_ms += int(self.loop.time() * 1_000)
        gc.collect(0)  # an error that nobody looked at is told now, and not in another world
        if self._failures:
            raise self._failures[0]
        return found

    def _failed(self, loop: object, context: dict[str, Any]) -> None:
        """Something failed that nobody waits for, or nobody looked at what it came to."""
        error = context.get("exception")
        self._failures.append(error if isinstance(error, BaseException) else Stuck(context["message"]))

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        self.loop.call_later(seconds, do)


class Fault(NamedTuple):
    """What happens to a link: after so many frames it breaks, or carries nothing any more and does not say so."""

    kind: str = ""  # "", "cut", "half-open", "slow"
    frames: int = 0


NO_FAULT = Fault()


class Wire:
    """A link between two devices; frames take a time that is drawn, and come in order."""

    def __init__(self, net: Net, one: Side, other: Side, fault: Fault = NO_FAULT) -> None:
        self.net = net
        self.fault = fault
        self.carried = 0
        self.broken: TransportError | None = None
        self.swallows = False
        self.ends = WireEnd(self, one, 0), WireEnd(self, other, 1)
        for end, far in (self.ends, self.ends[::-1]):
            end.far = far
            end.side.on_crash.append(self.cut)

    def cut(self, rule: str = "link_lost") -> None:
        if self.broken is None:
            self.broken = TransportError("the link broke", rule=rule)
            for end in self.ends:
                end.changed.set()

    def fate(self) -> None:
        """Before each frame."""
        self.carried += 1
        if self.carried != self.fault.frames:
            return
        if self.fault.kind == "cut":
            self.cut()
        elif self.fault.kind == "half-open":
            self.swallows = True
            self.net.later(PATIENCE.silence_s, lambda: self.cut("link_silent"))


class WireEnd:
    """One end: a `Link` of `quire.transports.interface`."""

    def __init__(self, wire: Wire, side: Side, number: int) -> None:
        self._wire, self.side, self._number = wire, side, number
        self.far: WireEnd = self
        self.changed = asyncio.Event()
        self._under_way = 0
        self._last_at = 0.0
        self._here: deque[bytes] = deque()
        self.closed = False
        self.says: Callable[[bytes], list[bytes]] = lambda frame: [frame]  # a liar's says something else
        self._heard = Heard(side)

    @property
    def peer(self) -> DeviceId:
        return self.far.side.machine.store.device

    async def send(self, frame: bytes) -> None:
        check_frame(frame)
        wire = self._wire
        while wire.broken is None and not self.far.closed and self._under_way >= FRAMES_UNDER_WAY_MAX:
            self.changed.clear()
            await self.changed.wait()
        self._require_open()
        if not self.side.machine.liar:
            self._heard.check(frame)
        for said in self.says(frame):
            wire.fate()
            self._require_open()
            wire.net.world.carried(self.side.machine, said)
            slow = len(said) / 2_000 if wire.fault.kind == "slow" else 0.0
            self._last_at = (
                max(wire.net.loop.time(), self._last_at) + wire.net.random.random() * FRAME_S + slow
            )
            self._under_way += 1
            wire.net.loop.call_at(self._last_at, self._arrive, said)

    def _arrive(self, frame: bytes) -> None:
        if not self._wire.swallows:
            self._under_way -= 1
            self.far._here.append(frame)
            self.far.changed.set()
            self.changed.set()

    async def receive(self) -> bytes | None:
        while True:
            if self._wire.broken is not None or self.closed:
                self._require_open()
            if self._here:
                frame = self._here.popleft()
                self._heard.take(frame)
                return frame
            if self.far.closed and not self.far._under_way:
                return None
            self.changed.clear()
            await self.changed.wait()

    async def close(self) -> None:
        if not self.closed and not self.side.crashed:
            self.closed = True
            for end in (self, self.far):
                end.changed.set()

    def _require_open(self) -> None:
        if self._wire.broken is not None:
            raise TransportError("the link broke", rule=self._wire.broken.rule)
        if self.closed or self.far.closed:
            raise TransportError("the link has ended", rule="link_lost")


class Heard:
    """Which records came to a device over a link, so that it acknowledges none that its vault has not taken in."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._parts: list[bytes] = []
        self._records: dict[int, bytes] = {}

    def take(self, frame: bytes) -> None:
        try:
            message = decode_message(frame)
        except MalformedError:
            return
        if isinstance(message, Part):
            self._parts.append(message.data)
            if message.last:
                if message.kind in KNOWN:
                    self._records[message.number] = item_hash(message.kind, b"".join(self._parts))
                self._parts = []

    def check(self, frame: bytes) -> None:
        """Before something is said."""
        message = decode_message(frame)
        if isinstance(message, Taken):
            machine = self._side.machine
            for number in [one for one in self._records if one <= message.number]:
                if self._records.pop(number) not in machine.taken:
                    raise self._side.net.world.fail(f"{machine.name} acknowledged what it had not taken in")


def item_hash(kind: int, data: bytes) -> bytes:
    """Of a record, however it came."""
    return hashlib.sha256(bytes([kind]) + data).digest()


class Distortion:
    """What a liar's end says in place of what its program does."""

    def __init__(self, draw: random.Random, old: deque[bytes]) -> None:
        self._draw = draw
        self._old = old  # frames of any link, for replay
        self._kept: list[bytes] = []

    def __call__(self, frame: bytes) -> list[bytes]:
        draw = self._draw
        self._old.append(frame)
        if draw.random() < 0.8:
            return [*self._let_go(), frame]
        match draw.randrange(7):
            case 0:
                return []
            case 1:
                return [frame, frame]
            case 2:
                self._kept.append(frame)  # comes behind a later one
                return []
            case 3:
                changed = bytearray(frame)
                changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
                return [bytes(changed)]
            case 4:
                return [draw.choice(self._old), frame]
            case 5:
                return [draw.randbytes(draw.randrange(1, 80)), frame]
            case _:
                return [lied(frame, draw)]

    def _let_go(self) -> list[bytes]:
        kept, self._kept = self._kept, []
        return kept


def lied(frame: bytes, draw: random.Random) -> bytes:
    """The same message, in good form, with something that is not so."""
    from quire.core.heights import LogHeight
    from quire.sync.messages import Have, Hello, Rest, encode_message

    match decode_message(frame):
        case Hello() as hello:
            said = tuple((token, draw.choice((digest, draw.randbytes(16)))) for token, digest in hello.offers)
            return encode_message(Hello(1, hello.nonce, said))
        case Have() as have:
            heights = tuple(_other_height(one, draw) for one in have.heights if draw.random() < 0.8)
            strange = LogHeight(draw.randbytes(32), bytes(16), b"", draw.randrange(1, 9), draw.randbytes(32))
            tags = (*have.tags, draw.randbytes(16))
            return encode_message(Have(have.token, (*heights, strange)[:256], tags))
        case Rest():
            return encode_message(Rest(again=True))
        case Part() as part:
            return encode_message(Part(part.number, draw.choice((1, 2, 3, 4, 9)), part.last, part.data))
        case Taken() as taken:
            return encode_message(Taken(max(1, taken.number - draw.randrange(3))))
        case message:
            return encode_message(message)


def _other_height(one: Any, draw: random.Random) -> Any:
    from quire.core.heights import LogHeight

    match draw.randrange(4):
        case 0:
            return LogHeight(one.device, one.incarnation, one.branch, one.last, draw.randbytes(32), one.gaps)
        case 1:
            return LogHeight(
                one.device, one.incarnation, one.branch, one.last + draw.randrange(1, 99), one.id, ()
            )
        case 2 if one.last > 2:
            return LogHeight(one.device, one.incarnation, one.branch, one.last, one.id, ((1, one.last - 1),))
        case _:
            return one
