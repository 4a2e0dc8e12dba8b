"""A channel's keys in this vault: those that were sealed to us, those that links lead to, and new ones.

What a key is called and who should have it, core/membership says; what opens what, core/crypto/epochs.py. Every key
that becomes known is also written to the self-channel, for our other devices and for recovery.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import apsw

from quire.core.control import CONTROL_KINDS as KINDS
from quire.core.control import (
    HASH_SIZE,
    AddDevice,
    Admit,
    ControlOperation,
    Create,
    Device,
    Link,
    Report,
    Rotate,
    Seal,
    SealedKey,
    decode_control,
)
from quire.core.crypto import epochs as crypto
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.sealing import seal
from quire.core.crypto.secrets import KEY_SIZE
from quire.core.ids import ChannelId
from quire.core.limits import SEALS_PER_OPERATION_MAX
from quire.core.membership import DeviceInfo, Graph, Membership
from quire.core.operation import SALT_SIZE
from quire.errors import MalformedError
from quire.storage import controls, keychain, log
from quire.storage.database import inconsistent

Seeds = Mapping[bytes, bytes]  # recipient -> sealing seed: this device, or our recovery key


def learn(
    db: apsw.Connection, channel: log.ChannelRow, operations: Iterable[ControlOperation], seeds: Seeds
) -> tuple[dict[bytes, EpochKey], list[bytes]]:
    """Keys that new control operations make known, by epoch; and epochs whose seal to us does not hold."""
    known = {id: EpochKey(key) for id, key in keychain.epoch_keys(db, channel.id).items()}
    before = set(known)
    wrong: list[bytes] = []
    links = False
    for operation in operations:
        links = links or isinstance(operation, Link)
        if isinstance(operation, Seal) and operation.epoch not in known:
            for one in operation.keys:
                if one.recipient not in seeds or len(one.sealed) == HASH_SIZE:
                    continue  # not ours, or destroyed
                try:
                    seed = seeds[one.recipient]
                    known[operation.epoch] = crypto.open_from(
                        one.sealed, seed, channel.id, operation.epoch, one.recipient
                    )
                except MalformedError:
                    wrong.append(operation.epoch)
    if links or len(known) > len(before):
        walk_back(db, channel, known)
    gone = keychain.forgotten_epochs(db, channel.id)
    fresh = {id: key for id, key in known.items() if id not in before and id not in gone}
    return fresh, [epoch for epoch in wrong if epoch not in known and epoch not in gone]


def withheld(operations: Iterable[ControlOperation], device: bytes) -> list[bytes]:
    """Epochs whose key was sealed to a device, of which only the hash has come."""
    return [
        operation.epoch
        for operation in operations
        if isinstance(operation, Seal)
        and any(one.recipient == device and len(one.sealed) == HASH_SIZE for one in operation.keys)
    ]


def is_key(channel: bytes, epoch: bytes, key: bytes) -> bool:
    """Is this the key that the epoch is named by?"""
    return len(key) == KEY_SIZE and crypto.epoch_id(EpochKey(key), ChannelId(channel)) == epoch


def walk_back(db: apsw.Connection, channel: log.ChannelRow, known: dict[bytes, EpochKey]) -> None:
    """Add to the known keys all that links lead to."""
    links: dict[bytes, list[Link]] = {}
    for _, op in controls.control_rows(db, channel.n, KINDS[Link]):
        link = decode_control(op[SALT_SIZE:])
        assert isinstance(link, Link)
        links.setdefault(link.epoch, []).append(link)
    todo = list(known)
    while todo:
        epoch = todo.pop()
        for link in links.get(epoch, ()):
            if link.parent in known:
                continue
            try:
                known[link.parent] = crypto.open_link(link.sealed, known[epoch], channel.id, link.parent)
            except MalformedError:
                continue  # a false link; somebody else may lay a true one
            todo.append(link.parent)


def renewal(
    db: apsw.Connection, channel: log.ChannelRow, graph: Graph, now_ms: int
) -> list[ControlOperation]:
    """What a writer does about the key before writing: a new one, the present one to more devices, or nothing."""
    state = graph.state
    change = state.epochs.change_needed(now_ms)
    if change is None:
        return []
    current = state.epochs.current
    held = keychain.epoch_keys(db, channel.id)
    if current is None or change.needs_rotation or current.epoch not in held:
        return rotation(db, channel, graph, recipients(db, channel, state, state.epochs.expected()))
    missing = recipients(db, channel, state, state.epochs.lacking(current.epoch))
    return seals(EpochKey(held[current.epoch]), channel.id, missing)


def rotation(
    db: apsw.Connection,
    channel: log.ChannelRow,
    graph: Graph,
    readers: Mapping[bytes, bytes],
    *,
    newcomer_history: int | None = None,
) -> list[ControlOperation]:
    """A new epoch for these readers (recipient -> sealing public key), linked to those before if all may read them.

    newcomer_history    of who is let in with it: narrower than everything leaves the links out
    """
    state = graph.state
    key = EpochKey.generate(os.urandom)
    epoch = crypto.epoch_id(key, channel.id)
    operations: list[ControlOperation] = [Rotate(epoch), *seals(key, channel.id, readers)]
    if not newcomer_history:
        held = keychain.epoch_keys(db, channel.id)
        for parent in state.epochs.candidates:
            if parent.epoch in held and all_may_read(state, parent.epoch):
                sealed = crypto.seal_link(key, EpochKey(held[parent.epoch]), channel.id, os.urandom)
                operations.append(Link(epoch, parent.epoch, sealed))
    return operations


def all_may_read(state: Membership, epoch: bytes) -> bool:
    """May every member read all that opens for who has this key, and does the channel's policy show it?"""
    if state.policy("history"):
        return False
    reach = state.epochs.reach(epoch)
    narrow = [member.identity for member in state.members.values() if member.history]
    return all(reach <= state.epochs.admissible(identity) for identity in narrow)


