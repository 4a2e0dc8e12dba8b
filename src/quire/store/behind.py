"""Who in a channel must be welcomed: devices that no commit we could seal would bring the present key.

A seal travels under the epoch before it. So who was away for a removal and let in again, or was sealed the wrong key, or
is new, has nothing that opens the commit that their key is in. Nor does it help to open it, if it names one that is
closed. Who only reads shows nobody what they hold, and is welcomed each time.

What we wrote ourselves in an epoch whose key we lack (a liar's, who sealed us another) we cannot seal at all: neither that
the key is wrong, nor a new one. It goes in welcomes to all who have not shown that they know it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import apsw

from quire.core.commit import decode_head
from quire.core.control import CONTROL_KINDS as KINDS
from quire.core.control import Report, Seal, decode_control
from quire.core.membership import EpochInfo, Graph
from quire.core.operation import SALT_SIZE
from quire.storage import controls, keychain, log
from quire.storage.meta import get_meta
from quire.store.epochs import TrueLink, parents_by, reach_of
from quire.store.forgetting import over
from quire.store.wallclock import now_ms


def devices_with_key(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> set[bytes]:
    """Devices that made the present key, or wrote under it."""
    current = graph.state.epochs.current
    assert current is not None
    by_place = {place: id for id, place in _places(db, row, graph).items()}
    newest = ((of.device, _newest_content_heads(db, of, graph, by_place)) for of in log.logs_of(db, row.n))
    wrote = {device for device, heads in newest if heads and epoch_of(graph, heads) == current.epoch}
    return wrote | {current.device}


def devices_behind(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> set[bytes]:
    """Devices that cannot come to the present key by what they hold for sure: the keys they made or wrote under."""
    epochs_ = graph.state.epochs
    assert epochs_.current is not None
    places = _places(db, row, graph)
    by_place = {place: id for id, place in places.items()}
    roads = _roads(db, row, graph, by_place)
    held: dict[bytes, set[bytes]] = {}
    for info in epochs_.every():
        held.setdefault(info.device, set()).add(info.epoch)
    shown: dict[bytes, set[bytes]] = {}  # device -> control heads that it named
    for branch in log.logs_of(db, row.n):
        if heads := _newest_content_heads(db, branch, graph, by_place):
            held.setdefault(branch.device, set()).add(epoch_of(graph, heads))
            shown.setdefault(branch.device, set()).update(heads)
    unheard, gone = _Unheard(db, graph, places), over(db, row, graph, now_ms())
    behind: set[bytes] = set()
    for device in graph.state.devices:
        has = held.get(device, set()) - gone  # it may have destroyed these
        if epochs_.current.epoch not in has:
            needed = {epochs_.current.epoch, *unheard.epochs(frozenset(shown.get(device, ())))}
            if not all(_leads(epoch, device, has, roads) for epoch in needed):
                behind.add(device)
    return behind | devices_unaware(db, row, graph, graph.state.devices)


def is_led(
    db: apsw.Connection,
    row: log.ChannelRow,
    graph: Graph,
    device: bytes,
    held: set[bytes],
    lacks: Iterable[bytes],
    ours: Collection[bytes],
) -> bool:
    """Does a device come to the present key, and to all that it lacks, by the keys that it says it has?

    held     the epochs whose keys it has, and has nothing else of
    lacks    control commits, by their places
    ours     the epochs whose keys we have: what was written under another we cannot seal to anybody
    """
    current = graph.state.epochs.current
    by_place = {place: id for id, place in _places(db, row, graph).items()}
    needed = {current.epoch} if current else set()
    for place in lacks:
        encoded = log.commit_at(db, place)
        assert encoded is not None
        needed.add(epoch_of(graph, decode_head(encoded).control_heads))
    if not needed.issubset(ours):
        return False
    roads = _roads(db, row, graph, by_place)
    return all(_leads(epoch, device, held, roads) for epoch in needed)


def _places(db: apsw.Connection, row: log.ChannelRow, graph: Graph) -> dict[bytes, bytes]:
    """Where the graph's commits stand. What others wrote since it was read is looked at the next time."""
    return {id: place for id, place in controls.control_places(db, row.n).items() if id in graph}


Roads = dict[bytes, dict[bytes, set[bytes]]]  # epoch -> device -> epochs that lead to it


def _roads(db: apsw.Connection, row: log.ChannelRow, graph: Graph, by_place: Mapping[bytes, bytes]) -> Roads:
    """By which keys which device comes to which: the seal to it travels under the epoch before."""
    under: dict[bytes, bytes] = {}  # commit -> the epoch it travels under
    roads: Roads = {}
    for id, op in controls.control_rows(db, row.n, KINDS[Seal]):
        if (commit := by_place.get(id[:14])) is None:
            continue
        seal = decode_control(op[SALT_SIZE:])
        assert isinstance(seal, Seal)
        if commit not in under:
            encoded = log.commit_at(db, id[:14])
            assert encoded is not None
            under[commit] = epoch_of(graph, decode_head(encoded).control_heads)
        for one in seal.keys:
            roads.setdefault(seal.epoch, {}).setdefault(one.recipient, set()).add(under[commit])
    for id, op in controls.control_rows(db, row.n, KINDS[Report]):
        report, branch = decode_control(op[SALT_SIZE:]), log.log_by_prefix(db, id[:10])
        assert isinstance(report, Report)
        assert branch is not None
        roads.get(report.epoch, {}).pop(branch.device, None)  # what was sealed to it did not open
    return roads


