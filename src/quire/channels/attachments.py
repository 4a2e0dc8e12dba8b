"""The use cases of attachments: sending files, opening, saving, asking for those that are not here. `ChannelManager` has them."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import apsw

from quire.channels.naming import Naming
from quire.core.ids import ChannelId, MessageId
from quire.core.limits import FILE_BYTES_MAX
from quire.core.operation import Attachment
from quire.core.views import AttachmentView, Event, Message
from quire.errors import StorageError, UsageError
from quire.storage import attachments as rows
from quire.storage import log
from quire.storage.database import guarded
from quire.storage.meta import get_meta, set_meta

if TYPE_CHECKING:
    from quire.channels.events import EventHub
    from quire.store.local import LocalStore

STATES = {
    None: "missing", rows.MISSING: "missing", rows.ASKED: "asked", rows.HERE: "here", rows.DROPPED: "dropped",
    rows.DOOMED: "dropped",
}  # fmt: skip
FETCH_BYTES = 16 << 20  # photos and documents come by themselves; films are asked for
FETCH_LIMIT = "fetch_bytes_max"
COPY_BYTES = 1 << 20
NAMES_TRIED_MAX = 1_000


class Attachments(Naming):
    """What `ChannelManager` does with attachments."""

    @guarded
    def get_attachments(self, id: MessageId) -> list[AttachmentView]:
        """A message's attachments, and what of each is here. Raises: NotFoundError."""
        message = self.store.get_message(id)
        states = self.attachment_states([message])
        return [
            _view(number, one, states, self.store) for number, one in enumerate(message.attachments, start=1)
        ]

    @guarded
    def attachment_states(self, messages: Iterable[Message]) -> dict[bytes, str]:
        """File id -> what of it is here, for all files of these messages."""
        ids = [one.file.id for message in messages for one in message.attachments if one.file]
        found = rows.states(self.store.database.reader, ids) if ids else {}
        return {id: STATES[found.get(id)] for id in ids}

    @guarded
    def file_state(self, file: bytes) -> str:
        """What of an attached file is here: here, missing, asked or dropped."""
        return STATES[rows.states(self.store.database.reader, [file]).get(file)]

    @guarded
    def open_attachment(self, id: MessageId, number: int = 1) -> BinaryIO:
        """An attachment's bytes as a binary stream that can seek; nothing is written anywhere.

        number    among the message's, from 1

        Raises: NotFoundError with rule "no_message", "no_attachment", "attachment_link" or "attachment_absent". Reading
        raises: CorruptError(rule="attachment_damaged") before a byte that is not what was written.
        """
        from quire.store.attachments import open_attachment

        stream = open_attachment(self.store, id, number)
        return cast(BinaryIO, io.BufferedReader(stream, COPY_BYTES))

    def save_attachment(
        self, id: MessageId, number: int = 1, to: str | os.PathLike[str] = ".", *, name: str = ""
    ) -> Path:
        """Write an attachment's bytes to a new file in a folder; its path. No file is ever overwritten.

        name    default: the attachment's, without what might lead elsewhere or do harm

        Raises: as `open_attachment`; UsageError(rule="folder_absent"), StorageError.
        """
        from quire.store.file_types import safe_name

        folder = Path(to)
        if not folder.is_dir():
            raise UsageError(f"there is no folder {folder}", rule="folder_absent", hint="make it first")
        with self.open_attachment(id, number) as stream:
            wanted = safe_name(name or self.store.get_message(id).attachments[number - 1].name)
            return _write_new(folder, wanted, stream)

    @guarded
    def attachment_type(self, id: MessageId, number: int = 1) -> str:
        """What an attachment is by its first bytes, whatever its author says. Raises: as `open_attachment`."""
        from quire.store.file_types import HEAD_BYTES, type_of

        with self.open_attachment(id, number) as stream:
            return type_of(stream.read(HEAD_BYTES))

    @guarded
    def get_preview(self, id: MessageId, number: int = 1) -> bytes:
        """A small JPEG of an attached picture, decoded and made anew; empty if there is none.

        Raises: NotFoundError; MalformedError(rule="preview_malformed") if its author sent something else.
        """
        from quire.store.attachments import find
        from quire.store.previews import checked_preview

        attachment = find(self.store.get_message(id), number)
        sent = attachment.file.preview if attachment.file else b""
        return checked_preview(sent) if sent else b""

    @guarded
    def fetch_attachment(self, id: MessageId, number: int | None = None) -> list[AttachmentView]:
        """Ask for a message's files, or one of them, whatever their size: they come with the next syncs.

        Raises: NotFoundError with rule "no_message" or "no_attachment".
        """
        from quire.store.attachments import ask, find

        message = self.store.get_message(id)
        wanted = [find(message, number)] if number is not None else list(message.attachments)

        def work(db: apsw.Connection) -> None:
            for one in wanted:
                if one.file is not None:
                    ask(db, one.file.id, one.size_bytes or 0)

        if any(one.file is not None for one in wanted):
            self.store.ledger.run(work)
        return self.get_attachments(id)

    @guarded
    def fetch_limit(self) -> int:
        """Bytes of the largest file that comes to this device without being asked for."""
        kept = get_meta(self.store.database.reader, FETCH_LIMIT)
        return FETCH_BYTES if kept is None else int(kept)

    @guarded
    def set_fetch_limit(self, size_bytes: int) -> None:
        """Larger files come to this device only when they are asked for; 0: every file.

        Raises: UsageError(rule="fetch_limit_range").
        """
        if not 0 <= size_bytes <= FILE_BYTES_MAX:
            raise UsageError("no such size of a file", rule="fetch_limit_range", limit=FILE_BYTES_MAX)
        self.store.ledger.run(lambda db: set_meta(db, FETCH_LIMIT, size_bytes))

    @guarded
    def fetch_attachments(self, channel: ChannelId | str) -> int:
        """Ask for every file of a channel that is not here; how many."""
        from quire.store.attachments import ask

        n = self.store.channel_row(self.resolve(channel)).n

        def work(db: apsw.Connection) -> int:
            missing = rows.missing(db, n)
            for one in missing:
                ask(db, one.file, one.size_bytes)
            return len(missing)

        return self.store.ledger.run(work)


