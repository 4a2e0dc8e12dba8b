"""The search index: what goes in, what comes out, and how a query becomes one index expression.

FTS5 without content: it holds words and places, never bodies. Row numbers follow time (storage/schema.py), so
`ORDER BY rowid DESC` is newest first without sorting; small steps between them keep the index small, too.
Removing a row needs the very text that was put in; with `secure-delete` nothing of it is left in the index's
entries.

A few messages at a time do not go into it at once: a large index merges its parts now and then, which a durable
send would wait for. Their numbers stand in `tail`, and when there are many they go into the index together. A
search indexes them for itself first, in memory, from the messages' own rows: what was sent is found at once, and
an edit or deletion of a message in the tail has no index to change (docs/decisions/0007-search-tail.md).
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import apsw
import msgspec

from quire.core.operation import NOTICES, Post, stored_operation
from quire.core.query import Query
from quire.core.words import index_text
from quire.storage import timeline as flags
from quire.storage.cold import whole
from quire.storage.database import Statement, fault
from quire.storage.schema import SEARCH_COLUMNS

TAIL_MAX = 256  # messages: a search that meets the tail first indexes it, in about 10 us each
TAIL_CHARS_MAX = 4_096  # of a message: longer ones, and with them all others, go into the index at once

MANY, REWRITE_RATIO = 200, 256  # messages removed at once, and of how many in all, that are worth a new index

# A channel has a word of its own for each 199 days, so many rows of the index: FTS5 merges a word's list in one go, however
# long it is, and that of a million messages kept every writer waiting for 50 ms.
SPAN_SHIFT = 22
RECENT = f"fts5({SEARCH_COLUMNS}, contentless_delete=1)"
# From a row of `doc`, d, to its message, m.
_MESSAGE = (
    "CROSS JOIN message m ON m.channel = d.channel AND m.spill = d.spill"
    f" AND m.time >= (d.n - d.spill) << {flags.DOC_SHIFT} AND m.time < (d.n - d.spill + 1) << {flags.DOC_SHIFT}"
)
_INSERT_ALL = (
    f"INSERT INTO search(rowid, body, tags) SELECT CAST(substr(value, 1, 16) AS INTEGER) - {10**15},"
    " CAST(substr(value, instr(value, x'0a') + 1) AS TEXT), CAST(substr(value, 17, instr(value, x'0a') - 17) AS TEXT)"
    " FROM carray(?)"
)
_FIRST = 10**15  # what is packed as a row's number begins here, so that all have 16 digits
_link = re.compile(r"https?://", re.IGNORECASE)


def text_of(post: Post, body: str) -> str:
    """What of a message is found by words: its text, title and attachments' names."""
    if not post.title and not post.attachments:
        return body if body.isascii() else index_text(body)
    return index_text("\n".join([body, post.title, *(attachment.name for attachment in post.attachments)]))


def tags_of(post: Post, body: str, channel: int, author: int, doc: int) -> str:
    """The words by which filters find a message."""
    return f"c{channel}x{doc >> SPAN_SHIFT} a{author}{kinds_of(post, body)}"


def kinds_of(post: Post, body: str) -> str:
    """Those of them that say what it is and has, each after a space."""
    tags = ""
    if "://" in body and _link.search(body):
        tags += " link"
    if "`" in body:
        tags += " code"
    if post.notice or post.attachments or post.mentions or post.root or post.reply_to:
        tags += _rarer_tags(post)
    return tags


def _rarer_tags(post: Post) -> str:
    tags = " file" if post.attachments else ""
    if post.notice:
        tags += f" notice {NOTICES[post.notice]}"
    if post.mentions:
        tags += " mention"
    if post.root or post.reply_to:
        tags += " reply"
    return tags


def entry_of(post: Post, body: str) -> str:
    """What is found of a message but for its channel and author: kinds, a line's end, and its text."""
    if (
        post.attachments or post.title or post.notice or post.mentions or post.root or post.reply_to
        or "`" in body or "://" in body or not body.isascii()
    ):  # fmt: skip
        return f"{kinds_of(post, body)}\n{text_of(post, body)}"
    return "\n" + body  # nearly all: in one look


def packed(doc: int, tags: str, text: str) -> str:
    """A row of the index as `insertion` takes it: 16 digits, tags, a line's end, text. They sort as their numbers do."""
    return f"{_FIRST + doc}{tags}\n{text}"


