"""Who is out of a channel of a simulated world: the key that is written under is with nobody whom a writer knows to be out.

Nobody knows everything: a writer may not have heard of what let somebody in, nor whoever gave them the key of all that a writer
knows. So each is judged by their own knowledge: who writes by whom they knew to have the key, who gives it by whom they
found to be in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from quire.core.control import CONTROL_KINDS, AddDevice, Admit, Create, Seal, decode_control
from quire.core.crypto.keys import decode_certificate
from quire.core.ids import ChannelId
from quire.core.membership import ControlCommit, EpochInfo, Graph, Membership, graph_of
from quire.core.operation import SALT_SIZE
from quire.storage import controls, log
from quire.store.epochs import devices_in
from quire.store.people import control_commits

if TYPE_CHECKING:
    from quire.testing.world import Machine, World


def people_out(world: World, machine: Machine, channel: ChannelId) -> frozenset[bytes]:
    """Whom a writer knows to have been in and to be out."""
    state = machine.graph(channel).state
    return frozenset(identity for identity in state.everybody if not state.member(identity))


def check_key(world: World, machine: Machine, channel: ChannelId) -> None:
    """The key that a device just wrote under is with nobody whom it knows to be out."""
    graph = machine.graph(channel)
    current = graph.state.epochs.current
    if current is None and set(graph.state.devices) == {machine.store.device}:
        return  # nobody to keep it from yet
    if current is None:
        raise world.fail(f"{machine.name} wrote in {world.name_of(channel)} without a key")
    for holder in world.machines:
        device = holder.store.device
        if current.epoch not in holder.keys(channel):
            continue
        if graph.state.member(holder.identity) and not graph.state.is_revoked(device):
            continue  # one's devices share their keys
        if holder.identity not in graph.state.everybody:
            continue  # let in by somebody of whom the writer has not heard
        if not let_in_elsewhere(world, graph.heads, current, channel, holder):
            raise world.fail(
                f"{holder.name} has the key under which {machine.name}, who knows that they are out, writes in"
                f" {world.name_of(channel)}"
            )


def let_in_elsewhere(
    world: World, heads: Sequence[bytes], epoch: EpochInfo | None, channel: ChannelId, holder: Machine
) -> bool:
    """Does somebody know better than who wrote, naming these heads, under this key: is a device in by all that is known
    anywhere, let in by what the writer did not know, or given the key by who did not know of the removal alone?"""
    commits: dict[bytes, ControlCommit] = {}
    places: dict[bytes, bytes] = {}
    grants: list[tuple[bytes, list[bytes]]] = []
    for machine in world.machines:
        db = machine.store.database.reader
        if row := log.channel_by_id(db, channel):
            commits.update((one.id, one) for one in control_commits(db, row))
            places.update((place, id) for id, place in controls.control_places(db, row.n).items())
            grants += _grants(machine, row.n)
    graph = graph_of(channel, commits.values())
    unheard = set(graph.beyond(heads))
    if any(holder.store.device in devices and places[id[:14]] in unheard for id, devices in grants):
        return True
    if graph.state.member(holder.identity) and not graph.state.is_revoked(holder.store.device):
        return True
    return epoch is not None and given_unheard(
        graph, commits.values(), heads, epoch.epoch, holder.store.device
    )


def _grants(machine: Machine, n: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """(id, devices) of the operations that make devices known."""
    db = machine.store.database.reader
    for kind in (Create, Admit, AddDevice):
        for id, op in controls.control_rows(db, n, CONTROL_KINDS[kind]):
            devices = devices_in(decode_control(op[SALT_SIZE:]))
            yield id, [decode_certificate(one.certificate).device for one in devices]


def given_unheard(
    graph: Graph, commits: Iterable[ControlCommit], heads: Sequence[bytes], epoch: bytes, device: bytes
) -> bool:
    """Was a device given a key in a commit that a writer did not know, by somebody who found it in?

    A removal does not hold against a stronger grant that is concurrent with it (docs/spec/06-membership.md, 5.2). Who
    heard of the removal alone writes under the key that came with it; who hears of both gives that to whom the grant
    left in, and may put them out again later. A seal that the writer knew of is no excuse, nor one to whom its own author
    knew to be out, or to be in and not to read that far back.
    """
    epochs, unheard = graph.state.epochs, set(graph.beyond(heads))
    opening = {info.epoch for info in epochs.every() if epoch in epochs.reach(info.epoch)}
    if any(device in graph.at(heads).epochs.holders(one) for one in opening):
        return False
    giving = [one.id for one in commits if one.id in unheard and _gives(one, opening, device)]
    return any(_may_read(graph.at([id]), epoch, device) for id in giving)


def _may_read(state: Membership, epoch: bytes, device: bytes) -> bool:
    info = state.device(device)
    return info is not None and state.epochs.admits(info.identity, epoch)


def _gives(commit: ControlCommit, epochs: set[bytes], device: bytes) -> bool:
    """Does a commit seal one of these keys to a device?"""
    return any(
        isinstance(one, Seal) and one.epoch in epochs and any(key.recipient == device for key in one.keys)
        for one in commit.operations
    )
