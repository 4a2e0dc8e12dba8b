"""`LocalStore`: making, opening and closing a vault; what is no vault, and what it is then called."""

from __future__ import annotations

from quire.storage.database import PAGE_SIZE
from quire.store.local import LocalStore


def test_a_new_vault_has_the_page_size_that_was_measured(store: LocalStore) -> None:
    assert store.database.reader.pragma("page_size") == PAGE_SIZE
    assert store.database.reader.pragma("journal_mode") == "wal"
