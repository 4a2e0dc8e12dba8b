"""What the machines of a sync have their driver do; those of one machine alone are beside it."""

from __future__ import annotations

import msgspec


class Effect(msgspec.Struct, frozen=True):
    """What the driver does now; see each."""


class Send(Effect, frozen=True):
    """Send this frame."""

    frame: bytes
