"""No statement leaves anything behind in its connection: each later one would pay for it, and so would memory."""

from __future__ import annotations

import gc

import apsw

from quire.channels.manager import ChannelManager
from quire.exchange import model
from quire.store.importing import ImportRun
from quire.store.local import LocalStore
from quire.store.tally import Tally


def cursors() -> int:
    return sum(isinstance(one, apsw.Cursor) for one in gc.get_objects())


def test_no_cursor_outlives_its_statement(store: LocalStore) -> None:
    chat = ChannelManager(store)
    run = ImportRun(store, "test", Tally(True))
    gc.collect()
    before = cursors()
    for batch in range(3):  # of one moment: index rows are looked for among those that are taken
        messages = [
            model.Message("general", f"{batch}.{n}", 1_600_000_000_000, "ann", f"word {n}") for n in range(50)
        ]
        run.take(list[model.Record](messages))
    [channel] = chat.list_channels()
    for _ in range(3):
        root = chat.send_message(channel.id, "word")
        chat.send_message(channel.id, "reply", thread=root.id)
        chat.search("word", limit=2)
        chat.get_stored_messages_paginated(channel.id, limit=5)
    assert store.verify().problems == ()
    gc.collect()
    assert cursors() == before
