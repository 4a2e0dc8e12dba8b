"""What we say of our channels to a peer, and what we give it of what it lacks (docs/spec/09-sync.md).

Everything goes as bundles, sealed under the epoch that it was written under, and only under epochs whose keys the
peer says it has: a liar gets nothing that it could read. Who is in a channel and has no key that leads to the present
one is sent a welcome. Content goes to members only, and no more of it than their history scope admits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import apsw
import msgspec

from quire.core.bundle import bundle_tag, in_parts
from quire.core.bundle_file import Kind, Record
from quire.core.crypto.epochs import EpochKey
from quire.core.heights import LogHeight, Span, digest, lacking, present
from quire.core.ids import ChannelId
from quire.core.membership import Graph
from quire.core.welcome import seal_welcome
from quire.storage import asking, controls, heights, keychain, log
from quire.storage.database import one_moment
from quire.store import epochs
from quire.store.behind import is_led
from quire.store.bundling import (
    WELCOME_BYTES,
    Wanted,
    content_parts,
    control_log,
    control_records,
    with_key,
)
from quire.store.people import read_graph

if TYPE_CHECKING:
    from quire.store.local import LocalStore


class Holding(msgspec.Struct, frozen=True):
    """What somebody has of a channel: commits, and keys by the tags of bundles that these open."""

    heights: tuple[LogHeight, ...] = ()
    tags: tuple[bytes, ...] = ()


def holding(db: apsw.Connection, row: log.ChannelRow) -> Holding:
    """What we have of a channel."""
    found = tuple(one for of in log.logs_of(db, row.n) if (one := heights.height(db, of)) is not None)
    tags = tuple(
        sorted(bundle_tag(EpochKey(key), row.id) for key in keychain.epoch_keys(db, row.id).values())
    )
    return Holding(found, tags)


def offers(db: apsw.Connection) -> dict[ChannelId, bytes]:
    """Our channels, and those that we asked to be let into, each with the digest of what we have."""
    found = {ChannelId(one.channel): digest(()) for one in asking.unanswered(db)}
    logs: dict[int, list[LogHeight]] = {}
    for of in log.logs(db):
        if (one := heights.height(db, of)) is not None:
            logs.setdefault(of.channel, []).append(one)
    for row in log.all_channels(db):
        found[row.id] = digest(logs.get(row.n, ()))
    return found


def giving(store: LocalStore, channel: ChannelId, theirs: Holding, peer: bytes) -> Iterator[Record]:
    """What a peer lacks of a channel and may have: control commits, then content, the newest first.

    peer    the device that gets it; it proved who it is
    """
    db = store.database.reader
    known = log.channel_by_id(db, channel)
    if known is None:
        return
    row = with_key(store, channel) if known.role else known
    if row is None:
        return
    with one_moment(db):  # what others write meanwhile names control commits that this graph has not
        spans = lacking_of(db, row, theirs)
        graph = read_graph(db, row)  # our own: others may add to the one that all share
        device = graph.state.devices.get(peer)
        control = [place for place in controls.control_places(db, row.n).values() if _is_in(db, place, spans)]
        held = {
            id: bundle_tag(EpochKey(key), channel) for id, key in keychain.epoch_keys(db, channel).items()
        }
        shared = {id for id, tag in held.items() if tag in theirs.tags}
        current = graph.state.epochs.current
        lacks_key = current is not None and current.epoch in held and current.epoch not in shared
        led = bool(control) and lacks_key and is_led(db, row, graph, peer, shared, control, held)
    if device is not None and lacks_key and not led:
        yield from welcomes(db, row, graph, [peer])
        return
    if shared:
        yield from control_records(db, row, graph, set(control))
    if device is not None and spans:
        admitted = graph.state.epochs.admissible(device.identity)
        for part in content_parts(db, row, graph, wanted=Wanted(spans, shared & set(admitted))):
            yield part.record


def lacking_of(db: apsw.Connection, row: log.ChannelRow, theirs: Holding) -> dict[int, list[Span]]:
    """What somebody lacks of what is here, by log."""
    has = {one.log: one for one in theirs.heights}
    found: dict[int, list[Span]] = {}
    logs = log.logs_of(db, row.n)
    # Who knows nothing of a branch may have it as the log itself, and lack what we have as that: all of both goes.
    unheard = {
        (of.device, of.incarnation)
        for of in logs
        if of.branch and (of.device, of.incarnation, of.branch) not in has
    }
    for of in logs:
        ours = heights.here(db, of.n)
        one = has.get((of.device, of.incarnation, of.branch))
        if one is not None and (of.device, of.incarnation) not in unheard and _agrees(db, of.n, one):
            ours = lacking(ours, present(one.last, one.gaps))
        if ours:
            found[of.n] = ours
    return found


def _agrees(db: apsw.Connection, n: int, one: LogHeight) -> bool:
    """Is what we have at the end of theirs the same commit? If not, the log was continued twice: all of it goes."""
    return heights.id_at(db, n, one.last) in (b"", one.id)


def _is_in(db: apsw.Connection, place: bytes, spans: dict[int, list[Span]]) -> bool:
    of = log.log_by_prefix(db, place[:10])
    seq = int.from_bytes(place[10:], "big")
    return of is not None and any(first <= seq <= last for first, last in spans.get(of.n, ()))


def welcomes(
    db: apsw.Connection, row: log.ChannelRow, graph: Graph, devices: Iterable[bytes]
) -> Iterator[Record]:
    """A channel's control log, sealed to devices that have no key of it."""
    found = epochs.recipients(db, row, graph.state, devices).values()
    publics = [public for public in found if epochs.is_usable(public)]
    if publics:
        for part in in_parts(control_log(db, row, graph), WELCOME_BYTES):
            yield Record(Kind.WELCOME, seal_welcome(row.id, part, publics, os.urandom))


def is_in(store: LocalStore, peer: bytes, channel: ChannelId) -> bool:
    """Is a device in a channel that we are in, whether it knows that or not?"""
    db = store.database.reader
    row = log.channel_by_id(db, channel)
    return row is not None and bool(row.role) and peer in store.ledger.people.state(db, row).devices
