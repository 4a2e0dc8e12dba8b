"""Attachments in a vault: written once, read as they were, let go without a trace, and every damage named."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.ids import MessageId
from quire.core.limits import FILE_BYTES_MAX
from quire.core.sealed_file import PIECE_PLAIN, sealed_size
from quire.core.views import Message
from quire.errors import CorruptError, FullError, NotFoundError, UsageError
from quire.storage import attachments as rows
from quire.storage import sealed_files
from quire.store import attachments, file_types
from quire.store.attachments import NewFile
from quire.store.local import LocalStore
from tests import vaults
from tests.oracle import check
from tests.security.scanning import found_in

TEXT = b"lanternquux of the lighthouse\n" * 50_000  # two pieces


@pytest.fixture
def chat(manager: ChannelManager) -> ChannelManager:
    manager.create_channel("general")
    return manager


def written(folder: Path, name: str = "plan.txt", data: bytes = TEXT) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def on_disk(store: LocalStore) -> list[str]:
    """All files of attachments but the lock."""
    folder = Path(store.files.folder)
    return sorted(
        str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file() and one.name != "lock"
    )


def read(chat: ChannelManager, message: Message, number: int = 1) -> bytes:
    with chat.open_attachment(message.id, number) as stream:
        return stream.read()


def test_a_file_is_read_in_a_fresh_process_as_it_was(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "look", files=[written(tmp_path)])
    [one] = message.attachments
    assert (one.name, one.media_type, one.size_bytes) == ("plan.txt", "text/plain", len(TEXT))
    found = vaults.in_fresh_process(
        chat.store.folder,
        "import hashlib\n"
        "[m] = [m for m in manager.get_stored_messages('general')]\n"
        "stream = manager.open_attachment(m.id)\n"
        "whole = stream.read(); stream.seek(-5, 2); end = stream.read().hex(); stream.seek(1048570)\n"
        "answer = [hashlib.sha256(whole).hexdigest(), end, stream.read(12).decode(), store.verify().ok]",
    )
    assert found == [hashlib.sha256(TEXT).hexdigest(), TEXT[-5:].hex(), TEXT[1048570:1048582].decode(), True]
    check(chat.store)
    assert (chat.store.stats().files, chat.store.stats().files_bytes) == (1, len(TEXT))


@pytest.mark.slow
@pytest.mark.bounded
def test_memory_does_not_grow_with_the_file(chat: ChannelManager, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(200 << 20)
    mib = vaults.in_fresh_process(
        chat.store.folder,
        "from tests import vaults\n"
        f"m = manager.send_message('general', '', files=[{str(large)!r}])\n"
        "stream = manager.open_attachment(m.id)\n"
        "total = 0\n"
        "while chunk := stream.read(1 << 20): total += len(chunk)\n"
        "assert total == 200 << 20\n"
        "answer = vaults.peak_memory_mib()",
    )
    assert mib < 150


def test_the_same_bytes_are_kept_once_in_a_channel_and_apart_in_two(
    chat: ChannelManager, tmp_path: Path
) -> None:
    chat.create_channel("other")
    first = chat.send_message("general", "", files=[written(tmp_path)])
    again = chat.send_message("general", "", files=[written(tmp_path, "renamed.txt")])
    apart = chat.send_message("other", "", files=[written(tmp_path)])
    assert first.attachments[0].file == again.attachments[0].file
    assert again.attachments[0].name == "renamed.txt"
    assert apart.attachments[0].file != first.attachments[0].file  # nobody in one learns of the other
    assert len(on_disk(chat.store)) == 2
    assert all(read(chat, one) == TEXT for one in (first, again, apart))
    assert chat.store.verify().ok


def test_nothing_of_a_file_can_be_read_on_the_disk(chat: ChannelManager, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    chat.send_message("general", "", files=[written(source, "blueprintquux.txt")])
    assert found_in([chat.store.folder], ["lanternquux", "blueprintquux"]) == []
    assert found_in([source], ["lanternquux"])
    [name] = on_disk(chat.store)
    assert os.stat(Path(chat.store.files.folder, name)).st_size == sealed_size(len(TEXT))
    assert os.stat(Path(chat.store.files.folder, name)).st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["nothing.txt", ".", "nowhere/at/all", "nul\0byte"])
def test_what_is_no_file_is_said(chat: ChannelManager, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as refusal:
        chat.send_message("general", "", files=[written(tmp_path), tmp_path / name])
    assert refusal.value.rule in ("file_absent", "file_not_regular", "file_unreadable")
    assert list(chat.get_stored_messages("general")) == []
    assert on_disk(chat.store) == []


def test_a_file_that_changes_or_is_too_large_leaves_nothing(chat: ChannelManager, tmp_path: Path) -> None:
    lying = NewFile("a.bin", 5_000, lambda: io.BytesIO(bytes(4_000)))
    huge = NewFile("b.bin", FILE_BYTES_MAX + 1, lambda: io.BytesIO())
    for one, rule in ((lying, "file_changed"), (huge, "attachment_too_large")):
        with pytest.raises(UsageError) as refusal:
            chat.send_message("general", "", files=[written(tmp_path), one])
        assert refusal.value.rule == rule
        assert on_disk(chat.store) == []
    with pytest.raises(UsageError) as refusal:  # refused when the first file is there already
        chat.send_message("general", "x" * (2 << 20), files=[written(tmp_path)])
    assert refusal.value.rule == "body_too_large"
    assert on_disk(chat.store) == []
    assert chat.store.verify().ok


def test_a_full_disk_leaves_nothing_and_the_vault_goes_on(
    chat: ChannelManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_so_far = 0

    def full(file: int, data: bytes) -> None:
        nonlocal written_so_far
        written_so_far += len(data)
        if written_so_far > 1 << 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(sealed_files, "write_all", full)
        with pytest.raises(FullError) as refusal:
            chat.send_message("general", "", files=[written(tmp_path)])
    assert refusal.value.rule == "disk_full"
    assert on_disk(chat.store) == []
    assert read(chat, chat.send_message("general", "", files=[written(tmp_path)])) == TEXT


def damaged(store: LocalStore, at: int) -> None:
    [name] = on_disk(store)
    path = Path(store.files.folder, name)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("at", [0, 70_000, -1])
def test_a_flipped_byte_is_named_and_never_read(chat: ChannelManager, tmp_path: Path, at: int) -> None:
    message = chat.send_message("general", "", files=[written(tmp_path)])
    damaged(chat.store, at)
    with pytest.raises(CorruptError) as error:
        read(chat, message)
    assert error.value.rule == "attachment_damaged"
    [problem] = chat.store.verify().problems
    assert (problem.what, problem.where) == ("attachment_damaged", message.attachments[0].file.id.hex())  # type: ignore[union-attr]
    with pytest.raises(CorruptError):
        chat.save_attachment(message.id, 1, tmp_path)
    assert not (tmp_path / "plan (2).txt").exists()  # nothing half-written
    assert chat.store.repair().ok
    assert [view.state for view in chat.get_attachments(message.id)] == ["asked"]
    assert on_disk(chat.store) == []


def test_a_missing_or_cut_file_is_named(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "", files=[written(tmp_path)])
    [name] = on_disk(chat.store)
    path = Path(chat.store.files.folder, name)
    os.truncate(path, 100)
    assert [one.what for one in chat.store.doctor()] == ["attachment_damaged"]
    path.unlink()
    assert [one.what for one in chat.store.doctor()] == ["attachment_missing"]
    assert [one.what for one in chat.store.verify().problems] == ["attachment_missing"]
    with pytest.raises(CorruptError) as error:
        chat.open_attachment(message.id)
    assert error.value.rule == "attachment_missing"


def test_the_view_is_checked_and_made_anew(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "", files=[written(tmp_path)])
    with chat.store.database.transaction() as db:
        db.execute("UPDATE attachment SET bytes = bytes + 1")
    assert [one.what for one in chat.store.verify().problems] == ["attachment_view"]
    assert chat.store.repair().ok
    with chat.store.database.transaction() as db:
        db.execute("DELETE FROM attachment")
    assert [one.what for one in chat.store.verify().problems] == ["attachment_view"]
    assert chat.store.repair().ok
    assert read(chat, message) == TEXT


def test_a_dropped_file_goes_and_its_message_stays(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "kept", files=[written(tmp_path)])
    [one] = message.attachments
    assert one.file
    file = one.file.id
    freed = chat.store.ledger.run(lambda db: attachments.drop(db, [file]))
    assert freed == sealed_size(len(TEXT))
    assert on_disk(chat.store)  # until the transaction was durable
    assert attachments.sweep(chat.store) == 1
    assert on_disk(chat.store) == []
    with pytest.raises(NotFoundError) as error:
        chat.open_attachment(message.id)
    assert error.value.rule == "attachment_absent"
    assert [view.state for view in chat.get_attachments(message.id)] == ["dropped"]
    with chat.store.database.snapshot() as db:
        channel = chat.store.channel_row(message.channel).n
        assert rows.wanted(db, channel, 1 << 40, 10) == []  # it does not come back by itself
    assert [view.state for view in chat.fetch_attachment(message.id)] == ["asked"]
    assert chat.store.verify().ok


def test_a_kill_between_dropping_and_removing_is_made_good_at_opening(
    chat: ChannelManager, tmp_path: Path
) -> None:
    message = chat.send_message("general", "kept", files=[written(tmp_path)])
    [one] = message.attachments
    assert one.file
    file = one.file.id
    chat.store.ledger.run(lambda db: attachments.drop(db, [file]))
    store = vaults.reopened(chat.store)
    assert on_disk(store) == []
    store.close()


def test_what_messages_are_forgotten_takes_their_files_unless_another_has_them(
    chat: ChannelManager, tmp_path: Path
) -> None:
    first = chat.send_message("general", "", files=[written(tmp_path)])
    second = chat.send_message("general", "", files=[written(tmp_path)])
    for message, left in ((first, 1), (second, 0)):
        chat.store.ledger.run(lambda db, id=message.id: attachments.forget(db, [id]))  # type: ignore[misc]
        attachments.sweep(chat.store)
        assert len(on_disk(chat.store)) == left


def test_what_a_killed_process_left_is_taken_away_at_opening(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "", files=[written(tmp_path)])
    kept = on_disk(chat.store)
    folder = Path(chat.store.files.folder)
    (folder / "new" / "half").write_bytes(b"half of a file")
    (folder / "aa").mkdir(exist_ok=True)
    (folder / "aa" / ("bb" * 31)).write_bytes(b"whole, and nobody's")
    (folder / "part").mkdir()
    (folder / "part" / ("cc" * 32)).write_bytes(b"coming, and nobody's")
    with chat.store.files.making():  # while another makes files, nothing is taken away
        store = vaults.opened(chat.store.folder)
        assert (folder / "new" / "half").exists()
        store.close()
    with vaults.opened(chat.store.folder) as store:
        assert on_disk(store) == kept
        assert read(ChannelManager(store), message) == TEXT


def test_a_deleted_message_shows_no_files(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "", files=[written(tmp_path)])
    chat.delete_message(message.id)
    with pytest.raises(NotFoundError):
        chat.open_attachment(message.id)


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("plan.txt", "plan.txt"), ("../../etc/passwd", "passwd"), ("C:\\Windows\\x.dll", "x.dll"), ("/", "attachment"),
        ("..", "attachment"), (".bashrc", "bashrc"), ("a\0b\nc.txt", "abc.txt"), ("CON", "_CON"), ("nul.txt", "_nul.txt"),
        ("lpt1.tar.gz", "_lpt1.tar.gz"), ("a<b>c:d|e?.txt", "a_b_c_d_e_.txt"), ("\u202egnp.exe", "gnp.exe"),
        ("  spaced . ", "spaced"), ("", "attachment"), ("é.txt", "é.txt"), ("~/x", "x"), ("-rf", "-rf"),
    ],
)  # fmt: skip
def test_names_are_made_harmless(given: str, safe: str) -> None:
    assert file_types.safe_name(given) == safe


def test_long_names_are_cut_and_keep_their_ending() -> None:
    name = file_types.safe_name("ж" * 500 + ".pdf")
    assert len(name.encode()) <= file_types.NAME_BYTES_MAX
    assert name.endswith("ж.pdf")


def test_saving_never_overwrites(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "", files=[written(tmp_path)])
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.txt").write_text("mine")
    (out / "plan (2).txt").symlink_to("elsewhere")
    assert chat.save_attachment(message.id, 1, out) == out / "plan (3).txt"
    assert (out / "plan (3).txt").read_bytes() == TEXT
    assert (out / "plan.txt").read_text() == "mine"
    assert not (out / "elsewhere").exists()
    assert sorted(one.name for one in out.iterdir()) == ["plan (2).txt", "plan (3).txt", "plan.txt"]
    with pytest.raises(UsageError) as refusal:
        chat.save_attachment(message.id, 1, tmp_path / "nowhere")
    assert refusal.value.rule == "folder_absent"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "image/png"), (b"%PDF-1.7\n", "application/pdf"), (b"plain words", "text/plain"),
        (b"<!DOCTYPE html><script>", "text/html"), (b"  <svg onload=x>", "image/svg+xml"), (b"#!/bin/sh\n", "text/x-script"),
        (b"MZ" + bytes(64), "application/x-msdownload"), (b"", "application/octet-stream"),
        (b"a\x01b", "application/octet-stream"),
        (b"\x7fELF\x02\x01\x01" + bytes(60), "application/x-executable"), (b"\xff\xfe\xfd", "application/octet-stream"),
    ],
)  # fmt: skip
def test_types_are_told_by_content(head: bytes, kind: str) -> None:
    assert file_types.type_of(head) == kind
    harmless = {"image/png", "application/pdf", "text/plain"}
    assert (kind in file_types.HARMLESS) == (kind in harmless)


def test_a_file_named_with_another_size_is_not_that_file(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "", files=[written(tmp_path)])
    [one] = message.attachments
    lie = one._replace(size_bytes=5)
    lying = chat.send_message("general", "", attachments=[lie])
    with pytest.raises(NotFoundError) as error:
        chat.open_attachment(lying.id)
    assert error.value.rule == "attachment_absent"
    assert read(chat, message) == TEXT
    assert chat.store.verify().ok


def test_an_absent_number_is_said(chat: ChannelManager, tmp_path: Path) -> None:
    message = chat.send_message("general", "", files=[written(tmp_path)])
    plain = chat.send_message("general", "no files")
    for id, number in ((message.id, 0), (message.id, 2), (plain.id, 1)):
        with pytest.raises(NotFoundError) as error:
            chat.open_attachment(MessageId(id), number)
        assert error.value.rule == "no_attachment"


def test_a_file_begins_on_another_piece_than_where_one_reads(chat: ChannelManager, tmp_path: Path) -> None:
    data = bytes(range(256)) * (PIECE_PLAIN // 128)
    message = chat.send_message("general", "", files=[written(tmp_path, "b.bin", data)])
    with chat.open_attachment(message.id) as stream:
        for at in (PIECE_PLAIN - 3, 0, len(data) - 2, PIECE_PLAIN):
            stream.seek(at)
            assert stream.read(7) == data[at : at + 7]
