"""What waits, and how much of it: whole commits for what they name or for their time, and operations for their target.

A stranger decides what it sends; so all that waits is bounded for each device and channel (core/limits.py).
"""

from __future__ import annotations

import apsw

from quire.core import clock, commit
from quire.core.ids import ChannelId
from quire.core.limits import (
    AHEAD_MS_MAX,
    PARKED_BYTES_MAX,
    PARKED_PER_CHANNEL_MAX,
    PARKED_PER_DEVICE_MAX,
    WAITING_PER_DEVICE_MAX,
)
from quire.errors import PeerError
from quire.storage import backlog, log
from quire.storage import timeline as rows
from quire.store.arrivals import PARKED, Arrival, targets
from quire.store.erasing_parked import struck


class Parking:
    """The bounds for one batch, and how many of its commits were parked."""

    def __init__(self, db: apsw.Connection, now_ms: int) -> None:
        self.count = 0
        self._db = db
        self._now = now_ms
        self._full: dict[tuple[bytes, str], bool] = {}  # device and table: does it hold all it may there?

    def park(self, arrival: Arrival, reason: str) -> None:
        """Keep a whole commit, signed itself, until what it names comes, or its time; bounded for each device and channel."""
        if reason == "ahead":
            backlog.note_parked_due(self._db, (arrival.head.time >> clock.COUNTER_BITS) - AHEAD_MS_MAX)
        if arrival.position == PARKED:
            backlog.set_parked_reason(self._db, arrival.id, reason)
            return
        head, row = arrival.head, log.channel_by_id(self._db, ChannelId(arrival.head.channel))
        left = arrival.commit if row is None else struck(self._db, row.n, arrival.commit, head)
        encoded = commit.encode_commit(left)
        of_device, of_channel, size = backlog.parked_counts(self._db, head.device, head.channel)
        is_full = of_device >= PARKED_PER_DEVICE_MAX or of_channel >= PARKED_PER_CHANNEL_MAX
        if is_full or size + len(encoded) > PARKED_BYTES_MAX:
            raise PeerError(
                "too much of this device or channel waits already",
                rule="too_many_waiting",
                device=head.device,
            )
        backlog.park(self._db, arrival.id, head.channel, head.device, reason, self._now, encoded)
        self.count += 1

    def require_room(self, arrival: Arrival) -> None:
        """A device's operations may wait for what they refer to, or for their time, but not without bound."""
        device = arrival.head.device
        if not self.is_full(device, "waiting"):
            return
        if clock.is_ahead(arrival.head.time, self._now) or not all(map(self._is_here, targets(arrival))):
            raise PeerError("too much of this device waits already", rule="too_many_waiting", device=device)

    def is_full(self, device: bytes, table: str) -> bool:
        """Does as much of a device wait, or not count, as may? Asked once for a batch, which overshoots by itself at most."""
        full = self._full.get((device, table))
        if full is None:
            full = backlog.waiting_of_device(self._db, device, table) >= WAITING_PER_DEVICE_MAX
            self._full[device, table] = full
        return full

    def _is_here(self, target: bytes) -> bool:
        return rows.get_row(self._db, target) is not None


def unpark(db: apsw.Connection, arrival: Arrival) -> None:
    """What was parked is taken now, or never will be."""
    if arrival.position == PARKED:
        backlog.unpark(db, arrival.id)
