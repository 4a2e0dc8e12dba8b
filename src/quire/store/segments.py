"""Looking after the segments of an archive: where they are, whether they are whole, and removing those that hold nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from quire.core.ids import ChannelId
from quire.core.segment import HEADER_SIZE, check_header, decode_reference
from quire.core.values import replace
from quire.errors import BusyError, CorruptError, MalformedError, NotFoundError
from quire.storage import cold, log
from quire.storage.cold import DOOMED, MAKING, WHOLE, SegmentRow
from quire.storage.database import fault
from quire.storage.files import FileLock
from quire.storage.segment_files import make_folder, remove
from quire.store import owing

if TYPE_CHECKING:
    from quire.store.care import Progress
    from quire.store.local import LocalStore

BAD_BLOCKS_MAX = 20  # named of a damaged segment


class Segment(msgspec.Struct, frozen=True):
    """One file of an archive, as it is now."""

    name: str
    place: str  # the folder where it should be
    channel: ChannelId
    state: str  # here, away, damaged; unneeded: nothing is in it any more, and its file could not be removed
    size_bytes: int
    operations: int  # that were put in
    from_ms: int
    to_ms: int
    made_ms: int
    bad_blocks: tuple[int, ...] = ()  # of 64 KiB


def require(store: LocalStore, kept: Iterable[SegmentRow] | None = None) -> None:
    """See that segments (all of them) are at hand. Raises: UnreachableError naming those that are not."""
    blocks = store.database.blocks
    some = cold.segments(store.database.reader) if kept is None else kept
    away = [row for row in some if row.state == WHOLE and not blocks.is_reachable(row)]
    if away:
        raise blocks.unreachable(away)


def segments_lock(store: LocalStore, wait_s: float | None = None) -> FileLock:
    """Held by who makes segments, brings them back or removes them. Raises: BusyError(rule="archive_busy")."""
    try:
        return FileLock(Path(store.database.blocks.vault) / "archive.lock", wait_s)
    except BusyError as error:
        raise BusyError(
            "another process is archiving", rule="archive_busy", hint="try again when it is done"
        ) from error


def tidy(store: LocalStore) -> None:
    """Remove what was begun and left, and what nothing refers to any more. Hold the lock: others may be making some."""
    _remove(store, _unneeded(store, MAKING))


def sweep(store: LocalStore) -> None:
    """Remove what nothing refers to any more. While somebody archives it stays: they do it, or the next look."""
    if not _unneeded(store, WHOLE):
        return
    with suppress(BusyError), segments_lock(store, 0):
        _remove(store, _unneeded(store, WHOLE))  # again: who archived until now may refer to one


def _unneeded(store: LocalStore, least: int) -> list[SegmentRow]:
    """The segments in these states that no reference names: looked for outside of every transaction, as it reads much.

    References move from row to row in one transaction and are made by who holds the lock alone: what has none at one
    moment never has any.
    """
    with store.database.snapshot() as db:
        return [
            row
            for row in cold.segments(db)
            if row.state >= least and not (row.state == WHOLE and cold.is_live(db, row))
        ]


def _remove(store: LocalStore, unneeded: Iterable[SegmentRow]) -> None:
    """The key first, then the file. Hold the lock."""
    for row in unneeded:
        if row.state != DOOMED:

            def doom(db: apsw.Connection, n: int = row.n) -> None:
                db.execute("UPDATE segment SET state = ?, key = x'' WHERE n = ?", (DOOMED, n))

            store.ledger.run(doom)
            fault("segment_doomed")
        if remove(store.database.blocks.path(row)):
            fault("segment_removed")
            store.ledger.run(lambda db, n=row.n: cold.drop_segment(db, n))  # type: ignore[misc]


def listed(store: LocalStore) -> list[Segment]:
    """Every segment, by channel and time, and whether its file is where it should be."""
    return [_view(store, row) for row in cold.segments(store.database.reader) if row.state != MAKING]


def check(store: LocalStore, progress: Progress | None = None) -> list[Segment]:
    """The same, each file read whole; of one that is not what was written, which blocks are damaged."""
    owing.settle(store)
    sweep(store)
    found = []
    kept = [row for row in cold.segments(store.database.reader) if row.state != MAKING]
    for number, row in enumerate(kept):
        if progress:
            progress("checking segments", number, len(kept))
        view = _view(store, row)
        if view.state in ("here", "damaged"):
            bad = _bad_blocks(store, row)
            view = msgspec.structs.replace(view, state="damaged" if bad else "here", bad_blocks=bad)
        found.append(view)
    return found


def _view(store: LocalStore, row: SegmentRow) -> Segment:
    blocks = store.database.blocks
    if row.state == DOOMED:
        state = "unneeded"
    elif blocks.is_reachable(row):
        state = "here"
    else:
        state = "damaged" if os.path.exists(blocks.path(row)) else "away"
    channel = log.channel_by_n(store.database.reader, row.channel).id
    return Segment(
        row.name, blocks.folder(row), channel, state, row.size, row.operations, row.first >> 16, row.last >> 16,
        row.made_ms,
    )  # fmt: skip


def _bad_blocks(store: LocalStore, row: SegmentRow) -> tuple[int, ...]:
    """The blocks of a segment in which an operation does not open; none if the file is what was written."""
    blocks, db = store.database.blocks, store.database.reader
    try:
        if cold.digest_of(blocks.path(row)) == (row.size, row.digest):
            return ()
    except OSError:
        return (0,)
    blocks.forget()
    bad: set[int] = set()
    for stored in _references(db, row):
        try:
            blocks.open(db, stored)
        except CorruptError:
            bad.add(decode_reference(stored).offset // cold.BLOCK)
        if len(bad) >= BAD_BLOCKS_MAX:
            break
    return tuple(sorted(bad)) or (row.size // cold.BLOCK,)  # only the padding, or a part that nothing needs


def _references(db: apsw.Connection, row: SegmentRow) -> Iterator[bytes]:
    wanted = cold.reference_to(row.n)
    of_it = f"length(op) = {cold.REFERENCE_SIZE} AND substr(op, {cold.MARKED_AT}, {len(wanted)}) = ?"
    found: Any = db.execute(f"SELECT op FROM message WHERE channel = ? AND {of_it}", (row.channel, wanted))
    yield from (op for (op,) in found)
    found = db.execute(f"SELECT op FROM operation WHERE {of_it}", (wanted,))
    yield from (op for (op,) in found)


def point(store: LocalStore, folder: str) -> list[Segment]:
    """Say that segments are in this folder now; those that are, and were not known to be.

    Raises: NotFoundError(rule="archive_folder_absent", or "segments_absent" if none of ours is there).
    """
    make_folder(folder, own=False)
    place = place_of(store, folder)
    blocks, db = store.database.blocks, store.database.reader
    found = []
    for row in cold.segments(db):
        there = replace(row, place=place)
        if row.state == WHOLE and row.place != place and _is_it(blocks.path(there), row):
            found.append(there)
    if not found and not any(row.place == place for row in cold.segments(db)):
        raise NotFoundError(
            f"no segment of this vault is in {folder}",
            rule="segments_absent",
            hint="`quire archive --list` names the files",
        )

    def work(db: apsw.Connection) -> None:
        db.executemany("UPDATE segment SET place = ? WHERE n = ?", [(row.place, row.n) for row in found])

    store.ledger.run(work)
    owing.settle(store)
    return [_view(store, row) for row in found]


def _is_it(path: str, row: SegmentRow) -> bool:
    try:
        with open(path, "rb") as file:
            check_header(file.read(HEADER_SIZE), row.id)
        return os.stat(path).st_size == row.size
    except (OSError, MalformedError):
        return False


def place_of(store: LocalStore, folder: str) -> str:
    """A folder as it is noted: relative to the vault's if it is in that, so that a copy finds it."""
    whole, vault = os.path.realpath(folder), os.path.realpath(store.database.blocks.vault)
    inside = os.path.commonpath([whole, vault]) == vault and whole != vault
    return os.path.relpath(whole, vault) if inside else whole
