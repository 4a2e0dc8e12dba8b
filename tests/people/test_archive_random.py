"""One of two archives, has its disk away now and then, and brings back; both act at random. In the end they show the same."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from quire.core.ids import MessageId
from quire.errors import UnauthorisedError, UnreachableError, UsageError
from quire.testing.people import Person
from tests import oracle
from tests.people.conftest import Make, team_of
from tests.sync.links import sync

LONG = "a text that is long enough to be worth a reference, and says nothing else. " * 2
AFTER = 1 << 42
STEPS = 40
KINDS = (
    "say",
    "answer",
    "edit",
    "delete",
    "react",
    "pin",
    "erase",
    "version",
    "sync",
    "archive",
    "unarchive",
    "disk",
    "verify",
)
WEIGHTS = (9, 6, 5, 2, 3, 2, 3, 1, 5, 4, 1, 4, 1)


class Story:
    def __init__(self, seed: int, people: Make, folder: Path) -> None:
        self.draw = random.Random(seed)
        self.ada, self.bob = people("ada", "bob")
        self.team = team_of(self.ada, self.bob)
        self.place, self.drawer = folder / "disk", folder / "drawer"
        self.place.mkdir()
        self.said: list[MessageId] = []

    @property
    def is_away(self) -> bool:
        return self.drawer.exists()

    def plug(self, *, away: bool) -> None:
        if away != self.is_away:
            (self.place if away else self.drawer).rename(self.drawer if away else self.place)
        self.bob.store.database.blocks.forget()

    def step(self) -> None:
        kind = self.draw.choices(KINDS, WEIGHTS)[0]
        one = self.draw.choice((self.ada, self.bob))
        try:
            getattr(self, kind)(one)
        except UnreachableError:
            assert self.is_away
            assert kind in ("unarchive", "version", "edit")
        except (
            UsageError,
            UnauthorisedError,
        ):  # deleted, erased, not here yet, another's: nothing was changed
            return

    def any(self) -> MessageId:
        return self.draw.choice(self.said) if self.said else MessageId(bytes(16))

    def text(self) -> str:
        return f"{self.draw.randrange(10**9)} {LONG if self.draw.random() < 0.8 else ''}"

    def say(self, one: Person) -> None:
        self.said.append(one.chat.send_message(self.team, self.text()).id)

    def answer(self, one: Person) -> None:
        self.said.append(one.chat.send_message(self.team, self.text(), thread=self.any()).id)

    def edit(self, one: Person) -> None:
        one.chat.edit_message(self.any(), self.text())

    def delete(self, one: Person) -> None:
        one.chat.delete_message(self.any(), "no more")

    def react(self, one: Person) -> None:
        one.chat.add_reaction(self.any(), self.draw.choice("👍🎉"))

    def pin(self, one: Person) -> None:
        one.chat.pin(self.any())

    def erase(self, one: Person) -> None:
        one.chat.erase_message(self.any())

    def version(self, one: Person) -> None:
        one.chat.erase_version(self.any(), self.draw.choice((1, 2)))

    def sync(self, one: Person) -> None:
        sync(self.ada, self.bob)

    def archive(self, one: Person) -> None:
        beside = self.draw.random() < 0.3
        self.bob.chat.archive(self.team, AFTER, to=None if beside else self.place)

    def unarchive(self, one: Person) -> None:
        self.bob.chat.unarchive(self.team)

    def disk(self, one: Person) -> None:
        self.plug(away=not self.is_away)

    def verify(self, one: Person) -> None:
        assert one.store.verify().problems == ()

    def end(self) -> None:
        for one in (self.ada, self.bob):
            assert one.store.verify().problems == ()
        self.plug(away=False)
        self.bob.chat.check_segments()
        for _ in range(3):
            sync(self.ada, self.bob)
        for one in (self.ada, self.bob):
            assert one.store.verify().problems == ()
            assert one.store.verify().unread == 0
            oracle.check(one.store)
        assert self.bob.digest(self.team) == self.ada.digest(self.team)
        self.bob.chat.unarchive(self.team)
        assert self.bob.store.verify().problems == ()
        assert self.bob.digest(self.team) == self.ada.digest(self.team)
        assert self.bob.chat.list_segments() == []


def tell(seed: int, people: Make, folder: Path) -> None:
    story = Story(seed, people, folder)
    for _ in range(STEPS):
        story.step()
    story.end()


def test_a_random_story_ends_alike(people: Make, tmp_path: Path) -> None:
    tell(1, people, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 42))
def test_random_stories_end_alike(seed: int, people: Make, tmp_path: Path) -> None:
    tell(seed, people, tmp_path)
