"""The use cases of attachments for programs that run in an event loop: those of `Attachments`, awaited."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, TypeVar

from quire.core.ids import ChannelId, MessageId
from quire.core.views import AttachmentView, Message

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager

P = ParamSpec("P")
R = TypeVar("R")


class AsyncAttachments:
    """What `AsyncChannelManager` does with attachments."""

    manager: ChannelManager

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        raise NotImplementedError

    async def get_attachments(self, id: MessageId) -> list[AttachmentView]:
        return await self._run(self.manager.get_attachments, id)

    async def attachment_states(self, messages: Iterable[Message]) -> dict[bytes, str]:
        return await self._run(self.manager.attachment_states, messages)

    async def file_state(self, file: bytes) -> str:
        return await self._run(self.manager.file_state, file)

    async def open_attachment(self, id: MessageId, number: int = 1) -> BinaryIO:
        """As `ChannelManager.open_attachment`; reading the stream waits for the disk: `asyncio.to_thread` reads in a thread."""
        return await self._run(self.manager.open_attachment, id, number)

    async def save_attachment(
        self, id: MessageId, number: int = 1, to: str | os.PathLike[str] = ".", *, name: str = ""
    ) -> Path:
        return await self._run(self.manager.save_attachment, id, number, to, name=name)

    async def attachment_type(self, id: MessageId, number: int = 1) -> str:
        return await self._run(self.manager.attachment_type, id, number)

    async def get_preview(self, id: MessageId, number: int = 1) -> bytes:
        return await self._run(self.manager.get_preview, id, number)

    async def fetch_attachment(self, id: MessageId, number: int | None = None) -> list[AttachmentView]:
        return await self._run(self.manager.fetch_attachment, id, number)

    async def fetch_limit(self) -> int:
        return await self._run(self.manager.fetch_limit)

    async def set_fetch_limit(self, size_bytes: int) -> None:
        await self._run(self.manager.set_fetch_limit, size_bytes)

    async def fetch_attachments(self, channel: ChannelId | str) -> int:
        return await self._run(self.manager.fetch_attachments, channel)
