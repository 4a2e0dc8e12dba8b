"""A clock that tests move: what `time.time_ns` says here, and so all that asks it."""

from __future__ import annotations

import time

import pytest


class Clock:
    """The real time, and as much more as a test wants."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead_ms = 0
        real = time.time_ns
        patch.setattr(time, "time_ns", lambda: real() + self.ahead_ms * 1_000_000)
