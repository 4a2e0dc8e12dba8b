"""`LocalStore`: one vault, opened. Verify, authorise, apply, keep.

A vault is a folder: `vault.db` (everything, encrypted) and `slots` (its key, wrapped once for each way to
unlock it). All methods are thread-safe; several processes may have one vault open.

What reading never needs (the pen, the search language) is imported by the methods that use it: a fresh process is
to have its newest page before a person notices.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import apsw

from quire.core.crypto.secrets import Passphrase, RecoveryPhrase, Unlock
from quire.core.ids import ChannelId, DeviceId, MessageId, require_message_id
from quire.core.views import Hits, Message, Page
from quire.errors import NotFoundError, UsageError
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import Database, guarded
from quire.storage.meta import get_meta
from quire.store.care import Care
from quire.store.care import Progress as Progress
from quire.store.dues import Dues
from quire.store.opening import opened
from quire.store.reader import Position, Reader, position
from quire.store.witness import Witness

if TYPE_CHECKING:
    from pathlib import Path

    from quire.core.contents import Attachment
    from quire.core.operation import Operation, Post
    from quire.core.reports import Stats
    from quire.storage.keyslots import KeySlots
    from quire.storage.sealed_files import SealedFiles
    from quire.store.attachments import Sealed
    from quire.store.ingest import IngestReport
    from quire.store.ledger import Ledger
    from quire.store.turns import Prepare

Place = str | MessageId | int  # a cursor, a message, or Unix ms


class LocalStore(Care, Dues):
    """A vault on this device's disk."""

    recovery_phrase: RecoveryPhrase | None = None  # only on the store that `create` returned

    def __init__(self, folder: str, slots: KeySlots, database: Database) -> None:
        self._folder = folder
        self.slots = slots
        self.database = database
        db = database.reader
        self._witness = Witness(database.file, slots.vault_id)
        self.device = DeviceId(bytes(get_meta(db, "device")))
        self.own_key = str(get_meta(db, "own_key"))  # our author key
        self.reader = Reader(database, self.own_key)
        self._ledger: Ledger | None = None
        self._making = threading.Lock()
        Dues.__init__(self)

    @property
    def folder(self) -> Path:
        """Where the vault is."""
        from pathlib import Path

        return Path(self._folder)

    @property
    def files(self) -> SealedFiles:
        """The files of attachments."""
        from quire.storage.sealed_files import SealedFiles

        return SealedFiles(self._folder)

    # Opening and closing

    @classmethod
    def create(cls, folder: str | os.PathLike[str], unlock: Unlock | str) -> LocalStore:
        """A new vault in a new folder. Its `.recovery_phrase` is shown now or never.

        unlock    what opens it besides the recovery phrase; a str is a passphrase

        Raises: UsageError(rule="vault_exists"), StorageError.
        """
        from pathlib import Path

        from quire.store.creation import create_vault  # imports the key schedules, which reading never needs

        phrase = create_vault(Path(folder), as_unlock(unlock))
        store = cls.open(folder, unlock)
        store.recovery_phrase = phrase
        return store

    @classmethod
    def recover(
        cls,
        folder: str | os.PathLike[str],
        unlock: Unlock | str,
        phrase: RecoveryPhrase | str,
        bundles: Sequence[str | os.PathLike[str]],
    ) -> LocalStore:
        """A new device of the person whose 24 words these are, with all that bundle files hold for them.

        bundles    files that any of our devices wrote, or somebody who shares a channel with us

        Raises: UsageError with rule "vault_exists", "recovery_nothing" or a phrase's; StorageError.
        """
        from pathlib import Path

        from quire.store.creation import create_recovered

        words = RecoveryPhrase(phrase) if isinstance(phrase, str) else phrase
        create_recovered(Path(folder), as_unlock(unlock), words, [Path(bundle) for bundle in bundles])
        return cls.open(folder, unlock)

    @classmethod
    @guarded
    def open(
        cls,
        folder: str | os.PathLike[str],
        unlock: Unlock | str,
        *,
        read_only: bool = False,
        vfs: str | None = None,
    ) -> LocalStore:
        """Open a vault.

        Raises: NotFoundError(rule="no_vault"), UnlockError, CorruptError, SchemaError, StorageError.
        """
        path = os.fspath(folder)
        slots, database = opened(path, as_unlock(unlock), read_only=read_only, vfs=vfs)
        try:
            store = cls(path, slots, database)
            store._do_what_is_due()
            return store
        except BaseException:
            database.close()
            slots.close()
            raise

    def close(self) -> None:
        """Close every connection. What was acknowledged is on disk already."""
        self._witness.close()
        self.database.close()
        self.slots.close()

    def forget_witness(self) -> None:
        """This vault is to be thrown away: nothing of it stays outside its folder."""
        self._witness.forget()

    def __enter__(self) -> LocalStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    @property
    def has_written(self) -> bool:
        """Was anything written by this object?"""
        return self._ledger is not None and self._ledger.has_written

    @property
    @guarded
    def ledger(self) -> Ledger:
        """Our pen: made at the first write, so that reading needs no key."""
        if self._ledger is None:
            with self._making:  # two pens would each remember another end of our logs
                self._ledger = self._ledger or self._make_ledger()
        return self._ledger

    def _make_ledger(self) -> Ledger:
        from quire.core.control import Device
        from quire.core.crypto.keys import SigningKey
        from quire.store.ledger import Ledger

        db = self.database.reader
        key = SigningKey(bytes(get_meta(db, "device_seed")))
        entry = Device(bytes(get_meta(db, "certificate")), bytes(get_meta(db, "sealing")))
        return Ledger(self.database, self.own_key, key, entry, self._witness)

    def write(self, channel: ChannelId, prepare: Prepare) -> list[MessageId]:
        """Durably write the operations that `prepare(db, channel)` gives; see `Ledger.write`."""
        ids = self.ledger.write(channel, prepare)
        self._let_go_meanwhile()
        return ids

    def write_operations(self, channel: ChannelId, *operations: Operation) -> list[MessageId]:
        """Durably write operations that need no check against what is there."""
        return self.write(channel, lambda db, row: operations)

    def store_message(
        self,
        channel: ChannelId,
        body: str,
        *,
        root: MessageId | None = None,
        reply_to: MessageId | None = None,
        attachments: Sequence[Attachment] = (),
        mentions: Sequence[str] = (),
        flags: int = 0,
        sealed: Sequence[Sealed] = (),
    ) -> Message:
        """Write a message; when this returns it is on disk, in its thread and searchable.

        root        any message of the thread to reply in
        mentions    author ids
        sealed      the files among its attachments, as store/attachments.py made them

        Raises: NotFoundError, UsageError (a limit), StorageError.
        """
        from quire.core.operation import Post

        for named in (root, reply_to):
            if named is not None:
                require_message_id(named)
        posts: list[Post] = []
        if sealed:
            from quire.store.attachments import note_sealed

        def prepare(db: apsw.Connection, row: log.ChannelRow) -> list[Post]:
            if row.kind == "self":
                raise UsageError("the self-channel takes no messages", rule="self_channel")
            thread = None if root is None else rows.root_of(db, row.n, root)
            if root is not None and thread is None:
                raise NotFoundError("the message to reply to is not in this channel", rule="no_message")
            if reply_to is not None and rows.root_of(db, row.n, reply_to) is None:
                raise NotFoundError("the message to answer is not in this channel", rule="no_message")
            if sealed:
                note_sealed(db, sealed)
            posts[:] = [Post(body, thread, reply_to, 0, flags, "", tuple(attachments), tuple(mentions))]
            return posts

        id, time = self.ledger.write_post(channel, prepare)
        self._let_go_meanwhile()
        return self.reader.posted(channel, id, time, posts[0])

    def ingest(self, encoded_commits: Sequence[bytes]) -> IngestReport:
        """Take commits of other logs, in any order and repetition. A broken one is refused, with its reason, alone.

        Raises: StorageError, with nothing taken.
        """
        from quire.store.ingest import ingest

        return ingest(self, encoded_commits)

    # Reading

    @guarded
    def get_message(self, id: MessageId) -> Message:
        """One message, wherever it is; O(log n). Raises: NotFoundError."""
        return self.reader.message(id)

    @guarded
    def get_channel_messages(self, channel: ChannelId, *, newest_first: bool = False) -> Iterator[Message]:
        """All messages of a channel, lazily; memory does not grow with history."""
        return self.reader.iterate(self.reader.number(channel), newest_first)

    @guarded
    def get_channel_messages_paginated(
        self,
        channel: ChannelId,
        *,
        limit: int = 50,
        before: Place | None = None,
        after: Place | None = None,
        around: Place | None = None,
        offset: int | None = None,
    ) -> Page:
        """A page, newest first: the newest, or before, after or around a place, or `offset` from the newest.

        A place is a cursor that a page gave, a message id, or Unix ms. Cursors stay valid while messages come,
        change and go; an offset does not, and costs time in its size.

        Raises: UsageError, NotFoundError.
        """
        if (before, after, around, offset).count(None) < 3:
            raise UsageError("give one of before, after, around and offset", rule="page_arguments")
        if offset is not None and offset < 0:
            raise UsageError("an offset counts from 0", rule="page_arguments")
        n = self.reader.number(channel)
        if around is not None:
            return self.reader.around(n, self.place(around), limit)
        return self.reader.page(
            n,
            None if before is None else self.place(before),
            None if after is None else self.place(after),
            limit,
            offset or 0,
        )

    @guarded
    def get_thread_replies(
        self, root: MessageId, *, limit: int = 50, before: Place | None = None, after: Place | None = None
    ) -> Page:
        """Replies of a thread, oldest first; `after=page.newer` continues."""
        from quire.store import threads

        return threads.replies(
            self.reader,
            root,
            None if before is None else self.place(before),
            None if after is None else self.place(after),
            limit,
        )

    @guarded
    def search(
        self, query: str, *, channel: ChannelId | None = None, limit: int = 20, before: str | None = None
    ) -> Hits:
        """The newest matches of a query (core/query.py has the language). Raises: UsageError."""
        from quire.store.searching import search  # with its language, which only it needs

        return search(self, query, channel, limit, before)

    def own_author(self) -> int:
        """The number of our own author, or -1 before we wrote anything."""
        return rows.authors_by_key(self.database.reader, [self.own_key]).get(self.own_key, -1)

    def channel_row(self, channel: ChannelId) -> log.ChannelRow:
        """Raises: NotFoundError(rule="no_channel")."""
        row = log.channel_by_id(self.database.reader, channel)
        if row is None:
            raise NotFoundError("there is no such channel", rule="no_channel")
        return row

    def place(self, place: Place) -> Position:
        """Where in a channel a cursor, a message or a time is."""
        if isinstance(place, int):
            return (place << 16, b"")
        if isinstance(place, str):
            return position(place)
        row = rows.get_row(self.database.reader, place)
        if row is None:
            raise NotFoundError("there is no such message here", rule="no_message")
        return (row.time, row.id)

    @guarded
    def stats(self) -> Stats:
        """What the vault holds and takes."""
        from quire.store.space import stats

        return stats(self)


def as_unlock(unlock: Unlock | str) -> Unlock:
    """A str is a passphrase."""
    return Passphrase(unlock) if isinstance(unlock, str) else unlock


def names_channel(row: log.ChannelRow, name: str) -> bool:
    """Does a person mean this channel by `name`? Its name, with or without '#', or `source/name`."""
    wanted = name.removeprefix("#").casefold()
    return wanted in (row.name.casefold(), f"{row.source}/{row.name}".casefold())
