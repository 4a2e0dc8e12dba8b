"""Looking after the files of attachments: what a kill left, what is missing or damaged, and asking for it anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import apsw

from quire.core.ids import FileId, MessageId, message_id_text
from quire.core.sealed_file import HASH_SIZE, check_piece, file_id, piece_count, piece_hash, sealed_size
from quire.errors import MalformedError
from quire.storage import attachments as rows
from quire.storage.attachments import ASKED, DROPPED, HERE, FileRow
from quire.store.attachments import sweep

if TYPE_CHECKING:
    from quire.storage.sealed_files import SealedFiles
    from quire.store.local import LocalStore


def tidy(store: LocalStore) -> int:
    """Remove what no message refers to, and use what is whole and was not noted; how many files were removed.

    Does nothing while another process is making files.
    """
    removed = sweep(store)
    with store.files.alone() as alone:
        if not alone:
            return removed
        removed += store.files.clear_new()
        for id in store.files.whole():
            removed += not _settle(store, id)
        db = store.database.reader
        for id in store.files.parts():
            row = rows.get_file(db, id)
            if (row is not None and row.state in (HERE, DROPPED)) or not rows.is_used(db, id):
                store.files.remove_part(id)
                removed += 1
    return removed


def _settle(store: LocalStore, id: FileId) -> bool:
    """May a whole file stay?"""

    def work(db: apsw.Connection) -> bool:
        row, uses = rows.get_file(db, id), rows.uses(db, id)
        if row is not None and row.state == HERE and uses:
            return True
        for size in {use.size_bytes for use in uses} if row is None or row.state < HERE else ():
            outline = outline_of(store.files, id, size)
            if file_id(size, outline) == id:
                rows.put_file(
                    db, FileRow(id, HERE, size, b"", outline)
                )  # it came, and nobody had time to say so
                return True
        store.files.remove(id)
        if row is not None:
            rows.delete_file(db, id)
            if uses and row.state >= DROPPED:
                rows.put_file(db, FileRow(id, DROPPED, row.size_bytes, b"", b""))
        return False

    db = store.database.reader
    row = rows.get_file(db, id)
    if row is not None and row.state == HERE and rows.is_used(db, id):
        return True  # nearly all, without a write
    return store.ledger.run(work)


def outline_of(files: SealedFiles, id: bytes, size: int) -> bytes:
    """The hashes of the pieces that are there; empty if the file has another size."""
    if files.size(id) != sealed_size(size):
        return b""
    outline = bytearray()
    with files.open(id) as sealed:
        number = 0
        while piece := sealed.piece(number):
            outline += piece_hash(piece)
            number += 1
    return bytes(outline)


def check_files(store: LocalStore, db: apsw.Connection, *, whole: bool) -> Iterator[tuple[str, str, str]]:
    """(rule, file, detail) of each file that is said to be here and is not, or not what was written.

    whole    read them, too
    """
    for row in rows.files_here(db):
        size = store.files.size(row.id)
        if size is None:
            yield "attachment_missing", row.id.hex(), _named(db, row.id)
        elif size != sealed_size(row.size_bytes) or (whole and not _is_whole(store.files, row)):
            yield "attachment_damaged", row.id.hex(), _named(db, row.id)


def _is_whole(files: SealedFiles, row: FileRow) -> bool:
    if (
        len(row.outline) != piece_count(row.size_bytes) * HASH_SIZE
        or file_id(row.size_bytes, row.outline) != row.id
    ):
        return False
    with files.open(row.id) as sealed:
        try:
            for number in range(len(row.outline) // HASH_SIZE):
                check_piece(row.outline, row.size_bytes, number, sealed.piece(number))
        except MalformedError:
            return False
    return True


def _named(db: apsw.Connection, id: bytes) -> str:
    named = [message_id_text(MessageId(use.message)) for use in rows.uses(db, id)[:3]]
    return f"of {', '.join(named)}" if named else "of no message"


def ask_again(store: LocalStore) -> int:
    """Files that are missing or damaged are not here, and are asked for: others may have them. How many."""
    db = store.database.reader
    lost = [bytes.fromhex(file) for _, file, _ in check_files(store, db, whole=True)]

    def work(db: apsw.Connection) -> None:
        for id in lost:
            row = rows.get_file(db, id)
            if row is not None and row.state == HERE:
                rows.delete_file(db, id)
                rows.put_file(db, FileRow(id, ASKED, row.size_bytes, b"", b""))
                store.files.remove(id)

    if lost:
        store.ledger.run(work)
    return len(lost)
