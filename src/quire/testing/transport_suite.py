"""What every road for frames does, and what every link does besides: one suite, run by each of them.

    class TestMemoryLinks(LinkSuite):
        @asynccontextmanager
        async def links(self): yield memory_links(ADA, BOB)
        def cut(self, link): link.cut()

A `Road` carries frames one way: a mailbox of a relay is one, and a bundle file, which is written whole before it is
read. A link is a road each way between two devices that know each other. The tests need no plugin: each runs a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, NamedTuple

from quire.core.ids import DeviceId
from quire.core.limits import FRAME_BYTES_MAX
from quire.errors import QuireError, TransportError, UsageError
from quire.transports.interface import Link

PATIENCE_S = 60.0  # of a test: none waits so long unless something is wrong
UNDER_WAY_BYTES_MAX = 80 << 20  # in all buffers between two ends, kernels' included
SIZES = (1, 2, 4_096, 65_531, 65_536, 65_537, 1 << 20)


class Road(NamedTuple):
    """One way for frames. `end` and `cut` are None where there is no such thing."""

    send: Callable[[bytes], Awaitable[object]]
    receive: Callable[[], Awaitable[bytes | None]]  # None: the other end closed in good order
    end: Callable[[], Awaitable[None]] | None
    cut: Callable[[], Awaitable[None]] | None


class RoadSuite:
    """Frames come whole, in order and once; what is too large is the caller's mistake; an end is no break."""

    bytes_max: ClassVar[int] = FRAME_BYTES_MAX
    wrong_sizes: ClassVar[tuple[int, ...]] = (0, FRAME_BYTES_MAX + 1)
    wrong_size_rule: ClassVar[str] = "frame_size"
    broken_rules: ClassVar[tuple[str, ...]] = ("link_lost",)

    def road(self) -> AbstractAsyncContextManager[Road]:
        """A fresh one."""
        raise NotImplementedError

    def test_frames_come_in_order_whole_and_once(self) -> None:
        frames = [bytes([number]) * size for number, size in enumerate((*SIZES, self.bytes_max, 3))]

        async def main() -> list[bytes | None]:
            async with self.road() as road:
                sending = asyncio.ensure_future(_each(road.send, frames))
                await asyncio.sleep(0)
                got = [await road.receive() for _ in frames]
                await sending
                return got

        assert run(main) == frames

    def test_a_frame_of_a_wrong_size_is_the_callers_mistake_and_costs_nothing(self) -> None:
        async def main() -> None:
            async with self.road() as road:
                for size in self.wrong_sizes:
                    error = await refused(road.send(bytes(size)))
                    assert isinstance(error, UsageError)
                    assert error.rule == self.wrong_size_rule
                await road.send(b"after it")
                assert await road.receive() == b"after it"

        run(main)

    def test_an_end_in_good_order_comes_after_all_that_was_sent(self) -> None:
        async def main() -> None:
            async with self.road() as road:
                if road.end is None:
                    return
                await road.send(b"last words")
                await road.end()
                assert await road.receive() == b"last words"
                assert await road.receive() is None

        run(main)

    def test_a_break_is_told_from_an_end(self) -> None:
        async def main() -> None:
            async with self.road() as road:
                if road.cut is None:
                    return
                await road.send(b"heard")
                assert await road.receive() == b"heard"
                await road.cut()
                assert (await refused(_until_none(road.receive))).rule in self.broken_rules

        run(main)

    def test_who_stops_waiting_for_a_frame_has_taken_nothing(self) -> None:
        async def main() -> None:
            async with self.road() as road:
                for number in range(8):
                    waiting = asyncio.ensure_future(_as_task(road.receive))
                    for _ in range(number):
                        await asyncio.sleep(0)
                    waiting.cancel()
                    await asyncio.gather(waiting, return_exceptions=True)
                    if not waiting.cancelled():
                        return  # a road on which nobody waits: it is written before it is read
                frames = [bytes([number]) * 100_000 for number in range(20)]
                sending = asyncio.ensure_future(_each(road.send, frames))
                got: list[bytes | None] = []
                turns = 0
                while len(got) < len(frames):
                    waiting = asyncio.ensure_future(_as_task(road.receive))
                    turns = turns % 7 + 1
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    waiting.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        got.append(await waiting)
                await sending
                assert got == frames

        run(main)


