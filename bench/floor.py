"""The floor: the same engine, cipher, pragmas and batches doing nothing but SQL on the very rows Quire has.

What Quire writes to `message`, `doc` and `search` is caught on its way and written again into a fresh file of
the same schema, each batch in one transaction, sorted for the trees. Reads are the bare statements that fetch
the same columns, as tuples. No operation is encoded, hashed, chained, signed, counted or made an object.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from bench.data import Wanted
from bench.measuring import FLOOR
from bench.ours import HITS, PAGE, Spot, query_of
from quire.core.crypto.secrets import DatabaseKey
from quire.core.operation import stored_operation
from quire.core.query import parse_query
from quire.storage import schema, search
from quire.storage import timeline as rows
from quire.storage.database import Database, Statement
from quire.storage.timeline import Row

PAGE_SQL = (
    f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.channel = ? AND (m.time, m.id) < (?, ?)"
    " ORDER BY m.time DESC, m.id DESC LIMIT ? OFFSET ?"
)
GET_SQL = f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.id = ?"
THREAD_SQL = f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.root = ? ORDER BY m.time, m.id LIMIT ?"
NEWEST = (1 << 62, b"")


class Caught:
    """Rows on their way into Quire's tables."""

    def __init__(self) -> None:
        self.posts: list[Row] = []
        self.packed: list[str] = []  # rows of the index

    @property
    def found(self) -> list[tuple[int, str, str]]:
        return list(map(search.unpacked, self.packed))

    def take(self) -> Caught:
        """What was caught since the last time."""
        taken = Caught()
        taken.posts, self.posts = self.posts, []
        taken.packed, self.packed = self.packed, []
        return taken


_insert_posts, _insertion = rows.insert_posts, search.insertion


@contextmanager
def catching() -> Iterator[Caught]:
    """Catch what Quire writes; it is written as ever. Costs it a list's `extend` a batch."""
    caught = Caught()

    def posts(db: apsw.Connection, rows: Iterable[Row]) -> None:
        kept = list(rows)
        caught.posts += kept
        _insert_posts(db, kept)

    def found(rows: Sequence[str]) -> Statement:
        caught.packed += rows
        return _insertion(rows)

    rows.insert_posts, search.insertion = posts, found
    try:
        yield caught
    finally:
        rows.insert_posts, search.insertion = _insert_posts, _insertion


def indexed(posts: list[Row]) -> list[tuple[int, str, str]]:
    """The index rows of posts: Quire puts those of single messages into its index later, many at once."""
    found = []
    for channel, at, _, spill, author, _, _, op in posts:
        post: Any = stored_operation(op)
        doc = (at >> rows.DOC_SHIFT) + spill
        tags = search.tags_of(post, post.body, channel, author, doc)
        found.append((doc, search.text_of(post, post.body), tags))
    return found


class Floor:
    """A bare file."""

    name = FLOOR

    def __init__(self, folder: Path) -> None:
        self.file = folder / "floor.db"
        self.key = DatabaseKey(os.urandom(32))
        self._database = Database(self.file, self.key)
        empty = self._database.connect(create=True)
        empty.execute("PRAGMA journal_mode=WAL")
        empty.close()
        with self._database.transaction() as db:
            schema.migrate(db)
        self.db = self._database.reader
        self.seconds = 0.0
        self._bulk = self._database.bulk()
        self._bulk.__enter__()

    def load(self, caught: Caught) -> None:
        """Write the rows of a batch, durably."""
        posts = sorted(caught.posts, key=lambda row: row[:3])
        docs = sorted(((row[1] >> rows.DOC_SHIFT) + row[3], row[0], row[3]) for row in posts)
        found = sorted(caught.found)
        start = time.perf_counter()
        self.write(posts, docs, found)
        self.seconds += time.perf_counter() - start

    def write(self, posts: list[Row], docs: list[Row], found: list[Any]) -> None:
        with self._database.transaction() as db:
            _insert_posts(db, posts)
            db.executemany("INSERT INTO doc(n, channel, spill) VALUES(?, ?, ?)", docs)
            db.executemany("INSERT INTO search(rowid, body, tags) VALUES(?, ?, ?)", found)

    def empty(self, table: str) -> None:
        """Take away what a fresh file has in a table."""
        with self._database.transaction() as db:
            db.execute(f"DELETE FROM {table}")

    def insert(self, table: str, some: Sequence[tuple[Any, ...]]) -> None:
        """Rows as they are, durably. Not timed."""
        with self._database.transaction() as db:
            db.executemany(f"INSERT INTO {table} VALUES({','.join('?' * len(some[0]))})", some)

    def finish(self) -> None:
        start = time.perf_counter()
        self._bulk.__exit__(None, None, None)
        self.seconds += time.perf_counter() - start

    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.file.parent.glob("floor.db*"))

    def close(self) -> None:
        self._database.close()

    # Reading

    def page(self, spot: Spot, *, newest: bool = False) -> Callable[[], object]:
        run, (at, id) = self.db.execute, NEWEST if newest else (spot.time, bytes(spot.id))
        return lambda: run(PAGE_SQL, (spot.channel_n, at, id, PAGE, 0)).fetchall()

    def at_offset(self, spot: Spot, offset: int) -> Callable[[], object]:
        run = self.db.execute
        return lambda: run(PAGE_SQL, (spot.channel_n, *NEWEST, PAGE, offset)).fetchall()

    def get(self, spot: Spot) -> Callable[[], object]:
        run, id = self.db.execute, (bytes(spot.id),)
        return lambda: run(GET_SQL, id).fetchone()

    def thread(self, root: Spot) -> Callable[[], object]:
        run, id = self.db.execute, bytes(root.id)
        return lambda: (run(GET_SQL, (id,)).fetchone(), run(THREAD_SQL, (id, PAGE)).fetchall())

    def search(self, wanted: Wanted, kind: str, spot: Spot, author: int) -> Callable[[], object]:
        channels = (
            [search.channel_tags(self.db, spot.channel_n, 0, 1 << 48)] if kind == "word in a channel" else []
        )
        authors = [[author]] if kind == "word from an author" else []
        match = search.expression(parse_query(query_of(wanted, kind)), channels, authors)
        return lambda: list(itertools.islice(search.find(self.db, match, 0, 1 << 48), HITS))
