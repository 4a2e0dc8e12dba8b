"""From rows to what a reader sees: messages, pages, threads, versions, hits.

A page is one range of one tree. What most messages do not have (reactions, threads, edits) is fetched only
for those whose flags say so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from quire.core.encoding import Codec
from quire.core.ids import ChannelId, MessageId
from quire.core.limits import PAGE_MAX, TIME_MS_MAX
from quire.core.operation import (
    ACTION,
    BROADCAST,
    KINDS,
    NOTICES,
    SALT_SIZE,
    Delete,
    Edit,
    Erase,
    Post,
    encode_operation,
    stored_operation,
)
from quire.core.views import (
    Archived,
    Author,
    Deletion,
    Hit,
    Hits,
    Message,
    Page,
    Reaction,
    Thread,
    Version,
)
from quire.errors import CorruptError, NotFoundError, StorageError, UsageError
from quire.storage import cold, log, pending
from quire.storage import timeline as rows
from quire.storage.database import Database, guarded, inconsistent

if TYPE_CHECKING:
    from quire.core.query import Query
    from quire.store.veiling import Veil

AUTHORS_CACHED_MAX = 20_000
PEOPLE_SHOWN_MAX = 20  # names with a reaction
PREVIEW_CHARS = 120
VEILED_AT_ONCE = 1_000  # rows looked at for the next that are not hidden
SPECIAL = (
    rows.DELETED | rows.PINNED | rows.REACTED | rows.THREADED | rows.EDITED | rows.CONCURRENT
)  # flags that make a message more than its post
_MESSAGE = f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.id = ?"
PAGE_SQL = f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.channel = ?"
_posts = Codec(
    list[Post], "operation"
)  # rows of `message` hold nothing else: no need to look for what they are
Position = tuple[int, bytes]  # (time, id)
START: Position = (-1, b"")
END: Position = (1 << 62, b"")
WITHOUT_TEXT = bytes(SALT_SIZE) + encode_operation(Post(""))
_UNSALTED = slice(SALT_SIZE, None)  # made once: half the time of cutting


class Reader:
    """Reads views; holds a bounded cache of names."""

    def __init__(self, database: Database, own_key: str) -> None:
        self._database = database
        self._own_key = own_key
        self._blocks = database.blocks
        self._local = threading.local()
        self._channels: dict[int, ChannelId] = {}
        self._numbers: dict[ChannelId, int] = {}  # channels are never removed
        self._own: Author | None = None  # ourselves, once we were read

    def connection(self) -> apsw.Connection:
        """This thread's connection; names cached before someone wrote are forgotten."""
        db = self._database.reader
        version, local = db.data_version(), self._local
        if getattr(local, "version", None) != version:
            local.version, local.authors = version, {}
            local.bounded = set(pending.bounded_channels(db))
        return db

    def veil(self, db: apsw.Connection, channel: int) -> Veil | None:
        """What is hidden of a channel by now; None if nothing ever is. After `connection`."""
        if channel not in self._local.bounded:
            return None
        from quire.store import wallclock
        from quire.store.veiling import Veil

        return Veil(db, channel, wallclock.now_ms())

    def hides(self, id: bytes) -> bool:
        """Is a message here that has expired?"""
        db = self.connection()
        row = rows.get_row(db, id) if self._local.bounded else None
        veil = self.veil(db, row.channel) if row else None
        return veil is not None and bool(veil.hidden([id]))

    # Messages

    def find(self, id: bytes) -> Message | None:
        """The message with this id, if there is one."""
        db = self.connection()
        row: Any = db.execute(_MESSAGE, (id,)).fetchone()
        veil = self.veil(db, row[0]) if row else None
        if veil is not None and not veil.shown([row]):
            return None
        return self._message(db, row) if row else None

    def message(self, id: MessageId) -> Message:
        """One message. Raises: NotFoundError."""
        found = self.find(id)
        if found is None:
            raise NotFoundError("there is no such message here", rule="no_message")
        return found

    def posted(self, channel: ChannelId, id: MessageId, time: int, post: Post) -> Message:
        """A message that we have just written, as `message` would give it."""
        own = self._own
        if own is None:
            return self.message(id)
        root = None if post.root is None else MessageId(post.root)
        reply_to = None if post.reply_to is None else MessageId(post.reply_to)
        return Message(
            id, channel, time, own, post.body, root, reply_to, "", "", bool(post.flags & ACTION),
            bool(post.flags & BROADCAST), post.attachments, post.mentions,
        )  # fmt: skip

    def number(self, channel: ChannelId) -> int:
        """A channel's number. Raises: NotFoundError(rule="no_channel")."""
        n = self._numbers.get(channel)
        if n is None:
            row = log.channel_by_id(self._database.reader, channel)
            if row is None:
                raise NotFoundError("there is no such channel", rule="no_channel")
            n = self._numbers[channel] = row.n
        return n

    def page(
        self, channel: int, before: Position | None, after: Position | None, limit: int, offset: int
    ) -> Page:
        """The `limit` messages just before or just after a place (default: the newest), newest first."""
        db = self.connection()
        limit = _limit(limit)
        if after is not None:
            found = self._rows(
                db, channel, "(m.time, m.id) > (?, ?) ORDER BY m.time, m.id", after, limit + 1, offset
            )
            more = len(found) > limit
            found = found[:limit][::-1]
            return self._page(db, found, older=True, newer=more)
        place = before or END
        found = self._rows(
            db, channel, "(m.time, m.id) < (?, ?) ORDER BY m.time DESC, m.id DESC", place, limit + 1, offset
        )
        return self._page(db, found[:limit], older=len(found) > limit, newer=before is not None or offset > 0)

    def around(self, channel: int, place: Position, limit: int) -> Page:
        """A page with `place` in its middle."""
        db = self.connection()
        limit = _limit(limit)
        half = limit // 2
        later = self._rows(db, channel, "(m.time, m.id) > (?, ?) ORDER BY m.time, m.id", place, half + 1, 0)
        earlier = self._rows(
            db,
            channel,
            "(m.time, m.id) <= (?, ?) ORDER BY m.time DESC, m.id DESC",
            place,
            limit - half + 1,
            0,
        )
        found = later[:half][::-1] + earlier[: limit - half]
        return self._page(db, found, older=len(earlier) > limit - half, newer=len(later) > half)

    def iterate(self, channel: int, newest_first: bool) -> Iterator[Message]:
        """All messages of a channel, lazily, a page at a time; stable while others write."""
        step = "(m.time, m.id) > (?, ?) ORDER BY m.time, m.id"
        place = START
        if newest_first:
            step, place = "(m.time, m.id) < (?, ?) ORDER BY m.time DESC, m.id DESC", END
        while True:
            messages = self._batch(channel, step, place)
            yield from messages
            if len(messages) < PAGE_MAX:
                return
            place = (messages[-1].time, messages[-1].id)

    @guarded
    def _batch(self, channel: int, step: str, place: Position) -> list[Message]:
        db = self.connection()
        return [self._message(db, row) for row in self._rows(db, channel, step, place, PAGE_MAX, 0)]

    def _rows(
        self, db: apsw.Connection, channel: int, where: str, place: Position, limit: int, offset: int
    ) -> list[Any]:
        veil = self.veil(db, channel)
        if veil is not None:
            return self._unveiled(db, veil, f"{PAGE_SQL} AND {where}", channel, place, limit + offset)[
                offset:
            ]
        return db.execute(
            f"{PAGE_SQL} AND {where} LIMIT ? OFFSET ?", (channel, place[0], place[1], limit, offset)
        ).fetchall()

    @staticmethod
    def _unveiled(
        db: apsw.Connection, veil: Veil, sql: str, of: object, place: Position, limit: int
    ) -> list[Any]:
        """So many rows from a place on, of those that are not hidden."""
        shown: list[Any] = []
        size = limit
        while True:
            found: list[Any] = db.execute(f"{sql} LIMIT ?", (of, *place, size)).fetchall()
            shown += veil.shown(found)
            if len(found) < size or len(shown) >= limit:
                return shown[:limit]
            place = (found[-1][1], found[-1][2])
            sql = sql.replace("<=", "<")
            size = VEILED_AT_ONCE

    def _page(self, db: apsw.Connection, found: list[Any], older: bool, newer: bool) -> Page:
        messages = tuple(self._messages(db, found))
        return Page(
            messages,
            messages[-1].cursor if messages and older else None,
            messages[0].cursor if messages and newer else None,
        )

    def _message(self, db: apsw.Connection, row: Any) -> Message:
        return self._messages(db, [row])[0]

    def _messages(self, db: apsw.Connection, found: list[Any]) -> list[Message]:
        """Messages of rows of MESSAGE_COLUMNS. Most are plain posts, and cost two microseconds each.

        What is archived out of reach has no text, and says where it is.
        """
        authors, channels = self._local.authors, self._channels
        if self._local.bounded:
            found = self._rooted(db, found)
        messages: list[Message] = []
        notices: Any = NOTICES
        salted: list[bytes] = [row[7] for row in found]
        away: dict[bytes, Archived] = {}
        if cold.REFERENCE_SIZE in map(len, salted):
            salted, away = self._opened(db, found)
        for row, post in zip(found, decoded_posts(salted), strict=True):
            channel_n, time, id, author_n, flags, root, _, _ = row
            author = authors.get(author_n) or self._author(db, author_n)
            channel = channels.get(channel_n) or self._channel(db, channel_n)
            if flags & SPECIAL or row[7] in away:
                messages.append(self._special(db, row, post, author, channel, away.get(row[7])))
                continue
            origin, post_flags = post.origin, post.flags
            messages.append(
                Message(
                    id, channel, time, author, post.body, root, post.reply_to, notices[post.notice], post.title,
                    post_flags & ACTION > 0, post_flags & BROADCAST > 0, post.attachments, post.mentions,
                    None if origin is None else origin.edited_ms, False, None, False, (), None, origin,
                )
            )  # fmt: skip
        return messages

    def _opened(self, db: apsw.Connection, found: list[Any]) -> tuple[list[bytes], dict[bytes, Archived]]:
        """The bytes of posts; of those that cannot be read, or are to be erased when they can, a post without text, and
        where they should be, by their references.
        """
        from quire.store.owing import owed_among

        away: dict[bytes, Archived] = {}
        salted: list[bytes] = []
        owed = owed_among(db, [row[2] for row in found])
        for row in found:
            stored = row[7]
            try:
                salted.append(WITHOUT_TEXT if row[2] in owed else cold.opened(db, stored))
                if row[2] in owed:
                    away[stored] = Archived("", "")
            except StorageError as error:
                away[stored] = self._away(db, stored, error)
                salted.append(WITHOUT_TEXT)
        return salted, away

    def _read(self, db: apsw.Connection, stored: bytes) -> tuple[Any, Archived | None]:
        """An operation; None if it cannot be read, and where it should be."""
        try:
            return stored_operation(cold.opened(db, stored)), None
        except StorageError as error:
            return None, self._away(db, stored, error)

    def _away(self, db: apsw.Connection, stored: bytes, error: StorageError) -> Archived:
        of = cold.segment_of(db, stored)
        damaged = isinstance(error, CorruptError)
        return (
            Archived("", "", damaged) if of is None else Archived(of.name, self._blocks.folder(of), damaged)
        )

    def _rooted(self, db: apsw.Connection, found: list[Any]) -> list[Any]:
        """The same rows; a reply whose root is hidden stands alone."""
        roots: dict[int, set[bytes]] = {}
        for row in found:
            if row[5] is not None and row[0] in self._local.bounded:
                roots.setdefault(row[0], set()).add(row[5])
        hidden = {
            id
            for channel, some in roots.items()
            if (veil := self.veil(db, channel)) is not None
            for id in veil.hidden(some)
        }
        return [(*row[:5], None, *row[6:]) if row[5] in hidden else row for row in found] if hidden else found

    def _special(
        self, db: apsw.Connection, row: Any, post: Any, author: Author, channel: ChannelId,
        archived: Archived | None = None,
    ) -> Message:  # fmt: skip
        """A message with more than its post: edits, reactions, a thread, a deletion, a pin."""
        _, time, id, _, flags, root, edit, _ = row
        body, deleted, origin, away = post.body, None, post.origin, archived
        edited_ms = None if origin is None else origin.edited_ms
        if edit is not None:
            body, edited_ms = "", rows.operation_time(db, edit) >> 16
            shown, archived = self._read(db, rows.stored_bytes(db, edit))
            body = shown.body if shown is not None else ""
        if flags & rows.ERASED:
            body, deleted = "", self._erasure(db, row)
        elif flags & rows.DELETED:
            body, deleted = "", self._deletion(db, id)
        elif (archived or away) and (owed := self._owed(db, row)):
            body, deleted, archived = "", owed, None
        return Message(
            id, channel, time, author, body, root, post.reply_to, _notice(post),
            post.title if not deleted else "",
            bool(post.flags & ACTION), bool(post.flags & BROADCAST),
            post.attachments if not deleted else (), post.mentions if not deleted else (),
            edited_ms, bool(flags & rows.CONCURRENT), deleted, bool(flags & rows.PINNED),
            self.reactions(db, id) if flags & rows.REACTED else (),
            self.thread(db, id, channel, post.title) if flags & rows.THREADED else None, origin,
            None if deleted else archived,
        )  # fmt: skip

    def _deletion(self, db: apsw.Connection, id: bytes) -> Deletion:
        found = rows.targeting(db, id, [KINDS[Delete]])
        if not found:
            raise inconsistent("a deletion")
        _, _, time, author, op = found[0]
        delete: Delete = stored_operation(op)  # type: ignore[assignment]
        return Deletion(self._author(db, author), time >> 16, delete.reason)

    def _owed(self, db: apsw.Connection, row: Any) -> Deletion | None:
        """By what a message is erased that cannot be taken out of the archive yet."""
        from quire.store.owing import owed_among

        return self._erasure(db, row) if owed_among(db, [row[2]]) else None

    def _erasure(self, db: apsw.Connection, row: Any) -> Deletion:
        from quire.store import erasing  # with the bytes of commits, which most reading never needs

        channel, _, id, *_ = row
        erasure = erasing.standing(db, channel, [id]).get(id)
        if erasure is None:
            raise inconsistent("an erasure")
        erase: Erase = stored_operation(rows.operation_bytes(db, erasure.id))  # type: ignore[assignment]
        author = rows.authors_by_key(db, [erasure.signer])[erasure.signer]
        return Deletion(self._author(db, author), erasure.time >> 16, erase.reason, erased=True)

    def versions(self, id: MessageId) -> list[Version]:
        """Every version of a message's text, oldest first. Raises: NotFoundError; gone when deleted."""
        from quire.storage import erasures

        db = self.connection()
        row = rows.get_row(db, id)
        if row is None or self.hides(id):
            raise NotFoundError("there is no such message here", rule="no_message")
        if row.flags & rows.DELETED:
            return []
        post, away = self._read(db, row.op)
        edits = rows.targeting(db, id, [KINDS[Edit]])
        read = [self._read(db, edit[4]) for edit in edits]
        replaced = [edit.previous for edit, _ in read if edit is not None]
        hollow = bool(row.flags & rows.HOLLOW)
        first = Version(
            1, post.body if post else "", row.time >> 16, self._author(db, row.author), row.edit is None, False,
            hollow, away,
        )  # fmt: skip
        later: list[tuple[int, bytes, Version]] = []
        for (edit_id, _, time, author, _), (edit, away) in zip(edits, read, strict=True):
            concurrent = edit is not None and replaced.count(edit.previous) > 1
            shown, body = edit_id == row.edit, edit.body if edit else ""
            version = Version(0, body, time >> 16, self._author(db, author), shown, concurrent, archived=away)
            later.append((time, edit_id, version))
        for erased in erasures.erased_versions(db, id):
            from quire.store import erasing

            of = erasing.signed(db, row.channel, erased)
            if of is not None:
                version = Version(0, "", of.time >> 16, first.author, False, False, erased=True)
                later.append((of.time, erased, version))
        later.sort(key=lambda one: one[:2])
        return [first] + [
            msgspec.structs.replace(version, number=number)
            for number, (_, _, version) in enumerate(later, start=2)
        ]

    def reactions(self, db: apsw.Connection, id: bytes) -> tuple[Reaction, ...]:
        """Aggregated, the most frequent first, then by who came first."""
        counts: dict[str, int] = {}
        people: dict[str, list[str]] = {}
        own: set[str] = set()
        for emoji, author_n, number in rows.reactions(db, id):
            author = self._local.authors.get(author_n) or self._author(db, author_n)
            counts[emoji] = counts.get(emoji, 0) + number
            names = people.setdefault(emoji, [])
            if author.own:
                own.add(emoji)
            if len(names) < PEOPLE_SHOWN_MAX and author.name:
                names.append(author.name)
        order = sorted(counts, key=lambda emoji: -counts[emoji])
        return tuple(Reaction(emoji, counts[emoji], emoji in own, tuple(people[emoji])) for emoji in order)

    # Threads

    def thread(self, db: apsw.Connection, root: bytes, channel: ChannelId, title: str) -> Thread | None:
        """A thread's summary; None if `root` has no thread."""
        row = rows.thread(db, root)
        if row is None:
            return None
        replies, participants, last_time, last_id = row
        veil = self.veil(db, self.number(channel))
        if veil is not None and (hidden := veil.replies(root)):
            left = rows.standing_replies(db, root, hidden)
            if not left and not title:
                return None
            replies, participants = len(left), len({author for _, _, author in left})
            last_time, last_id = left[-1][:2] if left else (rows.time_of(db, root), None)
        author, preview = None, ""
        if last_id is not None:
            last: Any = db.execute(
                f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.id = ?", (last_id,)
            ).fetchone()
            if last is None:
                raise inconsistent("a reply")
            message = self._message(db, last)
            author, preview = (
                message.author,
                " ".join(message.body[: PREVIEW_CHARS * 2].split())[:PREVIEW_CHARS],
            )
        return Thread(
            MessageId(root), channel, title, replies, participants, last_time >> 16, last_id, author, preview
        )

    def replies(self, root: MessageId, before: Position | None, after: Position | None, limit: int) -> Page:
        """Replies of a thread, oldest first. `after` continues; `before` goes back; neither: from the start."""
        db = self.connection()
        limit = _limit(limit)
        columns = f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.root = ?"

        def some(where: str, place: Position) -> list[Any]:
            row = rows.get_row(db, root) if self._local.bounded else None
            veil = self.veil(db, row.channel) if row else None
            if veil is not None:
                return self._unveiled(db, veil, f"{columns} AND {where}", root, place, limit + 1)
            return db.execute(f"{columns} AND {where} LIMIT ?", (root, *place, limit + 1)).fetchall()

        if before is not None:
            found = some("(m.time, m.id) < (?, ?) ORDER BY m.time DESC, m.id DESC", before)
            messages = tuple(self._messages(db, found[:limit][::-1]))
            older, newer = len(found) > limit, True
        else:
            found = some("(m.time, m.id) > (?, ?) ORDER BY m.time, m.id", after or START)
            messages = tuple(self._messages(db, found[:limit]))
            older, newer = after is not None, len(found) > limit
        if not messages:
            return Page((), None, None)
        return Page(messages, messages[0].cursor if older else None, messages[-1].cursor if newer else None)

    def threads(self, channel: int, before: Position | None, limit: int) -> list[tuple[Thread, int]]:
        """(thread, its place in time) of a channel, the latest reply first."""
        db = self.connection()
        found: Any = db.execute(
            "SELECT root, last_time FROM thread WHERE channel = ? AND (last_time, root) < (?, ?)"
            " ORDER BY last_time DESC, root DESC LIMIT ?",
            (channel, *(before or END), limit),
        ).fetchall()
        threads = []
        for root, last_time in found:
            row = rows.get_row(db, root)
            if row is None:
                raise inconsistent("a thread's root")
            if self.hides(root):
                continue
            title = ""
            with suppress(StorageError):  # it is archived, and out of reach
                title = rows.post_of(db, row).title
            thread = self.thread(db, root, self._channel(db, channel), title)
            if thread is not None:
                threads.append((thread, last_time))
        return threads

    def pinned(self, channel: int) -> list[Message]:
        """Pinned messages, newest first."""
        db = self.connection()
        found: Any = db.execute(
            f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.id IN (SELECT target FROM operation"
            " WHERE channel = ? AND kind = 6 AND void = 0) AND m.flags & ? = ? ORDER BY m.time DESC, m.id DESC",
            (channel, rows.PINNED | rows.DELETED, rows.PINNED),
        ).fetchall()
        veil = self.veil(db, channel)
        return self._messages(db, found if veil is None else veil.shown(found))

    # Search

    def search(
        self,
        query: Query,
        channels: list[list[int]],
        authors: list[list[int]],
        limit: int,
        before: int | None,
    ) -> Hits:
        """The newest matches before index row `before`."""
        from quire.core.words import spans  # with the tables of scripts, which only search needs
        from quire.storage import search

        db = self.connection()
        limit = _limit(limit)
        start, end = (query.after_ms or 0) << 16, min(query.before_ms or TIME_MS_MAX, TIME_MS_MAX) << 16
        low, high = start >> rows.DOC_SHIFT, (end >> rows.DOC_SHIFT) + search.widest_spill(db) + 1
        wanted = search.flags_wanted(query)
        phrases = [(list(term.words), term.prefix) for term in query.terms if not term.excluded]
        marked = set(rows.bookmarks(db)) if "bookmark" in query.has else None
        tags = [[tag for n in one for tag in search.channel_tags(db, n, low, high)] for one in channels]
        match = search.expression(query, tags, authors)
        found: list[tuple[int, Any]] = []
        veils: dict[int, Veil | None] = {}
        # All rows first: an unfinished cursor would hold this connection at one moment of the vault.
        for doc, *row in search.find(db, match, low, min(high, before if before is not None else high)):
            if row[4] & (wanted | rows.DELETED) != wanted or not start <= row[1] < end:
                continue
            if marked is not None and row[2] not in marked:
                continue
            if row[0] in self._local.bounded:
                if row[0] not in veils:
                    veils[row[0]] = self.veil(db, row[0])
                if (veil := veils[row[0]]) is not None and not veil.shown([row]):
                    continue
            found.append((doc, row))
            if len(found) > limit:
                break
        shown = [row for _, row in found[:limit]]
        names = {n: log.channel_by_n(db, n).name for n in {row[0] for row in shown}}
        hits = tuple([
            Hit(message, names[row[0]], spans(message.body, phrases) if phrases else ())
            for row, message in zip(shown, self._messages(db, shown), strict=True)
        ])  # fmt: skip
        return Hits(hits, f"{found[limit - 1][0]:x}" if len(found) > limit else None)

    # Names

    def _author(self, db: apsw.Connection, n: int) -> Author:
        key, name, bot = rows.author(db, n)
        author = Author(key, name, bool(bot), not key.startswith("quire:"), key == self._own_key)
        if author.own:
            self._own = author
        authors = self._local.authors
        if len(authors) >= AUTHORS_CACHED_MAX:
            authors.clear()
        authors[n] = author
        return author

    def _channel(self, db: apsw.Connection, n: int) -> ChannelId:
        channel = self._channels[n] = log.channel_by_n(db, n).id
        return channel


def position(cursor: str) -> Position:
    """The place a cursor names. Raises: UsageError(rule="cursor_form")."""
    time, dot, id = cursor.partition(".")
    try:
        place = int(time, 16), bytes.fromhex(id)
    except ValueError:
        place = (-1, b"-")
    if not dot or not 0 <= place[0] < 1 << 60 or len(place[1]) not in (0, 16):
        raise UsageError("this is not a cursor", rule="cursor_form", hint="use one that a page gave")
    return place


def decoded_posts(salted: list[bytes]) -> list[Any]:
    """The posts in rows' `op`, in one call: they are put together as MessagePack writes an array."""
    size = len(salted).to_bytes(4, "big")
    posts: list[Any] = _posts.trusted(b"\xdd" + size + b"".join([one[_UNSALTED] for one in salted]))
    return posts


def _notice(post: Post) -> Any:
    return NOTICES[post.notice]


def _limit(limit: int) -> int:
    if not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"a page has 1 to {PAGE_MAX} messages", rule="page_size", limit=PAGE_MAX)
    return limit
