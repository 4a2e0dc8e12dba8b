"""What happens in a simulated world, step by step: people talk, let in and put out; the road does what roads do.

A step draws what it needs from the world's random numbers, does one thing, and returns words for the trace.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from quire.core.bundle_file import Kind, Record
from quire.core.control import Role
from quire.core.ids import ChannelId, IdentityId
from quire.core.views import Message
from quire.testing import world_attacks

if TYPE_CHECKING:
    from quire.testing.world import Machine, World

Words = tuple[object, ...]
NOBODY: Words = ("nobody can",)
EMOJI = "👍🎉👀"
ROLES = ("guest", "member", "member", "moderator", "admin", "owner")
HOUR_MS = 3_600_000
PAGE = 30  # messages among which one is picked


# Talking


def say_in(world: World, machine: Machine, channel: ChannelId, thread: Message | None = None) -> Words:
    """Write a message; the truth learns of it, and who must not have its key."""
    from quire.testing.world import Said
    from quire.testing.world_out import check_key, people_out

    body = f"{machine.owner} says {len(world.said)}"
    world.meant.setdefault(machine.identity, set()).add(body)

    def act() -> None:
        message = machine.chat.send_message(channel, body, thread=thread.id if thread else None)
        if not machine.liar:
            out = people_out(world, machine, channel)
            world.said[message.id] = Said(channel, machine.identity, [body], out, message.root)
            check_key(world, machine, channel)

    return machine.name, world.name_of(channel), world.attempt(machine, act)


def say(world: World) -> Words:
    machine, channel = _writer(world)
    return say_in(world, machine, channel) if machine and channel else NOBODY


def reply(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel or not (message := _message(world, machine, channel)):
        return NOBODY
    return say_in(world, machine, channel, message)


def edit(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel or not (message := _message(world, machine, channel, own=True)):
        return NOBODY
    body = f"{message.body[:20]}, better {len(world.trace)}"
    world.meant.setdefault(machine.identity, set()).add(body)
    if said := world.said.get(message.id):
        said.bodies.append(body)
    return machine.name, world.attempt(machine, lambda: machine.chat.edit_message(message.id, body))


def delete(world: World) -> Words:
    machine, channel = _writer(world)
    own = world.random.random() < 0.7
    if not machine or not channel or not (message := _message(world, machine, channel, own=own)):
        return NOBODY
    if said := world.said.get(message.id):
        said.deleted_by.add(machine.identity)
    return machine.name, world.attempt(machine, lambda: machine.chat.delete_message(message.id))


def mark(world: World) -> Words:
    """React, take a reaction back, pin, unpin, name, bookmark."""
    machine, channel = _writer(world)
    if not machine or not channel or not (message := _message(world, machine, channel)):
        return NOBODY
    chat, emoji, n = machine.chat, world.random.choice(EMOJI), len(world.trace)
    acts: dict[str, Callable[[], object]] = {
        "react": lambda: chat.add_reaction(message.id, emoji),
        "unreact": lambda: chat.remove_reaction(message.id, emoji),
        "pin": lambda: chat.pin(message.id),
        "unpin": lambda: chat.unpin(message.id),
        "topic": lambda: chat.set_topic(channel, f"topic {n}"),
        "bookmark": lambda: chat.bookmark(message.id),
    }
    what = world.random.choice([*acts, "react", "react"])
    return machine.name, what, world.attempt(machine, acts[what])


# People


def invite(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel:
        return NOBODY
    draw = world.random

    def act() -> None:
        link = machine.chat.create_invite(
            channel, role=draw.choice(ROLES[:4]), uses=draw.choice((0, 0, 1, 2)), history=_history(world),
            approval=draw.random() < 0.25,
        )  # fmt: skip
        world.links[channel].append(link.text())

    return machine.name, world.name_of(channel), world.attempt(machine, act)


def ask(world: World) -> Words:
    """Somebody follows a link."""
    machine = world.random.choice(world.machines)
    channel = world.random.choice(world.channels)
    if channel in machine.roles_here() or not world.links[channel]:
        return NOBODY
    link = world.random.choice(world.links[channel])
    return (
        machine.name,
        world.name_of(channel),
        world.attempt(machine, lambda: machine.chat.join_channel(link)),
    )


def answer(world: World) -> Words:
    """Somebody deals with requests, or withdraws an invite."""
    machine, channel = _writer(world)
    if not machine or not channel:
        return NOBODY
    waiting = machine.chat.requests(channel)
    if waiting:
        act = machine.chat.approve if world.random.random() < 0.8 else machine.chat.decline
        return (
            machine.name,
            act.__name__,
            world.attempt(machine, lambda: act(channel, IdentityId(waiting[0].identity))),
        )
    open = [one for one in machine.chat.invites(channel) if one.usable]
    if open and world.random.random() < 0.3:
        return machine.name, world.attempt(
            machine, lambda: machine.chat.withdraw_invite(channel, open[0].key)
        )
    return NOBODY


def admit(world: World) -> Words:
    """Somebody is let in by their card."""
    machine, channel = _writer(world)
    other = world.random.choice(world.machines)
    if not machine or not channel or other.owner == machine.owner:
        return NOBODY
    card = world.at(other).chat.key_card()
    role, history = world.random.choice(ROLES[:5]), _history(world)
    act = lambda: machine.chat.add_member(channel, card, role=role, history=history)  # noqa: E731
    return machine.name, other.owner, world.name_of(channel), world.attempt(machine, act)


def role(world: World) -> Words:
    machine, channel, other = _two(world)
    if not machine or not channel or not other:
        return NOBODY
    wanted = world.random.choice(ROLES)
    done = world.attempt(machine, lambda: machine.chat.set_role(channel, other, wanted))
    return machine.name, _name(world, other), world.name_of(channel), wanted, done


def put_out(world: World) -> Words:
    machine, channel, other = _two(world)
    if not machine or not channel or not other:
        return NOBODY
    act = machine.chat.ban_member if world.random.random() < 0.2 else machine.chat.remove_member
    done = world.attempt(machine, lambda: act(channel, other))
    return machine.name, _name(world, other), world.name_of(channel), done


def unban(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel or not (banned := sorted(machine.graph(channel).state.banned)):
        return NOBODY
    other = IdentityId(world.random.choice(banned))
    return (
        machine.name,
        _name(world, other),
        world.attempt(machine, lambda: machine.chat.unban_member(channel, other)),
    )


def leave(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel:
        return NOBODY
    return (
        machine.name,
        world.name_of(channel),
        world.attempt(machine, lambda: machine.chat.leave_channel(channel)),
    )


def rotate(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel:
        return NOBODY
    return (
        machine.name,
        world.name_of(channel),
        world.attempt(machine, lambda: machine.chat.rotate_key(channel)),
    )


def policy(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel:
        return NOBODY
    name = world.random.choice(("post", "pin", "name", "invite", "history", "rotation"))
    value = {"history": world.random.choice((0, 0, 1)), "rotation": 48 * HOUR_MS}.get(
        name, world.random.choice((Role.MEMBER, Role.MEMBER, Role.MODERATOR))
    )
    act = lambda: machine.chat.set_policy(channel, name, int(value))  # noqa: E731
    return machine.name, world.name_of(channel), name, int(value), world.attempt(machine, act)


def device(world: World) -> Words:
    """Somebody links one more device, ends one, or is new."""
    machine = world.random.choice(world.honest)
    own = [one for one in world.machines if one.owner == machine.owner]
    if world.random.random() < 0.25 and len(own) > 1:
        other = world.random.choice([one for one in own if one is not machine])
        act = lambda: machine.chat.revoke_device(other.store.device)  # noqa: E731
        return machine.name, "revokes", other.name, world.attempt(machine, act)
    if len(world.machines) >= world.devices:
        return NOBODY
    if world.random.random() < 0.3:
        return (world.newcomer().name, "is new")
    return machine.name, "links", world.attempt(machine, lambda: world.link(machine))


def found(world: World) -> Words:
    if len(world.channels) > 5:
        return NOBODY
    machine = world.random.choice(world.honest)
    return machine.name, world.attempt(machine, lambda: world.found(machine))


# The road


def carry(world: World) -> Words:
    """One device's records to another's: now or later, with losses, repeats, and in any order."""
    draw = world.random
    source = draw.choice(world.machines)
    targets = [one for one in world.machines if one is not source and one.side == source.side]
    if not targets:
        return NOBODY
    here = list(source.roles_here())
    records = world.give(source, *([draw.choice(here)] if here and draw.random() < 0.7 else []))
    if draw.random() < 0.4:
        records = [one for one in records if draw.random() > 0.3]
        records += draw.sample(records, len(records) // 4)
        draw.shuffle(records)
    if not records:
        return (source.name, "has nothing")
    world.past.append(records)
    told = []
    for target in draw.sample(targets, min(len(targets), draw.choice((1, 1, 2, 3)))):
        if draw.random() < 0.25:
            if len(target.inbox) < 4:
                target.inbox.append(records)
            told.append(f"{target.name} later")
        else:
            told.append(f"{target.name} {_report(world, target, records)}")
    return (source.name, *told)


def arrive(world: World) -> Words:
    """What was under way comes, the last first."""
    waiting = [one for one in world.machines if one.inbox]
    if not waiting:
        return NOBODY
    target = world.random.choice(waiting)
    return target.name, _report(world, target, target.inbox.pop())


def split(world: World) -> Words:
    """The road is cut into two or three parts."""
    parts = world.random.choice((2, 2, 3))
    for machine in world.machines:
        machine.side = world.random.randrange(parts)
    return (parts,)


def join(world: World) -> Words:
    for machine in world.machines:
        machine.side = 0
    return ()


def replay(world: World) -> Words:
    """Something old comes once more, to anybody."""
    if not world.past:
        return NOBODY
    target = world.random.choice(world.machines)
    return target.name, _report(world, target, world.random.choice(world.past))


def tamper(world: World) -> Words:
    """A carrier without keys changes what it carries."""
    if not world.past:
        return NOBODY
    target = world.random.choice(world.machines)
    records = [_tampered(world, one) for one in world.random.choice(world.past)]
    return target.name, _report(world, target, records)


def _tampered(world: World, record: Record) -> Record:
    draw = world.random
    data = bytearray(record.data)
    match draw.randrange(5):
        case 0:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        case 1:
            del data[draw.randrange(len(data)) :]
        case 2:
            return Record(draw.choice(list(Kind)), record.data)
        case 3:
            data += draw.randbytes(draw.randrange(1, 100))
    return Record(record.kind, bytes(data))


def lie(world: World) -> Words:
    """A liar with valid keys makes something up and gives it to some."""
    liars = [one for one in world.liars if any(one.keys(channel) for channel in world.channels)]
    if not liars:
        return NOBODY
    liar = world.random.choice(liars)
    channel = world.random.choice([channel for channel in world.channels if liar.keys(channel)])
    name = world.random.choice(sorted(world_attacks.ATTACKS))
    parcels = world_attacks.attack(world, world.at(liar), channel, name)
    told = []
    for records in parcels:
        world.past.append(records)
        targets = world.random.sample(
            world.machines, min(len(world.machines), world.random.choice((1, 2, 4)))
        )
        told += [f"{target.name} {_report(world, target, records)}" for target in targets]
    return (liar.name, world.name_of(channel), name, *told)


# Trouble


def restart(world: World) -> Words:
    machine = world.random.choice(world.machines)
    world.at(machine).reopen()
    return (machine.name,)


def crash(world: World) -> Words:
    """A device ends in the midst of writing, taking in or giving."""
    machine, channel = _writer(world)
    if not machine or not channel:
        return NOBODY
    with world.crashing(machine):
        match world.random.randrange(4):
            case 0:
                say_in(world, machine, channel)
            case 1:
                world.give(machine)
            case 2:
                world.attempt(machine, lambda: machine.chat.rotate_key(channel))
            case _:
                if world.past:
                    world.deliver(machine, world.random.choice(world.past))
    return (machine.name,)


def clock(world: World) -> Words:
    """Somebody's clock is wrong by hours, or right again."""
    machine = world.random.choice(world.machines)
    machine.skew_ms = world.random.choice((0, 0, -1, 1)) * world.random.randrange(1, 6 * HOUR_MS)
    return machine.name, machine.skew_ms


