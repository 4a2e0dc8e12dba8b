"""What a simulated world does to erase: messages, versions, at any moment, perhaps not to the end; nothing comes back.

These steps are drawn only in worlds that are told to (`World.erase`): the others go on as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from quire.core.commit import decode_head
from quire.core.encoding import encode
from quire.core.ids import MessageId
from quire.core.operation import KINDS, Erase, Remains, stored_operation
from quire.core.rights import MAY_MODERATE
from quire.storage import log
from quire.testing.world_steps import NOBODY, Words, _message, _writer

if TYPE_CHECKING:
    from quire.testing.world import Machine, World


def erase(world: World) -> Words:
    """Somebody destroys a message of theirs, or tries another's; the machine may die at it."""
    machine, channel = _writer(world)
    own = world.random.random() < 0.7
    if not machine or not channel or not (message := _message(world, machine, channel, own=own)):
        return NOBODY
    if said := world.said.get(message.id):
        said.deleted_by.add(machine.identity)
    act = lambda: machine.chat.erase_message(message.id)  # noqa: E731
    return machine.name, *_perhaps_dying(world, machine, act)


def erase_version(world: World) -> Words:
    machine, channel = _writer(world)
    if not machine or not channel or not (message := _message(world, machine, channel, own=True)):
        return NOBODY
    number = world.random.randint(1, 3)
    if said := world.said.get(message.id):
        said.bodies.append("")  # what is left if its other versions come to nothing
    act = lambda: machine.chat.erase_version(message.id, number)  # noqa: E731
    return machine.name, number, *_perhaps_dying(world, machine, act)


def _perhaps_dying(world: World, machine: Machine, act: Callable[[], object]) -> Words:
    if world.random.random() < 0.2:
        with world.crashing(machine):
            return (world.attempt(machine, act),)
        return ()
    return (world.attempt(machine, act),)


STEPS: dict[str, Callable[[World], Words]] = {"erase": erase, "erase_version": erase_version}
WEIGHT = {"erase": 14, "erase_version": 6}


def check_erased(world: World, machine: Machine) -> None:
    """What a right erasure names is shown by nobody who has it, and its text is in none of their vault's pages."""
    db = machine.store.database.reader
    parked: Any = db.execute("SELECT channel FROM parked").fetchall()
    waits = {bytes(channel) for (channel,) in parked}
    pages = b""
    for id in sorted(set(erased_by_right(machine)) & world.said.keys()):
        said = world.said[id]
        found = machine.store.reader.find(id)
        if found is None:
            continue
        if found.deleted is None or not found.deleted.erased:
            raise world.fail(f"{machine.name} shows {found.body!r}, which was erased")
        if said.channel in waits:
            continue  # a commit that waits whole may have it
        if not pages:
            machine.store.database.checkpoint()
            pages = db.serialize("main")
        for body in said.bodies:
            if body and encode(body) in pages and not said_by_another(machine, id, encode(body)):
                raise world.fail(f"{machine.name} has {body!r} in its pages, which was erased")


def said_by_another(machine: Machine, id: bytes, body: bytes) -> bool:
    """Has another operation the same text, as after a death while it was said?"""
    db = machine.store.database.reader
    tables = ("message", "operation", "waiting", "voided")
    sql = " UNION ALL ".join(f"SELECT id FROM {table} WHERE instr(op, ?1)" for table in tables)
    return any(other != id for (other,) in db.execute(sql, (body,)).fetchall())


def erased_by_right(machine: Machine) -> Iterator[MessageId]:
    """The messages that erasures here name as a whole, by somebody who might."""
    db = machine.store.database.reader
    erases: Any = db.execute(
        "SELECT id, channel, op FROM operation WHERE kind = ? AND void = 0", (KINDS[Erase],)
    ).fetchall()
    for id, channel, op in erases:
        erase, by = stored_operation(op), log.log_by_prefix(db, id[:10])
        assert isinstance(erase, Erase)
        assert by is not None
        for what in erase.messages:
            of, head = log.log_by_prefix(db, what.id[:10]), log.commit_at(db, what.id[:14])
            if of is None or head is None or of.channel != channel or not isinstance(what, Remains):
                continue
            older = decode_head(head).time < log.time_of(db, id)
            rightful = of.signer == by.signer or bool(log.rights_at(db, id) & MAY_MODERATE)
            whole = not what.stands or of.signer != by.signer
            if older and rightful and whole and log.rights_at(db, what.id):
                yield MessageId(what.id)
