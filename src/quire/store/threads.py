"""Threads: one in short, its replies, and those of a channel.

Counters stand in rows of their own, so that a thread in short costs the same however long it is; only where some of its
replies have expired are they counted.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import apsw

from quire.core.ids import ChannelId, MessageId
from quire.core.views import Page, Thread
from quire.errors import StorageError
from quire.storage import timeline as rows
from quire.storage.database import inconsistent
from quire.store.messages import Messages
from quire.store.reader import END, START, Position, Reader, page_size, unveiled

PREVIEW_CHARS = 120


def in_short(
    reader: Messages, db: apsw.Connection, root: bytes, channel: ChannelId, title: str
) -> Thread | None:
    """A thread's summary; None if `root` has no thread."""
    row = rows.thread(db, root)
    if row is None:
        return None
    replies, participants, last_time, last_id = row
    veil = reader.veil(db, reader.number(channel))
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
        message = reader.of_row(db, last)
        author, preview = (
            message.author,
            " ".join(message.body[: PREVIEW_CHARS * 2].split())[:PREVIEW_CHARS],
        )
    return Thread(
        MessageId(root), channel, title, replies, participants, last_time >> 16, last_id, author, preview
    )


def replies(
    reader: Reader, root: MessageId, before: Position | None, after: Position | None, limit: int
) -> Page:
    """Replies of a thread, oldest first. `after` continues; `before` goes back; neither: from the start."""
    db = reader.connection()
    limit = page_size(limit)
    columns = f"SELECT {rows.MESSAGE_COLUMNS} FROM message m WHERE m.root = ?"

    def some(where: str, place: Position) -> list[Any]:
        row = rows.get_row(db, root) if reader.any_hidden else None
        veil = reader.veil(db, row.channel) if row else None
        if veil is not None:
            return unveiled(db, veil, f"{columns} AND {where}", root, place, limit + 1)
        return db.execute(f"{columns} AND {where} LIMIT ?", (root, *place, limit + 1)).fetchall()

    if before is not None:
        found = some("(m.time, m.id) < (?, ?) ORDER BY m.time DESC, m.id DESC", before)
        messages = tuple(reader.of_rows(db, found[:limit][::-1]))
        older, newer = len(found) > limit, True
    else:
        found = some("(m.time, m.id) > (?, ?) ORDER BY m.time, m.id", after or START)
        messages = tuple(reader.of_rows(db, found[:limit]))
        older, newer = after is not None, len(found) > limit
    if not messages:
        return Page((), None, None)
    return Page(messages, messages[0].cursor if older else None, messages[-1].cursor if newer else None)


def of_channel(reader: Reader, channel: int, before: Position | None, limit: int) -> list[tuple[Thread, int]]:
    """(thread, its place in time) of a channel, the latest reply first."""
    db = reader.connection()
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
        if reader.hides(root):
            continue
        title = ""
        with suppress(StorageError):  # it is archived, and out of reach
            title = rows.post_of(db, row).title
        thread = in_short(reader, db, root, reader.channel_of(db, channel), title)
        if thread is not None:
            threads.append((thread, last_time))
    return threads
