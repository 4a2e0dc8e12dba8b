"""Somebody's old messages are archived, and brought back, in processes made to die. Segments and steps are small."""

from __future__ import annotations

from pathlib import Path

from quire.core import limits
from quire.core.operation import Edit, Origin, Post
from quire.storage import cold, freeing
from quire.store import archiving, wallclock
from quire.testing.people import Person
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
