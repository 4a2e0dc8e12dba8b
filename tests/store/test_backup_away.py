"""Backups while the archive's disk is away: what they held they hold, and what they lack they say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.backup import BackupKey, open_pack
from quire.errors import UnreachableError
from quire.storage import cold
from quire.store import backup_found
from quire.store.backup_reading import check_backup
from quire.store.local import LocalStore
from tests import vaults

LONG = "a text that is long enough to be worth a reference, and says nothing else. " * 2
AFTER = 1 << 42  # later than anything here
OLD = [f"old {number}: {LONG}" for number in range(12)]


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[ChannelManager]:
    """Old messages, archived to a disk."""
    with vaults.fresh_store(tmp_path) as store:
        chat = ChannelManager(store)
        chat.create_channel("general")
        for text in OLD:
            chat.send_message("general", text)
        (tmp_path / "disk").mkdir()
        assert chat.archive("general", AFTER, to=tmp_path / "disk").operations == len(OLD)
        yield chat


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def take_away(chat: ChannelManager) -> None:
    disk = chat.store.folder.parent / "disk"
    disk.rename(disk.with_name("drawer"))
    chat.store.database.blocks.forget()


def bring_back(chat: ChannelManager) -> None:
    drawer = chat.store.folder.parent / "drawer"
    drawer.rename(drawer.with_name("disk"))


def restored(chat: ChannelManager, target: Path, name: str = "restored") -> list[str]:
    """The texts of a vault that is made of a backup, as a fresh process reads them."""
    key = vaults.key_of(chat.store.folder)
    assert check_backup(target, key).ok
    folder = chat.store.folder.parent / name
    assert LocalStore.restore(target, folder, key).ok
    shutil.copy(key.path, vaults.key_of(folder).path)
    code = (
        "assert store.verify().ok\n"
        "answer = [one.body for one in manager.get_stored_messages('general') if not one.deleted]"
    )
    return list(vaults.in_forked_process(folder, code))


def in_packs(chat: ChannelManager, target: Path, text: str) -> bool:
    key = BackupKey.of(chat.store.database.key)
    return any(
        text.encode() in item
        for path in (target / "packs").iterdir()
        for item in open_pack(path.read_bytes(), key).items
    )


def test_a_pack_that_is_written_anew_keeps_what_is_archived(chat: ChannelManager, target: Path) -> None:
    today = chat.send_message("general", "of today, and soon erased").id
    chat.store.backup(target)
    take_away(chat)
    chat.erase_message(today)
    report = chat.store.backup(target)
    assert (report.ok, report.rewritten, report.away, report.taken_over) == (True, 1, 0, 12)
    assert not in_packs(chat, target, "soon erased")
    again = chat.store.backup(target)
    assert (again.ok, again.rewritten, again.packs_written) == (True, 0, 0)
    assert restored(chat, target) == OLD


def test_what_is_archived_and_erased_while_its_disk_is_away_leaves_the_backup(
    chat: ChannelManager, target: Path
) -> None:
    chat.store.backup(target)
    gone = next(iter(chat.get_stored_messages("general"))).id
    take_away(chat)
    assert chat.erase_message(gone).owed == 1
    report = chat.store.backup(target)
    assert (report.ok, report.rewritten, report.away, report.taken_over) == (True, 1, 0, 11)
    assert not in_packs(chat, target, "old 0:")
    assert chat.store.backup(target).packs_written == 0
    bring_back(chat)
    chat.check_segments()  # it is destroyed now, and the packs say the same of it
    assert cold.segments(chat.store.database.reader)
    assert chat.store.backup(target).rewritten == 0
    assert restored(chat, target) == OLD[1:]


def test_small_packs_are_joined_with_what_is_archived_in_them(chat: ChannelManager, target: Path) -> None:
    chat.store.backup(target)
    take_away(chat)
    later = [f"run {number}" for number in range(backup_found.SMALL_COUNT + 2)]
    for text in later:
        chat.send_message("general", text)
        report = chat.store.backup(target)
        assert (report.ok, report.away) == (True, 0)
    assert report.packs < backup_found.SMALL_COUNT
    assert restored(chat, target) == OLD + later


def test_what_the_second_place_alone_holds_is_not_taken_from_it(
    chat: ChannelManager, target: Path, tmp_path: Path
) -> None:
    chat.store.backup(target, second=tmp_path / "second")
    shutil.rmtree(target)
    take_away(chat)
    chat.send_message("general", "of today")
    report = chat.store.backup(target, second=tmp_path / "second")
    assert (report.ok, report.anew, report.taken_over) == (True, "new", 12)
    for name, folder in (("one", target), ("two", tmp_path / "second")):
        assert restored(chat, folder, name) == [*OLD, "of today"]


def test_what_no_pack_has_is_counted_and_comes_with_the_disk(
    chat: ChannelManager, target: Path, tmp_path: Path
) -> None:
    take_away(chat)
    chat.send_message("general", "of today")
    report = chat.store.backup(target)
    assert (report.ok, report.away, report.taken_over) == (False, 12, 0)
    assert report.places == (str(tmp_path / "disk"),)
    assert restored(chat, target, "without") == ["of today"]
    bring_back(chat)
    report = chat.store.backup(target)
    assert (report.ok, report.away, report.commits) == (True, 0, 12)
    assert restored(chat, target, "with") == [*OLD, "of today"]


def test_a_disk_that_goes_while_a_backup_is_written_takes_nothing_from_it(
    chat: ChannelManager, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = chat.send_message("general", "of today, and soon erased").id
    chat.store.backup(target)
    chat.erase_message(today)
    found = backup_found.without_crowds

    def goes(packs: list[object]) -> list[object]:
        take_away(chat)
        return found(packs)  # type: ignore[arg-type, return-value]

    monkeypatch.setattr("quire.store.backing_up.without_crowds", goes)
    assert chat.store.backup(target).ok
    assert restored(chat, target) == OLD


def test_a_changed_key_leaves_the_old_backup_until_the_disk_is_there(
    chat: ChannelManager, target: Path, tmp_path: Path
) -> None:
    chat.store.backup(target)
    chat.store.rekey()
    with vaults.reopened(chat.store) as store:
        again = ChannelManager(store)
        before = sorted((path, path.read_bytes()) for path in target.rglob("*") if path.is_file())
        take_away(again)
        with pytest.raises(UnreachableError) as refused:
            store.backup(target)
        assert refused.value.rule == "archive_unreachable"
        with pytest.raises(UnreachableError):
            store.backup(tmp_path / "new", second=target)
        assert sorted((path, path.read_bytes()) for path in target.rglob("*") if path.is_file()) == before
        bring_back(again)
        report = store.backup(target)
        assert (report.ok, report.anew) == (True, "key")
        assert restored(again, target) == OLD


def test_a_damaged_pack_gives_nothing_and_the_rest_is_kept(
    chat: ChannelManager, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quire.store.backup_packing.PACK_BYTES", 1_000)
    today = chat.send_message("general", "of today, and soon erased").id
    chat.store.backup(target)
    take_away(chat)
    chat.erase_message(today)
    key = BackupKey.of(chat.store.database.key)
    hit = next(
        path
        for path in (target / "packs").iterdir()
        if any(b"old 3:" in item for item in open_pack(path.read_bytes(), key).items)
    )
    data = bytearray(hit.read_bytes())
    data[-1] ^= 1
    hit.write_bytes(data)
    report = chat.store.backup(target, reread=True)
    assert (report.ok, report.damaged, report.away > 0, report.places != ()) == (False, 1, True, True)
    left = restored(chat, target)
    assert len(left) == len(OLD) - report.away
    bring_back(chat)
    assert chat.store.backup(target).ok
    assert restored(chat, target, "with") == OLD
