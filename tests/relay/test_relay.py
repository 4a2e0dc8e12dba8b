"""A relay in a process of its own, used as devices use it, and as those do who mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect as open_socket
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from quire.core.crypto.keys import SigningKey
from quire.core.relay_frames import (
    CURSOR_MAX,
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
    decode_from_relay,
    encode_frame,
    to_be_signed,
)
from quire.errors import MalformedError, TransportError, UsageError
from quire.transports.relay import RelayClient, connect
from tests.relay.running import START, relaying

BOX, OTHER = SigningKey(b"b" * 32), SigningKey(b"o" * 32)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with relaying(tmp_path / "relay") as (_, url):
        yield url


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One relay for those tests that leave nothing in it that others would see."""
    with relaying(tmp_path_factory.mktemp("lasting") / "relay") as (_, url):
        yield url


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(60):
            return await main()

    return asyncio.run(bounded())


async def read(client: RelayClient, mailbox: bytes, after: int = 0) -> list[Item]:
    """All that is in a mailbox."""
    found: list[Item] = []
    await client.subscribe(mailbox, after)
    async for frame in client.frames():
        if isinstance(frame, CaughtUp):
            return found
        assert isinstance(frame, Item)
        found.append(frame)
    raise AssertionError


def test_what_one_puts_the_other_gets_in_order_and_live(url: str) -> None:
    async def main() -> None:
        async with await connect(url) as ada, await connect(url) as bob:
            await ada.open(BOX)
            await bob.open(BOX)
            cursors = [await ada.put(BOX.public, bytes([number])) for number in range(5)]
            assert cursors == sorted(set(cursors))
            found = await read(bob, BOX.public)
            assert [one.data for one in found] == [bytes([number]) for number in range(5)]
            assert [one.cursor for one in found] == cursors
            last = await ada.put(BOX.public, b"live")
            async for frame in bob.frames():
                assert frame == Item(BOX.public, last, b"live")
                break
        async with await connect(url) as later:
            await later.open(BOX)
            assert [one.data for one in await read(later, BOX.public, cursors[-1])] == [b"live"]

    run(main)


def test_what_lies_between_two_cursors_is_read_backwards_or_in_order_a_page_at_a_time(url: str) -> None:
    async def main() -> None:
        async with await connect(url) as ada, await connect(url) as bob:
            await ada.open(BOX)
            await bob.open(BOX)
            cursors = [await ada.put(BOX.public, bytes([number])) for number in range(8)]

            async def page(
                after: int, before: int, *, newest: bool, items_max: int
            ) -> tuple[list[int], Left]:
                await bob.read(BOX.public, after, before, newest=newest, items_max=items_max)
                found: list[int] = []
                async for frame in bob.frames():
                    if isinstance(frame, Left):
                        return found, frame
                    assert isinstance(frame, Item)
                    assert cursors[frame.data[0]] == frame.cursor
                    found.append(frame.data[0])
                raise AssertionError

            box, last = BOX.public, CURSOR_MAX
            assert await page(0, last, newest=True, items_max=3) == ([7, 6, 5], Left(box, 0, cursors[5]))
            assert await page(0, cursors[5], newest=True, items_max=9) == (
                [4, 3, 2, 1, 0],
                Left(box, 0, cursors[0]),
            )
            assert await page(0, cursors[0], newest=True, items_max=9) == ([], Left(box, 0, 0))
            assert await page(cursors[1], cursors[4], newest=False, items_max=1) == (
                [2],
                Left(box, cursors[2], cursors[4]),
            )
            assert await page(cursors[1], cursors[4], newest=False, items_max=9) == (
                [2, 3],
                Left(box, cursors[3], cursors[3]),
            )
            assert await page(cursors[7], last, newest=True, items_max=9) == (
                [],
                Left(box, cursors[7], cursors[7]),
            )

    run(main)


@pytest.mark.parametrize(("version", "older"), [(1, "the relay"), (3, "Quire here")])
def test_a_relay_of_another_version_is_left_and_which_of_the_two_is_older_is_said(
    version: int, older: str
) -> None:
    async def main() -> None:
        async def greet(socket: ServerConnection) -> None:
            await socket.send(encode_frame(Challenge(version, bytes(32), bytes(16), 1 << 20)))
            await socket.wait_closed()

        async with serve(greet, "127.0.0.1", 0) as there:
            port = next(iter(there.sockets)).getsockname()[1]
            with pytest.raises(MalformedError) as failure:
                await connect(f"ws://127.0.0.1:{port}")
        assert (failure.value.rule, older in failure.value.hint) == ("relay_version", True)

    run(main)


def test_the_same_item_is_kept_once_and_ones_own_comes_without_its_bytes(url: str) -> None:
    async def main() -> None:
        async with await connect(url) as ada, await connect(url) as bob:
            await ada.open(BOX)
            await bob.open(BOX)
            await bob.open(OTHER)
            first = await ada.put(BOX.public, b"item")
            assert await bob.put(BOX.public, b"item") == first
            assert await bob.put(OTHER.public, b"item") != first
            await ada.subscribe(BOX.public, first)
            second = await ada.put(BOX.public, b"mine")
            got = [frame async for frame in _some(ada, 2)]
            assert got == [CaughtUp(BOX.public, first), Item(BOX.public, second, b"")]
            assert [one.data for one in await read(bob, BOX.public)] == [b"item", b"mine"]

    run(main)


