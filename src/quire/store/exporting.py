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

import msgspec

from quire.core.limits import TIME_MS_MAX
from quire.errors import UsageError
from quire.exchange.exported import VERSION, ExportSummary, HeaderLine
from quire.exchange.out_jsonl import JsonlWriter
from quire.exchange.writers import Exporter, Writer, exporter
from quire.exchange.writing import Files
from quire.storage import log, pending
from quire.storage.files import beside, flush_folder, write_error
from quire.store import wallclock
from quire.store.local import LocalStore
from quire.store.proving import proof, proven_names
from quire.store.taking import Taking
from quire.store.telling import TO_THE_END, Teller

Progress = Callable[[str, int, int], None]
MESSAGES_NAME = "messages.jsonl"  # beside the files
SIGNED_NAME = "signed.jsonl"  # in a folder: what its pages show, and the proof


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
    signed: bool = False,
    attached: bool = False,
    progress: Progress | None = None,
) -> ExportSummary:
    """See `ChannelManager.export`."""
    began = wall.monotonic()
    kind = exporter(format)
    if signed:
        _require_signable(kind, span, attached)
    if attached and kind.NAME == "csv":
        raise UsageError("a table holds no files", rule="export_files", hint="choose jsonl, html or markdown")
    is_folder = kind.FOLDER or attached
    _let_go(store, channels)
    place = Path(path)
    if os.path.lexists(place):
        raise UsageError(f"{place.name} is there already", rule="export_exists", hint="choose a new name")
    try:
        with beside(place, folder=is_folder) as fresh:
            summary = _written(store, kind, channels, fresh, span, signed, attached, progress)
            if is_folder:
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
    signed: bool,
    attached: bool,
    progress: Progress | None,
) -> ExportSummary:
    """Fill the new file or folder."""
    from importlib.metadata import version

    exported_ms = wallclock.now_ms()
    header = HeaderLine(
        VERSION, f"quire {version('quire')}", exported_ms, span.since_ms, span.until_ms, signed
    )
    with store.database.snapshot() as db, Files() as opened:
        rows = [log.channel_by_n(db, channel.n) for channel in channels]  # as they are at this moment
        names = proven_names(db, rows) if signed else None
        taking = Taking(store, fresh, opened) if attached else None
        at = fresh / MESSAGES_NAME if attached and not kind.FOLDER else fresh
        writer = kind.open_writer(at, header, opened)
        teller = Teller(db, names, taking, None if signed else exported_ms)
        messages = write_told(teller, kind, writer, rows, span, progress)
        if signed and kind.FOLDER:
            lossless = exporter("jsonl")
            writer.finish()
            writer = lossless.open_writer(fresh / SIGNED_NAME, header, opened)
            write_told(Teller(db, names), lossless, writer, rows, span, progress)
        if signed:
            assert isinstance(writer, JsonlWriter)
            first = msgspec.json.encode(header)
            for row in rows:
                graph = store.ledger.people.graph(db, row)
                for line in proof(db, row, graph, store.device, first, store.ledger.sign):
                    writer.lines([line])
        writer.finish()
        opened.flush(fresh)
    files = list(files_of(fresh))
    size = sum(path.stat().st_size for path in files)
    return ExportSummary(
        "", "", len(channels), messages, teller.authors, len(files), size, taking.taken if taking else 0,
        taking.absent if taking else 0, signed,
    )  # fmt: skip


def _let_go(store: LocalStore, channels: Sequence[log.ChannelRow]) -> None:
    """What has expired goes first, so that it is neither told nor, where it is signed, in its commits."""
    if not store.database.read_only:
        from quire.store.pruning import enforce

        bounded = set(pending.bounded_channels(store.database.reader))
        for channel in channels:
            if channel.n in bounded:
                enforce(store, channel.id)


def _require_signable(kind: Exporter, span: Span, attached: bool) -> None:
    """Raises: UsageError(rule="export_signed")."""
    if kind.NAME == "csv":
        raise UsageError(
            "a table cannot be signed", rule="export_signed", hint="sign jsonl, html or markdown"
        )
    if attached:
        raise UsageError(
            "files cannot be signed: they are not in the log", rule="export_signed", hint="export them apart"
        )
    if span != Span():
        raise UsageError(
            "a signed export is of whole channels", rule="export_signed", hint="leave out --since and --until"
        )


def write_told(
    teller: Teller,
    kind: Exporter,
    writer: Writer,
    rows: Sequence[log.ChannelRow],
    span: Span,
    progress: Progress | None,
) -> int:
    """All messages of the channels, to the writer; how many."""
    total, done = sum(row.messages for row in rows), 0
    tell = teller.tell_threads if kind.THREADS else teller.tell
    for row in rows:
        writer.channel(teller.channel(row))
        for told in tell(row, *span.places):
            writer.tell(told.authors, told.messages)
            done += len(told.messages)
            if progress:
                progress(f"#{row.name}", done, total)
    return done


def files_of(path: Path) -> Iterator[Path]:
    """The files of an export."""
    if path.is_dir():
        yield from (inner for inner in path.rglob("*") if inner.is_file())
    else:
        yield path
