"""Channels, logs and commits: reading and writing the log's own tables."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import apsw

from quire.core.ids import ChannelId, CommitId, DeviceId, Incarnation, log_prefix
from quire.core.limits import TIME_MS_MAX
from quire.core.rights import MAY_ALL
from quire.core.values import Value
from quire.storage.database import inconsistent


class ChannelRow(Value):
    """One row of `channel`, in table order."""

    n: int
    id: ChannelId
    genesis: CommitId
    kind: str
    creator: str
    source: str
    key: str
    name: str
    topic: str
    clock: int
    messages: int
    threads: int
    last_time: int
    heads: bytes  # ids of the control heads, 32 bytes each
    role: int  # our own, now
    rights: int  # our own, now (core/timeline.py)
    rotate_ms: int  # from when on a writer changes the key first

    @property
    def control_heads(self) -> tuple[bytes, ...]:
        return tuple(self.heads[at : at + 32] for at in range(0, len(self.heads), 32))


class LogRow(Value):
    """One row of `log`."""

    n: int
    channel: int
    device: DeviceId
    incarnation: Incarnation
    prefix: bytes
    signer: str
    own: int  # OTHER, OPEN …
    branch: bytes = b""  # of a forked log: the id of the first commit that another commit has the place of


OWNER = 5  # core/control.py: Role

# log.own
OTHER = 0  # another device's
OPEN = 1  # this vault writes in it
CLOSED = 2  # this vault wrote in it
ELSEWHERE = 3  # this device's, but some of it came from another copy of the vault


_CHANNEL = (
    "SELECT n, id, genesis, kind, creator, source, key, name, topic, clock, messages, threads, last_time,"
    " heads, role, rights, rotate_ms FROM channel"
)
_LOG = "SELECT n, channel, device, incarnation, prefix, signer, own, branch FROM log"


def channels(db: apsw.Connection) -> list[ChannelRow]:
    """All channels but the self-channel, the newest activity first."""
    rows = db.execute(f"{_CHANNEL} WHERE kind <> 'self' ORDER BY last_time DESC, n")
    return [ChannelRow(*row) for row in rows]


def all_channels(db: apsw.Connection) -> list[ChannelRow]:
    """All channels, the self-channel too."""
    return [ChannelRow(*row) for row in db.execute(f"{_CHANNEL} ORDER BY n")]


def channel_by_id(db: apsw.Connection, id: bytes) -> ChannelRow | None:
    return _channel(db, "id = ?", id)


def channel_by_n(db: apsw.Connection, n: int) -> ChannelRow:
    row = _channel(db, "n = ?", n)
    if row is None:
        raise inconsistent("a channel")
    return row


def channel_by_origin(db: apsw.Connection, source: str, key: str) -> ChannelRow | None:
    """The channel that this vault's imports of `key` go to; others may have imported the same themselves."""
    own = "creator = (SELECT value FROM meta WHERE key = 'own_key')"
    return _channel(db, f"source = ? AND source <> '' AND key = ? AND {own} ORDER BY n LIMIT 1", source, key)


def has_self_channel(db: apsw.Connection) -> bool:
    """False only while a vault is being recovered or linked."""
    return _channel(db, "kind = 'self'") is not None


def self_channel(db: apsw.Connection) -> ChannelRow:
    row = _channel(db, "kind = 'self'")
    if row is None:
        raise inconsistent("the self-channel")
    return row


def _channel(db: apsw.Connection, where: str, *values: bytes | str | int) -> ChannelRow | None:
    row: Any = db.execute(f"{_CHANNEL} WHERE {where}", values).fetchone()
    return ChannelRow(*row) if row else None


