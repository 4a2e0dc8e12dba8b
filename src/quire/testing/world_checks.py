"""What must hold in a simulated world: its vaults against the truth, and against each other.

The checks know the truth from the world, not from the vaults: what each device was told is durable, what each author
wrote, whom each writer knew to be out (testing/world_out.py). Which control commits stand they ask core/membership, which
has tests of its own; what a removal cuts off they work out themselves, from the heads that commits name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from quire.core import limits
from quire.core.commit import Head, decode_head
from quire.core.control import CONTROL_KINDS, HISTORY_ALL, Remove, decode_control
from quire.core.ids import ChannelId, DeviceId, Incarnation, log_prefix
from quire.core.membership import Graph
from quire.core.operation import SALT_SIZE
from quire.errors import UnauthorisedError
from quire.storage import controls, log
from quire.store.behind import epoch_of
from quire.testing import world_erasing, world_letting
from quire.testing.world_out import let_in_elsewhere

if TYPE_CHECKING:
    from quire.core.views import Message
    from quire.store.unbundling import BundleReport
    from quire.testing.world import Machine, World

PAGE = 500


def news(report: BundleReport) -> int:
    """How much of what came was not here. Requests that wait for approval come every time; who answers one writes a commit."""
    return report.new


class Ancestry:
    """What control commits know of each other, by the heads they name: the same in every vault."""

    def __init__(self) -> None:
        self._heads: dict[bytes, tuple[bytes, ...]] = {}
        self.places: dict[
            bytes, tuple[bytes, int]
        ] = {}  # (log, seq), whatever branch of it a vault keeps it in
        self._known: dict[bytes, frozenset[bytes]] = {}

    def learn(self, machine: Machine, channel: ChannelId) -> None:
        """Take in a vault's control commits of a channel."""
        db = machine.store.database.reader
        for id, place in controls.control_places(db, machine.store.channel_row(channel).n).items():
            if id not in self._heads:
                encoded = log.commit_at(db, place)
                assert encoded is not None
                head = decode_head(encoded)
                self._heads[id], self.places[id] = head.control_heads, _place_of(head)

    def known(self, heads: tuple[bytes, ...]) -> frozenset[bytes]:
        """These commits and all before them."""
        return frozenset[bytes]().union(*(self._of(head) for head in heads))

    def _of(self, id: bytes) -> frozenset[bytes]:
        todo = [id]
        while todo:
            one = todo[-1]
            missing = [head for head in self._heads[one] if head not in self._known]
            if missing and one not in self._known:
                todo += missing
            else:
                before = (self._known[head] for head in self._heads[one])
                self._known[one] = frozenset([one]).union(*before)
                todo.pop()
        return self._known[id]


# At any time


def check_safety(world: World) -> None:
    """Raises: Violation."""
    for machine in world.honest:
        world.at(machine)
        _check_kept(world, machine)
    for machine in world.honest:
        world.at(machine)
        _check_log(world, machine)
        _check_bounds(world, machine)
        world_letting.check_gone(world, machine)
        world_erasing.check_erased(world, machine)
        for channel in world.channels:
            if log.channel_by_id(machine.store.database.reader, channel) is not None:
                world.ancestry.learn(machine, channel)
                shown = list(shown_in(machine, channel))
                _check_shown(world, machine, channel, shown)
                _check_cuts(world, machine, channel, shown)
    one = world.random.choice(world.honest)
    check_verified(world, world.at(one))


def shown_in(machine: Machine, channel: ChannelId) -> Iterator[Message]:
    """Every message of a channel that a device shows, or showed while its owner was in."""
    return machine.store.get_channel_messages(channel)


def check_verified(world: World, machine: Machine) -> None:
    report = machine.store.verify()
    if not report.ok:
        raise world.fail(f"{machine.name} does not verify: {report.problems[:5]}")


def _check_kept(world: World, machine: Machine) -> None:
    """Nothing that a device once had of its own is gone."""
    own = machine.own_commits()
    if lost := machine.kept - own:
        raise world.fail(f"{machine.name} lost {len(lost)} of its own commits")
    machine.kept = own


