"""Sealed files as records, for bundle files and relays: what is written of them, and what is taken in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import apsw

from quire.core.bundle_file import Kind, Record
from quire.core.crypto.epochs import EpochKey
from quire.core.file_record import FilePiece, seal_file_piece
from quire.core.ids import ChannelId, FileId
from quire.core.sealed_file import check_piece, piece_count
from quire.errors import CorruptError, MalformedError
from quire.storage import attachments as rows
from quire.storage import keychain, log
from quire.storage.attachments import ASKED, HERE, MISSING, Wanted
from quire.store.fetching import Incoming, begin, epoch_of_message

if TYPE_CHECKING:
    from quire.core.membership import Graph
    from quire.store.local import LocalStore

OPEN_MAX = 8  # files that are coming at once: a road brings one after the other


def records_of(
    store: LocalStore, channel: log.ChannelRow, graph: Graph, file: bytes, message: bytes, first: int = 0
) -> Iterator[tuple[int, Record]]:
    """The pieces of a file from one on, each with its number, sealed under the epoch of a message that names it.

    Nothing, if that epoch's key is not ours to hand on, or the file is not here whole.
    """
    db = store.database.reader
    key = keychain.epoch_keys(db, channel.id).get(epoch_of_message(db, graph, message))
    row = rows.get_file(db, file)
    if key is None or row is None or row.state != HERE:
        return
    try:
        with store.files.open(file) as sealed:
            for number in range(first, piece_count(row.size_bytes)):
                piece = sealed.piece(number)
                check_piece(row.outline, row.size_bytes, number, piece)
                outline = row.outline if number == 0 else b""
                said = FilePiece(file, row.size_bytes, number, outline, piece)
                data = seal_file_piece(said, EpochKey(key), ChannelId(channel.id), os.urandom)
                yield number, Record(Kind.FILE, data)
    except (CorruptError, MalformedError):  # the disk lost it: `verify` names it
        return


def records_of_channel(
    store: LocalStore, channel: log.ChannelRow, graph: Graph, bytes_max: int
) -> Iterator[Record]:
    """Every file of a channel that is here and not larger, those of the newest messages first."""
    db = store.database.reader
    for file, message in rows.newest_uses(db, channel.n, bytes_max):
        for _, record in records_of(store, channel, graph, file, message):
            yield record


class FileRecords:
    """Taking in pieces of files, as they come on some road: in order, or not at all."""

    def __init__(self, store: LocalStore, bytes_max: int) -> None:
        """
        bytes_max    larger files are taken only if somebody here asked for them
        """
        self._store = store
        self._bytes_max = bytes_max
        self._coming: dict[bytes, Incoming] = {}
        self.came: list[FileId] = []

    def take(self, piece: FilePiece) -> bool:
        """Take one piece, if its file is wanted here and it is the next; False if no message here names it.

        Raises: MalformedError, StorageError.
        """
        if not rows.is_used(self._store.database.reader, piece.file):
            return False
        incoming = self._incoming(piece)
        if incoming is not None:
            self._put(incoming, piece)
        return True

    def _put(self, incoming: Incoming, piece: FilePiece) -> None:
        try:
            if piece.outline and not incoming.next:
                incoming.take_outline(piece.outline)
            if piece.number != incoming.next or not incoming.has_outline:
                return  # it was here before, or one is missing: the rest comes by another road
            if incoming.take_piece(piece.number, piece.piece):
                self.came.append(incoming.file)
                self._close(piece.file)
        except BaseException:
            self._close(piece.file)
            raise

    def _incoming(self, piece: FilePiece) -> Incoming | None:
        found = self._coming.get(piece.file)
        if found is None and self._is_wanted(self._store.database.reader, piece):
            found = begin(self._store, Wanted(FileId(piece.file), piece.size))
            if found is not None:
                if len(self._coming) >= OPEN_MAX:
                    self._close(next(iter(self._coming)))
                self._coming[piece.file] = found
        return found if found is not None and found.size == piece.size else None

    def _is_wanted(self, db: apsw.Connection, piece: FilePiece) -> bool:
        row = rows.get_file(db, piece.file)
        if row is None or not any(use.size_bytes == piece.size for use in rows.uses(db, piece.file)):
            return False  # no message here names it, or not yet
        return row.state == ASKED or (row.state == MISSING and piece.size <= self._bytes_max)

    def _close(self, file: bytes) -> None:
        self._coming.pop(file).close()

    def close(self) -> None:
        """What has come stays."""
        for file in list(self._coming):
            self._close(file)
