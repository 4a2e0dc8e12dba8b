"""The smaller views against the operations their rows name: threads, authors, markers, bookmarks, names, index rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from quire.core.operation import (
    Bookmark,
    Contact,
    DeviceName,
    Operation,
    Post,
    Profile,
    ReadMarker,
    Unbookmark,
)
from quire.storage import timeline as rows
from quire.storage.cold import is_reference, opened_or
from quire.store.check_views import Views
from quire.store.findings import Groups, Run, named, readable

REPLIES = (
    "SELECT root, channel, time, id, author, flags FROM message INDEXED BY message_root WHERE root IS NOT NULL"
    " ORDER BY root, time, id"
)
THREADS = "SELECT root, channel, replies, participants, last_time, last_id FROM thread ORDER BY root"
THREAD_AUTHORS = "SELECT root, author, replies FROM thread_author ORDER BY root"


def check_threads(run: Run, views: Views) -> None:
    """Every thread's summary and authors, recounted from its replies. The messages were checked before."""
    add = run.findings.add
    threads = Groups(run.db.execute(THREADS), lambda row: _check_unanswered(run, row))
    authors = Groups(
        run.db.execute(THREAD_AUTHORS), lambda row: add("thread_view", named(row[0]), "authors of no replies")
    )
    replies: Iterator[Any] = run.db.execute(REPLIES)
    for root, group in groupby(replies, key=itemgetter(0)):
        counts: Counter[int] = Counter()
        channel, last = 0, None
        for _, channel, time, id, author, flags in group:  # noqa: B007 - one channel, checked per message
            if not flags & rows.DELETED:
                counts[author] += 1
                last = (time, id)
        views.threads[channel] += 1
        first = rows.get_row(run.db, root)
        if first is None:
            add("thread_view", named(root), "its root is not here")
            continue
        if not first.flags & rows.THREADED:
            add("message_view", named(root), "flags")
        right = (root, channel, counts.total(), len(counts), *(last or (first.time, None)))
        if [tuple(row) for row in threads.take(root)] != [right]:
            add("thread_view", named(root), "summary")
        if Counter({author: count for _, author, count in authors.take(root)}) != counts:
            add("thread_view", named(root), "authors")
    threads.finish()
    authors.finish()


def _check_unanswered(run: Run, row: Any) -> None:
    """A thread without replies: its root has a title."""
    first = rows.get_row(run.db, row[0])
    stored = opened_or(run.db, first.op) if first else b""
    post = readable(stored)
    titled = is_reference(stored) or (isinstance(post, Post) and bool(post.title))
    if first is None or not titled or tuple(row[1:]) != (first.channel, 0, 0, first.time, None):
        run.findings.add("thread_view", named(row[0]), "summary")


def check_newest(run: Run) -> None:
    """Each author, marker, bookmark, contact and device name says what the operation it names says."""
    authors: Any = run.db.execute("SELECT a.id, a.key, a.name, a.bot, a.time FROM author a")
    for id, key, name, bot, time in authors:
        if id:
            profile = _operation(run, id)
            right = isinstance(profile, Profile) and (
                f"{profile.source}:{profile.author}" if profile.source else run.signer(id), profile.name, profile.bot
            ) == (key, name, bool(bot))  # fmt: skip
        else:
            plain = key.partition(":")[2]
            right = (name, bot, time) == (plain[:8] if key.startswith("quire:") else plain, 0, -1)
        if not right or (id and _time(run, id) != time):
            run.findings.add("author_view", named(id) if id else "author", "differs from the profile")
    markers: Any = run.db.execute("SELECT id, channel, read_time, message, time FROM marker")
    for id, channel, read_time, message, time in markers:
        if _operation(run, id) != ReadMarker(channel, read_time, message) or _time(run, id) != time:
            run.findings.add("marker_view", named(id))
    bookmarks: Any = run.db.execute("SELECT id, channel, message, standing, time FROM bookmark")
    for id, channel, message, standing, time in bookmarks:
        mark = (Bookmark if standing else Unbookmark)(channel, message)
        if _operation(run, id) != mark or _time(run, id) != time:
            run.findings.add("bookmark_view", named(id))

    contacts: Any = run.db.execute("SELECT id, identity, name, verified, time FROM contact")
    for id, identity, name, verified, time in contacts:
        if _operation(run, id) != Contact(identity, name, bool(verified)) or _time(run, id) != time:
            run.findings.add("contact_view", named(id))
    devices: Any = run.db.execute("SELECT id, device, name, time FROM device_name")
    for id, device, name, time in devices:
        if _operation(run, id) != DeviceName(device, name) or _time(run, id) != time:
            run.findings.add("device_name_view", named(id))


def check_docs(run: Run) -> None:
    """No index row is kept without a message. That each message has its own was checked with it."""
    count: Any = run.db.execute(
        "SELECT (SELECT count(*) FROM doc), (SELECT count(*) FROM message)"
    ).fetchone()
    if count[0] != count[1]:
        run.findings.add("search_view", "doc", f"{count[0]} rows for {count[1]} messages")


def _operation(run: Run, id: bytes) -> Operation | None:
    row: Any = run.db.execute("SELECT op FROM operation WHERE id = ? AND void = 0", (id,)).fetchone()
    return readable(row[0]) if row else None


def _time(run: Run, id: bytes) -> int:
    return rows.operation_time(run.db, id)
