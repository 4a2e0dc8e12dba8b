"""Files from and for others: what is wanted, what comes piece by piece, and what a peer may be given.

A piece is checked by the outline before it is written, and opened with the message's key, so what is here can be read. A
transfer that breaks goes on at the next piece: what came is checked again, since nobody flushed it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import apsw

from quire.core.commit import decode_head
from quire.core.ids import ChannelId
from quire.core.sealed_file import (
    HASH_SIZE,
    PIECE_SIZE,
    check_outline,
    check_piece,
    open_piece,
    piece_count,
    sealed_size,
)
from quire.errors import MalformedError
from quire.storage import attachments as rows
from quire.storage import log
from quire.storage.attachments import ASKED, HERE, MISSING, FileRow, Use
from quire.storage.attachments import Wanted as Wanted
from quire.storage.database import fault
from quire.store.attachments import attachment_of
from quire.store.behind import epoch_of
from quire.store.people import read_graph
from quire.store.quota import is_over

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quire.core.membership import Graph
    from quire.storage.sealed_files import PartFile, SealedFile
    from quire.store.local import LocalStore

TRUE_MAX = 10_000  # attachments whose keys we remember to have tried, for one peer
WANTED_MAX = 4_096  # of a channel, at once: the newest


def wanted(store: LocalStore, channels: Iterable[ChannelId], bytes_max: int, peer: bytes) -> list[Wanted]:
    """Files of these channels that are to come, if the peer is in them: the newest of each first.

    bytes_max    larger ones come only if somebody asked for them
    peer         the device that would be asked
    """
    db, people = store.database.reader, store.ledger.people
    found: list[Wanted] = []
    if is_over(db):  # the vault's quota: nothing comes
        return found
    for id in channels:
        row = log.channel_by_id(db, id)
        if row is None or row.kind == "self":
            continue
        some = rows.wanted(db, row.n, bytes_max, WANTED_MAX)
        if some and row.role and peer in people.state(db, row).devices:
            found += some
    return list(dict.fromkeys(found))


class Incoming:
    """A file that is coming; ours alone until it is closed."""

    def __init__(self, store: LocalStore, file: Wanted, part: PartFile, held: ExitStack) -> None:
        self._store = store
        self.file, self.size = file.file, file.size_bytes
        self._part = part
        self._held = held
        self._key = b""
        row = rows.get_file(store.database.reader, file.file)
        self._outline = row.outline if row and len(row.outline) == piece_count(self.size) * HASH_SIZE else b""
        self.next = self._kept() if self._outline else 0  # the first piece that is not here

    def _kept(self) -> int:
        """How many pieces are here, as the outline says."""
        number = 0
        try:
            check_outline(self.file, self.size, self._outline)
        except MalformedError:  # a message names the file with another size: what came is not its concern
            self._outline = b""
            return 0
        try:
            while number < piece_count(self.size) and number * PIECE_SIZE < self._part.size:
                check_piece(self._outline, self.size, number, self._part.piece(number))
                number += 1
        except MalformedError:
            pass
        if number == piece_count(self.size):  # whole, and killed before it was said
            number -= 1
        self._part.cut(number * PIECE_SIZE)
        return number

    @property
    def has_outline(self) -> bool:
        return bool(self._outline)

    def take_outline(self, hashes: bytes) -> None:
        """The hashes of all pieces. Raises: MalformedError(rule="file_outline")."""
        check_outline(self.file, self.size, hashes)
        self._outline = hashes
        if len(hashes) > HASH_SIZE:  # so that what comes now need not come again
            self._store.ledger.run(self._note_outline)

    def _note_outline(self, db: apsw.Connection) -> None:
        row = rows.get_file(db, self.file)
        if row is None or row.state in (MISSING, ASKED):
            state = row.state if row else MISSING
            rows.put_file(db, FileRow(self.file, state, self.size, b"", self._outline))

    def take_piece(self, number: int, data: bytes) -> bool:
        """The next piece; was it the last, and is the file here now?

        Raises: MalformedError with rule "file_piece" (the peer's doing) or "file_open" (its author's); StorageError.
        """
        check_piece(self._outline, self.size, number, data)
        self._check_opens(number, data)
        self._part.write(number, data)
        self.next = number + 1
        fault("attachment_part")
        if self.next < piece_count(self.size):
            return False
        with self._store.files.making():
            self._part.finish()
            fault("attachment_came")
            self._store.ledger.run(self._note_here)
        return True

    def _note_here(self, db: apsw.Connection) -> None:
        rows.delete_file(db, self.file)
        rows.put_file(db, FileRow(self.file, HERE, self.size, b"", self._outline))

    def _check_opens(self, number: int, data: bytes) -> None:
        if self._key:
            open_piece(self._key, self.size, number, data)
            return
        db, refusal = self._store.database.reader, None
        for use in rows.uses(db, self.file):
            attachment = attachment_of(db, use) if use.size_bytes == self.size else None
            if attachment is not None and attachment.file is not None:
                try:
                    open_piece(attachment.file.key, self.size, number, data)
                except MalformedError as error:
                    refusal = error
                else:
                    self._key = attachment.file.key
                    return
        raise refusal or MalformedError("no message names this file any more", rule="file_open")

    def close(self) -> None:
        """Let others at it; what has come stays."""
        self._held.close()


def begin(store: LocalStore, file: Wanted) -> Incoming | None:
    """Begin or go on with a file; None if it is here, or another process or peer brings it already."""
    db = store.database.reader
    if is_over(db, sealed_size(file.size_bytes)):  # the vault's quota: smaller ones may still come
        return None
    with ExitStack() as held:
        part = held.enter_context(store.files.part(file.file))
        row = rows.get_file(db, file.file)
        if part is None or (row is not None and row.state >= HERE):
            return None
        return Incoming(store, file, part, held.pop_all())


class Outgoing:
    """A file that a peer gets."""

    def __init__(self, sealed: SealedFile, row: FileRow) -> None:
        self._sealed = sealed
        self._row = row
        self.outline = row.outline
        self.pieces = piece_count(row.size_bytes)

    def piece(self, number: int) -> bytes:
        """A sealed piece, checked. Raises: MalformedError(rule="file_piece") if the disk lost it."""
        data = self._sealed.piece(number)
        check_piece(self.outline, self._row.size_bytes, number, data)
        return data

    def close(self) -> None:
        self._sealed.close()


class Server:
    """What one peer may have of our files. It proved which device it is."""

    def __init__(self, store: LocalStore, peer: bytes) -> None:
        self._store = store
        self._peer = peer
        self._graphs: dict[int, tuple[bytes, Graph]] = {}  # channel -> its heads when it was read
        self._true: dict[tuple[bytes, int], bool] = {}  # attachments whose keys were tried

    def open(self, id: bytes) -> Outgoing | None:
        """A file; None if it is not here, or if no message that names it is the peer's to read."""
        store = self._store
        row = rows.get_file(store.database.reader, id)
        if row is None or row.state != HERE or store.files.size(id) is None or not self.may_have(id):
            return None
        return Outgoing(store.files.open(id), row)

    def is_here(self, id: bytes) -> bool:
        """Has a file come that the peer may have?"""
        row = rows.get_file(self._store.database.reader, id)
        return row is not None and row.state == HERE and self.may_have(id)

    def may_have(self, id: bytes) -> bool:
        """May the peer read a message that names this file and has the key to it?

        Anybody can write a message that names a file whose name they heard.
        """
        db = self._store.database.reader
        for use in rows.uses(db, id):
            if not self._is_true(db, use):
                continue
            graph = self._graph(db, use.channel)
            device = graph.state.devices.get(self._peer)
            if device is not None:
                epoch = epoch_of_message(db, graph, use.message)
                if epoch in graph.state.epochs.admissible(device.identity):
                    return True
        return False

    def _is_true(self, db: apsw.Connection, use: Use) -> bool:
        """Does the key in a message open the file?"""
        known = self._true.get((use.message, use.n))
        if known is None:
            attachment = attachment_of(db, use)
            file = attachment.file if attachment is not None else None
            with self._store.files.open(use.file) as sealed:
                known = file is not None and opens(file.key, use.size_bytes, sealed.piece(0))
            if len(self._true) >= TRUE_MAX:
                self._true.clear()
            self._true[use.message, use.n] = known
        return known

    def _graph(self, db: apsw.Connection, channel: int) -> Graph:
        row = log.channel_by_n(db, channel)
        known = self._graphs.get(channel)
        if known is None or known[0] != row.heads:
            known = self._graphs[channel] = (row.heads, read_graph(db, row))
        return known[1]


def opens(key: bytes, size: int, piece: bytes) -> bool:
    """Is this the key of the file that begins with this sealed piece?"""
    try:
        open_piece(key, size, 0, piece)
    except MalformedError:
        return False
    return True


def epoch_of_message(db: apsw.Connection, graph: Graph, message: bytes) -> bytes:
    """The epoch that a message was written under; empty if there never was one."""
    head = log.commit_at(db, message[:14])
    return b"" if head is None else epoch_of(graph, decode_head(head).control_heads)