def _check_log(world: World, machine: Machine) -> None:
    """What stands here in the name of an honest device, that device wrote."""
    honest = {bytes(one.store.device): one for one in world.trusted}
    rows = machine.store.database.reader.execute(
        "SELECT l.device, l.prefix, c.seq, c.head FROM commits c JOIN log l ON l.n = c.log"
    )
    for device, prefix, seq, head in rows:
        author = honest.get(bytes(device))
        if author and (bytes(prefix), seq, bytes(head)) not in author.kept:
            raise world.fail(
                f"{machine.name} has a commit in the name of {author.name}, who did not write it"
            )


def _check_bounds(world: World, machine: Machine) -> None:
    """What waits or does not count is bounded for each device."""
    db = machine.store.database.reader
    bounds = (
        ("SELECT count(*) FROM parked GROUP BY device", limits.PARKED_PER_DEVICE_MAX),
        ("SELECT count(*) FROM parked GROUP BY channel", limits.PARKED_PER_CHANNEL_MAX),
        ("SELECT sum(length(encoded)) FROM parked", limits.PARKED_BYTES_MAX),
        ("SELECT count(*) FROM waiting GROUP BY substr(id, 1, 10)", limits.WAITING_PER_DEVICE_MAX),
        ("SELECT count(*) FROM voided GROUP BY substr(id, 1, 10)", limits.WAITING_PER_DEVICE_MAX),
    )
    for query, bound in bounds:
        if any((count or 0) > bound for (count,) in db.execute(query)):
            raise world.fail(f"{machine.name} keeps too much: {query}")


def _check_shown(world: World, machine: Machine, channel: ChannelId, shown: list[Message]) -> None:
    """Honest people said what is shown as theirs, and took back what is shown as taken back by them."""
    honest = {one.store.own_key: one for one in world.honest}
    for message in shown:
        author = honest.get(message.author.id)
        said = world.said.get(message.id)
        if author is None:
            if said:
                raise world.fail(f"{machine.name} shows a message of an honest person as somebody else's")
            continue
        bodies = said.bodies if said else world.meant.get(author.identity, set())
        if message.deleted:
            deleter = honest.get(message.deleted.by.id)
            if said and deleter and deleter.identity not in said.deleted_by:
                raise world.fail(f"{machine.name} shows a message deleted by {deleter.owner}, who did not")
        elif message.body not in bodies:
            raise world.fail(f"{machine.name} shows {message.body!r} by {author.owner}, who did not write it")
        if said and machine.identity in said.out:
            heads = _head_of(machine, message.id).control_heads
            if let_in_elsewhere(world, heads, machine.graph(channel).epoch_at(heads), channel, machine):
                continue
            raise world.fail(f"{machine.name} reads {message.body!r}, whose writer knew that they are out")


def _head_of(machine: Machine, id: bytes) -> Head:
    """The head of the commit that an operation is in."""
    encoded = log.commit_at(machine.store.database.reader, id[:14])
    assert encoded is not None
    return decode_head(encoded)


def _place_of(head: Head) -> tuple[bytes, int]:
    return log_prefix(DeviceId(head.device), Incarnation(head.incarnation)), head.seq


def _check_cuts(world: World, machine: Machine, channel: ChannelId, shown: list[Message]) -> None:
    """Nothing is shown that its author wrote beyond a removal that holds, not knowing of it."""
    db = machine.store.database.reader
    row = machine.store.channel_row(channel)
    removals = [
        (id, operation)
        for id, op in controls.control_rows(db, row.n, CONTROL_KINDS[Remove])
        if isinstance(operation := decode_control(op[SALT_SIZE:]), Remove)
    ]
    if not removals:
        return
    verdicts = {one.id: one for one in machine.graph(channel).story()}
    by_place = {place: id for id, place in controls.control_places(db, row.n).items()}
    holding = [
        (by_place[id[:14]], operation)
        for id, operation in removals
        if verdicts[by_place[id[:14]]].standing and not verdicts[by_place[id[:14]]].contested
    ]
    for removal, operation in holding:
        seen = world.ancestry.known((removal,)) - {removal}
        ends = {cut.prefix: cut.seq for cut in operation.cuts}
        for prefix, seq in map(world.ancestry.places.__getitem__, seen):
            ends[prefix] = max(ends.get(prefix, 0), seq)  # what its author shows to have known counts
        signer = f"quire:{operation.identity.hex()}"
        for message in shown:
            if message.author.id != signer:
                continue
            head = _head_of(machine, message.id)
            prefix, seq = _place_of(head)
            if seq > ends.get(prefix, 0) and removal not in world.ancestry.known(head.control_heads):
                raise world.fail(
                    f"{machine.name} shows {message.body!r} of {world.name_of(channel)}, beyond a removal"
                )


