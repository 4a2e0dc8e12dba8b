"""Taking operations out of the views again, when it turns out that their author had no right to them.

A removal names the last commit of the removed that counts; one that comes late finds later ones applied. Views are
made to be added to, so whatever an operation had a part in is taken out whole, which is at most one thread with
everything on its messages, and what still stands of it is applied again like new.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from quire.core.control import Create
from quire.core.operation import KINDS, SELF_ONLY, Erase, Name, Post, Profile, Topic, stored_operation
from quire.storage import aboard, backlog, controls, erasures, heights, log, search
from quire.storage import timeline as rows
from quire.storage.attachments import drop_uses
from quire.storage.cold import opened, whole
from quire.storage.database import inconsistent
from quire.store.apply import Applier, Item, waited
from quire.store.changes import indexed, mark, shown_body
from quire.store.erasing import strike

Taken = dict[bytes, bytes | None]  # id -> salt || operation; None: the bytes are gone


def take_out(
    db: apsw.Connection, applier: Applier, channel: log.ChannelRow, ids: Iterable[bytes]
) -> list[Item]:
    """Take operations of one channel out of all views, and with them what stood on them.

    returns    everything that was taken out, these operations and others, with the rights of their commits
    """
    applier.flush(db)
    search.distrust_tails(db)
    taken: Taken = {}
    found: list[tuple[int, str, str]] = []  # what the index holds of them
    ids = list(ids)
    alone = [row for row in rows.get_rows(db, ids) if row.root is None and not row.flags & rows.THREADED]
    _take_messages(db, alone, taken, found)
    roots: set[bytes] = set()
    for id in ids:
        if id not in taken:
            roots.update(_take_one(db, channel, id, taken))
    threads = sum(_take_thread(db, root, taken, found) for root in sorted(roots))
    search.remove_all(db, found)
    log.touch_channel(db, channel.n, messages=-len(found), threads=-threads)
    applier.forget()
    _recount(db, channel, taken)
    said: dict[bytes, tuple[str, int, int]] = {}  # of each commit: signer, time and rights
    return [_item(db, id, op, said) for id, op in sorted(taken.items())]


def set_aside(db: apsw.Connection, channel: log.ChannelRow, items: Iterable[Item]) -> None:
    """Keep operations that do not count, out of every view; of what is erased nothing is kept."""
    left = [one for one in strike(db, channel, list(items)) if not one.hollow]
    db.executemany(
        "INSERT INTO voided(id, channel, op) VALUES(?,?,?)", [(i.id, channel.n, i.salted) for i in left]
    )


def take_waiting(db: apsw.Connection, channel: log.ChannelRow, targets: Sequence[bytes]) -> list[Item]:
    """Take out what waits for these messages."""
    return [waited(*row) for row in backlog.take_waiting(db, channel.n, targets)] if targets else []


def _take_one(db: apsw.Connection, channel: log.ChannelRow, id: bytes, taken: Taken) -> list[bytes]:
    """Take out an operation that stands alone; for any other, the root of the thread it has a part in."""
    row = rows.get_row(db, id)
    if row is not None:
        return [row.root or row.id]
    for table in ("waiting", "voided"):
        found: Any = db.execute(f"DELETE FROM {table} WHERE id = ? RETURNING {whole('op')}", (id,)).fetchall()
        if found:
            taken[id] = found[0][0] or None
            return []
    stored: Any = db.execute("SELECT target, op, kind FROM operation WHERE id = ?", (id,)).fetchone()
    if stored is None:
        if not erasures.holes_among(db, [id]):
            raise inconsistent("an operation of a commit")
        taken[id] = None
        return []
    if stored[2] == KINDS[Erase]:
        return _take_erase(db, channel, id, stored[1], taken)
    target = rows.get_row(db, stored[0]) if stored[0] is not None else None
    if target is not None:
        return [target.root or target.id]
    db.execute("DELETE FROM operation WHERE id = ?", (id,))
    taken[id] = stored[1]
    return []


def _take_erase(
    db: apsw.Connection, channel: log.ChannelRow, id: bytes, op: bytes, taken: Taken
) -> list[bytes]:
    """An erasure, and what is gone by it: something else may stand there when all is applied again, or nothing."""
    db.execute("DELETE FROM operation WHERE id = ?", (id,))
    taken[id] = op
    targets = erasures.drop_erasures(db, id)
    if erasures.doubt_versions(db, channel.n):
        aboard.read_again(db)
        for row in log.logs_of(db, channel.n):
            heights.recount(db, row.n)
    holes = erasures.holes_among(db, targets)
    return [root for target in holes if target not in taken for root in _take_one(db, channel, target, taken)]


def _take_thread(db: apsw.Connection, root: bytes, taken: Taken, found: list[tuple[int, str, str]]) -> bool:
    """A message, the replies in its thread, and all that targets any of them. Was there a thread?"""
    first = rows.get_row(db, root)
    if first is None:
        raise inconsistent("a message of a thread")
    if not first.flags & rows.THREADED:
        _take_messages(db, [first], taken, found)
        return False
    replies: Any = db.execute("SELECT id FROM message WHERE root = ?", (root,)).fetchall()
    _take_messages(db, [first, *rows.get_rows(db, [id for (id,) in replies])], taken, found)
    db.execute("DELETE FROM thread_author WHERE root = ?", (root,))
    return bool(db.execute("DELETE FROM thread WHERE root = ? RETURNING 1", (root,)).fetchall())


def _take_messages(
    db: apsw.Connection, some: Sequence[rows.MessageRow], taken: Taken, found: list[tuple[int, str, str]]
) -> None:
    """Messages with what targets them; what the index holds of those that stood goes to `found`."""
    if not some:
        return
    for row in some:
        op = opened(db, row.op)  # what was archived comes back
        post = stored_operation(op)
        assert isinstance(post, Post)
        if not row.flags & rows.DELETED:
            found.append((row.doc, *indexed(post, shown_body(db, row, post), row)))
        taken[row.id] = None if row.flags & rows.HOLLOW else op
        if post.attachments:
            drop_uses(db, row.id)
    taken.update((id, opened(db, op)) for id, op in rows.take_on(db, [row.id for row in some]))
    rows.delete_rows(db, some)


def _recount(db: apsw.Connection, channel: log.ChannelRow, taken: Taken) -> None:
    """What is the newest of its kind, found again without what was taken out."""
    db.execute(
        "UPDATE channel SET last_time = coalesce((SELECT max(time) FROM message WHERE channel = ?1), 0) WHERE n = ?1",
        (channel.n,),
    )
    operations = [stored_operation(op) for op in taken.values() if op is not None]
    if any(isinstance(operation, Name | Topic) for operation in operations):
        rename(db, channel)
    if any(isinstance(operation, Profile) for operation in operations):
        _reprofile(db)
    if channel.kind == "self" and any(isinstance(operation, SELF_ONLY) for operation in operations):
        _remark(db, channel)


def rename(db: apsw.Connection, channel: log.ChannelRow) -> None:
    """The channel's name and topic, from its founding and the operations that are left."""
    first = controls.founding(db, channel.n)
    create = controls.control_operation(db, first)
    assert isinstance(create, Create)
    db.execute(
        "UPDATE channel SET name_time = -1, name_id = x'', topic = '', topic_time = -1, topic_id = x'' WHERE n = ?",
        (channel.n,),
    )
    log.set_newest_text(db, channel.n, "name", create.name, log.time_of(db, first), first)
    left: Any = db.execute(
        "SELECT id, time, op FROM operation WHERE channel = ? AND kind IN (?, ?) AND void = 0",
        (channel.n, KINDS[Name], KINDS[Topic]),
    ).fetchall()
    for id, time, op in left:
        operation = stored_operation(op)
        if isinstance(operation, Name):
            log.set_newest_text(db, channel.n, "name", operation.name, time, id)
        elif isinstance(operation, Topic):
            log.set_newest_text(db, channel.n, "topic", operation.topic, time, id)