def packed_entries(
    docs: Iterable[int], channel: int, authors: Iterable[int], entries: Iterable[str]
) -> list[str]:
    """The same for many of one channel, by what `entry_of` gave of each."""
    first, begin, span = _FIRST, f"c{channel}x", SPAN_SHIFT
    return [
        f"{first + doc}{begin}{doc >> span} a{author}{entry}"
        for doc, author, entry in zip(docs, authors, entries, strict=True)
    ]


def channel_tags(db: apsw.Connection, channel: int, low: int, high: int) -> list[str]:
    """The words that the messages of a channel with rows in [low, high) may have for it; at least one."""
    ends: Any = db.execute(
        "SELECT (SELECT min(time) FROM message WHERE channel = ?1), (SELECT max(time) FROM message WHERE channel = ?1)",
        (channel,),
    ).fetchone()
    first, last = (end or 0 for end in ends)
    first = max(first >> flags.DOC_SHIFT, low) >> SPAN_SHIFT
    last = min((last >> flags.DOC_SHIFT) + widest_spill(db), high - 1) >> SPAN_SHIFT
    return [f"c{channel}x{span}" for span in range(first, max(first, last) + 1)]


def unpacked(row: str) -> tuple[int, str, str]:
    """(doc, text, tags) of a packed row."""
    tags, _, text = row[16:].partition("\n")
    return int(row[:16]) - _FIRST, text, tags


def insertion(rows: Sequence[str]) -> Statement:
    """Put packed rows into the index; sorted by their numbers: FTS5 flushes when these go back.

    One statement for all, so SQLite never comes back for the next row, and another thread has the interpreter for
    itself.
    """
    return _INSERT_ALL, (apsw.carray(tuple([row.encode() for row in rows])),)


def note_spill(db: apsw.Connection, spill: int) -> int:
    """Raise the bound of all spills of this vault: so far beyond its end a date filter must look. The bound now."""
    row: Any = db.execute(
        "INSERT INTO meta(key, value) VALUES('spill', ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)"
        " RETURNING value",
        (spill,),
    ).fetchone()
    return int(row[0])


def widest_spill(db: apsw.Connection) -> int:
    """A bound for how far the row of any message is from the unit of its time."""
    row: Any = db.execute("SELECT value FROM meta WHERE key = 'spill'").fetchone()
    return int(row[0]) if row else 0


def remove(db: apsw.Connection, doc: int, shown: tuple[str, str]) -> None:
    """Forget a message's words; `shown`, its text and tags, is exactly what was put in."""
    db.execute("DELETE FROM tail WHERE n = ?", (doc,))
    if not db.changes():
        db.execute("INSERT INTO search(search, rowid, body, tags) VALUES('delete', ?, ?, ?)", (doc, *shown))


def remove_all(db: apsw.Connection, shown: Sequence[tuple[int, str, str]]) -> None:
    """Forget the words of many messages: (doc, text, tags) of each, as they were put in.

    With `secure-delete` each word's list is cut where it lies, 0.4 ms for a message. Of many it is cheaper to note them all as
    gone and to write the whole index anew, 1.5 us for each message in it; that leaves as little of them.
    """
    tail_docs = set(tail(db))
    left = sorted(one for one in shown if one[0] not in tail_docs)
    db.executemany("DELETE FROM tail WHERE n = ?", [(one[0],) for one in shown if one[0] in tail_docs])
    total: Any = db.execute("SELECT coalesce(sum(messages), 0) FROM channel").fetchone()
    anew = len(left) >= MANY and len(left) * REWRITE_RATIO > total[0]
    if anew:
        db.execute("INSERT INTO search(search, rank) VALUES('secure-delete', 0)")
    db.executemany("INSERT INTO search(search, rowid, body, tags) VALUES('delete', ?, ?, ?)", left)
    if anew:
        db.execute("INSERT INTO search(search, rank) VALUES('secure-delete', 1)")
        db.execute("INSERT INTO search(search) VALUES('optimize')")


