"""The archive of a channel: old messages' bytes in sealed files beside the vault or elsewhere, and back.

docs/spec/16-archive.md has the form. `ChannelManager` has all of this.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from quire.channels.naming import Naming
from quire.core.ids import ChannelId
from quire.core.limits import TIME_MS_MAX
from quire.core.views import Event
from quire.errors import UsageError
from quire.storage.database import guarded

if TYPE_CHECKING:
    from quire.store.archiving import ArchiveReport
    from quire.store.care import Progress
    from quire.store.segments import Segment


class Archiver(Naming):
    """What `ChannelManager` does with an archive."""

    @guarded
    def archive(
        self,
        channel: ChannelId | str,
        before: datetime | int,
        *,
        to: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> ArchiveReport:
        """Move the texts of a channel's messages before a time out of the vault, into sealed files.

        They are still found, read, exported and given to others as long as the files are at hand.

        before    Unix ms or a datetime; of imported messages their own time counts
        to        a folder that is there; None: `archive` in the vault's folder

        Raises: NotFoundError, UsageError(rule="time_range"), BusyError, FullError, StorageError: what was moved by then
        is moved, all else is as it was.
        """
        from quire.store import archiving

        folder = None if to is None else os.path.abspath(os.fspath(to))
        id, before_ms = self.resolve(channel), _ms(before)
        done = archiving.archive(self.store, id, before_ms, folder, progress)
        if done.operations:
            self._hub.publish(Event("archive", id))
        return done

    @guarded
    def preview_archive(self, channel: ChannelId | str, before: datetime | int) -> ArchiveReport:
        """What `archive` would move; nothing is changed."""
        from quire.store import archiving

        return archiving.preview(self.store, self.resolve(channel), _ms(before))

    @guarded
    def unarchive(self, channel: ChannelId | str, *, progress: Progress | None = None) -> ArchiveReport:
        """Bring all that is archived of a channel back into the vault, and remove its files.

        Raises: UnreachableError, with nothing changed, if a file is not at hand; CorruptError; FullError, StorageError.
        """
        from quire.store import archiving

        id = self.resolve(channel)
        done = archiving.unarchive(self.store, id, progress)
        if done.operations:
            self._hub.publish(Event("archive", id))
        return done

    @guarded
    def list_segments(self) -> list[Segment]:
        """The files of all archives, and whether each is where it should be."""
        from quire.store import segments

        return segments.listed(self.store)

    @guarded
    def check_segments(self, *, progress: Progress | None = None) -> list[Segment]:
        """The same, each file read whole."""
        from quire.store import segments

        return segments.check(self.store, progress)

    @guarded
    def move_segments(self, folder: str | os.PathLike[str]) -> list[Segment]:
        """Say that files of the archive are in this folder now; those that are.

        Raises: NotFoundError(rule="archive_folder_absent" or "segments_absent").
        """
        from quire.store import segments

        return segments.point(self.store, os.path.abspath(os.fspath(folder)))


def _ms(before: datetime | int) -> int:
    if isinstance(before, datetime):
        aware = before if before.tzinfo else before.replace(tzinfo=UTC)
        before = int(aware.timestamp() * 1000)
    if not 0 <= before <= TIME_MS_MAX:
        raise UsageError("this is no time that messages can have", rule="time_range")
    return before
