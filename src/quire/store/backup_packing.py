"""What a vault holds and no pack covers yet, read out of its log and filled into packs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import apsw

from quire.core.backup import (
    Away,
    ChannelEntry,
    Kind,
    LogEntry,
    PackBody,
    PackEntry,
    PackSpan,
)
from quire.core.commit import commit_id, decode_head, encode_commit, with_holes
from quire.core.heights import Span, joined, lacking
from quire.storage import erasures, heights, log
from quire.storage.erasures import LET_GO
from quire.storage.runs import StoredCommit, control_seqs, forgotten, holes_digest, holes_in, run, stored

PACK_BYTES = 4 << 20  # encoded commits of one pack: 20,000 messages, and what a restore decides at once


Forgotten = dict[bytes, list[tuple[bytes, int]]]  # by log prefix


class Holdings:
    """What the vault holds, by log, at one moment."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.rows = {row.prefix: row for row in log.logs(db)}
        control = control_seqs(db)
        self._runs: dict[tuple[int, bytes], list[Span]] = {}
        for prefix, row in self.rows.items():
            here = stored(db, row)
            self._runs[Kind.CONTROL, prefix] = control.get(prefix, [])
            self._runs[Kind.CONTENT, prefix] = lacking(here, control.get(prefix, []))
        self._has_holes = erasures.any_here(db)
        self._forgotten = forgotten(db)
        self.owed = owed_erasures(db)
        channels = log.all_channels(db)
        ids = {row.n: row.id for row in channels}
        self.logs = [LogEntry(prefix, ids[row.channel]) for prefix, row in self.rows.items()]
        self.channels = [ChannelEntry(row.id, row.name, row.messages) for row in channels]

    def agrees(self, entry: PackEntry) -> bool:
        """Is all that a pack holds still here, and just so?"""
        if not all(self._has(entry.kind, span) for span in entry.spans):
            return False
        if entry.kind == Kind.CONTROL:
            return _marks(self._forgotten, entry.spans) == entry.holes
        if not (entry.holes or self._has_holes):
            return True
        found = (
            one
            for span in entry.spans
            for one in holes_in(self._db, span.prefix, span.first, span.last, self.owed)
        )
        return holes_digest(found) == entry.holes

    def _has(self, kind: int, span: PackSpan) -> bool:
        row = self.rows.get(span.prefix)
        runs = self._runs.get((kind, span.prefix), ())
        if row is None or lacking([(span.first, span.last)], runs):
            return False
        return heights.id_at(self._db, row.n, span.last) == span.end

    def uncovered(self, kind: Kind, packs: Iterable[PackEntry]) -> list[tuple[log.LogRow, list[Span]]]:
        """What no pack covers, by log."""
        covered: dict[bytes, list[Span]] = {}
        for entry in packs:
            for span in entry.spans if entry.kind == kind else ():
                covered.setdefault(span.prefix, []).append((span.first, span.last))
        found = []
        for prefix, row in self.rows.items():
            if spans := lacking(self._runs[kind, prefix], joined(covered.get(prefix, ()))):
                found.append((row, spans))
        return found


def owed_erasures(db: apsw.Connection) -> list[bytes]:
    """What is erased, and not destroyed yet as it is archived and not at hand: no pack has it. In order."""
    from quire.store import erasing, owing

    found: list[bytes] = []
    for channel, ids in owing.owed(db).items():
        found += erasing.standing(db, channel, ids)
    return sorted(found)


def _marks(gone: Forgotten, spans: Iterable[PackSpan]) -> bytes:
    """What tells a pack of control commits from the same without keys that were destroyed since."""
    marks = {mark for span in spans for mark in gone.get(span.prefix, ())}
    return holes_digest(sorted(marks))


def bodies(
    db: apsw.Connection,
    kind: Kind,
    runs: Iterable[tuple[log.LogRow, list[Span]]],
    owed: Sequence[bytes] = (),
    fill: Callable[[bytes, StoredCommit], StoredCommit | None] = lambda prefix, one: None,
) -> Iterator[PackBody]:
    """Packs of these runs of logs, each filled before the next is begun.

    owed    what is erased and not destroyed yet, in order
    fill    a commit of a log of which something is archived and not at hand, whole; None: it is left out
    """
    gone = forgotten(db) if kind == Kind.CONTROL else {}  # first: what goes meanwhile is for the next run
    filling = _Filling(kind, gone)
    for row, wanted in runs:
        for first, last in wanted:
            begun = first
            while begun <= last:
                head, seq = b"", last
                for found in run(db, row, begun, last, owed):
                    one = fill(row.prefix, found) if found.is_away else found
                    if one is None:
                        if head:
                            span = PackSpan(row.prefix, begun, found.seq - 1, commit_id(head))
                            filling.end(span, decode_head(head).time)
                        head, begun = b"", found.seq + 1
                        continue
                    head = one.head
                    filling.add(row.prefix, one)
                    if filling.size >= PACK_BYTES:
                        seq = one.seq
                        break
                if head:
                    filling.end(PackSpan(row.prefix, begun, seq, commit_id(head)), decode_head(head).time)
                begun = seq + 1
                if filling.size >= PACK_BYTES:
                    yield filling.body()
                    filling = _Filling(kind, gone)
    if filling.size:
        yield filling.body()


class _Filling:
    """A pack to be."""

    def __init__(self, kind: Kind, gone: Forgotten) -> None:
        self._kind = kind
        self._gone = gone
        self._spans: list[PackSpan] = []
        self._items: list[bytes] = []
        self._holes: list[tuple[bytes, int]] = []
        self._away: list[Away] = []
        self._newest = 0
        self.size = 0

    def add(self, prefix: bytes, one: StoredCommit) -> None:
        encoded = encode_commit(with_holes(one.head, one.signature, one.entries, one.holes))
        if one.holes:
            place = prefix + one.seq.to_bytes(4, "big")
            self._holes += [(place + at.to_bytes(2, "big"), why) for at, why in one.holes.items()]
            if any(why in LET_GO for why in one.holes.values()):
                self._away.append(Away(len(self._items), bytes(one.holes.values())))
        self._items.append(encoded)
        self.size += len(encoded)

    def end(self, span: PackSpan, time: int) -> None:
        self._spans.append(span)
        self._newest = max(self._newest, time)

    def body(self) -> PackBody:
        is_control = self._kind == Kind.CONTROL
        holes = _marks(self._gone, self._spans) if is_control else holes_digest(self._holes)
        return PackBody(
            self._kind, self._newest, holes, tuple(self._spans), tuple(self._items), tuple(self._away)
        )
