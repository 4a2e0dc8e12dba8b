"""Somebody's old messages are let go, in processes made to die. Steps are small, so that there are many."""

from __future__ import annotations

import random
from pathlib import Path

from quire import Keeping
from quire.core.operation import Edit, Origin, Post, React
from quire.storage import freeing, search
from quire.store import letting, pruning, scanning, wallclock
from quire.testing.people import Person
from tests.crash.flows import World
from tests.oracle import check

DAY = 86_400_000
OLD = 60


class Letting(World):
    """Ada's channel holds messages of long ago, and a policy that lets them go."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        pruning.STEP_FIRST = pruning.STEP_MAX = 16
        letting.BULK, pruning.PAUSE_MS_MAX = 8, 0
        freeing.MERGE_PAGES, freeing.GIVEN_PAGES, freeing.KEPT_PAGES = 2, 2, 0

    def talk(self) -> None:
        ada = Person.create(self.folder, "ada")
        team = ada.chat.create_channel("team").id
        now = wallclock.now_ms()

        def post(n: int, days: int, root: bytes | None = None) -> Post:
            return Post(_text(n), root, origin=Origin("old", f"person {n % 3}", str(n), now - days * DAY))

        ids = ada.store.write_operations(team, *(post(n, 400 + n) for n in range(OLD)))
        ada.store.write_operations(team, *(post(OLD + n, 390, ids[n]) for n in range(4)))
        ada.store.write_operations(
            team, *(React(id, "👍", origin=Origin("old", "x", "", now)) for id in ids[:20])
        )
        edits = [
            Edit(ids[n], ids[n], _text(200 + n), Origin("old", f"person {n % 3}", "", now)) for n in range(5)
        ]
        ada.store.write_operations(team, *edits)
        ada.chat.pin(ids[30])
        ada.store.ledger.run(search.index_tail)
        for n in range(3):
            ada.chat.send_message(team, f"of today {n}")
        ada.chat.set_retention(team, Keeping(365 * DAY))
        ada.store.close()

    def let_go(self) -> None:
        with self.at("ada") as ada:
            ada.chat.enforce_retention()

    def stands(self) -> None:
        """What a kill left is whole: each message is here with all that is on it, or gone with it."""
        with self.at("ada") as ada:
            assert ada.store.verify().ok
            check(ada.store)
            assert set(ada.reads(ada.chat.list_channels()[0].id)) >= set(_kept())

    def ends(self) -> None:
        with self.at("ada") as ada:
            assert ada.store.verify().ok
            check(ada.store)
            assert ada.reads(ada.chat.list_channels()[0].id) == _kept()
            assert not freeing.is_merge_due(ada.store.database.reader)
            gone = [_text(n) for n in [*range(OLD + 4), *range(200, 205)] if n != 30]
            found = scanning.scan(ada.store, gone)
            assert found.ok, found
            assert found.looked_for > OLD


def _kept() -> list[str]:
    return [_text(30), "of today 0", "of today 1", "of today 2"]


def _text(n: int) -> str:
    draw = random.Random(n)
    return " ".join("".join(draw.choices("abcdefghijklmnop", k=9)) for _ in range(12))


def goes_on(folder: str) -> None:
    world = Letting(Path(folder))
    world.stands()
    world.let_go()
    world.ends()
