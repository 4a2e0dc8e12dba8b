"""What was kept of a batch takes effect: posts column by column, the rest one by one, what has no right aside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import apsw

from quire.core import clock
from quire.core.operation import Erase
from quire.core.timeline import order_time
from quire.storage import erasures, log, retention
from quire.storage import timeline as rows
from quire.store.apply import Applier, Item
from quire.store.arrivals import Arrival
from quire.store.columns import empty
from quire.store.filling import Filling
from quire.store.letting import drop_expired
from quire.store.withdraw import set_aside

# A commit, the log that it is in, and what its author may do in it.
Accepted: TypeAlias = tuple[Arrival, log.LogRow, int]


def take_effect(
    db: apsw.Connection,
    applier: Applier,
    own: str,
    row: log.ChannelRow,
    accepted: Sequence[Accepted],
    filling: Filling,
    now_ms: int,
) -> None:
    """Apply content commits of one channel, which are in its logs already, and what others brought to those that were.

    own    who we are, as a signer
    """
    items: list[Item] = []
    posts, ids = empty(), list[bytes]()
    erased = _named_by_erasures(db, row.n, accepted)
    for arrival, of, rights in accepted:
        filling.note(arrival, of)
        every = _ids(arrival, of, range(len(arrival.operations))) if erased else ()
        if not rights:
            set_aside(db, row, _items(arrival, of, rights))
        elif (
            arrival.posts is None or clock.is_ahead(arrival.head.time, now_ms) or not erased.isdisjoint(every)
        ):
            items += _items(arrival, of, rights)
        else:
            posts.add(arrival.posts, of.signer, rows.OURS if of.signer == own else 0)
            ids += _ids(arrival, of, arrival.places)
            items += _items(arrival, of, rights, arrival.others)
    for arrival, of, rights, brought in filling.take_filled(row.id):
        found = [item for item in _items(arrival, of, rights) if item.id in brought]
        if rights:
            items += found
        else:
            set_aside(db, row, found)
    times = [arrival.head.time for arrival, _, _ in accepted]
    newest = max((time for time in times if not clock.is_ahead(time, now_ms)), default=0)
    if ids:
        ids, posts = posts.sorted_by_time(ids)
        applier.place(db, row, ids, posts)
    if items or ids:
        applier.apply(db, row, items, now_ms, placed=ids)
    log.touch_channel(db, row.n, clock=newest)
    if retention.is_bounded(db, row.n):
        came = [*zip(posts.times, ids, strict=True), *((_order_time(item), item.id) for item in items)]
        drop_expired(db, applier, row, came, now_ms)


def _named_by_erasures(db: apsw.Connection, n: int, accepted: Sequence[Accepted]) -> set[bytes]:
    """What is erased is applied one by one: the ids, whether they stand or not, that any erasure of the channel names."""
    named = {
        what.id
        for arrival, _, _ in accepted
        for operation in arrival.operations
        if type(operation) is Erase
        for what in operation.entries
    }
    if erasures.any_here(db):
        ids = [id for one, of, _ in accepted for id in _ids(one, of, range(len(one.operations)))]
        named.update(erasures.erasures_on(db, n, ids) if ids else ())
    return named


def _order_time(item: Item) -> int:
    return order_time(item.operation, item.time) if item.operation is not None else item.time


def _ids(arrival: Arrival, row: log.LogRow, places: Iterable[int]) -> list[bytes]:
    start = row.prefix + arrival.head.seq.to_bytes(4, "big")
    return [start + at.to_bytes(2, "big") for at in places]


def _items(arrival: Arrival, row: log.LogRow, rights: int, places: Sequence[int] | None = None) -> list[Item]:
    """Its operations, or those at these places, to be applied one by one."""
    every = range(len(arrival.operations)) if places is None else places
    time, signer, salted = arrival.head.time, row.signer, arrival.commit.operations
    return [
        Item(id, time, signer, arrival.operations[at], salted[at], rights)
        for id, at in zip(_ids(arrival, row, every), every, strict=True)
    ]
