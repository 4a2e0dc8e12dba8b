"""Backups: what each run writes and removes, what it refuses, and what a killed or damaged one becomes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.backup import BackupKey, Kind, PackBody, open_pack
from quire.core.crypto.secrets import KeyFile, RawKey
from quire.core.reports import BackupReport
from quire.errors import BusyError, QuireError, SchemaError, UsageError
from quire.storage import database, files, log
from quire.storage.meta import get_meta
from quire.storage.outside import create_key_file
from quire.store import backup_found, backup_packing
from quire.store.backup_reading import check_backup, open_backup
from quire.store.local import LocalStore
from tests import vaults


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[ChannelManager]:
    with vaults.fresh_store(tmp_path) as store:
        chat = ChannelManager(store)
        for name in ("general", "other"):
            chat.create_channel(name)
            for number in range(10):
                chat.send_message(name, f"{name} {number}")
        yield chat


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup"


def packs(chat: ChannelManager, target: Path) -> list[PackBody]:
    """Every pack in the folder, opened."""
    key = BackupKey.of(chat.store.database.key)
    return [open_pack(path.read_bytes(), key) for path in sorted((target / "packs").iterdir())]


def holds(chat: ChannelManager, target: Path, text: str) -> bool:
    return any(text.encode() in item for body in packs(chat, target) for item in body.items)


def is_whole(chat: ChannelManager, target: Path) -> bool:
    return check_backup(target, vaults.key_of(chat.store.folder)).ok


def test_a_run_writes_what_is_new_and_a_second_place_is_the_same(
    chat: ChannelManager, target: Path, tmp_path: Path
) -> None:
    first = chat.store.backup(target)
    assert (first.anew, first.packs, first.packs_written) == ("new", 3, 3)
    again = chat.store.backup(target)
    assert (again.anew, again.packs, again.packs_written, again.commits) == ("", 3, 0, 0)
    chat.send_message("general", "one more")
    second = chat.store.backup(target, second=tmp_path / "second")
    assert (second.packs_written, second.commits) == (1, 1)
    assert second.bytes_written < 10_000
    names = [path.relative_to(target) for path in sorted(target.rglob("*")) if path.is_file()]
    for name in names:
        assert (tmp_path / "second" / name).read_bytes() == (target / name).read_bytes()
    chat.send_message("general", "and another")
    assert chat.store.backup(target, second=tmp_path / "second").second_bytes < 10_000  # type: ignore[operator]
    for folder in (target, tmp_path / "second"):
        assert is_whole(chat, folder)
        assert holds(chat, folder, "and another")


def test_a_thousand_new_messages_cost_less_than_2_mb(
    chat: ChannelManager, target: Path, tmp_path: Path
) -> None:
    chat.store.backup(target)
    export = tmp_path / "export.jsonl"
    export.write_text(
        "".join(
            f'{{"channel": "old", "id": "{n}", "time_ms": {1_500_000_000_000 + n}, "author": "u",'
            f' "body": "{n} {n * n} {"word " * 20}"}}\n'
            for n in range(1_000)
        )
    )
    chat.import_(export, format="jsonl")
    assert chat.store.backup(target).bytes_written < 2_000_000
    assert holds(chat, target, "999 998001 word")


def test_no_key_of_the_device_is_in_it(chat: ChannelManager, target: Path) -> None:
    """Not even for who opens it."""
    db = chat.store.database.reader
    chat.store.backup(target)
    opened = b"".join(item for body in packs(chat, target) for item in body.items)
    assert b"general 9" in opened, "the search finds nothing at all"
    for name in ("device_seed", "sealing_seed"):
        assert bytes(get_meta(db, name)) not in opened
    assert chat.store.database.key.reveal() not in opened


def test_many_small_packs_become_one(chat: ChannelManager, target: Path) -> None:
    for number in range(backup_found.SMALL_COUNT + 2):
        chat.send_message("general", f"run {number}")
        report = chat.store.backup(target)
        assert report.packs <= backup_found.SMALL_COUNT + 2
    assert len(list((target / "packs").iterdir())) == report.packs < backup_found.SMALL_COUNT
    assert all(holds(chat, target, f"run {number}") for number in range(backup_found.SMALL_COUNT + 2))
    assert is_whole(chat, target)


def test_large_histories_are_many_packs(
    chat: ChannelManager, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_packing, "PACK_BYTES", 500)
    report = chat.store.backup(target)
    assert report.packs > 10
    spans = [span for body in packs(chat, target) for span in body.spans]
    assert sum(span.last - span.first + 1 for span in spans) == report.commits
    assert sum(len(body.items) for body in packs(chat, target) if body.kind != Kind.STATE) == report.commits


def test_what_is_gone_from_the_vault_leaves_the_backup(
    chat: ChannelManager, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it went: here, commits that were pruned."""
    monkeypatch.setattr(backup_packing, "PACK_BYTES", 500)
    chat.store.backup(target)
    assert holds(chat, target, "general 0")
    row = next(row for row in log.channels(chat.store.database.reader) if row.name == "general")
    with chat.store.database.transaction() as db:
        [first] = db.execute("SELECT id FROM message WHERE channel = ? ORDER BY time LIMIT 1", (row.n,))
        [of] = log.logs_of(db, row.n)
        seq = int.from_bytes(first[0][10:14], "big")
        db.execute("DELETE FROM message WHERE id = ?", first)
        db.execute("DELETE FROM commits WHERE log = ? AND seq = ?", (of.n, seq))
        db.execute("INSERT INTO gap VALUES(?, ?, ?)", (of.n, seq, seq))
    report = chat.store.backup(target)
    assert report.rewritten == 1
    assert report.freed > 0
    assert not holds(chat, target, "general 0")
    assert holds(chat, target, "general 1")
    assert is_whole(chat, target)


