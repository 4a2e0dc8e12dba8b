"""Writing bundle files: what this vault knows, sealed for those who may read it.

A commit is sealed under the epoch that its author wrote under, so a newcomer opens what their keys open and no more.
A control commit that brings a new key is so sealed under the one before. Who has not been heard of in a channel yet
gets its control log in a welcome, sealed to their devices. Everybody's self-channel travels along, sealed to
themselves (store/carrying.py).

The control logs come first and then the content of all channels together, the newest first: who joins has the first page
when a few of a thousand bundles are read. A window of each log and one bundle of each channel are in memory.
"""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import apsw

from quire.core import limits
from quire.core.bundle import COMMIT_OVERHEAD, in_parts, seal_bundle
from quire.core.bundle_file import Kind, Record
from quire.core.commit import Commit, Head, decode_head, encode_commit, with_holes
from quire.core.crypto.epochs import EpochKey
from quire.core.heights import Span
from quire.core.ids import ChannelId
from quire.core.membership import Graph
from quire.core.welcome import RECIPIENTS_MAX, seal_welcome
from quire.storage import contents, controls, keychain, log
from quire.storage import timeline as rows
from quire.storage.cold import commitment_of, is_reference
from quire.storage.erasures import ERASED, POLICY
from quire.store import epochs, owing
from quire.store.behind import closed_to_some, devices_behind, devices_unaware, epoch_of, last_words
from quire.store.carrying import Carried, Goes, sign_carried, still_says
from quire.store.people import read_graph
from quire.store.retention import hidden
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.local import LocalStore

WELCOME_BYTES = limits.BUNDLE_PLAIN_BYTES_MAX - (1 << 20)  # one welcome: a control log is read whole
PART_BYTES = 1 << 20  # one bundle: what a relay carries at once
WINDOW_COMMITS, WINDOW_OPERATIONS = 64, 2_000  # of one log, in memory
CARRIED_BYTES = limits.BUNDLE_BYTES_MAX - (1 << 10)  # all parts of a self-channel that others carry
PART_FRAME = 8  # what a part of it costs besides its bytes
Place = tuple[int, int]  # log and seq
PARTS_OPEN_MAX = 4  # epochs that writers are in at once: some know of a new one, some not yet


def records(store: LocalStore, channels: Sequence[log.ChannelRow]) -> Iterator[Record]:
    """What the members of these channels may have of them, and everybody's self-channel.

    Of a channel that we are in no more, what we wrote ourselves: also that we left, and the control commits that
    this names, which nobody else may have.
    """
    db = store.database.reader
    contents: list[Iterator[Part]] = []
    for row in channels:
        ready = with_key(store, row.id) if row.role else row
        if ready is None:
            continue
        graph = read_graph(db, ready)  # our own: others may add to the one that all share
        own = "" if row.role else store.own_key
        yield from _welcomes(store, ready, graph)
        yield from control_records(db, ready, graph)
        contents.append(content_parts(db, ready, graph, own))
    for part in heapq.merge(*contents, key=_newest_first):
        yield part.record
    if channels:
        yield carried(store)
        for sealed in keychain.kept(db):
            yield Record(Kind.KEPT, sealed)


def with_key(store: LocalStore, id: ChannelId) -> log.ChannelRow | None:
    """A channel whose present key we hold, made if there is none yet; None if we may not make one."""

    def work(db: apsw.Connection) -> log.ChannelRow | None:
        row = log.channel_by_id(db, id)
        assert row is not None
        graph = store.ledger.people.graph(db, row)
        current = graph.state.epochs.current
        held = keychain.epoch_keys(db, id)
        if row.role >= 2 and (
            graph.state.epochs.change_needed(now_ms()) or current is None or current.epoch not in held
        ):
            operations = epochs.renewal(db, row, graph, now_ms())
            if operations:
                row = store.ledger.add_control(db, row, graph, operations)
                current, held = graph.state.epochs.current, keychain.epoch_keys(db, id)
        if row.role >= 2 and (operations := epochs.reunion(db, row, graph)):
            row = store.ledger.add_control(db, row, graph, operations)
        return row if current is not None and held else None

    return store.ledger.run(work)


