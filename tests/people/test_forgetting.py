"""Forward secrecy by forgetting: once all that a key opens has expired, nothing in a vault opens what was recorded under it."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire import Keeping, LocalStore
from quire.core.bundle import open_bundle
from quire.core.bundle_file import Kind
from quire.core.crypto.epochs import EpochKey
from quire.core.ids import ChannelId
from quire.errors import PeerError
from quire.storage import keychain
from quire.storage.meta import get_meta
from quire.store import epochs
from quire.store.people import control_commits
from quire.testing.people import Person, key_of, meet
from tests.clocks import Clock
from tests.people.conftest import Make, agree

DAY = 86_400_000
Trio = tuple[Person, Person, Person, ChannelId]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def openable(person: Person, channel: ChannelId) -> dict[bytes, bytes]:
    """Every key of a channel that is in a vault, or that anything in it leads to."""
    db, row = person.store.database.reader, person.store.channel_row(channel)
    seeds = {bytes(person.store.device): bytes(get_meta(db, "sealing_seed"))}
    known = {id: EpochKey(key) for id, key in keychain.epoch_keys(db, channel).items()}
    operations = [one for commit in control_commits(db, row) for one in commit.operations]
    found, _ = epochs.learn(db, row, operations, seeds)
    known.update(found)
    epochs.walk_back(db, row, known)
    return {id: key.reveal() for id, key in known.items()}


def opened(recorded: list[bytes], keys: dict[bytes, bytes], channel: ChannelId) -> int:
    count = 0
    for data in recorded:
        for key in keys.values():
            try:
                open_bundle(data, EpochKey(key), channel)
            except PeerError:
                continue
            count += 1
    return count


def lived(trio: Trio, clock: Clock) -> tuple[list[bytes], dict[bytes, bytes]]:
    """A channel with old keys, whose history is let go: what was recorded on the road, and the keys of then."""
    ada, bob, carol, team = trio
    for day in (0, 40, 80):
        clock.ahead_ms = day * DAY
        for person in (ada, bob):
            person.say(team, f"{person.name} on day {day}")
        meet(ada, bob, carol)
    recorded = [one.data for one in ada.records(team) if one.kind is Kind.BUNDLE]
    keys = openable(ada, team)
    clock.ahead_ms = 300 * DAY
    ada.chat.set_retention(team, Keeping(100 * DAY))
    ada.say(team, "today")
    meet(ada, bob, carol)
    for person in (ada, bob, carol):
        person.chat.enforce_retention()
    return recorded, keys


def test_nothing_in_a_vault_opens_what_was_recorded_before(trio: Trio, clock: Clock) -> None:
    ada, bob, carol, team = trio
    recorded, keys = lived(trio, clock)
    assert len(keys) >= 3
    assert opened(recorded, keys, team) == len(recorded) > 3
    for person in (ada, bob, carol):
        left = openable(person, team)
        assert opened(recorded, left, team) == 0
        assert left.keys().isdisjoint(keys)
        person.store.database.checkpoint()
        pages = person.store.database.reader.serialize("main")
        assert not [key for key in keys.values() if key in pages]
        assert any(key in pages for key in left.values())  # as those that it has are
        assert person.store.verify().ok
        assert person.store.repair().ok
        assert openable(person, team).keys() == left.keys()
    meet(ada, bob, carol)
    agree(team, ada, bob, carol)
    assert ada.keys(team).keys().isdisjoint(keys)


def test_who_stays_goes_on_and_who_comes_is_let_in(trio: Trio, people: Make, clock: Clock) -> None:
    ada, bob, carol, team = trio
    pinned = ada.say(team, "pinned for ever")
    ada.chat.pin(pinned)
    meet(ada, bob, carol)
    _, keys = lived(trio, clock)
    assert ada.keys(team).keys().isdisjoint(keys)
    [dora] = people("dora")
    dora.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, dora)
    meet(ada, bob, carol, dora)
    assert dora.reads(team) == ["pinned for ever", "today"]
    dora.say(team, "hello")
    bob.chat.rotate_key(team)
    bob.say(team, "after a change")
    meet(ada, bob, carol, dora)
    assert ada.reads(team) == ["pinned for ever", "today", "hello", "after a change"]
    agree(team, ada, bob, carol, dora)


def test_an_old_key_comes_back_by_no_road(trio: Trio, clock: Clock, tmp_path: Path) -> None:
    """Not by an old file, nor from the self-channel that another keeps, nor with the words."""
    ada, bob, carol, team = trio
    for person in (ada, bob, carol):
        person.say(team, "early")
    meet(ada, bob, carol)
    old = ada.give()
    phrase = ada.store.recovery_phrase
    assert phrase is not None
    _, keys = lived(trio, clock)
    assert ada.keys(team).keys().isdisjoint(keys)
    for person in (ada, bob):
        person.take(old)
        assert person.keys(team).keys().isdisjoint(keys)
    meet(ada, bob, carol)
    file = tmp_path / "bob.bundle"
    file.write_bytes(bob.give())
    folder = tmp_path / "again"
    with LocalStore.recover(folder, key_of(ada.store.folder), phrase, [file]) as store:
        again = Person("again", store)
        assert "today" in again.reads(team)
        assert again.keys(team).keys().isdisjoint(keys)
        assert set(again.keys(team)) == set(ada.keys(team))


def test_a_key_that_may_still_be_written_under_is_kept(trio: Trio, clock: Clock) -> None:
    """Nothing honest is written under a key that is older than `rotation`: until then it may come, and must open."""
    ada, bob, carol, team = trio
    ada.say(team, "once")
    meet(ada, bob, carol)
    ada.chat.set_retention(team, Keeping(100 * DAY))
    before = ada.keys(team).keys()
    clock.ahead_ms = 31 * DAY
    ada.say(team, "later")
    clock.ahead_ms = 120 * DAY
    ada.chat.enforce_retention()
    assert before <= ada.keys(team).keys()
    clock.ahead_ms = 132 * DAY
    ada.chat.enforce_retention()
    assert not before & ada.keys(team).keys()
    assert ada.store.verify().ok
