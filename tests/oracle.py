"""An independent look at a vault: chains, signatures and commitments, and the views against a fold of the log.

`LocalStore.verify` does this too, for any size; the tests do not take its word for it. Everything here is
in memory and in the simplest way.
"""

from __future__ import annotations

import apsw

from quire.core import commit
from quire.core.control import ControlOperation
from quire.core.crypto.keys import verify
from quire.core.ids import DeviceId, Incarnation, log_prefix
from quire.core.membership import ControlCommit, Graph
from quire.core.operation import SALT_SIZE, Bookmark, Post, is_control, stored_operation
from quire.core.operation_form import decode_operation
from quire.core.rights import MAY_MODERATE, MAY_NAME, MAY_PIN, MAY_POST
from quire.core.timeline import Folded, Placed, fold
from quire.errors import UnauthorisedError
from quire.storage import contents, erasures, log
from quire.storage.erasures import LOCAL, POLICY
from quire.store.local import LocalStore
from quire.store.reader import Reader
from quire.store.versions import versions


class Everything(Reader):
    """Reads also what has expired: it is hidden from people, and the log says it as long as it is here."""

    def veil(self, db: apsw.Connection, channel: int) -> None:
        return None


HOLE = Bookmark(bytes(32), bytes(16))  # what is gone says nothing, unless an erasure says what is left


def check(store: LocalStore) -> None:
    """Fails if anything in the vault is not what its log says."""
    db = store.database.reader
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    by_channel: dict[int, list[Placed]] = {}
    for channel in log.all_channels(db):
        graph = _members(db, channel)
        by_channel[channel.n] = [
            one for row in log.logs_of(db, channel.n) for one in _checked_log(db, row, graph)
        ]
    assert {row.channel for row in log.logs(db)} <= by_channel.keys()
    assert db.execute("SELECT count(*) FROM commits WHERE log NOT IN (SELECT n FROM log)").fetchone() == (0,)
    for row in log.channels(db):
        gone = db.execute(
            "SELECT id FROM destroyed WHERE channel = ? AND why IN (?, ?)", (row.n, POLICY, LOCAL)
        )
        _compare(store, row, fold(by_channel[row.n], {id for (id,) in gone}))
    standing = sum(row.messages for row in log.channels(db))
    searchable = db.execute(
        "SELECT (SELECT count(*) FROM search WHERE search MATCH 'tags : c *') + (SELECT count(*) FROM tail)"
    ).fetchone()
    assert searchable == (standing,)


def _checked_log(db: apsw.Connection, row: log.LogRow, graph: Graph) -> list[Placed]:
    """The operations of one log that count; its chain, signatures, roots and rights hold, and ours has no gaps."""
    channel = log.channel_by_n(db, row.channel)
    placed = []
    before, previous = 0, b""
    unsigned = False  # content whose own signature is bad: the next one names it
    for seq, head_bytes, signature in log.commits(db, row.n):
        head = commit.decode_head(head_bytes)
        assert seq == head.seq
        if seq == before + 1 and (before or not row.branch):
            assert head.previous == previous
        elif row.branch and not before:
            assert commit.commit_id(head_bytes) == row.branch
        else:
            assert row.own in (log.OTHER, log.ELSEWHERE)
        assert (head.channel, head.device, head.incarnation) == (channel.id, row.device, row.incarnation)
        assert not unsigned or (seq, head.previous) == (before + 1, previous)
        unsigned = not verify(row.device, signature, commit.to_be_signed(head_bytes))
        operations = dict(contents.commit_operations(db, row.prefix, seq))
        first = row.prefix + seq.to_bytes(4, "big") + bytes(2)
        holes = erasures.holes_between(db, first, first[:14] + b"\xff\xff")
        assert operations.keys().isdisjoint(holes)
        ids = sorted([*operations, *holes])
        assert [int.from_bytes(id[14:], "big") for id in ids] == list(range(head.count))
        commitments = [
            holes[id].commitment if id in holes else commit.commitment(operations[id]) for id in ids
        ]
        assert commit.root_of(commitments) == head.content_root
        if operations and is_control(next(iter(operations.values()))[SALT_SIZE:]):
            assert not unsigned
        else:
            right = rights(graph, head)
            assert right == log.rights_at(db, first)
            held = db.execute("SELECT id FROM voided WHERE id BETWEEN ? AND ?", (ids[0], ids[-1]))
            assert [id for (id,) in held] == ([] if right else sorted(operations))
            placed += [
                Placed(
                    id,
                    head.time,
                    row.signer,
                    HOLE if id in holes else stored_operation(operations[id]),
                    right,
                )
                for id in ids
                if right
            ]
        before, previous = seq, commit.commit_id(head_bytes)
    assert not unsigned
    return placed


