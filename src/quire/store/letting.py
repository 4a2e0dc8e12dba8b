"""Messages as they are let go: out of every view, the index and the log, in the caller's transaction.

Their commitments stay (store/erasing.py), and replies in the thread of one that goes stand alone. What comes too late is let go
in the transaction that brings it; what others let go before it came here is found justified, or is missing. store/pruning.py
says which messages, some hundreds at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from quire.core.commit import decode_head
from quire.core.operation import Post, stored_operation
from quire.core.retention import Bounds, Facts, goes
from quire.storage import erasures, freeing, heights, log, search
from quire.storage import retention as policies
from quire.storage import timeline as rows
from quire.storage.cold import whole
from quire.storage.database import fault
from quire.storage.erasures import LOCAL, POLICY
from quire.store import attachments, erasing, owing
from quire.store import retention as deciding
from quire.store.apply import Applier, Item
from quire.store.changes import indexed, shown_body

BULK = 32  # messages from which on words are forgotten first and taken out of the index later
IMPORTED_COUNT = 256  # operations in a commit that only an import makes


def let_go_of(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    everybody: Bounds,
    both: Bounds,
    ids: Iterable[bytes],
    now_ms: int,
) -> tuple[int, int, int]:
    """Those of these messages that go now, each for the reason that it goes for."""
    some: dict[int, list[bytes]] = {POLICY: [], LOCAL: []}
    for_all, here = deciding.Looking(db, everybody), deciding.Looking(db, both)
    ids = list(ids)
    away = owing.out_of_reach(db, ids)  # they go when their file is at hand
    for one in policies.candidates_of(db, ids):
        if one.id not in away and here.goes(one):
            some[POLICY if for_all.goes(one) else LOCAL].append(one.id)
    counts = [let_go(db, applier, channel, found, why, now_ms) for why, found in some.items() if found]
    return sum(one[0] for one in counts), sum(one[1] for one in counts), sum(one[2] for one in counts)


def let_go(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    ids: Sequence[bytes],
    why: int,
    now_ms: int,
) -> tuple[int, int, int]:
    """Take messages of one channel, with all that is on them, out of the vault; (messages, operations, bytes) gone.

    The same as `erasing.destroy`, for many that mostly stand alone: it looks at no thread as a whole.
    """
    applier.flush(db)
    found = rows.get_rows(db, ids)
    named = {row.id for row in found}
    nested = [row for row in found if row.flags & rows.THREADED and _replies_to_replies(db, row, named)]
    if nested:  # whose place is to be found anew when their root is gone
        left = [id for id in ids if id not in {row.id for row in nested}]
        size = erasing.destroy(db, applier, channel, [row.id for row in nested], why, now_ms)
        counts = let_go(db, applier, channel, left, why, now_ms) if left else (0, 0, 0)
        return counts[0] + len(nested), counts[1] + len(nested), counts[2] + size
    fault("before_pruning")
    _forget_words(db, found)
    attachments.forget(db, [row.id for row in found if _has_files(db, row)])
    on_them = rows.take_on(db, [row.id for row in found]) if found else []
    _let_threads_go(db, channel, found, named)
    rows.delete_rows(db, found)
    fault("pruned_rows")
    gone = [*on_them, *((row.id, row.op) for row in found if not row.flags & rows.HOLLOW)]
    erasing.leave_holes(db, channel.n, gone, why)
    erasing.change_holes(db, [row.id for row in found if row.flags & rows.HOLLOW], why)
    _recount(db, channel, found)
    applier.forget()
    waiting = erasing.take_waiting_for(db, channel, sorted(named))
    if waiting:  # it stands alone now, or goes, too
        from quire.store.people import put_back

        put_back(db, applier, channel, waiting, now_ms)
    fault("pruned")
    return len(found), len(gone), sum(len(op) for _, op in gone)


def _has_files(db: apsw.Connection, row: rows.MessageRow) -> bool:
    return bool(rows.post_of(db, row).attachments)


def _forget_words(db: apsw.Connection, found: Sequence[rows.MessageRow]) -> None:
    shown = []
    for row in found:
        if not row.flags & rows.DELETED:
            post = rows.post_of(db, row)
            shown.append((row.doc, *indexed(post, shown_body(db, row, post), row)))
    if len(shown) >= BULK or freeing.is_merge_due(db):  # the index is written anew in any case
        freeing.forget_words(db, shown)
    else:
        for doc, text, tags in shown:
            search.remove(db, doc, (text, tags))


def _replies_to_replies(db: apsw.Connection, root: rows.MessageRow, named: set[bytes]) -> bool:
    """Does a reply that stays name another than the root that goes? Then it is in that one's thread from now on."""
    replies: Any = db.execute(f"SELECT id, {whole('op')} FROM message WHERE root = ?", (root.id,))
    for id, op in replies:
        if id not in named:
            post = stored_operation(op)
            assert isinstance(post, Post)
            if post.root != root.id:
                return True
    return False


