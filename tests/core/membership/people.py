"""People, devices and a log to write control commits with: real keys and certificates, made once for all tests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

from quire.core import clock
from quire.core.control import (
    AddDevice,
    Admit,
    Ask,
    ControlOperation,
    Create,
    Cut,
    Device,
    Invite,
    Remove,
    RevokeDevice,
    Role,
    Rotate,
    Seal,
    SealedKey,
    SetRole,
)
from quire.core.crypto.keys import DeviceCertificate, SigningKey, certify, consent_to
from quire.core.ids import DeviceId, IdentityId
from quire.core.membership import ControlCommit, Graph, Membership, Verdict, join_message, resolve

CHANNEL = hashlib.sha256(b"a channel").digest()
START_MS = 1_700_000_000_000
SEALED = bytes(32 + 1136)


@lru_cache(None)
def signing_key(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(name.encode()).digest())


@lru_cache(None)
def certificate(identity: str, device: str, issuer: str, created_ms: int) -> DeviceCertificate:
    who = IdentityId(signing_key(identity).public)
    key = signing_key(device)
    sealing = sealing_of(device)
    consent = consent_to(key, who, sealing, created_ms)
    return certify(signing_key(issuer), who, DeviceId(key.public), sealing, created_ms, consent)


def sealing_of(device: str) -> bytes:
    return hashlib.sha256(device.encode()).digest() * 38


def id_of(name: str) -> bytes:
    """A person's identity, or a device's id: both are public keys."""
    return signing_key(name).public


def device_of(person: str, number: int = 1) -> str:
    return f"{person}'s device {number}"


@lru_cache(None)
def device(person: str, number: int = 1, issuer: str = "", created_ms: int = 1_000) -> Device:
    """A device's entry, certified by the person unless another issuer (a name) is given."""
    made = certificate(person, device_of(person, number), issuer or person, created_ms)
    return Device(made.encode(), sealing_of(device_of(person, number)))


def admit(person: str, role: Role = Role.MEMBER, **more: object) -> Admit:
    devices = more.pop("devices", None) or (device(person),)
    return Admit(devices, role, **more)  # type: ignore[arg-type]


def invited(person: str, invite: str, role: Role = Role.MEMBER, **more: object) -> Admit:
    return admit(person, role, invite=id_of(invite), proof=proof(person, invite), **more)


def asking(person: str, invite: str) -> Ask:
    return Ask((device(person),), id_of(invite), proof(person, invite))


@lru_cache(None)
def proof(person: str, invite: str, channel: bytes = CHANNEL) -> bytes:
    return signing_key(invite).sign(join_message(channel, id_of(person)))


def invite(name: str, role: Role = Role.MEMBER, uses: int = 0, expires_ms: int = 0, **more: object) -> Invite:
    return Invite(id_of(name), role, uses, expires_ms, **more)  # type: ignore[arg-type]


def remove(person: str, **more: object) -> Remove:
    return Remove(id_of(person), **more)  # type: ignore[arg-type]


def set_role(person: str, role: Role, **more: object) -> SetRole:
    return SetRole(id_of(person), role, **more)  # type: ignore[arg-type]


def add_device(person: str, number: int, issuer: str = "", created_ms: int = 1_000) -> AddDevice:
    return AddDevice(device(person, number, issuer, created_ms))


def revoke(person: str, number: int = 1, cuts: tuple[Cut, ...] = ()) -> RevokeDevice:
    return RevokeDevice(id_of(device_of(person, number)), cuts)


def epoch(name: str) -> bytes:
    return hashlib.sha256(f"epoch {name}".encode()).digest()


def rotate(name: str) -> Rotate:
    return Rotate(epoch(name))


def seal(name: str, *devices: str) -> Seal:
    return Seal(epoch(name), tuple(SealedKey(id_of(one), SEALED) for one in devices))


def create(person: str, kind: str = "group") -> Create:
    recovery = bytes(1216) if kind == "self" else b""
    return Create(kind, "a channel", bytes(16), device(person), recovery)


def prefix_of(writer: str) -> bytes:
    return hashlib.sha256(b"log" + writer.encode()).digest()[:10]


class World:
    """A channel whose commits are written here, by anyone, knowing what they are said to know."""

    def __init__(self, founder: str = "Alice", kind: str = "group", *more: ControlOperation) -> None:
        self.commits: list[ControlCommit] = []
        self.graph = Graph(CHANNEL)
        self._seqs: dict[str, int] = {}
        self.founded = self.write(founder, create(founder, kind), *more, knowing=[])

    def write(
        self,
        who: str,
        *operations: ControlOperation,
        knowing: Iterable[ControlCommit] | None = None,
        number: int = 1,
        at_ms: int | None = None,
        seq: int | None = None,
    ) -> ControlCommit:
        """A commit by a person's device; it knows all so far unless told otherwise, and is a second later."""
        heads = self.graph.heads if knowing is None else tuple(sorted(commit.id for commit in knowing))
        name = device_of(who, number)
        self._seqs[name] = self._seqs.get(name, 0) + 1 if seq is None else seq
        when = at_ms if at_ms is not None else START_MS + 1_000 * len(self.commits)
        commit = commit_of(name, self._seqs[name], clock.at(when), heads, operations)
        self.commits.append(commit)
        self.graph.add(commit)
        return commit

    @property
    def state(self) -> Membership:
        return self.graph.state

    def verdict(self, commit: ControlCommit) -> Verdict:
        return self.graph.verdict(commit.id)

    def rule(self, commit: ControlCommit) -> str:
        """Why a commit is void; empty if it stands."""
        return self.verdict(commit).rule

    def roles(self) -> dict[str, Role]:
        return roles_of(self.state)

    def resolved(self) -> Membership:
        return resolve(CHANNEL, self.commits)


def commit_of(
    device_name: str, seq: int, time: int, heads: Sequence[bytes], operations: Sequence[ControlOperation]
) -> ControlCommit:
    prefix, device_id = prefix_of(device_name), id_of(device_name)
    told = repr((device_id, seq, time, heads, operations)).encode()
    return ControlCommit(
        hashlib.sha256(told).digest(), device_id, prefix, seq, time, tuple(heads), tuple(operations)
    )


NAMES = ("Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Mallory")


def roles_of(state: Membership) -> dict[str, Role]:
    """Who is in, by name."""
    names = {id_of(name): name for name in NAMES}
    return {
        names.get(identity, identity.hex()[:8]): member.role for identity, member in state.members.items()
    }
