"""What every connection is set to, where nothing else would show it."""

from __future__ import annotations

import apsw

from quire.channels.manager import ChannelManager
from quire.storage.database import CHECKPOINT_PAGES, READ_CACHE_KIB, WRITE_CACHE_KIB
from quire.store.local import LocalStore


def test_another_place_plans_no_statement_anew(store: LocalStore, manager: ChannelManager) -> None:
    """SQLite asks the authorizer while it plans, and at no other time."""
    channel = manager.create_channel("general").id
    sent = [store.store_message(channel, f"word {number}") for number in range(20)]
    planned: list[int] = []

    def asked(action: int, *_: object) -> int:
        planned.append(action)
        return apsw.SQLITE_OK

    store.database.reader.authorizer = asked
    store.get_channel_messages_paginated(channel, limit=5, before=sent[18].cursor)
    assert planned  # the first time it must
    planned.clear()
    for number in range(6, 18):
        page = store.get_channel_messages_paginated(channel, limit=number // 2, before=sent[number].cursor)
        assert page.messages[0] == sent[number - 1]
    assert not planned


def test_every_setting_is_on(store: LocalStore) -> None:
    """A script of several PRAGMAs stops at the first that gives a row: what stood behind it was once not set."""
    for connection in (store.database.reader, store.database.writer):
        names = ("synchronous", "secure_delete", "temp_store", "trusted_schema")
        assert [connection.pragma(name) for name in names] == [2, 1, 2, 0]
        assert connection.pragma("cache_size") in (-READ_CACHE_KIB, -WRITE_CACHE_KIB)
    assert store.database.writer.pragma("wal_autocheckpoint") == CHECKPOINT_PAGES
