"""Channels, logs and commits: reading and writing the log's own tables."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from quire.core.commit import commit_id, decode_head
from quire.core.ids import ChannelId, CommitId, DeviceId, Incarnation, log_prefix
from quire.core.limits import TIME_MS_MAX
from quire.core.operation import SALT_SIZE, Operation, stored_operation
from quire.core.timeline import MAY_ALL
from quire.errors import MalformedError
from quire.storage.database import inconsistent

if TYPE_CHECKING:
    from quire.core.control import ControlOperation


class ChannelRow(msgspec.Struct, frozen=True, gc=False):
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


class LogRow(msgspec.Struct, frozen=True, gc=False):
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

PARKED_DUE = "parked_due_ms"  # meta: the earliest time that a parked commit waits for

_CHANNEL = (
    "SELECT n, id, genesis, kind, creator, source, key, name, topic, clock, messages, threads, last_time,"
    " heads, role, rights, rotate_ms FROM channel"
)
_LOG = "SELECT n, channel, device, incarnation, prefix, signer, own, branch FROM log"


def get_meta(db: apsw.Connection, key: str) -> Any:
    """A value of this vault, or None."""
    row: Any = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def set_meta(db: apsw.Connection, key: str, value: bytes | int | str) -> None:
    db.execute("INSERT OR REPLACE INTO meta(key, value) VALUES(?, ?)", (key, value))


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
    return (row[0], commit_id(row[1])) if row else (0, b"")


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


def operations_between(
    db: apsw.Connection, prefix: bytes, first: int, last: int
) -> dict[int, tuple[list[bytes], dict[int, int]]]:
    """seq -> of each content operation in it, in order, salt || operation, or the commitment of what was destroyed;
    and of the latter place -> why."""
    bounds = (prefix + first.to_bytes(4, "big") + b"\0\0", prefix + last.to_bytes(4, "big") + b"\xff\xff")
    rows: list[tuple[bytes, bytes]] = []
    for table in ("message", "operation", "waiting", "voided"):
        found: Any = db.execute(f"SELECT id, op FROM {table} WHERE id BETWEEN ? AND ?", bounds).fetchall()
        rows += found
    holes: Any = db.execute("SELECT id, commitment, why FROM destroyed WHERE id BETWEEN ? AND ?", bounds)
    operations: dict[int, tuple[list[bytes], dict[int, int]]] = {}
    gone: dict[bytes, int] = {}
    entries = dict(rows)
    for id, commitment, why in holes:
        entries[id], gone[id] = commitment, why
    for id in sorted(entries):
        some, away = operations.setdefault(int.from_bytes(id[10:14], "big"), ([], {}))
        if id in gone:
            away[len(some)] = gone[id]
        some.append(entries[id])
    return operations


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


def commit_operations(db: apsw.Connection, prefix: bytes, seq: int) -> list[tuple[bytes, bytes]]:
    """(id, salt || operation) of what is here of one commit, in order."""
    bounds = _bounds(prefix, seq)
    rows: list[tuple[bytes, bytes]] = []
    for table in ("message", "operation", "control", "waiting", "voided"):
        found: Any = db.execute(f"SELECT id, op FROM {table} WHERE id BETWEEN ? AND ?", bounds)
        rows.extend(found)
    holes: Any = db.execute("SELECT id FROM destroyed WHERE id BETWEEN ? AND ?", bounds).fetchall()
    if holes:
        gone = {id for (id,) in holes}
        rows = [row for row in rows if row[0] not in gone]
    rows.sort()
    return rows


def commit_ids(db: apsw.Connection, prefix: bytes, seq: int) -> list[bytes]:
    """The ids of all operations of one commit, in order, destroyed ones too."""
    holes: Any = db.execute("SELECT id FROM destroyed WHERE id BETWEEN ? AND ?", _bounds(prefix, seq))
    return sorted({id for id, _ in commit_operations(db, prefix, seq)} | {id for (id,) in holes})


def _bounds(prefix: bytes, seq: int) -> tuple[bytes, bytes]:
    """The least and the greatest id that an operation of a commit can have."""
    low = prefix + seq.to_bytes(4, "big")
    return low + b"\0\0", low + b"\xff\xff"


def commit_at(db: apsw.Connection, place: bytes) -> bytes | None:
    """The head of the commit at a place (log prefix || seq), if it is here."""
    row: Any = db.execute(
        "SELECT head FROM commits WHERE log = (SELECT n FROM log WHERE prefix = ?) AND seq = ?",
        (place[:10], int.from_bytes(place[10:], "big")),
    ).fetchone()
    return bytes(row[0]) if row else None


def put_epoch(db: apsw.Connection, channel: bytes, epoch: bytes, key: bytes) -> None:
    """Remember an epoch's key, unless it was destroyed here."""
    db.execute(
        "INSERT OR IGNORE INTO epoch(channel, id, key) SELECT ?1, ?2, ?3 WHERE NOT EXISTS("
        "SELECT 1 FROM forgotten WHERE channel = ?1 AND epoch = ?2)",
        (channel, epoch, key),
    )


