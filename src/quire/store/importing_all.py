"""One import, from a path to its summary: the exports that lie there, one after the other.

Mostly there is one. A folder that only holds the archives of several exports stands for all of them, as people keep
the chats that a telephone gave them one by one. Those of one format are counted together, and know each other's
messages; one that cannot be read is reported, and costs the others nothing.
"""

from __future__ import annotations

import itertools
import time as wall
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from os import PathLike
from typing import TYPE_CHECKING

import msgspec

from quire.core.reports import ImportSummary
from quire.errors import FormatError
from quire.exchange import model
from quire.exchange.detect import exports_in, left_aside, open_export
from quire.exchange.inside import Watched
from quire.store.attachments import sealing
from quire.store.import_files import ImportFiles, Spool
from quire.store.importing import ImportRun
from quire.store.tally import Tally, added_up

if TYPE_CHECKING:
    from quire.store.local import LocalStore

BATCH = 10_000  # records in a transaction


class ImportProgress(msgspec.Struct, frozen=True):
    """How far an import is."""

    messages: int
    duplicates: int
    channel: str
    seconds: float


class _Counted(msgspec.Struct):
    """What the exports of one format added up to so far."""

    tally: Tally
    known: dict[int, bytes]


def import_export(
    store: LocalStore,
    path: str | PathLike[str],
    format: str,
    options: model.Options | None,
    dry_run: bool,
    progress: Callable[[ImportProgress], None] | None,
) -> ImportSummary:
    """See `ChannelManager.import_`."""
    whole = _Import(store, format, options or model.Options(), dry_run, progress)
    paths = exports_in(path, format)
    failed: list[tuple[str, FormatError]] = []
    for one in paths:
        try:
            whole.take(one)
        except FormatError as error:
            failed.append((one.name, error))
    if not whole.counted:
        raise failed[0][1]
    for name, reason in failed:
        whole.first.skip(model.Skipped(name, "the whole archive", str(reason)))
    return whole.summary(str(path))


class _Import:
    """What all exports of one import have in common."""

    def __init__(
        self, store: LocalStore, format: str, options: model.Options, dry_run: bool,
        progress: Callable[[ImportProgress], None] | None,
    ) -> None:  # fmt: skip
        self.store = store
        self.format = format
        self.options = options
        self.dry_run = dry_run
        self.progress = progress
        self.began = wall.monotonic()
        self.counted: dict[str, _Counted] = {}  # format -> its counts

    @property
    def first(self) -> Tally:
        return next(iter(self.counted.values())).tally

    def take(self, path: str | PathLike[str]) -> None:
        """Import one export. Raises: NotFoundError, FormatError, StorageError."""
        with open_export(path, self.format) as (source, importer):
            so_far = self.counted.get(importer.NAME) or _Counted(Tally(importer.NOTICES_ARE_MESSAGES), {})
            tally = so_far.tally
            with ExitStack() as held:
                watched = Watched(source)
                files = _files(self.store, watched, tally, self.dry_run, held) if self.options.files else None
                run = ImportRun(
                    self.store,
                    importer.NAME,
                    tally,
                    self.dry_run,
                    files,
                    importer.EDITS_ARE_MARKED,
                    so_far.known,
                )
                if not self.dry_run:
                    held.enter_context(self.store.database.bulk())
                records = importer.read(source if files is None else files.source, self.options)
                for _ in run.take_all(_batches(records if files is None else files.watched(records))):
                    self.counted[importer.NAME] = so_far
                    self.tell(run.channel_name)
            self.counted[importer.NAME] = so_far
            for text in [] if self.format else left_aside(source, importer):
                tally.warn(text)
            if source.damage:
                tally.skip(model.Skipped(source.path.name, "the rest of the archive", source.damage))

    def tell(self, channel: str) -> None:
        if self.progress:
            tallies = [one.tally for one in self.counted.values()]
            messages, duplicates = sum(t.messages for t in tallies), sum(t.duplicates for t in tallies)
            self.progress(ImportProgress(messages, duplicates, channel, wall.monotonic() - self.began))

    def summary(self, source: str) -> ImportSummary:
        seconds = wall.monotonic() - self.began
        return added_up(
            [one.tally.summary(name, source, self.dry_run, seconds) for name, one in self.counted.items()]
        )


def _files(
    store: LocalStore, source: Watched, tally: Tally, dry_run: bool, held: ExitStack
) -> ImportFiles | None:
    """What takes the export's files in, if it has any that can be."""
    if len(source.file_sizes()) < 2:
        return None
    if dry_run:
        return ImportFiles(source, None, tally, source.open_file)
    seal, open_file = held.enter_context(sealing(store)), source.open_file
    if source.forwards_only:
        spool = Spool(store, source, tally)
        held.callback(spool.close)
        open_file = spool.open
    return ImportFiles(source, seal, tally, open_file)


def _batches(records: Iterable[model.Record]) -> Iterator[list[model.Record]]:
    """Records in lists; a file that breaks off ends the stream with a report, and keeps what came before."""
    iterator = iter(records)
    first = True
    while True:
        batch: list[model.Record] = []
        try:
            batch.extend(itertools.islice(iterator, BATCH))
        except FormatError as error:
            if first and not batch:
                raise
            yield [*batch, model.Skipped(str(error.details.get("file", "")), "the rest", str(error))]
            return
        if not batch:
            return
        first = False
        yield batch
