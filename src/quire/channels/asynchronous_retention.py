"""What a channel lets go, for programs that run in an event loop: `Keeper`, awaited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from quire.channels.retention import Retention
from quire.core.ids import ChannelId
from quire.core.retention import Keeping
from quire.store.pruning import Pruned
from quire.store.retention import Preview

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager

P = ParamSpec("P")
R = TypeVar("R")


class AsyncKeeper:
    """What `AsyncChannelManager` does to let go."""

    manager: ChannelManager

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        raise NotImplementedError

    async def get_retention(self, channel: ChannelId | str) -> Retention:
        return await self._run(self.manager.get_retention, channel)

    async def set_retention(self, channel: ChannelId | str, keeping: Keeping, *, here: bool = False) -> None:
        await self._run(self.manager.set_retention, channel, keeping, here=here)

    async def set_disappearing(
        self, channel: ChannelId | str, after: timedelta | None, *, from_read: bool = False
    ) -> None:
        await self._run(self.manager.set_disappearing, channel, after, from_read=from_read)

    async def preview_retention(
        self, channel: ChannelId | str, keeping: Keeping | None = None, *, here: bool = False
    ) -> Preview:
        return await self._run(self.manager.preview_retention, channel, keeping, here=here)

    async def enforce_retention(self, channel: ChannelId | str | None = None) -> Pruned:
        return await self._run(self.manager.enforce_retention, channel)
