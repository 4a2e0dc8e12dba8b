"""What a reader sees: the values that stores and channels give out. Plain, frozen, no behaviour.

These are views: derived from the commit log by core/timeline.py, never a source of truth.
"""

from __future__ import annotations

from typing import Literal

from quire.core.contents import Attachment, Origin
from quire.core.ids import ChannelId, MessageId
from quire.core.values import Value

Notice = Literal["", "join", "leave", "topic", "name", "pin", "other"]


class Author(Value):
    """Who wrote. Imported authors are names in a file, not members."""

    id: str  # "quire:<identity, hex>" or "<source>:<original id>"
    name: str
    bot: bool = False
    imported: bool = False
    own: bool = False  # is it us?


class Reaction(Value):
    """All reactions with one emoji on one message."""

    emoji: str
    count: int
    own: bool
    people: tuple[str, ...]  # names, oldest first; at most 20, and none where a format only counts


class Deletion(Value):
    """Who took a message back, when (Unix ms), and why ("" = not said)."""

    by: Author
    time_ms: int
    reason: str
    erased: bool = False  # for good: its bytes are gone, not only hidden


class Thread(Value):
    """A thread in short."""

    root: MessageId
    channel: ChannelId
    title: str  # the title given, else ""
    replies: int  # not counting the root nor deleted replies
    participants: int  # distinct authors of replies that stand
    last_reply_ms: int  # the root's time while there is no reply
    last_reply: MessageId | None
    last_author: Author | None
    preview: str  # start of the last reply's text, one line


class Archived(Value):
    """Where the text of a message is that cannot be read now."""

    segment: str  # the file's name; "" if nothing is known of it
    place: str  # the folder that it should be in
    damaged: bool = False  # it is there, and not what was written


class Message(Value):
    """One message as it stands now."""

    id: MessageId
    channel: ChannelId
    time: int  # hybrid logical time: ms << 16 | counter; with `id` the order of the timeline
    author: Author
    body: str  # "" when deleted
    root: MessageId | None = None  # the thread's root, if this is a reply in a thread
    reply_to: MessageId | None = None  # the message this answers outside any thread
    notice: Notice = ""
    title: str = ""  # a thread title, on the root
    action: bool = False  # "/me" style
    broadcast: bool = False  # a thread reply also meant for the channel
    attachments: tuple[Attachment, ...] = ()
    mentions: tuple[str, ...] = ()  # Author.id of each person mentioned
    edited_ms: int | None = None  # time of the version shown, if it is not the first
    concurrent_edits: bool = False  # edits exist that did not know of each other
    deleted: Deletion | None = None
    pinned: bool = False
    reactions: tuple[Reaction, ...] = ()
    thread: Thread | None = None  # if replies exist, or a title
    origin: Origin | None = None
    archived: Archived | None = None  # its text is in the archive, out of reach; `body` is ""

    @property
    def time_ms(self) -> int:
        """Unix milliseconds."""
        return self.time >> 16

    @property
    def cursor(self) -> str:
        """This message's place in its channel, for `before`, `after` and `around`."""
        return f"{self.time:x}.{self.id.hex()}"


class AttachmentView(Value):
    """An attachment as one device sees it."""

    number: int  # among those of its message, from 1
    name: str  # as its author wrote it: no path, and not to be shown raw
    media_type: str
    size_bytes: int | None
    url: str
    state: str  # here | missing | asked | dropped | link (no bytes of its own)
    received_bytes: int = 0  # of the sealed file, while it is not here
    has_preview: bool = False


class Page(Value):
    """A page of messages, newest first (a thread's: oldest first)."""

    messages: tuple[Message, ...]
    older: str | None  # cursor for `before`, None when nothing is older
    newer: str | None  # cursor for `after`, None when nothing is newer


class Version(Value):
    """One version of a message's text."""

    number: int  # 1 = as first written
    body: str
    time_ms: int
    author: Author
    shown: bool  # is it the one that stands?
    concurrent: bool  # written without knowing of another edit
    erased: bool = False  # its bytes are gone; of its text nothing is known
    archived: Archived | None = None  # its text is in the archive, out of reach; `body` is ""


class Hit(Value):
    """A message found, and where its text matches."""

    message: Message
    channel_name: str
    spans: tuple[tuple[int, int], ...]  # [start, end) in characters of message.body, in order


class Hits(Value):
    """A page of search results, newest first."""

    hits: tuple[Hit, ...]
    older: str | None  # cursor for the next page


class ChannelInfo(Value):
    """A channel in short."""

    id: ChannelId
    name: str
    topic: str
    kind: str  # channel | private | group | direct
    messages: int  # standing messages and notices, replies in threads included
    threads: int
    last_ms: int | None  # time of the newest message
    unread: int  # messages of others after our read marker (imported ones count as read)
    mentions: int  # those of them that mention us
    waiting: int  # operations, and whole commits, that wait for what they refer to, or for their time
    source: str  # "" or the import format it came from
    description: str = ""
    role: str = "none"  # what we may do in it here: "none" if we, or this device, are out


class Event(Value):
    """Something became durable. `message` is the one it is about, if any."""

    # message | attachment (its bytes came) | edit | delete | erase | reaction | pin | channel | fork
    # refused (we asked to be let into a channel, and are not: `joining` says why)
    # people (members, roles, rules, devices or keys of a channel changed)
    kind: str
    channel: ChannelId
    message: MessageId | None = None
