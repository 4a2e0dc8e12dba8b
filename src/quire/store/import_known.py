"""Which of an import's messages are here already: those of this run by a hash of their name, those of earlier runs by
their channel, original time and original id.
"""

from __future__ import annotations

import itertools
from typing import Any

import apsw

from quire.core.operation import Post, stored_operation
from quire.core.timeline import erased_mark
from quire.exchange import model
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.cold import whole
from quire.store.import_places import Place
from quire.store.origins import Origins

REMEMBERED_MAX = 1_000_000  # messages of a run that are remembered: about 100 MB


class Known:
    """The messages that are known to be here."""

    def __init__(self, origins: Origins, ids: dict[int, bytes] | None = None) -> None:
        self.ids: dict[int, bytes] = (
            {} if ids is None else ids
        )  # hash of (channel key, original id) -> message id
        self._origins = origins

    def stored(self, db: apsw.Connection, place: Place, message: model.Message, slot: int) -> bytes | None:
        """The id of a message that an earlier run brought."""
        id = self.find(db, place, message.id, message.time_ms, None if message.id else message)
        if id is not None:
            self.ids[slot] = id
        return id

    def find(
        self,
        db: apsw.Connection,
        place: Place,
        original: str,
        time_ms: int,
        like: model.Message | None = None,
    ) -> bytes | None:
        """A message of this original id and time; without an id, one that says what `like` says."""
        found: Any = db.execute(
            f"SELECT id, {whole('op')}, flags FROM message WHERE channel = ? AND time = ?",
            (place.row.n, time_ms << 16),
        )
        for id, op, flags in found:
            post = stored_operation(op)
            if flags & rows.ERASED:  # it came before, and was erased: it does not come again
                if original and _is_mark(place, post, original):
                    return bytes(id)
            elif isinstance(post, Post) and post.origin and post.origin.id == original:
                says = (post.body, post.origin.author)
                if like is None or says == (like.body, self._origins.of(like.author)[1]):
                    return bytes(id)
        return None

    def search(self, db: apsw.Connection, channel: log.ChannelRow, key: str, originals: set[str]) -> None:
        """Look for messages of earlier runs by their original ids alone, through the whole channel."""
        found: Any = db.execute(f"SELECT id, {whole('op')} FROM message WHERE channel = ?", (channel.n,))
        for id, op in found:
            post = stored_operation(op)
            if isinstance(post, Post) and post.origin and post.origin.id in originals:
                self.ids[hash((key, post.origin.id))] = bytes(id)

    def target(
        self, db: apsw.Connection, place: Place, key: str, original: str, time_ms: int | None
    ) -> bytes | None:
        """The id of a message that another record names."""
        known = self.ids.get(hash((key, original)))
        if known is None and time_ms is not None and time_ms >= 0:
            known = self.find(db, place, original, time_ms)
        return known

    def forget_oldest(self) -> None:
        """The older half goes when there are too many: a dict keeps its order."""
        if len(self.ids) > REMEMBERED_MAX:
            for old in list(itertools.islice(self.ids, REMEMBERED_MAX // 2)):
                del self.ids[old]


def _is_mark(place: Place, post: object, original: str) -> bool:
    origin = post.origin if isinstance(post, Post) else None
    return origin is not None and origin.id == erased_mark(place.row.id, origin.source, original)
