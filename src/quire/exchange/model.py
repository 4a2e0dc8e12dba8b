"""What importers yield: one flat stream of records, whatever the format.

An importer reads a `Source` and yields records in file order; it keeps no history in memory. It
never decides about ids, order or duplicates: `store.py` does, once, for all formats. All times are
Unix milliseconds (UTC). All text is Unicode without lone surrogates; bodies are Markdown.

A message is named within its channel by its original `id`. Where a format has no ids the importer
makes a stable one from what identifies the line in *every* export of that chat (time, author,
text, and the occurrence among equal ones), so that overlapping exports still meet.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

NOBODY = "(unknown)"  # the author of a message that names none, as some tools write integrations' messages; never counted
GONE = "?"  # for `Message.reply_to`: it answers something that the export no longer names


class Channel(msgspec.Struct, frozen=True, gc=False):
    """A channel of the export. Comes before its first message; may come again with better facts."""

    key: str  # names the channel within the export; messages refer to it
    name: str  # what people call it, without a leading '#'
    topic: str = ""
    purpose: str = ""
    kind: str = "channel"  # channel | private | group | direct
    source: str = ""  # of an export of Quire's: where the channel came from first, and its key there
    origin: str = ""


class Author(msgspec.Struct, frozen=True, gc=False):
    """Who wrote, as the export says. May come again (a new display name); the last one shows."""

    key: str  # the format's user id; the name itself where the format has no ids
    name: str
    bot: bool = False


class Attachment(msgspec.Struct, frozen=True, gc=False):
    """A file the message refers to. Its bytes are taken in if they are in the export, and never fetched from elsewhere."""

    name: str
    url: str = ""  # a link, or a path inside the export; text only
    media_type: str = ""
    size_bytes: int | None = None
    file: str = ""  # a path inside the export, where that is not the link


class Reaction(msgspec.Struct, frozen=True, gc=False):
    """One emoji on one message."""

    emoji: str  # the character(s), or a `:name:` where the format has only a name
    authors: tuple[str, ...] = ()  # Author.key of each person known
    unknown: int = 0  # how many further people, where the format only counts them
    times_ms: tuple[
        int, ...
    ] = ()  # when each of the authors did, where that is known and not the message's time
    unknown_ms: int | None = None


class Edit(msgspec.Struct, frozen=True, gc=False):
    """A later text of a message, where the format keeps it."""

    time_ms: int
    body: str
    author: str = ""  # Author.key; "" = the message's author
    id: str = ""  # the edit event's own original id, if it has one
    replaces: int = 0  # number of the version it replaces, 1 = the first text; 0 = the one before


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message or notice."""

    channel: str  # Channel.key
    id: str  # original id, unique in the channel
    time_ms: int
    author: str  # Author.key ("" only for a notice that no one wrote)
    body: str  # Markdown; the oldest text known
    notice: str = ""  # "" = a message; else join | leave | topic | name | pin | other
    thread: str = ""  # original id of the thread's root if this is a reply in a thread; "" for a root
    thread_time_ms: int | None = None  # the root's time, where the format tells it with the reply
    title: str = ""  # a thread title, on the root only (Zulip topic, Discord thread, mail subject)
    reply_to: str = ""  # original id of a message this one answers or quotes, outside any thread
    reply_to_time_ms: int | None = None
    attachments: tuple[Attachment, ...] = ()
    mentions: tuple[str, ...] = ()  # Author.key of each person mentioned
    reactions: tuple[Reaction, ...] = ()
    edits: tuple[Edit, ...] = ()  # later texts, oldest first
    edited_ms: int | None = (
        None  # marked as edited, time (or the message's own, if unknown); with no older text known
    )
    deleted: bool = False  # a mark left by a deletion (tombstone); the body may be ""
    pinned: bool = False
    broadcast: bool = False  # a thread reply also shown in the channel
    action: bool = False  # "/me" style
    ref: str = ""  # what the export's other records call it, if that is not its original id


class WholeKeys(msgspec.Struct, frozen=True, gc=False):
    """All author keys of this export are whole: `source:author`. Comes before all other records."""


class EditEvent(msgspec.Struct, frozen=True, gc=False):
    """An edit that stands apart from its message in the export (Matrix `m.replace`, event streams)."""

    channel: str
    target: str  # original id of the message
    edit: Edit
    target_time_ms: int | None = None
    own: bool = False  # void unless it is by who wrote the message
    stands: bool = False  # where its message is in no file, it is kept as the message


class ReactionEvent(msgspec.Struct, frozen=True, gc=False):
    """A reaction that stands apart from its message. `removed` = taken back."""

    channel: str
    target: str
    reaction: Reaction
    time_ms: int
    removed: bool = False
    target_time_ms: int | None = None


class DeleteEvent(msgspec.Struct, frozen=True, gc=False):
    """A deletion that stands apart from its message (Matrix redaction)."""

    channel: str
    target: str
    time_ms: int
    author: str = ""
    reason: str = ""
    target_time_ms: int | None = None


class PinEvent(msgspec.Struct, frozen=True, gc=False):
    """A pin (or its removal) that stands apart from its message."""

    channel: str
    target: str
    time_ms: int
    author: str = ""
    removed: bool = False
    target_time_ms: int | None = None


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """A broken record: reported, counted, passed over. Never stops the rest."""

    file: str
    position: str  # "line 12", "item 4", "byte 812": whatever finds it again
    reason: str


class Warn(msgspec.Struct, frozen=True, gc=False):
    """Something the reader of the summary should know (a missing users file, a count that differs)."""

    text: str


class NotCarried(msgspec.Struct, frozen=True, gc=False):
    """Something the format has and Quire does not carry over; the summary counts it by `what`."""

    what: str  # a plural noun: "link previews", "polls", "custom emoji images"
    count: int = 1


Record: TypeAlias = (
    Channel
    | Author
    | Message
    | WholeKeys
    | EditEvent
    | ReactionEvent
    | DeleteEvent
    | PinEvent
    | Skipped
    | Warn
    | NotCarried
)


class Options(msgspec.Struct, frozen=True):
    """What the user may have to say because the files do not."""

    timezone: str = ""  # IANA name; "" = the export's own, else UTC
    date: str = ""  # YYYY-MM-DD for logs that hold only times
    date_order: str = ""  # "dmy" | "mdy" | "ymd" where the text is ambiguous
    channel: str = ""  # a name for the channel where the format has none
    files: bool = True  # take in files that lie in the export
