"""Device to device: TLS 1.3 over TCP, and both devices' keys proven inside it (core/crypto/handshake.py).

The listening side makes a certificate for each start, and for each network that it announces itself on, signed by itself;
nobody checks its name. What makes the
other side certain is its device's signature over that certificate. Frames follow, each after its length in four
bytes: zero is a sign of life, all ones the end in good order. docs/spec/11-direct.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quire.core.crypto.handshake import CLIENT_SIZE, OPENING_SIZE, PROOF_SIZE, ClientSide, ServerSide
from quire.core.crypto.keys import SigningKey
from quire.core.ids import DeviceId
from quire.core.limits import FRAME_BYTES_MAX
from quire.errors import MalformedError, PeerError, TransportError
from quire.transports.interface import PATIENCE, Address, Patience, check_frame

HANDSHAKE_S = 10.0  # for everything before the first frame
CLOSING_S = 1.0
HANDSHAKES_MAX = 64  # at once: who opens more and says nothing waits for nobody but themselves
LINKS_PER_HOST_MAX = 64
BUFFER_BYTES = 1 << 20
CHUNK_BYTES = (
    64 << 10
)  # written at once: on a road of 2 KiB/s each still goes within the time that is no silence
ENDED = 0xFFFFFFFF

Accepts = Callable[[DeviceId], Awaitable[bool]]
OnLink = Callable[["DirectLink"], Awaitable[None]]


class DirectLink:
    """A link over one TLS connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: DeviceId,
        patience: Patience = PATIENCE,
    ) -> None:
        self._reader, self._writer, self._peer = reader, writer, peer
        self._patience = patience
        writer.transport.set_write_buffer_limits(high=CHUNK_BYTES)  # TLS keeps half a MiB otherwise
        self._coming = (
            bytearray()
        )  # of a frame and its length: who is cancelled meanwhile takes nothing from it
        self._writing = asyncio.Lock()
        self._closed = False
        self._sending: set[asyncio.Task[None]] = set()
        self._life = asyncio.create_task(self._show_life())

    @property
    def peer(self) -> DeviceId:
        return self._peer

    async def send(self, frame: bytes) -> None:
        check_frame(frame)
        data = len(frame).to_bytes(4, "big") + frame
        if len(data) <= CHUNK_BYTES:
            await self._write(data)
            return
        sending = asyncio.create_task(self._write(data))  # goes on if we are cancelled: half a frame is none
        self._sending.add(sending)
        sending.add_done_callback(self._sent)
        await asyncio.shield(sending)

    async def receive(self) -> bytes | None:
        try:
            while True:
                await self._fill(4)
                size = int.from_bytes(self._coming[:4], "big")
                if size == ENDED:
                    return None
                if size > FRAME_BYTES_MAX:
                    raise MalformedError("a frame larger than any may be", rule="frame_too_large")
                await self._fill(4 + size)
                frame = bytes(self._coming[4:])
                self._coming.clear()
                if size:
                    return frame
        except TimeoutError:
            raise TransportError("the other side is silent", rule="link_silent") from None
        except (OSError, EOFError) as error:
            raise TransportError("the link broke", rule="link_lost") from error

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._life.cancel()
        try:
            with contextlib.suppress(TransportError, TimeoutError):
                async with asyncio.timeout(CLOSING_S):
                    await self._write(ENDED.to_bytes(4, "big"))
        except asyncio.CancelledError:
            self._writer.transport.abort()
            raise
        await close_stream(self._writer)

    async def _fill(self, size: int) -> None:
        """Until so many bytes have come of what is coming; each that comes is a sign of life."""
        while len(self._coming) < size:
            async with asyncio.timeout(self._patience.silence_s):
                data = await self._reader.read(size - len(self._coming))
            if not data:
                raise EOFError
            self._coming += data

    async def _write(self, data: bytes) -> None:
        try:
            async with self._writing:
                for at in range(0, len(data), CHUNK_BYTES):
                    self._writer.write(data[at : at + CHUNK_BYTES])
                    async with asyncio.timeout(self._patience.silence_s):
                        await self._writer.drain()
        except TimeoutError:
            if not self._closed:
                self._writer.transport.abort()  # half a frame may have gone
            raise TransportError("the other side reads nothing", rule="link_silent") from None
        except (OSError, RuntimeError) as error:
            raise TransportError("the link broke", rule="link_lost") from error

    def _sent(self, sending: asyncio.Task[None]) -> None:
        self._sending.discard(sending)
        if not sending.cancelled():
            sending.exception()  # who waits is told; if nobody does, the next who sends is

    async def _show_life(self) -> None:
        with contextlib.suppress(TransportError):
            while True:
                await asyncio.sleep(self._patience.alive_s)
                await self._write(bytes(4))


