"""Where a vault's space goes: by kind, by channel and by age of what was said.

What each tree of the database takes is counted page by page (`dbstat`), what each channel has in them from the rows; a
channel's part of a tree is by what its rows hold, so the parts add up to the whole. Exact at any size, in one pass.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.ids import ChannelId
from quire.core.operation import KINDS, Edit, React, Unreact
from quire.core.reports import AgeSpace, ChannelSpace, PolicySpace, SpaceReport, Stats
from quire.core.sealed_file import sealed_size
from quire.storage import attachments, cold, log, pending, schema
from quire.store import erase_entries, owing, quota
from quire.store import retention as deciding
from quire.store.compacting import size_bytes
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.local import LocalStore

TEXT, VERSIONS, REACTIONS, MARKS = "text", "versions", "reactions", "pins, deletions, notes"
SEARCH, HEADS, KEYS, FILES, REST, FREE = (
    "search index", "log heads", "keys and people", "attachments", "the rest", "free pages",
)  # fmt: skip
KIND_ORDER = (TEXT, VERSIONS, REACTIONS, MARKS, SEARCH, HEADS, KEYS, FILES, REST, FREE)
TREES = {
    "message": TEXT, "thread": TEXT, "attachment": TEXT, "search": SEARCH, "doc": SEARCH, "tail": SEARCH,
    "commits": HEADS, "log": HEADS, "gap": HEADS, "pruned": HEADS, "destroyed": HEADS, "aboard": HEADS, "relay": HEADS,
    "segment": KEYS, "owed": HEADS, "wished": HEADS,
    "control": KEYS, "epoch": KEYS, "kept": KEYS, "joining": KEYS, "refusal": KEYS, "parked": KEYS, "policy": KEYS,
    "reaction": REACTIONS,
}  # fmt: skip
OPERATION = {KINDS[Edit]: VERSIONS, KINDS[React]: REACTIONS, KINDS[Unreact]: REACTIONS}
AGES_DAYS = (30, 90, 365, 2 * 365, 5 * 365)
DAY_MS = 86_400_000
HEAD_BYTES = 64  # of a commit's row besides its head: the signature


def space(store: LocalStore) -> SpaceReport:
    """Look at all of a vault, at one moment."""
    now = now_ms()
    with store.database.snapshot() as db:
        trees = _trees(db)
        shares = _shares(db)
        kinds = _kinds(db, trees, shares)
        ages, texts = _ages(db, now)
        kinds[FILES], files = _files(db)
        channels = _channels(db, kinds, {**shares, TEXT: texts, SEARCH: texts}, files)
        text_bytes = sum(texts.values())
        held = kinds[TEXT] + kinds[SEARCH]
        used = quota.view(db)
        in_force = _in_force(db, now)
    return SpaceReport(
        file_bytes=size_bytes(store),
        used_bytes=used.used_bytes,
        kinds={name: kinds.get(name, 0) for name in KIND_ORDER},
        channels=channels,
        ages=tuple(
            AgeSpace(days, count, _part(held, size, text_bytes)) for days, (count, size) in ages.items()
        ),
        in_force=in_force,
        soft=used.soft,
        hard=used.hard,
        **_archived(store),
    )


def _archived(store: LocalStore) -> dict[str, int]:
    """The archive's files, and what waits for those that are not at hand."""
    blocks, db = store.database.blocks, store.database.reader
    rows = [row for row in cold.segments(db) if row.state == cold.WHOLE]
    return {
        "archived_here": sum(row.size for row in rows if not os.path.isabs(row.place)),
        "archived_elsewhere": sum(row.size for row in rows if os.path.isabs(row.place)),
        "archived_away": sum(row.size for row in rows if not blocks.is_reachable(row)),
        "owed": sum(map(len, owing.owed(db).values())) + erase_entries.wished(db),
    }


def _trees(db: apsw.Connection) -> dict[str, int]:
    """Bytes of each table and index."""
    rows: Any = db.execute("SELECT name, pgsize FROM dbstat('main', 1)")
    return dict(rows)


def _owner(db: apsw.Connection) -> dict[str, str]:
    """Tree -> the table that it is, or is an index of."""
    rows: Any = db.execute("SELECT name, tbl_name FROM sqlite_schema WHERE rootpage > 0")
    return dict(rows)


def _kinds(
    db: apsw.Connection, trees: dict[str, int], shares: dict[str, dict[int, int]]
) -> defaultdict[str, int]:
    kinds: defaultdict[str, int] = defaultdict(int)
    tables, operations = _owner(db), 0
    for tree, size in trees.items():
        table = tables.get(tree, tree)
        if table == "operation":
            operations += size
        else:
            kinds[TREES.get(table.partition("_")[0], REST)] += size
    whole = sum(sum(shares[kind].values()) for kind in (VERSIONS, REACTIONS, MARKS))
    for kind in (VERSIONS, REACTIONS, MARKS):
        kinds[kind] += _part(operations, sum(shares[kind].values()), whole)
    page = int(db.pragma("page_size"))
    kinds[FREE] = int(db.pragma("freelist_count")) * page
    whole = int(db.pragma("page_count")) * page  # with the pages that only say where others are
    kinds[REST] += whole - sum(trees.values()) - kinds[FREE]
    return kinds