def replace(db: apsw.Connection, doc: int, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Another text for a message, whose row still shows the old one."""
    db.execute("UPDATE tail SET edits = edits + 1 WHERE n = ?", (doc,))
    if db.changes():
        if len(new[0]) <= TAIL_CHARS_MAX:
            return
        index_tail(db)
    remove(db, doc, old)
    db.execute(*insertion([packed(doc, new[1], new[0])]))


# The tail

_recent: WeakKeyDictionary[apsw.Connection, tuple[int, dict[int, tuple[bytes, int]]]] = WeakKeyDictionary()


class Fresh(msgspec.Struct):
    """Index rows of new messages, gathered in a transaction."""

    rows: list[str] = []  # packed
    named: list[tuple[int, bytes]] = []  # (doc, message id) of each, while they are few
    longest: int = 0  # characters of a text, of those

    def add(
        self,
        docs: Sequence[int],
        ids: Iterable[bytes],
        channel: int,
        authors: Iterable[int],
        entries: Sequence[str],
    ) -> None:
        """More, all of one channel."""
        if len(self.rows) + len(docs) <= TAIL_MAX:
            self.named += zip(docs, ids, strict=False)
            self.longest = max(self.longest, *[len(entry) - entry.index("\n") - 1 for entry in entries])
        self.rows += packed_entries(docs, channel, authors, entries)


def add(db: apsw.Connection, fresh: Fresh) -> Statement | None:
    """New messages into the tail while there is room, else all into the index, by the statement returned."""
    count: Any = db.execute("SELECT count(*) FROM tail").fetchone()
    if count[0] + len(fresh.rows) > TAIL_MAX or fresh.longest > TAIL_CHARS_MAX:
        return _with_tail(db, fresh.rows)
    db.executemany("INSERT INTO tail(n, id, edits) VALUES(?, ?, 0)", fresh.named)
    return None


def index_tail(db: apsw.Connection) -> None:
    """Put the tail into the index."""
    statement = _with_tail(db, [])
    if statement:
        db.execute(*statement)


def _with_tail(db: apsw.Connection, rows: list[str]) -> Statement | None:
    """Empty the tail; what puts it, and with it these rows, into the index."""
    left: Any = db.execute("DELETE FROM tail RETURNING id").fetchall()
    fault("tail_taken")
    taken = [packed(doc, tags, text) for doc, text, tags in _shown(db, [id for (id,) in left])]
    every = sorted(taken + rows)
    return insertion(every) if every else None


def tail(db: apsw.Connection) -> dict[int, tuple[bytes, int]]:
    """What is in the tail: index row -> (message id, how often its text changed there)."""
    return {n: (id, edits) for n, id, edits in db.execute("SELECT n, id, edits FROM tail").fetchall()}  # type: ignore[misc]


def _shown(db: apsw.Connection, ids: list[bytes]) -> list[tuple[int, str, str]]:
    """(doc, text, tags) of what messages show now, sorted."""
    if not ids:
        return []
    found: Any = db.execute(
        f"SELECT (m.time >> {flags.DOC_SHIFT}) + m.spill, m.channel, m.author, {whole('m.op')},"
        f" {whole('e.op')} FROM message m"
        " LEFT JOIN operation e ON e.id = m.edit WHERE m.id IN carray(?)",
        (apsw.carray(tuple(ids)),),
    ).fetchall()
    shown: list[tuple[int, str, str]] = []
    for doc, channel, author, op, edit_op in found:
        post: Any = stored_operation(op)
        edit: Any = stored_operation(edit_op) if edit_op else post
        shown.append((doc, text_of(post, edit.body), tags_of(post, edit.body, channel, author, doc)))
    return sorted(shown)


def distrust_tails(db: apsw.Connection) -> None:
    """Messages may show another text than they did, in the same place of the tail: nobody goes by what they know of it."""
    db.execute(
        "INSERT INTO meta(key, value) VALUES('tail_turn', 1) ON CONFLICT DO UPDATE SET value = value + 1"
    )


def _look_at_tail(db: apsw.Connection) -> bool:
    """Bring this connection's own index of the tail up to date, in memory; False if the tail is empty."""
    row: Any = db.execute("SELECT value FROM meta WHERE key = 'tail_turn'").fetchone()
    turn = row[0] if row else 0
    now = tail(db)
    before, known = _recent.pop(db, (turn, None))  # an interruption loses it, and the next search begins anew
    if before != turn:
        known = None
    if now and known is None:
        db.execute(f"DROP TABLE IF EXISTS temp.recent; CREATE VIRTUAL TABLE temp.recent USING {RECENT}")
        known = {}
    if known is not None and now != known:
        gone = [(doc,) for doc in known if now.get(doc) != known[doc]]
        come = [entry[0] for doc, entry in now.items() if known.get(doc) != entry]
        with db:
            db.executemany("DELETE FROM temp.recent WHERE rowid = ?", gone)
            db.executemany("INSERT INTO temp.recent(rowid, body, tags) VALUES(?,?,?)", _shown(db, come))
    if known is not None:
        _recent[db] = turn, now
    return bool(now)


# Queries


def author_numbers(db: apsw.Connection, name: str) -> list[int]:
    """Authors whose name or key has this text at the start of a word, at most 500."""
    escaped = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows: Any = db.execute(
        "SELECT n FROM author WHERE name LIKE ?1 || '%' ESCAPE '\\' OR name LIKE '% ' || ?1 || '%' ESCAPE '\\'"
        " OR key = ?2 OR key LIKE '%:' || ?1 ESCAPE '\\' LIMIT 500",
        (escaped, name),
    )
    return [row[0] for row in rows]


def expression(query: Query, channels: list[list[str]], authors: list[list[int]]) -> str:
    """The FTS5 expression of a query's words and filters; "" if only dates or views limit it.

    channels    for each such filter the words of all that it may mean (`channel_tags`), never none
    authors     the same, by number
    """
    wanted = [f"body : {_quoted(t.text)}{' *' if t.prefix else ''}" for t in query.terms if not t.excluded]
    wanted += [_any(tags) for tags in channels]
    wanted += [_any(f"a{n}" for n in numbers) for numbers in authors]
    wanted += [
        f"tags : {has}" for has in query.has if has in ("link", "code", "file", "notice", "mention", "reply")
    ]
    excluded = [f"body : {_quoted(t.text)}{' *' if t.prefix else ''}" for t in query.terms if t.excluded]
    if not wanted and excluded:
        wanted = ["tags : c *"]
    text = " AND ".join(f"({one})" for one in wanted)
    return f"({text}) NOT ({' OR '.join(f'({one})' for one in excluded)})" if excluded else text


def flags_wanted(query: Query) -> int:
    """The view flags a query asks for: what changes after a message was indexed."""
    known = {
        "thread": flags.THREADED, "reaction": flags.REACTED, "pin": flags.PINNED, "edit": flags.EDITED,
    }  # fmt: skip
    return sum({known[has] for has in query.has if has in known})


def find(db: apsw.Connection, match: str, low: int, high: int) -> Iterator[Any]:
    """(doc, the columns of MESSAGE_COLUMNS) of matching rows in [low, high), newest first, lazily."""
    if not match:
        return _found(db, "(SELECT n FROM doc WHERE ?1 = '' AND n >= ?2 AND n < ?3)", match, low, high)
    matching = "(SELECT rowid AS n FROM {0} WHERE {0} MATCH ?1 AND rowid >= ?2 AND rowid < ?3)"
    recent: list[Any] = []
    if _look_at_tail(db):
        recent = list(_found(db, matching.format("recent"), match, low, high))
    indexed = _found(db, matching.format("search"), match, low, high)
    return _merged(recent, indexed) if recent else indexed


def _found(db: apsw.Connection, source: str, match: str, low: int, high: int) -> Iterator[Any]:
    # The order belongs outside, where it costs no sorting: SQLite ignores that of a subquery in a join.
    sql = f"SELECT s.n, {flags.MESSAGE_COLUMNS} FROM {source} s CROSS JOIN doc d ON d.n = s.n {_MESSAGE} ORDER BY s.n DESC"
    rows: Any = db.execute(sql, (match, low, high))
    return iter(rows)


def _merged(recent: list[Any], indexed: Iterator[Any]) -> Iterator[Any]:
    """Both, newest first. What another process put into the index a moment ago is in both, and comes once."""
    last = None
    for row in heapq.merge(recent, indexed, key=lambda row: -row[0]):
        if row[0] != last:
            yield row
        last = row[0]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""').strip() + '"'


def _any(tags: Iterable[str]) -> str:
    return "tags : (" + " OR ".join(tags) + ")"
