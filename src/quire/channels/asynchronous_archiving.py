"""The archive, for programs that run in an event loop: `Archiver`, awaited."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from quire.core.ids import ChannelId
from quire.store.archiving import ArchiveReport
from quire.store.segments import Segment

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager
    from quire.store.care import Progress

P = ParamSpec("P")
R = TypeVar("R")


class AsyncArchiver:
    """What `AsyncChannelManager` does with an archive."""

    manager: ChannelManager

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        raise NotImplementedError

    async def archive(
        self,
        channel: ChannelId | str,
        before: datetime | int,
        *,
        to: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> ArchiveReport:
        return await self._run(self.manager.archive, channel, before, to=to, progress=progress)

    async def preview_archive(self, channel: ChannelId | str, before: datetime | int) -> ArchiveReport:
        return await self._run(self.manager.preview_archive, channel, before)

    async def unarchive(self, channel: ChannelId | str, *, progress: Progress | None = None) -> ArchiveReport:
        return await self._run(self.manager.unarchive, channel, progress=progress)

    async def list_segments(self) -> list[Segment]:
        return await self._run(self.manager.list_segments)

    async def check_segments(self, *, progress: Progress | None = None) -> list[Segment]:
        return await self._run(self.manager.check_segments, progress=progress)

    async def move_segments(self, folder: str | os.PathLike[str]) -> list[Segment]:
        return await self._run(self.manager.move_segments, folder)
