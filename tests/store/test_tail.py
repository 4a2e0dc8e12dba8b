"""Messages that are not in the search index yet are found like all others, wherever and whenever one looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.core.ids import MessageId
from quire.exchange import model
from quire.storage import search
from quire.store.importing import ImportRun
from quire.store.local import LocalStore
from quire.store.tally import Tally
from tests import oracle, vaults

INDEXED, RECENT = 11, 9


@pytest.fixture
def ids(
    store: LocalStore, manager: ChannelManager, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[MessageId]]:
    """Twenty messages of which the newest nine are in the tail; at the end all must be as the log says."""
    monkeypatch.setattr(search, "TAIL_MAX", INDEXED - 1)
    manager.create_channel("general")
    yield [manager.send_message("general", f"word number{number}").id for number in range(INDEXED + RECENT)]
    assert store.verify().problems == ()
    oracle.check(store)


def sizes(store: LocalStore) -> tuple[int, int]:
    """How many messages are in the index, and how many in the tail."""
    db = store.database.reader
    row: Any = db.execute("SELECT count(*) FROM search WHERE search MATCH 'tags : c *'").fetchone()
    return row[0], len(search.tail(db))


def found(store: LocalStore, query: str) -> list[str]:
    return [hit.message.body.removeprefix("word number") for hit in store.search(query, limit=100).hits]


def newest_first(*, without: tuple[int, ...] = ()) -> list[str]:
    return [str(number) for number in reversed(range(INDEXED + RECENT)) if number not in without]


def test_a_full_tail_goes_into_the_index(
    store: LocalStore, manager: ChannelManager, ids: list[MessageId]
) -> None:
    assert sizes(store) == (INDEXED, RECENT)
    assert found(store, "word") == newest_first()
    manager.send_message("general", "word number20")
    assert sizes(store) == (INDEXED, RECENT + 1)
    manager.send_message("general", "word number21")
    assert sizes(store) == (INDEXED + RECENT + 2, 0)
    assert found(store, "word") == ["21", "20", *newest_first()]


def test_pages_of_hits_cross_from_the_tail_into_the_index(store: LocalStore, ids: list[MessageId]) -> None:
    pages, before = [], None
    while True:
        hits = store.search("word from:me", limit=3, before=before)
        pages.append([hit.message.body.removeprefix("word number") for hit in hits.hits])
        before = hits.older
        if before is None:
            break
    assert [len(page) for page in pages] == [3, 3, 3, 3, 3, 3, 2]
    assert [hit for page in pages for hit in page] == newest_first()


def test_every_way_to_ask_finds_what_is_in_the_tail(
    store: LocalStore, manager: ChannelManager, ids: list[MessageId]
) -> None:
    manager.send_message("general", "Ein Café am 東京駅 `x` https://example.org")
    for query in (
        "cafe",
        '"ein cafe"',
        "caf*",
        "京駅",
        "cafe has:link",
        "has:code",
        "cafe -word",
        "in:general cafe",
    ):
        assert len(store.search(query).hits) == 1, query
    assert not store.search("cafe from:nobody").hits
    assert not store.search("cafe has:file").hits
    assert not store.search("cafe -ein").hits


def test_a_change_in_the_tail_is_seen_by_a_connection_that_has_looked(
    store: LocalStore, manager: ChannelManager, ids: list[MessageId]
) -> None:
    assert found(store, "word") == newest_first()
    manager.edit_message(ids[-1], "once")
    assert (found(store, "once"), found(store, "word")) == (["once"], newest_first(without=(19,)))
    manager.edit_message(ids[-1], "twice")
    manager.delete_message(ids[-3])
    assert (found(store, "once"), found(store, "twice")) == ([], ["twice"])
    assert found(store, "word") == newest_first(without=(17, 19))
    assert sizes(store) == (INDEXED, RECENT - 1)
    store.ledger.run(search.index_tail)
    assert sizes(store) == (INDEXED + RECENT - 1, 0)
    assert (found(store, "once"), found(store, "twice"), found(store, "number17")) == ([], ["twice"], [])
    manager.delete_message(ids[-1])
    assert found(store, "twice") == []


def test_an_indexed_message_changes_while_others_are_in_the_tail(
    store: LocalStore, manager: ChannelManager, ids: list[MessageId]
) -> None:
    manager.edit_message(ids[0], "changed")
    manager.delete_message(ids[1])
    assert sizes(store) == (INDEXED - 1, RECENT)
    assert (found(store, "changed"), found(store, "word")) == (["changed"], newest_first(without=(0, 1)))


def test_long_texts_are_not_for_the_tail(
    store: LocalStore, manager: ChannelManager, ids: list[MessageId]
) -> None:
    """Whoever searches holds the tail in memory."""
    manager.edit_message(ids[-1], "long " * search.TAIL_CHARS_MAX)
    assert sizes(store) == (INDEXED + RECENT, 0)
    manager.send_message("general", "short")
    manager.send_message("general", "long " * search.TAIL_CHARS_MAX)
    assert sizes(store) == (INDEXED + RECENT + 2, 0)
    assert len(found(store, "long")) == 2
    assert found(store, "short") == ["short"]


def test_fresh_processes_find_the_tail_also_when_they_may_only_read(
    store: LocalStore, ids: list[MessageId]
) -> None:
    look = "answer = len(store.search('word', limit=100).hits)"
    assert vaults.in_fresh_process(store.folder, look) == INDEXED + RECENT
    reading = vaults.opened(store.folder, read_only=True)
    assert found(reading, "word") == newest_first()
    reading.close()


def test_a_flush_by_another_process_between_two_looks_doubles_nothing(
    store: LocalStore, ids: list[MessageId], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = search._look_at_tail

    def flushed_after(db: Any) -> bool:
        seen = looked(db)
        store.ledger.run(search.index_tail)
        return seen

    monkeypatch.setattr(search, "_look_at_tail", flushed_after)
    assert found(store, "word") == newest_first()
    assert sizes(store) == (INDEXED + RECENT, 0)


def test_an_import_passes_over_the_tail_or_takes_it_along(store: LocalStore, ids: list[MessageId]) -> None:
    run = ImportRun(store, "test", Tally(True))
    run.take(
        [
            model.Message(
                "old",
                "1",
                1_500_000_000_000,
                "u",
                "an old word",
                edits=(model.Edit(1_500_000_000_001, "word number-1"),),
            )
        ]
    )
    assert sizes(store) == (INDEXED, RECENT + 1)
    assert found(store, "word") == [*newest_first(), "-1"]
    run.take([model.Message("old", str(n), 1_500_000_000_000 + n, "u", f"new {n}") for n in range(2, 20)])
    assert sizes(store) == (INDEXED + RECENT + 1 + 18, 0)
    assert found(store, "word") == [*newest_first(), "-1"]


def test_repair_keeps_what_was_in_the_tail(
    store: LocalStore, manager: ChannelManager, ids: list[MessageId]
) -> None:
    manager.delete_message(ids[-1])
    assert store.repair().ok
    assert found(store, "word") == newest_first(without=(19,))
    manager.send_message("general", "afterwards")
    assert found(store, "afterwards") == ["afterwards"]