def _welcomes(store: LocalStore, row: log.ChannelRow, graph: Graph) -> Iterator[Record]:
    """The control log for each device of a member that no commit we could seal would bring the present key.

    Who is out brings nobody keys, but may have written what they could not seal before they went: also that they went,
    which their other devices must hear. And whom they let in last may have heard of it from nobody.
    """
    db, state = store.database.reader, graph.state
    if row.role:
        behind = epochs.recipients(db, row, state, sorted(devices_behind(db, row, graph)))
    else:
        own = log.self_channel(db)
        mine = store.ledger.people.state(db, own)
        unaware = devices_unaware(db, row, graph, {*state.devices, *mine.devices})
        wanted = sorted(unaware | _let_in_and_behind(db, row, graph, store.device))
        behind = {**epochs.recipients(db, own, mine, wanted), **epochs.recipients(db, row, state, wanted)}
    publics = [public for public in behind.values() if epochs.is_usable(public)]
    for first in range(0, len(publics), RECIPIENTS_MAX):
        some = publics[first : first + RECIPIENTS_MAX]
        for part in in_parts(control_log(db, row, graph), WELCOME_BYTES):
            yield Record(Kind.WELCOME, seal_welcome(row.id, part, some, os.urandom))


def _let_in_and_behind(db: apsw.Connection, row: log.ChannelRow, graph: Graph, by: bytes) -> set[bytes]:
    """Devices of people whom this device let in, and who have not shown that they have the present key."""
    state = graph.state
    if state.epochs.current is None:
        return set()
    people = [one for one in state.members.values() if graph.verdict(one.admitted).device == by]
    return {device for one in people for device in one.devices} & devices_behind(db, row, graph)


