"""Files of an export become attachments with bytes of their own, sealed while its messages are made ready.

A file is read where its message is new here, once for each channel that has it. One that cannot be read is reported and its
message keeps the name; when there is no room left, the rest of the files is left and the messages still come.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

import apsw

from quire.core.limits import FILE_BYTES_MAX
from quire.core.operation import Attachment, Post
from quire.core.sealed_file import KEY_SIZE, PIECE_PLAIN, seal_pieces
from quire.errors import (
    BusyError,
    FormatError,
    FullError,
    MalformedError,
    NotFoundError,
    QuireError,
    UsageError,
)
from quire.exchange import model
from quire.exchange.inside import Watched
from quire.storage import attachments as rows
from quire.storage.sealed_files import SealedFile
from quire.store.attachments import AttachmentStream, NewFile, Sealed

if TYPE_CHECKING:
    from quire.store.local import LocalStore
    from quire.store.tally import Tally

READ_ITSELF = (".json", ".jsonl", ".mbox", ".html")  # what holds messages, and is not put aside from a tar
REPEATED_MAX = 20_000  # files that are remembered in case another message of the channel has them


class ImportFiles:
    """The files of one import."""

    def __init__(
        self,
        source: Watched,
        seal: Callable[[int, NewFile], Sealed] | None,
        tally: Tally,
        open_file: Callable[[str], BinaryIO],
    ) -> None:
        """
        seal         None: only count
        open_file    gives a file of the export
        """
        self.source = source
        self._open_file = open_file
        self._seal = seal
        self._tally = tally
        self._named: dict[int, tuple[str, ...]] = {}  # slot -> files of a message that is on its way
        self._sealed: dict[int, list[Sealed | None]] = {}
        self._repeated: dict[tuple[str, str], Sealed] = {}  # channel and file
        self._rows: dict[bytes, Sealed] = {}  # those of messages on their way
        self._full = False

    def watched(self, records: Iterable[model.Record]) -> Iterator[model.Record]:
        """Records as they are read; what their messages say of files is noted."""
        for record, near in self.source.watched(records):
            if type(record) is model.Message and record.attachments:
                self.note(slot_of(record.channel, record), record, near)
            yield record

    def note(self, slot: int, message: model.Message, near: str) -> None:
        """A message was read: which files of the export are its own?"""
        files = self.source.files_of(message, near)
        if any(files):
            self._named[slot] = files

    def has_any(self, slot: int) -> bool:
        """Has a message files in the export?"""
        return slot in self._named

    def take(self, slot: int, channel: str, number: int, message: model.Message) -> None:
        """Seal the files of a message that is new here.

        number    of its channel, or -1 if that is still to be made
        """
        names = self._named.get(slot)
        if names is None or slot in self._sealed:
            return
        self._sealed[slot] = [
            self._one(channel, number, name, one) if name else None
            for name, one in zip(names, message.attachments, strict=True)
        ]

    def _one(self, channel: str, number: int, name: str, attachment: model.Attachment) -> Sealed | None:
        known = self._repeated.get((channel, name))
        if known is not None:
            self._tally.files(1)
            return known
        if self._seal is None:
            self._tally.files(1)
            return None
        if self._full:
            return None
        size = self.source.file_sizes()[name]
        new = NewFile(
            attachment.name or name.rpartition("/")[2], size, lambda: self._open_file(name),
            url=attachment.url, preview=False,
        )  # fmt: skip
        try:
            sealed = self._seal(number, new)
        except FullError:
            self._full = True
            self._tally.warn("there was no room for all files: import again when there is")
            return None
        except (FormatError, UsageError, NotFoundError, BusyError) as error:
            self._tally.skip(model.Skipped(name[:200], "file", _reason(error)))
            return None
        self._tally.files(1)
        if len(self._repeated) >= REPEATED_MAX:
            self._repeated.clear()
        self._repeated[channel, name] = sealed
        self._rows[sealed.row.id] = sealed
        return sealed

    def fill(self, slot: int, attachments: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
        """A message's attachments with their bytes."""
        sealed = self._sealed.get(slot, ())
        return tuple(
            _with_bytes(one, sealed[n]) if n < len(sealed) else one for n, one in enumerate(attachments)
        )

    def written(self, db: apsw.Connection, slot: int, post: Post) -> None:
        """In the transaction of a message: its files are here."""
        self._named.pop(slot, None)
        self._sealed.pop(slot, None)
        for one in post.attachments:
            if one.file is not None and (sealed := self._rows.get(one.file.id)):
                rows.put_file(db, sealed.row)

    def passed(self, slot: int) -> None:
        """A message was here already, or is broken."""
        self._named.pop(slot, None)
        self._sealed.pop(slot, None)


class Spool:
    """Files of a tar, which is read forwards only: sealed aside in one pass, each under a key that nobody keeps."""

    def __init__(self, store: LocalStore, source: Watched, tally: Tally) -> None:
        self._files: dict[str, tuple[str, bytes, int, bytes]] = {}
        self._store = store
        try:
            for name, stream in source.walk_files(lambda name: not name.lower().endswith(READ_ITSELF)):
                self._put(name, source.file_sizes()[name], stream)
        except (FullError, FormatError, MalformedError) as error:  # what is there is used
            tally.warn(f"not all files of the tar could be read: {_reason(error)}")

    def _put(self, name: str, size: int, stream: BinaryIO) -> None:
        if size > FILE_BYTES_MAX:
            return
        key = os.urandom(KEY_SIZE)
        with self._store.files.new() as fresh:
            for piece in seal_pieces(key, size, iter(lambda: stream.read(PIECE_PLAIN), b"")):
                fresh.write(piece)
            outline = fresh.outline
            self._files[name] = fresh.set_aside(), key, size, outline

    def open(self, name: str) -> BinaryIO:
        """A file of the tar. Raises: NotFoundError(rule="file_absent")."""
        if name not in self._files:
            raise NotFoundError(f"{name} was not read", rule="file_absent", file=name)
        path, key, size, outline = self._files[name]
        sealed = SealedFile(open(path, "rb"))  # noqa: SIM115 - the stream closes it
        return cast(BinaryIO, io.BufferedReader(AttachmentStream(sealed, key, size, outline), PIECE_PLAIN))

    def close(self) -> None:
        """Take them away."""
        for path, _, _, _ in self._files.values():
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._files.clear()


def slot_of(channel: str, message: model.Message) -> int:
    """What a message is remembered by in one import."""
    return hash((channel, message.ref or message.id))


def _with_bytes(one: Attachment, sealed: Sealed | None) -> Attachment:
    """What the export says of a file, with what it is."""
    if sealed is None:
        return one
    made = sealed.attachment
    return one._replace(media_type=made.media_type, size_bytes=made.size_bytes, file=made.file)


def _reason(error: QuireError) -> str:
    return str(error)[:200]
