"""Attachments in a backup: sealed files by their ids, copied as they are, checked by their ids on both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import apsw

from quire.core.backup import FileEntry
from quire.core.ids import FileId
from quire.core.sealed_file import PIECE_SIZE, file_id, piece_hash, sealed_size
from quire.errors import CorruptError, MalformedError
from quire.storage import attachments as rows
from quire.storage.attachments import HERE, FileRow
from quire.storage.backup_folder import ATTACHMENTS, BackupFolder
from quire.storage.database import fault

if TYPE_CHECKING:
    from quire.store.local import LocalStore, Progress


def file_path(id: bytes) -> str:
    """Where a sealed file is in a backup."""
    return f"{ATTACHMENTS}/{id.hex()}"


class Copied:
    """What became of the files of one run."""

    def __init__(self) -> None:
        self.entries: list[FileEntry] = []
        self.bytes_written = 0
        self.unreadable = 0  # files that are damaged in the vault: sync may bring them again


def copy_in(store: LocalStore, folder: BackupFolder, progress: Progress | None, *, reread: bool) -> Copied:
    """Copy the vault's sealed files that the backup has not."""
    copied = Copied()
    with store.database.snapshot() as db:
        wanted = [FileEntry(row.id, row.size_bytes, row.plain) for row in rows.files_here(db)]
    for done, entry in enumerate(wanted, start=1):
        path = file_path(entry.name)
        is_there = folder.size(path) == sealed_size(entry.size)
        if not is_there or (reread and not is_whole(folder, entry)):
            try:
                folder.put_pieces(path, _source(store, entry))
            except (CorruptError, MalformedError):
                copied.unreadable += 1
                continue
            copied.bytes_written += sealed_size(entry.size)
            fault("backup_file")
        copied.entries.append(entry)
        if progress:
            progress("copying attachments", done, len(wanted))
    return copied


def _source(store: LocalStore, entry: FileEntry) -> Iterator[bytes]:
    """A file's pieces. Raises: CorruptError, after the last one, if they are not those of its id."""
    outline = bytearray()
    with store.files.open(entry.name) as file:
        for number in range(-(-sealed_size(entry.size) // PIECE_SIZE)):
            piece = file.piece(number)
            outline += piece_hash(piece)
            yield piece
    if file_id(entry.size, bytes(outline)) != entry.name:
        raise CorruptError(
            "an attachment is damaged", rule="attachment_damaged", hint="`quire verify` names it"
        )


def is_whole(folder: BackupFolder, entry: FileEntry) -> bool:
    """Is a file in a backup what its id says? Raises: as `BackupFolder.pieces`."""
    outline = b"".join(piece_hash(piece) for piece in folder.pieces(file_path(entry.name), PIECE_SIZE))
    return file_id(entry.size, outline) == entry.name


def copy_out(store: LocalStore, folder: BackupFolder, entry: FileEntry) -> None:
    """Put a file of a backup into a vault that has not got it.

    Raises: CorruptError(rule="backup_damaged" or "backup_file_missing"), StorageError.
    """
    if store.files.size(entry.name) == sealed_size(entry.size) and _is_known(store, entry.name):
        return
    with store.files.making(), store.files.new() as fresh:
        for piece in folder.pieces(file_path(entry.name), PIECE_SIZE):
            fresh.write(piece)
        if file_id(entry.size, fresh.outline) != entry.name:
            raise CorruptError("not what was written", rule="file_damaged")
        fresh.keep(entry.size)
        row = FileRow(FileId(entry.name), HERE, entry.size, entry.plain, fresh.outline)

        def work(db: apsw.Connection) -> None:
            rows.put_file(db, row)

        store.ledger.run(work)
    fault("restore_file")


def _is_known(store: LocalStore, id: bytes) -> bool:
    row = rows.get_file(store.database.reader, id)
    return row is not None and row.state == HERE
