"""Rows about what is let go: policies as control commits set them (`policy`, a view), this device's own
(`policy_here`), and the messages that such a policy may be about, oldest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apsw
import msgspec

from quire.core.clock import at
from quire.core.operation import KINDS, ReadMarker, stored_operation
from quire.storage.timeline import DELETED

Acts = list[tuple[int, int]]


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """What deciding about one message needs."""

    id: bytes
    time: int
    flags: int
    thread_time: int  # of the newest standing reply in its thread; -1: it is in none
    bookmarked: int


_CANDIDATE = (
    "SELECT m.id, m.time, m.flags, coalesce((SELECT t.last_time FROM thread t WHERE t.root = coalesce(m.root, m.id)), -1),"
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


def policies(db: apsw.Connection, channel: int) -> dict[str, Acts]:
    """Name -> (hybrid time, value) of each act that set it, in order."""
    found: dict[str, Acts] = {}
    rows: Any = db.execute(
        "SELECT name, time, value FROM policy WHERE channel = ? ORDER BY name, place", (channel,)
    )
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


def bounded_channels(db: apsw.Connection) -> list[int]:
    """Channels that any policy of letting go was ever set for."""
    rows: Any = db.execute(
        "SELECT channel FROM policy UNION SELECT channel FROM policy_here ORDER BY 1"
    ).fetchall()
    return [n for (n,) in rows]


def candidates(
    db: apsw.Connection, channel: int, end: int, after: tuple[int, bytes] = (-1, b""), limit: int = -1
) -> list[Candidate]:
    """The messages of a channel after a place and before a time, the oldest first."""
    rows: Any = db.execute(
        f"{_CANDIDATE} WHERE m.channel = ? AND (m.time, m.id) > (?, ?) AND m.time < ? ORDER BY m.time, m.id LIMIT ?",
        (channel, *after, end, limit),
    )
    return [Candidate(*row) for row in rows]


def candidates_of(db: apsw.Connection, ids: Iterable[bytes]) -> Iterator[Candidate]:
    """Those of these that are messages."""
    for id in ids:
        row: Any = db.execute(f"{_CANDIDATE} WHERE m.id = ?", (id,)).fetchone()
        if row is not None:
            yield Candidate(*row)


def times_newest_first(db: apsw.Connection, channel: int) -> Iterator[int]:
    """The times of the messages that stand."""
    rows: Any = db.execute(
        "SELECT time FROM message WHERE channel = ? AND flags & ? = 0 ORDER BY time DESC, id DESC",
        (channel, DELETED),
    )
    return (time for (time,) in rows)


def sizes_newest_first(db: apsw.Connection, channel: int) -> Iterator[tuple[int, int]]:
    """(time, bytes) of the same."""
    rows: Any = db.execute(
        "SELECT time, length(op) FROM message WHERE channel = ? AND flags & ? = 0 ORDER BY time DESC, id DESC",
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


def on_message(db: apsw.Connection, id: bytes) -> list[tuple[int, int]]:
    """(kind, bytes) of each operation on a message."""
    rows: Any = db.execute("SELECT kind, length(op) FROM operation WHERE target = ?", (id,)).fetchall()
    return list(rows)


def post_bytes(db: apsw.Connection, id: bytes) -> bytes:
    """salt || operation of a post."""
    row: Any = db.execute("SELECT op FROM message WHERE id = ?", (id,)).fetchone()
    return bytes(row[0])
