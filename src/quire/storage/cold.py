"""Archived operations: reading through references, wherever one stands for an operation's bytes.

A column of bytes may hold a reference instead (core/segment.py). Whoever wants the operation itself selects `whole("op")`, which
opens the segment; `whole_or_reference` leaves the reference where the segment is out of reach or damaged. Both cost
a comparison where nothing is archived. The functions are registered on every connection (storage/database.py).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256
from threading import Lock
from typing import Any
from weakref import ref

import apsw

from quire.core.values import Value, fields
from quire.errors import CorruptError, MalformedError, StorageError, UnreachableError

FOLDER = "archive"  # in the vault's
SUFFIX = ".quire-segment"
BLOCK = 64 << 10  # read at once: some hundred messages, which are read after one another
BLOCKS_MAX = 64  # kept in memory

# segment.state
MAKING, WHOLE, DOOMED = 0, 1, 2  # being written; holds what references name; holds nothing any more

REFERENCE_SIZE, MARKED_AT = 65, 17  # of core/segment.py, which reading what is not archived need not import


class SegmentRow(Value):
    """One row of `segment`."""

    n: int
    channel: int
    id: bytes
    key: bytes
    place: str  # a folder; relative to the vault's
    state: int
    size: int  # bytes of the file
    digest: bytes  # its SHA-256
    operations: int  # that were put in
    first: int  # the least and the greatest time of its messages
    last: int
    made_ms: int

    @property
    def name(self) -> str:
        return self.id.hex() + SUFFIX


_COLUMNS = "n, channel, id, key, place, state, size, digest, operations, first, last, made_ms"


def is_reference(stored: bytes) -> bool:
    """As core/segment.py has it."""
    return len(stored) == REFERENCE_SIZE and stored[MARKED_AT - 1] == 0xC1


def _is(column: str) -> str:
    return f"length({column}) = {REFERENCE_SIZE} AND substr({column}, {MARKED_AT}, 1) = x'c1'"


def whole(column: str) -> str:
    """SQL: what a column stands for. Raises, in reading: UnreachableError, CorruptError(rule="segment_damaged")."""
    return f"CASE WHEN {_is(column)} THEN archived({column}) ELSE {column} END"


def whole_or_reference(column: str) -> str:
    """SQL: the same, or the reference itself where nothing can be read."""
    return f"CASE WHEN {_is(column)} THEN archived_or({column}) ELSE {column} END"


def whole_length(column: str) -> str:
    """SQL: how long what a column stands for is."""
    return f"CASE WHEN {_is(column)} THEN archived_length({column}) ELSE length({column}) END"


def away(column: str) -> str:
    """SQL: 1 where what a column stands for is archived and cannot be read now, else 0."""
    return f"CASE WHEN {_is(column)} THEN archived_away({column}) ELSE 0 END"


def any_segment(db: apsw.Connection) -> bool:
    """Is anything archived in this vault?"""
    return db.execute("SELECT 1 FROM segment LIMIT 1").fetchone() is not None


def opened(db: apsw.Connection, stored: bytes) -> bytes:
    """What the bytes of a row stand for. Raises: UnreachableError, CorruptError(rule="segment_damaged")."""
    if not is_reference(stored):
        return stored
    row: Any = db.execute("SELECT archived(?)", (stored,)).fetchone()
    return bytes(row[0])


def opened_or(db: apsw.Connection, stored: bytes) -> bytes:
    """The same, or the reference itself where nothing can be read."""
    if not is_reference(stored):
        return stored
    row: Any = db.execute("SELECT archived_or(?)", (stored,)).fetchone()
    return bytes(row[0])


def opened_all(db: apsw.Connection, stored: list[bytes]) -> list[bytes]:
    """The same of many, of which most are not archived."""
    if REFERENCE_SIZE not in map(len, stored):
        return stored
    return [opened(db, one) for one in stored]


def commitment_of(stored: bytes) -> bytes:
    """The commitment of an operation by the bytes of its row, archived or not."""
    from quire.core.commit import commitment
    from quire.core.segment import decode_reference

    return decode_reference(stored).commitment if is_reference(stored) else commitment(stored)


def segments(db: apsw.Connection, channel: int | None = None) -> list[SegmentRow]:
    """All segments, or those of a channel, in order of time."""
    where, values = ("", ()) if channel is None else (" WHERE channel = ?", (channel,))
    rows: Any = db.execute(
        f"SELECT {_COLUMNS} FROM segment{where} ORDER BY channel, first, n", values
    ).fetchall()
    return [SegmentRow(*row) for row in rows]


def segment(db: apsw.Connection, n: int) -> SegmentRow | None:
    """A segment by its number."""
    row: Any = db.execute(f"SELECT {_COLUMNS} FROM segment WHERE n = ?", (n,)).fetchone()
    return SegmentRow(*row) if row else None


def segment_of(db: apsw.Connection, stored: bytes) -> SegmentRow | None:
    """The segment that a reference names."""
    from quire.core.segment import decode_reference

    return segment(db, decode_reference(stored).segment)


def reference_to(n: int) -> bytes:
    """How the part of a reference begins that says which segment: its bytes from `MARKED_AT` on."""
    return b"\xc1" + n.to_bytes(4, "big")


def is_live(db: apsw.Connection, row: SegmentRow) -> bool:
    """Does any reference still name a segment?"""
    wanted = reference_to(row.n)
    of_it = f"length(op) = {REFERENCE_SIZE} AND substr(op, {MARKED_AT}, {len(wanted)}) = ?"
    message = db.execute(
        f"SELECT 1 FROM message WHERE channel = ? AND time BETWEEN ? AND ? AND {of_it} LIMIT 1",
        (row.channel, row.first, row.last, wanted),
    ).fetchone()
    return message is not None or any(
        db.execute(f"SELECT 1 FROM {table} WHERE {of_it} LIMIT 1", (wanted,)).fetchone() is not None
        for table in ("operation", "waiting", "voided")
    )


def put_segment(db: apsw.Connection, row: SegmentRow) -> int:
    """Note a new segment; its number. `row.n` is not looked at."""
    _, *values = fields(row).values()
    marks = ",".join("?" * len(values))
    db.execute(
        f"INSERT INTO segment({_COLUMNS.removeprefix('n, ')}) VALUES({marks})",
        values,
    )
    return int(db.last_insert_rowid())


def drop_segment(db: apsw.Connection, n: int) -> None:
    db.execute("DELETE FROM segment WHERE n = ?", (n,))


class Blocks:
    """What was read of segments lately: pieces of files, as they are on the disk. Thread-safe."""

    def __init__(self, vault: str) -> None:
        self.vault = vault
        self._lock = Lock()
        self._blocks: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()

    def register(self, connection: apsw.Connection) -> None:
        """Let a connection read through references."""

        of = ref(connection)  # what a connection holds must not hold it

        def archived(stored: Any) -> bytes:
            db = of()
            assert db is not None
            return self.open(db, stored)

        def archived_or(stored: Any) -> bytes:
            try:
                return archived(stored)
            except StorageError:
                return bytes(stored)

        def archived_length(stored: Any) -> int:
            return int.from_bytes(stored[29:33], "big")

        def archived_away(stored: Any) -> int:
            return int(stored is not None and is_reference(stored) and archived_or(stored) == stored)

        connection.create_scalar_function("archived", archived, 1)  # type: ignore[arg-type]
        connection.create_scalar_function("archived_away", archived_away, 1)  # type: ignore[arg-type]
        connection.create_scalar_function("archived_or", archived_or, 1)  # type: ignore[arg-type]
        connection.create_scalar_function("archived_length", archived_length, 1)  # type: ignore[arg-type]

    def folder(self, row: SegmentRow) -> str:
        """Where a segment's file should be."""
        return os.path.join(self.vault, row.place)

    def path(self, row: SegmentRow) -> str:
        return os.path.join(self.vault, row.place, row.name)

    def open(self, db: apsw.Connection, stored: bytes) -> bytes:
        """salt || operation, by its reference. Raises: UnreachableError, CorruptError."""
        from quire.core.segment import decode_reference, open_record

        try:
            reference = decode_reference(stored)
            row = segment(db, reference.segment)
            if row is None:
                raise CorruptError(
                    f"segment {reference.segment} of the archive, which a message is in, is not known here",
                    rule="segment_unknown",
                    hint="restore a backup of the vault",
                    segment=reference.segment,
                )
            sealed = self.read(row, reference.offset, reference.size)
            salted = open_record(row.key, row.id, reference, sealed)
        except MalformedError as error:
            raise self._damaged(row, reference.offset, error) from error
        return salted

    def read(self, row: SegmentRow, offset: int, size: int) -> bytes:
        """Bytes of a segment's file. Raises: UnreachableError."""
        first, last = offset // BLOCK, max(offset, offset + size - 1) // BLOCK
        found = b"".join([self._block(row, number) for number in range(first, last + 1)])
        begin = offset - first * BLOCK
        return found[begin : begin + size]

    def _block(self, row: SegmentRow, number: int) -> bytes:
        at = (row.id, number)
        with self._lock:
            block = self._blocks.get(at)
            if block is not None:
                self._blocks.move_to_end(at)
                return block
        block = self._from_disk(row, number)
        with self._lock:
            self._blocks[at] = block
            while len(self._blocks) > BLOCKS_MAX:
                self._blocks.popitem(last=False)
        return block

    def _from_disk(self, row: SegmentRow, number: int) -> bytes:
        """One block; the file is not kept open, so that its disk can be taken away."""
        try:
            file = os.open(self.path(row), os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(file, BLOCK, number * BLOCK)
            finally:
                os.close(file)
        except (OSError, ValueError) as error:
            raise self.unreachable([row]) from error

    def forget(self) -> None:
        """Read from the disk again."""
        with self._lock:
            self._blocks.clear()

    def is_reachable(self, row: SegmentRow) -> bool:
        """Is a segment's file where it should be, and as long as it should be?"""
        try:
            return os.stat(self.path(row)).st_size == row.size
        except (OSError, ValueError):
            return False

    def unreachable(self, rows: Iterable[SegmentRow]) -> UnreachableError:
        """The error that says which are missing, and where they should be."""
        some = list(rows)
        names = ", ".join(row.name for row in some[:3]) + (", …" if len(some) > 3 else "")
        places = sorted({self.folder(row) for row in some})
        return UnreachableError(
            f"archived messages are not at hand: {names} should be in {', '.join(places[:3])}",
            rule="archive_unreachable",
            hint="connect that disk, or say where the files are now: `quire archive --at FOLDER`",
            segments=[row.n for row in some],
            places=places,
        )

    def _damaged(self, row: SegmentRow | None, offset: int, error: MalformedError) -> CorruptError:
        name = "a segment" if row is None else self.path(row)
        return CorruptError(
            f"the archive is damaged: {name}, block {offset // BLOCK}",
            rule="segment_damaged",
            hint="put a good copy of the file there; `quire archive --check` looks at all of it",
            segment=None if row is None else row.n,
            block=offset // BLOCK,
            cause=error.rule,
        )


def digest_of(path: str) -> tuple[int, bytes]:
    """Size and SHA-256 of a file. Raises: OSError."""
    hashed, size = sha256(), 0
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            hashed.update(part)
            size += len(part)
    return size, hashed.digest()