def _reprofile(db: apsw.Connection) -> None:
    """Every author's name, from the profiles that are left."""
    default = "CASE WHEN key LIKE 'quire:%' THEN substr(key, 7, 8) ELSE substr(key, instr(key, ':') + 1) END"
    db.execute(f"UPDATE author SET name = {default}, bot = 0, time = -1, id = x'' WHERE id <> x''")
    left: Any = db.execute(
        "SELECT o.id, o.time, o.op, a.key FROM operation o JOIN author a ON a.n = o.author"
        " WHERE o.kind = ? AND o.void = 0",
        (KINDS[Profile],),
    ).fetchall()
    for id, time, op, signer in left:
        profile = stored_operation(op)
        assert isinstance(profile, Profile)
        key = f"{profile.source}:{profile.author}" if profile.source else signer
        for n in rows.authors_by_key(db, [key]).values():
            rows.set_profile(db, n, profile.name, profile.bot, time, id)


def _remark(db: apsw.Connection, channel: log.ChannelRow) -> None:
    """Markers, bookmarks, contacts and device names, from the operations of the self-channel that are left."""
    for table in ("marker", "bookmark", "contact", "device_name"):
        db.execute(f"DELETE FROM {table}")
    kinds = array("q", [KINDS[kind] for kind in SELF_ONLY])
    left: Any = db.execute(
        "SELECT id, time, op FROM operation WHERE channel = ? AND kind IN carray(?) AND void = 0",
        (channel.n, apsw.carray(kinds)),
    ).fetchall()
    for id, time, op in left:
        mark(db, stored_operation(op), time, id)


def _item(db: apsw.Connection, id: bytes, op: bytes | None, said: dict[bytes, tuple[str, int, int]]) -> Item:
    """An operation with what its commit says of it."""
    of = said.get(id[:14])
    if of is None:
        row = log.log_by_prefix(db, id[:10])
        if row is None:
            raise inconsistent("the log of an operation")
        of = said[id[:14]] = row.signer, log.time_of(db, id), log.rights_at(db, id)
    signer, time, rights = of
    return waited(id, time, signer, op or b"", rights)
