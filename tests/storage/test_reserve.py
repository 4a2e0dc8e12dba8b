"""Room in the write-ahead log: made by who writes much, and nothing to whoever reads or repairs the log."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from quire.channels.manager import ChannelManager
from quire.storage.database import CHECKPOINT_PAGES, PAGE_SIZE
from quire.storage.reserve import STEP_BYTES
from quire.store.local import LocalStore
from tests import vaults

SENDS = 200
HEADER, FRAME = 32, PAGE_SIZE + 24


def log_size(store: LocalStore) -> int:
    return (store.folder / "vault.db-wal").stat().st_size


def sizes(store: LocalStore, send: Callable[[], object], count: int) -> list[int]:
    """Of the log, after each of so many messages."""
    found = []
    for _ in range(count):
        send()
        found.append(log_size(store))
    return found


def test_few_of_many_messages_make_the_log_longer(store: LocalStore) -> None:
    manager = ChannelManager(store)
    manager.create_channel("general")
    found = sizes(store, lambda: manager.send_message("general", "x" * 140), SENDS)
    assert len(set(found)) < SENDS // 8  # each of the first hundred would, without it
    assert max(found) < CHECKPOINT_PAGES * PAGE_SIZE + 2 * STEP_BYTES
    assert vaults.in_fresh_process(store.folder, "answer = manager.get_channel('general').messages") == SENDS


def test_who_writes_once_makes_no_room(store: LocalStore) -> None:
    vaults.in_fresh_process(
        store.folder, "manager.create_channel('general')"
    )  # whose end empties no log: we read it
    before = log_size(store)
    vaults.in_fresh_process(store.folder, "manager.send_message('general', 'hello')")
    assert 0 < log_size(store) - before < 10 * FRAME
    assert (log_size(store) - HEADER) % FRAME == 0


def test_a_log_with_room_is_read_and_repaired_as_any(store: LocalStore, tmp_path: Path) -> None:
    manager = ChannelManager(store)
    manager.create_channel("general")
    for number in range(20):
        manager.send_message("general", f"number {number}")
    log = (store.folder / "vault.db-wal").read_bytes()
    assert not any(log[-FRAME:])  # there is room
    copy = tmp_path / "copy"  # as a power cut would leave it: the log, and no memory of where it ends
    shutil.copytree(store.folder, copy, ignore=shutil.ignore_patterns("*-shm"))
    shutil.copy(vaults.key_of(store.folder).path, vaults.key_of(copy).path)
    with vaults.opened(copy) as again:
        assert sorted(vaults.bodies(again, "general")) == sorted(f"number {number}" for number in range(20))
        assert again.verify().ok
    code = "for number in range(30): manager.send_message('general', f'theirs {number}')"
    vaults.in_fresh_process(store.folder, code)  # in turns with us, in one log
    manager.send_message("general", "ours")
    assert vaults.in_fresh_process(
        store.folder, "answer = [store.verify().ok, manager.get_channel('general').messages]"
    ) == [True, 51]
