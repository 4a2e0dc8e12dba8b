"""The search index: what goes in, what comes out, and how a query becomes one index expression.

FTS5 without content: it holds words and places, never bodies. Row numbers follow time (storage/schema.py), so
`ORDER BY rowid DESC` is newest first without sorting; small steps between them keep the index small, too.
Removing a row needs the very text that was put in; with `secure-delete` nothing of it is left in the index's
entries.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import apsw

from quire.core.operation import NOTICES, Post
from quire.core.query import Query
from quire.core.words import index_text
from quire.storage import timeline as flags

_link = re.compile(r"https?://", re.IGNORECASE)


def text_of(post: Post, body: str) -> str:
    """What of a message is found by words: its text, title and attachments' names."""
    if not post.title and not post.attachments:
        return body if body.isascii() else index_text(body)
    return index_text("\n".join([body, post.title, *(attachment.name for attachment in post.attachments)]))


def tags_of(post: Post, body: str, channel: int, author: int) -> str:
    """The words by which filters find a message."""
    tags = f"c{channel} a{author}"
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


def insert(db: apsw.Connection, rows: list[tuple[int, str, str]]) -> None:
    """(doc, text, tags) each, sorted by doc: FTS5 flushes when row numbers go back."""
    db.executemany("INSERT INTO search(rowid, body, tags) VALUES(?,?,?)", rows)


class DocNumbers:
    """Hands out index rows. It remembers the last run of taken numbers, for many messages of one moment."""

    def __init__(self) -> None:
        self._run = (0, -1)  # first and last of numbers known to be taken without a gap
        self._widest = -1  # the widest spill known to be noted

    def take(self, db: apsw.Connection, channel: int, times: list[int]) -> list[int]:
        """Reserve a row for a message of each of these hybrid times (ascending); how far each spilled over."""
        newest: Any = db.execute("SELECT max(n) FROM doc").fetchone()
        docs = _ascending([time >> flags.DOC_SHIFT for time in times])
        if len(docs) == 1:
            if newest[0] is not None and docs[0] <= newest[0] and _is_taken(db, docs[0]):
                docs = [self._next_free(db, docs[0])]
        elif newest[0] is not None and docs[0] <= newest[0]:
            found: Any = db.execute(
                "SELECT n FROM doc WHERE n IN carray(?)", (apsw.carray(array("q", docs)),)
            )
            taken = {n for (n,) in found}
            if taken:
                docs = self._around(db, docs, taken)
        spills = [doc - (time >> flags.DOC_SHIFT) for doc, time in zip(docs, times, strict=True)]
        db.executemany(
            "INSERT INTO doc(n, channel, spill) VALUES(?, ?, ?)",
            [(doc, channel, spill) for doc, spill in zip(docs, spills, strict=True)],
        )
        if (widest := max(spills)) > self._widest:
            self._widest = note_spill(db, (1 << widest.bit_length()) - 1)  # a bound; so it is seldom moved
        return spills

    def _around(self, db: apsw.Connection, docs: list[int], taken: set[int]) -> list[int]:
        """The same, passing over what is taken."""
        last = -1
        moved = []
        for doc in docs:
            free = max(doc, last + 1)
            if free in taken or (free != doc and _is_taken(db, free)):
                free = self._next_free(db, free)
            last = free
            moved.append(free)
        return moved

    def _next_free(self, db: apsw.Connection, doc: int) -> int:
        """The first number from a taken one on that no row has."""
        first, last = self._run
        if not first <= doc <= last:
            first = last = doc
        free = last + 1
        if _is_taken(db, free):
            row: Any = db.execute(
                "SELECT n + 1 FROM doc AS here WHERE n >= ?"
                " AND NOT EXISTS (SELECT 1 FROM doc WHERE n = here.n + 1) ORDER BY n LIMIT 1",
                (free,),
            ).fetchone()
            free = int(row[0])
        self._run = (first, free)
        return free


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


def _is_taken(db: apsw.Connection, doc: int) -> bool:
    return db.execute("SELECT 1 FROM doc WHERE n = ?", (doc,)).fetchone() is not None


def _ascending(bases: list[int]) -> list[int]:
    """Each its own number, not before its base."""
    last = -1
    docs = []
    for base in bases:
        last = base if base > last else last + 1
        docs.append(last)
    return docs


def remove(db: apsw.Connection, doc: int, text: str, tags: str) -> None:
    """Forget a message's words; `text` and `tags` are exactly what was put in."""
    db.execute("INSERT INTO search(search, rowid, body, tags) VALUES('delete', ?, ?, ?)", (doc, text, tags))


def replace(db: apsw.Connection, doc: int, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Another text for a message."""
    remove(db, doc, *old)
    db.execute("INSERT INTO search(rowid, body, tags) VALUES(?,?,?)", (doc, *new))


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


def expression(query: Query, channels: list[list[int]], authors: list[list[int]]) -> str:
    """The FTS5 expression of a query's words and filters; "" if only dates or views limit it.

    channels, authors   for each filter of its kind, the numbers it may mean (never empty)
    """
    wanted = [f"body : {_quoted(t.text)}{' *' if t.prefix else ''}" for t in query.terms if not t.excluded]
    wanted += [_any(f"c{n}" for n in numbers) for numbers in channels]
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
    joined = (
        f" CROSS JOIN doc d ON d.n = s.n CROSS JOIN message m ON m.channel = d.channel AND m.spill = d.spill"
        f" AND m.time >= (d.n - d.spill) << {flags.DOC_SHIFT} AND m.time < (d.n - d.spill + 1) << {flags.DOC_SHIFT}"
    )
    if match:
        found = "(SELECT rowid AS n FROM search WHERE search MATCH ?1 AND rowid >= ?2 AND rowid < ?3)"
    else:
        found = "(SELECT n FROM doc WHERE ?1 = '' AND n >= ?2 AND n < ?3)"
    # The order belongs outside, where it costs no sorting: SQLite ignores that of a subquery in a join.
    sql = f"SELECT s.n, {flags.MESSAGE_COLUMNS} FROM {found} s {joined} ORDER BY s.n DESC"
    rows: Any = db.execute(sql, (match, low, high))
    return iter(rows)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""').strip() + '"'


def _any(tags: Iterable[str]) -> str:
    return "tags : (" + " OR ".join(tags) + ")"