def control_log(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> Iterator[bytes]:
    """Every control commit of a channel, encoded, in order of time."""
    places = controls.control_places(db, row.n)
    for verdict in graph.story():
        yield _encoded(db, places[verdict.id])


def control_records(
    db: apsw.Connection, row: log.ChannelRow, graph: Graph, wanted: Collection[bytes] | None = None
) -> Iterator[Record]:
    """The control commits, or those at these places, each under the epoch that it was written under; also under the
    present one if that does not lead there. Every member must have them all, or could take nothing that names one: so
    too what was written under a key that some never got, or under one that is older than they may read. And what made a
    key void goes under it: it may be the only one that somebody has, who was let in as vainly.
    """
    held, current = _keys(db, row), graph.state.epochs.current
    by_epoch: dict[bytes, list[bytes]] = {}
    places = controls.control_places(db, row.n)
    heads: dict[bytes, tuple[bytes, ...]] = {}
    under: dict[bytes, bytes] = {}
    for id in graph.ids:
        encoded = log.commit_at(db, places[id])
        assert encoded is not None
        heads[id] = decode_head(encoded).control_heads
        epoch = under[id] = epoch_of(graph, heads[id])
        if epoch in held:
            by_epoch.setdefault(epoch, []).append(places[id])
    if row.role and current and current.epoch in held:
        links = epochs.links_between(db, row, held)
        for id in closed_to_some(graph, heads, under, current, places, links):
            by_epoch.setdefault(current.epoch, []).append(places[id])
    for epoch, id in last_words(graph, held):
        by_epoch.setdefault(epoch, []).append(places[id])
    for epoch, places_in in by_epoch.items():
        found = [place for place in places_in if wanted is None or place in wanted]
        yield from _bundled(db, row, found, held[epoch])


def last_word_records(
    db: apsw.Connection, row: log.ChannelRow, graph: Graph
) -> Iterator[tuple[bytes, tuple[bytes, ...], list[Record]]]:
    """What made a key void, under that key: (epoch, control commits, records) of each that is here."""
    held, words = _keys(db, row), defaultdict[bytes, list[bytes]](list)
    for epoch, id in last_words(graph, held):
        words[epoch].append(id)
    places = controls.control_places(db, row.n) if words else {}
    for epoch, ids in words.items():
        yield epoch, tuple(ids), list(_bundled(db, row, [places[id] for id in ids], held[epoch]))


def _bundled(
    db: apsw.Connection, row: log.ChannelRow, places: Sequence[bytes], key: EpochKey
) -> Iterator[Record]:
    for part in in_parts((_encoded(db, place) for place in places), PART_BYTES):
        yield _bundle(part, key, row.id)


class Wanted(NamedTuple):
    """Which content is to go."""

    spans: Mapping[int, Sequence[Span]]  # by log
    epochs: Collection[bytes]


class Piece(NamedTuple):
    """A content commit on its way out."""

    head: Head
    encoded: bytes
    log: int


class Part(NamedTuple):
    """A bundle of content, the time of the newest in it, and what is in it."""

    time: int
    record: Record
    places: tuple[Place, ...]


def _newest_first(one: Piece | Part) -> int:
    return -(one.head.time if isinstance(one, Piece) else one.time)


def content_parts(
    db: apsw.Connection,
    row: log.ChannelRow,
    graph: Graph,
    own: str = "",
    goes: Goes | None = None,
    wanted: Wanted | None = None,
) -> Iterator[Part]:
    """The content of a channel, of all logs together, the newest first; each commit under its epoch.

    wanted    only these commits, under these epochs
    """
    held = _keys(db, row)
    if wanted is not None:
        held = {epoch: key for epoch, key in held.items() if epoch in wanted.epochs}
    over, current = keychain.forgotten_epochs(db, row.id), graph.state.epochs.current
    under: dict[tuple[bytes, ...], bytes] = {}
    parts: dict[bytes, tuple[list[Piece], int]] = {}  # epoch -> the bundle being filled, and its size
    logs = [of for of in log.logs_of(db, row.n) if not own or of.signer == own]
    everything = [(1, limits.SEQ_MAX)]
    spans = {of.n: everything if wanted is None else wanted.spans.get(of.n, []) for of in logs}
    away = dict.fromkeys(hidden(db, row, now_ms()), POLICY)
    away |= dict.fromkeys(owing.owed(db).get(row.n, ()), ERASED)
    for piece in heapq.merge(
        *(_backwards(db, of, goes, spans[of.n], away) for of in logs), key=_newest_first
    ):
        heads = piece.head.control_heads
        epoch = under.get(heads)
        if epoch is None:
            if not all(head in graph for head in heads):
                continue  # it came since the graph was read, and goes the next time
            epoch = epoch_of(graph, heads)
            if epoch in over and current and epochs.all_may_read(graph.state, epoch):
                epoch = current.epoch  # what stands though its key is gone goes under the present one
            under[heads] = epoch
        if epoch not in held:  # ours to keep, not to hand on
            continue
        more = len(piece.encoded) + COMMIT_OVERHEAD
        if epoch in parts and parts[epoch][1] + more > PART_BYTES:
            yield _part(parts.pop(epoch)[0], held[epoch], row.id)
        pieces, size = parts.get(epoch, ([], COMMIT_OVERHEAD))
        pieces.append(piece)
        parts[epoch] = pieces, size + more
        if len(parts) > PARTS_OPEN_MAX:
            done = next(iter(parts))
            yield _part(parts.pop(done)[0], held[done], row.id)
    for epoch, (pieces, _) in parts.items():
        yield _part(pieces, held[epoch], row.id)


def _backwards(
    db: apsw.Connection, of: log.LogRow, goes: Goes | None, spans: Sequence[Span], away: dict[bytes, int]
) -> Iterator[Piece]:
    """The content commits of a log in these spans, or those that are to go, the last one first.

    away    operations that go as if they were gone here, and for which reason
    """
    for first, last in reversed(spans):
        yield from _span_backwards(db, of, goes, first, last, away)


def _span_backwards(
    db: apsw.Connection, of: log.LogRow, goes: Goes | None, first: int, last: int, away: dict[bytes, int]
) -> Iterator[Piece]:
    end = last + 1
    while window := log.commits_before(db, of.n, end, WINDOW_COMMITS, first):
        pieces: list[tuple[Head, bytes, bytes]] = []
        operations = 0
        for seq, encoded, signature in window:
            head = decode_head(encoded)
            operations += head.count
            if pieces and operations > WINDOW_OPERATIONS:
                break
            pieces.append((head, encoded, signature))
            end = seq
        found = contents.operations_between(db, of.prefix, end, pieces[0][0].seq)
        for head, encoded, signature in pieces:
            entries, holes = found.get(head.seq, ([], {}))
            if not entries or any(why not in (ERASED, POLICY) for why in holes.values()):
                continue  # others would take what was let go here for what they lack
            place = of.prefix + head.seq.to_bytes(4, "big")
            for index in range(len(entries)) if away else ():
                why = away.get(place + index.to_bytes(2, "big"))
                if index not in holes and why is not None:
                    entries[index], holes[index] = commitment_of(entries[index]), why
            if any(is_reference(entry) for entry in entries):
                continue  # archived, and out of reach: whoever asks again may have it then
            there = [b"" if index in holes else entry for index, entry in enumerate(entries)]
            if goes is None or goes(place, there):
                yield Piece(head, encode_commit(with_holes(encoded, signature, entries, holes)), of.n)


def _part(pieces: list[Piece], key: EpochKey, channel: ChannelId) -> Part:
    places = tuple((piece.log, piece.head.seq) for piece in pieces)
    return Part(pieces[0].head.time, _bundle([piece.encoded for piece in pieces], key, channel), places)


def _bundle(commits: Sequence[bytes], key: EpochKey, channel: ChannelId) -> Record:
    return Record(Kind.BUNDLE, seal_bundle(commits, key, channel, os.urandom))


def _keys(db: apsw.Connection, row: log.ChannelRow) -> dict[bytes, EpochKey]:
    return {id: EpochKey(key) for id, key in keychain.epoch_keys(db, row.id).items()}


def _encoded(db: apsw.Connection, place: bytes) -> bytes:
    """One commit as it travels."""
    row = log.log_by_prefix(db, place[:10])
    assert row is not None
    seq = int.from_bytes(place[10:], "big")
    stored = log.get_commit(db, row.n, seq)
    assert stored is not None
    salted = tuple(op for _, op in contents.commit_operations(db, row.prefix, seq))
    return encode_commit(Commit(*stored, salted))


def carried(store: LocalStore) -> Record:
    """Our self-channel, sealed to our own devices and our recovery key, signed by this device."""
    db = store.database.reader
    row = with_key(store, log.self_channel(db).id)
    assert row is not None
    graph = store.ledger.people.graph(db, row)
    publics = epochs.recipients(db, row, graph.state, graph.state.epochs.expected())
    parts = [
        (int(Kind.WELCOME), seal_welcome(row.id, part, list(publics.values()), os.urandom))
        for part in in_parts(control_log(db, row, graph), PART_BYTES)
    ]
    parts += [(int(kind), data) for kind, data in control_records(db, row, graph)]
    room = CARRIED_BYTES - sum(len(data) + PART_FRAME for _, data in parts)
    for part in content_parts(db, row, graph, goes=still_says(rows.standing_notes(db))):
        room -= len(part.record.data) + PART_FRAME
        if room < 0 or len(parts) == limits.CARRIED_PARTS_MAX:
            break  # the newest goes: others are not to keep more for us than this
        parts.append((int(part.record.kind), part.record.data))
    found = Carried(store.ledger.people.identity, now_ms(), store.device, tuple(parts))
    return Record(Kind.KEPT, sign_carried(found, store.ledger.sign))
