"""Somebody backs up and restores, step by step, in processes made to die."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import RecoveryPhrase
from quire.storage import freeing
from quire.storage.erasures import LOCAL
from quire.store import backup_packing, restoring
from quire.store.backup_reading import check_backup
from quire.store.digest import timeline_digest
from quire.store.erasing import destroy
from quire.store.local import LocalStore
from quire.store.wallclock import now_ms
from quire.testing.people import Person, key_of
from tests.crash.flows import World
from tests.oracle import check


class Kept(World):
    """Ada has a vault and backs it up. Packs are small, so that there are many."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        backup_packing.PACK_BYTES = 2_000
        restoring.PAGE_COMMITS = 5
        restoring.BATCH_BYTES = 2_500
        freeing.give_back.__defaults__ = (4,)  # pages in one step, so that there are many

    def talk(self) -> None:
        ada = Person.create(self.folder, "ada")
        assert ada.store.recovery_phrase is not None
        self.note("ada.words", ada.store.recovery_phrase.words())
        for name in ("team", "home"):
            ada.chat.create_channel(name)
        self._say(ada.chat, "early")
        ada.store.close()

    def more(self) -> None:
        with self.at("ada") as ada:
            self._say(ada.chat, "late")

    def _say(self, chat: ChannelManager, when: str) -> None:
        for number in range(12):
            chat.send_message(("team", "home")[number % 2], f"{when} {number}")

    def first(self) -> None:
        with self.at("ada") as ada:
            ada.store.backup(self.folder / "backup")

    second = first

    def thin(self) -> None:
        """Much is let go; the pages are free, and still the file's."""
        with self.at("ada") as ada:
            for number in range(40):
                ada.chat.send_message("team", f"long {number} " + "x" * 6_000)
            row, pen = ada.store.channel_row(ada.chat.resolve("team")), ada.store.ledger
            long = [one.id for one in ada.store.get_channel_messages(row.id) if len(one.body) > 1_000]
            pen.run(lambda db: destroy(db, pen.applier, row, long, LOCAL, now_ms()))
            assert freeing.free_pages(ada.store.database.reader) > 20

    def compact(self) -> None:
        with self.at("ada") as ada:
            ada.store.compact()
            assert freeing.free_pages(ada.store.database.reader) == 0

    def restore(self) -> None:
        words = RecoveryPhrase(self.noted("ada.words"))
        if not (self.folder / "again").exists() or self.is_unfinished:
            LocalStore.restore(self.folder / "backup", self.folder / "again", self.key, phrase=words)

    @property
    def key(self) -> Any:
        return key_of(self.folder / "ada")

    @property
    def is_unfinished(self) -> bool:
        with LocalStore.open(self.folder / "again", self.key) as store:
            return bool(
                store.database.reader.execute("SELECT 1 FROM meta WHERE key = 'restoring'").fetchall()
            )

    def digests(self, vault: str) -> dict[bytes, bytes]:
        with LocalStore.open(self.folder / vault, self.key) as store:
            assert store.verify().ok
            check(store)
            return {one.id: timeline_digest(store, one.id) for one in ChannelManager(store).list_channels()}

    def noting(self) -> None:
        self.note("digests", repr(self.digests("ada")))

    @property
    def digests_noted(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = ast.literal_eval(self.noted("digests"))
        return found

    def stands(self, step: str) -> None:
        """What a kill left is whole."""
        backup, again = self.folder / "backup", self.folder / "again"
        if step == "compact":
            assert self.digests("ada") == self.digests_noted
        if step == "second" or (backup / "manifest").exists():
            found = check_backup(backup, self.key)
            names = {one.file for one in found.problems}
            assert names <= {"manifest.copy"}, names  # the first of the two was there already
        if again.exists():
            self.digests("again")

    def ends(self) -> None:
        """The backup has everything, and a vault of it shows everything."""
        if (self.folder / "digests.note").exists():
            assert self.digests("ada") == self.digests_noted
            self.first()
        found = check_backup(self.folder / "backup", self.key)
        assert found.ok, found.problems
        if not (self.folder / "again").exists():
            self.restore()
        assert not self.is_unfinished
        assert self.digests("again") == self.digests("ada")
        left = [path.name for path in self.folder.rglob("*") if path.name.endswith((".new", ".tmp"))]
        assert not left, left
        named = {path.name for path in (self.folder / "backup" / "packs").iterdir()}
        assert len(named) == found.packs


def goes_on(folder: str, step: str) -> None:
    world = Kept(Path(folder))
    world.stands(step)
    getattr(world, step)()
    world.ends()
