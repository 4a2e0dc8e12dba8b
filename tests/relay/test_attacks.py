"""A relay under attack: it stays up, answers others, holds no more memory than it may, and says in numbers what happens.

pytest tests/relay/test_attacks.py -m "slow and bounded"    # 1,500 connections, 10 MB frames, slow readers, by memory
pytest tests/relay/test_attacks.py -m slow                  # 10,000 connections
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from quire.core.crypto.keys import SigningKey
from quire.core.relay_frames import ITEM_BYTES_MAX, Put, Subscribe, encode_frame
from quire.transports.relay import connect
from tests.relay.raw import BINARY, CONT, ELSEWHERE, PING, PONG, Raw, memory_mib, metric, raw, refusals
from tests.relay.running import relaying
from tests.relay.test_relay import BOX, OTHER, read, run

MIB = 1 << 20
Attack = Callable[[str, subprocess.Popen[str]], Coroutine[Any, Any, None]]


def under_attack(folder: Path, attack: Attack, *arguments: str, **limits: float) -> None:
    """A relay with these limits, and what happens to it."""
    set_them = f"import quire.cli.relay as r; r.OTHER_LIMITS.update({limits!r})"
    with relaying(folder / "relay", *arguments, before=set_them) as (process, url):
        run(lambda: attack(url, process))
        assert process.poll() is None


async def answers_others(url: str) -> None:
    """Somebody at another address puts, and reads what they put."""
    async with await connect(url) as honest:
        await honest.open(OTHER)
        item = os.urandom(1_000)
        cursor = await honest.put(OTHER.public, item)
        assert [one.data for one in await read(honest, OTHER.public, cursor - 1)] == [item]


@asynccontextmanager
async def many(url: str, count: int, key: SigningKey | None = BOX) -> AsyncIterator[list[Raw]]:
    """Connections of one who means no good, each with an open mailbox."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            one = await stack.enter_async_context(raw(url))
            if key is not None:
                await one.open(key)
            found.append(one)
        yield found


def test_who_sends_a_head_slowly_or_none_is_parted_with(tmp_path: Path) -> None:
    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        async with many(url, 12, None) as slow:
            for number, one in enumerate(slow):
                one.writer.write(b"GET /healthz HTTP/1.1\r\nX-Slow: "[: 3 * number])
            await answers_others(url)
            for one in slow:
                assert await one.is_ended()
        assert refusals(url, "head_slow") == 12

    under_attack(tmp_path, attack, head_s=0.5)


def test_garbage_in_place_of_a_head_or_a_frame_ends_that_connection(tmp_path: Path) -> None:
    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        async with many(url, 4, None) as four:
            for one, garbage in zip(
                four, (b"\x16\x03\x01\x02\x00", b"\xff" * 20_000, b"GET " * 9_000, bytes(400)), strict=True
            ):
                one.writer.write(garbage + b"\r\n\r\n")
                assert await one.is_ended()
        async with many(url, 3) as three:
            for one, garbage in zip(
                three, (b"\xff" * 4_000, b"\x82\xff" + b"\xff" * 400, b"\x02\x00\x00"), strict=True
            ):
                one.writer.write(garbage)  # reserved bits, an absurd length, no mask
                assert await one.is_ended()
        await answers_others(url)

    under_attack(tmp_path, attack)


def test_half_frames_are_held_up_to_a_bound_of_their_address(tmp_path: Path) -> None:
    """Twenty frames of which all but the last byte comes: 40 MB, where one address may have 8."""

    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        async with many(url, 20) as slow:
            for one in slow:
                one.say(BINARY, bytes(2 * MIB - 1), size=2 * MIB)
                with suppress(OSError):
                    await one.writer.drain()
            await answers_others(url)
            while refusals(url, "too_much_memory") < 16:
                await answers_others(url)
            assert metric(url, "quire_relay_memory_bytes") <= 9 * MIB

    under_attack(tmp_path, attack, memory_per_address_max=8 * MIB)


