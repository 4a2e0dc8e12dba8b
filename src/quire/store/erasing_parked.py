"""Erasures reach what waits whole: the bytes of a parked commit that stand erased are destroyed where they wait.

What a parked commit comes to is decided later, but its text would lie in the vault meanwhile. Whose it is, is known by any
other log of its device; if that is not known yet, a moderator's erasure counts and its author's own does when it is decided.
A hole that is left so is justified by the erasure like any other.
"""

from __future__ import annotations

from typing import Any

import apsw

from quire.core.commit import (
    AnyCommit,
    Head,
    commit_id,
    commitment,
    encode_commit,
    holes_of,
    peek_commit,
    with_holes,
)
from quire.core.ids import DeviceId, Incarnation, log_prefix, message_id
from quire.core.timeline import standing_erasure
from quire.storage import backlog, erasures, log
from quire.storage.database import fault


def strike_parked(db: apsw.Connection, channel: log.ChannelRow) -> None:
    """Destroy in all that waits whole in a channel what stands erased by now."""
    if not any(backlog.parked_counts(db, b"", channel.id)[1:]):
        return
    for encoded in backlog.parked_commits(db, channel.id):
        received, head = peek_commit(encoded)
        left = struck(db, channel.n, received, head)
        if left is not received:
            backlog.put_parked(db, commit_id(received.head), encode_commit(left))
            fault("parked_struck")


def struck(db: apsw.Connection, channel: int, received: AnyCommit, head: Head) -> AnyCommit:
    """A commit without the bytes of what stands erased; the same one if there are none."""
    prefix = log_prefix(DeviceId(head.device), Incarnation(head.incarnation))
    ids = [bytes(message_id(prefix, head.seq, index)) for index in range(head.count)]
    said = erasures.erasures_on(db, channel, ids)
    if not said:
        return received
    signer, before = _signer(db, head.device), holes_of(received)
    gone = {
        index: commitment(received.operations[index])
        for index, id in enumerate(ids)
        if index not in before and standing_erasure(signer, head.time, said.get(id, ())) is not None
    }
    if not gone:
        return received
    holes = before | gone
    entries = [holes.get(index, entry) for index, entry in enumerate(received.operations)]
    return with_holes(received.head, received.signature, entries, holes)


def _signer(db: apsw.Connection, device: bytes) -> str:
    """Whose a device is, by any of its logs; "" if none is here."""
    row: Any = db.execute("SELECT signer FROM log WHERE device = ? LIMIT 1", (device,)).fetchone()
    return str(row[0]) if row else ""
