"""The archive: what goes out of the vault is read, found, exported and given as before, and comes back."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from quire.channels.manager import ChannelManager
from quire.core.retention import Keeping
from quire.core.views import Message
from quire.errors import CorruptError, FullError, NotFoundError, UnreachableError
from quire.storage import cold, database
from quire.store import archiving, quota, segments
from quire.store.digest import contents_digest, timeline_digest
from tests import oracle, vaults
from tests.security.scanning import found_in

NEEDLE = "zanzibarquux"
AFTER = 1 << 42  # later than anything here


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[ChannelManager]:
    with vaults.fresh_store(tmp_path) as store:
        chat = ChannelManager(store)
        chat.create_channel("general")
        for number in range(40):
            chat.send_message(
                "general", f"{NEEDLE} {number}: " + "a text that is long enough to be moved out " * 2
            )
        yield chat


def all_messages(chat: ChannelManager) -> list[object]:
    return list(chat.get_stored_messages("general"))


def archived(chat: ChannelManager) -> int:
    found = chat.store.database.reader.execute(
        f"SELECT count(*) FROM message WHERE length(op) = {cold.REFERENCE_SIZE} AND substr(op, 17, 1) = x'c1'"
    ).fetchone()
    assert found is not None
    return int(found[0])


def test_what_is_archived_is_read_found_and_comes_back(chat: ChannelManager) -> None:
    before = all_messages(chat)
    report = chat.archive("general", AFTER)
    assert (report.messages, report.operations, report.segments) == (40, 40, 1)
    assert archived(chat) == 40
    assert NEEDLE.encode() * 1 not in b"".join(
        bytes(op) for (op,) in chat.store.database.reader.execute("SELECT op FROM message")
    )
    assert all_messages(chat) == before
    assert len(chat.search(NEEDLE, limit=50).hits) == 40
    assert chat.store.verify().problems == ()
    oracle.check(chat.store)
    chat.archive("general", AFTER)
    assert len(chat.list_segments()) == 1
    back = chat.unarchive("general")
    assert back.operations == 40
    assert (archived(chat), chat.list_segments()) == (0, [])
    assert list((chat.store.folder / "archive").iterdir()) == []
    assert all_messages(chat) == before
    assert chat.store.verify().problems == ()


def test_what_is_out_of_reach_says_where_it_is(chat: ChannelManager, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    chat.archive("general", AFTER, to=disk)
    disk.rename(tmp_path / "elsewhere")
    with vaults.reopened(chat.store) as store:
        away = ChannelManager(store)
        (segment,) = away.list_segments()
        assert (segment.state, segment.place) == ("away", str(disk))
        page = away.get_stored_messages_paginated("general")
        assert len(page.messages) == 40
        assert all(
            one.body == "" and one.archived and one.archived.place == str(disk) for one in page.messages
        )
        assert len(away.search(NEEDLE, limit=50).hits) == 40
        with pytest.raises(UnreachableError):
            away.unarchive("general")
        assert [one.state for one in away.move_segments(tmp_path / "elsewhere")] == ["here"]
        assert NEEDLE in away.get_stored_messages_paginated("general").messages[0].body


def elsewhere(chat: ChannelManager, disk: Path) -> Path:
    """Archive everything of the channel to a disk; the file."""
    disk.mkdir()
    chat.archive("general", AFTER, to=disk)
    (file,) = disk.iterdir()
    return file


def damaged(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def test_digests_and_exports_are_the_same_with_an_archive(chat: ChannelManager, tmp_path: Path) -> None:
    first = next(iter(chat.get_stored_messages("general")))
    chat.edit_message(first.id, f"{NEEDLE} said otherwise " * 8)
    chat.add_reaction(first.id, "👍")
    store, id = chat.store, chat.resolve("general")
    before = contents_digest(store, id), timeline_digest(store, id)
    chat.export(tmp_path / "before.jsonl")
    report = chat.archive("general", AFTER)
    assert report.operations == 41  # the later version too
    assert (contents_digest(store, id), timeline_digest(store, id)) == before
    assert [one.body[:20] for one in chat.get_edit_history(first.id)] == [
        first.body[:20],
        f"{NEEDLE} said ot"[:20],
    ]
    chat.export(tmp_path / "after.jsonl")
    assert lines(tmp_path / "after.jsonl") == lines(tmp_path / "before.jsonl")
    assert NEEDLE.encode() not in (chat.store.folder / "archive").iterdir().__next__().read_bytes()
    assert len(chat.search(NEEDLE, limit=50).hits) == 40


def lines(path: Path) -> list[bytes]:
    """An export without its first line, which says when it was made."""
    return path.read_bytes().splitlines()[1:]


def test_nothing_of_what_is_archived_lies_in_the_clear(chat: ChannelManager, tmp_path: Path) -> None:
    elsewhere(chat, tmp_path / "disk")
    segment = cold.segments(chat.store.database.reader)[0]
    assert found_in([tmp_path / "disk", chat.store.folder], [NEEDLE, segment.key, "general"]) == []
    opened = chat.store.database.blocks.open(chat.store.database.reader, references(chat)[0])
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "file").write_bytes(opened)
    assert found_in([tmp_path / "control"], [NEEDLE])  # the search finds what is there


def references(chat: ChannelManager) -> list[bytes]:
    found = chat.store.database.reader.execute(
        f"SELECT op FROM message WHERE length(op) = {cold.REFERENCE_SIZE} AND substr(op, 17, 1) = x'c1'"
    ).fetchall()
    return [bytes(op) for (op,) in found]  # type: ignore[arg-type]


def test_a_damaged_segment_is_named_by_file_and_block_and_stops_nothing_else(
    chat: ChannelManager, tmp_path: Path
) -> None:
    file = elsewhere(chat, tmp_path / "disk")
    chat.send_message("general", "of today")
    damaged(file, 100)
    chat.store.database.blocks.forget()
    (found,) = chat.check_segments()
    assert (found.state, found.bad_blocks) == ("damaged", (0,))
    page = chat.get_stored_messages_paginated("general").messages
    broken = [one for one in page if one.archived]
    assert len(broken) == 1
    assert broken[0].archived is not None
    assert (broken[0].archived.damaged, broken[0].archived.segment) == (True, file.name)
    assert page[0].body == "of today"
    report = chat.store.verify()
    assert {one.what for one in report.problems} == {"segment_damaged"}
    with pytest.raises(CorruptError) as refused:
        chat.unarchive("general")
    assert (refused.value.rule, refused.value.details["block"]) == ("segment_damaged", 0)
    damaged(file, 100)
    chat.store.database.blocks.forget()
    assert chat.check_segments()[0].state == "here"
    chat.unarchive("general")
    assert chat.store.verify().problems == ()


def test_a_segment_that_was_swapped_or_cut_is_not_taken(chat: ChannelManager, tmp_path: Path) -> None:
    chat.create_channel("other")
    for number in range(10):
        chat.send_message("other", f"{number}: " + "another text that is long enough to be moved out " * 2)
    file = elsewhere(chat, tmp_path / "disk")
    (tmp_path / "others").mkdir()
    chat.archive("other", AFTER, to=tmp_path / "others")
    (other,) = (tmp_path / "others").iterdir()
    good = file.read_bytes()
    file.write_bytes(other.read_bytes())
    chat.store.database.blocks.forget()
    assert all(one.archived for one in chat.get_stored_messages_paginated("general").messages)
    assert {one.state for one in chat.check_segments()} == {"here", "damaged"}
    file.write_bytes(good[:1000])
    chat.store.database.blocks.forget()
    assert any(one.archived for one in chat.get_stored_messages_paginated("general").messages)
    assert next(iter(chat.get_stored_messages("other"))).body.startswith("0: ")
    with pytest.raises(NotFoundError) as refused:
        chat.move_segments(tmp_path)
    assert refused.value.rule == "segments_absent"


def test_verify_and_repair_while_the_disk_is_away(chat: ChannelManager, tmp_path: Path) -> None:
    first = next(iter(chat.get_stored_messages("general")))
    chat.edit_message(first.id, f"{NEEDLE} said otherwise " * 8)
    chat.send_message("general", "a reply", thread=first.id)
    file = elsewhere(chat, tmp_path / "disk")
    file.rename(tmp_path / file.name)
    chat.store.database.blocks.forget()
    report = chat.store.verify()
    assert (report.problems, report.unread, report.places) == ((), 41, (str(file),))
    with pytest.raises(UnreachableError) as refused:
        chat.store.repair()
    assert refused.value.rule == "archive_unreachable"
    with pytest.raises(UnreachableError):
        chat.export(tmp_path / "out.jsonl")
    (tmp_path / file.name).rename(file)
    assert chat.store.repair().problems == ()
    assert len(references(chat)) == 40  # it is where it was
    oracle.check(chat.store)


def test_a_folder_that_is_not_there_is_not_made(chat: ChannelManager, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as refused:
        chat.archive("general", AFTER, to=tmp_path / "unplugged")
    assert refused.value.rule == "archive_folder_absent"
    assert not (tmp_path / "unplugged").exists()
    assert archived(chat) == 0


def test_a_disk_that_fills_leaves_everything_where_it_was(
    chat: ChannelManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = all_messages(chat)
    (tmp_path / "disk").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr("quire.storage.segment_files.os.write", full)
        with pytest.raises(FullError):
            chat.archive("general", AFTER, to=tmp_path / "disk")
    assert (archived(chat), list((tmp_path / "disk").iterdir()), chat.list_segments()) == (0, [], [])
    assert all_messages(chat) == before
    assert chat.archive("general", AFTER, to=tmp_path / "disk").operations == 40


def test_a_copied_vault_finds_what_lies_beside_it(chat: ChannelManager, tmp_path: Path) -> None:
    before = [one.body for one in chat.get_stored_messages("general")]
    chat.archive("general", AFTER)
    chat.store.close()
    shutil.copytree(chat.store.folder, tmp_path / "copied")
    shutil.copy(tmp_path / "vault.key", tmp_path / "copied.key")
    with vaults.opened(tmp_path / "copied") as copied:
        (segment,) = ChannelManager(copied).list_segments()
        assert (segment.state, segment.place) == ("here", str(tmp_path / "copied" / "archive"))
        assert vaults.bodies(copied, "general") == before


def test_a_new_key_of_the_vault_changes_nothing_about_it(chat: ChannelManager) -> None:
    chat.archive("general", AFTER)
    before = references(chat)
    chat.store.rekey()
    with vaults.reopened(chat.store) as store:
        again = ChannelManager(store)
        assert references(again) == before
        assert NEEDLE in next(iter(again.get_stored_messages("general"))).body


def test_reading_an_archive_holds_a_few_blocks_of_it(
    chat: ChannelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold, "BLOCK", 256)
    monkeypatch.setattr(cold, "BLOCKS_MAX", 3)
    chat.archive("general", AFTER)
    chat.store.database.blocks.forget()
    assert all(NEEDLE in one.body for one in chat.get_stored_messages("general"))
    assert len(chat.store.database.blocks._blocks) == 3


def test_a_policy_by_size_counts_the_messages_not_the_references(chat: ChannelManager) -> None:
    keeping = Keeping(size_bytes=3_000)
    before = chat.preview_retention("general", keeping)
    chat.archive("general", AFTER)
    after = chat.preview_retention("general", keeping)
    assert before.messages == after.messages > 10
    assert (before.rules, before.years) == (after.rules, after.years)


def test_an_export_that_is_imported_again_finds_what_is_archived(
    chat: ChannelManager, tmp_path: Path
) -> None:
    chat.export(tmp_path / "out.jsonl")
    with vaults.fresh_store(tmp_path, "second") as store:
        second = ChannelManager(store)
        assert second.import_(tmp_path / "out.jsonl").messages == 40
        name = second.list_channels()[0].id
        assert second.archive(name, AFTER).operations == 40
        assert second.import_(tmp_path / "out.jsonl").messages == 0
        assert second.list_channels()[0].messages == 40


def test_it_is_read_by_a_fresh_process(chat: ChannelManager) -> None:
    before = [one.body for one in chat.get_stored_messages("general")]
    chat.archive("general", AFTER)
    chat.store.close()
    found = vaults.in_fresh_process(
        chat.store.folder,
        "found = manager.search('zanzibarquux', limit=50).hits\n"
        "answer = [one.body for one in manager.get_stored_messages('general')], len(found)",
    )
    assert found == [before, 40]


def test_posts_go_on_between_steps_that_are_bounded(
    chat: ChannelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is archived, each transaction changes a few rows, or few bytes, and others write between them."""
    for number in range(4):
        chat.send_message("general", f"{number} " + "of many words " * 1_000)
    before = [one.body for one in all_of(chat)]
    steps: list[tuple[int, int]] = []
    refer, said = archiving._refer, 0

    def counted(db: apsw.Connection, some: list[archiving._Moving]) -> tuple[int, int]:
        steps.append((len(some), sum(one.length for one in some)))
        return refer(db, some)

    def posts(point: str) -> None:
        nonlocal said
        if point in ("segment_noted", "segment_read_back", "segment_step", "segment_back"):
            said += 1
            chat.send_message("general", f"meanwhile {said}")

    monkeypatch.setattr(archiving, "STEP", 8)
    monkeypatch.setattr(archiving, "STEP_BYTES", 20_000)
    monkeypatch.setattr(archiving, "_refer", counted)
    monkeypatch.setattr(database, "fault_hook", posts)
    assert chat.archive("general", AFTER).operations == 44
    assert sum(rows for rows, _ in steps) == 44
    assert len(steps) >= 8
    assert all(rows <= 8 and (size <= 20_000 or rows == 1) for rows, size in steps)
    during = said
    assert during >= len(steps) + 2
    back = chat.unarchive("general")
    assert back.operations >= 44
    monkeypatch.undo()
    assert said > during
    assert [one.body for one in all_of(chat)] == before + [f"meanwhile {n}" for n in range(1, said + 1)]
    assert chat.store.verify().problems == ()


def all_of(chat: ChannelManager) -> list[Message]:
    return list(chat.get_stored_messages("general"))


def test_bringing_back_minds_the_hard_quota_before_anything_is_changed(chat: ChannelManager) -> None:
    done = chat.archive("general", AFTER)
    references_before = references(chat)
    used = quota.view(chat.store.database.reader).used_bytes
    chat.store.set_quota(hard=used + done.vault_bytes // 2)
    with pytest.raises(FullError) as refused:
        chat.unarchive("general")
    assert (refused.value.rule, refused.value.details["more_bytes"]) == ("quota_hard", done.vault_bytes)
    assert references(chat) == references_before
    assert [one.state for one in chat.list_segments()] == ["here"]
    chat.store.set_quota()
    assert chat.unarchive("general").operations == 40


def test_a_segment_that_nothing_refers_to_stays_while_somebody_archives(chat: ChannelManager) -> None:
    chat.archive("general", AFTER)
    for one in all_of(chat):
        chat.erase_message(one.id)
    with segments.segments_lock(chat.store):
        segments.sweep(chat.store)
        assert [one.state for one in chat.list_segments()] == ["here"]
    segments.sweep(chat.store)
    assert chat.list_segments() == []
