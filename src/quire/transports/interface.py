"""What every link is, whatever it runs over. Its suite is testing/transport_suite.py."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from quire.core.ids import DeviceId
from quire.core.limits import FRAME_BYTES_MAX
from quire.errors import UsageError

PORT = 8441


class Patience(NamedTuple):
    """How long a link lives in silence, in seconds: spec 10, 2.7 and 11, 2.2. What comes slowly is no silence."""

    alive_s: float = 20.0  # of silence of our own, then a sign of life
    silence_s: float = 60.0  # without any byte: the other side is gone, though nothing said so


PATIENCE = Patience()


class Link(Protocol):
    """Moves frames of 1 byte to `FRAME_BYTES_MAX` to one peer, in order; a broken link loses, it never doubles.

    A cancelled `send` has sent the frame whole or not at all, a cancelled `receive` has taken nothing.
    """

    @property
    def peer(self) -> DeviceId:
        """The other side, which has proven that it is this device."""

    async def send(self, frame: bytes) -> None:
        """Send a frame; waits while the other side does not read. Raises: UsageError, TransportError."""

    async def receive(self) -> bytes | None:
        """The next frame; None when the other side closed in good order. Raises: TransportError, MalformedError."""

    async def close(self) -> None:
        """End in good order, if the other side still listens."""


class Address(NamedTuple):
    """Where to connect, or to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, port: int = PORT) -> Address:
    """`host`, `host:port`, `[::1]:port`. Raises: UsageError(rule="address_form")."""
    host, rest = text, ""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        rest = rest.removeprefix(":") if closed else "?"
    elif text.count(":") == 1:
        host, _, rest = text.partition(":")
    if rest.isascii() and rest.isdigit():
        port = int(rest)
    elif rest:
        host = ""
    if not host or not 0 <= port <= 65_535:
        raise UsageError(
            f"{text} is no address", rule="address_form", hint="as in 192.168.1.20:8441 or [fe80::1]:8441"
        )
    return Address(host, port)


def check_frame(frame: bytes) -> None:
    """Raises: UsageError(rule="frame_size")."""
    if not 1 <= len(frame) <= FRAME_BYTES_MAX:
        raise UsageError(
            f"a frame has 1 to {FRAME_BYTES_MAX} bytes", rule="frame_size", size_bytes=len(frame)
        )
