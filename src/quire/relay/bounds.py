"""What bounds those who use a relay: how much memory they make it hold, and how often they may ask.

Both are counted for each address, so that one who floods spends its own share, and for all together. Who is at a bound
waits, or is parted with; nobody else notices. Addresses are kept as long as something of theirs is.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque

ADDRESSES_MAX = (
    65_536  # whose pace is remembered: beyond it that of all who are not at their bound is forgotten
)


class Memory:
    """Bytes that connections make the relay hold: frames that are half there, puts that wait, pages on their way."""

    def __init__(self, bytes_max: int, per_address_max: int) -> None:
        self._max = bytes_max
        self._per_address_max = per_address_max
        self.held = 0
        self._of: Counter[str] = Counter()
        self._waiting: deque[tuple[str, int, asyncio.Future[None]]] = deque()

    def fits(self, address: str, size: int) -> bool:
        """Is there room? Whoever holds nothing may hold one thing."""
        return not self._of[address] or (
            self.held + size <= self._max and self._of[address] + size <= self._per_address_max
        )

    def hold(self, address: str, size: int) -> None:
        """These bytes are here now."""
        self.held += size
        self._of[address] += size

    def free(self, address: str, size: int) -> None:
        """They are gone; who waits for their room may have it."""
        self.held -= size
        self._of[address] -= size
        if not self._of[address]:
            del self._of[address]
        for waiting in tuple(self._waiting):
            who, wanted, waiter = waiting
            if waiter.done():
                self._waiting.remove(waiting)
            elif self.fits(who, wanted):
                self._waiting.remove(waiting)
                self.hold(who, wanted)
                waiter.set_result(None)

    async def room(self, address: str, size: int) -> None:
        """Hold so many bytes, once there is room."""
        if self.fits(address, size):
            self.hold(address, size)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((address, size, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.free(address, size)
            raise


class Pace:
    """How often each address may do something: so often a second, kept up, and so often at once."""

    def __init__(self, per_s: float, at_once: int) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._left: dict[str, tuple[float, float]] = {}  # what is left, and when that was

    def wait_s(self, address: str, count: int = 1) -> float:
        """Do it so many times: how long to wait before that."""
        now = time.monotonic()
        left, at = self._left.pop(address, (float(self._at_once), now))
        left = min(float(self._at_once), left + (now - at) * self._per_s) - count
        if len(self._left) >= ADDRESSES_MAX:
            self._left = {one: known for one, known in self._left.items() if known[0] < 0}
        self._left[address] = left, now
        return max(0.0, -left / self._per_s)