def test_a_run_that_was_killed_is_taken_up(
    chat: ChannelManager, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_packing, "PACK_BYTES", 500)
    monkeypatch.setattr(backup_found, "SMALL_COUNT", 1_000)
    chat.store.backup(target)
    before = (target / "manifest").read_bytes()
    for number in range(30):
        chat.send_message("general", f"late {number}")

    def stop(point: str) -> None:
        if point == "backup_packed":
            raise KeyboardInterrupt

    monkeypatch.setattr(database, "fault_hook", stop)
    with pytest.raises(KeyboardInterrupt):
        chat.store.backup(target)
    monkeypatch.setattr(database, "fault_hook", None)
    assert (target / "manifest").read_bytes() == before
    assert is_whole(chat, target), "the backup is the one before"
    (target / "packs" / ("0" * 64)).write_bytes(b"half of a pack")
    report = chat.store.backup(target)
    assert (report.packs_written, report.commits) == (0, 0), "what was written is used"
    assert holds(chat, target, "late 29")
    assert is_whole(chat, target)
    assert not (target / "packs" / ("0" * 64)).exists()


def rule_of(chat: ChannelManager, target: Path) -> str:
    with pytest.raises(UsageError) as failure:
        chat.store.backup(target)
    assert failure.value.hint
    return failure.value.rule


def test_no_other_folder_is_touched(chat: ChannelManager, target: Path, tmp_path: Path) -> None:
    target.mkdir()
    (target / "letters").write_text("mine")
    assert rule_of(chat, target) == "not_a_backup"
    assert [path.name for path in target.iterdir()] == ["letters"]
    (tmp_path / "file").write_text("mine")
    assert rule_of(chat, tmp_path / "file") == "not_a_backup"
    assert rule_of(chat, chat.store.folder / "backup") == "backup_inside"
    assert rule_of(chat, chat.store.folder) == "backup_inside"
    with vaults.fresh_store(tmp_path, "another") as other:
        other.backup(tmp_path / "theirs")
    assert rule_of(chat, tmp_path / "theirs") == "backup_foreign"
    with pytest.raises(UsageError) as failure:
        chat.store.backup(tmp_path / "new", second=tmp_path / "theirs")
    assert failure.value.rule == "backup_foreign"
    assert not (tmp_path / "new").exists()


def test_after_a_rekey_nothing_opens_with_the_old_key(chat: ChannelManager, target: Path) -> None:
    chat.store.backup(target)
    old = BackupKey.of(chat.store.database.key)
    chat.store.rekey()
    report = chat.store.backup(target)
    assert (report.anew, report.commits > 20) == ("key", True)
    for path in (target / "packs").iterdir():
        with pytest.raises(QuireError, match="does not open"):
            open_pack(path.read_bytes(), old)
    assert is_whole(chat, target)
    assert chat.store.backup(target).packs_written == 0


