"""Direct links: who is at the other end is proven, and whoever stands between gets nowhere. What all links do: test_suite.py."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from quire.core.crypto.handshake import ClientSide, ServerSide
from quire.core.crypto.keys import SigningKey
from quire.core.ids import DeviceId
from quire.core.limits import FRAME_BYTES_MAX
from quire.errors import MalformedError, PeerError, TransportError, UnauthorisedError, UsageError
from quire.transports import direct
from quire.transports.direct import DirectLink, Listener, connect, listen
from quire.transports.interface import PATIENCE, Address, Patience, parse_address

HERE = Address("127.0.0.1", 0)
ADA, BOB = SigningKey(b"a" * 32), SigningKey(b"b" * 32)


@contextlib.asynccontextmanager
async def listening(
    accepts: Callable[[DeviceId], bool] = lambda device: True, patience: Patience = PATIENCE
) -> AsyncIterator[tuple[Listener, asyncio.Queue[DirectLink]]]:
    links: asyncio.Queue[DirectLink] = asyncio.Queue()

    async def accept(device: DeviceId) -> bool:
        return accepts(device)

    async def on_link(link: DirectLink) -> None:
        links.put_nowait(link)
        await asyncio.Event().wait()

    listener = await listen(HERE, BOB, accept, on_link, patience=patience)
    try:
        async with asyncio.timeout(30):
            yield listener, links
    finally:
        await listener.close()


def test_a_device_that_we_do_not_speak_to_learns_nothing() -> None:
    async def main() -> None:
        async with listening(lambda device: False) as (listener, links):
            with pytest.raises(TransportError) as failure:
                await connect(listener.address, ADA)
            assert failure.value.rule == "link_refused"
            assert links.empty()
            reader, writer = await asyncio.open_connection(*listener.address, ssl=_blind())
            writer.write(os.urandom(112))
            heard = await reader.read()
            writer.close()
            assert len(heard) == 17  # a version and a nonce
            assert BOB.public not in heard

    asyncio.run(main())


def test_another_device_than_was_meant_is_refused() -> None:
    async def main() -> None:
        async with listening() as (listener, _):
            with pytest.raises(PeerError) as failure:
                await connect(listener.address, ADA, expect=DeviceId(bytes(32)))
            assert failure.value.rule == "link_other_device"

    asyncio.run(main())


def test_who_stands_between_is_refused_by_both() -> None:
    """Eve takes Ada's connection with a certificate of her own and passes everything on to Bob."""

    async def main() -> None:
        async with listening() as (bob, links):

            async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                there, back = await asyncio.open_connection(*bob.address, ssl=_blind())

                async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
                    with contextlib.suppress(OSError):
                        while data := await source.read(65_536):
                            target.write(data)
                            await target.drain()
                        target.close()

                await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

            context = direct.server_context()
            eve = await asyncio.start_server(between, "127.0.0.1", 0, ssl=context)
            host, port, *_ = eve.sockets[0].getsockname()
            with pytest.raises((PeerError, TransportError)):
                await connect(Address(host, port), ADA)
            assert links.empty()
            eve.close()

    asyncio.run(main())


def test_each_side_refuses_proofs_that_are_bound_to_another_certificate() -> None:
    mine, seen = hashlib.sha256(b"bob's").digest(), hashlib.sha256(b"eve's").digest()
    server, client = ServerSide(BOB, mine, os.urandom), ClientSide(ADA, seen, os.urandom)
    with pytest.raises(UnauthorisedError) as failure:
        server.receive(client.answer(server.opening()))
    assert failure.value.rule == "link_proof"
    with pytest.raises(UnauthorisedError):
        client.finish(server.proof(DeviceId(ADA.public)))
    honest = ClientSide(ADA, mine, os.urandom)
    assert server.receive(honest.answer(server.opening())) == ADA.public
    assert honest.finish(server.proof(DeviceId(ADA.public))) == BOB.public
    with pytest.raises(UnauthorisedError):  # made for somebody else
        honest.finish(server.proof(DeviceId(BOB.public)))


@contextlib.asynccontextmanager
async def linked() -> AsyncIterator[tuple[DirectLink, DirectLink]]:
    """Ada's end and Bob's."""
    async with listening() as (listener, links):
        mine = await connect(listener.address, ADA)
        yield mine, await links.get()
        await mine.close()