def reunion(db: apsw.Connection, channel: log.ChannelRow, graph: Graph) -> list[ControlOperation]:
    """Ways to keys of ours that the present one does not lead to, for members who may read what they open.

    Rotations that did not know of each other leave such keys: each leaves out whom its author put out, who may be in
    all the same.
    """
    state = graph.state
    current = state.epochs.current
    held = {id: EpochKey(key) for id, key in keychain.epoch_keys(db, channel.id).items()}
    if current is None or current.epoch not in held:
        return []
    operations: list[ControlOperation] = []
    parents = true_links(db, channel, held)
    reach = reach_of(current.epoch, parents)
    for info in state.epochs.every():
        if info.epoch not in held or info.epoch in reach:
            continue
        if all_may_read(state, info.epoch):
            sealed = crypto.seal_link(held[current.epoch], held[info.epoch], channel.id, os.urandom)
            operations.append(Link(current.epoch, info.epoch, sealed))
            reach |= reach_of(info.epoch, parents)
        elif left_out := _left_out(state, info.epoch, parents):
            operations += seals(held[info.epoch], channel.id, recipients(db, channel, state, left_out))
    return operations


Parents = Mapping[bytes, set[bytes]]  # epoch -> those whose keys its own opens


class TrueLink(NamedTuple):
    """A link that opens, and the place of the commit that it is in."""

    place: bytes
    epoch: bytes
    parent: bytes


def links_between(
    db: apsw.Connection, channel: log.ChannelRow, held: Mapping[bytes, EpochKey]
) -> list[TrueLink]:
    """The links between keys of ours that open: a liar's say that they do, and who relied on them would seal too little."""
    found: list[TrueLink] = []
    for id, op in controls.control_rows(db, channel.n, KINDS[Link]):
        link = decode_control(op[SALT_SIZE:])
        assert isinstance(link, Link)
        if link.epoch in held and link.parent in held:
            with suppress(MalformedError):
                crypto.open_link(link.sealed, held[link.epoch], channel.id, link.parent)
                found.append(TrueLink(id[:14], link.epoch, link.parent))
    return found


def parents_by(links: Iterable[TrueLink]) -> Parents:
    """What these links open."""
    parents: dict[bytes, set[bytes]] = {}
    for link in links:
        parents.setdefault(link.epoch, set()).add(link.parent)
    return parents


def true_links(db: apsw.Connection, channel: log.ChannelRow, held: Mapping[bytes, EpochKey]) -> Parents:
    """What links between keys of ours do open."""
    return parents_by(links_between(db, channel, held))


def reach_of(epoch: bytes, parents: Parents) -> set[bytes]:
    """Every epoch that opens for who has this key, itself included."""
    reach, todo = {epoch}, [epoch]
    while todo:
        fresh = parents.get(todo.pop(), set()) - reach
        reach |= fresh
        todo += fresh
    return reach


