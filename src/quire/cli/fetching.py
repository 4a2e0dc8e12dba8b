"""Fetching history, and saying how far it is. A device gives the newest first, a relay in the order in which it got it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from quire.cli.output import Output
from quire.cli.progress import Meter
from quire.cli.records import iso
from quire.cli.text import line, plural

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager
    from quire.channels.syncing import ChannelStatus
    from quire.core.views import ChannelInfo

__all__ = ["channel_line", "shown"]

LOOK_S = 0.3


async def shown(out: Output, chat: ChannelManager, doing: Awaitable[None]) -> None:
    """Do it, and meanwhile say what of each channel is here."""
    with Meter(out, "fetching") as meter:
        watching = asyncio.create_task(_watch(out, chat, meter))
        try:
            await doing
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


def channel_line(one: ChannelInfo) -> dict[str, object]:
    """What came of a channel, for scripts."""
    return {"id": one.id.hex(), "name": one.name, "messages": one.messages, "last": iso(one.last_ms)}


async def _watch(out: Output, chat: ChannelManager, meter: Meter) -> None:
    from quire.channels.syncing import Syncing

    vault, begun = Syncing(chat), set[bytes]()
    while True:
        found: list[ChannelStatus] = await asyncio.to_thread(vault.status)
        for one in found:
            if one.messages and one.channel not in begun:
                begun.add(one.channel)
                out.note(
                    f"#{line(one.name)}: the first messages are here (quire read {line(one.name)}); the rest is coming"
                )
        here, missing = sum(one.messages for one in found), sum(one.missing for one in found)
        meter(f"{plural(here, 'message')}, {plural(missing, 'commit')} to come", here, here + missing)
        await asyncio.sleep(LOOK_S)
