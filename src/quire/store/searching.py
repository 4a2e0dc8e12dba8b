"""Searching: the newest messages that match a query (core/query.py).

The index finds rows by words and by the channel, author and kind that its second column has; what it cannot know (the minute,
bookmarks, what has expired) is looked at here, row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw

from quire.core.ids import ChannelId
from quire.core.limits import TIME_MS_MAX
from quire.core.query import Query, parse_query
from quire.core.views import Hit, Hits
from quire.core.words import spans
from quire.errors import NotFoundError, UsageError
from quire.storage import log
from quire.storage import search as search_rows
from quire.storage import timeline as rows
from quire.store.local import LocalStore, names_channel
from quire.store.reader import Reader, page_size

if TYPE_CHECKING:
    from quire.store.veiling import Veil


def search(store: LocalStore, text: str, channel: ChannelId | None, limit: int, before: str | None) -> Hits:
    """The newest matches of a query. Raises: UsageError, NotFoundError.

    channel    in this one only
    before     a cursor that earlier hits gave
    """
    query, reader = parse_query(text), store.reader
    db = reader.connection()
    channels = [[reader.number(channel)]] if channel else []
    channels += [_channels_named(db, name) for name in query.channels]
    authors = [_authors_named(store, db, name) for name in query.authors]
    if not all(authors):
        return Hits((), None)
    return _find(reader, db, query, channels, authors, limit, _row_before(before))


def _channels_named(db: apsw.Connection, name: str) -> list[int]:
    found = [row.n for row in log.channels(db) if names_channel(row, name)]
    if not found:
        raise NotFoundError(f"there is no channel {name}", rule="no_channel")
    return found


def _authors_named(store: LocalStore, db: apsw.Connection, name: str) -> list[int]:
    own = [store.own_author()] if name.lower() == "me" else []
    return own or search_rows.author_numbers(db, name)


def _row_before(cursor: str | None) -> int | None:
    try:
        return None if cursor is None else int(cursor, 16)
    except ValueError:
        raise UsageError("this is not a search cursor", rule="cursor_form") from None


def _find(
    reader: Reader,
    db: apsw.Connection,
    query: Query,
    channels: list[list[int]],
    authors: list[list[int]],
    limit: int,
    before: int | None,
) -> Hits:
    """The newest before index row `before`, in one of each of these channels, by one of each of these authors."""
    limit = page_size(limit)
    start, end = (query.after_ms or 0) << 16, min(query.before_ms or TIME_MS_MAX, TIME_MS_MAX) << 16
    low, high = start >> rows.DOC_SHIFT, (end >> rows.DOC_SHIFT) + search_rows.widest_spill(db) + 1
    wanted = search_rows.flags_wanted(query)
    phrases = [(list(term.words), term.prefix) for term in query.terms if not term.excluded]
    marked = set(rows.bookmarks(db)) if "bookmark" in query.has else None
    tags = [[tag for n in one for tag in search_rows.channel_tags(db, n, low, high)] for one in channels]
    match = search_rows.expression(query, tags, authors)
    found: list[tuple[int, Any]] = []
    veils: dict[int, Veil | None] = {}
    # All rows first: an unfinished cursor would hold this connection at one moment of the vault.
    for doc, *row in search_rows.find(db, match, low, min(high, before if before is not None else high)):
        if row[4] & (wanted | rows.DELETED) != wanted or not start <= row[1] < end:
            continue
        if marked is not None and row[2] not in marked:
            continue
        if reader.is_bounded(row[0]):
            if row[0] not in veils:
                veils[row[0]] = reader.veil(db, row[0])
            if (veil := veils[row[0]]) is not None and not veil.shown([row]):
                continue
        found.append((doc, row))
        if len(found) > limit:
            break
    shown = [row for _, row in found[:limit]]
    names = {n: log.channel_by_n(db, n).name for n in {row[0] for row in shown}}
    hits = tuple([
        Hit(message, names[row[0]], spans(message.body, phrases) if phrases else ())
        for row, message in zip(shown, reader.of_rows(db, shown), strict=True)
    ])  # fmt: skip
    return Hits(hits, f"{found[limit - 1][0]:x}" if len(found) > limit else None)
