"""The search index against the messages, word by word, in constant memory.

Both sides are sets of (word, row, column, place). Each side is summed up as the total of its members' hashes,
which does not depend on order: the messages' by the index's own tokenizer, the index's by reading it through.
Only where sums differ is it asked which rows differ. Messages in the tail (storage/search.py) are to have no words
in the index.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import count, repeat
from typing import Any

import apsw
import msgspec

from quire.core.operation import Post
from quire.errors import CorruptError
from quire.storage import schema, search
from quire.storage import timeline as rows
from quire.storage.cold import opened
from quire.store.changes import shown_body
from quire.store.findings import PROBLEMS_MAX, Findings, named, readable

TOKEN_BYTES_MAX = 32_768  # FTS5 cuts longer words there (FTS5_MAX_TOKEN_SIZE)
BUCKETS = 4_096  # rows are summed by their number modulo this
BUCKETS_EXAMINED_MAX = 64
VOCABULARIES = (("index_words", "instance"), ("index_terms", "row"), ("index_lookup", "row"))
NO_MESSAGE = (
    f"SELECT n FROM tail EXCEPT SELECT (m.time >> {rows.DOC_SHIFT}) + m.spill FROM tail t JOIN message m ON m.id = t.id"
    f" WHERE t.n = (m.time >> {rows.DOC_SHIFT}) + m.spill AND m.flags & {rows.DELETED} = 0"
)
INDEXED = "SELECT CAST(term AS BLOB), doc, col, offset FROM temp.index_words"
BUT_UNREAD = f"{INDEXED} WHERE doc NOT IN (SELECT n FROM temp.unread)"


class SearchCheck:
    """Collects what the index should hold, then compares."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        name, *arguments = shlex.split(schema.TOKENIZER)
        self._tokenizer = db.fts5_tokenizer(name, arguments)
        self._expected = [0] * BUCKETS
        self._tail = set(search.tail(db))
        self._indexed = INDEXED

    def expect(self, doc: int, post: Post, body: str, channel: int, author: int) -> None:
        """A message that shows `body` and is not deleted."""
        if doc in self._tail:
            return
        text, tags = search.text_of(post, body), search.tags_of(post, body, channel, author, doc)
        self._expected[doc % BUCKETS] += self._sum(doc, text, tags)

    def unread(self, doc: int) -> None:
        """A message whose text is archived out of reach: its words are not looked at."""
        if self._indexed == INDEXED:
            self._db.execute(
                "DROP TABLE IF EXISTS temp.unread; CREATE TABLE temp.unread(n INTEGER PRIMARY KEY)"
            )
            self._indexed = BUT_UNREAD
        self._db.execute("INSERT OR IGNORE INTO temp.unread(n) VALUES(?)", (doc,))

    def _sum(self, doc: int, text: str, tags: str) -> int:
        total = 0
        for column, value in (("body", text), ("tags", tags)):
            words: Iterator[bytes] = map(str.encode, self._words(value))
            if len(value) > TOKEN_BYTES_MAX // 4:
                words = (word[:TOKEN_BYTES_MAX] for word in words)
            total += sum(map(hash, zip(words, repeat(doc), repeat(column), count())))
        return total

    def _words(self, text: str) -> list[str]:
        words: Any = self._tokenizer(
            text.encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False, include_colocated=False
        )
        return words  # type: ignore[no-any-return]

    def compare(self, findings: Findings) -> None:
        """Read the whole index and report the messages whose words it has not, or has wrongly."""
        for table, kind in VOCABULARIES:
            self._db.execute(f"DROP TABLE IF EXISTS temp.{table}")
            self._db.execute(f"CREATE VIRTUAL TABLE temp.{table} USING fts5vocab(main, search, {kind})")
        try:
            if sum(map(hash, self._db.execute(self._indexed))) != sum(self._expected):
                self._locate(findings)
            self._check_lookups(findings)
            for (doc,) in self._db.execute(NO_MESSAGE).fetchall():
                findings.add("search_view", f"index row {doc}", "no message to be indexed")
            widest: Any = self._db.execute("SELECT coalesce(max(spill), 0) FROM doc").fetchone()
            if widest[0] > search.widest_spill(self._db):
                findings.add("search_view", "search", "the widest spill")
        finally:
            for table, _ in VOCABULARIES:
                self._db.execute(f"DROP TABLE temp.{table}")
            self._db.execute("DROP TABLE IF EXISTS temp.unread")

    def _locate(self, findings: Findings) -> None:
        found = [0] * BUCKETS
        indexed: Any = self._db.execute(self._indexed)
        for word in indexed:
            found[word[1] % BUCKETS] += hash(word)
        differing = [bucket for bucket in range(BUCKETS) if found[bucket] != self._expected[bucket]]
        examined = set(differing[:BUCKETS_EXAMINED_MAX])
        sums: dict[int, int] = {}
        indexed = self._db.execute(self._indexed)
        for word in indexed:
            if word[1] % BUCKETS in examined:
                sums[word[1]] = sums.get(word[1], 0) + hash(word)
        before = findings.count
        docs: Any = self._db.execute("SELECT n, channel, spill FROM doc ORDER BY n")
        for doc, channel, spill in docs:
            if doc % BUCKETS in examined:
                self._check_doc(findings, doc, channel, spill, sums.pop(doc, 0))
        for doc in list(sums)[:PROBLEMS_MAX]:
            findings.add("search_view", f"index row {doc}", "words of no message")
        if len(differing) > BUCKETS_EXAMINED_MAX or findings.count == before:
            findings.add("search_view", "search", f"{len(differing)} of {BUCKETS} parts of the index differ")

    def _check_doc(self, findings: Findings, doc: int, channel: int, spill: int, found: int) -> None:
        low = (doc - spill) << rows.DOC_SHIFT
        at: Any = self._db.execute(
            "SELECT id FROM message WHERE channel = ? AND time >= ? AND time < ? AND spill = ?",
            (channel, low, low + (1 << rows.DOC_SHIFT), spill),
        ).fetchone()
        row = rows.get_row(self._db, at[0]) if at else None
        is_indexed = row and not row.flags & rows.DELETED and doc not in self._tail
        if self._is_unread(doc):
            return
        if found != (self._expected_of(doc, row) if row and is_indexed else 0):
            where = named(row.id) if row else f"index row {doc}"
            findings.add("search_view", where, "its words are not those of its text")

    def _is_unread(self, doc: int) -> bool:
        sql = "SELECT 1 FROM temp.unread WHERE n = ?"
        return self._indexed == BUT_UNREAD and self._db.execute(sql, (doc,)).fetchone() is not None

    def _expected_of(self, doc: int, row: rows.MessageRow) -> int | None:
        """What the index should hold of a message by its row; None if that cannot be told."""
        try:
            post = readable(opened(self._db, row.op))
            body = shown_body(self._db, row, post) if isinstance(post, Post) else ""
        except (CorruptError, msgspec.MsgspecError):
            return None
        if not isinstance(post, Post):
            return None
        return self._sum(
            doc, search.text_of(post, body), search.tags_of(post, body, row.channel, row.author, row.doc)
        )

    def _check_lookups(self, findings: Findings) -> None:
        """Every word is found when it is looked for: the index's own inner index leads to it."""
        lost: Any = self._db.execute(
            "SELECT count(*) FROM temp.index_terms t"
            " WHERE NOT EXISTS (SELECT 1 FROM temp.index_lookup l WHERE l.term = t.term)"
        ).fetchone()
        if lost[0]:
            findings.add("search_view", "search", f"{lost[0]} words are there, but not found")