# At last


def check_converged(world: World) -> None:
    """Raises: Violation."""
    for machine in world.honest:
        world.at(machine).reopen()
        check_verified(world, machine)
    for channel in world.channels:
        _check_channel(world, channel)


def _check_channel(world: World, channel: ChannelId) -> None:
    name = world.name_of(channel)
    inside = [one for one in world.honest if channel in one.roles_here()]
    if not inside:
        return
    first = max(inside, key=lambda one: len(one.graph(channel)))
    graph = first.graph(channel)
    inside = [
        one
        for one in inside
        if graph.state.device(one.store.device) or not _is_out_unheard(one, first, channel)
    ]
    for one in inside:
        if one.graph(channel).heads != graph.heads:
            raise world.fail(f"{one.name} and {first.name} have other control commits of {name}")
    for one in world.honest:
        theirs = one.graph(channel).heads if log.channel_by_id(one.store.database.reader, channel) else ()
        if any(head not in graph for head in theirs):
            continue  # somebody put them out and told nobody else; who is out hands on what is their own
        if channel in one.roles_here() and one not in inside:
            continue  # they were put out under a key that they never had
        if bool(graph.state.device(one.store.device)) is not (one in inside):
            raise world.fail(f"{one.name} and {first.name} differ about who is in {name}")
    _check_devices(world, channel, inside, graph)
    _check_keys(world, channel, inside, graph)
    readers = [one for one in inside if _scope(graph, one) == HISTORY_ALL]
    if any(world_letting.is_letting(one, channel) for one in inside):
        world_letting.check_equal_but_for_gone(world, channel, readers)
        return
    _check_readers(world, channel, inside, graph)
    _check_written(world, channel, inside, graph)


def _is_out_unheard(one: Machine, first: Machine, channel: ChannelId) -> bool:
    """Is what a device lacks of what others know closed to it, so that it cannot hear that it is out?"""
    graph, theirs = first.graph(channel), one.graph(channel)
    keys, db = one.keys(channel), first.store.database.reader
    if any(head not in graph for head in theirs.heads):
        return False
    for id, place in controls.control_places(db, first.store.channel_row(channel).n).items():
        encoded = log.commit_at(db, place)
        assert encoded is not None
        heads = decode_head(encoded).control_heads
        if id not in theirs and all(head in theirs for head in heads) and epoch_of(graph, heads) in keys:
            return False
    return True


def _check_devices(world: World, channel: ChannelId, inside: list[Machine], graph: Graph) -> None:
    """Every device that a member's self-channel knows is in, unless it was revoked there."""
    for one in inside:
        db = one.store.database.reader
        own = one.store.ledger.people.state(db, log.self_channel(db)).member(one.identity)
        for device in own.devices if own else ():
            if not graph.state.device(device) and not graph.state.is_revoked(device):
                raise world.fail(f"a device of {one.owner} is not in {world.name_of(channel)}")