def insert_channel(
    db: apsw.Connection,
    *,
    id: ChannelId,
    genesis: CommitId,
    kind: str,
    creator: str,
    source: str,
    key: str,
    name: str,
    time: int,
    first: bytes,
    own: bool,
) -> int:
    """A new channel; its number.

    own            we found it

    time, first    of the operation that creates it
    """
    db.execute(
        "INSERT INTO channel(id, genesis, kind, creator, source, key, name, name_time, name_id, topic, topic_time,"
        " topic_id, clock, messages, threads, last_time, heads, role, rights, rotate_ms)"
        " VALUES(?,?,?,?,?,?,?,?,?,'',-1,x'',?,0,0,0,?,?,?,?)",
        (id, genesis, kind, creator, source, key, name, time, first, time, genesis)
        + ((OWNER, MAY_ALL, TIME_MS_MAX) if own else (0, 0, TIME_MS_MAX)),
    )
    return int(db.last_insert_rowid())


def own_log(db: apsw.Connection, channel: int) -> LogRow | None:
    """The log this device writes in a channel."""
    row: Any = db.execute(f"{_LOG} WHERE channel = ? AND own = 1", (channel,)).fetchone()
    return LogRow(*row) if row else None


def log_by_prefix(db: apsw.Connection, prefix: bytes) -> LogRow | None:
    row: Any = db.execute(f"{_LOG} WHERE prefix = ?", (prefix,)).fetchone()
    return LogRow(*row) if row else None


def prefix_of(db: apsw.Connection, n: int) -> bytes:
    """The prefix of a log's message ids."""
    row: Any = db.execute("SELECT prefix FROM log WHERE n = ?", (n,)).fetchone()
    if row is None:
        raise inconsistent("a log")
    return bytes(row[0])


def branches(db: apsw.Connection, device: bytes, incarnation: bytes) -> list[LogRow]:
    """A log, and what has branched off it."""
    rows: Any = db.execute(
        f"{_LOG} WHERE device = ? AND incarnation = ? ORDER BY branch", (device, incarnation)
    ).fetchall()
    return [LogRow(*row) for row in rows]


def logs(db: apsw.Connection) -> list[LogRow]:
    return [LogRow(*row) for row in db.execute(f"{_LOG} ORDER BY n")]


def logs_of(db: apsw.Connection, channel: int) -> list[LogRow]:
    """All logs of one channel."""
    rows = db.execute(f"{_LOG} WHERE channel = ? ORDER BY n", (channel,))
    return [LogRow(*row) for row in rows]


def insert_log(
    db: apsw.Connection,
    channel: int,
    device: DeviceId,
    incarnation: Incarnation,
    prefix: bytes,
    signer: str,
    own: bool,
    branch: bytes = b"",
) -> LogRow:
    values = (channel, device, incarnation, prefix, signer, int(own), branch)
    db.execute(
        "INSERT INTO log(channel, device, incarnation, prefix, signer, own, branch) VALUES(?,?,?,?,?,?,?)",
        values,
    )
    return LogRow(int(db.last_insert_rowid()), *values)


def close_own_logs(db: apsw.Connection) -> None:
    """From here on this device writes new logs (design section 9)."""
    db.execute("UPDATE log SET own = ? WHERE own = ?", (CLOSED, OPEN))


def close_log(db: apsw.Connection, n: int) -> None:
    """Write no more in a log of this device: another copy of the vault wrote in it."""
    db.execute("UPDATE log SET own = ? WHERE n = ?", (ELSEWHERE, n))


def newest_commit(db: apsw.Connection, log: int) -> tuple[int, bytes]:
    """(seq, id) of a log's last commit; (0, b"") of an empty log."""
    row: Any = db.execute(
        "SELECT seq, head FROM commits WHERE log = ? ORDER BY seq DESC LIMIT 1", (log,)
    ).fetchone()
    if row is None:
        return 0, b""
    from quire.core.commit import commit_id  # as all of commits: reading a page never needs it

    return row[0], commit_id(row[1])


def insert_commit(
    db: apsw.Connection, log: int, seq: int, head: bytes, signature: bytes, rights: int = MAY_ALL
) -> None:
    """Keep a commit.

    rights    what its author may do in it; 0: it does not count
    """
    db.execute(
        "INSERT INTO commits(log, seq, head, signature, rights) VALUES(?,?,?,?,?)",
        (log, seq, head, signature, rights),
    )


