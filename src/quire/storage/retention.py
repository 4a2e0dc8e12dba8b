"""Rows about what is let go: policies as control commits set them (`policy`, a view), this device's own
(`policy_here`), and the messages that such a policy may be about, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apsw
import msgspec

from quire.core.clock import at
from quire.core.operation import KINDS, ReadMarker, stored_operation
from quire.storage import log
from quire.storage.cold import whole_length, whole_or_reference
from quire.storage.meta import set_meta
from quire.storage.pending import RETENTION_DUE
from quire.storage.timeline import DELETED, IMPORTED, MENTIONS_US, OURS, PINNED, THREADED

STRAYS_MAX = 500  # let go of at once
Acts = list[tuple[int, int]]


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """What deciding about one message needs."""

    id: bytes
    time: int
    flags: int
    thread: bytes  # the root of the thread it is in, or would be
    thread_time: int  # of the newest standing reply there; -1: it is in none
    bookmarked: int


_CANDIDATE = (
    "SELECT m.id, m.time, m.flags, coalesce(m.root, m.id),"
    " coalesce((SELECT t.last_time FROM thread t WHERE t.root = coalesce(m.root, m.id)), -1),"
    " EXISTS(SELECT 1 FROM bookmark b WHERE b.message = m.id AND b.standing = 1) FROM message m"
)


def put_policies(db: apsw.Connection, channel: int, acts: Mapping[str, Sequence[tuple[int, int]]]) -> None:
    """What standing control commits say of these policies, by name; rows are written only if they differ."""
    wanted = {name: list(found) for name, found in acts.items() if found}
    if wanted == policies(db, channel):
        return
    db.execute("DELETE FROM policy WHERE channel = ?", (channel,))
    db.executemany(
        "INSERT INTO policy(channel, name, place, time, value) VALUES(?,?,?,?,?)",
        (
            (channel, name, place, time, value)
            for name, found in wanted.items()
            for place, (time, value) in enumerate(found)
        ),
    )
    look_at(db, 0)


def policies(db: apsw.Connection, channel: int) -> dict[str, Acts]:
    """Name -> (hybrid time, value) of each act that set it, in order."""
    found: dict[str, Acts] = {}
    rows: Any = db.execute(
        "SELECT name, time, value FROM policy WHERE channel = ? ORDER BY name, place", (channel,)
    ).fetchall()
    for name, time, value in rows:
        found.setdefault(name, []).append((time, value))
    return found


def here(db: apsw.Connection, channel: int) -> dict[str, int]:
    """This device's own policy of a channel."""
    rows: Any = db.execute("SELECT name, value FROM policy_here WHERE channel = ?", (channel,)).fetchall()
    return dict(rows)


def put_here(db: apsw.Connection, channel: int, values: Mapping[str, int]) -> None:
    """Replace it; nothing is none."""
    db.execute("DELETE FROM policy_here WHERE channel = ?", (channel,))
    db.executemany(
        "INSERT INTO policy_here(channel, name, value) VALUES(?,?,?)",
        ((channel, name, value) for name, value in values.items()),
    )
    look_at(db, 0)


def look_at(db: apsw.Connection, moment_ms: int) -> None:
    """When to look next for what is to go; 0: as soon as anybody can."""
    set_meta(db, RETENTION_DUE, moment_ms)


def is_bounded(db: apsw.Connection, channel: int) -> bool:
    """Was any such policy ever set for a channel?"""
    row: Any = db.execute(
        "SELECT EXISTS(SELECT 1 FROM policy WHERE channel = ?1) OR EXISTS(SELECT 1 FROM policy_here WHERE channel = ?1)",
        (channel,),
    ).fetchone()
    return bool(row[0])


def before_unless(before: int, *, pins: bool = False, bookmarks: bool = False, threads: bool = False) -> str:
    """SQL about a row m of `message`: is it from before a hybrid time, and surely not spared? NULL or 0: look at it.

    pins, bookmarks, threads    what is spared
    """
    parts = [f"m.time < {before}"]
    if pins:
        parts.append(f"m.flags & {PINNED} = 0")
    if bookmarks:
        parts.append("m.id NOT IN (SELECT message FROM bookmark WHERE standing = 1)")
    if threads:
        ended = "(SELECT t.last_time FROM thread t WHERE t.root = coalesce(m.root, m.id))"
        parts.append(f"(m.root IS NULL AND m.flags & {THREADED} = 0 OR {ended} < {before})")
    return f"({' AND '.join(parts)})"


