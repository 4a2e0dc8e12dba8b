"""Looking for texts in every byte of a vault's file, as it is before it is encrypted: pages in use, free ones, the search index.

SQLite gives the pages out decrypted only all together, in memory: so a vault of more than `SCAN_BYTES_MAX` is not
scanned whole. Nothing is written in the clear. Texts are looked for in pieces that a page cannot cut all of, and
their words in the index's own list as well, since that stores them shortened. What is found is explained if something that
stands says the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.reports import Scan
from quire.core.words import index_text
from quire.errors import UsageError
from quire.storage.database import PAGE_SIZE

if TYPE_CHECKING:
    from quire.store.local import LocalStore

PIECE = 24  # bytes looked for
STEP = 512  # of a long text, from one piece to the next: a page of text holds several whole
SHORT = 6  # bytes; what is shorter is found by chance
WORD_CHARS_MIN = 5
PIECES_MAX = 300
SCAN_BYTES_MAX = 1 << 30  # in memory for as long as it takes
_word = re.compile(r"\w+")


def scan(store: LocalStore, texts: list[str]) -> Scan:
    """Look for texts; see this module. The WAL is emptied first. Raises: StorageError."""
    if not store.database.read_only:
        store.database.checkpoint()
    db = store.database.reader
    pieces, skipped = _pieces(texts)
    words = _words_of_nobody(db, texts)
    size = store.database.path.stat().st_size
    if size > SCAN_BYTES_MAX:
        raise UsageError(
            "this vault is too large to be scanned at once", rule="scan_too_large", limit=SCAN_BYTES_MAX
        )
    pages = db.serialize("main")
    present = [piece for piece in (*pieces, *words) if piece in pages]
    count = len(pages) // PAGE_SIZE
    del pages
    said = [text for text in texts if len(text.encode()) >= SHORT]
    elsewhere = sum(_said(db, text.encode()) for text in said)
    unexplained = [piece for piece in present if not _said(db, piece)]
    return Scan(count, len(pieces) + len(words), skipped, len(unexplained), elsewhere)


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
