"""People with keys, in memory: they found channels and sign commits without a vault, for tests.

    ada = Author(seed=1)
    channel = ada.channel("general")
    pen = ada.pen(channel)
    store.ingest([channel.founding, pen.write(Post("hello"))])

Several people in one channel each have a pen, which names the control commits that it has seen:

    bob = Author(seed=2)
    admitted = channel.pen.admit(bob, Role.ADMIN)
    theirs = bob.pen(channel)                   # has seen what the channel's pen wrote so far
    mine = channel.pen.remove(bob)              # and these two know nothing of each other
    late = theirs.set_role(bob, Role.MEMBER)

Everything but sealed keys follows from the seed, so a test that fails prints all it takes to repeat it.
`Author.of(store)` is the person of a vault, as a second copy of that vault would be.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from typing import NamedTuple

from quire.core import clock, commit
from quire.core.control import (
    HISTORY_ALL,
    Admit,
    ControlOperation,
    Create,
    Cut,
    Device,
    Remove,
    Role,
    Rotate,
    Seal,
    SealedKey,
    SetRole,
)
from quire.core.crypto.epochs import EpochKey, epoch_id, seal_to
from quire.core.crypto.keys import DeviceCertificate, SigningKey, certify, consent_to, decode_certificate
from quire.core.crypto.sealing import public_of
from quire.core.ids import ChannelId, DeviceId, IdentityId, Incarnation, MessageId, log_prefix, message_id
from quire.core.operation import Operation
from quire.core.operation_form import encode_operation
from quire.storage.meta import get_meta
from quire.store.local import LocalStore

START_MS = 1_700_000_000_000


class Channel(NamedTuple):
    """A channel that an author founded, and the commit that did it."""

    id: ChannelId
    genesis: bytes
    founding: bytes
    first: MessageId
    pen: Pen


class Author:
    """An identity with one device."""

    def __init__(
        self,
        seed: int = 0,
        *,
        device: SigningKey | None = None,
        sealing_seed: bytes = b"",
        certificate: bytes = b"",
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self.device = device or SigningKey(self.random.randbytes(32))
        self.sealing_seed = sealing_seed or self.random.randbytes(32)
        self.sealing = public_of(self.sealing_seed)
        if certificate:
            self.certificate: DeviceCertificate = decode_certificate(certificate)
        else:
            identity = SigningKey(self.random.randbytes(32))
            who = IdentityId(identity.public)
            consent = consent_to(self.device, who, self.sealing, START_MS)
            self.certificate = certify(
                identity, who, DeviceId(self.device.public), self.sealing, START_MS, consent
            )
        self.entry = Device(self.certificate.encode(), self.sealing)
        self.identity = self.certificate.identity
        self.key = f"quire:{self.identity.hex()}"

    @classmethod
    def of(cls, store: LocalStore, seed: int = 0) -> Author:
        """The person whose vault this is, at the same device."""
        db = store.database.reader
        keys = ("device_seed", "sealing_seed", "certificate")
        device, sealing_seed, certificate = (bytes(get_meta(db, key)) for key in keys)
        return cls(seed, device=SigningKey(device), sealing_seed=sealing_seed, certificate=certificate)

    def channel(
        self, name: str = "general", kind: str = "channel", time_ms: int = START_MS, **more: str
    ) -> Channel:
        """Found a channel."""
        recovery = self.sealing if kind == "self" else b""
        create = Create(kind, name, self.random.randbytes(16), self.entry, recovery, **more)
        id = commit.channel_id(encode_operation(create))
        pen = Pen(self, id, ())
        founding = pen.write(create, time_ms=time_ms)
        pen.note()
        return Channel(id, pen.previous, founding, pen.id_of(1, 0), pen)

    def pen(self, channel: Channel) -> Pen:
        """A new log of this author in a channel, who has seen what its founder's pen wrote."""
        first = channel.pen
        return Pen(self, channel.id, first.control_heads, time=first.time, pasts=first.pasts)


