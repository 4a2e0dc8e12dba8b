"""Words and pages given back a few at a time, so that no writer waits long.

`search.remove` takes a message's words out of the index where they stand, which for hundreds of messages at once costs a
tenth of a second and more. `forget_words` only notes there that they are gone, and `merge_index` writes the index anew
without them, in steps; until its last one `is_merge_due`. Free pages go back to the file system by `give_back`, from
the end of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from quire.storage.meta import get_meta, set_meta

MERGE_PAGES = 24  # of the index, written in one step: about 5 ms, where it is large up to 25
PARTS_MAX = 6  # of the index that are added before they are merged
CRISIS = 1_000  # parts at which SQLite would merge in the midst of a step
GIVEN_PAGES = 96  # of the file, moved in one step: as long
KEPT_PAGES = 256  # free pages that are left where they are: the next messages take them

MERGE = "index_merge"  # meta: BEGIN, or CONTINUE
BEGIN, CONTINUE = 1, 2


def forget_words(db: apsw.Connection, shown: Sequence[tuple[int, str, str]]) -> None:
    """Forget many messages' (row, text, tags), exactly as they were put in; `merge_index` destroys what is left of them."""
    if not shown:
        return
    found: Any = db.execute("SELECT n FROM tail").fetchall()
    tail = {n for (n,) in found}
    db.executemany("DELETE FROM tail WHERE n = ?", [(n,) for n, _, _ in shown if n in tail])
    indexed = sorted(one for one in shown if one[0] not in tail)
    if not indexed:
        return
    for option, value in (("secure-delete", 0), ("automerge", 0), ("crisismerge", CRISIS)):
        db.execute("INSERT INTO search(search, rank) VALUES(?, ?)", (option, value))
    db.executemany("INSERT INTO search(search, rowid, body, tags) VALUES('delete', ?, ?, ?)", indexed)
    db.execute("INSERT INTO search(search) VALUES('flush')")
    for option, value in (("secure-delete", 1), ("automerge", 4), ("crisismerge", 16)):
        db.execute("INSERT INTO search(search, rank) VALUES(?, ?)", (option, value))
    set_meta(db, MERGE, BEGIN)


def relieve_index(db: apsw.Connection) -> bool:
    """One step of merging the small parts that `forget_words` adds to the index; whether there is more to do.

    Called every `PARTS_MAX` times: with 16 parts the next writer would merge them all at once, which takes a tenth of a second.
    """
    before = db.total_changes()
    db.execute("INSERT INTO search(search, rank) VALUES('merge', ?)", (MERGE_PAGES,))
    return db.total_changes() - before >= 2  # as SQLite documents it


def begin_merge(db: apsw.Connection) -> None:
    """Have the index written anew, though nothing in it was forgotten so."""
    set_meta(db, MERGE, BEGIN)


def is_merge_due(db: apsw.Connection) -> bool:
    """Is anything left in the index of words that were forgotten?"""
    return get_meta(db, MERGE) is not None


def merge_index(db: apsw.Connection) -> None:
    """One step of writing the index anew; `is_merge_due` says whether it was the last."""
    begins = get_meta(db, MERGE) == BEGIN
    before = db.total_changes()
    db.execute(
        "INSERT INTO search(search, rank) VALUES('merge', ?)", (-MERGE_PAGES if begins else MERGE_PAGES,)
    )
    if begins:
        set_meta(db, MERGE, CONTINUE)
    elif db.total_changes() - before < 2:  # as SQLite documents it: nothing was left to merge
        db.execute("DELETE FROM meta WHERE key = ?", (MERGE,))


def free_pages(db: apsw.Connection) -> int:
    """Pages of the file that hold nothing."""
    found: int = db.pragma("freelist_count")
    return found


def give_back(db: apsw.Connection) -> None:
    """Take free pages off the end of the file."""
    for _ in db.execute(f"PRAGMA incremental_vacuum({GIVEN_PAGES})"):
        pass
