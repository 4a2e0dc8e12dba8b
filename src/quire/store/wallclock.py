"""The wall clock, the one for all of the store: a test that sets it sets it here."""

from __future__ import annotations

import time


def now_ms() -> int:
    """The wall clock, Unix ms."""
    return time.time_ns() // 1_000_000