def forgotten_epochs(db: apsw.Connection, channel: bytes) -> set[bytes]:
    """Epochs of a channel whose keys were destroyed here."""
    rows: Any = db.execute("SELECT epoch FROM forgotten WHERE channel = ?", (channel,)).fetchall()
    return {epoch for (epoch,) in rows}


def forget_epochs(db: apsw.Connection, channel: bytes, epochs: Iterable[bytes]) -> None:
    """Destroy these keys, and take them no more."""
    for epoch in epochs:
        db.execute("INSERT OR IGNORE INTO forgotten(channel, epoch) VALUES(?,?)", (channel, epoch))
        drop_epoch(db, channel, epoch)


def drop_epoch(db: apsw.Connection, channel: bytes, epoch: bytes) -> None:
    """Forget what is kept as an epoch's key."""
    db.execute("DELETE FROM epoch WHERE channel = ? AND id = ?", (channel, epoch))


def epoch_keys(db: apsw.Connection, channel: bytes) -> dict[bytes, bytes]:
    """Epoch -> key, of the keys of a channel that are known."""
    found: Any = db.execute("SELECT id, key FROM epoch WHERE channel = ?", (channel,)).fetchall()
    return dict(found)


def park(
    db: apsw.Connection, id: bytes, channel: bytes, device: bytes, reason: str, now_ms: int, encoded: bytes
) -> None:
    """Keep a whole commit that cannot be taken yet."""
    db.execute(
        "INSERT OR IGNORE INTO parked(id, channel, device, reason, since_ms, encoded) VALUES(?,?,?,?,?,?)",
        (id, channel, device, reason, now_ms, encoded),
    )


def note_parked_due(db: apsw.Connection, due_ms: int) -> None:
    """A parked commit waits for this time: when the earliest has come, `is_parked_due`."""
    earliest = get_meta(db, PARKED_DUE)
    if earliest is None or due_ms < earliest:
        set_meta(db, PARKED_DUE, due_ms)


def is_parked_due(db: apsw.Connection, now_ms: int) -> bool:
    """Has the time come of anything that is parked?"""
    earliest = get_meta(db, PARKED_DUE)
    return earliest is not None and earliest <= now_ms


def take_parked_due(db: apsw.Connection) -> list[bytes]:
    """Channels in which commits wait for their time; none is noted any more."""
    db.execute("DELETE FROM meta WHERE key = ?", (PARKED_DUE,))
    rows: Any = db.execute("SELECT DISTINCT channel FROM parked WHERE reason = 'ahead'").fetchall()
    return [channel for (channel,) in rows]


def set_parked_reason(db: apsw.Connection, id: bytes, reason: str) -> None:
    """What a parked commit waits for now."""
    db.execute("UPDATE parked SET reason = ? WHERE id = ?", (reason, id))


def parked_counts(db: apsw.Connection, device: bytes, channel: bytes) -> tuple[int, int, int]:
    """How many commits of a device, and in a channel, are parked; and the bytes of the latter."""
    row: Any = db.execute(
        "SELECT (SELECT count(*) FROM parked WHERE device = ?), count(*), coalesce(sum(length(encoded)), 0)"
        " FROM parked WHERE channel = ?",
        (device, channel),
    ).fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def parked_ids(db: apsw.Connection, channel: bytes) -> list[bytes]:
    rows: Any = db.execute("SELECT id FROM parked WHERE channel = ?", (channel,)).fetchall()
    return [row[0] for row in rows]


def parked_reasons(db: apsw.Connection, channel: bytes) -> dict[str, int]:
    """Why commits of a channel are parked -> how many."""
    rows: Any = db.execute(
        "SELECT reason, count(*) FROM parked WHERE channel = ? GROUP BY reason", (channel,)
    ).fetchall()
    return dict(rows)


def parked_commits(db: apsw.Connection, channel: bytes) -> list[bytes]:
    """All parked commits of a channel."""
    rows: Any = db.execute("SELECT encoded FROM parked WHERE channel = ? ORDER BY id", (channel,)).fetchall()
    return [row[0] for row in rows]


def unpark(db: apsw.Connection, id: bytes) -> None:
    """Drop a parked commit."""
    db.execute("DELETE FROM parked WHERE id = ?", (id,))


