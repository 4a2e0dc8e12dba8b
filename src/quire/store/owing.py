"""What an archive that is out of reach keeps from being done: erasures, edits, deletions, and rights that came late.

To take a message out of the views its text is needed, and those of its thread. Where one of them is archived and its file is
not at hand, what is to happen is noted, or waits as for a target that has not come, and `settle` does it when the
file is there again: at every opening, with `quire archive --check` and `--at`, before `verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import apsw

from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.backlog import AWAY, channels_parked
from quire.storage.cold import any_segment, away
from quire.storage.database import guarded
from quire.storage.pending import any_wished

if TYPE_CHECKING:
    from quire.store.local import LocalStore

_THREAD = (
    f"SELECT max({away('op')}) FROM (SELECT op FROM message WHERE id = ?1 UNION ALL SELECT op FROM message WHERE root = ?1"
    " UNION ALL SELECT o.op FROM operation o WHERE o.target = ?1 UNION ALL SELECT o.op FROM message m"
    " JOIN operation o ON o.target = m.id WHERE m.root = ?1)"
)


def out_of_reach(db: apsw.Connection, ids: Iterable[bytes]) -> set[bytes]:
    """Those of these operations that stand in a thread of which something cannot be read now."""
    if not any_segment(db):
        return set()
    roots: dict[bytes, bool] = {}
    found: set[bytes] = set()
    for id in ids:
        root = _root(db, id)
        if root is None:
            continue
        if root not in roots:
            row: Any = db.execute(_THREAD, (root,)).fetchone()
            roots[root] = bool(row[0])
        if roots[root]:
            found.add(id)
    return found


def _root(db: apsw.Connection, id: bytes) -> bytes | None:
    """The root of the thread in which an operation has a part."""
    sql = (
        "SELECT coalesce(root, id) FROM message WHERE id = ?1 UNION ALL SELECT coalesce(m.root, m.id)"
        " FROM operation o JOIN message m ON m.id = o.target WHERE o.id = ?1"
    )
    row: Any = db.execute(sql, (id,)).fetchone()
    return bytes(row[0]) if row else None


def cannot_change(db: apsw.Connection, row: rows.MessageRow) -> bool:
    """Can the text that a message shows not be read now?"""
    sql = f"SELECT {away('?1')} OR coalesce((SELECT {away('op')} FROM operation WHERE id = ?2), 0)"
    found: Any = db.execute(sql, (row.op, row.edit)).fetchone()
    return bool(found[0])


def owe(db: apsw.Connection, channel: int, ids: Iterable[bytes]) -> None:
    """Note that erasures of these are to be carried out; or of a channel's id, that its commits' rights are to be looked at."""
    db.executemany("INSERT OR IGNORE INTO owed(id, channel) VALUES(?, ?)", ((id, channel) for id in ids))


def owed(db: apsw.Connection) -> dict[int, list[bytes]]:
    """Channel -> what is owed in it."""
    found: dict[int, list[bytes]] = {}
    noted: Any = db.execute("SELECT channel, id FROM owed ORDER BY channel, id")
    for channel, id in noted:
        found.setdefault(channel, []).append(id)
    return found


def owed_among(db: apsw.Connection, ids: Iterable[bytes]) -> set[bytes]:
    """Those of these that are erased, and could not be destroyed yet."""
    if db.execute("SELECT 1 FROM owed LIMIT 1").fetchone() is None:
        return set()
    found: Any = db.execute(
        "SELECT id FROM owed WHERE id IN carray(?)", (apsw.carray(tuple(ids)),)
    ).fetchall()
    return {id for (id,) in found}


@guarded
def settle(store: LocalStore) -> None:
    """Do what can be done now of what is owed."""
    from quire.store.wallclock import now_ms

    db = store.database.reader
    if store.database.read_only:
        return
    if channels_parked(db, AWAY):
        from quire.store.ingest import retry_away

        retry_away(store)
    if any_wished(db) and store.ledger.is_certified:
        from quire.store.erase_entries import finish

        finish(store)
    if not any_segment(db):
        return
    waits: Any = db.execute(
        "SELECT DISTINCT w.channel FROM waiting w JOIN message m ON m.id = w.target WHERE w.due IS NULL"
    ).fetchall()
    for n in sorted({*owed(db), *(channel for (channel,) in waits)}):
        store.ledger.run(lambda db, n=n: _settle(db, store, n, now_ms()))  # type: ignore[misc]


def _settle(db: apsw.Connection, store: LocalStore, n: int, now_ms: int) -> None:
    from quire.store.erasing import destroy_erased
    from quire.store.people import put_back, review_content
    from quire.store.withdraw import take_waiting

    applier, channel = store.ledger.applier, log.channel_by_n(db, n)
    noted = owed(db).get(n, [])
    if channel.id in noted:
        _pay(db, [channel.id])
        review_content(db, applier, channel, store.ledger.people.graph(db, channel), now_ms)
    ids = [id for id in noted if id != channel.id]
    still = out_of_reach(db, ids)
    ready = [id for id in ids if id not in still]
    if ready:
        _pay(db, ready)
        destroy_erased(db, applier, channel, ready, now_ms)
    found_targets: Any = db.execute(
        "SELECT DISTINCT m.id FROM waiting w JOIN message m ON m.id = w.target WHERE w.due IS NULL AND w.channel = ?",
        (n,),
    ).fetchall()
    targets = [id for (id,) in found_targets]
    still = out_of_reach(db, targets)
    items = take_waiting(db, channel, [id for id in targets if id not in still])
    if items:
        put_back(db, applier, channel, items, now_ms)


def _pay(db: apsw.Connection, ids: Sequence[bytes]) -> None:
    db.executemany("DELETE FROM owed WHERE id = ?", ((id,) for id in ids))
