"""Pages of messages: a page is one range of one tree, and costs the same at any depth.

A place in that order is (time, id); a cursor names one. How rows become messages: store/messages.py. Threads, versions and
searching have modules of their own, which most reading never loads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.contents import ACTION, BROADCAST
from quire.core.ids import ChannelId, MessageId, require_message_id
from quire.core.limits import PAGE_MAX
from quire.core.views import Message, Page
from quire.errors import NotFoundError, UsageError
from quire.storage import timeline as rows
from quire.storage.database import guarded
from quire.store.messages import Messages

if TYPE_CHECKING:
    from quire.core.operation import Post
    from quire.store.veiling import Veil

VEILED_AT_ONCE = 1_000  # rows looked at for the next that are not hidden
_MESSAGE = f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.id = ?"
PAGE_SQL = f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.channel = ?"
Position = tuple[int, bytes]  # (time, id)
START: Position = (-1, b"")
END: Position = (1 << 62, b"")


class Reader(Messages):
    """Reads messages and pages of them."""

    def find(self, id: bytes) -> Message | None:
        """The message with this id, if there is one. Raises: UsageError(rule="message_id_type")."""
        require_message_id(id)
        db = self.connection()
        row: Any = db.execute(_MESSAGE, (id,)).fetchone()
        veil = self.veil(db, row[0]) if row else None
        if veil is not None and not veil.shown([row]):
            return None
        return self.of_row(db, row) if row else None

    def message(self, id: MessageId) -> Message:
        """One message. Raises: NotFoundError."""
        found = self.find(id)
        if found is None:
            raise NotFoundError("there is no such message here", rule="no_message")
        return found

    def posted(self, channel: ChannelId, id: MessageId, time: int, post: Post) -> Message:
        """A message that we have just written, as `message` would give it."""
        own = self._own
        if own is None:
            return self.message(id)
        root = None if post.root is None else MessageId(post.root)
        reply_to = None if post.reply_to is None else MessageId(post.reply_to)
        return Message(
            id, channel, time, own, post.body, root, reply_to, "", "", bool(post.flags & ACTION),
            bool(post.flags & BROADCAST), post.attachments, post.mentions,
        )  # fmt: skip

    def page(
        self, channel: int, before: Position | None, after: Position | None, limit: int, offset: int
    ) -> Page:
        """The `limit` messages just before or just after a place (default: the newest), newest first."""
        db = self.connection()
        limit = page_size(limit)
        if after is not None:
            found = self._rows(
                db, channel, "(m.time, m.id) > (?, ?) ORDER BY m.time, m.id", after, limit + 1, offset
            )
            more = len(found) > limit
            found = found[:limit][::-1]
            return self._page(db, found, older=True, newer=more)
        place = before or END
        found = self._rows(
            db, channel, "(m.time, m.id) < (?, ?) ORDER BY m.time DESC, m.id DESC", place, limit + 1, offset
        )
        return self._page(db, found[:limit], older=len(found) > limit, newer=before is not None or offset > 0)

    def around(self, channel: int, place: Position, limit: int) -> Page:
        """A page with `place` in its middle."""
        db = self.connection()
        limit = page_size(limit)
        half = limit // 2
        later = self._rows(db, channel, "(m.time, m.id) > (?, ?) ORDER BY m.time, m.id", place, half + 1, 0)
        earlier = self._rows(
            db,
            channel,
            "(m.time, m.id) <= (?, ?) ORDER BY m.time DESC, m.id DESC",
            place,
            limit - half + 1,
            0,
        )
        found = later[:half][::-1] + earlier[: limit - half]
        return self._page(db, found, older=len(earlier) > limit - half, newer=len(later) > half)

    def iterate(self, channel: int, newest_first: bool) -> Iterator[Message]:
        """All messages of a channel, lazily, a page at a time; stable while others write."""
        step = "(m.time, m.id) > (?, ?) ORDER BY m.time, m.id"
        place = START
        if newest_first:
            step, place = "(m.time, m.id) < (?, ?) ORDER BY m.time DESC, m.id DESC", END
        while True:
            messages = self._batch(channel, step, place)
            yield from messages
            if len(messages) < PAGE_MAX:
                return
            place = (messages[-1].time, messages[-1].id)

    @guarded
    def _batch(self, channel: int, step: str, place: Position) -> list[Message]:
        db = self.connection()
        return [self.of_row(db, row) for row in self._rows(db, channel, step, place, PAGE_MAX, 0)]

    def _rows(
        self, db: apsw.Connection, channel: int, where: str, place: Position, limit: int, offset: int
    ) -> list[Any]:
        veil = self.veil(db, channel)
        if veil is not None:
            return unveiled(db, veil, f"{PAGE_SQL} AND {where}", channel, place, limit + offset)[offset:]
        return db.execute(
            f"{PAGE_SQL} AND {where} LIMIT ? OFFSET ?", (channel, place[0], place[1], limit, offset)
        ).fetchall()

    def _page(self, db: apsw.Connection, found: list[Any], older: bool, newer: bool) -> Page:
        messages = tuple(self.of_rows(db, found))
        return Page(
            messages,
            messages[-1].cursor if messages and older else None,
            messages[0].cursor if messages and newer else None,
        )

    def pinned(self, channel: int) -> list[Message]:
        """Pinned messages, newest first."""
        db = self.connection()
        found: Any = db.execute(
            f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.id IN (SELECT target FROM operation"
            " WHERE channel = ? AND kind = 6 AND void = 0) AND m.flags & ? = ? ORDER BY m.time DESC, m.id DESC",
            (channel, rows.PINNED | rows.DELETED, rows.PINNED),
        ).fetchall()
        veil = self.veil(db, channel)
        return self.of_rows(db, found if veil is None else veil.shown(found))


def unveiled(db: apsw.Connection, veil: Veil, sql: str, of: object, place: Position, limit: int) -> list[Any]:
    """So many rows from a place on, of those that are not hidden. What surely is is passed over by the database."""
    shown: list[Any] = []
    size = limit
    beyond = sql.replace("<=", "<").replace(" WHERE ", f" WHERE NOT coalesce({veil.surely}, 0) AND ", 1)
    while True:
        found: list[Any] = db.execute(f"{sql} LIMIT ?", (of, *place, size)).fetchall()
        shown += veil.shown(found)
        if len(found) < size or len(shown) >= limit:
            return shown[:limit]
        place = (found[-1][1], found[-1][2])
        sql, size = beyond, VEILED_AT_ONCE


def position(cursor: str) -> Position:
    """The place a cursor names. Raises: UsageError(rule="cursor_form")."""
    time, dot, id = cursor.partition(".")
    try:
        place = int(time, 16), bytes.fromhex(id)
    except ValueError:
        place = (-1, b"-")
    if not dot or not 0 <= place[0] < 1 << 60 or len(place[1]) not in (0, 16):
        raise UsageError("this is not a cursor", rule="cursor_form", hint="use one that a page gave")
    return place


def page_size(limit: int) -> int:
    """What may be asked for. Raises: UsageError(rule="page_size")."""
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"a page has 1 to {PAGE_MAX} messages", rule="page_size", limit=PAGE_MAX)
    return limit
