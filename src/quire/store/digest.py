"""The digest of a channel's timeline: two who see the same have the same 32 bytes, and two who do not, do not.

It covers what everybody must see alike: name and topic, and of every message in order its id, time, author, text, thread, edits,
deletion, pin and reactions. What is one's own (read markers, bookmarks, names for people) is left out.

The digest of the contents says more and names less: every version and who did what when, but no id that a vault gave. It is
the same before an export and after its import elsewhere (docs/export-jsonl.md, "What is the same again").
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from quire.core.encoding import encode
from quire.core.ids import ChannelId
from quire.core.views import Message
from quire.exchange.exported import IMPORTED_SOURCE, OWN_SOURCE, AuthorLine, MarkPart, MessageLine
from quire.storage.database import guarded

if TYPE_CHECKING:
    from quire.store.local import LocalStore
    from quire.store.telling import Teller

LABEL = b"quire/v1 timeline\x00"
CONTENTS_LABEL = b"quire/v1 contents\x00"


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
    gone = (message.deleted is not None) + (message.deleted is not None and message.deleted.erased)
    return [
        message.id, message.time, message.author.id, message.body, message.root or b"", message.edited_ms or 0,
        message.concurrent_edits, gone, message.pinned, reactions,
        message.thread.replies if message.thread else 0,
    ]  # fmt: skip


@guarded
def contents_digest(store: LocalStore, channel: ChannelId) -> bytes:
    """32 bytes, of what an export of a channel carries; memory grows with its authors only. Raises: NotFoundError."""
    from quire.store.telling import Teller

    row = store.channel_row(channel)
    told = hashlib.sha256(CONTENTS_LABEL + encode([row.name, row.topic, row.kind]))
    names: dict[str, AuthorLine] = {}
    with store.database.snapshot() as db:
        teller = Teller(db)
        for batch in teller.tell(row):
            names |= {author.key: author for author in batch.authors}
            for message in batch.messages:
                told.update(encode(_carried(message, teller)))
    people = sorted((portable(key), author.name, author.bot) for key, author in names.items())
    told.update(encode(people))
    return told.digest()


def portable(key: str) -> str:
    """An author key as an import of an export has it: who signs here is a name in a file there."""
    return f"{IMPORTED_SOURCE}:{key}" if key.startswith(f"{OWN_SOURCE}:") else key


def _carried(message: MessageLine, teller: Teller) -> list[object]:
    """Of a message, what an export carries, but for the ids that this vault gave."""
    return [
        message.id if message.origin is None else message.origin, message.time_ms, portable(message.author),
        message.body, message.notice, message.title, message.broadcast, message.action, message.edited_ms or 0,
        teller.name_of(message.thread), teller.name_of(message.reply_to),
        [[a.name, a.url, a.media_type, a.size_bytes] for a in message.attachments],
        [portable(key) for key in message.mentions],
        [[e.time_ms, e.body, e.id, e.replaces or 0] for e in message.edits],
        [
            [r.emoji, [portable(key) for key in r.authors], r.times_ms, r.unknown, r.unknown_ms or 0]
            for r in message.reactions
        ],
        _mark(message.deleted), _mark(message.pinned),
    ]  # fmt: skip


def _mark(mark: MarkPart | None) -> list[object]:
    return [mark.time_ms, portable(mark.author), mark.reason] if mark else []
