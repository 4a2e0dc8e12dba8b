"""What is erased or let go of in a simulated world, looked for in the bytes: of vaults, of backups, of all files.

A vault's pages and a backup's packs are opened for it with the vault's key: sealed, they say nothing. Nothing of what people
said stands in any file as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from quire.core.encoding import encode
from quire.core.ids import MessageId
from quire.store.backup_reading import Backup, check_backup, open_backup
from quire.testing.people import key_of
from quire.testing.world_erasing import erased_by_right, said_by_another
from quire.testing.world_letting import gone

if TYPE_CHECKING:
    from quire.testing.world import Machine, World

PLAIN = b" says "  # in all that people say


def forgotten(world: World, machine: Machine) -> dict[MessageId, list[bytes]]:
    """The messages that are erased or let go of in a vault, with the texts that were only theirs, encoded."""
    db = machine.store.database.reader
    parked: Any = db.execute("SELECT channel FROM parked").fetchall()
    waits = {bytes(channel) for (channel,) in parked}  # a commit that waits whole may have one
    found = {}
    for id in sorted(({*erased_by_right(machine)} | gone(machine)) & world.said.keys()):
        said = world.said[MessageId(id)]
        if said.channel not in waits:
            texts = [encode(body) for body in said.bodies if body]
            found[MessageId(id)] = [text for text in texts if not said_by_another(machine, id, text)]
    return found


def check_bytes(world: World, machine: Machine) -> None:
    """No page of a vault has a text that is erased or let go of there, and no file says anything as it is."""
    machine.store.database.checkpoint()
    _require_none(world, machine, [machine.store.database.reader.serialize("main")], "pages")
    for path in sorted(world.folder.rglob("*")):
        if path.is_file() and PLAIN in path.read_bytes():
            raise world.fail(f"{path.relative_to(world.folder)} says what somebody said")


def check_backups(world: World, machine: Machine) -> None:
    """Backups, brought up to date, are whole and have no text that is erased or let go of in the vault."""
    for folder in world.backups.get(machine.name, ()):
        machine.store.backup(folder)
        key = key_of(machine.store.folder)
        if not (found := check_backup(folder, key)).ok:
            raise world.fail(f"a backup of {machine.name} is not whole: {found}")
        backup = open_backup(folder, key)
        items = [item for entry in backup.entries() for item in _items(backup, entry)]
        _require_none(world, machine, items, "backup")


def _items(backup: Backup, entry: Any) -> Iterable[bytes]:
    return backup.pack(entry).items


def _require_none(world: World, machine: Machine, where: list[bytes], what: str) -> None:
    for texts in forgotten(world, machine).values():
        for text in texts:
            if any(text in one for one in where):
                raise world.fail(f"{machine.name} has {text[1:]!r} in its {what}, which is to be nowhere")
