"""Looking for a text in every byte of a vault, of any size, a piece at a time."""

from __future__ import annotations

import os
import tracemalloc

import pytest

from quire import ChannelManager, LocalStore
from quire.core.operation import Post
from quire.storage.database import PAGE_SIZE
from quire.store import scanning
from quire.store.scanning import scan


def test_the_pages_that_are_looked_at_are_all_of_the_file_decrypted(store: LocalStore) -> None:
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    store.write_operations(channel, *(Post(f"number {n} {'x' * 900}") for n in range(200)))
    store.database.checkpoint()
    db = store.database.reader
    every: bytes = db.serialize("main")
    read = b"".join(scanning._pages(db, n, 1) for n in range(len(every) // PAGE_SIZE))
    assert read == every


def test_a_text_is_found_wherever_it_is_and_how_far_it_came_is_told(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "PAGES_AT_ONCE", 2)
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    ids = store.write_operations(channel, *(Post(f"xylophone{n:04} and its neighbours") for n in range(400)))
    done: list[tuple[int, int]] = []
    found = scan(store, ["xylophone0123 and its"], lambda what, at, total: done.append((at, total)))
    assert (found.found, found.said_elsewhere, found.ok) == (
        0,
        1,
        True,
    )  # it is there, and a message explains it
    assert done[-1] == (found.pages, found.pages)
    assert len(done) == (found.pages + 1) // 2
    row = store.channel_row(channel)
    kept = b"in a place that no message explains"
    store.ledger.run(lambda db: db.execute("INSERT INTO meta VALUES('left', ?)", (kept,)).fetchall())
    assert scan(store, [kept.decode()]).found > 0
    store.ledger.run(lambda db: db.execute("DELETE FROM meta WHERE key = 'left'").fetchall())
    assert scan(store, [kept.decode()]).ok
    chat.erase_message(ids[7])
    assert scan(store, ["xylophone0007 and its neighbours"]).ok
    assert row.messages == 400


def test_memory_does_not_grow_with_the_vault(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "PAGES_AT_ONCE", 4)
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    store.write_operations(channel, *(Post(os.urandom(20_000).hex()) for _ in range(200)))
    store.database.checkpoint()
    assert store.database.path.stat().st_size > 8 << 20
    tracemalloc.start()
    assert scan(store, ["nobody said this ever"]).ok
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_journal_that_another_program_holds_is_not_passed_over(store: LocalStore) -> None:
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    reading = store.database.connect()
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM message").fetchall()
    gone = chat.send_message(channel, "a text to be erased").id
    store.database.writer.set_busy_timeout(0)
    chat.erase_message(gone)
    held = scan(store, ["a text to be erased"])
    assert held.pending
    assert not held.ok
    reading.execute("ROLLBACK")
    reading.close()
    assert scan(store, ["a text to be erased"]).ok
