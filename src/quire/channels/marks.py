"""Our own marks, which only our devices see: how far we have read, and what we want to find again. `ChannelManager` has them.

They are operations of the self-channel, so they follow us as messages do.
"""

from __future__ import annotations

from quire.channels.naming import ChannelRef, Naming
from quire.core.ids import MessageId
from quire.core.operation import Bookmark, Operation, ReadMarker, Unbookmark
from quire.core.views import Message
from quire.errors import UsageError
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import guarded


class Marks(Naming):
    """What `ChannelManager` notes for us alone."""

    @guarded
    def mark_read(self, channel: ChannelRef, up_to: MessageId | None = None) -> None:
        """Everything up to a message (default: the newest) is read."""
        id = self.resolve(channel)
        if up_to is None:
            page = self.store.get_channel_messages_paginated(id, limit=1)
            if not page.messages:
                return
            up_to = page.messages[0].id
        message = self.store.get_message(up_to)
        if message.channel != id:
            raise UsageError("this message is in another channel", rule="message_elsewhere")
        self._mark(ReadMarker(id, message.time, up_to))

    @guarded
    def bookmark(self, id: MessageId) -> None:
        """Remember a message; only our own devices see it. Raises: UsageError(rule="bookmark_exists")."""
        channel = self.store.get_message(id).channel
        if rows.is_bookmarked(self.store.database.reader, id):
            raise UsageError("this message is bookmarked already", rule="bookmark_exists")
        self._mark(Bookmark(channel, id))

    @guarded
    def unbookmark(self, id: MessageId) -> None:
        """Forget a bookmark. Raises: UsageError(rule="bookmark_absent")."""
        channel = self.store.get_message(id).channel
        if not rows.is_bookmarked(self.store.database.reader, id):
            raise UsageError("this message is not bookmarked", rule="bookmark_absent")
        self._mark(Unbookmark(channel, id))

    @guarded
    def bookmarks(self) -> list[Message]:
        """Bookmarked messages, the newest mark first; without those that have not come yet, or were let go."""
        db = self.store.database.reader
        return [found for id in rows.bookmarks(db) if (found := self.store.reader.find(id))]

    @guarded
    def _mark(self, operation: Operation) -> None:
        self.store.write_operations(log.self_channel(self.store.database.reader).id, operation)