def _left_out(state: Membership, epoch: bytes, parents: Parents) -> list[bytes]:
    """Devices of members who may read all that a key opens, and have, for all they say, neither it nor one that leads to it."""
    opened = state.epochs.reach(epoch)
    above = [info.epoch for info in state.epochs.every() if epoch in reach_of(info.epoch, parents)]
    known = state.epochs
    having = frozenset[bytes]().union(*(known.recipients(one) - known.reported(one) for one in above))
    return [
        device
        for identity, member in state.members.items()
        if not having.issuperset(member.devices) and opened <= state.epochs.admissible(identity)
        for device in member.devices
        if device not in having
    ]


def welcome_keys(
    db: apsw.Connection, channel: log.ChannelRow, graph: Graph, history: int, newcomer: Mapping[bytes, bytes]
) -> list[ControlOperation]:
    """The keys for somebody who is being let in, by how much history they may read (recipient -> public key)."""
    state = graph.state
    held = {id: EpochKey(key) for id, key in keychain.epoch_keys(db, channel.id).items()}
    current = state.epochs.current
    present = recipients(db, channel, state, state.epochs.expected())
    operations: list[ControlOperation] = []
    covered: set[bytes] = set()
    parents = true_links(db, channel, held)
    if history or current is None or current.epoch not in held:
        operations += rotation(db, channel, graph, {**present, **newcomer}, newcomer_history=history or None)
    for info in state.epochs.every():
        opened = state.epochs.reach(info.epoch)
        shown = not history or (
            history > 1 and all(one.time >> 16 >= history for one in state.epochs.infos(opened))
        )
        if info.epoch in held and shown and info.epoch not in covered:
            operations += seals(held[info.epoch], channel.id, newcomer)
            covered |= reach_of(info.epoch, parents)
    return operations


def seals(key: EpochKey, channel: ChannelId, readers: Mapping[bytes, bytes]) -> list[ControlOperation]:
    """A key, sealed to each reader (recipient -> sealing public key)."""
    epoch = crypto.epoch_id(key, channel)
    sealed = []
    for recipient, public in sorted(readers.items()):
        try:
            sealed.append(SealedKey(recipient, crypto.seal_to(key, channel, recipient, public)))
        except MalformedError:  # no key at all: its owner's doing, and no reason for the others not to write
            continue
    size = SEALS_PER_OPERATION_MAX
    return [Seal(epoch, tuple(sealed[at : at + size])) for at in range(0, len(sealed), size)]


def is_usable(public: bytes) -> bool:
    """Can anything be sealed to this? A card may hold any bytes of the right length for a key."""
    try:
        seal(b"", public, b"")
    except MalformedError:
        return False
    return True


def recipients(
    db: apsw.Connection, channel: log.ChannelRow, state: Membership, wanted: Iterable[bytes]
) -> dict[bytes, bytes]:
    """The sealing public keys of devices, and in the self-channel of our recovery key."""
    devices, places = state.devices, controls.control_places(db, channel.n)
    found: dict[bytes, bytes] = {}
    for one in sorted(wanted):
        info = devices.get(one)
        if info is not None:
            found[one] = _sealing_key(db, places, info)
        elif state.kind == "self" and one in state.members:
            create = controls.control_operation(db, controls.founding(db, channel.n))
            assert isinstance(create, Create)
            found[one] = create.recovery
    return found


def device_entries(
    db: apsw.Connection, channel: log.ChannelRow, devices: Iterable[DeviceInfo]
) -> list[Device]:
    """Devices as cards and commits name them, from the commits that made them known."""
    places = controls.control_places(db, channel.n)
    found = []
    for info in devices:
        operation = controls.control_operation(db, places[info.commit] + info.place[0].to_bytes(2, "big"))
        found.append(devices_in(operation)[info.place[1]])
    return found


def _sealing_key(db: apsw.Connection, places: Mapping[bytes, bytes], info: DeviceInfo) -> bytes:
    """A device's sealing public key, from the commit that made it known."""
    operation = controls.control_operation(db, places[info.commit] + info.place[0].to_bytes(2, "big"))
    return devices_in(operation)[info.place[1]].sealing


def devices_in(operation: ControlOperation | None) -> Sequence[Device]:
    """The devices that an operation makes known."""
    match operation:
        case Create():
            return (operation.device,)
        case Admit():
            return operation.devices
        case AddDevice(device):
            return (device,)
    raise inconsistent("a device's key")


def report(epochs: Iterable[bytes]) -> list[ControlOperation]:
    """Ask for keys again."""
    return [Report(epoch) for epoch in epochs]
