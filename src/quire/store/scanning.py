"""Looking for texts in every byte of a vault's file, as it is before it is encrypted: pages in use, free ones, the search index.

The pages are read by the cipher's own file, which decrypts them, some at a time: a vault may have any size. Nothing is written
in the clear. Texts are looked for in pieces that a page cannot cut all of, and their words in the index's own list as well,
since that stores them shortened. What is found is explained if something that stands says the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.reports import Scan
from quire.core.words import index_text
from quire.storage.database import PAGE_SIZE, one_moment

if TYPE_CHECKING:
    from quire.store.local import LocalStore, Progress

PIECE = 24  # bytes looked for
STEP = 512  # of a long text, from one piece to the next: a page of text holds several whole
SHORT = 6  # bytes; what is shorter is found by chance
WORD_CHARS_MIN = 5
PIECES_MAX = 300
PAGES_AT_ONCE = 128  # 1 MiB
TRIES = 3
_word = re.compile(r"\w+")


def scan(store: LocalStore, texts: list[str], progress: Progress | None = None) -> Scan:
    """Look for texts; see this module. The WAL is emptied first. Raises: StorageError."""
    is_empty = _journal_bytes(store) == 0 if store.database.read_only else store.database.checkpoint()
    db = store.database.reader
    pieces, skipped = _pieces(texts)
    words = _words_of_nobody(db, texts)
    present, count = _found(db, [*pieces, *words], progress)
    said = [text for text in texts if len(text.encode()) >= SHORT]
    elsewhere = sum(_said(db, text.encode()) for text in said)
    unexplained = [piece for piece in present if not _is_form(db, piece) and not _said(db, piece)]
    return Scan(count, len(pieces) + len(words), skipped, len(unexplained), elsewhere, not is_empty)


def _journal_bytes(store: LocalStore) -> int:
    journal = store.database.path.with_name(store.database.path.name + "-wal")
    return journal.stat().st_size if journal.exists() else 0


def _found(db: apsw.Connection, wanted: list[bytes], progress: Progress | None) -> tuple[list[bytes], int]:
    """Those of some pieces that are anywhere in the file, and how many pages it has."""
    left = set(wanted)
    overlap = max(map(len, wanted), default=1) - 1
    with one_moment(db):  # what others write meanwhile stays in the WAL
        db.pragma("schema_version")  # from here on
        total = os.stat(db.filename).st_size // PAGE_SIZE
        before = b""
        for first in range(0, total, PAGES_AT_ONCE):
            some = min(PAGES_AT_ONCE, total - first)
            pages = _pages(db, first, some)
            looked_at = before + pages
            left -= {piece for piece in left if piece in looked_at}
            before = pages[len(pages) - overlap :] if overlap else b""
            if progress:
                progress("looking at every byte", first + some, total)
    return [piece for piece in wanted if piece not in left], total


def _pages(db: apsw.Connection, first: int, some: int) -> bytes:
    """Pages as they are before they are encrypted."""
    for left in reversed(range(TRIES)):
        try:
            whole, pages = db.read("main", 0, first * PAGE_SIZE, some * PAGE_SIZE)
            if whole or not left:
                break
        except apsw.Error:  # a checkpoint of what was written just before is at this page, or it is damaged
            if not left:
                raise
    return pages


def _pieces(texts: Iterable[str]) -> tuple[list[bytes], int]:
    """What of the texts is looked for, and how much is not."""
    found: dict[bytes, None] = {}
    skipped = 0
    for text in texts:
        data = text.encode()
        if len(data) < SHORT:
            skipped += 1
            continue
        last = max(len(data) - PIECE, 0)
        for at in (*range(0, last, STEP), last):
            found[data[at : at + PIECE]] = None
    if len(found) <= PIECES_MAX:
        return list(found), skipped
    every = list(found)
    chosen = [every[at * len(every) // PIECES_MAX] for at in range(PIECES_MAX)]
    return chosen, skipped + len(every) - PIECES_MAX


def _words_of_nobody(db: apsw.Connection, texts: Iterable[str]) -> list[bytes]:
    """Words of the texts, as the index writes them, that no message has: those it must not have either."""
    words = {word for text in texts for word in _word.findall(index_text(text).lower())}
    found: list[bytes] = []
    for word in sorted(words):
        if len(word) < WORD_CHARS_MIN or len(found) >= PIECES_MAX:
            continue
        quoted = '"' + word.replace('"', "") + '"'
        hit = db.execute(
            "SELECT 1 FROM search WHERE search MATCH ? LIMIT 1", (f"body : {quoted}",)
        ).fetchone()
        if hit is None:
            found.append(word.encode())
    return found


def _is_form(db: apsw.Connection, data: bytes) -> bool:
    """Is it a word of the tables themselves, which every vault has?"""
    row: Any = db.execute(
        "SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE instr(CAST(sql AS BLOB), ?1))"
        " OR EXISTS(SELECT 1 FROM meta WHERE instr(CAST(key AS BLOB), ?1))",
        (data,),
    ).fetchone()
    return bool(row[0])


def _said(db: apsw.Connection, data: bytes) -> int:
    """How many standing operations have these bytes."""
    count: Any = db.execute(
        "SELECT (SELECT count(*) FROM message WHERE instr(op, ?1)) + (SELECT count(*) FROM operation WHERE instr(op, ?1))"
        " + (SELECT count(*) FROM waiting WHERE instr(op, ?1)) + (SELECT count(*) FROM voided WHERE instr(op, ?1))"
        " + (SELECT count(*) FROM author WHERE instr(CAST(name AS BLOB), ?1))"
        " + (SELECT count(*) FROM channel WHERE instr(CAST(name AS BLOB), ?1) OR instr(CAST(topic AS BLOB), ?1))",
        (data,),
    ).fetchone()
    return int(count[0])
