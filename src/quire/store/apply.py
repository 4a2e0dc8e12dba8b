"""From operations to views, incrementally: the rules of core/timeline.py, kept in rows.

Every function here gives the same result in whatever order operations come: each view is a maximum by
(time, id), a count, or recomputed from the few operations that target one message. Posts of a batch are
applied first and together (an import brings tens of thousands), then the rest, one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import Any

import apsw
import msgspec

from quire.core import clock
from quire.core.limits import AHEAD_MS_MAX
from quire.core.operation import KINDS, SELF_ONLY, Delete, Edit, Erase, Operation, Post, stored_operation
from quire.core.rights import MAY_ALL
from quire.core.timeline import author_of, lacks_right, may_delete, may_edit, order_time
from quire.storage import backlog, log, search
from quire.storage import timeline as rows
from quire.storage.attachments import Use, put_uses
from quire.storage.database import Statement, fault
from quire.storage.docs import DocNumbers
from quire.storage.pending import waiting_exists
from quire.storage.timeline import MessageRow
from quire.store import owing
from quire.store.attachments import uses_of
from quire.store.changes import APPLY, Change
from quire.store.columns import Posts
from quire.store.erasing import erase_here, is_let_go, strike

AUTHORS_CACHED_MAX = 50_000
ROOTS_CACHED_MAX = 50_000
UNINDEXED_MAX = 50_000  # search rows collected before they are written
_order = itemgetter(0, 1)
_commit_time = attrgetter("time")


class Item(msgspec.Struct, gc=False):
    """One operation to apply."""

    id: bytes
    time: int  # of its commit
    signer: str
    operation: Operation | None  # None: its bytes are gone (store/erasing.py)
    salted: bytes
    rights: int = MAY_ALL  # of its commit
    hollow: int = 0  # flags of what is left of an erased message


class Applier:
    """Applies operations on the writing connection. Its caches hold committed rows; `forget` after a rollback."""

    def __init__(self, own_key: str) -> None:
        self.own_key = own_key
        self._authors: dict[str, int] = {}
        self._roots: dict[tuple[int, bytes], bytes] = {}  # channel and message
        self._docs = DocNumbers()
        self._fresh = search.Fresh()  # index rows of this transaction, not yet in order

    def forget(self) -> None:
        """Drop the caches."""
        self._fresh = search.Fresh()
        self._docs = DocNumbers()
        self._authors.clear()
        self._roots.clear()

    def others_wrote(self) -> None:
        """Another pen may have placed messages since."""
        self._docs = DocNumbers()

    def apply(
        self, db: apsw.Connection, channel: log.ChannelRow, items: Sequence[Item], now_ms: int, time: int = 0,
        placed: Sequence[bytes] = (),
    ) -> None:  # fmt: skip
        """Apply new operations of one channel: their commits were not here before.

        time      the newest hybrid time among their commits, to move the channel's clock to
        placed    posts that have their place since, by `place`
        """
        ready: Sequence[Item] = items
        if items and clock.is_ahead(max(map(_commit_time, items)), now_ms):
            ready = self._hold(db, channel, items, now_ms)
        while ready or placed:
            placed = [*placed, *self._apply_ready(db, channel, ready, time, now_ms)] if ready else placed
            freed = backlog.take_waiting(db, channel.n, placed) if placed and waiting_exists(db) else []
            ready = [waited(id, at, signer, op, may) for id, at, signer, op, may in freed]
            placed = ()

    def _hold(
        self, db: apsw.Connection, channel: log.ChannelRow, items: Sequence[Item], now_ms: int
    ) -> list[Item]:
        """Keep what is from the future until its time; the rest."""
        held = [item for item in items if clock.is_ahead(item.time, now_ms)]
        backlog.insert_waiting(
            db,
            [
                (i.id, channel.n, None, (i.time >> 16) - AHEAD_MS_MAX, i.time, i.signer, i.rights, i.salted)
                for i in held
            ],
        )
        return [item for item in items if not clock.is_ahead(item.time, now_ms)]

    def release_due(self, db: apsw.Connection, now_ms: int) -> None:
        """Apply what was held for a time that has come."""
        by_channel: dict[int, list[Item]] = {}
        for channel, id, time, signer, salted, rights in backlog.take_due(db, now_ms):
            by_channel.setdefault(channel, []).append(waited(id, time, signer, salted, rights))
        for n, items in by_channel.items():
            self.apply(db, log.channel_by_n(db, n), items, now_ms, max(item.time for item in items))

    def _apply_ready(
        self, db: apsw.Connection, channel: log.ChannelRow, ready: Sequence[Item], time: int, now_ms: int
    ) -> list[bytes]:
        """Apply what need not be held; the posts that have their place now, for what waits for them."""
        erases = [item for item in ready if type(item.operation) is Erase]
        if erases:  # first, so that what they erase of the rest never gets its bytes in
            for item in erases:
                self._apply_other(db, channel, item)
            ready = [item for item in ready if type(item.operation) is not Erase]
        struck = {item.id for item in ready} if erases else set()
        ready = strike(db, channel, ready)
        posts = [item for item in ready if type(item.operation) is Post]
        placed: list[bytes] = []
        if posts:
            placed = self._apply_posts(db, channel, posts, time)
        elif time:
            log.touch_channel(db, channel.n, clock=time)
        if len(posts) < len(ready):
            for item in ready:
                if type(item.operation) is not Post:
                    self._apply_other(db, channel, item)
        if erases:
            erase_here(db, self, channel, erases, struck, now_ms)
        return placed

    def author(self, db: apsw.Connection, key: str) -> int:
        """The number of an author key, new or known."""
        n = self._authors.get(key)
        if n is None:
            n = rows.authors_by_key(db, [key]).get(key)
            if n is None:
                name = key.partition(":")[2]
                n = rows.insert_author(db, key, name[:8] if key.startswith("quire:") else name)
            if len(self._authors) >= AUTHORS_CACHED_MAX:
                self._authors.clear()
            self._authors[key] = n
        return n

    # Posts

    def _apply_posts(
        self, db: apsw.Connection, channel: log.ChannelRow, items: Sequence[Item], clock_time: int
    ) -> list[bytes]:
        """Give posts their place, or let them wait for their thread's root; the ids of those placed."""
        own_key, own_flag, channel_n = self.own_key, rows.OURS, channel.n
        known_authors = self._authors
        uses: list[Use] = []
        placed: list[rows.Row] = []  # (time, id, author, flags, root, item)
        replies: list[tuple[bytes, int, int, bytes]] = []
        begun: list[bytes] = []  # roots of threads that have an erased reply
        titled: list[tuple[bytes, int, int]] = []
        waiting: list[rows.Row] = []
        in_batch: dict[bytes, bytes] = {}
        threaded = any([item.operation.root is not None for item in items])  # type: ignore[union-attr]
        for item in items:
            post: Post = item.operation  # type: ignore[assignment]
            origin = post.origin
            if origin is None:
                time, by, flags = item.time, item.signer, post.notice
                if by == own_key:
                    flags |= own_flag
            else:
                time, by, flags = (
                    origin.time_ms << 16,
                    f"{origin.source}:{origin.author}",
                    post.notice | rows.IMPORTED,
                )
            flags |= item.hollow
            root = post.root
            if root is not None:
                root = (
                    in_batch.get(root)
                    or self._roots.get((channel_n, root))
                    or self._find_root(db, channel_n, root)
                )
                if root is None and not is_let_go(db, post.root or b""):
                    waiting.append(
                        (
                            item.id,
                            channel_n,
                            post.root,
                            None,
                            item.time,
                            item.signer,
                            item.rights,
                            b"" if item.hollow else item.salted,
                        )
                    )
                    continue
            author = known_authors.get(by) or self.author(db, by)
            if root is not None and item.hollow & rows.ERASED:
                begun.append(root)
            elif root is not None:
                replies.append((root, author, time, item.id))
            if threaded:
                in_batch[item.id] = root or item.id
            if post.title:
                titled.append((item.id, channel_n, time))
                flags |= rows.THREADED
            if post.mentions and own_key in post.mentions:
                flags |= rows.MENTIONS_US
            if post.reply_to:
                flags |= rows.REPLY
            if post.attachments:
                uses += uses_of(item.id, channel_n, post)
            placed.append((time, item.id, author, flags, root, item))
        fault("before_posts")
        if placed:
            placed.sort(key=_order)
            times, ids, authors, all_flags, roots, of = (list(column) for column in zip(*placed, strict=True))
            posts: list[Any] = [item.operation for item in of]
            entries = [search.entry_of(post, post.body) for post in posts]
            salted = [item.salted for item in of]
            self._insert(db, channel_n, times, ids, authors, all_flags, roots, salted, entries)
        if uses:
            put_uses(db, uses)
        fault("after_posts")
        if waiting:
            backlog.insert_waiting(db, waiting)
        threads = 0
        if titled or replies or begun:
            threads = self._count_threads(db, channel_n, titled, replies, begun)
        last = placed[-1][0] if placed else 0
        standing = sum([not row[3] & rows.ERASED for row in placed])
        log.touch_channel(db, channel_n, clock=clock_time, messages=standing, threads=threads, last=last)
        return [row[1] for row in placed]

    def place(
        self, db: apsw.Connection, channel: log.ChannelRow, ids: Sequence[bytes], posts: Posts, time: int = 0
    ) -> None:
        """Apply new posts, all at once; they are in order of time, and each has its author.

        What may wait for them is for `apply`: it has to be told.

        time    as in `apply`
        """
        fault("before_posts")
        known = self._authors
        authors = [known.get(by) or self.author(db, by) for by in posts.by]
        self._insert(
            db, channel.n, posts.times, ids, authors, posts.flags, repeat(None), posts.salted, posts.entries
        )
        fault("after_posts")
        log.touch_channel(db, channel.n, clock=time, messages=len(ids), last=posts.times[-1])

    def _insert(
        self, db: apsw.Connection, channel: int, times: list[int], ids: Sequence[bytes], authors: Sequence[int],
        flags: Sequence[int], roots: Iterable[bytes | None], salted: Iterable[bytes], entries: Sequence[str],
    ) -> None:  # fmt: skip
        """Rows for posts in order of time, column by column."""
        docs, spills = self._docs.take(db, channel, times)
        rows.insert_posts(
            db, zip(repeat(channel), times, ids, spills, authors, flags, roots, salted, strict=False)
        )
        if any(flag & rows.ERASED for flag in set(flags)):  # nobody is to find them
            standing = [at for at, flag in enumerate(flags) if not flag & rows.ERASED]
            docs, ids = [docs[at] for at in standing], [ids[at] for at in standing]
            authors, entries = [authors[at] for at in standing], [entries[at] for at in standing]
        if docs:
            self._fresh.add(docs, ids, channel, authors, entries)
        if len(self._fresh.rows) > UNINDEXED_MAX:
            self.flush(db)

    def flush(self, db: apsw.Connection) -> None:
        """Make what was placed searchable."""
        for statement in self.last(db):
            db.execute(*statement)

    def last(self, db: apsw.Connection) -> list[Statement]:
        """What is left to do to make it so, for the end of the transaction."""
        fresh, self._fresh = self._fresh, search.Fresh()
        statement = search.add(db, fresh) if fresh.rows else None
        return [statement] if statement else []

    def _find_root(self, db: apsw.Connection, channel: int, target: bytes) -> bytes | None:
        root = rows.root_of(db, channel, target)
        if root is not None:
            if len(self._roots) >= ROOTS_CACHED_MAX:
                self._roots.clear()
            self._roots[channel, target] = root
        return root

    def _count_threads(
        self,
        db: apsw.Connection,
        channel: int,
        titled: list[tuple[bytes, int, int]],
        replies: list[tuple[bytes, int, int, bytes]],
        uncounted: Sequence[bytes] = (),
    ) -> int:
        """Thread rows and counters for a batch; how many threads are new.

        uncounted    roots of threads that have replies which do not count
        """
        rows.insert_threads(db, titled)
        new = len(titled)
        if not replies and not uncounted:
            return new
        counts: Counter[bytes] = Counter()
        authors: Counter[tuple[bytes, int]] = Counter()
        newest: dict[bytes, tuple[int, bytes]] = {}
        for root, author, time, id in replies:
            counts[root] += 1
            authors[root, author] += 1
            newest[root] = max(newest.get(root, (-1, b"")), (time, id))
        begun: list[tuple[bytes, int, int]] = []
        for root in dict.fromkeys([*counts, *uncounted]):
            if not rows.thread_exists(db, root):
                row = rows.get_row(db, root)
                assert row is not None
                begun.append((root, channel, row.time))
        rows.insert_threads(db, begun)
        rows.add_flag(db, [root for root, _, _ in begun], rows.THREADED)
        participants: Counter[bytes] = Counter()
        for (root, author), count in authors.items():
            participants[root] += rows.count_author(db, root, author, count)
        rows.count_replies(db, ((r, count, participants[r], *newest[r]) for r, count in counts.items()))
        return new + len(begun)

    # Everything else

    def _apply_other(self, db: apsw.Connection, channel: log.ChannelRow, item: Item) -> None:
        operation = item.operation
        assert operation is not None
        target: bytes | None = getattr(operation, "target", None)
        row: MessageRow | None = None
        if target is not None:
            row = rows.get_row(db, target)
            if (
                row is None
                or row.channel != channel.n
                or (isinstance(operation, Edit | Delete) and owing.cannot_change(db, row))
            ):
                waiting = (item.id, channel.n, target, None, item.time, item.signer, item.rights, item.salted)
                backlog.insert_waiting(db, [waiting])
                return
        by = author_of(operation, item.signer)
        author = self.author(db, by)
        time = order_time(operation, item.time)
        void = self._is_void(db, channel, item, row, by)
        previous = operation.previous if isinstance(operation, Edit) else None
        kind = KINDS[type(operation)]
        rows.insert_operations(
            db, [(item.id, channel.n, kind, target, time, author, int(void), previous, item.salted)]
        )
        fault("after_operation")
        if not void:
            APPLY[type(operation)](self, db, Change(channel.n, item, operation, row, author, time))

    def _is_void(
        self, db: apsw.Connection, channel: log.ChannelRow, item: Item, row: MessageRow | None, by: str
    ) -> bool:
        operation = item.operation
        assert operation is not None
        if isinstance(operation, SELF_ONLY):
            return channel.kind != "self"
        if item.rights != MAY_ALL and lacks_right(operation, item.rights):
            return True
        if isinstance(operation, Edit | Delete):
            assert row is not None
            brought = log.log_by_prefix(db, row.id[:10])
            assert brought is not None
            if isinstance(operation, Delete):
                return not may_delete(brought.signer, item.signer, item.rights)
            return not may_edit(rows.author(db, row.author)[0], brought.signer, by, item.signer)
        return False


def waited(id: bytes, time: int, signer: str, salted: bytes, rights: int) -> Item:
    """An operation that waited, or what is left of one."""
    return Item(id, time, signer, stored_operation(salted) if salted else None, salted, rights)