@dataclass
class Pen:
    """One log: what it writes next continues what it wrote before."""

    author: Author
    channel: ChannelId
    control_heads: tuple[bytes, ...]
    seq: int = 0
    previous: bytes = b""
    time: int = 0
    pasts: dict[bytes, frozenset[bytes]] = field(
        default_factory=dict, repr=False
    )  # of a channel's control commits

    def __post_init__(self) -> None:
        self.incarnation = Incarnation(self.author.random.randbytes(16))
        self.prefix = log_prefix(DeviceId(self.author.device.public), self.incarnation)

    def id_of(self, seq: int, index: int) -> MessageId:
        """The id of an operation of this log, written or yet to be."""
        return message_id(self.prefix, seq, index)

    def next_id(self, index: int = 0) -> MessageId:
        """The id that the operation `index` of the next commit will have."""
        return self.id_of(self.seq + 1, index)

    def write(self, *operations: Operation | ControlOperation, time_ms: int | None = None) -> bytes:
        """The next commit, encoded."""
        return self.write_raw([encode_operation(operation) for operation in operations], time_ms=time_ms)

    def write_raw(self, encoded: list[bytes], *, time_ms: int | None = None) -> bytes:
        """The next commit, of operations that may be malformed."""
        self.time = self.time + 1 if time_ms is None else clock.at(time_ms)
        if not self.time >> clock.COUNTER_BITS:
            self.time = clock.at(START_MS)
        salted = commit.with_salts(encoded, self.author.random.randbytes)
        self.seq += 1
        head = commit.build_head(
            channel=self.channel, device=DeviceId(self.author.device.public), incarnation=self.incarnation,
            seq=self.seq, previous=self.previous, control_heads=self.control_heads, time=self.time, salted=salted,
        )  # fmt: skip
        self.previous = commit.commit_id(head)
        signature = self.author.device.sign(commit.to_be_signed(head))
        return commit.encode_commit(commit.Commit(head, signature, tuple(salted)))

    def fork(self) -> Pen:
        """This log as a copy of the device goes on with it."""
        return copy.copy(self)

    # Control commits

    def note(self) -> None:
        """What was just written is a control commit: what follows names it."""
        self.pasts[self.previous] = frozenset(self.control_heads).union(
            *(self.pasts.get(head, frozenset()) for head in self.control_heads)
        )
        self.control_heads = (self.previous,)

    def see(self, *others: Pen) -> None:
        """From here on this author knows all that these have written and seen."""
        heads = set(self.control_heads).union(*(other.control_heads for other in others))
        known = frozenset[bytes]().union(*(self.pasts.get(head, frozenset()) for head in heads))
        self.control_heads = tuple(sorted(heads - known))
        self.time = max(self.time, *(other.time for other in others))

    def control(self, *operations: ControlOperation, time_ms: int | None = None) -> bytes:
        """The next commit, a control commit."""
        encoded = self.write(*operations, time_ms=time_ms)
        self.note()
        return encoded

    def admit(
        self, other: Author, role: Role = Role.MEMBER, *more: ControlOperation, history: int = HISTORY_ALL
    ) -> bytes:
        """Let a person in."""
        return self.control(Admit((other.entry,), role, history), *more)

    def set_role(self, other: Author, role: Role, *cuts: Cut) -> bytes:
        """Give a member another role."""
        return self.control(SetRole(other.identity, role, _ordered(cuts)))

    def remove(self, other: Author, *cuts: Cut, ban: bool = False) -> bytes:
        """Put a member out; what their logs hold beyond the cuts is void. For a channel without keys."""
        return self.control(Remove(other.identity, _ordered(cuts), ban))

    def cut(self, seq: int | None = None) -> Cut:
        """This log counts up to here."""
        return Cut(self.prefix, self.seq if seq is None else seq)

    def new_key(self, *readers: Author) -> tuple[EpochKey, list[ControlOperation]]:
        """A key for the channel and what makes it known to these."""
        key = EpochKey(self.author.random.randbytes(32))
        epoch = epoch_id(key, self.channel)
        sealed = [
            SealedKey(one.device.public, seal_to(key, self.channel, one.device.public, one.sealing))
            for one in sorted(readers, key=lambda one: one.device.public)
        ]
        return key, [Rotate(epoch), Seal(epoch, tuple(sealed))]


def _ordered(cuts: tuple[Cut, ...]) -> tuple[Cut, ...]:
    return tuple(sorted(cuts, key=lambda cut: cut.prefix))
