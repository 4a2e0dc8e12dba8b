"""Forward secrecy by forgetting: the keys of epochs whose history has expired are destroyed, and all that leads to them.

An epoch is over once everything that its key was ever written under is too old for everybody in the channel, which is a
matter of time and policy alone (docs/spec/12-retention.md, section 6). Then its key goes, what is sealed in the Seal and Link
operations that lead to it, and its note in the self-channel. Of a Seal or Link the commitment is over hashes
(core/commit.py), so their commits verify without, and say to newcomers all that they said before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw

from quire.core.clock import at
from quire.core.commit import keyless
from quire.core.control import CONTROL_KINDS, POLICIES, Link, Seal, decode_control
from quire.core.membership import EpochInfo, Graph
from quire.core.operation import KINDS, SALT_SIZE, EpochKey, stored_operation
from quire.core.retention import Bounds, is_settled
from quire.storage import contents, controls, keychain, log
from quire.storage.database import fault
from quire.storage.erasures import LOCAL
from quire.store import erasing
from quire.store import retention as deciding
from quire.store.settling import note_keys_again

if TYPE_CHECKING:
    from quire.store.ledger import Ledger


def is_over(graph: Graph, bounds: Bounds, info: EpochInfo) -> bool:
    """Is all that can have been written under an epoch too old for everybody?

    Who writes changes a key that is older than the policy `rotation` first, so nothing honest is later than that.
    """
    spans = [POLICIES["rotation"][0], *(value for _, value in graph.state.policy_acts("rotation"))]
    return is_settled(bounds, info.time, info.time + at(max(spans)))


def over(db: apsw.Connection, channel: log.ChannelRow, graph: Graph, now_ms: int) -> set[bytes]:
    """The epochs of a channel that are over: whose keys a member need not have any more."""
    bounds, _ = deciding.bounds_apart(db, channel, now_ms, counted=False)
    if not bounds.end:
        return set()
    known = graph.state.epochs
    present = {one.epoch for one in known.candidates}
    return {one.epoch for one in known.every() if one.epoch not in present and is_over(graph, bounds, one)}


def to_forget(db: apsw.Connection, channel: log.ChannelRow, graph: Graph, now_ms: int) -> set[bytes]:
    """Those of them whose keys were not destroyed here yet."""
    return over(db, channel, graph, now_ms) - keychain.forgotten_epochs(db, channel.id)


def forget(
    ledger: Ledger, db: apsw.Connection, channel: log.ChannelRow, gone: set[bytes], now_ms: int
) -> None:
    """Destroy the keys of these epochs, and all in this vault that leads to them."""
    keychain.forget_epochs(db, channel.id, sorted(gone))
    fault("epochs_dropped")
    for kind in (Link, Seal):
        for id, op in controls.control_rows(db, channel.n, CONTROL_KINDS[kind]):
            operation = decode_control(op[SALT_SIZE:])
            leads = operation.parent if isinstance(operation, Link) else b""
            if leads in gone or getattr(operation, "epoch", b"") in gone:
                controls.set_control(db, id, op[:SALT_SIZE] + keyless(op[SALT_SIZE:]))
    fault("epochs_unlinked")
    own = log.self_channel(db)
    notes = [
        id
        for id, op in contents.operations_with_ids(db, own.n, KINDS[EpochKey])
        if (note := stored_operation(op)) and note.channel == channel.id and note.epoch in gone  # type: ignore[union-attr]
    ]
    if notes:
        erasing.destroy(db, ledger.applier, own, notes, LOCAL, now_ms)
        note_keys_again(ledger, db)
    fault("epochs_forgotten")
