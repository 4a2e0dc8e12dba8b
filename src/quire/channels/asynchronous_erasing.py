"""Erasing for programs that run in an event loop: what `Eraser` does, awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from quire.core.ids import ChannelId, MessageId
from quire.core.reports import ErasureReceipt, Scan

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager
    from quire.store.care import Progress

P = ParamSpec("P")
R = TypeVar("R")


class AsyncEraser:
    """What `AsyncChannelManager` does to erase."""

    manager: ChannelManager

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        raise NotImplementedError

    async def erase_message(self, id: MessageId, reason: str = "") -> ErasureReceipt:
        return await self._run(self.manager.erase_message, id, reason)

    async def erase_messages(self, ids: Sequence[MessageId], reason: str = "") -> ErasureReceipt:
        return await self._run(self.manager.erase_messages, ids, reason)

    async def erase_version(self, id: MessageId, number: int, reason: str = "") -> ErasureReceipt:
        return await self._run(self.manager.erase_version, id, number, reason)

    async def erase_author(
        self, author: str, *, channel: ChannelId | str | None = None, reason: str = ""
    ) -> ErasureReceipt:
        return await self._run(self.manager.erase_author, author, channel=channel, reason=reason)

    async def authors_named(self, name: str) -> list[str]:
        return await self._run(self.manager.authors_named, name)

    async def check_receipt(self, receipt: ErasureReceipt) -> list[MessageId]:
        return await self._run(self.manager.check_receipt, receipt)

    async def owed_erasures(self, ids: Iterable[MessageId]) -> set[MessageId]:
        return await self._run(self.manager.owed_erasures, ids)

    async def scan(self, texts: Iterable[str], progress: Progress | None = None) -> Scan:
        return await self._run(self.manager.scan, texts, progress)

    async def texts_of(self, id: MessageId) -> list[str]:
        return await self._run(self.manager.texts_of, id)

    async def texts_by(
        self, author: str, *, channel: ChannelId | str | None = None, limit: int = 300
    ) -> list[str]:
        return await self._run(self.manager.texts_by, author, channel=channel, limit=limit)