STEPS: dict[str, Callable[[World], Words]] = {
    "say": say, "reply": reply, "edit": edit, "delete": delete, "mark": mark, "invite": invite, "ask": ask,
    "answer": answer, "admit": admit, "role": role, "put_out": put_out, "unban": unban, "leave": leave,
    "rotate": rotate, "policy": policy, "device": device, "found": found, "carry": carry, "arrive": arrive,
    "split": split, "join": join, "replay": replay, "tamper": tamper, "lie": lie, "restart": restart,
    "crash": crash, "clock": clock,
}  # fmt: skip
WEIGHT = {
    "say": 30, "reply": 8, "edit": 6, "delete": 3, "mark": 12, "invite": 4, "ask": 8, "answer": 5, "admit": 6,
    "role": 6, "put_out": 5, "unban": 2, "leave": 1, "rotate": 2, "policy": 2, "device": 4, "found": 1, "carry": 50,
    "arrive": 12, "split": 2, "join": 3, "replay": 4, "tamper": 5, "lie": 24, "restart": 4, "crash": 6, "clock": 3,
}  # fmt: skip


# Drawing


def _writer(world: World) -> tuple[Machine | None, ChannelId | None]:
    """A device and a channel that it is in."""
    machine = world.random.choice(world.machines)
    here = list(machine.roles_here())
    return (machine, world.random.choice(here)) if here else (None, None)


