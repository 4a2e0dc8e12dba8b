"""A log that was continued twice (design section 9; docs/spec/03-commits.md, section 7).

Two commits with one place are proof that a device's key wrote in two copies of a vault. Both are kept, with their
signatures: the one with the lesser id in the log itself, what the other begins in a branch, a log of its own
whose prefix is derived from the branch's first commit. So every replica gives every message of both the same id.
Control operations from the fork on are void (core/membership).
"""

from __future__ import annotations

import hashlib

import apsw

from quire.core import commit
from quire.core.crypto.keys import verify
from quire.core.ids import message_id
from quire.errors import MalformedError, PeerError
from quire.storage import log
from quire.store.apply import Applier, Item
from quire.store.withdraw import set_aside, take_out


def branch_prefix(device: bytes, incarnation: bytes, first: bytes) -> bytes:
    """The prefix of message ids on a branch of this log, from the id of its first commit."""
    return hashlib.sha256(device + incarnation + first).digest()[:10]


def fork(
    db: apsw.Connection,
    applier: Applier,
    branches: list[log.LogRow],
    received: commit.Commit,
    head: commit.Head,
    now_ms: int,
) -> log.LogRow:
    """Make room for a commit whose place another has; the log row that it belongs to.

    Raises: PeerError(rule="link") if it does not continue what is here, MalformedError(rule="commit_signature") if
    one of the two is not signed by itself.
    """
    for row in branches:
        stored = log.get_commit(db, row.n, head.seq)
        if stored and commit.decode_head(stored[0]).previous == head.previous:
            break
    else:
        raise PeerError("it does not continue the commit before it", rule="link", seq=head.seq)
    for encoded, signature in (stored, (received.head, received.signature)):
        if not verify(head.device, signature, commit.to_be_signed(encoded)):
            raise MalformedError("one side of a fork is not signed", rule="commit_signature")
    new, old = commit.commit_id(received.head), commit.commit_id(stored[0])
    if new > old:
        return _branch(db, row, head, new)
    _move(db, applier, row, head, old, now_ms)
    return row


def _branch(db: apsw.Connection, row: log.LogRow, head: commit.Head, first: bytes) -> log.LogRow:
    prefix = branch_prefix(head.device, head.incarnation, first)
    if row.own:
        log.close_log(db, row.n)
    return log.insert_log(
        db, row.channel, row.device, row.incarnation, prefix, row.signer, own=False, branch=first
    )


def _move(
    db: apsw.Connection, applier: Applier, row: log.LogRow, head: commit.Head, first: bytes, now_ms: int
) -> None:
    """What this log holds from the fork on becomes a branch: its operations get other ids."""
    branch = _branch(db, row, head, first)
    channel = log.channel_by_n(db, row.channel)
    seqs = [seq for seq, _, _ in log.content_commits(db, row) if seq >= head.seq]
    ids = [id for seq in seqs for id, _ in log.commit_operations(db, row.prefix, seq)]
    items = take_out(db, applier, channel, ids)
    db.execute("UPDATE commits SET log = ? WHERE log = ? AND seq >= ?", (branch.n, row.n, head.seq))
    low, high = message_id(row.prefix, head.seq, 0), row.prefix + b"\xff" * 6
    db.execute(
        "UPDATE control SET id = CAST(? || substr(id, 11) AS BLOB) WHERE id BETWEEN ? AND ?",
        (branch.prefix, low, high),
    )
    moved = set(ids)
    standing: list[Item] = []
    void: list[Item] = []
    for item in items:
        if item.id in moved:
            item.id = branch.prefix + item.id[10:]
        (standing if item.rights else void).append(item)
    set_aside(db, channel, void)
    if standing:
        applier.apply(db, channel, standing, now_ms)
