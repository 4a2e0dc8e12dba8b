"""Giving free space back to the file system, a little at a time: no writer waits long, and a kill undoes one step.

Pages that are free already go first, which needs room for one step (a megabyte, in the write-ahead log); then the search
index is written anew without what it lost, and what that freed goes too. A full disk ends it with what was given back
so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quire.core.reports import CompactReport
from quire.storage import freeing
from quire.storage.database import fault

if TYPE_CHECKING:
    from quire.store.local import LocalStore, Progress


def compact(store: LocalStore, progress: Progress | None = None) -> CompactReport:
    """Raises: BusyError, FullError, StorageError; the vault is whole, and further steps can be taken later."""
    before = size_bytes(store)
    _give_back(store, progress)
    steps = 0
    store.ledger.run(freeing.begin_merge)
    while freeing.is_merge_due(store.database.reader):
        store.ledger.run(freeing.merge_index)
        fault("index_merged")
        steps += 1
        if progress:
            progress("tidying the search index", steps, 0)
    _give_back(store, progress)
    store.database.checkpoint()
    return CompactReport(before, size_bytes(store))


def size_bytes(store: LocalStore) -> int:
    """What the database takes on the disk, its write-ahead log too."""
    found = 0
    for suffix in ("", "-wal"):
        path = store.database.path.with_name(store.database.path.name + suffix)
        found += path.stat().st_size if path.exists() else 0
    return found


def _give_back(store: LocalStore, progress: Progress | None) -> None:
    total = left = freeing.free_pages(store.database.reader)
    while left:
        store.ledger.run(freeing.give_back)
        fault("pages_given_back")
        after = freeing.free_pages(store.database.reader)
        if after >= left:  # another process took some
            break
        left = after
        if progress:
            progress("giving back pages", total - left, total)
    store.database.checkpoint()