async def _some(client: RelayClient, count: int) -> AsyncIterator[Frame]:
    async for frame in client.frames():
        yield frame
        count -= 1
        if not count:
            return


def test_a_mailbox_opens_to_its_key_on_this_connection_only(url: str) -> None:
    async def main() -> None:
        async with open_socket(f"{url}/v1") as first, open_socket(f"{url}/v1") as second:
            challenge = decode_from_relay(_bytes(await first.recv()))
            await second.recv()
            assert isinstance(challenge, Challenge)
            good = BOX.sign(to_be_signed(challenge.nonce, BOX.public))
            forged = OTHER.sign(to_be_signed(challenge.nonce, BOX.public))
            for socket, frame, rule in (
                (first, Open(1, BOX.public, forged), "mailbox_signature"),
                (second, Open(1, BOX.public, good), "mailbox_signature"),  # said on another connection
                (first, Put(1, BOX.public, b"x"), "mailbox_not_open"),
                (first, Subscribe(1, BOX.public, 0), "mailbox_not_open"),
                (first, Read(1, BOX.public, 0, 9, True, 1), "mailbox_not_open"),
            ):
                await socket.send(encode_frame(frame))
                assert decode_from_relay(_bytes(await socket.recv())) == Refused(1, rule)

    run(main)


def _bytes(data: str | bytes) -> bytes:
    assert isinstance(data, bytes)
    return data


@pytest.mark.parametrize(
    ("frame", "rule"),
    [
        (b"garbage", "relay_frame"), (b"", "relay_frame"), (encode_frame(Put(1, b"short", b"x")), "relay_put"),
        (encode_frame(Put(1, BOX.public, b"")), "item_size"), (encode_frame(Bye("x")), "relay_frame"),
        (encode_frame(Subscribe(1, BOX.public, -1)), "relay_subscribe"),
        (encode_frame(Open(1, BOX.public, b"x")), "relay_open"),
        (encode_frame(Read(1, BOX.public, 5, 5, True, 1)), "relay_read"),
        (encode_frame(Put(1, BOX.public, bytes((2 << 20) - 200))), "item_size"),
    ],
    ids=range(9),
)  # fmt: skip
def test_what_is_no_frame_ends_the_connection_and_no_other(lasting: str, frame: bytes, rule: str) -> None:
    async def main() -> None:
        async with await connect(lasting) as honest, open_socket(f"{lasting}/v1") as socket:
            await socket.recv()
            await socket.send(frame)
            assert decode_from_relay(_bytes(await socket.recv())) == Bye(rule)
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            await honest.open(BOX)
            assert await honest.put(BOX.public, b"still here") > 0

    run(main)


def test_text_is_no_frame(lasting: str) -> None:
    async def main() -> None:
        async with open_socket(f"{lasting}/v1") as socket:
            await socket.recv()
            await socket.send("text")
            assert decode_from_relay(_bytes(await socket.recv())) == Bye("relay_frame")

    run(main)


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize(
    "asking", [encode_frame(Subscribe(1, OTHER.public, 0)), encode_frame(Read(1, BOX.public, 0, 9, True, 1))]
)
def test_a_flood_that_reads_no_answer_is_not_listened_to(url: str, asking: bytes) -> None:
    """Each frame would be answered, by a refusal or a page; they do not pile up in the relay, which answers others."""

    async def main() -> None:
        async with open_socket(f"{url}/v1", max_queue=1) as flood, await connect(url) as honest:
            challenge = decode_from_relay(_bytes(await flood.recv()))
            assert isinstance(challenge, Challenge)
            signature = BOX.sign(to_be_signed(challenge.nonce, BOX.public))
            await flood.send(encode_frame(Open(1, BOX.public, signature)))
            sent = 0

            async def pour() -> None:
                nonlocal sent
                while True:
                    await flood.send(asking)
                    sent += 1

            pouring = asyncio.create_task(pour())
            await honest.open(BOX)
            before = -1
            while sent != before:  # until nothing more is taken from it
                before = sent
                for number in range(50):
                    await honest.put(BOX.public, b"%d %d" % (sent, number))
            assert sent < 1_000_000
            pouring.cancel()

    run(main)


def test_ten_megabytes_at_once_are_not_taken(url: str) -> None:
    async def main() -> None:
        async with open_socket(f"{url}/v1", compression=None) as socket:
            await socket.recv()
            with contextlib.suppress(ConnectionClosed):
                await socket.send(bytes(10 << 20))
            with pytest.raises(ConnectionClosed):
                await socket.recv()
        async with await connect(url) as honest:
            await honest.open(BOX)
            assert await honest.put(BOX.public, b"still here") > 0

    run(main)