@pytest.mark.parametrize(
    ("opcode", "rule"), [(PING, "too_many_pings"), (CONT, "too_many_parts")], ids=["pings", "parts"]
)
def test_who_pings_or_cuts_into_parts_without_end_is_parted_with(
    tmp_path: Path, opcode: int, rule: str
) -> None:
    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        async with raw(url) as one:
            await one.open(BOX)
            if opcode == CONT:
                one.say(BINARY, b"", whole=False)
            for _ in range(2_000):
                one.say(opcode, b"", whole=opcode == PING)
            assert await one.is_ended()
        assert refusals(url, rule) == 1
        await answers_others(url)

    under_attack(tmp_path, attack)


def test_who_reads_nothing_of_what_they_ask_for_costs_a_bounded_share(tmp_path: Path) -> None:
    """Thirty subscribers of 16 MB who take nothing: their address may hold 8 MB, and they are parted with."""

    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        async with await connect(url) as filling:
            await filling.open(BOX)
            for number in range(8):
                await filling.put(BOX.public, bytes([number]) * (ITEM_BYTES_MAX - 1))
        async with many(url, 30) as greedy:
            for one in greedy:
                one.say(BINARY, encode_frame(Subscribe(2, BOX.public, 0)))
            for _ in range(5):
                await answers_others(url)
                assert metric(url, "quire_relay_memory_bytes") <= 16 * MIB
            async with await connect(url) as honest:  # the same mailbox
                await honest.open(BOX)
                assert len(await read(honest, BOX.public)) == 8
            while not refusals(url, "reads_nothing"):
                for one in greedy:  # they are there, and say so
                    one.say(PONG, b"")
                await answers_others(url)

    under_attack(tmp_path, attack, memory_per_address_max=8 * MIB, alive_s=0.2, silence_s=1.0)


def test_who_is_not_there_any_more_is_noticed_and_who_is_slow_is_not(tmp_path: Path) -> None:
    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        async with raw(url) as gone, raw(url) as slow:
            await gone.open(BOX)
            await slow.open(OTHER)
            item = encode_frame(Put(2, OTHER.public, b"by and by" * 20))
            slow.say(BINARY, b"", size=len(item))
            ended = asyncio.create_task(gone.is_ended())  # it answers no ping
            for at in range(len(item)):  # a byte now and then, for longer than a silence may be
                if at % 10 == 0:
                    await asyncio.wait({ended}, timeout=0.1)
                slow.writer.write(item[at : at + 1])
            assert await ended
            while (await slow.hear())[0] != BINARY:
                pass
            assert refusals(url, "silent") == 1

    under_attack(tmp_path, attack, alive_s=0.1, silence_s=0.6)


def test_who_opens_and_subscribes_without_end_waits_and_the_others_do_not(tmp_path: Path) -> None:
    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        async with raw(url) as flood:
            await flood.open(BOX)
            again = encode_frame(Subscribe(2, BOX.public, 0))
            for _ in range(300):
                flood.say(BINARY, again)
            while metric(url, "quire_relay_slowed_total") < 3:
                await answers_others(url)
            assert metric(url, "quire_relay_slowed_total") < 200

    under_attack(tmp_path, attack, requests_per_s=20.0, requests_at_once=50)


def test_too_many_connections_of_one_address_are_refused_and_no_others(tmp_path: Path) -> None:
    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        async with many(url, 5), raw(url) as sixth:
            with pytest.raises(AssertionError):  # no challenge
                await sixth.begin()
            await answers_others(url)
        assert refusals(url, "too_many_connections") == 1

    under_attack(tmp_path, attack, "--per-address", "5")


def test_what_was_refused_is_logged_by_rule_and_number_and_nobodys_address(tmp_path: Path) -> None:
    before = "import quire.relay.server as s; s.EXPIRE_PAUSE_S = 0.2"
    with relaying(tmp_path / "relay", before=before) as (process, url):

        async def attack() -> None:
            for _ in range(3):
                async with raw(url) as one:
                    await one.open(BOX)
                    one.say(BINARY, b"garbage")
                    assert b"relay_frame" in (await one.hear())[1]

        run(attack)
        assert process.stderr is not None
        lines: list[str] = []
        while sum(json.loads(line).get("count", 0) for line in lines) < 3:
            lines.append(process.stderr.readline())
        assert any('"rule": "relay_frame"' in line for line in lines)
        assert ELSEWHERE not in "".join(lines)
        assert BOX.public.hex() not in "".join(lines)