def insert_commits(db: apsw.Connection, rows: Iterable[tuple[int, int, bytes, bytes, int]]) -> None:
    """Keep many: (log, seq, head, signature, rights) each."""
    db.executemany("INSERT INTO commits(log, seq, head, signature, rights) VALUES(?,?,?,?,?)", rows)


def heads_at(
    db: apsw.Connection, logs: Sequence[int], seqs: Collection[int]
) -> Iterator[tuple[int, int, bytes]]:
    """(log, seq, head) of those of these logs' commits that have one of these places."""
    if not seqs:
        return
    if len(logs) == 1:
        sql = "SELECT log, seq, head FROM commits WHERE log = ? AND seq IN carray(?)"
        yield from db.execute(sql, (logs[0], apsw.carray(array("q", sorted(seqs)))))
        return
    wanted = set(seqs)
    sql = "SELECT log, seq, head FROM commits WHERE log = ? AND seq BETWEEN ? AND ?"
    for n in logs:  # a branch is short: one look at each, rather than one for each place
        found: Any = db.execute(sql, (n, min(wanted), max(wanted)))
        yield from (row for row in found if row[1] in wanted)


def get_commit(db: apsw.Connection, log: int, seq: int) -> tuple[bytes, bytes] | None:
    """(head, signature), or None."""
    row: Any = db.execute(
        "SELECT head, signature FROM commits WHERE log = ? AND seq = ?", (log, seq)
    ).fetchone()
    return (row[0], row[1]) if row else None


def time_of(db: apsw.Connection, id: bytes) -> int:
    """The hybrid time of the commit that an operation is in."""
    head = commit_at(db, id[:14])
    if head is None:
        raise inconsistent("the commit of an operation")
    from quire.core.commit import decode_head

    return decode_head(head).time


def set_rights(db: apsw.Connection, log: int, seq: int, rights: int) -> None:
    """What a commit's author may do in it has changed."""
    db.execute("UPDATE commits SET rights = ? WHERE log = ? AND seq = ?", (rights, log, seq))


def rights_at(db: apsw.Connection, id: bytes) -> int:
    """What the author of an operation might do in its commit; 0 if that is not here."""
    row: Any = db.execute(
        "SELECT rights FROM commits WHERE log = (SELECT n FROM log WHERE prefix = ?) AND seq = ?",
        (id[:10], int.from_bytes(id[10:14], "big")),
    ).fetchone()
    return int(row[0]) if row else 0


