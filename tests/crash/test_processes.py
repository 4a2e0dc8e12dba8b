"""Several processes on one vault, and several vaults that once were one: no lost update and no fork."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.views import Message
from quire.errors import BusyError
from quire.storage import database, log
from quire.store.local import LocalStore
from tests import vaults
from tests.oracle import check

PROCESSES = 3
EACH = 40

_forks = get_context("forkserver")


def own_logs(store: LocalStore) -> list[tuple[bytes, int]]:
    """(prefix, commits) of every log this device writes or wrote, of channels that people see."""
    db = store.database.reader
    return [
        (row.prefix, len(list(log.commits(db, row.n))))
        for row in log.logs(db)
        if log.channel_by_n(db, row.channel).kind != "self"
    ]


def say(store: LocalStore, body: str) -> Message:
    return ChannelManager(store).send_message("general", body)


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    with vaults.fresh_store(tmp_path) as store:
        ChannelManager(store).create_channel("general")
        say(store, "first")
    return tmp_path / "vault"


def copied(vault: Path, to: Path) -> Path:
    """`cp -r`, and the key file with it."""
    shutil.copytree(vault, to)
    shutil.copyfile(vaults.key_of(vault).path, vaults.key_of(to).path)
    return to


# Several at once.


def work(folder: str, number: int) -> None:
    """One of several writers, who also edit and react to the same message, and read in between."""
    store = vaults.opened(Path(folder))
    manager = ChannelManager(store)
    shared = next(iter(manager.get_stored_messages("general")))
    seen = 0
    for count in range(EACH):
        message = manager.send_message(
            "general", f"{number}.{count}", thread=shared.id if count % 2 else None
        )
        manager.add_reaction(shared.id, f":p{number}-{count}:")
        if count % 10 == 0:
            manager.edit_message(message.id, f"{number}.{count}")
        page = manager.get_stored_messages_paginated("general", limit=1_000)
        assert len(page.messages) > seen
        seen = len(page.messages)
        assert manager.search(f'"{number} {count}"').hits or "." not in message.body
    manager.create_channel(f"of {number}")
    store.close()


def test_processes_that_write_at_once_lose_nothing_and_fork_nothing(vault: Path) -> None:
    writers = [_forks.Process(target=work, args=(str(vault), number)) for number in range(PROCESSES)]
    for writer in writers:
        writer.start()
    with vaults.opened(vault) as store:
        for count in range(EACH):
            say(store, f"here.{count}")
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
        writer.close()
    with vaults.opened(vault) as store:
        expected = {f"{n}.{c}" for n in [*range(PROCESSES), "here"] for c in range(EACH)} | {"first"}
        found = vaults.bodies(store, "general")
        assert len(found) == len(expected)
        assert set(found) == expected
        first = next(iter(ChannelManager(store).get_stored_messages("general")))
        assert len(first.reactions) == PROCESSES * EACH
        assert first.thread is not None
        assert first.thread.replies == PROCESSES * EACH / 2
        assert len(own_logs(store)) == 1 + PROCESSES  # one for each channel
        check(store)


def test_a_writer_that_waits_too_long_is_told_so_and_may_try_again(
    vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with vaults.opened(vault) as one:
        monkeypatch.setattr(database, "BUSY_MS", 20)
        with vaults.opened(vault) as other:
            with one.database.transaction():
                with pytest.raises(BusyError) as refusal:
                    say(other, "too late")
                assert refusal.value.hint == "try again"
                assert vaults.bodies(other, "general") == ["first"]  # readers never wait
            say(other, "now")
            assert vaults.bodies(one, "general") == ["first", "now"]


def test_a_reader_sees_one_moment_while_another_writes(vault: Path) -> None:
    with vaults.opened(vault) as reader, vaults.opened(vault) as writer:
        with reader.database.snapshot():
            assert vaults.bodies(reader, "general") == ["first"]
            say(writer, "second")
            assert vaults.bodies(reader, "general") == ["first"]
        assert vaults.bodies(reader, "general") == ["first", "second"]


# The same vault, again and again.


def test_a_reopened_vault_goes_on_with_its_log(vault: Path) -> None:
    for number in range(3):
        vaults.in_fresh_process(vault, f"manager.send_message('general', 'again {number}')")
    with vaults.opened(vault) as store:
        say(store, "and here")
        assert [commits for _, commits in own_logs(store)] == [6]


def test_two_sessions_that_take_turns_share_one_log(vault: Path) -> None:
    with vaults.opened(vault) as one, vaults.opened(vault) as other:
        for number in range(4):
            say(one, f"one {number}")
            say(other, f"other {number}")
        assert len(own_logs(one)) == 1
        check(one)


def test_a_renamed_vault_is_still_the_same(vault: Path) -> None:
    moved = vault.with_name("moved")
    vault.rename(moved)
    shutil.copyfile(vaults.key_of(vault).path, vaults.key_of(moved).path)
    with vaults.opened(moved) as store:
        say(store, "second")
        assert len(own_logs(store)) == 1


# Vaults that once were one.


def ids(store: LocalStore) -> set[bytes]:
    return {message.id for message in ChannelManager(store).get_stored_messages("general")}


def both_go_on(original: Path, other: Path) -> None:
    """Each writes; the other one in a log of its own, so that no id is used twice."""
    with vaults.opened(original) as store:
        before = ids(store)
        say(store, "in the original")
        assert len(own_logs(store)) == 1
        here = ids(store) - before
        check(store)
    with vaults.opened(other) as store:
        say(store, "in the copy")
        say(store, "in the copy again")
        assert len(own_logs(store)) == 2
        there = ids(store) - before
        check(store)
    assert len(here) == 1
    assert len(there) == 2
    assert not here & there
    with vaults.opened(other) as store:
        say(store, "in the copy, reopened")
        assert len(own_logs(store)) == 2
        check(store)


def test_a_copied_vault_begins_new_logs_and_the_original_goes_on(vault: Path, tmp_path: Path) -> None:
    both_go_on(vault, copied(vault, tmp_path / "copy"))


def test_a_copy_taken_while_the_vault_is_in_use(vault: Path, tmp_path: Path) -> None:
    with vaults.opened(vault) as store:
        say(store, "second")
        copy = copied(vault, tmp_path / "copy")
        say(store, "third")
        with vaults.opened(copy) as other:
            assert vaults.bodies(other, "general") == ["first", "second"]
            say(other, "elsewhere")
            assert len(own_logs(other)) == 2
            check(other)
        say(store, "fourth")
        assert len(own_logs(store)) == 1
        check(store)


def test_a_vault_restored_in_place_begins_new_logs(vault: Path, tmp_path: Path) -> None:
    """The old bytes in the same file: what was written since may be with others already."""
    copy = copied(vault, tmp_path / "copy")
    with vaults.opened(vault) as store:
        lost = say(store, "written after the backup").id
    inode = (vault / "vault.db").stat().st_ino
    for name in ("vault.db", "slots"):
        (vault / name).write_bytes((copy / name).read_bytes())
    assert (vault / "vault.db").stat().st_ino == inode
    for expected in (2, 2):
        with vaults.opened(vault) as store:
            assert say(store, "after the restore").id != lost
            assert len(own_logs(store)) == expected
            check(store)


def test_a_vault_restored_in_place_twice(vault: Path, tmp_path: Path) -> None:
    backup = (vault / "vault.db").read_bytes()
    used: set[bytes] = set()
    for _ in range(3):
        (vault / "vault.db").write_bytes(backup)
        with vaults.opened(vault) as store:
            before = ids(store)
            say(store, "one")
            say(store, "two")
            new = ids(store) - before
            assert not new & used
            used |= new
            check(store)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system: the tests are in memory, or on the disk."""
    for root in (Path("/dev/shm"), Path(tempfile.gettempdir())):
        if root.is_dir() and root.stat().st_dev != tmp_path.stat().st_dev:
            with tempfile.TemporaryDirectory(prefix="quire-", dir=root) as folder:
                yield Path(folder)
            return
    pytest.skip("there is no second file system here")


def test_a_vault_moved_to_another_disk_begins_new_logs(vault: Path, elsewhere: Path) -> None:
    moved = elsewhere / "vault"
    shutil.move(vault, moved)
    shutil.move(vaults.key_of(vault).path, vaults.key_of(moved).path)
    with vaults.opened(moved) as store:
        say(store, "here")
        assert len(own_logs(store)) == 2
        check(store)


def test_without_its_witness_a_vault_begins_new_logs(vault: Path, state_home: Path) -> None:
    shutil.rmtree(state_home / "quire")
    with vaults.opened(vault) as store:
        say(store, "second")
        assert len(own_logs(store)) == 2


def test_where_no_witness_can_be_written_each_session_begins_new_logs(
    vault: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    for expected in (2, 3):
        with vaults.opened(vault) as store:
            say(store, "x")
            say(store, "y")
            assert len(own_logs(store)) == expected
            check(store)
