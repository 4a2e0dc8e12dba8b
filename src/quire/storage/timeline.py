"""The views of the timeline: messages, threads, reactions, authors, marks. Reading and writing rows.

`core/timeline.py` has the rules; `store/apply.py` decides by them; this module only keeps the results.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.values import Value
from quire.storage.cold import opened, whole
from quire.storage.database import inconsistent

if TYPE_CHECKING:
    from quire.core.operation import Post

# message.flags; the lowest three bits are an index into core.operation.NOTICES
DELETED = 1 << 3
PINNED = 1 << 4
REACTED = 1 << 5  # a row in `reaction`
THREADED = 1 << 6  # a row in `thread`
EDITED = 1 << 7
CONCURRENT = 1 << 8
MENTIONS_US = 1 << 9
OURS = 1 << 10
IMPORTED = 1 << 11
REPLY = 1 << 12  # answers a message outside any thread
HOLLOW = 1 << 13  # its own bytes were erased: those in its row are made up
ERASED = 1 << 14  # and nothing of it shows

DOC_SHIFT = 28  # hybrid time to search index row: units of 4,096 ms; small steps make a small index

Row = tuple[Any, ...]

MESSAGE_COLUMNS = "m.channel, m.time, m.id, m.author, m.flags, m.root, m.edit, m.op"


class MessageRow(Value):
    """The columns of `message` that deciding needs."""

    channel: int
    time: int
    id: bytes
    spill: int
    author: int
    flags: int
    root: bytes | None
    edit: bytes | None
    op: bytes  # salt || operation, or a reference to it (`post_of`)

    @property
    def doc(self) -> int:
        """This message's row in the search index."""
        return (self.time >> DOC_SHIFT) + self.spill


def insert_posts(db: apsw.Connection, rows: Iterable[Row]) -> None:
    """(channel, time, id, spill, author, flags, root, op) each."""
    db.executemany(
        "INSERT INTO message(channel, time, id, spill, author, flags, root, op) VALUES(?,?,?,?,?,?,?,?)", rows
    )


def get_row(db: apsw.Connection, id: bytes) -> MessageRow | None:
    """A message by id."""
    row: Any = db.execute(
        "SELECT m.channel, m.time, m.id, m.spill, m.author, m.flags, m.root, m.edit, m.op FROM message m WHERE m.id = ?",
        (id,),
    ).fetchone()
    return MessageRow(*row) if row else None


def post_of(db: apsw.Connection, row: MessageRow) -> Post:
    """What a message's row holds. Raises: UnreachableError, CorruptError of an archived one."""
    from quire.core.operation import Post, stored_operation  # reading a page never needs it

    post = stored_operation(opened(db, row.op))
    assert isinstance(post, Post)
    return post


def get_rows(db: apsw.Connection, ids: Sequence[bytes]) -> list[MessageRow]:
    """Those of these that are messages."""
    if not ids:
        return []
    found: Any = db.execute(
        "SELECT m.channel, m.time, m.id, m.spill, m.author, m.flags, m.root, m.edit, m.op FROM message m"
        " WHERE m.id IN carray(?)",
        (apsw.carray(tuple(ids)),),
    ).fetchall()
    return [MessageRow(*row) for row in found]


def delete_rows(db: apsw.Connection, found: Sequence[MessageRow]) -> None:
    """Take messages out, with what is counted of each; what is on them, and in threads, is their caller's."""
    db.executemany(
        "DELETE FROM reaction WHERE target = ?", [(row.id,) for row in found if row.flags & REACTED]
    )
    db.executemany("DELETE FROM doc WHERE n = ?", sorted((row.doc,) for row in found))
    db.executemany(
        "DELETE FROM message WHERE channel = ? AND time = ? AND id = ?",
        sorted((row.channel, row.time, row.id) for row in found),
    )


def empty_rows(db: apsw.Connection, rows: Iterable[Row]) -> None:
    """(author, flags, op, channel, time, id) each: another author and content in a message's place."""
    db.executemany(
        "UPDATE message SET author = ?, flags = ?, op = ? WHERE channel = ? AND time = ? AND id = ?", rows
    )


