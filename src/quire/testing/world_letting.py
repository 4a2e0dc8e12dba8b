"""What a simulated world does to let go: policies and timers are set, and carried out at any moment; nothing comes back.

These steps are drawn only in worlds that are told to (`World.let_go`): the others go on as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from quire.core.ids import ChannelId
from quire.core.retention import Keeping
from quire.storage import log
from quire.storage.erasures import LOCAL, POLICY
from quire.testing.world_steps import HOUR_MS, NOBODY, Words, _writer

if TYPE_CHECKING:
    from quire.testing.world import Machine, World


def keep(world: World) -> Words:
    """Somebody says what a channel keeps, or what their own device does."""
    machine, channel = _writer(world)
    if not machine or not channel:
        return NOBODY
    draw = world.random
    here = draw.random() < 0.3
    wanted = Keeping(
        draw.choice((0, 6, 24)) * HOUR_MS, draw.choice((0, 0, 5)), exempt=draw.choice((0, 1, 4, 7))
    )
    act = lambda: machine.chat.set_retention(channel, wanted, here=here)  # noqa: E731
    return (
        machine.name,
        world.name_of(channel),
        here,
        wanted.age_ms,
        wanted.count,
        world.attempt(machine, act),
    )


def timer(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel:
        return NOBODY
    hours, from_read = world.random.choice((0, 3, 12)), world.random.random() < 0.3
    after = timedelta(hours=hours) if hours else None
    act = lambda: machine.chat.set_disappearing(channel, after, from_read=from_read)  # noqa: E731
    return machine.name, world.name_of(channel), hours, from_read, world.attempt(machine, act)


def let_go(world: World) -> Words:
    """A device lets go of what is to go, perhaps not to the end."""
    machine = world.random.choice(world.machines)
    act = lambda: machine.chat.enforce_retention()  # noqa: E731
    if world.random.random() < 0.3:
        with world.crashing(machine):
            return machine.name, world.attempt(machine, act)
        return (machine.name,)
    return machine.name, world.attempt(machine, act)


STEPS: dict[str, Callable[[World], Words]] = {"keep": keep, "timer": timer, "let_go": let_go}
WEIGHT = {"keep": 5, "timer": 3, "let_go": 16}


def gone(machine: Machine) -> set[bytes]:
    """The messages and what was on them that a device let go of."""
    sql = "SELECT id FROM destroyed WHERE why IN (?, ?)"
    return {bytes(id) for (id,) in machine.store.database.reader.execute(sql, (POLICY, LOCAL))}


def check_gone(world: World, machine: Machine) -> None:
    """What an honest device's vault let go of, of what honest people wrote, is as gone as it was."""
    honest = {prefix for one in world.trusted for prefix, _, _ in one.kept}
    now = {id for id in gone(machine) if id[:10] in honest}
    if back := machine.gone - now:
        raise world.fail(
            f"{machine.name} let go of {len(back)} operations that it does not call gone any more"
        )
    machine.gone = now
    db = machine.store.database.reader
    for table in ("message", "operation", "waiting", "voided"):
        for (id,) in db.execute(f"SELECT id FROM {table}"):
            if id in now:
                raise world.fail(
                    f"{machine.name} has the bytes of {id.hex()} in {table}, which it had let go of"
                )


def check_equal_but_for_gone(world: World, channel: ChannelId, inside: list[Machine]) -> None:
    """Who shows a message of an honest person shows what all others show, unless they let go of it."""
    shown = {
        one.name: {m.id for m in one.store.get_channel_messages(channel) if m.id in world.said}
        for one in inside
    }
    for one in inside:
        mine = gone(one)
        for other in inside:
            if lacks := shown[other.name] - shown[one.name] - mine:
                words = world.said[min(lacks)].bodies[0]
                raise world.fail(
                    f"{one.name} does not show {words!r} in {world.name_of(channel)}, and {other.name} does"
                )


def is_letting(machine: Machine, channel: ChannelId) -> bool:
    """Has anybody ever said what this channel keeps?"""
    row = log.channel_by_id(machine.store.database.reader, channel)
    assert row is not None
    sql = "SELECT EXISTS(SELECT 1 FROM destroyed WHERE channel = ? AND why IN (?, ?))"
    found = machine.store.database.reader.execute(sql, (row.n, POLICY, LOCAL)).fetchone()
    return bool(found and found[0])