class Listener:
    """Takes connections until it is closed."""

    def __init__(
        self,
        server: asyncio.Server,
        certificates: _Certificates,
        key: SigningKey,
        accepts: Accepts,
        on_link: OnLink,
        patience: Patience,
    ) -> None:
        self._server = server
        self._certificates = certificates
        self._key = key
        self._accepts = accepts
        self._on_link = on_link
        self._patience = patience
        self._shaking = 0
        self._closed = False
        self._hosts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        """Where it listens; the port that it was given if it asked for any."""
        host, port, *_ = self._server.sockets[0].getsockname()
        return Address(host, port)

    @property
    def certificate_hash(self) -> bytes:
        """Of the certificate that the next connection is shown."""
        return self._certificates.newest.certificate_hash

    def renew(self) -> None:
        """From now on show another certificate: nobody can tell by it that we are who was here before."""
        self._certificates.renew()

    async def close(self) -> None:
        """Take no more, and end what is there."""
        self._closed = True
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection whose TLS holds."""
        if self._closed:  # it was shaking hands meanwhile
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Who is cancelled before they begin closes nothing themselves; who has closed it already, nothing again.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = str(writer.get_extra_info("peername")[0])
        link = None
        self._hosts[host] += 1
        try:
            if self._hosts[host] <= LINKS_PER_HOST_MAX and self._shaking < HANDSHAKES_MAX:
                link = await self._prove(reader, writer)
            if link is not None:
                await self._on_link(link)
        except (PeerError, TransportError, TimeoutError, OSError, EOFError):
            pass  # a stranger's affair; who is no stranger connects again
        finally:
            self._hosts[host] -= 1
            await (close_stream(writer) if link is None else link.close())

    async def _prove(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> DirectLink | None:
        self._shaking += 1
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                shown = self._certificates.shown(writer)
                side = ServerSide(self._key, shown, os.urandom)
                writer.write(side.opening())
                peer = side.receive(await reader.readexactly(CLIENT_SIZE))
                if not await self._accepts(peer):
                    return None
                writer.write(side.proof(peer))
                await writer.drain()
                return DirectLink(reader, writer, peer, self._patience)
        finally:
            self._shaking -= 1


async def listen(
    address: Address, key: SigningKey, accepts: Accepts, on_link: OnLink, *, patience: Patience = PATIENCE
) -> Listener:
    """Take links on an address.

    accepts    do we speak to this device?
    on_link    runs for each link, which is closed when it returns

    Raises: TransportError(rule="address_taken").
    """
    certificates = _Certificates()
    listener: Listener

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.take(reader, writer)

    try:
        server = await asyncio.start_server(
            take,
            *address,
            ssl=certificates.newest,
            ssl_handshake_timeout=HANDSHAKE_S,
            limit=BUFFER_BYTES,
            start_serving=False,
        )
    except OSError as error:
        raise TransportError(
            f"cannot listen on {address}: {error.strerror}", rule="address_taken", hint="choose another port"
        ) from error
    listener = Listener(server, certificates, key, accepts, on_link, patience)
    await server.start_serving()
    return listener


async def connect(
    address: Address,
    key: SigningKey,
    *,
    expect: DeviceId | None = None,
    instance: bytes = b"",
    patience: Patience = PATIENCE,
) -> DirectLink:
    """A link to the device that listens there.

    expect      the device that it must be
    instance    how its certificate's hash must begin: to another, we do not even show who we are

    Raises: TransportError with rule "unreachable" or "link_refused", PeerError if the device is not proven, or another.
    """
    context = blind_context()
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            reader, writer = await asyncio.open_connection(*address, ssl=context, limit=BUFFER_BYTES)
    except (OSError, TimeoutError) as error:
        raise TransportError(
            f"nobody answers at {address}", rule="unreachable", hint="is quire up running there?"
        ) from error
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            shown = hashlib.sha256(writer.get_extra_info("ssl_object").getpeercert(binary_form=True)).digest()
            if not shown.startswith(instance):
                raise PeerError("another certificate than was announced", rule="link_other_certificate")
            side = ClientSide(key, shown, os.urandom)
            writer.write(side.answer(await reader.readexactly(OPENING_SIZE)))
            peer = side.finish(await reader.readexactly(PROOF_SIZE))
        if expect is not None and peer != expect:
            raise PeerError("another device than was meant answers there", rule="link_other_device")
        return DirectLink(reader, writer, peer, patience)
    except (OSError, EOFError, TimeoutError) as error:
        await close_stream(writer)
        raise TransportError(
            f"{address} does not speak to this device",
            rule="link_refused",
            hint="you share no channel, and no invite of theirs is open",
        ) from error
    except BaseException:
        await close_stream(writer)
        raise


def blind_context() -> ssl.SSLContext:
    """A client's side of TLS 1.3 that takes any certificate: something inside the connection takes its place."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def close_stream(writer: asyncio.StreamWriter) -> None:
    """Close a connection; its socket is closed when this returns, or soon after if it is cancelled."""
    writer.close()
    try:
        async with asyncio.timeout(CLOSING_S):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()  # the other side does not answer; TLS would wait for half a minute
        await asyncio.sleep(0)  # the loop closes the socket in its next round
    except asyncio.CancelledError:
        writer.transport.abort()
        raise


class ServerContext(ssl.SSLContext):
    """A server's side of TLS 1.3, with a certificate of its own."""

    certificate_hash: bytes


class _Certificates:
    """What a listener shows: one certificate at a time, and of each connection which it was."""

    def __init__(self) -> None:
        first = self.newest = server_context()
        first.sni_callback = self._choose  # called for each connection, also for one that names nobody

    def renew(self) -> None:
        self.newest = server_context()

    def shown(self, writer: asyncio.StreamWriter) -> bytes:
        """The hash of the certificate of a connection."""
        context = writer.get_extra_info("ssl_object").context
        assert isinstance(context, ServerContext)
        return context.certificate_hash

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self.newest


def server_context() -> ServerContext:
    """TLS 1.3 with a fresh certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "quire")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # `ssl` takes keys from files only; this one is of this start
        file = Path(folder, "certificate")
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(file)
    der = certificate.public_bytes(serialization.Encoding.DER)
    context.certificate_hash = hashlib.sha256(der).digest()
    return context
