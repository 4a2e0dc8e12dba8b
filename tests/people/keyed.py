"""Who knows which key: a channel of a few people without vaults, whose control commits travel as the test says.

What a device does about keys is the code itself (`store/epochs.py`, `store/group.py`); only the storage under it is a
fake, the `Shelf`: so hundreds of histories with real keys take seconds. What somebody *could* know is found by
another way than what a device learns: `could_know` tries every seal and every link that was ever written on every
key, also those that do not count and those that never reached them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from quire.core import clock
from quire.core.control import (
    CONTROL_KINDS,
    ControlOperation,
    Create,
    Device,
    Link,
    Role,
    Seal,
    SealedKey,
)
from quire.core.crypto import epochs as crypto
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import certify, consent_to
from quire.core.crypto.sealing import public_of
from quire.core.ids import ChannelId, DeviceId, IdentityId
from quire.core.membership import ControlCommit, Graph, Membership
from quire.core.operation import SALT_SIZE
from quire.core.operation_form import encode_operation
from quire.errors import MalformedError
from quire.store import epochs, group
from tests.core.membership.people import START_MS, id_of, prefix_of, signing_key

ROUNDS_MAX = 12
CHANNEL = ChannelId(hashlib.sha256(b"keyed").digest())


@lru_cache(None)
def seed_of(device: str) -> bytes:
    return hashlib.sha256(b"sealing" + device.encode()).digest()


@lru_cache(None)
def entry(person: str, device: str) -> Device:
    """A device that its person certified."""
    who, key, sealing = IdentityId(id_of(person)), signing_key(device), public_of(seed_of(device))
    consent = consent_to(key, who, sealing, 1_000)
    made = certify(signing_key(person), who, DeviceId(key.public), sealing, 1_000, consent)
    return Device(made.encode(), sealing)


class Shelf:
    """What `store/epochs.py` and `store/group.py` ask of the storage, in memory."""

    def __init__(self) -> None:
        self.keys: dict[bytes, bytes] = {}
        self.rows: dict[bytes, tuple[int, bytes, ControlOperation]] = {}  # id -> (kind, salt || bytes, value)
        self.places: dict[bytes, bytes] = {}
        self.first = b""

    def put(self, commit: ControlCommit) -> None:
        place = commit.id[:14]
        self.places[commit.id] = place
        for number, operation in enumerate(commit.operations):
            id = place + number.to_bytes(2, "big")
            if isinstance(operation, Create):
                self.first = id
            self.rows[id] = (CONTROL_KINDS[type(operation)], _encoded(operation), operation)

    # As in storage/log.py

    def epoch_keys(self, channel: bytes) -> dict[bytes, bytes]:
        return dict(self.keys)

    def forgotten_epochs(self, channel: bytes) -> set[bytes]:
        return set()

    def control_rows(self, channel: int, kind: int | None = None) -> list[tuple[bytes, bytes]]:
        return [(id, data) for id, (of, data, _) in sorted(self.rows.items()) if kind in (None, of)]

    def control_places(self, channel: int) -> dict[bytes, bytes]:
        return self.places

    def control_operation(self, id: bytes) -> ControlOperation:
        return self.rows[id][2]

    def founding(self, channel: int) -> bytes:
        return self.first

    def logs_of(self, channel: int) -> list[Any]:
        return []


LOG = SimpleNamespace(
    **{
        name: lambda shelf, *rest, _name=name: getattr(shelf, _name)(*rest)
        for name in (
            "epoch_keys",
            "forgotten_epochs",
            "control_rows",
            "control_places",
            "control_operation",
            "founding",
            "logs_of",
        )
    }
)


def _encoded(operation: ControlOperation) -> bytes:
    return bytes(SALT_SIZE) + encode_operation(operation)


class Machine:
    """A device: what it has of the channel, and the keys that it came to know."""

    row: Any = SimpleNamespace(id=CHANNEL, n=1)

    def __init__(self, world: World, person: str, number: int = 1) -> None:
        self.world, self.person = world, person
        self.name = f"{person} {number}"
        self.id = id_of(self.name)
        self.seeds = {self.id: seed_of(self.name)}
        self.entry = entry(person, self.name)
        self.skew_ms = world.choose.randrange(-3_000, 3_000)
        self.graph = Graph(CHANNEL)
        self.shelf = Shelf()
        self.have: dict[bytes, ControlCommit] = {}

        self.people = SimpleNamespace(
            graph=lambda *_: self.graph
        )  # as a ledger, of which store/group.py asks it

    @property
    def state(self) -> Membership:
        return self.graph.state

    @property
    def role(self) -> Role:
        return self.state.role(id_of(self.person)) if self.state.device(self.id) else Role.NONE

    @property
    def keys(self) -> dict[bytes, bytes]:
        return self.shelf.keys

    # As in store/ledger.py and store/bundling.py

    def write(self, operations: Sequence[ControlOperation], heads: tuple[bytes, ...] | None = None) -> None:
        """A control commit, if it may be. Raises: UnauthorisedError, which changes nothing."""
        newest = max((commit.time for commit in self.have.values()), default=0)
        time = max(clock.at(self.world.now_ms + self.skew_ms), newest + 1)
        if heads is None and self.have:
            self.graph.check(operations, self.id, time)
        made = self.world.commit(self, time, self.graph.heads if heads is None else heads, operations)
        self.take([made])

    def add_control(
        self, db: object, row: object, graph: object, operations: Sequence[ControlOperation]
    ) -> Any:
        self.write(operations)
        return self.row

    def take(self, commits: Iterable[ControlCommit]) -> None:
        """Commits from elsewhere, each after those it names; and what follows for the keys."""
        operations: list[ControlOperation] = []
        for commit in commits:
            if commit.id not in self.have and all(head in self.have for head in commit.heads):
                self.have[commit.id] = commit
                self.graph.add(commit)
                self.shelf.put(commit)
                operations += commit.operations
        fresh, wrong = epochs.learn(self.shelf, self.row, operations, self.seeds)  # type: ignore[arg-type]
        self.keys.update({id: key.reveal() for id, key in fresh.items()})
        known = self.state.epochs
        wrong = [one for one in dict.fromkeys(wrong) if self.role and one in known]
        if reports := [one for one in wrong if self.id not in known.reported(one)]:
            self.write(epochs.report(reports))

    def with_key(self) -> bool:
        """Before this device hands anything on, and before it writes: was there something to do?"""
        if self.role < Role.MEMBER:
            return False
        before = len(self.have)
        for step in (self._renew, self._reunite):
            if operations := step():
                self.write(operations)
        return len(self.have) > before

    def _renew(self) -> list[ControlOperation]:
        return epochs.renewal(self.shelf, self.row, self.graph, self.world.now_ms)  # type: ignore[arg-type]

    def _reunite(self) -> list[ControlOperation]:
        return epochs.reunion(self.shelf, self.row, self.graph)  # type: ignore[arg-type]

    def admit(self, other: Machine, role: Role, history: int) -> None:
        group.admit(self, self.shelf, self.row, (other.entry,), role, history)  # type: ignore[arg-type]

    def remove(self, other: Machine, *, leaving: bool = False) -> None:
        who = id_of(other.person)
        self.write(group.remove(self.shelf, self.row, self.graph, who, leaving=leaving))  # type: ignore[arg-type]


class World:
    """Everything that was ever written, and the machines."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.now_ms = START_MS
        self.commits: list[ControlCommit] = []  # each after those it names
        self.machines: dict[str, Machine] = {}
        self._opened: dict[bytes, EpochKey | None] = {}

    def machine(self, person: str, number: int = 1) -> Machine:
        made = Machine(self, person, number)
        self.machines[made.name] = made
        return made

    def commit(
        self, author: Machine, time: int, heads: tuple[bytes, ...], operations: Sequence[ControlOperation]
    ) -> ControlCommit:
        number = len(self.commits)
        id = hashlib.sha256(b"%d" % number).digest()
        made = ControlCommit(
            id, author.id, prefix_of(author.name), number + 1, time, heads, tuple(operations)
        )
        self.commits.append(made)
        return made

    def heal(self, honest: Sequence[Machine]) -> None:
        """Everybody has everything and does what is to be done about keys, some at once, until nothing is left to do."""
        for _ in range(ROUNDS_MAX):
            before = len(self.commits)
            for machine in self.machines.values():
                machine.take(self.commits[:])
            for machine in self.choose.sample(list(honest), len(honest)):
                if self.choose.random() < 0.5:
                    machine.take(self.commits[:])
                machine.with_key()
            if len(self.commits) == before:
                return
        raise AssertionError("it goes on for ever")

    def could_know(self, machine: Machine, without: Collection[bytes] = ()) -> set[bytes]:
        """Every epoch that opens for who has this machine and all that was ever written, but these seals and links."""
        known: dict[bytes, EpochKey] = {}
        links: list[Link] = []
        for commit in self.commits:
            for operation in commit.operations:
                if isinstance(operation, Link) and operation.sealed not in without:
                    links.append(operation)
                elif isinstance(operation, Seal):
                    for one in operation.keys:
                        key = self._open(operation.epoch, one, machine)
                        if key is not None and one.sealed not in without:
                            known[operation.epoch] = key
        while any([self._follow(link, known) for link in links]):
            pass
        return set(known)

    def _open(self, epoch: bytes, one: SealedKey, machine: Machine) -> EpochKey | None:
        if one.recipient != machine.id:
            return None
        if one.sealed not in self._opened:
            try:
                self._opened[one.sealed] = crypto.open_from(
                    one.sealed, machine.seeds[one.recipient], CHANNEL, epoch, one.recipient
                )
            except MalformedError:
                self._opened[one.sealed] = None
        return self._opened[one.sealed]

    def _follow(self, link: Link, known: dict[bytes, EpochKey]) -> bool:
        if link.epoch not in known or link.parent in known:
            return False
        try:
            known[link.parent] = crypto.open_link(link.sealed, known[link.epoch], CHANNEL, link.parent)
        except MalformedError:
            return False
        return True
