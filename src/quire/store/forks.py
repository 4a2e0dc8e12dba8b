"""A log that was continued twice (design section 9; docs/spec/03-commits.md, section 7).

Two commits of which each would go on from where the other does are proof that a device's key wrote in two copies of a
vault. All sides are kept, with their signatures: one in the log itself, each other in a branch, a log of its own
whose prefix is derived from the branch's first commit. Which commit is where, `placement` says of the set that is
here; when that grows, `arrange` moves what belongs elsewhere then. So every replica gives every message the same id.
Control operations from the fork on are void (core/membership).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import apsw

from quire.core import commit
from quire.storage import contents, controls, erasures, heights, log
from quire.store.apply import Applier
from quire.store.withdraw import rename, set_aside, take_out


class Node(NamedTuple):
    """A commit of a log, as its head says."""

    seq: int
    id: bytes
    previous: bytes


def branch_prefix(device: bytes, incarnation: bytes, first: bytes) -> bytes:
    """The prefix of message ids on a branch of this log, from the id of its first commit."""
    return hashlib.sha256(device + incarnation + first).digest()[:10]


def placement(nodes: Iterable[Node]) -> dict[bytes, bytes]:
    """Commit -> the first commit of the branch that it is on; empty for the log itself.

    Of the commits that go on from one, the least goes on where that one is, and each other begins a branch. One whose
    predecessor is not here is in the log itself if there is a gap for it, and begins a branch if it contradicts that.
    """
    placed: dict[bytes, bytes] = {}
    continued: set[bytes] = set()
    end = 0  # of the log itself, so far
    for seq, id, previous in sorted(nodes):
        if previous in placed and previous not in continued:
            placed[id] = placed[previous]
            continued.add(previous)
        else:
            is_in_log = previous not in placed and (end == 0 if seq == 1 else end <= seq - 2)
            placed[id] = b"" if is_in_log else id
        if not placed[id]:
            end = seq
    return placed


def nodes_of(db: apsw.Connection, row: log.LogRow) -> list[Node]:
    """The commits of a log, or of a branch."""
    return [
        Node(seq, commit.commit_id(head), commit.decode_head(head).previous)
        for seq, head, _ in log.commits(db, row.n)
    ]


def begin_branch(db: apsw.Connection, main: log.LogRow, first: bytes) -> log.LogRow:
    """A branch of a log, for a commit that has no place in what is here of it."""
    prefix = branch_prefix(main.device, main.incarnation, first)
    return log.insert_log(
        db, main.channel, main.device, main.incarnation, prefix, main.signer, own=False, branch=first
    )


def arrange(db: apsw.Connection, applier: Applier, device: bytes, incarnation: bytes, now_ms: int) -> None:
    """Move the commits of a log, with all that stands on them, to where `placement` says that they are."""
    rows = {row.branch: row for row in log.branches(db, device, incarnation)}
    main = rows[b""]
    here = {branch: nodes_of(db, row) for branch, row in rows.items()}
    where = placement(node for nodes in here.values() for node in nodes)
    moves: list[tuple[log.LogRow, log.LogRow, int]] = []
    for branch, nodes in here.items():
        for node in nodes:
            to = where[node.id]
            if to != branch:
                rows[to] = rows.get(to) or begin_branch(db, main, to)
                moves.append((rows[branch], rows[to], node.seq))
    if moves:
        _move(db, applier, log.channel_by_n(db, main.channel), moves, now_ms)
    for row in rows.values():
        if moves:
            heights.recount(db, row.n)
            db.execute("DELETE FROM aboard WHERE log = ?", (row.n,))  # its commits may be in another log now
        if row.branch and row.branch not in where.values():
            log.delete_log(db, row.n)


def _move(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    moves: list[tuple[log.LogRow, log.LogRow, int]],
    now_ms: int,
) -> None:
    """Their operations get other ids, which is as if they were gone and others came."""
    prefixes = {_place(of, seq): to.prefix for of, to, seq in moves}
    taken = [row for of, _, seq in moves for row in controls.take_control(db, _place(of, seq))]
    ids = [id for of, _, seq in moves for id in contents.commit_ids(db, of.prefix, seq)]
    items = take_out(db, applier, channel, ids)
    erasures.move_holes(db, [(_place(of, seq), _place(to, seq)) for of, to, seq in moves])
    log.move_commits(db, ((of.n, to.n, seq) for of, to, seq in moves))
    controls.insert_control(db, [(prefixes[id[:14]] + id[10:], n, kind, op) for id, n, kind, op in taken])
    if taken:
        rename(db, channel)
    for item in items:
        item.id = prefixes.get(item.id[:14], item.id[:10]) + item.id[10:]
    set_aside(db, channel, [item for item in items if not item.rights])
    if standing := [item for item in items if item.rights]:
        applier.apply(db, channel, standing, now_ms)


def _place(row: log.LogRow, seq: int) -> bytes:
    return row.prefix + seq.to_bytes(4, "big")
