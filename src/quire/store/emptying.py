"""Erased messages that stand alone are emptied where they stand.

Whatever an operation had a part in can be taken out of all views and applied again (store/withdraw.py), and what erasures
leave of a thread comes about so. Of a message without thread, edits, reactions or anything else on it, all that changes is
in its own row: it keeps its place and its number in the index, and a tenth of the work is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw

from quire.core.operation import Post, Remains
from quire.core.operation_form import encode_operation
from quire.core.timeline import Erasure, author_of, order_time, remaining_post
from quire.storage import erasures, log, search
from quire.storage import timeline as rows
from quire.storage.cold import commitment_of
from quire.storage.erasures import ERASED
from quire.store import attachments
from quire.store.apply import Applier
from quire.store.changes import indexed
from quire.store.erasing import MADE_UP, Signed

_TAKEN = rows.THREADED | rows.DELETED | rows.HOLLOW | rows.EDITED | rows.REACTED | rows.PINNED


def empty_in_place(
    db: apsw.Connection,
    applier: Applier,
    channel: log.ChannelRow,
    standing: Mapping[bytes, tuple[Signed, Erasure]],
) -> set[bytes]:
    """Empty those of these messages that stand alone; their ids. All that is left is as `take_out` and `put_back` leave it.

    standing    what is said of each, and of its commit
    """
    alone = _alone(db, standing)
    if not alone:
        return set()
    applier.flush(db)
    search.distrust_tails(db)
    words, holes, files, changes = [], [], [], []
    for row, left, signer in alone:
        post = rows.post_of(db, row)
        words.append((row.doc, *indexed(post, post.body, row)))
        holes.append((row.id, channel.n, commitment_of(row.op), ERASED))
        if post.attachments:
            files.append(row.id)
        flags = rows.HOLLOW | rows.ERASED | rows.DELETED
        if left.origin is not None:
            flags |= rows.IMPORTED
        elif signer == applier.own_key:
            flags |= rows.OURS
        author = applier.author(db, author_of(left, signer))
        changes.append((author, flags, MADE_UP + encode_operation(left), row.channel, row.time, row.id))
    search.remove_all(db, words)
    attachments.forget(db, files)
    rows.empty_rows(db, sorted(changes, key=lambda one: one[3:]))
    erasures.put_holes(db, sorted(holes))
    log.touch_channel(db, channel.n, messages=-len(alone))
    return {row.id for row, *_ in alone}


def _alone(
    db: apsw.Connection, standing: Mapping[bytes, tuple[Signed, Erasure]]
) -> list[tuple[rows.MessageRow, Post, str]]:
    """Messages that nothing is on and that keep their place, each with what is left of it and its signer."""
    ids = [id for id, (_, erasure) in standing.items() if erasure.leaves_place]
    if not ids:
        return []
    targets = _targets(db, ids)
    found = []
    for row in rows.get_rows(db, [id for id in ids if id not in targets]):
        of, erasure = standing[row.id]
        if row.root is not None or row.flags & _TAKEN or not isinstance(erasure.what, Remains):
            continue
        left = remaining_post(erasure.what)
        if left.root is None and order_time(left, of.time) == row.time:
            found.append((row, left, of.signer))
    return found


def _targets(db: apsw.Connection, ids: Sequence[bytes]) -> set[bytes]:
    """Those of these that any operation is on, also one that waits or does not count."""
    found: Any = db.execute(
        "SELECT target FROM operation WHERE target IN carray(?1) UNION SELECT target FROM waiting WHERE target IN carray(?1)",
        (apsw.carray(tuple(ids)),),
    ).fetchall()
    return {target for (target,) in found}
