"""What a relay has no more, and somebody needs: asking for it there, and putting it there again (core/relay_items.py).

Who has read all that a relay has and still lacks something says so, once for each state of things. A member who sees that
forgets that what is lacking lies there: what they put next makes it good. A need says which device has it, and nothing
is put for it that this device may not read.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import apsw

from quire.core.bundle import bundle_tag
from quire.core.commit import decode_head
from quire.core.crypto.epochs import EpochKey
from quire.core.encoding import encode
from quire.core.heights import Span, lacking, spans_of
from quire.core.ids import ChannelId
from quire.core.limits import NEED_HEIGHTS_MAX
from quire.core.relay_items import Need, need_tag, open_need, seal_need
from quire.errors import PeerError
from quire.storage import aboard, heights, keychain, log
from quire.store.behind import epoch_of
from quire.store.offering import Holding, holding, lacking_of
from quire.store.people import read_graph
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.core.membership import Graph
    from quire.store.local import LocalStore

PAUSE_MS = (
    3_600_000  # one device's need in one channel is heeded once in this time: it may be said at every start
)


def need_of(store: LocalStore, row: log.ChannelRow, fresh: bool) -> tuple[bytes, bytes] | None:
    """A need as an item, and a name for it, if anything is lacking that we know of.

    fresh    we are new in the channel, and do not know what there is
    """
    db = store.database.reader
    state = store.ledger.people.state(db, row)
    current, keys = state.epochs.current, keychain.epoch_keys(db, row.id)
    if current is None or current.epoch not in keys or len(state.devices) < 2:
        return None
    gaps = [(of.prefix, heights.gaps(db, of.n)) for of in log.logs_of(db, row.n)]
    founded = row.kind == "self" or row.creator == store.own_key
    if not any(spans for _, spans in gaps) and (founded or not fresh):
        return None
    found = holding(db, row).heights[:NEED_HEIGHTS_MAX]
    item = seal_need(Need(bytes(store.device), found), EpochKey(keys[current.epoch]), row.id, os.urandom)
    said = b"" if not any(spans for _, spans in gaps) else encode(gaps)
    return item, hashlib.sha256(b"need" + row.id + said).digest()


class Needs:
    """The needs of others that a vault heeds."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._heeded: dict[tuple[bytes, bytes, bytes], int] = {}  # relay, channel, device -> when

    def heed(self, relay: bytes, item: bytes) -> bool:
        """Make ready to put what somebody lacks; is there anything? What is no need of ours is none."""
        db = self._store.database.reader
        for id, key in keychain.all_epoch_keys(db):
            channel = ChannelId(id)
            try:
                if need_tag(item) == bundle_tag(EpochKey(key), channel):
                    return self._heed(relay, channel, open_need(item, EpochKey(key), channel))
            except PeerError:
                return False
        return False

    def _heed(self, relay: bytes, channel: ChannelId, need: Need) -> bool:
        db, now = self._store.database.reader, now_ms()
        row, who = log.channel_by_id(db, channel), (relay, bytes(channel), need.device)
        if row is None or not row.role or need.device == self._store.device:
            return False
        graph = read_graph(db, row)
        device = graph.state.devices.get(need.device)
        if device is None or now - self._heeded.get(who, 0) < PAUSE_MS:
            return False
        lacks = lacking_of(db, row, Holding(need.heights))
        admitted = graph.state.epochs.admissible(device.identity)
        if any(info.epoch not in admitted for info in graph.state.epochs.every()):
            lacks = {n: _admitted(db, graph, n, spans, admitted) for n, spans in lacks.items()}
        left = {n: lacking(aboard.aboard(db, relay, n), spans) for n, spans in lacks.items() if spans}
        if not left:
            return False
        self._heeded[who] = now

        def forget(db: apsw.Connection) -> None:
            for n, spans in left.items():
                aboard.set_aboard(db, relay, n, spans)

        self._store.ledger.run(forget)
        return True


def _admitted(
    db: apsw.Connection, graph: Graph, n: int, spans: list[Span], admitted: frozenset[bytes]
) -> list[Span]:
    """Of these commits of a log, those of epochs that somebody may read."""
    seqs: list[int] = []
    known: dict[tuple[bytes, ...], bool] = {}
    for first, last in spans:
        for seq, encoded, _ in log.commits(db, n, first - 1):
            if seq > last:
                break
            heads = decode_head(encoded).control_heads
            if heads not in known:
                known[heads] = epoch_of(graph, heads) in admitted
            if known[heads]:
                seqs.append(seq)
    return spans_of(seqs)
