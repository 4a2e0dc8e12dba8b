"""What a simulated world does to backups: devices are destroyed and made anew of an old one, and relays go back, too.

These steps are drawn only in worlds that are told to (`World.restore`): the others go on as they were. `haunt` lets come, after
the healing, all that is old once more, from everywhere it may be: what was erased or let go of stays gone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quire.core.bundle_file import Record
from quire.errors import UsageError
from quire.store.local import LocalStore
from quire.testing import world_bytes, world_letting
from quire.testing.people import key_of
from quire.testing.world_steps import NOBODY, Words

if TYPE_CHECKING:
    from quire.testing.world import Machine, World

FOLDERS_MAX = 3  # of backups of one device


def back_up(world: World) -> Words:
    """A device begins a backup or brings one up to date; it may die at it."""
    machine, draw = world.random.choice(world.honest), world.random
    folders = world.backups.setdefault(machine.name, [])
    folder = draw.choice(folders) if folders and draw.random() < 0.5 else _new_folder(world, machine)
    if folder in folders and draw.random() < 0.2:
        with world.crashing(machine):
            return machine.name, folder.name, _back_up(world, machine, folder)
        return machine.name, folder.name
    told = _back_up(world, machine, folder)
    if folder not in folders:
        folders.append(folder)
    return machine.name, folder.name, told


def _new_folder(world: World, machine: Machine) -> Path:
    number = min(len(world.backups[machine.name]), FOLDERS_MAX - 1)
    return world.folder / f"{machine.name.replace('/', '-')}.backup{number}"


def _back_up(world: World, machine: Machine, folder: Path) -> int:
    packs = world.at(machine).store.backup(folder).packs
    world.gone_in[folder] = world_letting.gone(machine)
    return packs


def lose(world: World) -> Words:
    """A device is destroyed, and its owner makes a new one of one of its backups."""
    having = [one for one in world.honest if world.backups.get(one.name)]
    if not having:
        return NOBODY
    machine = world.random.choice(having)
    return restored(world, machine, world.random.choice(world.backups[machine.name]))


def restored(world: World, machine: Machine, backup: Path) -> Words:
    """The new device has a name of its own; what the old one alone had is lost. The machine may die at it."""
    from quire.testing.world import Machine as NewMachine

    world.at(machine)
    machine.kept |= machine.own_commits()
    name, old = world.next_name(machine), machine.store.folder
    path = world.folder / name.replace("/", "-")
    machine.store.close()
    world.lost.append(machine)
    shutil.rmtree(old)
    shutil.copy(key_of(old).path, key_of(path).path)
    phrase = next(one.phrase for one in world.trusted if one.owner == machine.owner and one.phrase)

    def work() -> None:
        LocalStore.restore(backup, path, key_of(path), phrase=phrase)

    if world.random.random() >= 0.3 or _dies(world, work):
        try:
            work()
        except UsageError as error:
            if error.rule != "vault_exists":  # it died at the very end
                raise
    new = NewMachine(name, LocalStore.open(path, key_of(path)))
    new.skew_ms, new.side, new.phrase = machine.skew_ms, machine.side, phrase
    world.machines[world.machines.index(machine)] = new
    new.kept, new.gone = new.own_commits(), _of_the_trusted(world, world.gone_in[backup])
    return machine.name, "of", backup.name, "is", name


def _of_the_trusted(world: World, ids: set[bytes]) -> set[bytes]:
    trusted = {prefix for one in world.trusted for prefix, _, _ in one.kept}
    return {id for id in ids if id[:10] in trusted}


def _dies(world: World, work: Callable[[], None]) -> bool:
    """Do something that ends at some point that the storage layer names; did it?"""
    from quire.testing.world import Crash

    with world.dying():
        try:
            work()
        except Crash:
            return True
    return False


def go_back(world: World) -> Words:
    """The relay that lies is as it was before, or remembers how it is now."""
    relays: list[Any] = getattr(world, "relays", [])
    if not relays:
        return NOBODY
    if world.random.random() < 0.5 or not world.old_relay:
        world.old_relay = deepcopy(relays[1].backend)
        return (relays[1].name, "remembers")
    relays[1].backend = deepcopy(world.old_relay)
    return (relays[1].name, "is as it was")


STEPS: dict[str, Callable[[World], Words]] = {"back_up": back_up, "lose": lose, "go_back": go_back}
WEIGHT = {"back_up": 12, "lose": 4, "go_back": 3}


def haunt(world: World, old: list[list[Record]] | None = None) -> None:
    """After the healing: a device is made anew of its oldest backup, all that is old comes again, and all meet once more."""
    world.trace.append(f"{len(world.trace)} haunt")
    having = [one for one in world.honest if world.backups.get(one.name)]
    if having:
        machine = world.random.choice(having)
        world.note(*restored(world, machine, world.backups[machine.name][0]))
    for records in [*world.past] if old is None else old:
        for machine in world.machines:
            world.deliver(machine, records)
    relays: list[Any] = getattr(world, "relays", [])
    if relays and world.old_relay:
        from quire.testing.world_sync import sync_by_relay

        relays[1].backend = deepcopy(world.old_relay)
        sync_by_relay(world, relays[1], world.machines)  # type: ignore[arg-type]
    world.until_quiet()
    world.check_converged()
    for machine in world.honest:
        world.at(machine).chat.enforce_retention()
        world_bytes.check_bytes(world, machine)
        world_bytes.check_backups(world, machine)
    world.check_safety()
