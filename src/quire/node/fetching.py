"""Getting what there is, until it is enough: after a link, for who joins, for a recovery.

What is newest comes first, so one can read after a moment; `enough` says when to stop. A fetch that breaks, or is
stopped, is gone on with by any later sync: everything that came is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from quire.channels.manager import ChannelManager
from quire.errors import TransportError
from quire.node.node import Node
from quire.node.pauses import Pauses
from quire.node.relays import RelayReport, RelaySync

QUIET_S = 1.0  # with a relay: others may be putting there what we wait for
AGAIN_S = 1.0

Enough = Callable[[], bool]


async def from_relay(chat: ChannelManager, url: str, enough: Enough) -> None:
    """Take in what a relay has, and what comes, until it is enough and nothing has come for a while.

    A link that breaks is made anew. Raises: as `RelaySync.run`, if it is the first that fails.
    """
    pauses, began = Pauses(), False
    while True:
        rested: asyncio.Queue[int] = asyncio.Queue()

        def note(report: RelayReport, rested: asyncio.Queue[int] = rested) -> None:
            rested.put_nowait(report.new)

        sync = RelaySync(chat, url, live=True, notify=note)
        running = asyncio.create_task(sync.run())
        waiting = asyncio.create_task(_until(rested, enough))
        try:
            await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
                return
            running.result()
        except TransportError:
            if not began and rested.empty():
                raise
        finally:
            began = True
            sync.leave()
            waiting.cancel()
            with contextlib.suppress(TransportError, asyncio.CancelledError):
                await running
        await asyncio.sleep(pauses.next_s())


async def _until(rested: asyncio.Queue[int], enough: Enough) -> None:
    """Everything that was there is here, it is enough, and nothing comes."""
    await rested.get()  # however slowly it comes
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await rested.get()
            continue
        if await asyncio.to_thread(enough):
            return


async def from_lan(chat: ChannelManager, interfaces: Sequence[str], enough: Enough) -> None:
    """Sync with whoever of ours is near, until it is enough. Raises: TransportError if there is no local network."""
    node = Node(chat)
    while True:
        async for _ in node.sync_on_lan(interfaces):
            if await asyncio.to_thread(enough):
                return
        await asyncio.sleep(AGAIN_S)
