"""Backups of what people share: what was to be forgotten is forgotten there, too."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from quire.core.backup import BackupKey, Kind, open_pack
from quire.core.control import Link, Seal
from quire.storage import keychain, schema
from quire.store.arrivals import prepare
from quire.store.local import LocalStore
from quire.testing.people import Person, key_of, meet
from tests.clocks import Clock
from tests.people.test_forgetting import Trio, lived, openable, opened


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def sealed_in(target: Path, key: BackupKey) -> tuple[bytes, set[tuple[bytes, int]]]:
    """All that is in a backup, and the sizes of what is sealed in its Seals and Links, by epoch."""
    items: list[bytes] = []
    control: list[bytes] = []
    for path in (target / "packs").iterdir():
        body = open_pack(path.read_bytes(), key)
        items += body.items
        control += body.items if body.kind == Kind.CONTROL else ()
    sizes: set[tuple[bytes, int]] = set()
    for arrival in _decoded(control):
        for one in arrival:
            if isinstance(one, Seal):
                sizes |= {(one.epoch, len(sealed.sealed)) for sealed in one.keys}
            elif isinstance(one, Link):
                sizes.add((one.parent, len(one.sealed)))
    return b"".join(items), sizes


def _decoded(control: list[bytes]) -> list[list[object]]:
    db = apsw.Connection(":memory:")
    schema.migrate(db)
    return [arrival.operations for arrival in prepare(db, control).arrivals]


@pytest.mark.slow
@pytest.mark.bounded
def test_keys_that_were_destroyed_leave_the_backup_and_do_not_come_back(
    trio: Trio, clock: Clock, tmp_path: Path
) -> None:
    ada, bob, _, team = trio
    assert ada.store.recovery_phrase is not None
    words, target = ada.store.recovery_phrase.words(), tmp_path / "backup"
    ada.say(team, "early")
    ada.store.backup(target)
    recorded, keys = lived(trio, clock)
    report = ada.store.backup(target)
    assert report.rewritten > 0
    assert ada.store.backup(target).packs_written == 0
    everything, sizes = sealed_in(target, BackupKey.of(ada.store.database.key))
    assert not [key for key in keys.values() if key in everything]
    assert {size for epoch, size in sizes if epoch in keys} == {32}, "hashes only"
    assert {size for epoch, size in sizes if epoch not in keys} - {32}, "the others are there"
    gone = keychain.forgotten_epochs(ada.store.database.reader, team)
    reads = ada.reads(team)
    key = key_of(ada.store.folder)
    ada.store.close()
    LocalStore.restore(target, tmp_path / "again", key, phrase=words)
    again = Person("ada", LocalStore.open(tmp_path / "again", key))
    assert again.reads(team) == reads
    assert keychain.forgotten_epochs(again.store.database.reader, team) == gone != set()
    meet(again, bob)
    left = openable(again, team)
    assert opened(recorded, left, team) == 0
    assert left.keys().isdisjoint(keys)
    assert again.store.verify().ok
    again.store.close()
