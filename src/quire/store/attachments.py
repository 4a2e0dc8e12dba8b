"""Attachments with bytes of their own: sealed before the message is written, opened when somebody asks.

A file is on the disk under its name, flushed, before the commit that refers to it. Killed between, it is nobody's, and the
next opening takes it away (store/attachment_care.py). Letting a file go is the other way round: the vault says so first
(`drop`), then the bytes go (`sweep`).

The same bytes attached again in a channel are the same file: what we sealed is known by its hash, which is kept in the
vault and goes nowhere. Others see that two of our messages name one file, and could see from its bytes that they are equal.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import apsw
import msgspec

from quire.core import limits
from quire.core.ids import ChannelId, FileId, MessageId
from quire.core.operation import Attachment, File, Post
from quire.core.sealed_file import (
    KEY_SIZE,
    PIECE_PLAIN,
    check_piece,
    open_piece,
    seal_pieces,
    sealed_size,
)
from quire.errors import BusyError, CorruptError, MalformedError, NotFoundError, StorageError, UsageError
from quire.storage import attachments as rows
from quire.storage import timeline as messages
from quire.storage.attachments import ASKED, DOOMED, DROPPED, HERE, MISSING, FileRow, Use
from quire.storage.database import fault, inconsistent
from quire.store.file_types import HEAD_BYTES, type_of
from quire.store.quota import require_room

if TYPE_CHECKING:
    from quire.core.views import Message
    from quire.storage.sealed_files import SealedFile
    from quire.store.local import LocalStore

PREVIEW_SOURCE_MAX = 64 << 20  # a picture larger than this gets no preview


class NewFile(msgspec.Struct, frozen=True):
    """A file to attach: from a path, or from whatever `open` gives."""

    name: str
    size: int  # bytes; what is read must have as many
    open: Callable[[], BinaryIO]
    url: str = ""  # where it was, in an import
    preview: bool = True  # make a small picture of it, if it is one


class Sealed(msgspec.Struct, frozen=True):
    """A file on the disk, ready to be referred to."""

    attachment: Attachment
    row: FileRow
    known: bool  # another message of the channel has it already


def new_file(path: str | os.PathLike[str]) -> NewFile:
    """A file on the disk. Raises: UsageError with rule "file_absent", "file_not_regular" or "file_unreadable"."""
    text = os.fspath(path)
    try:
        if not os.path.isfile(text):
            rule = "file_not_regular" if os.path.exists(text) else "file_absent"
            raise UsageError(
                f"{text} is no file" if rule == "file_not_regular" else f"there is no file {text}", rule=rule
            )
        size = os.stat(text).st_size
    except (OSError, ValueError) as error:
        raise _unreadable(text, error) from error

    def opened() -> BinaryIO:
        try:
            return open(text, "rb")
        except OSError as error:
            raise _unreadable(text, error) from error

    return NewFile(os.path.basename(text), size, opened)


def _unreadable(path: str, error: Exception) -> UsageError:
    reason = getattr(error, "strerror", None) or "no usable path"
    return UsageError(f"{path} cannot be read: {reason}", rule="file_unreadable")


# Writing


def post_with_files(
    store: LocalStore,
    files: Sequence[NewFile],
    channel: ChannelId,
    body: str,
    *,
    attachments: Sequence[Attachment] = (),
    **more: Any,
) -> Message:
    """`LocalStore.store_message` with files. Raises: UsageError, StorageError; nothing is left of them then."""
    if len(files) + len(attachments) > limits.ATTACHMENTS_MAX:
        raise UsageError(
            f"a message has at most {limits.ATTACHMENTS_MAX} attachments", rule="too_many_attachments",
            hint="post several messages",
        )  # fmt: skip
    n = store.channel_row(channel).n
    with sealing(store) as seal:
        sealed = [seal(n, one) for one in files]
        everything = [*attachments, *fitting([one.attachment for one in sealed])]
        return store.store_message(channel, body, attachments=everything, sealed=sealed, **more)


def fitting(attachments: Sequence[Attachment]) -> list[Attachment]:
    """Without previews that would make the message too large; the first ones stay."""
    room = limits.OPERATION_BYTES_MAX - limits.BODY_BYTES_MAX - (128 << 10)
    found = []
    for one in attachments:
        room -= len(one.file.preview) if one.file else 0
        if one.file and room < 0:
            one = one._replace(file=one.file._replace(preview=b""))
        found.append(one)
    return found


@contextmanager
def sealing(store: LocalStore) -> Iterator[Callable[[int, NewFile], Sealed]]:
    """Gives a function that seals one file for a channel. What nobody refers to at the end is gone again."""
    made: list[FileId] = []

    def seal(channel: int, file: NewFile) -> Sealed:
        sealed = _sealed(store, channel, file)
        if not sealed.known:
            made.append(FileId(sealed.row.id))
        return sealed

    with store.files.making():
        try:
            yield seal
        finally:
            _forget_unused(store, made)


def _sealed(store: LocalStore, channel: int, new: NewFile) -> Sealed:
    if not 0 <= new.size <= limits.FILE_BYTES_MAX:
        raise UsageError(
            f"{new.name} is larger than an attachment may be",
            rule="attachment_too_large",
            limit=limits.FILE_BYTES_MAX,
        )
    require_room(store.database.reader, sealed_size(new.size))
    key, hashed, head = os.urandom(KEY_SIZE), hashlib.sha256(), bytearray()

    def chunks(stream: BinaryIO) -> Iterator[bytes]:
        while chunk := stream.read(PIECE_PLAIN):
            hashed.update(chunk)
            if len(head) < HEAD_BYTES:
                head.extend(chunk[: HEAD_BYTES - len(head)])
            yield chunk

    with store.files.new() as fresh, new.open() as stream:
        try:
            for piece in seal_pieces(key, new.size, chunks(stream)):
                fresh.write(piece)
                fault("attachment_piece")
        except MalformedError as error:
            raise UsageError(
                f"{new.name} changed while it was read", rule="file_changed", hint="attach it again"
            ) from error
        media_type = type_of(bytes(head))
        preview = _preview(new, media_type) if new.preview else b""
        plain = hashed.digest()
        known = _known(store, channel, plain, new.size)
        if known is None:
            id, outline = fresh.keep(new.size), fresh.outline
            fault("attachment_placed")
            row = FileRow(id, HERE, new.size, plain, outline)
        else:
            key, row = known
    name = new.name.encode("utf-8", "replace").decode()[: limits.ATTACHMENT_TEXT_MAX]
    url = new.url.encode("utf-8", "replace").decode()[: limits.ATTACHMENT_TEXT_MAX]
    attachment = Attachment(name, url, media_type, new.size, File(row.id, key, preview))
    return Sealed(attachment, row, known is not None)


def _preview(new: NewFile, media_type: str) -> bytes:
    if not media_type.startswith("image/") or new.size > PREVIEW_SOURCE_MAX:
        return b""
    from quire.store.previews import make_preview

    with new.open() as stream:
        return make_preview(stream)


def _known(store: LocalStore, channel: int, plain: bytes, size: int) -> tuple[bytes, FileRow] | None:
    """The key and row of a file of a channel that we sealed from these bytes."""
    db = store.database.reader
    use = rows.same_plain(db, channel, plain)
    row = rows.get_file(db, use.file) if use else None
    if (
        use is None
        or row is None
        or row.size_bytes != size
        or store.files.size(use.file) != sealed_size(size)
    ):
        return None
    found = attachment_of(db, use)
    return (found.file.key, row) if found and found.file else None


def note_sealed(db: apsw.Connection, sealed: Iterable[Sealed]) -> None:
    """In the transaction of the message: these files are here.

    Raises: BusyError(rule="attachment_gone") if one that we had already was let go meanwhile.
    """
    for one in sealed:
        row = rows.get_file(db, one.row.id)
        if one.known and (row is None or row.state != HERE):
            raise BusyError(
                "the file was let go while it was attached", rule="attachment_gone", hint="try again"
            )
        rows.put_file(db, one.row)


def _forget_unused(store: LocalStore, made: Sequence[FileId]) -> None:
    """Take away what was made and is referred to by nothing; what is, stays."""
    db = store.database.reader
    unused = [id for id in made if not rows.is_used(db, id)]
    if unused:
        with suppress(StorageError):  # a full disk: the next opening does it

            def work(db: apsw.Connection) -> None:
                for id in unused:
                    if not rows.is_used(db, id):
                        rows.delete_file(db, id)
                        store.files.remove(id)

            store.ledger.run(work)


# The view


def uses_of(message: bytes, channel: int, post: Post) -> list[Use]:
    """What the view says of a post that has its place."""
    return [
        Use(message, n, channel, one.file.id, one.size_bytes or 0)
        for n, one in enumerate(post.attachments)
        if one.file is not None
    ]


def attachment_of(db: apsw.Connection, use: Use) -> Attachment | None:
    """The attachment that a row speaks of."""
    row = messages.get_row(db, use.message)
    if row is None:
        raise inconsistent("a message with an attachment")
    post = messages.post_of(db, row)
    return post.attachments[use.n] if use.n < len(post.attachments) else None


# Reading


class AttachmentStream(io.RawIOBase):
    """An attachment's bytes: read, sought in; one piece of it is in memory. Each piece is checked before it is given.

    Reading raises: CorruptError(rule="attachment_damaged" or "attachment_missing").
    """

    def __init__(self, sealed: SealedFile, key: bytes, size: int, outline: bytes) -> None:
        self._sealed = sealed
        self._key, self._size, self._outline = key, size, outline
        self._at = 0
        self._piece: tuple[int, bytes] = (-1, b"")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        number = self._at // PIECE_PLAIN
        if self._at >= self._size:
            return 0
        if self._piece[0] != number:
            self._piece = (number, self._read(number))
        start = self._at - number * PIECE_PLAIN
        some = self._piece[1][start : start + len(buffer)]
        buffer[: len(some)] = some
        self._at += len(some)
        return len(some)

    def _read(self, number: int) -> bytes:
        sealed = self._sealed.piece(number)
        try:
            check_piece(self._outline, self._size, number, sealed)
            return open_piece(self._key, self._size, number, sealed)
        except MalformedError as error:
            raise CorruptError(
                "an attachment's file is not what was written", rule="attachment_damaged",
                hint="`quire doctor --repair` asks others for it; a backup may have it",
            ) from error  # fmt: skip

    def close(self) -> None:
        self._piece = (-1, b"")
        self._sealed.close()
        super().close()


def find(message: Message, n: int) -> Attachment:
    """An attachment of a message, counted from 1. Raises: NotFoundError(rule="no_attachment")."""
    if not message.attachments:
        raise NotFoundError("this message has no attachments", rule="no_attachment")
    if not 1 <= n <= len(message.attachments):
        raise NotFoundError(
            f"this message has {len(message.attachments)} attachments, counted from 1", rule="no_attachment"
        )
    return message.attachments[n - 1]


def open_attachment(store: LocalStore, message: MessageId, n: int = 1) -> AttachmentStream:
    """An attachment's bytes as a stream.

    Raises: NotFoundError with rule "no_message", "no_attachment", "attachment_link" (it has no bytes of its own) or
    "attachment_absent" (they are not here); CorruptError.
    """
    attachment = find(store.get_message(message), n)
    if attachment.file is None:
        raise NotFoundError(
            "only this file's name is here: it came without its bytes", rule="attachment_link"
        )
    row = rows.get_file(store.database.reader, attachment.file.id)
    if row is None or row.state != HERE:
        raise NotFoundError(
            "this file is not here yet", rule="attachment_absent", hint="`quire fetch` asks for it"
        )
    if row.size_bytes != attachment.size_bytes:
        raise NotFoundError("no file of that name has this size: its author lies", rule="attachment_absent")
    return AttachmentStream(store.files.open(row.id), attachment.file.key, row.size_bytes, row.outline)


# Letting go


def drop(db: apsw.Connection, ids: Iterable[bytes]) -> int:
    """Let the bytes of files go, in the caller's transaction; the messages stay. How many bytes that frees.

    They do not come back by themselves. The caller calls `sweep` when the transaction is durable.
    """
    freed = 0
    for id in ids:
        row = rows.get_file(db, id)
        freed += sealed_size(row.size_bytes) if row is not None and row.state == HERE else 0
        if row is None or row.state != DROPPED:
            rows.delete_file(db, id)
            rows.put_file(db, FileRow(id, DOOMED, row.size_bytes if row else 0, b"", b""))
    return freed


def forget(db: apsw.Connection, ids: Iterable[bytes]) -> int:
    """Messages are gone for good, and with them the keys of their files: what nothing else refers to goes, too."""
    files = {file for id in ids for file in rows.drop_uses(db, id)}
    return drop(db, [file for file in files if not rows.is_used(db, file)])


def sweep(store: LocalStore) -> int:
    """Remove the bytes of files that were let go; how many. Killed at any point, the next opening goes on."""
    doomed = rows.in_state(store.database.reader, DOOMED)
    if not doomed:
        return 0

    def work(db: apsw.Connection) -> int:
        count = 0
        for id in doomed:
            row = rows.get_file(db, id)
            if row is None or row.state != DOOMED:
                continue  # somebody asked for it again
            store.files.remove(id)
            fault("attachment_removed")
            count += 1
            if rows.is_used(db, id):
                rows.set_state(db, id, DROPPED)
            else:
                rows.delete_file(db, id)
        return count

    return store.ledger.run(work)


def ask(db: apsw.Connection, id: bytes, bytes_: int) -> None:
    """Somebody wants a file here, whatever its size, and whether it was let go or not.

    Raises: FullError(rule="quota_hard").
    """
    require_room(db, sealed_size(bytes_))
    row = rows.get_file(db, id)
    if row is None:
        rows.put_file(db, FileRow(id, ASKED, bytes_, b"", b""))
    elif row.state in (MISSING, DROPPED, DOOMED):
        rows.delete_file(db, id)
        rows.put_file(db, FileRow(id, ASKED, bytes_, b"", row.outline))
