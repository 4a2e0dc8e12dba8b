"""Waiting before a peer is tried again: longer each time, never alike for two, and not at all once things have changed."""

from __future__ import annotations

import asyncio
import contextlib
import random

PAUSE_S, PAUSE_MAX_S = 1.0, 60.0


class Hurry:
    """Ends all pauses at once: the machine was asleep, or is on another network."""

    def __init__(self) -> None:
        self._now = asyncio.Event()

    def up(self) -> None:
        """Try everything now."""
        self._now.set()
        self._now = asyncio.Event()

    async def pause(self, seconds: float) -> bool:
        """Wait so long, or until `up`; was it that?"""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._now.wait()
        return False


class Pauses:
    """The pauses of one peer."""

    def __init__(self) -> None:
        self._base = PAUSE_S

    def next_s(self) -> float:
        """How long to wait now, in seconds."""
        base, self._base = self._base, min(self._base * 2, PAUSE_MAX_S)
        return base * random.uniform(0.5, 1.5)  # noqa: S311 - so that not all come at once

    def reset(self) -> None:
        """It went well for a while, or all is new."""
        self._base = PAUSE_S
