"""What each act on a channel's people is, as operations: who is let in or put out, and what becomes of the key.

Most functions are a `prepare` of `Ledger.write_control`: they look at the channel as it is inside the transaction, and
give the operations of one control commit. Those that take a ledger write more than one, in a transaction of their
caller's: what concerns a device happens in all channels or in none, wherever a crash comes between. Whether it is
allowed is for core/membership to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import apsw

from quire.core.control import (
    AddDevice,
    Admit,
    ControlOperation,
    Cut,
    Device,
    Remove,
    RevokeDevice,
    Role,
    SetRole,
)
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import certify, decode_certificate
from quire.core.ids import ChannelId
from quire.core.membership import Graph
from quire.core.operation import DeviceName
from quire.errors import UnauthorisedError, UsageError
from quire.storage import keychain, log
from quire.storage.database import fault
from quire.store import epochs

if TYPE_CHECKING:
    from quire.store.ledger import Ledger

Prepare = Callable[[apsw.Connection, log.ChannelRow, Graph], Sequence[ControlOperation]]


def admit(
    ledger: Ledger,
    db: apsw.Connection,
    channel: log.ChannelRow,
    devices: tuple[Device, ...],
    role: Role,
    history: int,
    invite: bytes = b"",
    proof: bytes = b"",
) -> log.ChannelRow:
    """Let a person in, with the keys of as much history as they may read, inside a transaction.

    What was written before the channel had a key goes with its first: so that first key must not be the newcomer's,
    unless they may read everything.
    """
    graph = ledger.people.graph(db, channel)
    if graph.state.epochs.current is None and history:
        present = epochs.recipients(db, channel, graph.state, graph.state.epochs.expected())
        channel = ledger.add_control(db, channel, graph, epochs.rotation(db, channel, graph, present))
    newcomer: dict[bytes, bytes] = {}
    for one in devices:
        newcomer[decode_certificate(one.certificate).device] = one.sealing
    keys = epochs.welcome_keys(db, channel, graph, history, newcomer)
    return ledger.add_control(db, channel, graph, [Admit(devices, role, history, invite, proof), *keys])


def remove(
    db: apsw.Connection,
    channel: log.ChannelRow,
    graph: Graph,
    identity: bytes,
    *,
    ban: bool = False,
    reason: str = "",
    leaving: bool = False,
) -> list[ControlOperation]:
    """Put a person out at what is here of theirs; the key changes in the same commit, unless it is they who go."""
    operation = Remove(identity, cuts(db, channel, identity), ban, reason)
    if leaving or graph.state.epochs.current is None:
        return [operation]
    member = graph.state.member(identity)
    gone = set(member.devices) if member else set()
    return [operation, *_new_key(db, channel, graph, gone | {identity})]


def set_role(
    db: apsw.Connection, channel: log.ChannelRow, graph: Graph, identity: bytes, role: Role
) -> list[ControlOperation]:
    """Give a member another role; what a lower one may not do ends at what is here of theirs."""
    lowers = role < graph.state.role(identity)
    return [SetRole(identity, role, cuts(db, channel, identity) if lowers else ())]


def add_device(
    db: apsw.Connection, channel: log.ChannelRow, graph: Graph, device: Device
) -> list[ControlOperation]:
    """Make another device of a member known, and give it the key if the member may: else the next writer does."""
    operations: list[ControlOperation] = [AddDevice(device)]
    certificate = decode_certificate(device.certificate)
    if not graph.state.may(certificate.identity, "rotate"):
        return operations
    current = graph.state.epochs.current
    key = keychain.epoch_keys(db, channel.id).get(current.epoch) if current else None
    id = certificate.device
    if current is not None and key is not None and id not in graph.state.epochs.recipients(current.epoch):
        operations += epochs.seals(EpochKey(key), channel.id, {id: device.sealing})
    return operations


def add_own_device(ledger: Ledger, db: apsw.Connection, fresh: Device, name: str = "") -> None:
    """Make a new device one of ours, in every channel that we are in. Raises: UnauthorisedError if it may not be.

    name    what we call it
    """
    own = log.self_channel(db)
    graph = ledger.people.graph(db, own)
    own = ledger.add_control(db, own, graph, add_device(db, own, graph, fresh))
    fault("device_added")
    if name:
        ledger.append(db, own, [DeviceName(decode_certificate(fresh.certificate).device, name)])
    share_devices(ledger, db)


def share_devices(ledger: Ledger, db: apsw.Connection) -> None:
    """Make our devices known where they are not yet: a channel may have come, or a device, unknown to the other.

    And end where they stand those that this device ended elsewhere, before it heard that they are there, too.
    """
    _end_everywhere(ledger, db)
    _vouch(ledger, db)
    identity, own = ledger.people.identity, log.self_channel(db)
    devices = ledger.people.state(db, own).rooted(identity)
    for row in log.channels(db):
        here = ledger.people.graph(db, row).state.member(identity)
        missing = [one for device, one in devices.items() if here and device not in here.devices]
        for entry in epochs.device_entries(db, own, missing):
            row = _share(ledger, db, row, entry)


def _share(ledger: Ledger, db: apsw.Connection, row: log.ChannelRow, entry: Device) -> log.ChannelRow:
    graph = ledger.people.graph(db, row)
    with suppress(UnauthorisedError):  # it was revoked there, or there are too many
        try:
            row = ledger.add_control(db, row, graph, add_device(db, row, graph, entry))
        except UnauthorisedError as error:
            if error.rule != "certificate_chain":
                raise
            fresh = _vouched(ledger, entry)  # who certified it was never in this channel, or is no more
            row = ledger.add_control(db, row, graph, add_device(db, row, graph, fresh))
        fault("device_added")
    return row


def _vouch(ledger: Ledger, db: apsw.Connection) -> None:
    """Certify our devices anew whose issuer came to its end: no card could name them, and no other channel know them."""
    own = log.self_channel(db)
    graph = ledger.people.graph(db, own)
    member, rooted = graph.state.member(ledger.people.identity), graph.state.rooted(ledger.people.identity)
    if member is None or ledger.device not in rooted:
        return
    orphans = [one for device, one in member.devices.items() if device not in rooted]
    for entry in epochs.device_entries(db, own, orphans):
        with suppress(UnauthorisedError):  # one before it led to this one, too
            own = ledger.add_control(db, own, graph, [AddDevice(_vouched(ledger, entry))])
            fault("device_added")


def _vouched(ledger: Ledger, entry: Device) -> Device:
    """A device's entry with a certificate by this one. Its consent is to being the identity's, whoever says so."""
    old = decode_certificate(entry.certificate)
    fresh = certify(ledger.signing_key, old.identity, old.device, entry.sealing, old.created_ms, old.consent)
    return Device(fresh.encode(), entry.sealing)


def _end_everywhere(ledger: Ledger, db: apsw.Connection) -> None:
    """Only what we ended ourselves: that a device was senior in one channel does not make it so in another."""
    own = ledger.signing_key.public
    ended = {
        device for row in log.all_channels(db) for device in ledger.people.state(db, row).revoked_by(own)
    }
    for known in log.all_channels(db) if ended else ():
        for device in sorted(ended):
            row = log.channel_by_n(db, known.n)
            graph = ledger.people.graph(db, row)
            if graph.state.device(device):
                with suppress(UnauthorisedError):
                    ledger.add_control(db, row, graph, revoke_device(db, row, graph, device))


def chain_to(ledger: Ledger, db: apsw.Connection) -> list[Device]:
    """This device and those by whose certificates it is ours, the first of them certified by the identity.

    Raises: UnauthorisedError(rule="certificate_chain") if one of them is revoked, and nobody vouched for it since.
    """
    if decode_certificate(ledger.entry.certificate).by_identity:
        return [ledger.entry]
    entries = rooted_entries(ledger, db)
    if ledger.device not in entries:
        raise unrooted()
    chain = [entries[ledger.device]]
    while not (certificate := decode_certificate(chain[0].certificate)).by_identity:
        chain[:0] = [entries[certificate.issuer]]
    return chain


def rooted_entries(ledger: Ledger, db: apsw.Connection) -> dict[bytes, Device]:
    """Our devices as others can know them, by certificates that lead from the identity to each."""
    own = log.self_channel(db)
    rooted = ledger.people.state(db, own).rooted(ledger.people.identity)
    return dict(zip(rooted, epochs.device_entries(db, own, rooted.values()), strict=True))


def unrooted() -> UnauthorisedError:
    """This device is ours, and we cannot show it to anybody who does not know it."""
    return UnauthorisedError(
        "the device that made this one yours was revoked, and no other of yours has vouched for it since",
        rule="certificate_chain",
        hint="sync with another device of yours, or `quire recover` with the 24 words",
    )


def require_voucher(ledger: Ledger, db: apsw.Connection, device: bytes) -> None:
    """Who alone was made with the 24 words does not go before another was: what it linked could not be shown to anybody.

    Raises: UsageError(rule="device_vouches").
    """
    state = ledger.people.state(db, log.self_channel(db))
    member = state.member(ledger.people.identity)
    rooted = state.rooted(ledger.people.identity)
    others = [one for one in member.devices if one != device] if member else []
    alone = [one for one, info in rooted.items() if info.by_identity] == [device]
    if others and alone and device == ledger.device:  # another that wishes it is junior, and told so
        raise UsageError(
            "your other devices are yours by its word alone: after it they could join no channel and show no key card",
            rule="device_vouches",
            hint="make one that vouches for them with quire recover, and revoke this one there; or use --force",
        )


def end_device(ledger: Ledger, db: apsw.Connection, device: bytes) -> list[ChannelId]:
    """Revoke a device of ours, in every channel; in which it was. Those that it certified get a certificate by this one.

    Raises: UnauthorisedError(rule="device_senior").
    """
    ended = []
    for known in log.all_channels(db):
        row = log.channel_by_n(db, known.n)  # a key that became known was noted in the self-channel
        graph = ledger.people.graph(db, row)
        if graph.state.device(device):
            ledger.add_control(db, row, graph, revoke_device(db, row, graph, device))
            fault("device_ended")
            ended.append(row.id)
    _vouch(ledger, db)
    return ended


def revoke_device(
    db: apsw.Connection, channel: log.ChannelRow, graph: Graph, device: bytes
) -> list[ControlOperation]:
    """End a device at what is here of its; the key changes in the same commit, if its owner may change it."""
    ends = tuple(
        Cut(row.prefix, seq)
        for row in sorted(log.logs_of(db, channel.n), key=lambda row: row.prefix)
        if row.device == device and not row.branch and (seq := log.newest_commit(db, row.n)[0])
    )
    operation = RevokeDevice(device, ends)
    if graph.state.epochs.current is None or not graph.state.may(graph.state.owner_of(device), "rotate"):
        return [operation]
    return [operation, *_new_key(db, channel, graph, {device})]


def cuts(db: apsw.Connection, channel: log.ChannelRow, identity: bytes) -> tuple[Cut, ...]:
    """The last commit that is here of each log of a person."""
    signer = f"quire:{identity.hex()}"
    rows = sorted(log.logs_of(db, channel.n), key=lambda row: row.prefix)
    ends = [
        (row.prefix, log.newest_commit(db, row.n)[0])
        for row in rows
        if row.signer == signer and not row.branch
    ]
    return tuple(Cut(prefix, seq) for prefix, seq in ends if seq)


def _new_key(
    db: apsw.Connection, channel: log.ChannelRow, graph: Graph, without: set[bytes]
) -> list[ControlOperation]:
    state = graph.state
    readers = epochs.recipients(db, channel, state, state.epochs.expected() - without)
    return epochs.rotation(db, channel, graph, readers)
