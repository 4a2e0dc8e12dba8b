"""What was imported and erased does not come again by the same export, and nobody is named who left nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quire import Keeping
from quire.channels.manager import ChannelManager
from quire.core.control import EXEMPT_THREADS
from quire.store import wallclock
from quire.store.local import LocalStore
from tests import oracle

DAY = 86_400_000

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


@pytest.mark.parametrize(
    "keeping", [Keeping(10 * DAY, exempt=EXEMPT_THREADS), Keeping(count=4, exempt=EXEMPT_THREADS)]
)
def test_what_retention_let_go_does_not_come_again_by_the_same_export(
    store: LocalStore, manager: ChannelManager, tmp_path: Path, keeping: Keeping
) -> None:
    """By age and by count; a thread that goes on is here, and is known again. What is new in the export comes."""
    now = wallclock.now_ms()
    times = [now - 15 * DAY + n for n in range(3)] + [now - 8 * DAY, now - 7 * DAY, now - 6 * DAY]

    def export(name: str, count: int) -> Path:
        records = [
            {"type": "message", "channel": "old", "id": f"id{n}", "time": time, "author": "u", "body": f"number {n}"}
            | ({"thread": "id2"} if n == 3 else {})
            for n, time in enumerate(times[:count])
        ]  # fmt: skip
        path = tmp_path / name
        path.write_text("".join(json.dumps(one) + "\n" for one in records))
        return path

    first = export("first.jsonl", 5)
    manager.import_(first)
    manager.set_retention("old", keeping)
    left = ["number 2", "number 3", "number 4"]
    manager.enforce_retention("old")
    if keeping.count:
        left = ["number 1", *left]
    assert [m.body for m in manager.get_stored_messages("old")] == left
    commits = store.stats().commits
    summary = manager.import_(first)
    assert (summary.messages, summary.duplicates) == (0, len(left))
    assert summary.not_carried == {"messages that retention let go": 5 - len(left)}
    assert store.stats().commits == commits  # nothing was written, not even for a moment
    assert manager.import_(export("second.jsonl", 6)).messages == 1
    manager.enforce_retention("old")
    assert "number 5" in [m.body for m in manager.get_stored_messages("old")]
    assert "number 0" not in [m.body for m in manager.get_stored_messages("old")]
    assert store.verify().problems == ()