def all_epoch_keys(db: apsw.Connection) -> list[tuple[bytes, bytes]]:
    """(channel, key) of every epoch whose key is known."""
    rows: Any = db.execute("SELECT channel, key FROM epoch").fetchall()
    return list(rows)


def keep(db: apsw.Connection, owner: bytes, stamp_ms: int, sealed: bytes) -> None:
    """Keep somebody's sealed self-channel for them, unless what is here is newer."""
    db.execute(
        "INSERT INTO kept(owner, stamp, sealed) VALUES(?,?,?) ON CONFLICT DO UPDATE SET stamp = excluded.stamp,"
        " sealed = excluded.sealed WHERE excluded.stamp > stamp",
        (owner, stamp_ms, sealed),
    )


def kept_stamp(db: apsw.Connection, owner: bytes) -> int:
    """When what is kept for somebody was sealed; -1 if nothing is."""
    row: Any = db.execute("SELECT stamp FROM kept WHERE owner = ?", (owner,)).fetchone()
    return row[0] if row else -1


def kept(db: apsw.Connection) -> list[bytes]:
    """What is kept for others."""
    rows: Any = db.execute("SELECT sealed FROM kept ORDER BY owner").fetchall()
    return [row[0] for row in rows]


def put_joining(db: apsw.Connection, channel: bytes, link: str, name: str, since_ms: int) -> None:
    """Remember that we asked to be let into a channel."""
    db.execute(
        "INSERT OR REPLACE INTO joining(channel, link, name, since_ms) VALUES(?,?,?,?)",
        (channel, link, name, since_ms),
    )


def drop_joining(db: apsw.Connection, channel: bytes) -> None:
    db.execute("DELETE FROM joining WHERE channel = ?", (channel,))


def joinings(db: apsw.Connection) -> list[tuple[bytes, str, str, int]]:
    """(channel, link, name, since) of every channel that we ever asked to be let into."""
    rows: Any = db.execute("SELECT channel, link, name, since_ms FROM joining ORDER BY since_ms").fetchall()
    return list(rows)


def has_log_of(db: apsw.Connection, device: bytes) -> bool:
    """Is anything here that a device wrote?"""
    return db.execute("SELECT 1 FROM log WHERE device = ? LIMIT 1", (device,)).fetchone() is not None


def introduced(db: apsw.Connection, channel: int, author: str) -> bool:
    """Has somebody told a channel what they are called?"""
    sql = "SELECT 1 FROM operation WHERE channel = ? AND kind = 10 AND author = (SELECT n FROM author WHERE key = ?)"
    return db.execute(sql, (channel, author)).fetchone() is not None


def operations_of(db: apsw.Connection, channel: int, kind: int) -> list[Operation]:
    """A channel's standing operations of one kind."""
    rows: Any = db.execute(
        "SELECT op FROM operation WHERE channel = ? AND kind = ? AND void = 0", (channel, kind)
    )
    return [stored_operation(op) for (op,) in rows]


def operations_with_ids(db: apsw.Connection, channel: int, kind: int) -> list[tuple[bytes, bytes]]:
    """(id, salt || operation) of a channel's standing operations of one kind."""
    rows: Any = db.execute(
        "SELECT id, op FROM operation WHERE channel = ? AND kind = ? AND void = 0", (channel, kind)
    ).fetchall()
    return list(rows)


def set_control(db: apsw.Connection, id: bytes, op: bytes) -> None:
    """Another salt || operation for a control operation, with the same commitment."""
    db.execute("UPDATE control SET op = ? WHERE id = ?", (op, id))


def take_control(db: apsw.Connection, place: bytes) -> list[tuple[bytes, int, int, bytes]]:
    """Remove and return (id, channel, kind, salt || operation) of the control operations of the commit at a place."""
    rows: Any = db.execute(
        "DELETE FROM control WHERE id BETWEEN ? AND ? RETURNING id, channel, kind, op",
        (place + bytes(2), place + b"\xff\xff"),
    ).fetchall()
    return list(rows)


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


def insert_control(db: apsw.Connection, rows: Iterable[tuple[bytes, int, int, bytes]]) -> None:
    """(id, channel, kind, salt || operation) of control operations."""
    db.executemany("INSERT INTO control(id, channel, kind, op) VALUES(?,?,?,?)", rows)


def founding(db: apsw.Connection, channel: int) -> bytes:
    """The id of the operation that created a channel."""
    row: Any = db.execute("SELECT id FROM control WHERE channel = ? AND kind = 32", (channel,)).fetchone()
    if row is None:
        raise inconsistent("the founding of a channel")
    return bytes(row[0])


