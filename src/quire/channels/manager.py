"""`ChannelManager`: everything one does with channels and messages, over one `LocalStore`.

There is no separate save step: when a method returns, what it did is on disk. A channel is named by its id,
by its name ("general", "#general", "slack/general" where two share one), or by the start of its id in hex.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING

import apsw

from quire.channels.archiving import Archiver
from quire.channels.attachments import Attachments
from quire.channels.erasing import Eraser
from quire.channels.events import EventHub, follow
from quire.channels.exporting import Exporting
from quire.channels.people import People
from quire.channels.retention import Keeper
from quire.core.control import Role
from quire.core.ids import ChannelId, MessageId, message_id_text, parse_message_id
from quire.core.limits import TIME_MS_MAX
from quire.core.operation import (
    BROADCAST,
    Attachment,
    Bookmark,
    Delete,
    Edit,
    Name,
    Operation,
    Pin,
    Profile,
    React,
    ReadMarker,
    Topic,
    Unbookmark,
    Unpin,
    Unreact,
)
from quire.core.rights import MAY_MODERATE, MAY_POST
from quire.core.views import Author, ChannelInfo, Event, Hits, Message, Page, Reaction, Thread, Version
from quire.errors import MalformedError, NotFoundError, UnauthorisedError, UsageError, callers_mistake
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import guarded
from quire.store.local import LocalStore, Place, names_channel
from quire.store.reader import START, position

if TYPE_CHECKING:
    from quire.core.reports import ImportSummary
    from quire.exchange.model import Options
    from quire.store.attachments import NewFile
    from quire.store.importing import ImportProgress

ChannelRef = ChannelId | str
When = Place | datetime
PREFIX_CHARS_MIN = 4


class ChannelManager(People, Keeper, Attachments, Exporting, Eraser, Archiver):
    """The use cases of one vault. Thread-safe."""

    def __init__(self, store: LocalStore) -> None:
        self.store = store
        self._hub = EventHub()
        self._read_before: set[bytes] = set()  # channels that we may read: once so, always so

    # Ourselves

    @guarded
    def me(self) -> Author:
        """Who we are in this vault."""
        n = self.store.own_author()
        if n < 0:
            return Author(self.store.own_key, self.store.own_key[6:14], own=True)
        _, name, bot = rows.author(self.store.database.reader, n)
        return Author(self.store.own_key, name, bool(bot), own=True)

    def set_name(self, name: str) -> None:
        """Our display name, on all our devices and in every channel that others are in, too."""
        self._mark(Profile("", "", name))
        for row in log.channels(self.store.database.reader):
            if row.rights & MAY_POST and row.rotate_ms < TIME_MS_MAX:
                self.store.write_operations(row.id, Profile("", "", name))

    # Channels

    def create_channel(self, name: str, *, topic: str = "", kind: str = "channel") -> ChannelInfo:
        """Found a channel. Raises: UsageError(rule="channel_exists" or a limit)."""
        name = name.removeprefix("#")
        ledger = self.store.ledger

        def work(db: apsw.Connection) -> ChannelId:
            if any(row.source == "" and row.name == name for row in log.channels(db)):
                raise UsageError(
                    f"there is a channel {name}", rule="channel_exists", hint="choose another name"
                )
            channel = ledger.create_channel(db, kind=kind, name=name)
            if topic:
                ledger.append(db, channel, [Topic(topic)])
            return channel.id

        try:
            id = ledger.run(work)
        except MalformedError as error:
            raise callers_mistake(error) from error
        self._hub.publish(Event("channel", id))
        return self.get_channel(id)

    @guarded
    def list_channels(self) -> list[ChannelInfo]:
        """All channels, the one with the newest message first."""
        from quire.storage import backlog

        db = self.store.database.reader
        waiting = backlog.waiting_counts(db)
        return [self._info(db, row, waiting) for row in log.channels(db)]

    @guarded
    def get_channel(self, channel: ChannelRef) -> ChannelInfo:
        """One channel. Raises: NotFoundError, UsageError(rule="channel_ambiguous")."""
        from quire.storage import backlog

        db = self.store.database.reader
        return self._info(db, self.store.channel_row(self.resolve(channel)), backlog.waiting_counts(db))

    @guarded
    def resolve(self, channel: ChannelRef) -> ChannelId:
        """The id of a channel. Raises: NotFoundError, UsageError(rule="channel_ambiguous")."""
        if not isinstance(channel, str):
            if channel not in self._read_before:
                row = log.channel_by_id(self.store.database.reader, channel)
                if row is None:
                    return channel  # whoever uses it finds out that there is none
                self._require_reader(row)
            return channel
        found = log.channels(self.store.database.reader)
        named = [row for row in found if names_channel(row, channel)]
        if not named and len(channel) >= PREFIX_CHARS_MIN:
            named = [row for row in found if row.id.hex().startswith(channel.lower())]
        if not named:
            raise NotFoundError(
                f"there is no channel {channel}", rule="no_channel",
                hint=_meant(channel, [row.name for row in found]),
            )  # fmt: skip
        if len(named) > 1:
            choices = ", ".join(
                f"{row.source}/{row.name}" if row.source else row.id.hex()[:8] for row in named[:8]
            )
            raise UsageError(
                f"{channel} may be any of {choices}", rule="channel_ambiguous", hint="write one of these"
            )
        self._require_reader(named[0])
        return named[0].id

    def _require_reader(self, row: log.ChannelRow) -> None:
        """Who was put out keeps what they had; who was never in reads nothing. Raises: UnauthorisedError."""
        if not row.role:
            state = self.store.ledger.people.state(self.store.database.reader, row)
            if self.identity not in state.everybody:
                raise UnauthorisedError("you are not a member of this channel", rule="not_a_member")
        self._read_before.add(row.id)

    def rename_channel(self, channel: ChannelRef, name: str) -> None:
        """Give a channel another name."""
        self.store.write_operations(self.resolve(channel), Name(name.removeprefix("#")))

    def set_topic(self, channel: ChannelRef, topic: str) -> None:
        """Say what a channel is about."""
        self.store.write_operations(self.resolve(channel), Topic(topic))

    def _info(self, db: apsw.Connection, row: log.ChannelRow, waiting: dict[int, int]) -> ChannelInfo:
        read = rows.marker(db, row.id) or START
        unread, mentions = rows.unread(db, row.n, (read[0], read[1]))
        messages, threads, last_ms = row.messages, row.threads, row.last_time >> 16 if row.last_time else None
        reader = self.store.reader
        veil = reader.veil(reader.connection(), row.n)
        if veil is not None and veil.end:
            hidden = veil.counts((read[0], read[1]))
            messages, threads = messages - hidden.messages, threads - hidden.threads
            unread, mentions = unread - hidden.unread, mentions - hidden.mentions
            if row.last_time < veil.end:
                newest = reader.page(row.n, None, None, 1, 0).messages
                last_ms = newest[0].time_ms if newest else None
        return ChannelInfo(
            row.id, row.name, row.topic, row.kind, messages, threads, last_ms, unread, mentions,
            waiting.get(row.n, 0), row.source, role=Role(row.role).name.lower(),
        )  # fmt: skip

    # Writing

    def send_message(
        self,
        channel: ChannelRef,
        body: str,
        *,
        thread: MessageId | None = None,
        reply_to: MessageId | None = None,
        attachments: Sequence[Attachment] = (),
        files: Sequence[str | PathLike[str] | NewFile] = (),
        mentions: Sequence[str] = (),
        broadcast: bool = False,
    ) -> Message:
        """Write a message. It is on disk, in its thread and searchable when this returns.

        thread         any message of the thread to reply in (a reply to a reply joins the root)
        attachments    files by name and link only
        files          files to attach: their bytes are kept, and go to the channel's members
        mentions       author ids
        broadcast      show a thread reply in the channel too

        Raises: with files, also UsageError with rule "file_absent", "file_not_regular", "file_unreadable",
        "attachment_too_large" or "file_changed".
        """
        send = partial(self.store.store_message, self.resolve(channel), body)
        if files:
            from quire.store.attachments import NewFile, new_file, post_with_files

            given = [one if isinstance(one, NewFile) else new_file(one) for one in files]
            send = partial(post_with_files, self.store, given, self.resolve(channel), body)
        message = send(
            root=thread, reply_to=reply_to, attachments=attachments, mentions=mentions,
            flags=BROADCAST if broadcast else 0,
        )  # fmt: skip
        self._hub.publish(Event("message", message.channel, message.id))
        return message

    store_message = send_message  # the name other stores use for it

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

    # Reading

    def load_channel_messages(self, channel: ChannelRef) -> Page:
        """The newest page, now warm. There is nothing else to load."""
        return self.get_stored_messages_paginated(channel)

    def get_stored_messages(self, channel: ChannelRef, *, newest_first: bool = False) -> Iterator[Message]:
        """All messages of a channel, lazily."""
        return self.store.get_channel_messages(self.resolve(channel), newest_first=newest_first)

    def get_stored_messages_paginated(
        self,
        channel: ChannelRef,
        *,
        limit: int = 50,
        before: When | None = None,
        after: When | None = None,
        around: When | None = None,
        offset: int | None = None,
    ) -> Page:
        """A page, newest first; see `LocalStore.get_channel_messages_paginated`. Places may be datetimes too."""
        return self.store.get_channel_messages_paginated(
            self.resolve(channel), limit=limit, before=_place(before), after=_place(after), around=_place(around),
            offset=offset,
        )  # fmt: skip

    def get_message(self, id: MessageId) -> Message:
        """One message. Raises: NotFoundError."""
        return self.store.get_message(id)

    def get_stored_thread_replies(
        self, root: MessageId, *, limit: int = 50, before: When | None = None, after: When | None = None
    ) -> Page:
        """Replies of a thread, oldest first."""
        return self.store.get_thread_replies(root, limit=limit, before=_place(before), after=_place(after))

    def get_message_with_thread(self, id: MessageId, *, limit: int = 50) -> tuple[Message, Page]:
        """The root of the thread that a message is in, and its first replies."""
        message = self.get_message(id)
        root = message if message.root is None else self.get_message(message.root)
        return root, self.get_stored_thread_replies(root.id, limit=limit)

    def get_thread_info(self, root: MessageId) -> Thread:
        """A thread in short. Raises: NotFoundError(rule="no_thread") if nothing was replied."""
        message = self.get_message(root)
        if message.thread is None:
            raise NotFoundError("this message has no thread", rule="no_thread")
        return message.thread

    @guarded
    def get_channel_threads(
        self, channel: ChannelRef, *, limit: int = 50, before: str | None = None
    ) -> tuple[list[Thread], str | None]:
        """A channel's threads, the latest reply first, and a cursor for more."""
        from quire.store import threads

        n = self.store.channel_row(self.resolve(channel)).n
        found = threads.of_channel(self.store.reader, n, position(before) if before else None, limit + 1)
        page = found[:limit]
        older = f"{page[-1][1]:x}.{page[-1][0].root.hex()}" if len(found) > limit else None
        return [thread for thread, _ in page], older

    @guarded
    def get_reactions(self, id: MessageId) -> tuple[Reaction, ...]:
        """Reactions of a message, the most frequent first, our own marked."""
        reader = self.store.reader
        return () if reader.hides(id) else reader.reactions(reader.connection(), id)

    @guarded
    def get_edit_history(self, id: MessageId) -> list[Version]:
        """Every version of a message, oldest first. Raises: NotFoundError."""
        from quire.store.versions import versions

        return versions(self.store.reader, id)

    @guarded
    def pinned(self, channel: ChannelRef) -> list[Message]:
        """A channel's pinned messages, newest first."""
        return self.store.reader.pinned(self.store.channel_row(self.resolve(channel)).n)

    def search(
        self, query: str, *, channel: ChannelRef | None = None, limit: int = 20, before: str | None = None
    ) -> Hits:
        """The newest matches; the language is in core/query.py and `quire search --help`."""
        return self.store.search(
            query, channel=self.resolve(channel) if channel else None, limit=limit, before=before
        )

    # Our own marks, in the self-channel

    @guarded
    def mark_read(self, channel: ChannelRef, up_to: MessageId | None = None) -> None:
        """Everything up to a message (default: the newest) is read."""
        id = self.resolve(channel)
        if up_to is None:
            page = self.store.get_channel_messages_paginated(id, limit=1)
            if not page.messages:
                return
            up_to = page.messages[0].id
        message = self.get_message(up_to)
        if message.channel != id:
            raise UsageError("this message is in another channel", rule="message_elsewhere")
        self._mark(ReadMarker(id, message.time, up_to))

    def unread_counts(self) -> dict[ChannelId, tuple[int, int]]:
        """Channel -> (unread messages, those that mention us)."""
        return {info.id: (info.unread, info.mentions) for info in self.list_channels()}

    @guarded
    def bookmark(self, id: MessageId) -> None:
        """Remember a message; only our own devices see it. Raises: UsageError(rule="bookmark_exists")."""
        channel = self.get_message(id).channel
        if rows.is_bookmarked(self.store.database.reader, id):
            raise UsageError("this message is bookmarked already", rule="bookmark_exists")
        self._mark(Bookmark(channel, id))

    @guarded
    def unbookmark(self, id: MessageId) -> None:
        """Forget a bookmark. Raises: UsageError(rule="bookmark_absent")."""
        channel = self.get_message(id).channel
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

    # Ids as people write them

    @guarded
    def find_message(self, text: str) -> MessageId:
        """The message a person means by a full or abbreviated id, as `short_id` writes it.

        Raises: NotFoundError, UsageError(rule="message_id_form" or "message_id_ambiguous").
        """
        prefix, seq, index = parse_message_id(text)
        db = self.store.database.reader
        found = []
        for row in log.logs(db):
            id = MessageId(row.prefix + seq.to_bytes(4, "big") + index.to_bytes(2, "big"))
            if message_id_text(id).startswith(prefix) and rows.get_row(db, id) is not None:
                found.append(id)
        if not found:
            raise NotFoundError(f"there is no message {text}", rule="no_message")
        if len(found) > 1:
            choices = ", ".join(message_id_text(id) for id in found[:5])
            raise UsageError(f"{text} may be any of {choices}", rule="message_id_ambiguous")
        return found[0]

    @guarded
    def short_id(self, id: MessageId) -> str:
        """The shortest form of an id that no other log's ids share, of at least four characters."""
        whole = message_id_text(id)[:16]
        others = [
            message_id_text(MessageId(row.prefix + id[10:]))[:16]
            for row in log.logs(self.store.database.reader)
            if row.prefix != id[:10]
        ]
        size = PREFIX_CHARS_MIN
        while any(other.startswith(whole[:size]) for other in others):
            size += 1
        return message_id_text(id, size)

    # In and out

    def import_(
        self,
        path: str | PathLike[str],
        *,
        format: str = "",
        options: Options | None = None,
        dry_run: bool = False,
        progress: Callable[[ImportProgress], None] | None = None,
    ) -> ImportSummary:
        """Bring in an export of another system; see docs/import.md. Again, or overlapping: no duplicates.

        format    a name of `quire.exchange.detect.importers()`; "" = look

        Raises: NotFoundError, FormatError, StorageError.
        """
        from quire.store.importing import import_export  # the importers are many

        return import_export(self.store, path, format, options, dry_run, progress)

    # Live

    @contextmanager
    def events(self) -> Iterator[Iterator[Event]]:
        """What this manager makes durable from here on, as it happens."""
        with self._hub.subscribe() as subscription:
            yield subscription

    def follow(self, channel: ChannelRef) -> Iterator[Message]:
        """New messages of a channel as they come, those of other processes too. Blocks; close() ends it."""
        return follow(self.store, self.resolve(channel))


def _place(when: When | None) -> Place | None:
    if isinstance(when, datetime):
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max(0, int(when.timestamp() * 1000))
    return when


def _meant(name: str, there: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name.removeprefix("#"), there, 1)
    return (f"did you mean {close[0]}? " if close else "") + "`quire channels` lists them"