def in_span(first: int, end: int, own: bool | None) -> str:
    """SQL about a row m of `message`: is it of a span of time, and ours, or not ours, if that matters?"""
    whose = "" if own is None else f" AND m.flags & {OURS} {'<>' if own else '='} 0"
    return f"(m.time >= {first} AND m.time < {end}{whose})"


def counted(
    db: apsw.Connection, channel: int, end: int, which: str, read: tuple[int, bytes]
) -> tuple[int, int, int, int]:
    """Of the messages of a channel before a time of which an expression is true: how many stand, have a thread, are
    unread after a place, and of these mention us."""
    unread = f"((m.time, m.id) > (?3, ?4) AND m.flags & {DELETED | OURS | IMPORTED} = 0)"
    row: Any = db.execute(
        f"SELECT count(*) FILTER (WHERE m.flags & {DELETED} = 0), count(*) FILTER (WHERE m.flags & {THREADED} <> 0),"
        f" count(*) FILTER (WHERE {unread}), count(*) FILTER (WHERE {unread} AND m.flags & {MENTIONS_US} <> 0)"
        f" FROM message m WHERE m.channel = ?1 AND m.time < ?2 AND {which}",
        (channel, end, *read),
    ).fetchone()
    messages, threads, unread_count, mentions = row
    return messages, threads, unread_count, mentions


def weight(db: apsw.Connection, channel: int, end: int, which: str) -> tuple[int, int]:
    """Of such messages: how many, and the bytes of their operations and of those on them."""
    own: Any = db.execute(
        f"SELECT count(*), coalesce(sum({whole_length('m.op')}), 0) FROM message m"
        f" WHERE m.channel = ? AND m.time < ? AND {which}",
        (channel, end),
    ).fetchone()
    others: Any = db.execute(
        "SELECT coalesce(sum(length(o.op)), 0) FROM operation o CROSS JOIN message m ON m.id = o.target"
        f" WHERE o.target IS NOT NULL AND m.channel = ? AND m.time < ? AND {which}",
        (channel, end),
    ).fetchone()
    return own[0], own[1] + others[0]


def candidates(
    db: apsw.Connection,
    channel: int,
    end: int,
    after: tuple[int, bytes] = (-1, b""),
    limit: int = -1,
    but: str = "0",
) -> list[Candidate]:
    """The messages of a channel after a place and before a time, the oldest first.

    but    an expression: without those of which it is true
    """
    rows: Any = db.execute(
        f"{_CANDIDATE} WHERE m.channel = ? AND (m.time, m.id) > (?, ?) AND m.time < ? AND NOT coalesce({but}, 0)"
        " ORDER BY m.time, m.id LIMIT ?",
        (channel, *after, end, limit),
    ).fetchall()
    return [Candidate(*row) for row in rows]


def candidates_of(db: apsw.Connection, ids: Iterable[bytes]) -> list[Candidate]:
    """Those of these that are messages, the oldest first."""
    wanted = tuple(ids)
    if not wanted:
        return []
    rows: Any = db.execute(f"{_CANDIDATE} WHERE m.id IN carray(?)", (apsw.carray(wanted),)).fetchall()
    return sorted((Candidate(*row) for row in rows), key=lambda one: (one.time, one.id))


def reply_times(db: apsw.Connection, root: bytes) -> Iterator[int]:
    """The times of the standing replies of a thread, the newest first."""
    rows: Any = db.execute(
        "SELECT time FROM message WHERE root = ? AND flags & ? = 0 ORDER BY time DESC", (root, DELETED)
    )
    return (time for (time,) in rows)


def time_of_newest(db: apsw.Connection, channel: int, messages: int, number: int) -> int:
    """The time of the message that so many are not older than, itself among them; 0 if there is none.

    messages    how many stand; counted from the end that is nearer, as every row passed over is read
    """
    order, offset = ("DESC", number - 1) if 2 * number < messages else ("", messages - number)
    row: Any = db.execute(
        f"SELECT time FROM message WHERE channel = ? AND flags & ? = 0 ORDER BY time {order}, id {order} LIMIT 1 OFFSET ?",
        (channel, DELETED, offset),
    ).fetchone()
    return int(row[0]) if row else 0