def test_a_full_relay_says_so_and_goes_on_serving(tmp_path: Path) -> None:
    with relaying(tmp_path / "relay", "--total-mib", "1") as (_, url):

        async def main() -> None:
            async with await connect(url) as ada:
                await ada.open(BOX)
                await ada.put(BOX.public, bytes(700_000))
                with pytest.raises(TransportError) as failure:
                    await ada.put(BOX.public, b"x" * 700_000)
                assert failure.value.details["by"] == "relay_full"
                await ada.open(OTHER)
                assert await ada.put(OTHER.public, b"small") > 0
                assert len(await read(ada, BOX.public)) == 1

        run(main)


def test_a_disk_without_room_is_said_and_what_was_kept_is_served(tmp_path: Path) -> None:
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))"
    with relaying(tmp_path / "relay", before=limit) as (_, url):

        async def main() -> None:
            async with await connect(url) as ada, await connect(url) as bob:
                await ada.open(BOX)
                await bob.open(BOX)
                items = [bytes([number]) * 500_000 for number in range(16)]
                done = await asyncio.gather(
                    *(ada.put(BOX.public, one) for one in items), return_exceptions=True
                )
                kept = sum(isinstance(one, int) for one in done)
                refused = [one for one in done if isinstance(one, TransportError)]
                assert {one.details["by"] for one in refused} == {"relay_full"}
                assert 0 < kept < 16
                assert [one.data[0] for one in await read(bob, BOX.public)] == list(range(kept))

        run(main)


def test_who_says_nothing_is_parted_with(tmp_path: Path) -> None:
    with relaying(
        tmp_path / "relay", before="import quire.cli.relay as r; r.OTHER_LIMITS['opening_s'] = 0.2"
    ) as (_, url):

        async def main() -> None:
            async with open_socket(f"{url}/v1") as silent:
                await silent.recv()
                with pytest.raises(ConnectionClosed):
                    await silent.recv()

        run(main)


@pytest.mark.parametrize("kills", [3])
def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path, kills: int) -> None:
    acknowledged: set[bytes] = set()

    async def load(url: str, process: subprocess.Popen[str], round_: int) -> None:
        async with await connect(url) as client:
            await client.open(BOX)

            async def put(number: int) -> None:
                item = b"%d %d" % (round_, number)
                with contextlib.suppress(TransportError):
                    await client.put(BOX.public, item)
                    acknowledged.add(item)
                    if len(acknowledged) >= 40 * (round_ + 1):
                        process.send_signal(signal.SIGKILL)

            await asyncio.gather(*(put(number) for number in range(2_000)))

    for round_ in range(kills):
        with relaying(tmp_path / "relay") as (process, url):
            run(lambda url=url, process=process, round_=round_: load(url, process, round_))  # type: ignore[misc]
    assert len(acknowledged) >= 40 * kills
    with relaying(tmp_path / "relay") as (_, url):

        async def main() -> list[bytes]:
            async with await connect(url) as client:
                await client.open(BOX)
                return [one.data for one in await read(client, BOX.public)]

        found = run(main)
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))


def test_a_hundred_subscribers_of_one_mailbox_all_hear(url: str) -> None:
    async def main() -> None:
        clients = [await connect(url) for _ in range(100)]
        for client in clients:
            await client.open(BOX)
            await client.subscribe(BOX.public, 0)
        async with await connect(url) as ada:
            await ada.open(BOX)
            await ada.put(BOX.public, b"to all")
        for client in clients:
            async for frame in client.frames():
                if isinstance(frame, Item):
                    assert frame.data == b"to all"
                    break
            await client.close()

    run(main)


def test_health_and_metrics_say_how_much_and_not_who(url: str) -> None:
    async def main() -> None:
        async with await connect(url) as ada:
            await ada.open(BOX)
            await ada.put(BOX.public, b"item")

    run(main)
    base = url.replace("ws://", "http://")
    health = json.loads(urllib.request.urlopen(f"{base}/healthz").read())
    assert health == {"ok": True, "bytes": 4}
    metrics = urllib.request.urlopen(f"{base}/metrics").read().decode()
    assert "quire_relay_puts_total 1.0" in metrics
    assert BOX.public.hex() not in metrics
    assert "127.0.0.1" not in metrics


def test_nobody_there_and_no_address_are_said() -> None:
    async def main() -> None:
        with pytest.raises(TransportError) as failure:
            await connect("ws://127.0.0.1:1")
        assert failure.value.rule == "relay_unreachable"
        with pytest.raises(UsageError) as wrong:
            await connect("127.0.0.1:1")
        assert wrong.value.rule == "relay_url"

    run(main)


def test_two_relays_do_not_share_a_folder(tmp_path: Path) -> None:
    with relaying(tmp_path / "relay"):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                START,
                "relay",
                str(tmp_path / "relay"),
                "--listen",
                "127.0.0.1:0",
                "--json",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert json.loads(done.stderr.splitlines()[-1])["error"]["rule"] == "relay_folder_taken"
        assert done.returncode == 7
