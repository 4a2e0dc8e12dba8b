"""Exports: channels told whole (store/telling.py) to a writer of a format (exchange/writers.py), all of one moment.

What is written stands beside its place under a name of its own until it is whole and on disk, and is then renamed: a
half-written export never stands under its final name, and what a killed process left is taken away by the next. Nothing
that is there is ever replaced.
"""

from __future__ import annotations

import os
import time as wall
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apsw
import msgspec

from quire.core.limits import TIME_MS_MAX
from quire.errors import UsageError
from quire.exchange.exported import VERSION, ExportSummary, HeaderLine
from quire.exchange.writers import Exporter, Writer, exporter
from quire.exchange.writing import Files
from quire.storage import log
from quire.storage.files import beside, flush_folder, write_error
from quire.store.local import LocalStore
from quire.store.telling import TO_THE_END, Teller, Told

Progress = Callable[[str, int, int], None]


class Span(msgspec.Struct, frozen=True):
    """From when on and up to when, Unix ms; None = no bound."""

    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def places(self) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
        since = (-1, b"") if self.since_ms is None else (max(self.since_ms, 0) << 16, b"")
        until = TO_THE_END if self.until_ms is None else (min(self.until_ms, TIME_MS_MAX) << 16, b"")
        return since, until


def export(
    store: LocalStore,
    channels: Sequence[log.ChannelRow],
    path: str | os.PathLike[str],
    format: str = "jsonl",
    span: Span = Span(),  # noqa: B008  (frozen)
    progress: Progress | None = None,
) -> ExportSummary:
    """See `ChannelManager.export`."""
    began = wall.monotonic()
    kind = exporter(format)
    place = Path(path)
    if os.path.lexists(place):
        raise UsageError(f"{place.name} is there already", rule="export_exists", hint="choose a new name")
    try:
        with beside(place, folder=kind.FOLDER) as fresh:
            summary = _written(store, kind, channels, fresh, span, progress)
            if kind.FOLDER:
                flush_folder(fresh)
            if os.path.lexists(place):  # somebody else was quicker
                raise UsageError(
                    f"{place.name} is there already", rule="export_exists", hint="choose a new name"
                )
            os.rename(fresh, place)
            flush_folder(place.parent)
    except OSError as error:
        raise write_error(place, error) from error
    return msgspec.structs.replace(
        summary, format=format, path=str(place), seconds=round(wall.monotonic() - began, 3)
    )


def _written(
    store: LocalStore,
    kind: Exporter,
    channels: Sequence[log.ChannelRow],
    fresh: Path,
    span: Span,
    progress: Progress | None,
) -> ExportSummary:
    """Fill the new file or folder."""
    from importlib.metadata import version

    header = HeaderLine(
        VERSION, f"quire {version('quire')}", int(wall.time() * 1000), span.since_ms, span.until_ms
    )
    with store.database.snapshot() as db, Files() as opened:
        writer = kind.open_writer(fresh, header, opened)
        teller = Teller(db)
        tell = teller.tell_threads if kind.THREADS else teller.tell
        messages = _told(db, teller, tell, writer, channels, span, progress)
        writer.finish()
        opened.flush(fresh)
    files = list(_files(fresh))
    return ExportSummary(
        "",
        "",
        len(channels),
        messages,
        teller.authors,
        len(files),
        sum(path.stat().st_size for path in files),
    )


def _told(
    db: apsw.Connection,
    teller: Teller,
    tell: Callable[..., Iterator[Told]],
    writer: Writer,
    channels: Sequence[log.ChannelRow],
    span: Span,
    progress: Progress | None,
) -> int:
    """All messages of the channels, to the writer; how many."""
    rows = [log.channel_by_n(db, channel.n) for channel in channels]  # as they are at this moment
    total, done = sum(row.messages for row in rows), 0
    for row in rows:
        writer.channel(teller.channel(row))
        for told in tell(row, *span.places):
            writer.tell(told.authors, told.messages)
            done += len(told.messages)
            if progress:
                progress(f"#{row.name}", done, total)
    return done


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (inner for inner in path.rglob("*") if inner.is_file())
    else:
        yield path