def test_a_changed_passphrase_is_that_of_the_backup_from_the_next_run_on(
    chat: ChannelManager, target: Path, tmp_path: Path
) -> None:
    chat.store.backup(target)
    new = create_key_file(tmp_path / "new.key")
    [slot] = [one for one in chat.store.slots.list() if one.kind == "key_file"]
    chat.store.slots.replace(slot.id, new)
    assert is_whole(chat, target)
    chat.store.backup(target)
    assert check_backup(target, new).ok
    with pytest.raises(QuireError) as failure:
        is_whole(chat, target)
    assert failure.value.rule == "wrong_key_file"


def test_a_vault_without_slots_is_backed_up_by_its_raw_key(tmp_path: Path, target: Path) -> None:
    with vaults.fresh_store(tmp_path) as store:
        key = RawKey(store.database.key)
        store.backup(target)
    for name in ("slots", "slots.copy"):
        (target / name).unlink()
    assert check_backup(target, key).ok
    LocalStore.restore(target, tmp_path / "restored", key)
    with LocalStore.open(tmp_path / "restored", key) as restored:
        assert restored.verify().ok


def heal(chat: ChannelManager, target: Path, *, reread: bool = False) -> BackupReport:
    report = chat.store.backup(target, reread=reread)
    assert is_whole(chat, target)
    assert holds(chat, target, "general 0")
    assert chat.store.backup(target).packs_written == 0
    return report


def test_damage_is_healed_by_the_next_run(chat: ChannelManager, target: Path) -> None:
    chat.store.backup(target)
    largest = max((target / "packs").iterdir(), key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    assert not is_whole(chat, target)
    assert chat.store.backup(target).damaged == 0, "a size says nothing of it"
    assert heal(chat, target, reread=True).damaged == 1
    max((target / "packs").iterdir(), key=lambda path: path.stat().st_size).unlink()
    assert heal(chat, target).damaged == 1
    (target / "slots").write_bytes(b"damaged")
    (target / "manifest.copy").unlink()
    assert not is_whole(chat, target)
    heal(chat, target)
    for name in ("manifest", "manifest.copy"):
        (target / name).write_bytes((target / name).read_bytes()[:-40])
    report = heal(chat, target)
    assert (report.rebuilt, report.packs_written) == (True, 0)


def test_a_newer_backup_is_left_alone(chat: ChannelManager, target: Path) -> None:
    import hashlib

    chat.store.backup(target)
    whole = (target / "manifest").read_bytes()
    newer = whole[:9] + b"\x02" + whole[10:-32]
    for name in ("manifest", "manifest.copy"):
        (target / name).write_bytes(newer + hashlib.sha256(newer).digest())
    with pytest.raises(SchemaError) as failure:
        chat.store.backup(target)
    assert failure.value.rule == "backup_newer"
    assert [one.rule for one in check_backup(target, vaults.key_of(chat.store.folder)).problems] == [
        "manifest_version"
    ] * 2


def test_one_writes_at_a_time(chat: ChannelManager, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat.store.backup(target)
    monkeypatch.setattr(files, "LOCK_WAIT_S", 0.0)
    with files.FileLock(target / "backup.lock"), pytest.raises(BusyError) as failure:
        chat.store.backup(target)
    assert failure.value.rule == "backup_running"


def test_what_is_written_meanwhile_comes_with_the_next_run(
    chat: ChannelManager, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_packing, "PACK_BYTES", 500)
    said: list[str] = []

    def speak(point: str) -> None:
        if point == "backup_pack" and len(said) < 5:
            said.append(f"meanwhile {len(said)}")
            chat.send_message("general", said[-1])

    monkeypatch.setattr(database, "fault_hook", speak)
    chat.store.backup(target)
    monkeypatch.setattr(database, "fault_hook", None)
    assert said
    chat.store.backup(target)
    assert is_whole(chat, target)
    assert all(holds(chat, target, text) for text in said)


def test_what_is_no_backup_is_said(tmp_path: Path) -> None:
    create_key_file(tmp_path / "key")
    with pytest.raises(QuireError) as failure:
        open_backup(tmp_path / "nowhere", KeyFile(str(tmp_path / "key")))
    assert failure.value.rule == "no_backup"


def test_a_pack_that_does_not_read_back_is_no_backup(
    chat: ChannelManager, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes everything and keeps something else."""
    from quire.storage import backup_folder

    def lossy(path: Path, data: bytes) -> None:
        files.replace_file(path, data if path.parent.name != "packs" else data[:-1] + b"\0")

    monkeypatch.setattr(backup_folder, "replace_file", lossy)
    with pytest.raises(QuireError) as failure:
        chat.store.backup(target)
    assert failure.value.rule == "backup_failed"
    assert not (target / "manifest").exists()