def _members(db: apsw.Connection, channel: log.ChannelRow) -> Graph:
    """The channel's control commits, in the simplest way; its row says where they end."""
    todo: dict[bytes, ControlCommit] = {}
    for row in log.logs_of(db, channel.n):
        for seq, head_bytes, _ in log.commits(db, row.n):
            head = commit.decode_head(head_bytes)
            found = [
                decode_operation(op[SALT_SIZE:]) for _, op in contents.commit_operations(db, row.prefix, seq)
            ]
            control = tuple(one for one in found if isinstance(one, ControlOperation))
            if control:
                id, prefix = commit.commit_id(head_bytes), log_prefix(row.device, row.incarnation)
                assert len(control) == head.count
                todo[id] = ControlCommit(id, row.device, prefix, seq, head.time, head.control_heads, control)
    graph = Graph(channel.id)
    while todo:
        ready = [one for one in todo.values() if all(head in graph for head in one.heads)]
        assert ready
        for one in ready:
            graph.add(todo.pop(one.id))
    for row in log.logs_of(db, channel.n):
        if row.branch:
            seq = next(log.commits(db, row.n))[0]
            graph.add_fork(log_prefix(row.device, row.incarnation), seq)
    assert channel.heads == b"".join(graph.heads)
    return graph


def rights(graph: Graph, head: commit.Head) -> int:
    """What the author of a content commit may do in it."""
    prefix = log_prefix(DeviceId(head.device), Incarnation(head.incarnation))
    try:
        found = graph.authority(head.device, prefix, head.seq, head.control_heads)
    except UnauthorisedError:
        return 0
    may = {"post": MAY_POST, "pin": MAY_PIN, "name": MAY_NAME, "delete_others": MAY_MODERATE}
    return sum(right for capability, right in may.items() if found.may(capability))


def _compare(store: LocalStore, row: log.ChannelRow, folded: Folded) -> None:
    reader = Everything(store.database, store.own_key)
    found = list(reader.iterate(row.n, newest_first=False))
    assert [m.id for m in found] == [placed.id for placed, _ in folded.messages]
    assert [m.root for m in found] == [root for _, root in folded.messages]
    for message, (placed, _) in zip(found, folded.messages, strict=True):
        shown = folded.shown[placed.id]
        assert isinstance(placed.operation, Post)
        assert (message.deleted is not None) == (shown.deleted is not None)
        assert (message.deleted is not None and message.deleted.erased) == (shown.erased is not None)
        assert message.pinned == shown.pinned
        assert message.concurrent_edits == shown.concurrent
        if not shown.deleted:
            kept = versions(reader, message.id)
            assert len([v for v in kept if not (v.erased and v.number > 1)]) == shown.edits + 1
            assert [v.body for v in kept if v.shown] == [message.body]
            if shown.edit is None:
                assert message.body == placed.operation.body
        else:
            assert message.body == ""
        counts: dict[str, int] = {}
        for (emoji, _), react in folded.reactions.get(placed.id, {}).items():
            counts[emoji] = counts.get(emoji, 0) + (getattr(react.operation, "unknown", 0) or 1)
        assert {r.emoji: r.count for r in message.reactions} == counts
        replies = folded.threads.get(placed.id, [])
        if message.thread is None:
            assert not replies
        else:
            assert message.thread.replies == len(replies)
            assert message.thread.last_reply == (replies[-1] if replies else None)
    assert row.messages == sum(shown.deleted is None for shown in folded.shown.values())
    assert row.threads == sum(message.thread is not None for message in found)
