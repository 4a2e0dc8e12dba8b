"""Channels told whole, in the words of an export: many messages at a time, whatever hangs on them joined in.

A batch costs one query for each thing that some of it have (edits, reactions, deletions, pins, what replies name), never
one a message. Memory does not grow with history, except for the names of a channel's authors.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import apsw
import msgspec

from quire.core.ids import MessageId
from quire.core.operation import (
    ACTION,
    BROADCAST,
    KINDS,
    NOTICES,
    Attachment,
    Delete,
    Edit,
    Erase,
    Pin,
    Post,
    stored_operation,
)
from quire.exchange.exported import (
    AttachmentPart,
    AuthorLine,
    ChannelLine,
    EditPart,
    MarkPart,
    MessageLine,
    ReactionPart,
)
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.cold import opened_all, whole
from quire.storage.database import guarded
from quire.store.messages import decoded_posts
from quire.store.reader import START, Position
from quire.store.veiling import veil

BATCH = 2_000  # messages at a time: 100 queries' worth of what a page has, and a megabyte or two
TO_THE_END: Position = (1 << 62, b"")
REFERRED_MAX = 50_000  # roots and answered messages remembered from one batch to the next
EMPTY: tuple[Any, ...] = ()
HANGING = rows.EDITED | rows.REACTED | rows.DELETED | rows.ERASED | rows.PINNED


class Referred(NamedTuple):
    """A message that another names."""

    time_ms: int
    origin: str  # what it is called wherever it goes: its id where it came from, or here


class Told(msgspec.Struct, gc=False):
    """Some messages of a channel, and everybody who comes up for the first time in them."""

    authors: list[AuthorLine]
    messages: list[MessageLine]
    last: Position


class Teller:
    """Tells channels over one reading connection; introduces everybody once.

    names    what people are called, instead of what this vault knows: author key -> (name, bot)
    take     puts an attachment's bytes into the export: (message, number, itself) -> where they are then
    now_ms   what has expired by then is not told, though it is still here; None: all that is here
    """

    def __init__(
        self,
        db: apsw.Connection,
        names: Mapping[str, tuple[str, bool]] | None = None,
        take: Callable[[MessageId, int, Attachment], str] | None = None,
        now_ms: int | None = None,
    ) -> None:
        self._db = db
        self._now_ms = now_ms
        self._take = take
        self._names = names
        self._keys: dict[int, str] = {}  # of the authors introduced
        self._prefixes: dict[bytes, str] = {}
        self.referred: dict[bytes, Referred] = {}

    def name_of(self, text: str) -> str:
        """What a message named by a line of the last batch is called wherever it goes; "" if it is not here."""
        id = message_id(text)
        there = self.referred.get(id) if id else None
        return there.origin if there else ""

    @property
    def authors(self) -> int:
        """How many were introduced."""
        return len(self._keys)

    def channel(self, row: log.ChannelRow) -> ChannelLine:
        return ChannelLine(row.id.hex(), row.name, row.topic, row.kind, row.source, row.key)

    def tell(
        self, row: log.ChannelRow, since: Position = START, until: Position = TO_THE_END
    ) -> Iterator[Told]:
        """A channel's messages in order, from one place up to another."""
        sql = (
            f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.channel = ? AND (m.time, m.id) > (?, ?)"
            " AND (m.time, m.id) < (?, ?) ORDER BY m.time, m.id LIMIT ?"
        )
        place = since
        while True:
            found = self._rows(sql, (row.n, *place, *until, BATCH))
            if shown := self._shown(row, found):
                yield self._lines(row.id.hex(), shown)
            if len(found) < BATCH:
                return
            place = (found[-1][1], found[-1][2])

    def tell_threads(
        self, row: log.ChannelRow, since: Position = START, until: Position = TO_THE_END
    ) -> Iterator[Told]:
        """The same, each thread whole after its root; a reply to one that began before `since` stands by itself."""
        bounds = (since[0], until[0])
        sql = (
            f"SELECT {rows.MESSAGE_COLUMNS} FROM message m LEFT JOIN message r ON r.id = m.root WHERE m.channel = ?"
            " AND (m.time, m.id) > (?, ?) AND (m.time, m.id) < (?, ?)"
            " AND (m.root IS NULL OR r.time < ? OR r.time >= ?) ORDER BY m.time, m.id LIMIT ?"
        )
        place = since
        while True:
            found = self._rows(sql, (row.n, *place, *until, *bounds, BATCH))
            for some in self._with_replies(found, bounds):
                yield self._lines(row.id.hex(), self._shown(row, some))
            if len(found) < BATCH:
                return
            place = (found[-1][1], found[-1][2])

    def _with_replies(self, found: list[Any], bounds: tuple[int, int]) -> Iterator[list[Any]]:
        """Rows of messages outside threads, each followed by its replies, about BATCH at a time."""
        roots = [row[2] for row in found if row[4] & rows.THREADED]
        sql = "SELECT root, replies FROM thread WHERE root IN carray(?)"
        replies = dict(self._rows(sql, (apsw.carray(tuple(roots)),))) if roots else {}
        some: list[Any] = []
        threads: list[bytes] = []
        size = 0
        for row in found:
            more = replies.get(row[2], 0)
            if some and size + more >= BATCH:
                yield self._joined(some, threads, bounds)
                some, threads, size = [], [], 0
            some.append(row)
            size += 1 + more
            if more > BATCH:
                yield some
                yield from self._long_thread(row[2], bounds)
                some, size = [], 0
            elif more:
                threads.append(row[2])
        if some:
            yield self._joined(some, threads, bounds)

    def _joined(self, some: list[Any], threads: list[bytes], bounds: tuple[int, int]) -> list[Any]:
        if not threads:
            return some
        sql = (
            f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.root IN carray(?) AND m.time > ? AND m.time < ?"
            " ORDER BY m.root, m.time, m.id"
        )
        replies: dict[bytes, list[Any]] = {}
        for reply in self._rows(sql, (apsw.carray(tuple(threads)), *bounds)):
            replies.setdefault(reply[5], []).append(reply)
        return [one for row in some for one in (row, *replies.get(row[2], ()))]

    def _long_thread(self, root: bytes, bounds: tuple[int, int]) -> Iterator[list[Any]]:
        sql = (
            f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.root = ? AND (m.time, m.id) > (?, ?) AND m.time < ?"
            " ORDER BY m.time, m.id LIMIT ?"
        )
        place: Position = (bounds[0], b"")
        while found := self._rows(sql, (root, *place, bounds[1], BATCH)):
            yield found
            place = (found[-1][1], found[-1][2])

    @guarded
    def _rows(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        return self._db.execute(sql, values).fetchall()

    @guarded
    def _lines(self, channel: str, found: list[Any]) -> Told:
        return self.lines(channel, found)

    @guarded
    def _shown(self, row: log.ChannelRow, found: list[Any]) -> list[Any]:
        """Without what has expired, though it is still here."""
        hiding = None if self._now_ms is None else veil(self._db, row.n, self._now_ms)
        return found if hiding is None else hiding.shown(found)

    def lines(self, channel: str, found: Sequence[Any]) -> Told:
        """Rows of MESSAGE_COLUMNS as lines."""
        posts = decoded_posts(opened_all(self._db, [row[7] for row in found]))
        authors: list[AuthorLine] = []
        keys = self._keys
        for n in {row[3] for row in found} - keys.keys():
            self._introduce(n, authors)
        edits, reactions, deletions, pins = self._hanging(found, authors)
        self._refer(found, posts)
        messages: list[MessageLine] = []
        text = self.text
        for (_, time, id, n, flags, root, _, _), post in zip(found, posts, strict=True):
            origin, post_flags = post.origin, post.flags
            time_ms = time >> 16
            named = text(id)
            if origin is None:
                edited_ms = origin_id = None
            else:
                edited_ms, origin_id = origin.edited_ms, origin.id
            if not (root or post.reply_to or flags & HANGING or post.attachments or post.mentions):
                messages.append(
                    MessageLine(
                        channel, named, time_ms, keys[n], post.body, NOTICES[post.notice], "", None, post.title,
                        "", None, EMPTY, EMPTY, EMPTY, EMPTY, edited_ms, None, None,
                        post_flags & BROADCAST > 0, post_flags & ACTION > 0, origin_id,
                    )
                )  # fmt: skip
                continue
            thread, thread_ms = self._reference(root, time_ms)
            answered, answered_ms = self._reference(post.reply_to, time_ms)
            deleted = deletions.get(id)
            standing = deleted is None
            texts = edits.get(id, EMPTY) if standing else EMPTY
            messages.append(
                MessageLine(
                    channel, named, time_ms, keys[n], post.body if standing else "", NOTICES[post.notice], thread,
                    thread_ms, post.title if standing else "", answered, answered_ms,
                    self._attachments(id, post) if standing else EMPTY,
                    post.mentions if standing else EMPTY, reactions.get(id, EMPTY), texts,
                    edited_ms if not texts else None, deleted, pins.get(id),
                    post_flags & BROADCAST > 0, post_flags & ACTION > 0, origin_id,
                )
            )  # fmt: skip
        return Told(authors, messages, (found[-1][1], found[-1][2]) if found else START)

    def text(self, id: bytes) -> str:
        """A message's id as people write it, the prefix of its log made once."""
        prefix = id[:10]
        start = self._prefixes.get(prefix)
        if start is None:
            start = self._prefixes[prefix] = base64.b32encode(prefix).decode().lower()
        return f"{start}-{int.from_bytes(id[10:14], 'big')}.{int.from_bytes(id[14:], 'big')}"

    def _attachments(self, id: bytes, post: Post) -> tuple[AttachmentPart, ...]:
        take = self._take
        return tuple([
            AttachmentPart(
                a.name, a.url, a.media_type, a.size_bytes,
                take(MessageId(id), number, a) if take and a.file else "",
            )
            for number, a in enumerate(post.attachments, start=1)
        ])  # fmt: skip

    def _reference(self, target: bytes | None, time_ms: int) -> tuple[str, int | None]:
        """What a line says of a message it names, and its time if that is later."""
        if target is None:
            return "", None
        there = self.referred.get(target)
        later = there is not None and there.time_ms > time_ms
        return self.text(target), there.time_ms if there and later else None

    def _refer(self, found: Sequence[Any], posts: Sequence[Post]) -> None:
        """Look up the messages that these name."""
        wanted = {row[5] for row in found if row[5]} | {post.reply_to for post in posts if post.reply_to}
        if len(self.referred) > REFERRED_MAX:
            self.referred.clear()
        missing = wanted - self.referred.keys()
        if not missing:
            return
        sql = "SELECT id, time, op FROM message WHERE id IN carray(?)"
        there: list[Any] = self._db.execute(sql, (apsw.carray(tuple(missing)),)).fetchall()
        found_posts = decoded_posts(opened_all(self._db, [row[2] for row in there]))
        for (id, time, _), post in zip(there, found_posts, strict=True):
            origin = post.origin
            self.referred[id] = Referred(time >> 16, self.text(id) if origin is None else origin.id)

    def _introduce(self, n: int, authors: list[AuthorLine]) -> str:
        key, name, bot = rows.author(self._db, n)
        if self._names is not None:
            name, bot = self._names.get(key) or (default_name(key), False)
        self._keys[n] = key
        authors.append(AuthorLine(key, name, bool(bot)))
        return str(key)

    def _key(self, n: int, authors: list[AuthorLine]) -> str:
        return self._keys.get(n) or self._introduce(n, authors)

    # What hangs on messages

    def _hanging(self, found: Sequence[Any], authors: list[AuthorLine]) -> tuple[Any, Any, Any, Any]:
        """Edits, reactions, deletions and pins of those that have them, by message."""
        edited = [row[2] for row in found if row[4] & rows.EDITED]
        reacted = {row[2]: row[1] >> 16 for row in found if row[4] & rows.REACTED}
        deleted = [row[2] for row in found if row[4] & (rows.DELETED | rows.ERASED) == rows.DELETED]
        erased: dict[int, list[bytes]] = {}
        for row in found:
            if row[4] & rows.ERASED:
                erased.setdefault(row[0], []).append(row[2])
        pinned = [row[2] for row in found if row[4] & rows.PINNED]
        gone = self._marks(deleted, KINDS[Delete], authors) if deleted else {}
        for channel, ids in erased.items():
            gone |= self._erased(channel, ids, authors)
        return (
            self._edits(edited) if edited else {},
            self._reactions(reacted, authors) if reacted else {},
            gone,
            self._marks(pinned, KINDS[Pin], authors) if pinned else {},
        )

    def _targeting(self, ids: Iterable[bytes], kind: int) -> list[Any]:
        """(target, id, time, author, op) of the standing operations of a kind on these messages, in order."""
        sql = (
            f"SELECT target, id, time, author, {whole('op')} FROM operation"
            " WHERE target IN carray(?) AND kind = ? AND void = 0"
            " ORDER BY target, time, id"
        )
        return self._db.execute(sql, (apsw.carray(tuple(ids)), kind)).fetchall()

    def _edits(self, ids: list[bytes]) -> dict[bytes, tuple[EditPart, ...]]:
        versions: dict[bytes, list[tuple[bytes, bytes, EditPart]]] = {}
        for target, id, time, _, op in self._targeting(ids, KINDS[Edit]):
            edit: Edit = stored_operation(op)  # type: ignore[assignment]
            named = self.text(id) if edit.origin is None else edit.origin.id
            versions.setdefault(target, []).append(
                (id, edit.previous, EditPart(time >> 16, edit.body, named))
            )
        return {target: _linked(target, texts) for target, texts in versions.items()}

    def _reactions(
        self, times: dict[bytes, int], authors: list[AuthorLine]
    ) -> dict[bytes, tuple[ReactionPart, ...]]:
        sql = (
            "SELECT target, emoji, author, people, time FROM reaction WHERE target IN carray(?) AND people > 0"
            " ORDER BY target, time, id"
        )
        by_emoji: dict[bytes, dict[str, list[tuple[str, int, int]]]] = {}
        found: list[Any] = self._db.execute(sql, (apsw.carray(tuple(times)),)).fetchall()
        for target, emoji, n, people, time in found:
            person = (self._key(n, authors), people, time >> 16)
            by_emoji.setdefault(target, {}).setdefault(emoji, []).append(person)
        return {
            target: tuple([_reaction(emoji, people, times[target]) for emoji, people in found.items()])
            for target, found in by_emoji.items()
        }

    def _marks(self, ids: list[bytes], kind: int, authors: list[AuthorLine]) -> dict[bytes, MarkPart]:
        """Of each message the first deletion, or the newest pin."""
        marks: dict[bytes, MarkPart] = {}
        for target, _, time, n, op in self._targeting(ids, kind):
            if kind == KINDS[Delete] and target in marks:
                continue
            operation = stored_operation(op)
            reason = operation.reason if isinstance(operation, Delete) else ""
            marks[target] = MarkPart(time >> 16, self._key(n, authors), reason)
        return marks

    def _erased(self, channel: int, ids: list[bytes], authors: list[AuthorLine]) -> dict[bytes, MarkPart]:
        from quire.store import erasing  # with the bytes of commits, which most vaults never need

        marks: dict[bytes, MarkPart] = {}
        for id, erasure in erasing.standing(self._db, channel, ids).items():
            erase = stored_operation(rows.operation_bytes(self._db, erasure.id))
            n = rows.authors_by_key(self._db, [erasure.signer])[erasure.signer]
            reason = erase.reason if isinstance(erase, Erase) else ""
            marks[id] = MarkPart(erasure.time >> 16, self._key(n, authors), reason, erased=True)
        return marks


def _linked(target: bytes, texts: list[tuple[bytes, bytes, EditPart]]) -> tuple[EditPart, ...]:
    """Edits in order, with the number of what they replace where it is not the version before."""
    numbers = {target: 1, **{id: number for number, (id, _, _) in enumerate(texts, start=2)}}
    linked = []
    for number, (_, previous, part) in enumerate(texts, start=2):
        replaces = numbers.get(previous, number - 1)
        same = replaces == number - 1
        linked.append(part if same else EditPart(part.time_ms, part.body, part.id, replaces))
    return tuple(linked)


def _reaction(emoji: str, people: list[tuple[str, int, int]], time_ms: int) -> ReactionPart:
    known = [(key, time) for key, _, time in people if key.partition(":")[2]]
    counted = [(number, time) for key, number, time in people if not key.partition(":")[2]]
    times = tuple([time for _, time in known])
    unknown_ms = counted[0][1] if counted else None
    return ReactionPart(
        emoji,
        tuple([key for key, _ in known]),
        times if any([time != time_ms for time in times]) else (),
        sum(number for number, _ in counted),
        unknown_ms if unknown_ms != time_ms else None,
    )


def message_id(text: str) -> MessageId | None:
    """The id that `Teller.text` wrote; None for anything else."""
    prefix, dash, place = text.partition("-")
    seq, dot, index = place.partition(".")
    if not (dash and dot and len(prefix) == 16 and seq.isdecimal() and index.isdecimal()):
        return None
    try:
        return MessageId(
            base64.b32decode(prefix.upper()) + int(seq).to_bytes(4, "big") + int(index).to_bytes(2, "big")
        )
    except (ValueError, OverflowError):
        return None


def default_name(key: str) -> str:
    """What somebody is called who never said."""
    name = key.partition(":")[2]
    return name[:8] if key.startswith("quire:") else name
