"""What the stories share: a way to make people, and what must hold at the end of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quire.core.ids import ChannelId
from quire.testing.people import Person, meet
from tests import oracle, vaults

Make = Callable[..., list[Person]]

FRESH = """
from quire.core.ids import ChannelId
from quire.testing.people import Person
person = Person("", store)
channel = ChannelId(bytes.fromhex(arguments[0]))
report = store.verify()
answer = [repr(person.digest(channel)), [repr(one) for one in report.problems], manager.get_member_role(channel)]
"""


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Make]:
    """`people("ada", "bob")` makes these two, each with a vault."""
    made: list[Person] = []

    def make(*names: str) -> list[Person]:
        fresh = [Person.create(tmp_path, name) for name in names]
        made.extend(fresh)
        return fresh

    yield make
    for person in made:
        person.store.close()


@pytest.fixture
def trio(people: Make) -> tuple[Person, Person, Person, ChannelId]:
    """Ada founded a channel; Bob and Carol are members of it."""
    ada, bob, carol = people("ada", "bob", "carol")
    return ada, bob, carol, team_of(ada, bob, carol)


def team_of(founder: Person, *others: Person, **invite: Any) -> ChannelId:
    """A channel that all of them are in."""
    id = founder.chat.create_channel("team").id
    link = founder.chat.create_invite(id, uses=0, **invite).text()
    for one in others:
        one.chat.join_channel(link)
    meet(founder, *others)
    assert all(one.role(id) != "none" for one in others)
    return id


def agree(id: ChannelId, *people: Person, fresh: Person | None = None) -> None:
    """All of them see one channel, every vault holds together, and a fresh process sees the same."""
    digests = [person.digest(id) for person in people]
    for person, digest in zip(people, digests, strict=True):
        for name, ours, theirs in zip(digest._fields, digest, digests[0], strict=True):
            assert ours == theirs, f"{person.name} and {people[0].name} differ about {name}"
    sound(*people)
    one = fresh or people[-1]
    expected, role = repr(one.digest(id)), one.role(id)
    assert vaults.in_forked_process(one.store.folder, FRESH, id.hex()) == [expected, [], role]


def sound(*people: Person) -> None:
    """Every vault verifies, and an independent look at its log gives the same."""
    for person in people:
        report = person.store.verify()
        assert report.ok, f"{person.name}: {report.problems[:5]}"
        oracle.check(person.store)