class _Unheard:
    """What a device still has to hear of. A seal leads nowhere if its commit names one that is closed to its reader."""

    def __init__(self, db: apsw.Connection, graph: Graph, places: Mapping[bytes, bytes]) -> None:
        self._graph = graph
        self._under: dict[bytes, bytes] = {}
        self._known: dict[frozenset[bytes], set[bytes]] = {}
        for id, place in places.items():
            encoded = log.commit_at(db, place)
            assert encoded is not None
            self._under[id] = epoch_of(graph, decode_head(encoded).control_heads)

    def epochs(self, shown: frozenset[bytes]) -> set[bytes]:
        """The epochs of all commits but those that who named these heads has."""
        found = self._known.get(shown)
        if found is None:
            found = self._known[shown] = {
                self._under[id] for id in self._graph.beyond(shown) if id in self._under
            }
        return found


def devices_unaware(
    db: apsw.Connection, row: log.ChannelRow, graph: Graph, devices: Iterable[bytes]
) -> set[bytes]:
    """Which of these devices have not shown to know a control commit of ours that we cannot seal."""
    control = {place: id for id, place in _places(db, row, graph).items()}
    own, keys = bytes(get_meta(db, "device")), keychain.epoch_keys(db, row.id)
    heads: dict[bytes, tuple[bytes, ...]] = {}
    stuck: set[bytes] = set()
    for place, id in control.items():
        encoded = log.commit_at(db, place)
        assert encoded is not None
        head = decode_head(encoded)
        heads[id] = head.control_heads
        if head.device == own and head.control_heads and epoch_of(graph, head.control_heads) not in keys:
            stuck.add(id)
    story = graph.story() if stuck else []
    logs = log.logs_of(db, row.n)
    unaware: set[bytes] = set()
    for one in stuck:
        after, aware = {one}, {own}
        for verdict in story:  # in order of time: what knows it comes later
            if not after.isdisjoint(heads.get(verdict.id, ())):
                after.add(verdict.id)
                aware.add(verdict.device)
        aware |= {
            of.device for of in logs if not after.isdisjoint(_newest_content_heads(db, of, graph, control))
        }
        unaware |= set(devices) - aware
    return unaware


def _newest_content_heads(
    db: apsw.Connection, of: log.LogRow, graph: Graph, control: Mapping[bytes, bytes]
) -> tuple[bytes, ...]:
    for seq in range(log.newest_commit(db, of.n)[0], 0, -1):
        if of.prefix + seq.to_bytes(4, "big") not in control and (found := log.get_commit(db, of.n, seq)):
            heads = decode_head(found[0]).control_heads
            if all(head in graph for head in heads):
                return heads
    return ()


def _leads(epoch: bytes, device: bytes, held: set[bytes], roads: Roads) -> bool:
    """Does a chain of seals to a device lead from a key that it holds to this one?"""
    seen: set[bytes] = set()
    todo = [epoch]
    while todo:
        one = todo.pop()
        if one in held:
            return True
        if one not in seen:
            seen.add(one)
            todo += roads.get(one, {}).get(device, ())
    return False


def closed_to_some(
    graph: Graph,
    heads: Mapping[bytes, tuple[bytes, ...]],
    under: Mapping[bytes, bytes],
    present: EpochInfo,
    places: Mapping[bytes, bytes],
    links: Sequence[TrueLink],
) -> Iterator[bytes]:
    """Control commits that somebody with the present key might not open, or not before they have what names them.

    heads     of every control commit; `under`: the epoch it was written under
    links     that open, of all commits

    Who has the present key has the commit that began it, and all before that. From there on what they have grows by
    what they open: a link opens nothing to who waits for the commit that it is in, because that names what is closed.
    """
    everywhere = reach_of(present.epoch, parents_by(links))
    left = graph.beyond([present.commit])
    has = set(graph.ids).difference(left)
    yield from (id for id in graph.ids if id in has and under[id] not in everywhere)
    closed: set[bytes] = set()  # epochs
    while left:
        taken = {places[id] for id in has}
        opened = reach_of(present.epoch, parents_by(link for link in links if link.place in taken))
        waiting: list[bytes] = []
        for id in left:
            if has.issuperset(heads[id]) and (under[id] in opened or under[id] in closed):
                has.add(id)
                if under[id] not in opened:
                    yield id
            else:
                waiting.append(id)
        if len(waiting) == len(left):
            closed |= {under[id] for id in waiting if has.issuperset(heads[id])}
        left = waiting


def last_words(graph: Graph, held: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Of keys that do not count, by what: (epoch, control commit), each of these after what it names.

    Nothing later than that. Who has such a key and no other was let in by somebody who was out, and is told so.
    """
    for info in graph.state.epochs.every():
        void = graph.verdict(info.commit)
        while void.by and not void.standing:
            void = graph.verdict(void.by)
        if info.epoch in held and void.standing and void.id != info.commit:
            later = {*graph.beyond([void.id])}
            yield from ((info.epoch, id) for id in graph.beyond([info.commit]) if id not in later)


def epoch_of(graph: Graph, heads: tuple[bytes, ...]) -> bytes:
    """The epoch that a commit naming these heads was written under; what is older than all goes with the first.

    Empty where there never was one: nobody else was ever in.
    """
    found = graph.epoch_at(heads) if heads else None
    epochs = [found] if found else graph.state.epochs.every()
    return epochs[-1].epoch if epochs else b""
