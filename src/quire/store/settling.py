"""What follows from new control commits of a channel, in their transaction, whoever wrote them: keys sealed to us are
opened and kept, also in the self-channel for our other devices and for recovery; the channel's row says what we are and
may; keys that do not hold, or did not come, are asked for again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import apsw

from quire.core.control import ControlOperation, RevokeDevice, Role
from quire.core.crypto.epochs import EpochKey
from quire.core.membership import Graph
from quire.core.operation import KINDS, stored_operation
from quire.core.operation import EpochKey as EpochKeyOperation
from quire.storage import contents, erasures, keychain, log
from quire.storage.database import fault
from quire.storage.meta import get_meta
from quire.store import epochs, wallclock

if TYPE_CHECKING:
    from quire.store.ledger import Ledger


def settle(
    pen: Ledger,
    db: apsw.Connection,
    n: int,
    graph: Graph,
    operations: Iterable[ControlOperation],
    *,
    review: bool,
) -> log.ChannelRow:
    """Draw the consequences of new control commits of a channel, which its graph has already."""
    channel = log.channel_by_n(db, n)
    seeds: dict[bytes, bytes] = {pen.device: bytes(get_meta(db, "sealing_seed"))}
    if pen.recovery_seed is not None:
        seeds[pen.people.identity] = pen.recovery_seed.reveal()
    fresh, wrong = epochs.learn(db, channel, operations, seeds)
    for epoch, key in fresh.items():
        _remember_key(pen, db, channel, graph, epoch, key)
    fault("after_keys")
    channel = pen.people.settle(db, pen.applier, n, graph, wallclock.now_ms(), review=review)
    if channel.kind == "self" and channel.role and any(isinstance(one, RevokeDevice) for one in operations):
        note_keys_again(pen, db)
        channel = log.channel_by_n(db, n)
    known = graph.state.epochs
    if withheld := epochs.withheld(operations, pen.device):
        held = keychain.epoch_keys(db, channel.id)
        wrong += [one.epoch for one in known.candidates if one.epoch in withheld and one.epoch not in held]
    reports = [
        one
        for one in dict.fromkeys(wrong)
        if channel.role and one in known and pen.device not in known.reported(one)
    ]
    if reports:
        channel = pen.add_control(db, channel, graph, epochs.report(reports))
    return channel


def _remember_key(
    pen: Ledger, db: apsw.Connection, channel: log.ChannelRow, graph: Graph, epoch: bytes, key: EpochKey
) -> None:
    """Keep an epoch's key, also in the self-channel: for our other devices and for recovery.

    Kept back while a device that has come to its end in the channel has not there: it would read the key there.
    """
    keychain.put_epoch(db, channel.id, epoch, key.reveal())
    if channel.kind != "self" and not _keeps_back(pen, db, graph):
        pen.append(db, log.self_channel(db), [EpochKeyOperation(channel.id, epoch, key.reveal())])


def _keeps_back(pen: Ledger, db: apsw.Connection, graph: Graph) -> bool:
    """Is a device of ours, also one that our self-channel has not heard of, to be kept from a channel's keys?"""
    own = log.self_channel(db)
    if own.role == Role.NONE:  # we came to our end ourselves: nobody takes what we note
        return True
    ended, state = graph.state.revoked(pen.people.identity), pen.people.state(db, own)
    return not all(state.is_revoked(device) for device in ended)


def note_keys_again(pen: Ledger, db: apsw.Connection) -> None:
    """Note in the self-channel the keys that our other devices do not get there: those that were kept back until a
    device came to its end there, too, and those that are in one commit with a key that was destroyed."""
    own = log.self_channel(db)
    noted = _noted_where_it_goes(db, own)
    missing = [
        EpochKeyOperation(row.id, epoch, key)
        for row in log.channels(db)
        if not _keeps_back(pen, db, pen.people.graph(db, row))
        for epoch, key in keychain.epoch_keys(db, row.id).items()
        if (row.id, epoch) not in noted
    ]
    if missing:
        pen.append(db, own, missing)


def _noted_where_it_goes(db: apsw.Connection, own: log.ChannelRow) -> set[tuple[bytes, bytes]]:
    """(channel, epoch) of the keys whose notes in the self-channel are in commits that others are given."""
    away = {of.prefix: erasures.kept_away(db, of.n) for of in log.logs_of(db, own.n)}
    found = set()
    for id, op in contents.operations_with_ids(db, own.n, KINDS[EpochKeyOperation]):
        seq = int.from_bytes(id[10:14], "big")
        if not any(first <= seq <= last for first, last in away.get(id[:10], ())):
            note = stored_operation(op)
            assert isinstance(note, EpochKeyOperation)
            found.add((note.channel, note.epoch))
    return found
