"""`AsyncChannelManager`: `ChannelManager` for programs that run in an event loop.

Every method is that of `ChannelManager`, awaited: it runs in one of a few threads of our own, so the loop
never waits for a disk. Few, because each thread reads on a connection with its own cache; writers
among them share one flush to disk as all concurrent writers do. What never ends (`events`, `follow`) holds no
thread while it waits: events wake the loop, and `follow` looks for other processes' commits between its sleeps.

A task cancelled while it awaits a write learns nothing of it, and takes nothing back: what had not begun
never happens, what had begun is completed, once, and durably. Who must know reads again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import islice
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from quire.channels.asynchronous_archiving import AsyncArchiver
from quire.channels.asynchronous_attachments import AsyncAttachments
from quire.channels.asynchronous_erasing import AsyncEraser
from quire.channels.asynchronous_people import AsyncPeople
from quire.channels.asynchronous_retention import AsyncKeeper
from quire.channels.events import POLL_S, QUEUE_MAX, Arrivals
from quire.channels.manager import ChannelManager, When
from quire.channels.naming import ChannelRef
from quire.core.ids import ChannelId, MessageId
from quire.core.operation import Attachment
from quire.core.reports import ImportSummary
from quire.core.views import Author, ChannelInfo, Event, Hits, Message, Page, Reaction, Thread, Version
from quire.errors import UsageError
from quire.store.local import LocalStore

if TYPE_CHECKING:
    from quire.exchange.exported import ExportSummary
    from quire.exchange.model import Options
    from quire.store.attachments import NewFile
    from quire.store.importing_all import ImportProgress

THREADS = 4  # each may fill a read cache of 16 MiB
BATCH = 200  # messages fetched by one trip to a thread

P = ParamSpec("P")
R = TypeVar("R")


class AsyncChannelManager(AsyncPeople, AsyncKeeper, AsyncAttachments, AsyncEraser, AsyncArchiver):
    """The use cases of one vault, for one event loop. Close it, or use it in `async with`; the store stays open."""

    def __init__(self, over: LocalStore | ChannelManager) -> None:
        self.manager = over if isinstance(over, ChannelManager) else ChannelManager(over)
        self.store = self.manager.store
        self._threads = ThreadPoolExecutor(THREADS, "quire")
        self._closed = False

    async def aclose(self) -> None:
        """End our threads, when what they are at is done."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)

    async def __aenter__(self) -> AsyncChannelManager:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._closed:
            raise UsageError("this manager is closed", rule="manager_closed", hint="make another")
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *args, **kwargs))

    # Ourselves

    async def me(self) -> Author:
        return await self._run(self.manager.me)

    async def set_name(self, name: str) -> None:
        await self._run(self.manager.set_name, name)

    # Channels

    async def create_channel(self, name: str, *, topic: str = "", kind: str = "channel") -> ChannelInfo:
        return await self._run(self.manager.create_channel, name, topic=topic, kind=kind)

    async def list_channels(self) -> list[ChannelInfo]:
        return await self._run(self.manager.list_channels)

    async def get_channel(self, channel: ChannelRef) -> ChannelInfo:
        return await self._run(self.manager.get_channel, channel)

    async def resolve(self, channel: ChannelRef) -> ChannelId:
        return await self._run(self.manager.resolve, channel)

    async def rename_channel(self, channel: ChannelRef, name: str) -> None:
        await self._run(self.manager.rename_channel, channel, name)

    async def set_topic(self, channel: ChannelRef, topic: str) -> None:
        await self._run(self.manager.set_topic, channel, topic)

    # Writing

    async def send_message(
        self,
        channel: ChannelRef,
        body: str,
        *,
        thread: MessageId | None = None,
        reply_to: MessageId | None = None,
        attachments: Sequence[Attachment] = (),
        files: Sequence[str | PathLike[str] | NewFile] = (),
        mentions: Sequence[str] = (),
        broadcast: bool = False,
    ) -> Message:
        return await self._run(
            self.manager.send_message, channel, body, thread=thread, reply_to=reply_to, attachments=attachments,
            files=files, mentions=mentions, broadcast=broadcast,
        )  # fmt: skip

    store_message = send_message

    async def edit_message(self, id: MessageId, body: str) -> Message:
        return await self._run(self.manager.edit_message, id, body)

    async def delete_message(self, id: MessageId, reason: str = "") -> None:
        await self._run(self.manager.delete_message, id, reason)

    async def add_reaction(self, id: MessageId, emoji: str) -> tuple[Reaction, ...]:
        return await self._run(self.manager.add_reaction, id, emoji)

    async def remove_reaction(self, id: MessageId, emoji: str) -> tuple[Reaction, ...]:
        return await self._run(self.manager.remove_reaction, id, emoji)

    async def pin(self, id: MessageId) -> None:
        await self._run(self.manager.pin, id)

    async def unpin(self, id: MessageId) -> None:
        await self._run(self.manager.unpin, id)

    # Reading

    async def load_channel_messages(self, channel: ChannelRef) -> Page:
        return await self._run(self.manager.load_channel_messages, channel)

    async def get_stored_messages(
        self, channel: ChannelRef, *, newest_first: bool = False
    ) -> AsyncIterator[Message]:
        messages = await self._run(self.manager.get_stored_messages, channel, newest_first=newest_first)
        while batch := await self._run(list, islice(messages, BATCH)):
            for message in batch:
                yield message

    async def get_stored_messages_paginated(
        self,
        channel: ChannelRef,
        *,
        limit: int = 50,
        before: When | None = None,
        after: When | None = None,
        around: When | None = None,
        offset: int | None = None,
    ) -> Page:
        return await self._run(
            self.manager.get_stored_messages_paginated, channel, limit=limit, before=before, after=after,
            around=around, offset=offset,
        )  # fmt: skip

    async def get_message(self, id: MessageId) -> Message:
        return await self._run(self.manager.get_message, id)

    async def get_stored_thread_replies(
        self, root: MessageId, *, limit: int = 50, before: When | None = None, after: When | None = None
    ) -> Page:
        return await self._run(
            self.manager.get_stored_thread_replies, root, limit=limit, before=before, after=after
        )

    async def get_message_with_thread(self, id: MessageId, *, limit: int = 50) -> tuple[Message, Page]:
        return await self._run(self.manager.get_message_with_thread, id, limit=limit)

    async def get_thread_info(self, root: MessageId) -> Thread:
        return await self._run(self.manager.get_thread_info, root)

    async def get_channel_threads(
        self, channel: ChannelRef, *, limit: int = 50, before: str | None = None
    ) -> tuple[list[Thread], str | None]:
        return await self._run(self.manager.get_channel_threads, channel, limit=limit, before=before)

    async def get_reactions(self, id: MessageId) -> tuple[Reaction, ...]:
        return await self._run(self.manager.get_reactions, id)

    async def get_edit_history(self, id: MessageId) -> list[Version]:
        return await self._run(self.manager.get_edit_history, id)

    async def pinned(self, channel: ChannelRef) -> list[Message]:
        return await self._run(self.manager.pinned, channel)

    async def search(
        self, query: str, *, channel: ChannelRef | None = None, limit: int = 20, before: str | None = None
    ) -> Hits:
        return await self._run(self.manager.search, query, channel=channel, limit=limit, before=before)

    # Our own marks

    async def mark_read(self, channel: ChannelRef, up_to: MessageId | None = None) -> None:
        await self._run(self.manager.mark_read, channel, up_to)

    async def unread_counts(self) -> dict[ChannelId, tuple[int, int]]:
        return await self._run(self.manager.unread_counts)

    async def bookmark(self, id: MessageId) -> None:
        await self._run(self.manager.bookmark, id)

    async def unbookmark(self, id: MessageId) -> None:
        await self._run(self.manager.unbookmark, id)

    async def bookmarks(self) -> list[Message]:
        return await self._run(self.manager.bookmarks)

    # Ids as people write them

    async def find_message(self, text: str) -> MessageId:
        return await self._run(self.manager.find_message, text)

    async def short_id(self, id: MessageId) -> str:
        return await self._run(self.manager.short_id, id)

    # In and out

    async def import_(
        self,
        path: str | PathLike[str],
        *,
        format: str = "",
        options: Options | None = None,
        dry_run: bool = False,
        progress: Callable[[ImportProgress], None] | None = None,
    ) -> ImportSummary:
        """As `ChannelManager.import_`; `progress` is called in the thread that imports, not in the loop's."""
        return await self._run(
            self.manager.import_, path, format=format, options=options, dry_run=dry_run, progress=progress
        )

    async def export(
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
        """As `ChannelManager.export`; `progress` is called in the thread that exports, not in the loop's."""
        return await self._run(
            self.manager.export, path, channels, format=format, signed=signed, files=files, since=since,
            until=until, progress=progress,
        )  # fmt: skip

    # Live

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[Event]]:
        """What this manager makes durable from here on, and the `ChannelManager` it is over, as it happens."""
        loop, wake = asyncio.get_running_loop(), asyncio.Event()
        waiting: deque[Event] = deque(maxlen=QUEUE_MAX)

        def deliver(event: Event) -> None:  # in the writer's thread, one at a time
            waiting.append(event)
            if len(waiting) == 1:  # else the loop has been woken already
                with suppress(RuntimeError):  # the loop is closed, and nobody listens any more
                    loop.call_soon_threadsafe(wake.set)

        async def arriving() -> AsyncIterator[Event]:
            while True:
                while not waiting:
                    wake.clear()
                    await wake.wait()
                yield waiting.popleft()

        with self.manager._hub.delivering(deliver):
            yield arriving()

    async def follow(self, channel: ChannelRef) -> AsyncIterator[Message]:
        """New messages of a channel as they come, those of other processes too, from the first step on."""
        arrivals = await self._run(Arrivals, self.store, await self.resolve(channel))
        while True:
            arrived = await self._run(arrivals.take)
            for message in arrived:
                yield message
            if not arrived:
                await asyncio.sleep(POLL_S)
