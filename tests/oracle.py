"""An independent look at a vault: chains, signatures and commitments, and the views against a fold of the log.

`LocalStore.verify` does this too, for any size; the tests do not take its word for it. Everything here is
in memory and in the simplest way.
"""

from __future__ import annotations

from typing import Any

import apsw

from quire.channels.manager import ChannelManager
from quire.core import commit
from quire.core.crypto.keys import verify
from quire.core.operation import SALT_SIZE, Post, is_control, stored_operation
from quire.core.timeline import Folded, Placed, fold
from quire.storage import log
from quire.store.local import LocalStore


def check(store: LocalStore) -> None:
    """Fails if anything in the vault is not what its log says."""
    db = store.database.reader
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    by_channel: dict[int, list[Placed]] = {}
    for row in log.logs(db):
        placed = _checked_log(db, row)
        by_channel.setdefault(row.channel, []).extend(placed)
    assert db.execute("SELECT count(*) FROM commits WHERE log NOT IN (SELECT n FROM log)").fetchone() == (0,)
    manager = ChannelManager(store)
    for info in manager.list_channels():
        n = store.channel_row(info.id).n
        _compare(manager, info, fold(by_channel[n]))
    standing = sum(info.messages for info in manager.list_channels())
    searchable = db.execute(
        "SELECT (SELECT count(*) FROM search WHERE search MATCH 'tags : c *') + (SELECT count(*) FROM tail)"
    ).fetchone()
    assert searchable == (standing,)


def _checked_log(db: apsw.Connection, row: log.LogRow) -> list[Placed]:
    """The operations of one log, whose seqs are contiguous and whose chain, signatures and roots hold."""
    channel = log.channel_by_n(db, row.channel)
    previous, placed = b"", []
    for expected, (seq, head_bytes, signature) in enumerate(log.commits(db, row.n), start=1):
        head = commit.decode_head(head_bytes)
        assert (seq, head.seq) == (expected, expected)
        assert head.previous == previous
        assert (head.channel, head.device, head.incarnation) == (channel.id, row.device, row.incarnation)
        assert verify(row.device, signature, commit.to_be_signed(head_bytes))
        operations = log.commit_operations(db, row.prefix, seq)
        assert len(operations) == head.count
        assert [int.from_bytes(id[14:], "big") for id, _ in operations] == list(range(head.count))
        assert commit.content_root([salted for _, salted in operations]) == head.content_root
        placed += [
            Placed(id, head.time, row.signer, stored_operation(salted))
            for id, salted in operations
            if not is_control(salted[SALT_SIZE:])
        ]
        previous = commit.commit_id(head_bytes)
    return placed


def _compare(manager: ChannelManager, info: Any, folded: Folded) -> None:
    found = list(manager.get_stored_messages(info.id))
    assert [m.id for m in found] == [placed.id for placed, _ in folded.messages]
    assert [m.root for m in found] == [root for _, root in folded.messages]
    for message, (placed, _) in zip(found, folded.messages, strict=True):
        shown = folded.shown[placed.id]
        assert isinstance(placed.operation, Post)
        assert (message.deleted is not None) == (shown.deleted is not None)
        assert message.pinned == shown.pinned
        assert message.concurrent_edits == shown.concurrent
        if not shown.deleted:
            versions = manager.get_edit_history(message.id)
            assert len(versions) == shown.edits + 1
            assert [v.body for v in versions if v.shown] == [message.body]
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
    assert info.messages == sum(shown.deleted is None for shown in folded.shown.values())
    assert info.threads == sum(message.thread is not None for message in found)