def take_on(db: apsw.Connection, messages: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Take out the operations on messages: (id, salt || operation) of each."""
    found: Any = db.execute(
        "DELETE FROM operation WHERE target IN carray(?) RETURNING id, op", (apsw.carray(tuple(messages)),)
    ).fetchall()
    return list(found)


def root_of(db: apsw.Connection, channel: int, id: bytes) -> bytes | None:
    """The effective root for a reply to message `id`: itself, or its own root; None if it is not here."""
    row: Any = db.execute("SELECT channel, root FROM message WHERE id = ?", (id,)).fetchone()
    if row is None or row[0] != channel:
        return None
    return row[1] or id


def set_flags(db: apsw.Connection, row: MessageRow, flags: int, edit: bytes | None) -> None:
    db.execute(
        "UPDATE message SET flags = ?, edit = ? WHERE channel = ? AND time = ? AND id = ?",
        (flags, edit, row.channel, row.time, row.id),
    )


def add_flag(db: apsw.Connection, ids: Iterable[bytes], flag: int) -> None:
    """Set a flag on messages known by id."""
    db.executemany("UPDATE message SET flags = flags | ?1 WHERE id = ?2", ((flag, id) for id in ids))


def insert_operations(db: apsw.Connection, rows: Iterable[Row]) -> None:
    """(id, channel, kind, target, time, author, void, previous, op) each."""
    db.executemany(
        "INSERT INTO operation(id, channel, kind, target, time, author, void, previous, op) VALUES(?,?,?,?,?,?,?,?,?)",
        rows,
    )


def targeting(db: apsw.Connection, target: bytes, kinds: Sequence[int]) -> list[Row]:
    """(id, kind, time, author, op) of the standing operations of these kinds on a message, in order.

    `op` may be a reference.
    """
    marks = ",".join("?" * len(kinds))
    rows: Any = db.execute(
        f"SELECT id, kind, time, author, op FROM operation WHERE target = ? AND kind IN ({marks}) AND void = 0"
        " ORDER BY time, id",
        (target, *kinds),
    )
    return list(rows)


def stored_bytes(db: apsw.Connection, id: bytes) -> bytes:
    """The same as they are stored: a reference, where they are archived."""
    row: Any = db.execute("SELECT op FROM operation WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise inconsistent("an operation")
    return bytes(row[0])


def operation_bytes(db: apsw.Connection, id: bytes) -> bytes:
    """salt || operation of an operation that is no post."""
    row: Any = db.execute(f"SELECT {whole('op')} FROM operation WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise inconsistent("an operation")
    return bytes(row[0])


def operation_time(db: apsw.Connection, id: bytes) -> int:
    row: Any = db.execute("SELECT time FROM operation WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise inconsistent("an operation")
    return int(row[0])


def edits_of_version(db: apsw.Connection, target: bytes, previous: bytes) -> int:
    """How many standing edits replace the same version of a message (at most 2 are counted)."""
    row: Any = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM operation WHERE previous = ? AND target = ? AND void = 0 LIMIT 2)",
        (previous, target),
    ).fetchone()
    return int(row[0])


def newest_pin(db: apsw.Connection, target: bytes, pin: int, unpin: int) -> int | None:
    """The kind of the newest pin or unpin of a message."""
    row: Any = db.execute(
        "SELECT kind FROM operation WHERE target = ? AND kind IN (?, ?) AND void = 0 ORDER BY time DESC, id DESC LIMIT 1",
        (target, pin, unpin),
    ).fetchone()
    return row[0] if row else None


# Authors


def authors_by_key(db: apsw.Connection, keys: Sequence[str]) -> dict[str, int]:
    """Key -> number, of those that are known."""
    found: dict[str, int] = {}
    for key in keys:
        row: Any = db.execute("SELECT n FROM author WHERE key = ?", (key,)).fetchone()
        if row:
            found[key] = row[0]
    return found


def insert_author(db: apsw.Connection, key: str, name: str) -> int:
    db.execute("INSERT INTO author(key, name) VALUES(?, ?)", (key, name))
    return int(db.last_insert_rowid())


def set_profile(db: apsw.Connection, n: int, name: str, bot: bool, time: int, id: bytes) -> None:
    """An author's name, if this is the newest."""
    db.execute(
        "UPDATE author SET name = ?1, bot = ?2, time = ?3, id = ?4 WHERE n = ?5 AND (time, id) < (?3, ?4)",
        (name, int(bot), time, id, n),
    )


def author(db: apsw.Connection, n: int) -> Row:
    """(key, name, bot)."""
    row: Any = db.execute("SELECT key, name, bot FROM author WHERE n = ?", (n,)).fetchone()
    if row is None:
        raise inconsistent("an author")
    return (row[0], row[1], row[2])


def spread(db: apsw.Connection, author: int, channel: int | None, limit: int) -> list[bytes]:
    """So many of an author's messages that stand, in one channel or in all, from the first to the last."""
    of = f"FROM message WHERE author = ?1 AND flags & {DELETED} = 0 AND (?2 IS NULL OR channel = ?2)"
    total: Any = db.execute(f"SELECT count(*) {of}", (author, channel)).fetchone()
    step = -(-total[0] // limit) or 1
    found: Any = db.execute(
        f"SELECT id FROM (SELECT id, row_number() OVER (ORDER BY time, id) AS place {of}) WHERE place % ?3 = 0 OR place = 1",
        (author, channel, step),
    ).fetchall()
    return [id for (id,) in found]


# Reactions


def put_reactions(db: apsw.Connection, rows: Iterable[Row]) -> None:
    """(target, emoji, author, time, id, people) each; the newest stands. people 0 = taken back."""
    db.executemany(
        "INSERT INTO reaction(target, emoji, author, time, id, people) VALUES(?,?,?,?,?,?)"
        " ON CONFLICT DO UPDATE SET time = excluded.time, id = excluded.id, people = excluded.people"
        " WHERE (excluded.time, excluded.id) > (time, id)",
        rows,
    )


def reactions(db: apsw.Connection, target: bytes) -> list[Row]:
    """(emoji, author, people) standing on a message, oldest first."""
    rows: Any = db.execute(
        "SELECT emoji, author, people FROM reaction WHERE target = ? AND people > 0 ORDER BY time, id",
        (target,),
    )
    return list(rows)


def reaction(db: apsw.Connection, target: bytes, emoji: str, author: int) -> tuple[int, int]:
    """(time, people) of an author's newest react or unreact; people 0 = taken back, (-1, 0) = never."""
    row: Any = db.execute(
        "SELECT time, people FROM reaction WHERE target = ? AND emoji = ? AND author = ?",
        (target, emoji, author),
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (-1, 0)


# Threads


def insert_threads(db: apsw.Connection, rows: Iterable[Row]) -> None:
    """(root, channel, time) of new threads without replies."""
    db.executemany(
        "INSERT INTO thread(root, channel, replies, participants, last_time, last_id) VALUES(?,?,0,0,?,NULL)",
        rows,
    )


def count_replies(db: apsw.Connection, rows: Iterable[Row]) -> None:
    """(root, replies, participants, time, id): add to a thread's counters; its last reply moves forward."""
    db.executemany(
        "UPDATE thread SET replies = replies + ?2, participants = participants + ?3,"
        " last_time = CASE WHEN last_id IS NULL OR (?4, ?5) > (last_time, last_id) THEN ?4 ELSE last_time END,"
        " last_id = CASE WHEN last_id IS NULL OR (?4, ?5) > (last_time, last_id) THEN ?5 ELSE last_id END"
        " WHERE root = ?1",
        rows,
    )


def count_author(db: apsw.Connection, root: bytes, author: int, replies: int) -> int:
    """Count one author's replies in a thread; how the number of participants changes by it (-1, 0, 1)."""
    row: Any = db.execute(
        "SELECT replies FROM thread_author WHERE root = ? AND author = ?", (root, author)
    ).fetchone()
    before = row[0] if row else 0
    after = before + replies
    db.execute(
        "INSERT OR REPLACE INTO thread_author(root, author, replies) VALUES(?,?,?)"
        if after
        else "DELETE FROM thread_author WHERE root = ?1 AND author = ?2 AND ?3 = 0",
        (root, author, after),
    )
    return int(after > 0) - int(before > 0)


def drop_reply(db: apsw.Connection, root: bytes, participants: int) -> None:
    """Take one deleted reply out of a thread's summary and find its last reply anew."""
    last: Any = db.execute(
        "SELECT time, id FROM message WHERE root = ? AND flags & ? = 0 ORDER BY time DESC, id DESC LIMIT 1",
        (root, DELETED),
    ).fetchone()
    if last is None:
        row = get_row(db, root)
        assert row is not None
        last = (row.time, None)
    db.execute(
        "UPDATE thread SET replies = replies - 1, participants = participants + ?, last_time = ?, last_id = ? WHERE root = ?",
        (participants, *last, root),
    )


def standing_replies(db: apsw.Connection, root: bytes, without: set[bytes]) -> list[tuple[int, bytes, int]]:
    """(time, id, author) of a thread's replies that stand, without some, in order."""
    found: Any = db.execute(
        "SELECT time, id, author FROM message WHERE root = ? AND flags & ? = 0 ORDER BY time, id",
        (root, DELETED),
    )
    return [(time, id, author) for time, id, author in found if id not in without]


def time_of(db: apsw.Connection, id: bytes) -> int:
    """A message's hybrid time."""
    row = get_row(db, id)
    if row is None:
        raise inconsistent("a message")
    return row.time


def thread_exists(db: apsw.Connection, root: bytes) -> bool:
    return db.execute("SELECT 1 FROM thread WHERE root = ?", (root,)).fetchone() is not None


def thread(db: apsw.Connection, root: bytes) -> Row | None:
    """(replies, participants, last_time, last_id)."""
    row: Any = db.execute(
        "SELECT replies, participants, last_time, last_id FROM thread WHERE root = ?", (root,)
    ).fetchone()
    return None if row is None else tuple(row)


# Marks of the self-channel


def put_marker(
    db: apsw.Connection, channel: bytes, read_time: int, message: bytes, time: int, id: bytes
) -> None:
    """A read marker, if this is the newest."""
    db.execute(
        "INSERT INTO marker(channel, read_time, message, time, id) VALUES(?,?,?,?,?) ON CONFLICT DO UPDATE SET"
        " read_time = excluded.read_time, message = excluded.message, time = excluded.time, id = excluded.id"
        " WHERE (excluded.time, excluded.id) > (time, id)",
        (channel, read_time, message, time, id),
    )


def marker(db: apsw.Connection, channel: bytes) -> Row | None:
    """(read_time, message) up to which a channel was read."""
    row: Any = db.execute("SELECT read_time, message FROM marker WHERE channel = ?", (channel,)).fetchone()
    return None if row is None else tuple(row)


def put_contact(
    db: apsw.Connection, identity: bytes, name: str, verified: bool, time: int, id: bytes
) -> None:
    """What we call a person, if this is the newest."""
    db.execute(
        "INSERT INTO contact(identity, name, verified, time, id) VALUES(?,?,?,?,?) ON CONFLICT DO UPDATE SET"
        " name = excluded.name, verified = excluded.verified, time = excluded.time, id = excluded.id"
        " WHERE (excluded.time, excluded.id) > (time, id)",
        (identity, name, int(verified), time, id),
    )


def contacts(db: apsw.Connection) -> dict[bytes, tuple[str, bool]]:
    """Identity -> (what we call them, whether we compared safety numbers)."""
    found: Any = db.execute("SELECT identity, name, verified FROM contact").fetchall()
    return {identity: (name, bool(verified)) for identity, name, verified in found}


def put_device_name(db: apsw.Connection, device: bytes, name: str, time: int, id: bytes) -> None:
    """What we call one of our devices, if this is the newest."""
    db.execute(
        "INSERT INTO device_name(device, name, time, id) VALUES(?,?,?,?) ON CONFLICT DO UPDATE SET"
        " name = excluded.name, time = excluded.time, id = excluded.id"
        " WHERE (excluded.time, excluded.id) > (time, id)",
        (device, name, time, id),
    )


def device_names(db: apsw.Connection) -> dict[bytes, str]:
    """Device -> what we call it."""
    found: Any = db.execute("SELECT device, name FROM device_name").fetchall()
    return dict(found)


def put_bookmark(
    db: apsw.Connection, message: bytes, channel: bytes, standing: bool, time: int, id: bytes
) -> None:
    """A bookmark or its removal, if this is the newest."""
    db.execute(
        "INSERT INTO bookmark(message, channel, standing, time, id) VALUES(?,?,?,?,?) ON CONFLICT DO UPDATE SET"
        " standing = excluded.standing, time = excluded.time, id = excluded.id"
        " WHERE (excluded.time, excluded.id) > (time, id)",
        (message, channel, int(standing), time, id),
    )


def is_bookmarked(db: apsw.Connection, message: bytes) -> bool:
    row: Any = db.execute("SELECT standing FROM bookmark WHERE message = ?", (message,)).fetchone()
    return bool(row and row[0])


def standing_notes(db: apsw.Connection) -> set[bytes]:
    """The operations of the self-channel that its views come from: of each marker, bookmark and name the newest."""
    tables = ("marker", "bookmark", "contact", "device_name")
    rows: Any = db.execute(" UNION ALL ".join(f"SELECT id FROM {table}" for table in tables))
    return {id for (id,) in rows}


def bookmarks(db: apsw.Connection) -> list[bytes]:
    """Ids of bookmarked messages, the newest mark first."""
    rows: Any = db.execute("SELECT message FROM bookmark WHERE standing = 1 ORDER BY time DESC, id DESC")
    return [row[0] for row in rows]


def unread(db: apsw.Connection, channel: int, read: tuple[int, bytes]) -> tuple[int, int]:
    """(messages of others after a marker, those that mention us); imported ones count as read."""
    row: Any = db.execute(
        "SELECT count(*), coalesce(sum(flags & ?1 <> 0), 0) FROM message"
        " WHERE channel = ?2 AND (time, id) > (?3, ?4) AND flags & ?5 = 0",
        (MENTIONS_US, channel, *read, DELETED | OURS | IMPORTED),
    ).fetchone()
    return int(row[0]), int(row[1])