def commits(db: apsw.Connection, log: int, after: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
    """(seq, head, signature) of a log, in order."""
    cursor: Any = db.execute(
        "SELECT seq, head, signature FROM commits WHERE log = ? AND seq > ? ORDER BY seq", (log, after)
    )
    return iter(cursor)


def commits_before(
    db: apsw.Connection, log: int, seq: int, count: int, first: int = 1
) -> list[tuple[int, bytes, bytes]]:
    """(seq, head, signature) of the last commits of a log before a place and from `first` on, the last one first."""
    rows: Any = db.execute(
        "SELECT seq, head, signature FROM commits WHERE log = ? AND seq < ? AND seq >= ? ORDER BY seq DESC LIMIT ?",
        (log, seq, first, count),
    ).fetchall()
    return list(rows)


def commits_with_rights(db: apsw.Connection, log: int) -> Iterator[tuple[int, bytes, bytes, int]]:
    """(seq, head, signature, rights) of a log, in order."""
    cursor: Any = db.execute(
        "SELECT seq, head, signature, rights FROM commits WHERE log = ? ORDER BY seq", (log,)
    )
    return iter(cursor)


def content_commits(db: apsw.Connection, log: LogRow) -> list[tuple[int, bytes, int]]:
    """(seq, head, rights) of a log's commits that are no control commits, in order."""
    rows: Any = db.execute(
        "SELECT seq, head, rights FROM commits WHERE log = ? ORDER BY seq", (log.n,)
    ).fetchall()
    control: Any = db.execute(
        "SELECT DISTINCT substr(id, 11, 4) FROM control WHERE id BETWEEN ? AND ?",
        (log.prefix + bytes(6), log.prefix + b"\xff" * 6),
    ).fetchall()
    seqs = {int.from_bytes(seq, "big") for (seq,) in control}
    return [row for row in rows if row[0] not in seqs]


def content_forks(db: apsw.Connection, channel: int) -> list[tuple[bytes, int]]:
    """(prefix, seq) of each place of a channel's logs where a branch begins."""
    rows: Any = db.execute(
        "SELECT device, incarnation, (SELECT min(seq) FROM commits WHERE log = log.n) FROM log"
        " WHERE channel = ? AND branch <> x''",
        (channel,),
    ).fetchall()
    return [(log_prefix(device, incarnation), seq) for device, incarnation, seq in rows if seq]


def commit_at(db: apsw.Connection, place: bytes) -> bytes | None:
    """The head of the commit at a place (log prefix || seq), if it is here."""
    row: Any = db.execute(
        "SELECT head FROM commits WHERE log = (SELECT n FROM log WHERE prefix = ?) AND seq = ?",
        (place[:10], int.from_bytes(place[10:], "big")),
    ).fetchone()
    return bytes(row[0]) if row else None


def has_log_of(db: apsw.Connection, device: bytes) -> bool:
    """Is anything here that a device wrote?"""
    return db.execute("SELECT 1 FROM log WHERE device = ? LIMIT 1", (device,)).fetchone() is not None


def move_commits(db: apsw.Connection, moves: Iterable[tuple[int, int, int]]) -> None:
    """(log, other log, seq) of commits that change their log, all at once: some may change places."""
    moves = list(moves)
    db.executemany(
        "UPDATE commits SET log = -? WHERE log = ? AND seq = ?", [(to, of, seq) for of, to, seq in moves]
    )
    db.execute("UPDATE commits SET log = -log WHERE log < 0")


def delete_commit(db: apsw.Connection, log: int, seq: int) -> None:
    """Drop a commit; what was in it is the caller's."""
    db.execute("DELETE FROM commits WHERE log = ? AND seq = ?", (log, seq))


def delete_log(db: apsw.Connection, n: int) -> None:
    """Drop a branch that holds nothing any more."""
    db.execute("DELETE FROM log WHERE n = ? AND NOT EXISTS (SELECT 1 FROM commits WHERE log = ?1)", (n,))


def set_people(db: apsw.Connection, n: int, heads: bytes, role: int, rights: int, rotate_ms: int) -> None:
    """Where a channel's control log ends, and what we are in it."""
    db.execute(
        "UPDATE channel SET heads = ?, role = ?, rights = ?, rotate_ms = ? WHERE n = ?",
        (heads, role, rights, rotate_ms, n),
    )


def touch_channel(
    db: apsw.Connection, n: int, *, clock: int = 0, messages: int = 0, threads: int = 0, last: int = 0
) -> None:
    """Move a channel's clock forward and its counters by what has come."""
    db.execute(
        "UPDATE channel SET clock = max(clock, ?), messages = messages + ?,"
        " threads = threads + ?, last_time = max(last_time, ?) WHERE n = ?",
        (clock, messages, threads, last, n),
    )


def set_newest_text(db: apsw.Connection, n: int, column: str, text: str, time: int, id: bytes) -> None:
    """A channel's name or topic, if this is the newest."""
    assert column in ("name", "topic")
    db.execute(
        f"UPDATE channel SET {column} = ?1, {column}_time = ?2, {column}_id = ?3"
        f" WHERE n = ?4 AND ({column}_time, {column}_id) < (?2, ?3)",
        (text, time, id, n),
    )
