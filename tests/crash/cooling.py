"""Somebody's old messages are archived, and brought back, in processes made to die. Segments and steps are small."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

from quire.channels.manager import ChannelManager
from quire.core import limits
from quire.core.backup import open_pack
from quire.core.operation import Edit, Origin, Post
from quire.storage import cold, freeing
from quire.store import archiving, backup_packing, wallclock
from quire.store.backup_reading import check_backup, open_backup
from quire.store.local import LocalStore
from quire.testing.people import Person, key_of
from tests.crash.flows import World
from tests.crash.letting import DAY, _text
from tests.oracle import check

OLD = 40


class Cooling(World):
    """Ada's channel holds messages of long ago."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        limits.SEGMENT_OPERATIONS, archiving.STEP, archiving.BATCH = 18, 4, 7
        freeing.GIVEN_PAGES, freeing.KEPT_PAGES = 2, 0

    def talk(self) -> None:
        ada = Person.create(self.folder, "ada")
        team = ada.chat.create_channel("team").id
        now = wallclock.now_ms()
        posts = [
            Post(_text(n) * 3, origin=Origin("old", f"person {n % 3}", str(n), now - (400 - n) * DAY))
            for n in range(OLD)
        ]
        ids = ada.store.write_operations(team, *posts)
        edits = [
            Edit(ids[n], ids[n], _text(100 + n) * 3, Origin("old", f"person {n % 3}", "", now))
            for n in (1, 5)
        ]
        ada.store.write_operations(team, *edits)
        ada.say(team, "of today")
        self.note("ada", repr(ada.reads(team)))
        ada.store.close()

    def talk_and_cool(self) -> None:
        self.talk()
        self.cool()

    def cool(self) -> None:
        with self.at("ada") as ada:
            ada.chat.archive("team", wallclock.now_ms() - 100 * DAY)

    def warm(self) -> None:
        with self.at("ada") as ada:
            ada.chat.unarchive("team")

    def lay_out(self) -> None:
        """The old messages are in a backup and on a disk that is away; what was said today is erased."""
        backup_packing.PACK_BYTES = 2_000
        self.talk()
        disk = self.folder / "disk"
        disk.mkdir()
        with self.at("ada") as ada:
            ada.chat.archive("team", wallclock.now_ms() - 100 * DAY, to=disk)
            self.back_up(ada)
            disk.rename(self.folder / "drawer")
            *_, today = ada.chat.get_stored_messages("team")
            ada.chat.erase_message(today.id)

    def save(self) -> None:
        backup_packing.PACK_BYTES = 2_000
        with self.at("ada") as ada:
            self.back_up(ada)

    def back_up(self, ada: Person) -> None:
        assert ada.store.backup(self.folder / "backup").ok

    def is_saved(self) -> None:
        """The backup as it is makes a vault that reads as before, but for what was erased."""
        key, again = key_of(self.folder / "ada"), self.folder / "again"
        assert {one.file for one in check_backup(self.folder / "backup", key).problems} <= {"manifest.copy"}
        assert LocalStore.restore(self.folder / "backup", again, key, damaged=True).refused == 0
        with LocalStore.open(again, key) as store:
            texts = [one.body for one in ChannelManager(store).get_stored_messages("team") if not one.deleted]
            assert [text for text in ast.literal_eval(self.noted("ada")) if text not in texts] in (
                [],
                ["of today"],
            )
            assert store.verify().ok
        shutil.rmtree(again)

    def is_clean(self) -> bool:
        """Is nothing of what was erased in the backup, nor anything that it does not name?"""
        folder, key = self.folder / "backup", key_of(self.folder / "ada")
        packs = [path.read_bytes() for path in (folder / "packs").iterdir()]
        backup = open_backup(folder, key)
        items = [item for data in packs for item in open_pack(data, backup.key).items]
        return len(packs) == len(backup.entries()) and not any(b"of today" in item for item in items)

    def stands(self) -> None:
        """Everything reads as before, wherever it is."""
        with self.at("ada") as ada:
            assert repr(ada.reads(ada.chat.list_channels()[0].id)) == self.noted("ada")
            report = ada.store.verify()
            assert report.ok, report.problems
            assert report.unread == 0
            check(ada.store)
            assert {one.state for one in ada.chat.check_segments()} <= {"here", "unneeded"}

    def ends(self, *, warm: bool) -> None:
        """And in the end it is where it was to be, and no file is left that nothing names."""
        self.stands()
        with self.at("ada") as ada:
            kept = [one.name for one in ada.chat.list_segments()]
            assert sorted(kept) == sorted(path.name for path in (ada.store.folder / cold.FOLDER).iterdir())
            found = ada.store.database.reader.execute(
                f"SELECT count(*) FROM message WHERE length(op) = {cold.REFERENCE_SIZE}"
            ).fetchone()
            assert found == ((0,) if warm else (OLD,))
            assert bool(kept) is not warm


def cools_on(folder: str) -> None:
    world = Cooling(Path(folder))
    world.stands()
    world.cool()
    world.ends(warm=False)


def warms_on(folder: str) -> None:
    world = Cooling(Path(folder))
    world.stands()
    world.warm()
    world.ends(warm=True)


def saves_on(folder: str) -> None:
    world = Cooling(Path(folder))
    world.is_saved()
    world.save()
    world.is_saved()
    assert world.is_clean()