def sizes_newest_first(db: apsw.Connection, channel: int) -> Iterator[tuple[int, int]]:
    """(time, bytes) of the messages that stand."""
    rows: Any = db.execute(
        f"SELECT time, {whole_length('op')} FROM message WHERE channel = ? AND flags & ? = 0 ORDER BY time DESC, id DESC",
        (channel, DELETED),
    )
    return iter(rows)


def read_before(db: apsw.Connection, channel: bytes, moment_ms: int) -> int:
    """Up to which hybrid time a channel had been read at a moment, by this person's markers; -1 if nothing had."""
    own: Any = db.execute(
        "SELECT op FROM operation WHERE channel = (SELECT n FROM channel WHERE kind = 'self') AND kind = ? AND void = 0"
        " AND time < ?",
        (KINDS[ReadMarker], at(moment_ms + 1)),
    )
    furthest = -1
    for (op,) in own:
        marker = stored_operation(op)
        assert isinstance(marker, ReadMarker)
        if marker.channel == channel:
            furthest = max(furthest, marker.time)
    return furthest


def bookmarked(db: apsw.Connection, channel: bytes) -> list[bytes]:
    """The messages of a channel that we bookmarked."""
    rows: Any = db.execute(
        "SELECT message FROM bookmark WHERE channel = ? AND standing = 1", (channel,)
    ).fetchall()
    return [id for (id,) in rows]


def missing(db: apsw.Connection, channel: int) -> list[bytes]:
    """Operations of a channel whose bytes are not here, nobody said why."""
    rows: Any = db.execute(
        "SELECT id FROM destroyed INDEXED BY destroyed_missing WHERE why = 0 AND channel = ? ORDER BY id",
        (channel,),
    ).fetchall()
    return [id for (id,) in rows]


def strays(db: apsw.Connection, channel: int, before: int) -> list[tuple[bytes, bytes]]:
    """(id, salt || operation) of what is in no view and was signed before a hybrid time: it waits, or does not count."""
    waiting: Any = db.execute(
        "SELECT id, op FROM waiting WHERE channel = ? AND time < ? AND due IS NULL AND op <> x'' LIMIT ?",
        (channel, before, STRAYS_MAX),
    ).fetchall()
    voided: Any = db.execute("SELECT id, op FROM voided WHERE channel = ?", (channel,)).fetchall()
    old = [(id, op) for id, op in voided if log.time_of(db, id) < before]
    return [*waiting, *old[:STRAYS_MAX]]


def drop_strays(db: apsw.Connection, ids: Sequence[bytes]) -> None:
    for table in ("waiting", "voided"):
        db.execute(f"DELETE FROM {table} WHERE id IN carray(?)", (apsw.carray(tuple(ids)),))


def old_files(db: apsw.Connection, channel: int, before: int) -> list[tuple[bytes, bytes]]:
    """(file, message) of each use of a file that is here or coming, if a message before a hybrid time uses it."""
    rows: Any = db.execute(
        "SELECT a.file, a.message FROM attachment a LEFT JOIN file f ON f.id = a.file WHERE coalesce(f.state, 0) < 3"
        " AND a.file IN (SELECT b.file FROM attachment b JOIN message m ON m.id = b.message"
        " WHERE b.channel = ? AND m.time < ?)",
        (channel, before),
    ).fetchall()
    return list(rows)


def ids_on(db: apsw.Connection, messages: Sequence[bytes]) -> list[bytes]:
    """The operations on these messages."""
    rows: Any = (
        db.execute(
            "SELECT id FROM operation WHERE target IN carray(?)", (apsw.carray(tuple(messages)),)
        ).fetchall()
        if messages
        else []
    )
    return [id for (id,) in rows]


def on_message(db: apsw.Connection, id: bytes) -> list[tuple[int, int]]:
    """(kind, bytes) of each operation on a message."""
    rows: Any = db.execute("SELECT kind, length(op) FROM operation WHERE target = ?", (id,)).fetchall()
    return list(rows)


def post_bytes(db: apsw.Connection, id: bytes) -> bytes:
    """salt || operation of a post; a reference, where that is archived out of reach."""
    row: Any = db.execute(f"SELECT {whole_or_reference('op')} FROM message WHERE id = ?", (id,)).fetchone()
    return bytes(row[0])
