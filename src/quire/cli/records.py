"""Views as JSON: what `--json` prints. The names are those of core/views.py; ids are text.

Every time is given twice where it matters: `time`, ISO 8601 in UTC for people, `time_ms` for programs.
Bodies are exact: what is made harmless for the terminal in text.py is given as it is here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from quire.core.ids import ChannelId, MessageId, message_id_text
from quire.core.operation import Origin
from quire.core.views import ChannelInfo, Hit, Message, Page, Thread, Version

__all__ = ["channel", "hit", "iso", "message", "page", "plain", "thread", "version"]

Record = dict[str, Any]


def iso(time_ms: int | None) -> str | None:
    """`2024-03-05T14:30:00.123Z`."""
    if time_ms is None:
        return None
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(view: object) -> Any:
    """A view that holds no ids, as it is."""
    return msgspec.to_builtins(view)


def message(view: Message) -> Record:
    return {
        "id": message_id_text(view.id),
        "channel": view.channel.hex(),
        "time": iso(view.time_ms),
        "time_ms": view.time_ms,
        "author": plain(view.author),
        "body": view.body,
        "thread_root": _id(view.root),
        "reply_to": _id(view.reply_to),
        "notice": view.notice,
        "title": view.title,
        "action": view.action,
        "broadcast": view.broadcast,
        "attachments": [
            {"name": one.name, "url": one.url, "media_type": one.media_type, "size_bytes": one.size_bytes}
            for one in view.attachments
        ],
        "mentions": list(view.mentions),
        "edited": iso(view.edited_ms),
        "concurrent_edits": view.concurrent_edits,
        "deleted": plain(view.deleted),
        "pinned": view.pinned,
        "reactions": plain(view.reactions),
        "thread": thread(view.thread) if view.thread else None,
        "origin": _origin(view.origin),
        "cursor": view.cursor,
    }


def _origin(view: Origin | None) -> Record | None:
    """Without its times, which are the message's own."""
    return None if view is None else {"source": view.source, "author": view.author, "id": view.id}


def page(view: Page) -> Record:
    return {"messages": [message(one) for one in view.messages], "older": view.older, "newer": view.newer}


def thread(view: Thread) -> Record:
    return {
        "root": message_id_text(view.root),
        "channel": view.channel.hex(),
        "title": view.title,
        "replies": view.replies,
        "participants": view.participants,
        "last_reply": _id(view.last_reply),
        "last_reply_time": iso(view.last_reply_ms),
        "last_author": plain(view.last_author),
        "preview": view.preview,
    }


def version(view: Version) -> Record:
    return plain(view) | {"time": iso(view.time_ms)}  # type: ignore[no-any-return]


def hit(view: Hit) -> Record:
    return {"message": message(view.message), "channel_name": view.channel_name, "spans": plain(view.spans)}


def channel(view: ChannelInfo) -> Record:
    return {
        "id": _channel_id(view.id),
        "name": view.name,
        "topic": view.topic,
        "kind": view.kind,
        "messages": view.messages,
        "threads": view.threads,
        "last": iso(view.last_ms),
        "unread": view.unread,
        "mentions": view.mentions,
        "waiting": view.waiting,
        "source": view.source,
        "description": view.description,
    }


def _id(message: MessageId | None) -> str | None:
    return None if message is None else message_id_text(message)


def _channel_id(channel: ChannelId) -> str:
    return channel.hex()