# With numbers


async def hold(url: str, process: subprocess.Popen[str], count: int) -> None:
    """So many connections at once, from a few addresses, in other processes; each has opened a mailbox."""
    before = memory_mib(process.pid)
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, url, str(count), stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert int(await holder.stdout.readline()) == count
        while metric(url, "quire_relay_connections") < count:
            await answers_others(url)
        for _ in range(20):
            await answers_others(url)
        more = memory_mib(process.pid) - before
        print(
            f"{count} connections: {before:.0f} MiB before, {more:.0f} MiB more, {more * 1024 / count:.0f} KiB each"
        )
        assert more * 1024 / count < 100
    finally:
        holder.kill()
        await holder.wait()
    while metric(url, "quire_relay_connections") > 1:
        await answers_others(url)


HOLD = """
import asyncio, resource, sys
sys.path.insert(0, %r)
from quire.core.crypto.keys import SigningKey
from tests.relay.raw import Raw
async def main():
    url, count = sys.argv[1], int(sys.argv[2])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    host, _, port = url.removeprefix("ws://").partition(":")
    held, key = [], SigningKey(b"h" * 32)
    async def one(number):
        address = f"127.0.0.{2 + number %% 8}"
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0), limit=4096)
        held.append(Raw(reader, writer))
        await held[-1].open(key)
    for first in range(0, count, 100):
        await asyncio.gather(*(one(number) for number in range(first, min(first + 100, count))))
    print(len(held), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
""" % str(Path(__file__).parent.parent.parent)  # noqa: UP031 - a program with braces of its own


@pytest.mark.slow
@pytest.mark.bounded
def test_1_500_connections_at_once(tmp_path: Path) -> None:
    under_attack(tmp_path, lambda url, process: hold(url, process, 1_500))


@pytest.mark.slow
def test_10_000_connections_at_once(tmp_path: Path) -> None:
    with relaying(tmp_path / "relay") as (process, url):

        async def main() -> None:
            async with asyncio.timeout(600):
                await hold(url, process, 10_000)

        asyncio.run(main())


@pytest.mark.slow
@pytest.mark.bounded
def test_floods_of_every_kind_leave_a_relay_with_bounded_memory(tmp_path: Path) -> None:
    """One address may hold 32 MiB: half frames of 200, readers of 16 MB who take nothing, puts as fast as they go."""

    async def attack(url: str, process: subprocess.Popen[str]) -> None:
        await answers_others(url)
        before = memory_mib(process.pid)
        async with await connect(url) as filling:
            await filling.open(BOX)
            for number in range(8):
                await filling.put(BOX.public, bytes([number]) * (ITEM_BYTES_MAX - 1))
        async with many(url, 100) as slow, many(url, 100) as greedy, many(url, 8) as pouring:
            for one in greedy:
                one.say(BINARY, encode_frame(Subscribe(2, BOX.public, 0)))

            async def half(one: Raw) -> None:
                with suppress(OSError):
                    one.say(BINARY, bytes(2 * MIB - 1), size=2 * MIB)
                    await one.writer.drain()

            async def pour(one: Raw) -> None:
                with suppress(OSError):
                    for number in range(12):
                        one.say(BINARY, encode_frame(Put(number, BOX.public, os.urandom(1 * MIB))))
                        await one.writer.drain()

            work = asyncio.gather(*map(half, slow), *map(pour, pouring))
            most = 0.0
            for _ in range(40):
                await answers_others(url)
                most = max(most, memory_mib(process.pid))
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        print(f"{before:.0f} MiB before, {most:.0f} MiB at most")
        assert most - before < 240  # of which the database keeps 64

    under_attack(tmp_path, attack, memory_per_address_max=32 * MIB, alive_s=0.5, silence_s=3.0)
