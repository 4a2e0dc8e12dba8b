"""What was imported and erased does not come again by the same export, and nobody is named who left nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.store.local import LocalStore
from tests import oracle

NEEDLE, NAME = "zanzibarquux", "Perpetuaquux"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    records = [
        {"type": "author", "key": "u1quux", "name": NAME},
        *(
            {"type": "message", "channel": "old", "id": f"id{n}quux", "time": 1_500_000_000_000 + n * 1_000,
             "author": "u1quux" if n % 2 else "u2", "body": f"{NEEDLE} {n}" if n % 2 else f"stays {n}",
             "reactions": [{"emoji": "x", "authors": ["u1quux"]}]}
            for n in range(6)
        ),
    ]  # fmt: skip
    path = tmp_path / "old.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


def test_an_erased_author_leaves_no_name_and_does_not_come_again(
    store: LocalStore, manager: ChannelManager, export: Path
) -> None:
    manager.import_(export)
    [author] = manager.authors_named(NAME)
    receipt = manager.erase_author(author, reason="they asked for it")
    assert receipt.left == 0
    for word in (NEEDLE, NAME, "u1quux", "id1quux"):
        assert word.encode() not in store.database.reader.serialize("main"), word
    messages = list(manager.get_stored_messages("old"))
    assert [m.body for m in messages] == ["stays 0", "", "stays 2", "", "stays 4", ""]
    assert [m.time_ms for m in messages] == [1_500_000_000_000 + n * 1_000 for n in range(6)]
    assert all(not m.reactions for m in messages)
    assert store.verify().problems == ()
    oracle.check(store)
    summary = manager.import_(export)
    assert (summary.messages, summary.duplicates) == (0, 6)
    assert [m.body for m in manager.get_stored_messages("old")] == [m.body for m in messages]
    assert NEEDLE.encode() not in store.database.reader.serialize("main")
    assert store.repair().problems == ()