def _two(world: World) -> tuple[Machine | None, ChannelId | None, IdentityId | None]:
    """A device, a channel that it is in, and another member."""
    machine, channel = _writer(world)
    if not machine or not channel:
        return None, None, None
    others = sorted(identity for identity in machine.roles(channel) if identity != machine.identity)
    return machine, channel, IdentityId(world.random.choice(others)) if others else None


def _message(world: World, machine: Machine, channel: ChannelId, *, own: bool = False) -> Message | None:
    page = machine.chat.get_stored_messages_paginated(channel, limit=PAGE).messages
    found = [one for one in page if not one.deleted and (one.author.own or not own)]
    return world.random.choice(found) if found else None


def _history(world: World) -> str | datetime | None:
    ago_ms = world.random.randrange(1, 48) * HOUR_MS
    date = datetime.fromtimestamp((world.now_ms - ago_ms) / 1000, UTC)
    return world.random.choice((None, None, "joined", date))


def _name(world: World, identity: bytes) -> str:
    return next((one.owner for one in world.machines if one.identity == identity), identity.hex()[:8])


def _report(world: World, target: Machine, records: list[Record]) -> str:
    report = world.deliver(target, records)
    rules = sorted({error.rule for error in [*report.refused, *report.damaged]})
    return f"+{report.new} parked {report.parked} {','.join(rules)}"
