"""Changing a message that is there: edits, deletions, reactions and pins. `ChannelManager` has all of this.

Each is checked inside the transaction that writes it, so nobody comes between. docs/spec/05-timeline.md has the rules.
"""

from __future__ import annotations

from collections.abc import Callable

import apsw

from quire.channels.naming import Naming
from quire.core.ids import MessageId
from quire.core.operation import Delete, Edit, Operation, Pin, React, Unpin, Unreact
from quire.core.rights import MAY_MODERATE
from quire.core.views import Event, Message, Reaction
from quire.errors import NotFoundError, UnauthorisedError, UsageError
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import guarded


class Changing(Naming):
    """What `ChannelManager` does to messages."""

    def edit_message(self, id: MessageId, body: str) -> Message:
        """Change our message's text; every version is kept. Raises: UsageError, UnauthorisedError."""

        def prepare(db: apsw.Connection, row: rows.MessageRow) -> Operation:
            self._must_be_ours(row, "edit")
            if row.flags & rows.DELETED:
                raise UsageError("a deleted message cannot be edited", rule="message_deleted")
            return Edit(id, row.edit or id, body)

        self._write_to(id, prepare, "edit")
        return self.store.get_message(id)

    def delete_message(self, id: MessageId, reason: str = "") -> None:
        """Take our message back, or one that we imported; a moderator, anybody's. Final."""

        def prepare(db: apsw.Connection, row: rows.MessageRow) -> Operation:
            moderates = log.channel_by_n(db, row.channel).rights & MAY_MODERATE
            if not row.flags & rows.IMPORTED and not moderates:
                self._must_be_ours(row, "delete")
            if row.flags & rows.DELETED:
                raise UsageError("this message is deleted already", rule="message_deleted")
            return Delete(id, reason)

        self._write_to(id, prepare, "delete")

    def add_reaction(self, id: MessageId, emoji: str) -> tuple[Reaction, ...]:
        """React to a message; all its reactions. Raises: UsageError(rule="reaction_exists")."""

        def prepare(db: apsw.Connection, row: rows.MessageRow) -> Operation:
            if self._reacted(db, id, emoji):
                raise UsageError(f"you have reacted with {emoji} already", rule="reaction_exists")
            if row.flags & rows.DELETED:
                raise UsageError("a deleted message takes no reactions", rule="message_deleted")
            return React(id, emoji)

        self._write_to(id, prepare, "reaction")
        return self.get_reactions(id)

    def remove_reaction(self, id: MessageId, emoji: str) -> tuple[Reaction, ...]:
        """Take our reaction back; what is left. Raises: UsageError(rule="reaction_absent")."""

        def prepare(db: apsw.Connection, row: rows.MessageRow) -> Operation:
            if not self._reacted(db, id, emoji):
                raise UsageError(f"you have not reacted with {emoji}", rule="reaction_absent")
            return Unreact(id, emoji)

        self._write_to(id, prepare, "reaction")
        return self.get_reactions(id)

    def pin(self, id: MessageId) -> None:
        """Pin a message to its channel. Raises: UsageError(rule="pin_exists")."""

        def prepare(db: apsw.Connection, row: rows.MessageRow) -> Operation:
            if row.flags & rows.DELETED:
                raise UsageError("a deleted message cannot be pinned", rule="message_deleted")
            if row.flags & rows.PINNED:
                raise UsageError("this message is pinned already", rule="pin_exists")
            return Pin(id)

        self._write_to(id, prepare, "pin")

    def unpin(self, id: MessageId) -> None:
        """Take a pin off. Raises: UsageError(rule="pin_absent")."""

        def prepare(db: apsw.Connection, row: rows.MessageRow) -> Operation:
            if not row.flags & rows.PINNED:
                raise UsageError("this message is not pinned", rule="pin_absent")
            return Unpin(id)

        self._write_to(id, prepare, "pin")

    @guarded
    def get_reactions(self, id: MessageId) -> tuple[Reaction, ...]:
        """Reactions of a message, the most frequent first, our own marked."""
        reader = self.store.reader
        return () if reader.hides(id) else reader.reactions(reader.connection(), id)

    def _write_to(
        self, id: MessageId, prepare: Callable[[apsw.Connection, rows.MessageRow], Operation], kind: str
    ) -> None:
        channel = self.store.get_message(id).channel

        def checked(db: apsw.Connection, _: log.ChannelRow) -> list[Operation]:
            row = rows.get_row(db, id)
            if row is None:  # it was let go a moment ago
                raise NotFoundError("there is no such message here", rule="no_message")
            return [prepare(db, row)]

        self.store.write(channel, checked)
        self._hub.publish(Event(kind, channel, id))

    def _must_be_ours(self, row: rows.MessageRow, what: str) -> None:
        if not row.flags & rows.OURS:
            raise UnauthorisedError(
                f"only its author may {what} a message", rule=f"{what}_not_author", hint="reply to it instead"
            )

    def _reacted(self, db: apsw.Connection, id: MessageId, emoji: str) -> bool:
        own = rows.authors_by_key(db, [self.store.own_key]).get(self.store.own_key, -1)
        return rows.reaction(db, id, emoji, own)[1] > 0
