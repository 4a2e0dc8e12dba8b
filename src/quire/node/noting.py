"""Notes in the vault of whom a node met, and what they have then (channels/standing.py): some, and never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import msgspec

from quire.channels.standing import Standing
from quire.core.ids import ChannelId
from quire.errors import QuireError
from quire.store.offering import Holding

NOTE_S = 5.0  # between two notes of one peer that goes on talking
SEEN_S = 60.0  # between two that say only that it is still there


class Settled(msgspec.Struct, frozen=True):
    """What a peer has, when both rest."""

    equal: Mapping[ChannelId, bytes] = {}
    differing: Mapping[ChannelId, Holding] = {}
    items: int = 0  # of a relay: what went and came


class _Peer(msgspec.Struct):
    road: str
    address: str
    settled: Settled
    noted: Settled | None = None
    noted_s: float = 0.0


class Notes:
    """The notes of one node."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._peers: dict[bytes, _Peer] = {}

    async def rested(
        self, id: bytes, road: str, address: str, settled: Settled, *, now: bool = False
    ) -> None:
        """A peer came to rest. Written at most every few seconds, unless `now`, and only if it says anything new."""
        one = self._peers.setdefault(id, _Peer(road, address, settled))
        one.road, one.address, one.settled = road, address, settled
        clock_s = asyncio.get_running_loop().time()
        least = 0.0 if now and settled != one.noted else NOTE_S if settled != one.noted else SEEN_S
        if one.noted is None or clock_s - one.noted_s >= least:
            one.noted, one.noted_s = settled, clock_s
            with contextlib.suppress(QuireError):  # the vault is busy or full: then it is not noted
                await asyncio.to_thread(
                    self._standing.note_met,
                    id,
                    road,
                    address,
                    equal=settled.equal,
                    differing=settled.differing,
                )

    async def left(self, id: bytes) -> None:
        """A peer went: what is not written yet is written now."""
        if (one := self._peers.get(id)) is not None:
            await self.rested(id, one.road, one.address, one.settled, now=True)

    async def missed(self, address: str, rule: str) -> None:
        """Nobody answered there."""
        with contextlib.suppress(QuireError):
            await asyncio.to_thread(self._standing.note_missed, address, rule)
