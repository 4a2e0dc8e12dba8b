"""The archive: what goes out of the vault is read, found, exported and given as before, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.errors import UnreachableError
from quire.storage import cold
from tests import oracle, vaults

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