class LinkSuite(RoadSuite):
    """A road each way, between two devices that have proven who they are."""

    devices: ClassVar[tuple[DeviceId, DeviceId]]  # that hold the first end, and the second

    def links(self) -> AbstractAsyncContextManager[tuple[Link, Link]]:
        """Both ends of a fresh link."""
        raise NotImplementedError

    def cut(self, link: Any) -> None:
        """The link breaks without a word."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def road(self) -> AsyncIterator[Road]:
        async with self.links() as (one, other):

            async def cut() -> None:
                self.cut(one)

            yield Road(one.send, other.receive, one.close, cut)

    def test_each_end_knows_whose_the_other_is(self) -> None:
        async def main() -> None:
            async with self.links() as (one, other):
                assert (other.peer, one.peer) == self.devices

        run(main)

    def test_both_speak_at_once(self) -> None:
        frames = [bytes([number]) * 300_000 for number in range(32)]

        async def main() -> list[list[bytes | None]]:
            async with self.links() as ends:
                sending = [asyncio.ensure_future(_each(end.send, frames)) for end in ends]
                got = await asyncio.gather(*(_some(end.receive, len(frames)) for end in ends))
                await asyncio.gather(*sending)
                return list(got)

        assert run(main) == [frames, frames]

    def test_many_who_send_at_once_do_not_mix(self) -> None:
        async def main() -> set[bytes | None]:
            async with self.links() as (one, other):
                frames = [bytes([number]) * (200_000 + number) for number in range(24)]
                sending = asyncio.gather(*(one.send(frame) for frame in frames))
                got = {await other.receive() for _ in frames}
                await sending
                assert got == set(frames)
                return got

        run(main)

    def test_who_does_not_read_is_waited_for(self) -> None:
        frame, count = bytes(FRAME_BYTES_MAX), 64

        async def main() -> None:
            async with self.links() as (one, other):
                sent = most = 0

                async def flood() -> None:
                    nonlocal sent
                    for _ in range(count):
                        await one.send(frame)
                        sent += 1

                flooding = asyncio.ensure_future(flood())
                for got in range(count):
                    for _ in range(20):
                        await asyncio.sleep(0)
                    most = max(most, sent - got)
                    assert await other.receive() == frame
                await flooding
                assert most * len(frame) < UNDER_WAY_BYTES_MAX

        run(main)

    def test_a_sender_that_is_cancelled_has_sent_it_whole_or_not_at_all(self) -> None:
        frame = b"x" * FRAME_BYTES_MAX

        async def main() -> None:
            async with self.links() as (one, other):
                sent, turns = 0, 0
                while True:  # nobody reads: at last one waits, and is cancelled in the midst of it
                    sending = asyncio.ensure_future(one.send(frame))
                    for _ in range(50):
                        await asyncio.sleep(0)
                    if not sending.done():
                        turns += 1
                        sending.cancel()
                    await asyncio.gather(sending, return_exceptions=True)
                    sent += 1
                    if turns == 3:
                        break
                last = asyncio.ensure_future(one.send(b"after it"))
                got = await other.receive()
                whole = 0
                while got != b"after it":
                    assert got == frame
                    whole += 1
                    got = await other.receive()
                await last
                assert sent - turns <= whole <= sent

        run(main)

    def test_who_sends_to_an_end_that_has_closed_is_told(self) -> None:
        async def main() -> None:
            async with self.links() as (one, other):
                await other.close()
                assert await one.receive() is None
                error = await refused(_for_ever(one.send, bytes(FRAME_BYTES_MAX)))
                assert isinstance(error, TransportError)

        run(main)

    def test_an_end_that_was_closed_is_of_no_more_use(self) -> None:
        async def main() -> None:
            async with self.links() as (one, other):
                await one.close()
                await one.close()
                assert isinstance(await refused(one.send(b"x")), TransportError)
                assert isinstance(await refused(one.receive()), TransportError)
                assert await other.receive() is None

        run(main)

    def test_whoever_waits_at_a_break_is_told(self) -> None:
        async def main() -> None:
            async with self.links() as (one, _):
                waiting = [
                    asyncio.ensure_future(refused(one.receive())),
                    asyncio.ensure_future(refused(_for_ever(one.send, bytes(FRAME_BYTES_MAX)))),
                ]
                for _ in range(20):
                    await asyncio.sleep(0)
                self.cut(one)
                for error in await asyncio.gather(*waiting):
                    assert isinstance(error, TransportError)
                    assert error.rule in self.broken_rules

        run(main)


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """Within bounds."""

    async def bounded() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await main()

    return asyncio.run(bounded())


async def refused(doing: Awaitable[object]) -> QuireError:
    """The error by which something is refused."""
    try:
        await doing
    except QuireError as error:
        return error
    raise AssertionError("nothing was refused")


async def _each(send: Callable[[bytes], Awaitable[object]], frames: list[bytes]) -> None:
    for frame in frames:
        await send(frame)


async def _some(receive: Callable[[], Awaitable[bytes | None]], count: int) -> list[bytes | None]:
    return [await receive() for _ in range(count)]


async def _as_task(receive: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
    return await receive()


async def _until_none(receive: Callable[[], Awaitable[bytes | None]]) -> None:
    while await receive() is not None:
        pass


async def _for_ever(send: Callable[[bytes], Awaitable[object]], frame: bytes) -> None:
    while True:
        await send(frame)
