"""Which files messages refer to, and what is here of them. The bytes are in storage/sealed_files.py.

`attachment` is a view of the posts that stand. `file` is this device's own: what of each is here. It has a row for every file
that was ever referred to, so that what is missing is found without a look at what is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apsw
import msgspec

from quire.core.ids import FileId
from quire.storage.timeline import DELETED

# file.state
MISSING = 0  # some of it may be here; it comes by itself if it is small enough
ASKED = 1  # somebody here asked for it, whatever its size
HERE = 2
DROPPED = 3  # it was let go, and does not come back by itself
DOOMED = 4  # the same, and its bytes are still to be removed (storage/pending.py looks for it)


class Use(msgspec.Struct, frozen=True, gc=False):
    """An attachment of a message."""

    message: bytes
    n: int  # its place among them, from 0
    channel: int
    file: bytes
    size_bytes: int  # before it was sealed


class FileRow(msgspec.Struct, frozen=True, gc=False):
    """What is known here of a file."""

    id: bytes
    state: int
    size_bytes: int  # before it was sealed
    plain: bytes  # SHA-256 of what was sealed, if we sealed it; else empty
    outline: bytes  # empty if it is not known


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """A file that is to come."""

    file: FileId
    size_bytes: int


def put_uses(db: apsw.Connection, uses: Iterable[Use]) -> None:
    """Note attachments of messages that have their place."""
    rows = [(use.message, use.n, use.channel, use.file, use.size_bytes) for use in uses]
    db.executemany(
        "INSERT OR IGNORE INTO attachment(message, n, channel, file, bytes) VALUES(?,?,?,?,?)", rows
    )
    db.executemany(
        f"INSERT OR IGNORE INTO file(id, state, bytes, plain, outline) VALUES(?, {MISSING}, ?, x'', x'')",
        [row[3:] for row in rows],
    )


def drop_uses(db: apsw.Connection, message: bytes) -> list[FileId]:
    """Forget a message's attachments; the files."""
    found: Any = db.execute("DELETE FROM attachment WHERE message = ? RETURNING file", (message,)).fetchall()
    return [FileId(file) for (file,) in found]


def uses(db: apsw.Connection, file: bytes) -> list[Use]:
    """The attachments that are this file."""
    found: Any = db.execute(
        "SELECT message, n, channel, file, bytes FROM attachment WHERE file = ?", (file,)
    ).fetchall()
    return [Use(*row) for row in found]


def is_used(db: apsw.Connection, file: bytes) -> bool:
    return db.execute("SELECT 1 FROM attachment WHERE file = ? LIMIT 1", (file,)).fetchone() is not None


def get_file(db: apsw.Connection, id: bytes) -> FileRow | None:
    row: Any = db.execute("SELECT id, state, bytes, plain, outline FROM file WHERE id = ?", (id,)).fetchone()
    return FileRow(*row) if row else None


def put_file(db: apsw.Connection, row: FileRow) -> None:
    """Note what is known of a file; what is here stays here."""
    db.execute(
        "INSERT INTO file(id, state, bytes, plain, outline) VALUES(?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT(id) DO UPDATE SET state = ?2, bytes = ?3, outline = ?5 WHERE state <> 2",
        (row.id, row.state, row.size_bytes, row.plain, row.outline),
    )


def set_state(db: apsw.Connection, id: bytes, state: int) -> None:
    db.execute("UPDATE file SET state = ? WHERE id = ?", (state, id))


def delete_file(db: apsw.Connection, id: bytes) -> None:
    db.execute("DELETE FROM file WHERE id = ?", (id,))


def states(db: apsw.Connection, ids: Iterable[bytes]) -> dict[bytes, int]:
    """The states of those files that have one."""
    found: dict[bytes, int] = {}
    for id in ids:
        row: Any = db.execute("SELECT state FROM file WHERE id = ?", (id,)).fetchone()
        if row:
            found[id] = row[0]
    return found


def same_plain(db: apsw.Connection, channel: int, plain: bytes) -> Use | None:
    """An attachment of a channel that we made of these bytes, if its file is here."""
    row: Any = db.execute(
        "SELECT a.message, a.n, a.channel, a.file, a.bytes FROM file f JOIN attachment a ON a.file = f.id"
        f" WHERE f.plain = ? AND f.plain <> x'' AND f.state = {HERE} AND a.channel = ? LIMIT 1",
        (plain, channel),
    ).fetchone()
    return Use(*row) if row else None


def wanted(db: apsw.Connection, channel: int, bytes_max: int, limit: int) -> list[Wanted]:
    """Files of standing messages of a channel that are to come: those asked for, then those of the newest messages.

    bytes_max    larger ones come only if somebody asked for them
    """
    found: Any = db.execute(
        "SELECT a.file, a.bytes FROM file f CROSS JOIN attachment a ON a.file = f.id JOIN message m ON m.id = a.message"
        f" WHERE f.state < {HERE} AND a.channel = ?1 AND NOT m.flags & {DELETED}"
        f" AND (f.state = {ASKED} OR a.bytes <= ?2)"
        " GROUP BY a.file, a.bytes ORDER BY f.state DESC, max(m.time) DESC, a.file LIMIT ?3",
        (channel, bytes_max, limit),
    ).fetchall()
    return [Wanted(*row) for row in found]


def missing(db: apsw.Connection, channel: int) -> list[Wanted]:
    """A channel's files that are not here, those of the newest messages first."""
    found: Any = db.execute(
        "SELECT a.file, a.bytes FROM attachment a JOIN message m ON m.id = a.message JOIN file f ON f.id = a.file"
        f" WHERE a.channel = ? AND f.state <> {HERE} AND NOT m.flags & {DELETED}"
        " GROUP BY a.file, a.bytes ORDER BY max(m.time) DESC, a.file",
        (channel,),
    ).fetchall()
    return [Wanted(*row) for row in found]


def newest_uses(
    db: apsw.Connection, channel: int, bytes_max: int, *, flags: int = 0, since: int = 0
) -> list[tuple[FileId, bytes]]:
    """Files of a channel that are here and not larger, each with the newest standing message that names it, newest first.

    flags    of the messages, all of them
    since    hybrid time of the oldest message
    """
    found: Any = db.execute(
        "SELECT a.file, a.message, max(m.time) FROM attachment a JOIN message m ON m.id = a.message JOIN file f ON f.id = a.file"
        f" WHERE a.channel = ?1 AND f.state = {HERE} AND a.bytes <= ?2 AND a.bytes = f.bytes AND m.flags & ?3 = ?3"
        f" AND NOT m.flags & {DELETED} AND m.time >= ?4 GROUP BY a.file ORDER BY max(m.time) DESC, a.file",
        (channel, bytes_max, flags, since),
    ).fetchall()
    return [(FileId(file), message) for file, message, _ in found]


def in_state(db: apsw.Connection, state: int) -> list[FileId]:
    found: Any = db.execute("SELECT id FROM file WHERE state = ?", (state,)).fetchall()
    return [FileId(id) for (id,) in found]


def files_here(db: apsw.Connection) -> Iterable[FileRow]:
    """All files that are said to be here, by id."""
    found: Any = db.execute(
        f"SELECT id, state, bytes, plain, outline FROM file WHERE state = {HERE} ORDER BY id"
    )
    return (FileRow(*row) for row in found)


def totals(db: apsw.Connection) -> tuple[int, int]:
    """How many files are here, and their bytes before they were sealed."""
    row: Any = db.execute(
        f"SELECT count(*), coalesce(sum(bytes), 0) FROM file WHERE state = {HERE}"
    ).fetchone()
    return row[0], row[1]
