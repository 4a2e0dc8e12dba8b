"""From rows to messages.

What most messages do not have (reactions, threads, edits, a deletion) is fetched only for those whose flags say so. What has
expired is hidden by a `Veil`, which only channels with such a policy have; what is archived out of reach has no text, and
says where it is.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.contents import ACTION, BROADCAST, NOTICES, SALT_SIZE
from quire.core.ids import ChannelId, require_channel_id
from quire.core.plain import edit_body, plain_post, reason
from quire.core.values import maker
from quire.core.views import Archived, Author, Deletion, Message, Reaction, Thread
from quire.errors import CorruptError, NotFoundError, StorageError
from quire.storage import cold, log, pending
from quire.storage import timeline as rows
from quire.storage.database import Database, inconsistent

if TYPE_CHECKING:
    from quire.store.veiling import Veil

AUTHORS_CACHED_MAX = 20_000
PEOPLE_SHOWN_MAX = 20  # names with a reaction
# Flags that make a message more than its post.
SPECIAL = rows.DELETED | rows.PINNED | rows.REACTED | rows.THREADED | rows.EDITED | rows.CONCURRENT
PLAIN_POSTS_MAX = 1_000  # read one by one before what decodes many at once is worth its import
WITHOUT_TEXT = bytes(SALT_SIZE) + bytes.fromhex("9a01a0c0c00000a09090c0")  # salt || the encoding of Post("")
DELETE = 3  # core/operation.py: its tag
_plain_message = maker(Message)
_UNSALTED = slice(SALT_SIZE, None)  # made once: half the time of cutting


class Messages:
    """Makes messages of rows; holds a bounded cache of names. Each thread has its own connection."""

    def __init__(self, database: Database, own_key: str) -> None:
        self._database = database
        self._own_key = own_key
        self._blocks = database.blocks
        self._local = threading.local()
        self._channels: dict[int, ChannelId] = {}
        self._numbers: dict[ChannelId, int] = {}  # channels are never removed
        self._plain_left = PLAIN_POSTS_MAX
        self._own: Author | None = None  # ourselves, once we were read

    def connection(self) -> apsw.Connection:
        """This thread's connection; names cached before someone wrote are forgotten."""
        db = self._database.reader
        version, local = db.data_version(), self._local
        if getattr(local, "version", None) != version:
            local.version, local.authors = version, {}
            local.bounded = set(pending.bounded_channels(db))
        return db

    @property
    def any_hidden(self) -> bool:
        """May anything be hidden, in whatever channel? After `connection`."""
        return bool(self._local.bounded)

    def is_bounded(self, channel: int) -> bool:
        """May anything of this channel be hidden? After `connection`."""
        return channel in self._local.bounded

    def veil(self, db: apsw.Connection, channel: int) -> Veil | None:
        """What is hidden of a channel by now; None if nothing ever is. After `connection`."""
        if not self.is_bounded(channel):
            return None
        from quire.store import wallclock
        from quire.store.veiling import Veil

        return Veil(db, channel, wallclock.now_ms())

    def hides(self, id: bytes) -> bool:
        """Is a message here that has expired?"""
        db = self.connection()
        row = rows.get_row(db, id) if self.any_hidden else None
        veil = self.veil(db, row.channel) if row else None
        return veil is not None and bool(veil.hidden([id]))

    def number(self, channel: ChannelId) -> int:
        """A channel's number. Raises: NotFoundError(rule="no_channel")."""
        n = self._numbers.get(channel)
        if n is None:
            require_channel_id(channel)
            row = log.channel_by_id(self._database.reader, channel)
            if row is None:
                raise NotFoundError("there is no such channel", rule="no_channel")
            n = self._numbers[channel] = row.n
        return n

    def of_rows(self, db: apsw.Connection, found: list[Any]) -> list[Message]:
        """Messages of rows of MESSAGE_COLUMNS. Most are plain posts, and cost two microseconds each."""
        authors, channels = self._local.authors, self._channels
        if self.any_hidden:
            found = self._rooted(db, found)
        messages: list[Message] = []
        notices: Any = NOTICES
        salted: list[bytes] = [row[7] for row in found]
        away: dict[bytes, Archived] = {}
        if cold.REFERENCE_SIZE in map(len, salted):
            salted, away = self._opened(db, found)
        for row, post in zip(found, self._posts(salted), strict=True):
            channel_n, time, id, author_n, flags, root, _, _ = row
            author = authors.get(author_n) or self.author(db, author_n)
            channel = channels.get(channel_n) or self.channel_of(db, channel_n)
            if flags & SPECIAL or row[7] in away:
                messages.append(self._special(db, row, post, author, channel, away.get(row[7])))
                continue
            origin, post_flags = post.origin, post.flags
            messages.append(
                _plain_message((
                    id, channel, time, author, post.body, root, post.reply_to, notices[post.notice], post.title,
                    post_flags & ACTION > 0, post_flags & BROADCAST > 0, post.attachments, post.mentions,
                    None if origin is None else origin.edited_ms, False, None, False, (), None, origin, None,
                ))
            )  # fmt: skip
        return messages

    def _posts(self, salted: list[bytes]) -> list[Any]:
        """The posts in these; the first ones of a process that never wrote, without importing what decodes faster."""
        if self._plain_left < len(salted) or "quire.core.operation" in sys.modules:
            return decoded_posts(salted)
        self._plain_left -= len(salted)
        return [plain_post(one) for one in salted]

    def of_row(self, db: apsw.Connection, row: Any) -> Message:
        """The message of one such row."""
        return self.of_rows(db, [row])[0]

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

    def stored(self, db: apsw.Connection, stored: bytes) -> tuple[bytes | None, Archived | None]:
        """An operation, as salt || operation; None if it cannot be read, and where it should be."""
        try:
            return cold.opened(db, stored), None
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
            if row[5] is not None and self.is_bounded(row[0]):
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
        notices: Any = NOTICES
        body, deleted, origin, away = post.body, None, post.origin, archived
        edited_ms = None if origin is None else origin.edited_ms
        if edit is not None:
            body, edited_ms = "", rows.operation_time(db, edit) >> 16
            shown, archived = self.stored(db, rows.stored_bytes(db, edit))
            body = edit_body(shown) if shown is not None else ""
        if flags & rows.ERASED:
            body, deleted = "", self._erasure(db, row)
        elif flags & rows.DELETED:
            body, deleted = "", self._deletion(db, id)
        elif (archived or away) and (owed := self._owed(db, row)):
            body, deleted, archived = "", owed, None
        return Message(
            id, channel, time, author, body, root, post.reply_to, notices[post.notice],
            post.title if not deleted else "",
            bool(post.flags & ACTION), bool(post.flags & BROADCAST),
            post.attachments if not deleted else (), post.mentions if not deleted else (),
            edited_ms, bool(flags & rows.CONCURRENT), deleted, bool(flags & rows.PINNED),
            self.reactions(db, id) if flags & rows.REACTED else (),
            self._thread(db, id, channel, post.title) if flags & rows.THREADED else None, origin,
            None if deleted else archived,
        )  # fmt: skip

    def _thread(self, db: apsw.Connection, root: bytes, channel: ChannelId, title: str) -> Thread | None:
        from quire.store.threads import in_short

        return in_short(self, db, root, channel, title)

    def _deletion(self, db: apsw.Connection, id: bytes) -> Deletion:
        found = rows.targeting(db, id, [DELETE])
        if not found:
            raise inconsistent("a deletion")
        _, _, time, author, op = found[0]
        return Deletion(self.author(db, author), time >> 16, reason(op))

    def _owed(self, db: apsw.Connection, row: Any) -> Deletion | None:
        """By what a message is erased that cannot be taken out of the archive yet."""
        from quire.store.owing import owed_among

        return self._erasure(db, row) if owed_among(db, [row[2]]) else None

    def _erasure(self, db: apsw.Connection, row: Any) -> Deletion:
        from quire.core.operation import Erase, stored_operation
        from quire.store import erasing  # with the bytes of commits, which most reading never needs

        channel, _, id, *_ = row
        erasure = erasing.standing(db, channel, [id]).get(id)
        if erasure is None:
            raise inconsistent("an erasure")
        erase: Erase = stored_operation(rows.operation_bytes(db, erasure.id))  # type: ignore[assignment]
        author = rows.authors_by_key(db, [erasure.signer])[erasure.signer]
        return Deletion(self.author(db, author), erasure.time >> 16, erase.reason, erased=True)

    def reactions(self, db: apsw.Connection, id: bytes) -> tuple[Reaction, ...]:
        """Aggregated, the most frequent first, then by who came first."""
        counts: dict[str, int] = {}
        people: dict[str, list[str]] = {}
        own: set[str] = set()
        for emoji, author_n, number in rows.reactions(db, id):
            author = self._local.authors.get(author_n) or self.author(db, author_n)
            counts[emoji] = counts.get(emoji, 0) + number
            names = people.setdefault(emoji, [])
            if author.own:
                own.add(emoji)
            if len(names) < PEOPLE_SHOWN_MAX and author.name:
                names.append(author.name)
        order = sorted(counts, key=lambda emoji: -counts[emoji])
        return tuple(Reaction(emoji, counts[emoji], emoji in own, tuple(people[emoji])) for emoji in order)

    def author(self, db: apsw.Connection, n: int) -> Author:
        """An author, by number."""
        key, name, bot = rows.author(db, n)
        author = Author(key, name, bool(bot), not key.startswith("quire:"), key == self._own_key)
        if author.own:
            self._own = author
        authors = self._local.authors
        if len(authors) >= AUTHORS_CACHED_MAX:
            authors.clear()
        authors[n] = author
        return author

    def channel_of(self, db: apsw.Connection, n: int) -> ChannelId:
        """A channel's id, by number."""
        channel = self._channels[n] = log.channel_by_n(db, n).id
        return channel


@cache
def _decode() -> Callable[[bytes], Any]:
    from quire.core.encoding import Codec
    from quire.core.operation import Post

    # Rows of `message` hold nothing else: no need to look for what they are.
    return Codec(list[Post], "operation").trusted


def decoded_posts(salted: list[bytes]) -> list[Any]:
    """The posts in rows' `op`, in one call: they are put together as MessagePack writes an array."""
    size = len(salted).to_bytes(4, "big")
    posts: list[Any] = _decode()(b"\xdd" + size + b"".join([one[_UNSALTED] for one in salted]))
    return posts
