"""What an erasure says of messages, as whoever erases writes it; and what is to be erased when its file is at hand.

Of an imported message others must know the source, the time and a mark of its original id, so that the same export does
not bring it back. Where it is archived and its file away, that the message is to be erased is noted (`wished`), and
`finish` writes the erasure as soon as it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.ids import ChannelId
from quire.core.limits import ERASED_PER_OPERATION_MAX
from quire.core.operation import KINDS, Edit, Erase, Gone, Origin, Remains
from quire.core.rights import MAY_MODERATE
from quire.errors import UnauthorisedError, UsageError
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.cold import away, is_reference

if TYPE_CHECKING:
    from quire.store.local import LocalStore

Entry = Remains | Gone
AT_ONCE = 1_000  # erased in one transaction by `finish`


class Rights:
    """May we erase these? What a moderator may, or whoever signed them. A log is looked up once."""

    def __init__(self, db: apsw.Connection, channel: log.ChannelRow, own: str) -> None:
        self._db, self._own = db, own
        self._moderates = bool(channel.rights & MAY_MODERATE)
        self._ours: dict[bytes, bool] = {}

    def may(self, id: bytes) -> bool:
        """Are we whoever signed an operation, or may we moderate?"""
        if self._moderates:
            return True
        found = self._ours.get(id[:10])
        if found is None:
            row = log.log_by_prefix(self._db, id[:10])
            found = self._ours[id[:10]] = row is not None and row.signer == self._own
        return found


def remains_of(db: apsw.Connection, channel: log.ChannelRow, row: rows.MessageRow) -> Remains:
    """What there is to say of a message."""
    if not row.flags & rows.IMPORTED:  # its text need not be at hand
        return Remains(row.id, row.root, None)
    from quire.core.timeline import erased_mark

    post = rows.post_of(db, row)
    origin, place = post.origin, None
    if origin is not None:
        mark = erased_mark(channel.id, origin.source, origin.id) if origin.id else ""
        place = Origin(origin.source, "", mark, origin.time_ms)
    return Remains(row.id, row.root, place)


def edits_of(db: apsw.Connection, ids: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    """Message -> its later versions."""
    if not ids:
        return {}
    edits: Any = db.execute(
        "SELECT target, id FROM operation WHERE target IN carray(?) AND kind = ?",
        (apsw.carray(tuple(ids)), KINDS[Edit]),
    ).fetchall()
    found: dict[bytes, list[bytes]] = {}
    for target, id in edits:
        found.setdefault(target, []).append(id)
    return found


def in_erases(entries: Sequence[Entry], reason: str) -> Iterator[Erase]:
    """Entries in as few operations as hold them."""
    for first in range(0, len(entries), ERASED_PER_OPERATION_MAX):
        yield erase_of(entries[first : first + ERASED_PER_OPERATION_MAX], reason)


def erase_of(entries: Iterable[Entry], reason: str) -> Erase:
    ordered = sorted(entries, key=lambda one: one.id)
    messages = tuple(one for one in ordered if isinstance(one, Remains))
    return Erase(messages, tuple(one for one in ordered if isinstance(one, Gone)), reason)


def unreadable(db: apsw.Connection, some: Iterable[rows.MessageRow]) -> set[bytes]:
    """Those of these messages whose erasure cannot be written yet: imported, archived, and not at hand."""
    found: set[bytes] = set()
    for row in some:
        if row.flags & rows.IMPORTED and not row.flags & rows.ERASED and is_reference(row.op):
            is_away: Any = db.execute(f"SELECT {away('?1')}", (row.op,)).fetchone()
            if is_away[0]:
                found.add(row.id)
    return found


def wish(db: apsw.Connection, channel: int, ids: Iterable[bytes], reason: str) -> None:
    """Note that messages are to be erased when their file is at hand."""
    db.executemany(
        "INSERT OR IGNORE INTO wished(id, channel, reason) VALUES(?,?,?)",
        ((id, channel, reason) for id in ids),
    )


def wished(db: apsw.Connection) -> int:
    """How many messages are to be erased when their file is at hand."""
    found: Any = db.execute("SELECT count(*) FROM wished").fetchone()
    return int(found[0])


def finish(store: LocalStore) -> None:
    """Erase what was wished and can be read now. What went meanwhile, or is no more ours to erase, is forgotten."""
    noted: Any = store.database.reader.execute(
        "SELECT channel, reason, id FROM wished ORDER BY channel, reason, id"
    ).fetchall()
    groups: dict[tuple[int, str], list[bytes]] = {}
    for channel, reason, id in noted:
        groups.setdefault((channel, reason), []).append(id)
    for (channel, reason), ids in groups.items():
        for first in range(0, len(ids), AT_ONCE):
            _finish(store, channel, reason, ids[first : first + AT_ONCE])


def _finish(store: LocalStore, channel: int, reason: str, ids: Sequence[bytes]) -> None:
    def prepare(db: apsw.Connection, row: log.ChannelRow) -> list[Erase]:
        here = rows.get_rows(db, sorted(ids))
        waits = unreadable(db, here)
        done = [(id,) for id in ids if id not in waits]
        db.executemany("DELETE FROM wished WHERE id = ?", done)
        rights, edits = Rights(db, row, store.own_key), edits_of(db, ids)
        entries: list[Entry] = []
        for one in here:
            if one.id not in waits and not one.flags & rows.ERASED and rights.may(one.id):
                entries.append(remains_of(db, row, one))
                entries += [Gone(edit, one.id) for edit in edits.get(one.id, ()) if rights.may(edit)]
        return list(in_erases(entries, reason))

    reader = store.database.reader
    if len(unreadable(reader, rows.get_rows(reader, sorted(ids)))) < len(ids):
        with suppress(UnauthorisedError, UsageError):  # who left, or may write no more, keeps the wish
            store.write(ChannelId(log.channel_by_n(reader, channel).id), prepare)