@pytest.mark.parametrize("size", [0, 1, 16, 18, 95, 97, 111, 113])
def test_messages_of_another_length_are_refused(size: int) -> None:
    for do in (
        ServerSide(BOB, bytes(32), os.urandom).receive,
        ClientSide(ADA, bytes(32), os.urandom).answer,
        ClientSide(ADA, bytes(32), os.urandom).finish,
    ):
        with pytest.raises(MalformedError) as failure:
            do(bytes(size))
        assert failure.value.rule == "link_message"
    with pytest.raises(MalformedError) as failure:
        ClientSide(ADA, bytes(32), os.urandom).answer(b"\2" + bytes(16))
    assert failure.value.rule == "link_version"


def test_a_frame_that_claims_too_much_is_refused_before_it_is_read() -> None:
    async def main() -> None:
        async with linked() as (one, other):
            one._writer.write((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
            with pytest.raises(MalformedError) as failure:
                await other.receive()
            assert failure.value.rule == "frame_too_large"

    asyncio.run(main())


def test_a_link_on_which_nothing_comes_is_given_up_and_one_with_signs_of_life_is_not() -> None:
    async def main() -> None:
        async with listening() as (listener, links):
            mine = await connect(listener.address, ADA, patience=Patience(silence_s=0.2))
            (await links.get())._life.cancel()
            with pytest.raises(TransportError) as failure:
                await mine.receive()
            assert failure.value.rule == "link_silent"
            await mine.close()
        async with listening(patience=Patience(alive_s=0.05)) as (listener, links):
            living = await connect(listener.address, ADA, patience=Patience(silence_s=0.5))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.8):
                    await living.receive()
            await living.close()

    asyncio.run(main())


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_closing_that_is_cancelled_leaves_no_socket_open(rounds: int) -> None:
    """The other side takes nothing any more, and whoever closes is told to hurry: at any of the points where they wait."""

    async def main() -> None:
        async with linked() as (mine, _):
            writer, raw = mine._writer, mine._writer.get_extra_info("socket")
            closing = asyncio.create_task(mine.close())
            for _ in range(rounds):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            for _ in range(3):
                await asyncio.sleep(0)
            assert writer.transport.is_closing()
            assert raw.fileno() == -1

    asyncio.run(main())


def test_who_shakes_hands_as_a_listener_closes_is_not_served() -> None:
    async def main() -> None:
        async with listening() as (listener, links):
            reader, writer = await asyncio.open_connection(*listener.address, ssl=_blind())
            await listener.close()
            late, mine = await asyncio.open_connection(sock=_pair())
            listener.take(late, mine)
            assert mine.transport.is_closing()
            assert links.empty()
            assert await reader.read() is not None
            writer.close()

    asyncio.run(main())


def test_nobody_there_and_a_taken_port_are_said() -> None:
    async def main() -> None:
        async with listening() as (listener, _):
            with pytest.raises(TransportError) as failure:
                await listen(
                    listener.address,
                    BOB,
                    lambda device: asyncio.sleep(0, True),
                    lambda link: asyncio.sleep(0),
                )
            assert failure.value.rule == "address_taken"
            address = listener.address
        with pytest.raises(TransportError) as failure:
            await connect(address, ADA)
        assert failure.value.rule == "unreachable"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1", ("10.0.0.1", 8441)), ("a.example:1", ("a.example", 1)), ("[::1]:80", ("::1", 80)),
        ("::1", ("::1", 8441)), ("[::1]", ("::1", 8441)),
    ],
)  # fmt: skip
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
    assert parse_address(str(parse_address(text))) == address


@pytest.mark.parametrize("text", ["", ":80", "a:b", "a:99999", "[::1", "[::1]x", "a:-1"])
def test_what_is_no_address_is_said(text: str) -> None:
    with pytest.raises(UsageError) as failure:
        parse_address(text)
    assert failure.value.rule == "address_form"


def _pair() -> socket.socket:
    """One end of a connection whose other end has gone."""
    one, other = socket.socketpair()
    other.close()
    one.setblocking(False)
    return one


def _blind() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