def publish_came(store: LocalStore, hub: EventHub, file: bytes) -> None:
    """An attachment is here now: an event for each message that has it."""
    db = store.database.reader
    for use in rows.uses(db, file):
        channel = log.channel_by_n(db, use.channel)
        hub.publish(Event("attachment", channel.id, MessageId(use.message)))


def _view(number: int, one: Attachment, states: dict[bytes, str], store: LocalStore) -> AttachmentView:
    if one.file is None:
        return AttachmentView(number, one.name, one.media_type, one.size_bytes, one.url, "link")
    state = states[one.file.id]
    received = store.files.part_size(one.file.id) if state in ("missing", "asked") else 0
    return AttachmentView(
        number, one.name, one.media_type, one.size_bytes, one.url, state, received, bool(one.file.preview)
    )


def _write_new(folder: Path, wanted: str, stream: BinaryIO) -> Path:
    """A file that is whole or not there, under the first free name."""
    from quire.storage.files import beside, flush_folder, write_error
    from quire.store.file_types import numbered

    try:
        with beside(folder / wanted) as fresh:
            fresh.chmod(0o600)
            with fresh.open("wb") as file:
                for chunk in _chunks(stream):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            for count in range(1, NAMES_TRIED_MAX):
                target = folder / (wanted if count == 1 else numbered(wanted, count))
                with contextlib.suppress(FileExistsError):
                    os.link(fresh, target)  # unlike a rename, this refuses a name that is taken
                    flush_folder(folder)
                    return target
    except OSError as error:
        raise write_error(folder / wanted, error) from error
    raise StorageError("too many files of that name", rule="file_unwritable", hint="choose another folder")


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while chunk := stream.read(COPY_BYTES):
        yield chunk
