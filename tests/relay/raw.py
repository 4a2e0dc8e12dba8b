"""WebSockets by hand, for those who mean no good: half frames, thousands of parts, silence; and what a relay says of itself."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from quire.core.crypto.keys import SigningKey
from quire.core.relay_frames import Challenge, Open, decode_from_relay, encode_frame, to_be_signed

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
ELSEWHERE = "127.0.0.2"  # an address that is not the honest user's
HEAD = (
    b"GET /v1 HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, opcode: int, payload: bytes, *, whole: bool = True, size: int | None = None) -> None:
        """A frame. RFC 6455, section 5.2; masked with zeros.

        size    what it states, if that is not so
        """
        stated = len(payload) if size is None else size
        if stated < 126:
            length = bytes([0x80 | stated])
        elif stated < 65_536:
            length = b"\xfe" + stated.to_bytes(2, "big")
        else:
            length = b"\xff" + stated.to_bytes(8, "big")
        self.writer.write(bytes([0x80 * whole | opcode]) + length + bytes(4) + payload)

    async def hear(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        first, second = await self.reader.readexactly(2)
        size = second
        if second >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if second == 126 else 8), "big")
        return first & 15, await self.reader.readexactly(size)

    async def begin(self) -> Challenge:
        """Become a WebSocket; what the relay says first."""
        self.writer.write(HEAD)
        await self.reader.readuntil(b"\r\n\r\n")
        _, payload = await self.hear()
        challenge = decode_from_relay(payload)
        assert isinstance(challenge, Challenge)
        return challenge

    async def open(self, key: SigningKey) -> None:
        """Become one, with an open mailbox."""
        challenge = await self.begin()
        signature = key.sign(to_be_signed(challenge.nonce, key.public))
        self.say(BINARY, encode_frame(Open(1, key.public, signature)))

    async def is_ended(self) -> bool:
        """Read until the relay ends it."""
        try:
            while await self.reader.read(65_536):
                pass
        except OSError:
            return True
        return True


@asynccontextmanager
async def raw(url: str, address: str = ELSEWHERE) -> AsyncIterator[Raw]:
    host, _, port = url.removeprefix("ws://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


def metric(url: str, name: str) -> float:
    """What a relay counts, by /metrics; 0 if there is nothing of that name."""
    text = urllib.request.urlopen(f"{url.replace('ws://', 'http://')}/metrics").read().decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def refusals(url: str, rule: str) -> float:
    return metric(url, f'quire_relay_refusals_total{{rule="{rule}"}}')


def memory_mib(pid: int) -> float:
    """What a process has in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)
