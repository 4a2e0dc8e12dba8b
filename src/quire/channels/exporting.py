"""Taking history out: exports in open formats. `ChannelManager` has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from os import PathLike
from typing import TYPE_CHECKING

from quire.channels.naming import Naming
from quire.core.ids import ChannelId
from quire.core.operation import Profile
from quire.core.rights import MAY_POST
from quire.errors import UnauthorisedError, UsageError
from quire.storage import log
from quire.storage.database import guarded

if TYPE_CHECKING:
    from quire.exchange.exported import ExportSummary


class Exporting(Naming):
    """What `ChannelManager` exports."""

    def _own_name(self) -> str:
        raise NotImplementedError

    @guarded
    def export(
        self,
        path: str | PathLike[str],
        channels: Iterable[ChannelId | str] = (),
        *,
        format: str = "jsonl",
        signed: bool = False,
        files: bool = False,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> ExportSummary:
        """Write channels in an open format (docs/export-jsonl.md, `quire export --help`), all of one moment.

        path          a new file (jsonl, csv) or a new folder (html, markdown); whole when it has its name
        channels      none = all that we may read
        format        jsonl (lossless; `import_` reads it), html, markdown or csv
        signed        with what proves who wrote what (`quire check`); jsonl, html and markdown, whole channels only
        files         with the bytes of attachments that are here; jsonl is then a folder, too
        since, until  only messages from then on, and before then; a datetime without a zone is UTC; an int, Unix ms
        progress      (channel, messages done, messages in all)

        Raises: UsageError with rule "export_exists", "export_format", "export_span", "export_signed", "export_files" or
        "export_nothing";
        NotFoundError, StorageError.
        """
        from quire.store.exporting import Span, export  # the writers are many

        span = Span(_ms(since), _ms(until))
        if span.since_ms is not None and span.until_ms is not None and span.since_ms >= span.until_ms:
            raise UsageError("nothing lies between these times", rule="export_span")
        rows = [self.store.channel_row(self.resolve(channel)) for channel in channels] or self._readable()
        if not rows:
            raise UsageError("there is no channel to export", rule="export_nothing")
        unique = list({row.n: row for row in rows}.values())
        if signed:
            self._sign_our_name(unique)
        return export(self.store, unique, path, format, span, signed, files, progress)

    def _sign_our_name(self, rows: Iterable[log.ChannelRow]) -> None:
        """A signed export proves names too, if they were said in its channels."""
        from quire.storage import contents

        name, db = self._own_name(), self.store.database.reader
        for row in () if self.store.database.read_only else rows:
            if name and row.rights & MAY_POST and not contents.introduced(db, row.n, self.store.own_key):
                self.store.write_operations(row.id, Profile("", "", name))

    def _readable(self) -> list[log.ChannelRow]:
        """All channels that we may read, by name."""
        readable = []
        for row in log.channels(self.store.database.reader):
            try:
                self.resolve(row.id)
            except UnauthorisedError:
                continue
            readable.append(row)
        return sorted(readable, key=lambda row: (row.name.casefold(), row.n))


def _ms(when: datetime | int | None) -> int | None:
    if isinstance(when, datetime):
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    return when
