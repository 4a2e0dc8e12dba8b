"""A simulated world: people with devices, channels, a road that loses and repeats, and liars; all from one seed.

    with World(folder, seed=7, devices=30) as world:
        world.run(steps=300)      # each step drawn from the seed; safety is checked on the way
        world.heal()              # from here on the road is kind, so there is no excuse
        world.check_converged()

Every device is a vault on disk, used as a program would: `ChannelManager`, bundle records, closing and opening. What a
device's owner did is kept in a ledger of truth beside the vaults; world_checks.py compares the two. What people do is
in world_steps.py, what liars do in world_attacks.py. Time and randomness come from the seed (world_edge.py), so a run
repeats to the byte: `trace` says what happened and `fingerprint` covers every byte that was carried.

safe always        no acknowledged write lost, nothing shown that its author did not write, nothing beyond a cut,
                   nobody outside with a key that somebody writes under who knows that they are out, bounds kept
converged at last  who is in sees what all who are in see, and has every key that their history scope admits
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from quire.core.bundle_file import Record
from quire.core.crypto.secrets import RecoveryPhrase
from quire.core.ids import ChannelId, IdentityId, MessageId
from quire.errors import NotFoundError, PeerError, UnauthorisedError, UsageError
from quire.storage import database
from quire.storage.outside import create_key_file
from quire.store.linking import LinkGuest, LinkHost
from quire.store.local import LocalStore
from quire.store.unbundling import BundleReport
from quire.testing import world_checks, world_erasing, world_letting, world_restoring, world_steps
from quire.testing.people import Person, key_of
from quire.testing.world_edge import Edge

HEAL_MS = 6 * 24 * 3_600_000  # later than anything a liar dates forward
ROUNDS_MAX = 30  # of everybody meeting everybody, before we call it endless
CHECK_EVERY = 50  # steps between full checks
PAST_MAX = 40  # deliveries that are remembered, to be repeated
CRASH_POINTS_MAX = 6  # a crash comes at one of so many next points that the storage layer names
REFUSALS = (UsageError, UnauthorisedError, NotFoundError)  # of what we tried: an answer, no fault


class Violation(AssertionError):
    """The world is not as it must be. The message has all it takes to see it again."""


class Crash(BaseException):
    """The program ends here, in the midst of something."""


class Machine(Person):
    """One device of somebody."""

    def __init__(self, name: str, store: LocalStore, *, liar: bool = False) -> None:
        super().__init__(name, store)
        self.owner = name.partition("/")[0]
        self.liar = liar
        self.skew_ms = 0
        self.side = 0  # of a partition
        self.inbox: deque[list[Record]] = deque()
        self.taken: set[bytes] = set()  # hashes of all records that its vault has taken in
        self.kept: set[tuple[bytes, int, bytes]] = set()  # what it was told is durable: (prefix, seq, head)
        self.gone: set[bytes] = set()  # operations of honest people that it let go of
        self.phrase: RecoveryPhrase | None = store.recovery_phrase

    def reopen(self) -> None:
        """As the next start of the program would; what was durable before must be there after."""
        self.kept |= self.own_commits()
        super().reopen()

    def own_commits(self) -> set[tuple[bytes, int, bytes]]:
        """(prefix, seq, head) of what this device wrote and has."""
        rows = self.store.database.reader.execute(
            "SELECT l.prefix, c.seq, c.head FROM commits c JOIN log l ON l.n = c.log WHERE l.device = ?",
            (self.store.device,),
        )
        return {(bytes(prefix), seq, bytes(head)) for prefix, seq, head in rows}

    def roles_here(self) -> dict[ChannelId, int]:
        """The channels that this device is in, as it sees it, and its role there."""
        rows = self.store.database.reader.execute(
            "SELECT id, role FROM channel WHERE kind <> 'self' AND role ORDER BY n"
        )
        return {ChannelId(bytes(id)): int(role) for id, role in rows}


@dataclass
class Said:
    """A message that its author did write."""

    channel: ChannelId
    author: IdentityId
    bodies: list[str]
    out: frozenset[bytes]  # people whom the writer knew to be out
    root: MessageId | None = None  # of its thread
    deleted_by: set[bytes] = field(default_factory=set)


class World:
    """Devices, the road between them, and the truth."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        devices: int = 30,
        liars: int = 4,
        channels: int = 4,
    ) -> None:
        self.folder = folder
        self.seed = seed
        self.devices = devices
        self.random = random.Random(f"world {seed}")  # noqa: S311 - reproducible on purpose
        self.edge = Edge(seed)
        self.now_ms = self.edge.now_ms
        self.machines: list[Machine] = []
        self.lost: list[Machine] = []  # whose vaults are destroyed
        self.backups: dict[str, list[Path]] = {}  # by machine, the first one first
        self.gone_in: dict[Path, set[bytes]] = {}  # what was let go of in the vault, by backup
        self.old_relay: Any = None  # a relay's items as they were
        self.channels: list[ChannelId] = []
        self.links: dict[ChannelId, list[str]] = {}  # invites that go round
        self.said: dict[MessageId, Said] = {}
        self.meant: dict[bytes, set[str]] = {}  # by author: all that they ever tried to write
        self.past: deque[list[Record]] = deque(maxlen=PAST_MAX)
        self.trace: list[str] = []
        self.ancestry = world_checks.Ancestry()
        self._carried = hashlib.sha256()
        self._steps: dict[str, Callable[[Any], world_steps.Words]] = dict(world_steps.STEPS)
        self._weights = dict(world_steps.WEIGHT)
        self._stack = ExitStack()
        self._start = (liars, channels)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.edge)
        try:
            self._prepare()
            self._settle_in(*self._start)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        for machine in self.machines:
            machine.store.close()
        self._stack.close()

    def _prepare(self) -> None:
        """Before the beginning."""

    @property
    def fingerprint(self) -> str:
        """Of every step and every byte carried so far."""
        told = self._carried.copy()
        told.update("\n".join(self.trace).encode())
        return told.hexdigest()

    @property
    def honest(self) -> list[Machine]:
        return [machine for machine in self.machines if not machine.liar]

    @property
    def liars(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.liar]

    @property
    def trusted(self) -> list[Machine]:
        """All honest devices that ever were."""
        return [*self.honest, *self.lost]

    def fail(self, what: str) -> Violation:
        """For `raise world.fail(...)`: what is wrong, and how it came to it."""
        tail = "\n".join(self.trace[-25:])
        return Violation(f"seed {self.seed}, after step {len(self.trace)}: {what}\n{tail}")

    def name_of(self, channel: bytes) -> str:
        """A channel in the trace."""
        return (
            f"c{self.channels.index(ChannelId(channel))}" if channel in self.channels else "a strange channel"
        )

    # The beginning

    def _settle_in(self, liars: int, channels: int) -> None:
        """Most devices, a few channels, and about half of the people in each."""
        wanted = max(3, self.devices * 4 // 5)
        while len(self.machines) < wanted:
            first = self.newcomer(liar=len(self.liars) < liars and len(self.machines) % 3 == 2)
            for _ in range(0 if first.liar else self.random.choice((0, 0, 1, 2))):
                if len(self.machines) < wanted:
                    self.link(first)
        firsts = [machine for machine in self.machines if machine.name.endswith("/1")]
        for _ in range(channels):
            founder = self.random.choice([one for one in firsts if not one.liar])
            channel = self.found(founder)
            role = self.random.choice(("member", "moderator", "admin"))
            link = self.at(founder).chat.create_invite(channel, uses=0, role=role).text()
            self.links[channel].append(link)
            others = [one for one in firsts if one is not founder]
            for one in self.random.sample(others, max(1, len(others) * 3 // 5)):
                self.at(one).chat.join_channel(link)
                self.deliver(founder, self.give(one))
        for channel in self.channels:
            for founder in self.machines:
                if channel in founder.roles_here():
                    records = self.give(founder, channel)
                    for one in self.machines:
                        self.deliver(one, records)
                    break

    def newcomer(self, *, liar: bool = False) -> Machine:
        """Somebody who was not there, with one device."""
        count = len({machine.owner for machine in self.machines})
        name = f"{'liar' if liar else 'p'}{count}/1"
        path = self._key_file(name)
        machine = Machine(name, LocalStore.create(path, key_of(path)), liar=liar)
        machine.chat.set_name(machine.owner)
        self.machines.append(machine)
        return machine

    def link(self, host: Machine) -> Machine:
        """One more device of somebody, linked by the code."""
        self.at(host)
        name = self.next_name(host)
        path = self._key_file(name)
        showing = LinkHost(host.store)
        typing = LinkGuest(showing.code.text())
        message = showing.grant(typing.offer(showing.answer(typing.start())), name=name)
        typing.finish(message, path, key_of(path))
        guest = Machine(name, LocalStore.open(path, key_of(path)))
        self.machines.append(guest)
        guest.take(host.give())
        return guest

    def next_name(self, machine: Machine) -> str:
        """Of one more device of the same person."""
        return (
            f"{machine.owner}/{sum(one.owner == machine.owner for one in [*self.machines, *self.lost]) + 1}"
        )

    def found(self, founder: Machine) -> ChannelId:
        """A new channel."""
        channel = self.at(founder).chat.create_channel(f"c{len(self.channels)}").id
        self.channels.append(channel)
        self.links[channel] = []
        return channel

    def _key_file(self, name: str) -> Path:
        self.edge.now_ms = self.now_ms
        path = self.folder / name.replace("/", "-")
        create_key_file(Path(key_of(path).path), os.urandom)
        return path

    # Steps

    def let_go(self) -> None:
        """From here on people let go of what they wrote, too, by policies and timers (testing/world_letting.py)."""
        self._steps.update(world_letting.STEPS)
        self._weights.update(world_letting.WEIGHT)

    def erase(self) -> None:
        """From here on people erase what they wrote, too (testing/world_erasing.py)."""
        self._steps.update(world_erasing.STEPS)
        self._weights.update(world_erasing.WEIGHT)

    def restore(self) -> None:
        """From here on devices are backed up, destroyed and restored, and relays go back, too (testing/world_restoring.py)."""
        self._steps.update(world_restoring.STEPS)
        self._weights.update(world_restoring.WEIGHT)

    def run(self, steps: int) -> None:
        """So many steps. Who reads what is written is checked as it is written; everything now and then and at the end."""
        for _ in range(steps):
            self.step()
            if len(self.trace) % CHECK_EVERY == 0:
                self.check_safety()
        self.check_safety()

    def step(self) -> None:
        """Time goes on, and one thing happens."""
        self.now_ms += self.random.choice((10, 1_000, 60_000, 600_000))
        name = self.random.choices(list(self._weights), list(self._weights.values()))[0]
        self.trace.append(f"{len(self.trace)} {name}")
        self.note(*self._steps[name](self))

    def note(self, *words: object) -> None:
        """Say more about the step that is under way."""
        self.trace[-1] = " ".join([self.trace[-1], *map(str, words)])

    def at(self, machine: Machine) -> Machine:
        """The same machine, whose clock is the one that is read from here on."""
        self.edge.now_ms = self.now_ms + machine.skew_ms
        return machine

    def attempt(self, machine: Machine, act: Callable[[], object]) -> str:
        """Do something that may be refused; by which rule it was."""
        self.at(machine)
        try:
            act()
        except REFUSALS as error:
            return f"refused: {error.rule}"
        return "done"

    @contextmanager
    def crashing(self, machine: Machine) -> Iterator[None]:
        """What is done inside ends at some point that the storage layer names; then the device starts again."""
        try:
            with self.dying():
                yield
        except Crash:
            pass
        finally:
            self.at(machine).reopen()

    @contextmanager
    def dying(self) -> Iterator[None]:
        """What is done inside ends at some point that the storage layer names, with `Crash`."""
        left = self.random.randrange(1, CRASH_POINTS_MAX)

        def hook(point: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self.note("crashed", point)
                raise Crash

        database.fault_hook = hook
        try:
            yield
        finally:
            database.fault_hook = None

    # The road

    def give(self, machine: Machine, *channels: ChannelId) -> list[Record]:
        """What a device hands on. It must always be able to."""
        try:
            return self.at(machine).records(*channels)
        except REFUSALS as error:
            raise self.fail(f"{machine.name} can hand on nothing: {error.rule}") from error

    def deliver(self, machine: Machine, records: list[Record]) -> BundleReport:
        """Records reach a device, which must bear whatever they are."""
        for record in records:
            self.carried(machine, bytes([record.kind]) + record.data)
        try:
            return self.at(machine).take(records)
        except PeerError as error:
            raise self.fail(f"{machine.name} choked on {error.rule}") from error

    def carried(self, machine: Machine, data: bytes) -> None:
        """These bytes were on a road, from or to a device."""
        self._carried.update(machine.name.encode() + len(data).to_bytes(4, "big") + data)

    # The end

    def heal(self) -> None:
        """Everyone's clock is right, later than all that was dated forward; all meet until nothing is new."""
        self.trace.append(f"{len(self.trace)} heal")
        self.now_ms += HEAL_MS
        for machine in self.machines:
            machine.skew_ms, machine.side = 0, 0
            machine.inbox.clear()
        self.until_quiet()
        for machine in self.honest:  # what is written now is what nobody outside may read
            for channel in machine.roles_here():
                self.trace.append(f"{len(self.trace)} last word")
                self.note(*world_steps.say_in(self, machine, channel))
        self.until_quiet()

    def until_quiet(self) -> None:
        """Everybody meets in every channel, by way of one device after another, until nothing is new twice."""
        quiet = 0
        for round in range(ROUNDS_MAX):
            news = sum(self._meet(channel, round) for channel in self.channels)
            self.trace.append(f"{len(self.trace)} round {round} news {news}")
            quiet = 0 if news else quiet + 1
            if quiet == 2:
                return
        raise self.fail("it goes on for ever")

    def _meet(self, channel: ChannelId, round: int) -> int:
        self.now_ms += 1_000
        inside = [one for one in self.honest if channel in one.roles_here()]
        if not inside:
            return 0
        hub = self.random.choice(inside)
        brought: dict[Record, None] = {}
        for one in self.honest:
            if one is not hub:
                brought.update(dict.fromkeys(self._offer(one, channel)))
        news = world_checks.news(self.deliver(hub, list(brought)))
        records = self.give(hub, channel)
        for one in self.machines:
            if one is not hub:
                told = world_checks.news(self.deliver(one, records))
                news += 0 if one.liar else told
        return news

    def _offer(self, one: Machine, channel: ChannelId) -> list[Record]:
        """What a device has to say about a channel: as a member, as one who was, or as one who asks."""
        if channel in one.roles_here():
            return self.give(one, channel)
        try:
            return self.at(one).records(channel)
        except REFUSALS as error:
            if error.rule != "not_a_member":
                raise self.fail(f"{one.name} can hand on nothing: {error.rule}") from error
            return list(one.chat._outgoing([]))

    # What must hold

    def check_safety(self) -> None:
        """What must hold at any time."""
        world_checks.check_safety(self)

    def check_converged(self) -> None:
        """What must hold after `heal`."""
        world_checks.check_safety(self)
        world_checks.check_converged(self)
