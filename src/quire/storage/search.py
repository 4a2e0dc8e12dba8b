"""The search index: what goes in, what comes out, and how a query becomes one index expression.

FTS5 without content: it holds words and places, never bodies. A row's number is its time in milliseconds
shifted by 20 bits, plus an arrival number, so rows are in time order and `ORDER BY rowid DESC` is newest
first without sorting. Removing a row needs the very text that was put in; with `secure-delete` nothing of
it is left in the index's entries.
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

ARRIVAL_BITS = 20
_link = re.compile(r"https?://", re.IGNORECASE)


def doc_number(time: int, arrival: int) -> int:
    """The index row for a message of this hybrid time, the `arrival`-th to come."""
    return (time >> 16) << ARRIVAL_BITS | arrival & (1 << ARRIVAL_BITS) - 1


def text_of(post: Post, body: str) -> str:
    """What of a message is found by words: its text, title and attachments' names."""
    if not post.title and not post.attachments:
        return index_text(body)
    return index_text("\n".join([body, post.title, *(attachment.name for attachment in post.attachments)]))


def tags_of(post: Post, body: str, channel: int, author: int) -> str:
    """The words by which filters find a message."""
    tags = f"c{channel} a{author}"
    if "://" in body and _link.search(body):
        tags += " link"
    if "`" in body:
        tags += " code"
    if post.attachments:
        tags += " file"
    if post.notice:
        tags += f" notice {NOTICES[post.notice]}"
    if post.mentions:
        tags += " mention"
    if post.root or post.reply_to:
        tags += " reply"
    return tags


def insert(db: apsw.Connection, rows: list[tuple[int, bytes, str, str]]) -> None:
    """(doc, message id, text, tags) each, sorted by doc: FTS5 flushes when row numbers go back."""
    db.executemany("INSERT INTO doc(n, id) VALUES(?, ?)", ((doc, id) for doc, id, _, _ in rows))
    db.executemany(
        "INSERT INTO search(rowid, body, tags) VALUES(?,?,?)",
        ((doc, text, tags) for doc, _, text, tags in rows),
    )


def remove(db: apsw.Connection, doc: int, text: str, tags: str) -> None:
    """Forget a message's words; `text` and `tags` are exactly what was put in."""
    db.execute("INSERT INTO search(search, rowid, body, tags) VALUES('delete', ?, ?, ?)", (doc, text, tags))


def replace(db: apsw.Connection, doc: int, old: tuple[str, str], new: tuple[str, str]) -> None:
    """Another text for a message."""
    remove(db, doc, *old)
    db.execute("INSERT INTO search(rowid, body, tags) VALUES(?,?,?)", (doc, *new))


def free_docs(
    db: apsw.Connection, rows: list[tuple[int, bytes, str, str]]
) -> list[tuple[int, bytes, str, str]]:
    """The same rows, moved on where their number is taken: arrival numbers repeat after a million messages."""
    numbers = array("q", [row[0] for row in rows])
    found: Any = db.execute("SELECT n FROM doc WHERE n IN carray(?)", (apsw.carray(numbers),))
    taken = {n for (n,) in found}
    moved = []
    for doc, *rest in rows:
        while doc in taken:
            doc += 1
            if db.execute("SELECT 1 FROM doc WHERE n = ?", (doc,)).fetchone():
                taken.add(doc)
        taken.add(doc)
        moved.append((doc, *rest))
    return moved  # type: ignore[return-value]


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


def find(db: apsw.Connection, match: str, low: int, high: int) -> Iterator[tuple[int, bytes]]:
    """(doc, message id) of matching rows in [low, high), newest first, as many as are taken."""
    if match:
        rows: Any = db.execute(
            "SELECT s.rowid, d.id FROM search s CROSS JOIN doc d ON d.n = s.rowid"
            " WHERE s.search MATCH ? AND s.rowid >= ? AND s.rowid < ? ORDER BY s.rowid DESC",
            (match, low, high),
        )
    else:
        rows = db.execute("SELECT n, id FROM doc WHERE n >= ? AND n < ? ORDER BY n DESC", (low, high))
    return iter(rows)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""').strip() + '"'


def _any(tags: Iterable[str]) -> str:
    return "tags : (" + " OR ".join(tags) + ")"
