"""`ChannelManager`: everything one does with channels and messages, over one `LocalStore`.

There is no separate save step: when a method returns, what it did is on disk. Here are channels, writing and reading; what
else one does with a vault is in the modules of its parts, a subject each. How things are named: channels/naming.py.
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
from quire.channels.changing import Changing
from quire.channels.erasing import Eraser
from quire.channels.events import follow
from quire.channels.exporting import Exporting
from quire.channels.marks import Marks
from quire.channels.naming import ChannelRef
from quire.channels.people import People
from quire.channels.retention import Keeper
from quire.core.control import Role
from quire.core.ids import ChannelId, MessageId
from quire.core.limits import TIME_MS_MAX
from quire.core.operation import BROADCAST, Attachment, Name, Profile, Topic
from quire.core.rights import MAY_POST
from quire.core.views import Author, ChannelInfo, Event, Hits, Message, Page, Thread, Version
from quire.errors import MalformedError, NotFoundError, UsageError, callers_mistake
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import guarded
from quire.store.local import Place
from quire.store.reader import START, position

if TYPE_CHECKING:
    from quire.core.reports import ImportSummary
    from quire.exchange.model import Options
    from quire.store.attachments import NewFile
    from quire.store.importing_all import ImportProgress

When = Place | datetime


class ChannelManager(People, Changing, Marks, Keeper, Attachments, Exporting, Eraser, Archiver):
    """The use cases of one vault. Thread-safe."""

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

    def unread_counts(self) -> dict[ChannelId, tuple[int, int]]:
        """Channel -> (unread messages, those that mention us)."""
        return {info.id: (info.unread, info.mentions) for info in self.list_channels()}

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
        from quire.store.importing_all import import_export  # the importers are many

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