def _let_threads_go(
    db: apsw.Connection, channel: log.ChannelRow, found: Sequence[rows.MessageRow], named: set[bytes]
) -> None:
    """Threads without these messages: one whose root goes is none any more, and its replies stand alone."""
    ended = [row.id for row in found if row.flags & rows.THREADED]
    db.executemany("UPDATE message SET root = NULL WHERE root = ?", ((id,) for id in ended))
    db.executemany("DELETE FROM thread WHERE root = ?", ((id,) for id in ended))
    db.executemany("DELETE FROM thread_author WHERE root = ?", ((id,) for id in ended))
    gone: dict[bytes, Counter[int]] = {}
    for row in found:
        if row.root is not None and row.root not in named:
            counts = gone.setdefault(row.root, Counter())
            if not row.flags & rows.DELETED:
                counts[row.author] += 1
    emptied = sum(_without(db, root, counts, named) for root, counts in gone.items())
    log.touch_channel(db, channel.n, threads=-len(ended) - emptied)


def _without(db: apsw.Connection, root: bytes, counts: Counter[int], named: set[bytes]) -> bool:
    """A thread without some of its replies; whether it is none any more, as the last one went."""
    left: Any = db.execute(
        "SELECT 1 FROM message WHERE root = ? AND id NOT IN carray(?) LIMIT 1",
        (root, apsw.carray(tuple(named))),
    ).fetchone()
    row = rows.get_row(db, root)
    assert row is not None
    post = rows.post_of(db, row)
    if left is None and not post.title:
        db.execute("DELETE FROM thread WHERE root = ?", (root,))
        db.execute("DELETE FROM thread_author WHERE root = ?", (root,))
        rows.set_flags(db, row, row.flags & ~rows.THREADED, row.edit)
        return True
    participants = sum(rows.count_author(db, root, author, -count) for author, count in counts.items())
    last: Any = db.execute(
        "SELECT time, id FROM message WHERE root = ? AND flags & ? = 0 AND id NOT IN carray(?)"
        " ORDER BY time DESC, id DESC LIMIT 1",
        (root, rows.DELETED, apsw.carray(tuple(named))),
    ).fetchone()
    db.execute(
        "UPDATE thread SET replies = replies - ?, participants = participants + ?, last_time = ?, last_id = ? WHERE root = ?",
        (counts.total(), participants, *(last or (row.time, None)), root),
    )
    return False


def _recount(db: apsw.Connection, channel: log.ChannelRow, found: Sequence[rows.MessageRow]) -> None:
    standing = sum(not row.flags & rows.DELETED for row in found)
    log.touch_channel(db, channel.n, messages=-standing)
    if any(row.time >= channel.last_time for row in found):
        db.execute(
            "UPDATE channel SET last_time = coalesce((SELECT max(time) FROM message WHERE channel = ?1), 0) WHERE n = ?1",
            (channel.n,),
        )


def justify(db: apsw.Connection, applier: Applier, channel: log.ChannelRow, now_ms: int) -> None:
    """Operations that are missing, and that the channel's policy lets go: nobody is asked for them any more.

    Their commits' time says so. A large commit is an import, whose messages may be of any time before: there others are
    believed, if the channel lets go by age at all.
    """
    missing = policies.missing(db, channel.n) if policies.is_bounded(db, channel.n) else []
    if not missing:
        return
    everybody, _ = deciding.bounds_apart(db, channel, now_ms)
    waiting: list[Item] = []
    places: dict[bytes, list[bytes]] = {}
    for id in missing:
        places.setdefault(id[:14], []).append(id)
    for place, ids in places.items():
        encoded, of = log.commit_at(db, place), log.log_by_prefix(db, place[:10])
        if encoded is None or of is None:
            continue
        head = decode_head(encoded)
        imported = everybody.floor > 0 and head.count >= IMPORTED_COUNT
        if imported or goes(everybody, Facts(head.time)):
            erasures.set_why(db, ids, POLICY)
            heights.note_whole(db, of.n, [head.seq])
            waiting += erasing.take_waiting_for(db, channel, ids)
    if waiting:
        from quire.store.people import put_back

        put_back(db, applier, channel, waiting, now_ms)


def drop_expired(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    came: Iterable[tuple[int, bytes]],
    now_ms: int,
) -> None:
    """Let go of what has just come and is to go: in the transaction that brought it, so that it never was durable.

    came    (order time, id) of messages; those that count and size let go go later
    """
    everybody, both = deciding.bounds_apart(db, channel, now_ms, counted=False)
    end = both.end
    ids = [id for time, id in came if time < end]
    if ids:
        let_go_of(db, applier, log.channel_by_n(db, channel.n), everybody, both, ids, now_ms)
    justify(db, applier, channel, now_ms)