def control_rows(db: apsw.Connection, channel: int, kind: int | None = None) -> list[tuple[bytes, bytes]]:
    """(id, salt || operation) of a channel's control operations, or of those of one kind, in order of id."""
    where = "channel = ? AND kind = ?" if kind is not None else "channel = ?"
    values = (channel,) if kind is None else (channel, kind)
    rows: Any = db.execute(f"SELECT id, op FROM control WHERE {where} ORDER BY id", values).fetchall()
    return list(rows)


def set_people(db: apsw.Connection, n: int, heads: bytes, role: int, rights: int, rotate_ms: int) -> None:
    """Where a channel's control log ends, and what we are in it."""
    db.execute(
        "UPDATE channel SET heads = ?, role = ?, rights = ?, rotate_ms = ? WHERE n = ?",
        (heads, role, rights, rotate_ms, n),
    )


def control_places(db: apsw.Connection, channel: int) -> dict[bytes, bytes]:
    """Control commit -> where it is: log prefix || seq."""
    places: Any = db.execute(
        "SELECT DISTINCT substr(id, 1, 14) FROM control WHERE channel = ?", (channel,)
    ).fetchall()
    heads = ((place, commit_at(db, place)) for (place,) in places)
    return {commit_id(head): bytes(place) for place, head in heads if head is not None}


def control_operation(db: apsw.Connection, id: bytes) -> ControlOperation | None:
    """A control operation that was checked when it was stored."""
    from quire.core.control import decode_control

    row: Any = db.execute("SELECT op FROM control WHERE id = ?", (id,)).fetchone()
    try:
        return decode_control(row[0][SALT_SIZE:]) if row else None
    except MalformedError:
        return None


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


def insert_waiting(db: apsw.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """(id, channel, target or None, due or None, time, signer, rights, op) of operations that cannot apply yet."""
    db.executemany(
        "INSERT OR REPLACE INTO waiting(id, channel, target, due, time, signer, rights, op) VALUES(?,?,?,?,?,?,?,?)",
        rows,
    )


def is_placed(db: apsw.Connection, id: bytes) -> bool:
    """Is an operation a message, or does it wait to be one?"""
    sql = "SELECT 1 FROM message WHERE id = ?1 UNION ALL SELECT 1 FROM waiting WHERE id = ?1"
    return db.execute(sql, (id,)).fetchone() is not None


def waiting_exists(db: apsw.Connection) -> bool:
    return db.execute("SELECT 1 FROM waiting LIMIT 1").fetchone() is not None


def take_waiting(
    db: apsw.Connection, channel: int, targets: Sequence[bytes]
) -> list[tuple[bytes, int, str, bytes, int]]:
    """Remove and return (id, time, signer, op, rights) of what waits for these messages."""
    rows: Any = db.execute(
        "DELETE FROM waiting WHERE target IN carray(?) AND channel = ? RETURNING id, time, signer, op, rights",
        (apsw.carray(tuple(targets)), channel),
    ).fetchall()
    return list(rows)


def is_due(db: apsw.Connection, now_ms: int) -> bool:
    """Is anything held whose time has come?"""
    return db.execute("SELECT 1 FROM waiting WHERE due <= ? LIMIT 1", (now_ms,)).fetchone() is not None


def take_due(db: apsw.Connection, now_ms: int) -> list[tuple[int, bytes, int, str, bytes, int]]:
    """Remove and return (channel, id, time, signer, op, rights) of what was held for its time, which has come."""
    rows: Any = db.execute(
        "DELETE FROM waiting WHERE due <= ? RETURNING channel, id, time, signer, op, rights", (now_ms,)
    ).fetchall()
    return list(rows)


def waiting_of_device(db: apsw.Connection, device: bytes, table: str = "waiting") -> int:
    """How many operations of a device's logs wait, or are `voided`."""
    assert table in ("waiting", "voided")
    prefixes: Any = db.execute("SELECT prefix FROM log WHERE device = ?", (device,)).fetchall()
    count = f"SELECT count(*) FROM {table} WHERE id BETWEEN ? AND ?"
    found: Any = [db.execute(count, (p + bytes(6), p + b"\xff" * 6)).fetchone() for (p,) in prefixes]
    return sum(n for (n,) in found)


def waiting_counts(db: apsw.Connection) -> dict[int, int]:
    """Channel number -> operations that wait, and commits that wait whole."""
    rows: Any = db.execute(
        "SELECT n, sum(waiting) FROM (SELECT channel AS n, count(*) AS waiting FROM waiting GROUP BY channel UNION ALL"
        " SELECT c.n, count(*) FROM parked p JOIN channel c ON c.id = p.channel GROUP BY c.n) GROUP BY n"
    )
    return dict(rows)
