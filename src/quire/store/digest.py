"""The digest of a channel's timeline: two who see the same have the same 32 bytes, and two who do not, do not.

It covers what everybody must see alike: name and topic, and of every message in order its id, time, author, text, thread, edits,
deletion, pin and reactions. What is one's own (read markers, bookmarks, names for people) is left out.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from quire.core.encoding import encode
from quire.core.ids import ChannelId
from quire.core.views import Message

if TYPE_CHECKING:
    from quire.store.local import LocalStore

LABEL = b"quire/v1 timeline\x00"


def timeline_digest(store: LocalStore, channel: ChannelId) -> bytes:
    """32 bytes; memory does not grow with history. Raises: NotFoundError."""
    row = store.channel_row(channel)
    told = hashlib.sha256(LABEL + encode([row.id, row.name, row.topic]))
    for message in store.get_channel_messages(channel):
        told.update(encode(seen(message)))
    return told.digest()


def seen(message: Message) -> list[object]:
    """Of a message, what everybody must see alike."""
    reactions = sorted((one.emoji, one.count) for one in message.reactions)
    return [
        message.id, message.time, message.author.id, message.body, message.root or b"", message.edited_ms or 0,
        message.concurrent_edits, message.deleted is not None, message.pinned, reactions,
        message.thread.replies if message.thread else 0,
    ]  # fmt: skip