def _check_keys(world: World, channel: ChannelId, inside: list[Machine], graph: Graph) -> None:
    """Who is in has every key they may have that anybody has, and nobody else has the present one."""
    epochs = graph.state.epochs
    somewhere = set[bytes]().union(*(one.keys(channel) for one in inside))
    for one in inside:
        if missing := _due(graph, one) & somewhere - set(one.keys(channel)):
            raise world.fail(f"{one.name} lacks {len(missing)} keys of {world.name_of(channel)}")
    if epochs.current is None and len(graph.state.devices) == 1:
        return  # nobody to share a key with yet
    if epochs.current is None or epochs.current.epoch not in somewhere:
        raise world.fail(f"nobody in {world.name_of(channel)} has the present key")
    for one in world.machines:
        is_in = graph.state.member(one.identity) and not graph.state.is_revoked(one.store.device)
        if epochs.current.epoch in one.keys(channel) and not is_in:
            raise world.fail(f"{one.name} is out of {world.name_of(channel)} and has its key")


def _check_readers(world: World, channel: ChannelId, inside: list[Machine], graph: Graph) -> None:
    """Who may read everything sees the same; others see of that what their scope admits."""
    everything = [one for one in inside if _scope(graph, one) == HISTORY_ALL]
    if not everything:
        return
    first, expected = everything[0], everything[0].digest(channel)
    for one in everything[1:]:
        for field, ours, theirs in zip(expected._fields, expected, one.digest(channel), strict=True):
            if ours != theirs:
                raise world.fail(
                    f"{one.name} and {first.name} differ about {field} of {world.name_of(channel)}: {_difference(ours, theirs)}"
                )
    written = [
        (message, graph.epoch_at(_head_of(first, message.id).control_heads))
        for message in shown_in(first, channel)
    ]
    for one in inside:
        shown = {message.id for message in shown_in(one, channel)}
        admitted = _due(graph, one)
        due = {
            message.id
            for message, epoch in written
            if epoch and epoch.epoch in admitted and (message.root is None or message.root in shown)
        }  # a reply to what one may not read waits for it
        if missing := due - shown:
            raise world.fail(f"{one.name} does not see {len(missing)} messages of {world.name_of(channel)}")


def _difference(ours: object, theirs: object) -> str:
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return f"{theirs!r}, not {ours!r}"
    return f"has {[one for one in theirs if one not in ours]}, has not {[one for one in ours if one not in theirs]}"


def _check_written(world: World, channel: ChannelId, inside: list[Machine], graph: Graph) -> None:
    """What an honest person wrote by a right that they still have is seen by all who may see everything."""
    authors = {place: one for one in world.trusted for place in _prefixes(one)}
    for reader in inside:
        if _scope(graph, reader) != HISTORY_ALL:
            continue
        shown = {message.id for message in shown_in(reader, channel)}
        for id, said in world.said.items():
            if said.channel != channel or id in shown or (said.root and said.root not in shown):
                continue  # a reply goes with what it answers
            author = authors[id[:10]]
            keeper = author if author not in world.lost else _keeper(inside, id)
            if keeper is None:
                continue  # it went with its author's device
            heads = _head_of(keeper, id).control_heads
            if author not in inside and any(head not in graph for head in heads):
                continue  # they went, and whom they could tell is out, too, or a liar
            try:
                right = graph.authority(
                    author.store.device,
                    id[:10],
                    int.from_bytes(id[10:14], "big"),
                    heads,
                )
            except UnauthorisedError:
                continue
            if right.may("post"):
                raise world.fail(f"{reader.name} does not see {said.bodies[0]!r} in {world.name_of(channel)}")


def _keeper(inside: list[Machine], id: bytes) -> Machine | None:
    """Somebody who has the commit of an operation whose author's device is destroyed."""
    having = (one for one in inside if log.commit_at(one.store.database.reader, id[:14]) is not None)
    return next(having, None)


def _due(graph: Graph, machine: Machine) -> set[bytes]:
    """The epochs that a device should have: those its owner may read, unless the key opens more than they may."""
    admitted = graph.state.epochs.admissible(machine.identity)
    return {epoch for epoch in admitted if graph.state.epochs.reach(epoch) <= admitted}


def _prefixes(machine: Machine) -> set[bytes]:
    return {prefix for prefix, _, _ in machine.kept}


def _scope(graph: Graph, machine: Machine) -> int:
    member = graph.state.member(machine.identity)
    assert member is not None
    return member.history