def _shares(db: apsw.Connection) -> dict[str, dict[int, int]]:
    """Kind -> channel -> bytes that its rows hold."""
    shares: dict[str, dict[int, int]] = {
        kind: defaultdict(int) for kind in (VERSIONS, REACTIONS, MARKS, HEADS, KEYS)
    }
    # Counted here: grouping in SQL would sort the operations themselves, in memory.
    rows: Any = db.execute("SELECT channel, kind, length(op) FROM operation")
    for channel, kind, size in rows:
        shares[OPERATION.get(kind, MARKS)][channel] += size
    rows = db.execute("SELECT channel, length(op) FROM control")
    for channel, size in rows:
        shares[KEYS][channel] += size
    rows = db.execute(
        "SELECT l.channel, sum(c.size) FROM (SELECT log, sum(length(head) + ?) AS size FROM commits GROUP BY log) c"
        " JOIN log l ON l.n = c.log GROUP BY 1",
        (HEAD_BYTES,),
    )
    shares[HEADS].update(rows)
    return shares


def _ages(db: apsw.Connection, now: int) -> tuple[dict[int | None, tuple[int, int]], dict[int, int]]:
    """Age in days -> messages younger than that, and not than the one before, and their bytes; channel -> bytes."""
    since = [(now - days * DAY_MS) << 16 for days in AGES_DAYS]
    bounds = list(zip([*since, -(1 << 62)], [1 << 62, *since], strict=True))
    sums = ", ".join(
        f"count(*) FILTER (WHERE {within}), coalesce(sum(length(op)) FILTER (WHERE {within}), 0)"
        for within in (f"time >= {low} AND time < {high}" for low, high in bounds)
    )
    rows: Any = db.execute(
        f"SELECT channel, {sums} FROM message GROUP BY channel"
    )  # as the rows lie: unsorted
    ages: dict[int | None, tuple[int, int]] = dict.fromkeys((*AGES_DAYS, None), (0, 0))
    texts: defaultdict[int, int] = defaultdict(int)
    for channel, *found in rows:
        for days, count, size in zip(ages, found[::2], found[1::2], strict=True):
            ages[days] = (ages[days][0] + count, ages[days][1] + size)
            texts[channel] += size
    return ages, texts


def _files(db: apsw.Connection) -> tuple[int, dict[int, int]]:
    """Bytes of sealed files that are here, in all and by channel; one in two channels counts in both."""
    rows: Any = db.execute(
        "SELECT a.channel, f.id, f.bytes FROM file f JOIN attachment a ON a.file = f.id WHERE f.state = ? GROUP BY 1, 2",
        (attachments.HERE,),
    )
    whole: dict[bytes, int] = {}
    channels: defaultdict[int, int] = defaultdict(int)
    for channel, id, size in rows:
        whole[id] = sealed_size(size)
        channels[channel] += whole[id]
    return sum(whole.values()), channels


def _channels(
    db: apsw.Connection, kinds: dict[str, int], shares: dict[str, dict[int, int]], files: dict[int, int]
) -> tuple[ChannelSpace, ...]:
    wholes = {kind: sum(found.values()) for kind, found in shares.items()}
    channels = []
    for row in log.all_channels(db):
        own = {kind: _part(kinds[kind], found.get(row.n, 0), wholes[kind]) for kind, found in shares.items()}
        own[FILES] = files.get(row.n, 0)
        own = {kind: own[kind] for kind in KIND_ORDER if own.get(kind)}
        channels.append(ChannelSpace(ChannelId(row.id), row.name, row.messages, sum(own.values()), own))
    return tuple(sorted(channels, key=lambda one: -one.bytes))


def _in_force(db: apsw.Connection, now: int) -> tuple[PolicySpace, ...]:
    """What the policies that are set would free now."""
    found = []
    for n in pending.bounded_channels(db):
        row = log.channel_by_n(db, n)
        messages, size_bytes = deciding.weigh(db, row, deciding.bounds(db, row, now))
        found.append(PolicySpace(ChannelId(row.id), row.name, messages, size_bytes))
    return tuple(found)


def _part(whole: int, share: int, of: int) -> int:
    return whole * share // of if of else 0


def stats(store: LocalStore) -> Stats:
    """What the vault holds and takes, in numbers."""
    with store.database.snapshot() as db:
        count: Any = db.execute(
            "SELECT (SELECT count(*) FROM channel WHERE kind <> 'self'), (SELECT coalesce(sum(messages), 0) FROM channel),"
            " (SELECT count(*) FROM thread), (SELECT coalesce(sum(people), 0) FROM reaction),"
            " (SELECT count(*) FROM author), (SELECT count(*) FROM commits),"
            " (SELECT count(*) FROM doc) + (SELECT count(*) FROM operation), (SELECT count(*) FROM waiting),"
            " (SELECT min((SELECT min(time) FROM message WHERE channel = channel.n)) >> 16 FROM channel),"
            " (SELECT max(last_time) >> 16 FROM channel WHERE last_time > 0)"
        ).fetchone()
        wal = store.database.path.with_name(store.database.path.name + "-wal")
        wal_bytes = wal.stat().st_size if wal.exists() else 0
        file_bytes = store.database.path.stat().st_size
        fields: Any = (*count, file_bytes, wal_bytes, schema.version(db), *attachments.totals(db))
        return Stats(*fields)
