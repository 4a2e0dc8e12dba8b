"""A simulated world whose devices really sync: they meet over links that break, and use relays that lie.

    with SyncingWorld(folder, seed=7, devices=6) as world: ...      # as `World` is used

The steps stand in for the road of records (`carry`, `arrive`) of world_steps.py. Between honest devices nothing may be
refused for its form, nobody may wait for ever, and nothing is acknowledged, or passed over at a relay, that is not in the
vault.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import combinations
from typing import Any
from unittest.mock import patch

from quire.channels.manager import ChannelManager
from quire.core.bundle_file import Record
from quire.errors import MalformedError, PeerError, QuireError
from quire.node import relays
from quire.node.peer import PeerSync, SyncReport
from quire.node.relays import RelayReport, RelaySync
from quire.store import bundling
from quire.testing import world_steps
from quire.testing.world import ROUNDS_MAX, Crash, Machine, Violation, World
from quire.testing.world_net import NO_FAULT, Distortion, Fault, Net, Side, Stuck, Wire, item_hash
from quire.testing.world_relays import LIES, RelayEnd, WorldRelay, check_cursors

Words = tuple[object, ...]
FRAMES_MAX = 200
PART_BYTES = 700  # of a bundle: a message or two, so that a link breaks between them and leaves gaps
LIFE_S = 300.0  # of a link with a liar, who may say nothing more
CRASH_POINTS_MAX = 12
WEIGHT = {"meet": 52, "by_relay": 26}  # in the place of these:
REPLACED = ("carry", "arrive")
ROADS: tuple[tuple[str, ...], ...] = (
    ("links",),
    ("relay",),
    ("links", "relay"),
)  # by which they come together at last


class SyncingWorld(World):
    """Its devices use `PeerSync` and `RelaySync`; frames and items are all that is carried, but for what liars hand out."""

    def _prepare(self) -> None:
        draw = self.random
        self.relays = [
            WorldRelay("relay", draw.randbytes(16), draw),  # it keeps its word
            WorldRelay("lying relay", draw.randbytes(16), draw, LIES),
        ]
        self.roads = draw.choice(ROADS)
        self.frames: deque[bytes] = deque([b"?"], maxlen=FRAMES_MAX)  # that a liar may say again
        self._stack.enter_context(noting(self))
        self._stack.enter_context(patch.object(bundling, "PART_BYTES", PART_BYTES))
        for name in REPLACED:
            del self._steps[name], self._weights[name]
        self._steps |= STEPS
        self._weights |= WEIGHT

    def until_quiet(self) -> None:
        """Everybody by the relay, or everybody with everybody, or both, until nothing is new twice."""
        quiet = 0
        for round in range(ROUNDS_MAX):
            news = _round(self)
            self.trace.append(f"{len(self.trace)} round {round} news {news}")
            quiet = 0 if news else quiet + 1
            if quiet == 2:
                return
        raise self.fail("it goes on for ever")

    def check_safety(self) -> None:
        super().check_safety()
        for machine in self.honest:
            if wrong := check_cursors(self.relays[0], machine):
                raise self.fail(wrong)


def noting(world: World) -> Any:
    """Whatever a vault has taken in is noted for its device, once that is over."""
    take = ChannelManager._take

    def _take(chat: ChannelManager, records: Callable[[], Any], *limits: int, **settings: Any) -> Any:
        given = list(records())
        report = take(chat, lambda: given, *limits, **settings)
        machine = next(one for one in world.machines if one.store is chat.store)
        machine.taken.update(item_hash(one.kind, one.data) for one in given if isinstance(one, Record))
        return report

    return patch.object(ChannelManager, "_take", _take)


# Steps


def meet(world: SyncingWorld) -> Words:
    """Two devices sync over a link that may break, be slow, or carry nothing any more; one may crash, write, or lie."""
    draw = world.random
    one = draw.choice(world.machines)
    others = [other for other in world.machines if other is not one and other.side == one.side]
    if not others:
        return world_steps.NOBODY
    other = draw.choice(others)
    kind = draw.choices(("", "cut", "half-open", "slow"), (5, 3, 1, 1))[0]
    fault = Fault(kind, draw.randrange(1, 40))
    doomed = draw.choice((one, other)) if draw.random() < 0.2 else None
    return one.name, other.name, *fault, *_told(sync_two(world, one, other, fault, doomed=doomed, busy=True))


def by_relay(world: SyncingWorld) -> Words:
    """Some devices use a relay at once."""
    draw = world.random
    relay = draw.choice(world.relays)
    machines = draw.sample(world.machines, min(len(world.machines), draw.choice((1, 2, 3))))
    frames_max = draw.randrange(1, 30) if draw.random() < 0.25 else -1
    doomed = draw.choice(machines) if draw.random() < 0.2 else None
    found = sync_by_relay(world, relay, machines, frames_max=frames_max, doomed=doomed)
    return relay.name, frames_max, *(one.name for one in machines), *_told(found)


STEPS: dict[str, Callable[[Any], Words]] = {"meet": meet, "by_relay": by_relay}


# How


def sync_two(
    world: SyncingWorld,
    one: Machine,
    other: Machine,
    fault: Fault = NO_FAULT,
    *,
    doomed: Machine | None = None,
    busy: bool = False,
) -> list[Any]:
    """Both sides of a sync, to its end: a report or an error of each."""
    with Net(world) as net:
        sides = [Side(net, machine, _crash(world, machine, doomed)) for machine in (one, other)]
        wire = Wire(net, sides[0], sides[1], fault)
        for end in wire.ends:
            if end.side.machine.liar:
                end.says = Distortion(world.random, world.frames)
                net.later(LIFE_S, wire.cut)
        if busy:
            _write_meanwhile(world, net, sides)
        syncs = [net.build(end.side, partial(PeerSync, end.side.machine.chat, end)) for end in wire.ends]
        found = _run(world, net, [sync.run() for sync in syncs])
    _judge(world, (one, other), found, honest=not (one.liar or other.liar))
    return _after(sides, found)


def sync_by_relay(
    world: SyncingWorld,
    relay: WorldRelay,
    machines: list[Machine],
    *,
    frames_max: int = -1,
    doomed: Machine | None = None,
) -> list[Any]:
    """Devices sync with a relay, all at once: a report or an error of each."""
    with Net(world) as net:
        sides = [Side(net, machine, _crash(world, machine, doomed)) for machine in machines]
        ends = {id(side): RelayEnd(net, relay, side, frames_max) for side in sides}
        syncs = [net.build(side, partial(RelaySync, side.machine.chat, str(id(side)))) for side in sides]

        async def connect(url: str, **options: object) -> RelayEnd:
            return ends[int(url)]

        with patch.object(relays, "connect", connect):
            found = _run(world, net, [sync.run() for sync in syncs])
    _judge(world, machines, found, honest=not relay.lies)
    return _after(sides, found)


def _run(world: World, net: Net, doing: list[Any]) -> list[Any]:
    try:
        return net.run(*doing)
    except Stuck:
        raise world.fail("they wait for each other, or it goes on for ever") from None


def _judge(world: World, machines: Any, found: list[Any], *, honest: bool) -> None:
    """Whatever went wrong with a link is an error of the tree; what honest devices say to each other is well formed."""
    for machine, came in zip(machines, found, strict=True):
        if isinstance(came, Violation):
            raise came
        if isinstance(came, BaseException) and not isinstance(came, QuireError | Crash):
            raise world.fail(f"{machine.name} ended with {came!r}") from came
        if honest and isinstance(came, PeerError | MalformedError):
            raise world.fail(f"{machine.name} took an honest device for a liar: {came.rule}") from came


def _after(sides: list[Side], found: list[Any]) -> list[Any]:
    for side in sides:
        if side.crashed:
            side.net.world.at(side.machine).reopen()
    return found


def _crash(world: World, machine: Machine, doomed: Machine | None) -> Callable[[str], None] | None:
    """Ends the program of the doomed device at one of the next points that the storage layer names."""
    if machine is not doomed:
        return None
    left = world.random.randrange(1, CRASH_POINTS_MAX)

    def hook(point: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            world.note("crashed", machine.name, point)
            raise Crash

    return hook


def _write_meanwhile(world: World, net: Net, sides: list[Side]) -> None:
    """While they sync one of them may say something."""
    if world.random.random() < 0.3:
        side = world.random.choice(sides)

        def say() -> None:
            here = list(side.machine.roles_here()) if not side.crashed else []
            if here:
                with suppress(Crash), side.acting():
                    world_steps.say_in(world, side.machine, world.random.choice(here))

        net.later(world.random.random() * 2, say)


def _told(found: list[Any]) -> list[str]:
    """For the trace."""
    told = []
    for one in found:
        if isinstance(one, SyncReport | RelayReport):
            rules = sorted({error.rule for error in one.refused})
            told.append(f"+{one.new} -{one.given} {','.join(rules)}")
        else:
            told.append(getattr(one, "rule", type(one).__name__))
    return told


def _round(world: SyncingWorld) -> int:
    """Everybody once on each road that is used at last: how much of what came was new."""
    world.now_ms += 1_000
    order = list(world.honest)
    world.random.shuffle(order)
    found: list[Any] = []
    if "relay" in world.roads:
        for machine in order:
            found += sync_by_relay(world, world.relays[0], [machine])
    if "links" in world.roads:
        for one, other in combinations(order, 2):  # what one has may go no way but straight to another
            found += sync_two(world, one, other)
    for one in found:
        if isinstance(one, BaseException):
            raise world.fail(f"a good link broke: {one!r}") from one
    return sum(one.new for one in found)
