"""Searches give the newest first, and what is written after one is seen."""

from __future__ import annotations

from quire.channels.manager import ChannelManager
from quire.store.local import LocalStore


def test_a_search_with_more_hits_than_asked_for_does_not_stop_the_reader_in_time(
    store: LocalStore, manager: ChannelManager
) -> None:
    channel = manager.create_channel("general").id
    for number in range(30):
        manager.send_message(channel, f"word number {number}")
    hits = store.search("word", limit=5)
    assert [hit.message.body for hit in hits.hits] == [
        f"word number {number}" for number in range(29, 24, -1)
    ]
    assert hits.older is not None
    assert store.database.reader.txn_state("main") == 0
    assert manager.create_channel("later").name == "later"
    rest = store.search("word", limit=30, before=hits.older)
    assert [hit.message.body for hit in rest.hits] == [
        f"word number {number}" for number in range(24, -1, -1)
    ]
    assert rest.older is None
