"""What has expired and is still here: nobody is shown it, although nobody destroyed it yet.

A policy by age and a timer say of each message when it goes, to the millisecond; letting go follows within a minute, or when a
program runs again. Whoever set a timer expects that nothing shows after it, so all that reads for people asks here first.
What goes by count or size has no such moment, and shows until it is let go (docs/spec/12-retention.md, 5.7).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from quire.storage import log
from quire.storage import retention as policies
from quire.storage import timeline as rows
from quire.store import retention as deciding


class Counts(msgspec.Struct):
    """How much of a channel is hidden, of what its counters count."""

    messages: int = 0
    threads: int = 0
    unread: int = 0
    mentions: int = 0


class Veil:
    """What is hidden in one channel at one moment."""

    def __init__(self, db: apsw.Connection, channel: int, now_ms: int) -> None:
        self._db, self._channel = db, channel
        _, self._bounds = deciding.bounds_apart(db, log.channel_by_n(db, channel), now_ms, counted=False)
        self.end = self._bounds.end  # nothing from this hybrid time on is hidden
        self._bookmarked: set[bytes] | None = None
        self.surely = deciding.surely(self._bounds)  # SQL: true of most that is hidden

    def hidden(self, ids: Iterable[bytes]) -> set[bytes]:
        """Those of these messages that are."""
        return set(deciding.expired_of(self._db, self._bounds, list(ids))) if self.end else set()

    def shown(self, found: Sequence[Any]) -> list[Any]:
        """Rows of MESSAGE_COLUMNS without those that are hidden."""
        left = [row for row in found if row[1] >= self.end or not self._surely_hidden(*row[1:6])]
        hidden = self.hidden([row[2] for row in left if row[1] < self.end])
        return [row for row in left if row[2] not in hidden] if hidden else left

    def _surely_hidden(self, time: int, id: bytes, author: int, flags: int, root: bytes | None) -> bool:
        """Does its row alone say so? A search meets very many."""
        if any(
            one.first <= time < one.end and one.own in (None, bool(flags & rows.OURS))
            for one in self._bounds.windows
        ):
            return True
        if root is not None or flags & (rows.PINNED | rows.THREADED) or time >= self._bounds.floor:
            return False
        if self._bookmarked is None:
            self._bookmarked = set(rows.bookmarks(self._db))
        return id not in self._bookmarked

    def replies(self, root: bytes) -> set[bytes]:
        """The replies of a thread that are hidden."""
        found: Any = self._db.execute(
            "SELECT id FROM message WHERE root = ? AND time < ?", (root, self.end)
        ).fetchall()
        return self.hidden([id for (id,) in found])

    def counts(self, read: tuple[int, bytes]) -> Counts:
        """What of a channel's counters is hidden.

        read    the place up to which we have read it
        """
        row = log.channel_by_n(self._db, self._channel)
        counts = Counts(*policies.counted(self._db, row.n, self.end, self.surely, read))
        for one, _ in deciding.expired(self._db, row, self._bounds, but=self.surely):
            counts.messages += not one.flags & rows.DELETED
            counts.threads += bool(one.flags & rows.THREADED)
            if (one.time, one.id) > read and not one.flags & (rows.DELETED | rows.OURS | rows.IMPORTED):
                counts.unread += 1
                counts.mentions += bool(one.flags & rows.MENTIONS_US)
        return counts


def veil(db: apsw.Connection, channel: int, now_ms: int) -> Veil | None:
    """What is hidden in a channel; None if it never had a policy."""
    return Veil(db, channel, now_ms) if policies.is_bounded(db, channel) else None
