"""Operations: every durable change, as one tagged array each (docs/spec/02-operations.md).

An operation says what its author wants; its author, time and place come from the commit around it.
Imported operations carry an `Origin`: who wrote it there, and when. Their bytes, and the bounds of each field, are for
core/operation_form.py. Control operations (who is here, what they may do, the keys) have a module of their own: core/control.py.
"""

# Types are evaluated here, not left as text: msgspec would compile each when it first decodes, in every fresh process.

from typing import TypeAlias

import msgspec

from quire.core.contents import ACTION as ACTION
from quire.core.contents import BROADCAST as BROADCAST
from quire.core.contents import NOTICES as NOTICES
from quire.core.contents import SALT_SIZE as SALT_SIZE
from quire.core.contents import Attachment as Attachment
from quire.core.contents import File as File
from quire.core.contents import Origin as Origin
from quire.core.encoding import Codec

OWN_SOURCE = "quire"  # author keys of people here begin so; no import may


class Post(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """A message or a notice."""

    body: str
    root: bytes | None = None  # the thread's root
    reply_to: bytes | None = None  # the message answered, outside any thread
    notice: int = 0
    flags: int = 0
    title: str = ""
    attachments: tuple[Attachment, ...] = ()
    mentions: tuple[str, ...] = ()  # author keys
    origin: Origin | None = None


class Edit(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """A later text of a message. Only its author may."""

    target: bytes
    previous: bytes  # the version it replaces: the message's id, or an edit's
    body: str
    origin: Origin | None = None


class Delete(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """Take a message back. Wins over edits; final."""

    target: bytes
    reason: str = ""
    origin: Origin | None = None


class React(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """One person's emoji on a message (or, imported, `unknown` people the format only counts)."""

    target: bytes
    emoji: str
    unknown: int = 0
    origin: Origin | None = None


class Unreact(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """Take a reaction back."""

    target: bytes
    emoji: str
    origin: Origin | None = None


class Pin(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """Pin a message to its channel."""

    target: bytes
    origin: Origin | None = None


class Unpin(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """Take a pin off."""

    target: bytes
    origin: Origin | None = None


class Name(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=8):
    """The channel's name; the newest stands."""

    name: str


class Topic(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=9):
    """The channel's topic; the newest stands."""

    topic: str


class Profile(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=10):
    """A display name: our own (source ""), or an imported author's. The newest stands."""

    source: str
    author: str
    name: str
    bot: bool = False


class ReadMarker(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=11):
    """Everything in `channel` up to (time, message) has been read. Self-channel only."""

    channel: bytes
    time: int
    message: bytes


class Bookmark(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=12):
    """Remember a message. Self-channel only."""

    channel: bytes
    message: bytes


class Unbookmark(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=13):
    """Forget a bookmark. Self-channel only."""

    channel: bytes
    message: bytes


class EpochKey(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=14):
    """The key of a channel's epoch, for our other devices and for recovery. Self-channel only."""

    channel: bytes
    epoch: bytes
    key: bytes  # 32


class Contact(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=15):
    """What we call a person, and whether we compared safety numbers. Self-channel only; the newest stands."""

    identity: bytes
    name: str = ""
    verified: bool = False


class DeviceName(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=16):
    """What we call one of our devices. Self-channel only; the newest stands."""

    device: bytes
    name: str


class Remains(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is left of an erased message: where it stood. Who erases says so, since others never had its bytes."""

    id: bytes
    root: bytes | None = None  # the thread that it was a reply in
    origin: Origin | None = None  # of an imported one: its source and time; the names only if it stands
    stands: bool = False  # its first text alone is erased, and the newest edit goes on showing


class Gone(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An erased operation of which nothing is left."""

    id: bytes
    message: bytes | None = None  # the message that it was a version of


class Erase(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=17):
    """Destroy the bytes of operations, everywhere and for good. Wins over everything; final."""

    messages: tuple[Remains, ...]
    others: tuple[Gone, ...] = ()
    reason: str = ""

    @property
    def entries(self) -> list[Remains | Gone]:
        """What it says of each operation that it is on."""
        return [*self.messages, *self.others]


Operation: TypeAlias = (
    Post
    | Edit
    | Delete
    | React
    | Unreact
    | Pin
    | Unpin
    | Name
    | Topic
    | Profile
    | ReadMarker
    | Bookmark
    | Unbookmark
    | EpochKey
    | Contact
    | DeviceName
    | Erase
)

KINDS: dict[type, int] = {
    Post: 1, Edit: 2, Delete: 3, React: 4, Unreact: 5, Pin: 6, Unpin: 7, Name: 8, Topic: 9, Profile: 10,
    ReadMarker: 11, Bookmark: 12, Unbookmark: 13, EpochKey: 14, Contact: 15, DeviceName: 16,
    Erase: 17,
}  # fmt: skip
SELF_ONLY = (ReadMarker, Bookmark, Unbookmark, EpochKey, Contact, DeviceName)

FIRST_CONTROL_BYTE, END_OF_TAGS = b"\x20", b"\x80"
codec = Codec(Operation, "operation")


def is_control(data: bytes) -> bool:
    """Are these the bytes of a control operation, if of any? An operation's kind stands in its second byte."""
    return FIRST_CONTROL_BYTE <= data[1:2] < END_OF_TAGS


def stored_operation(salted: bytes) -> Operation:
    """The operation, not a control one, in bytes this vault checked before it stored them (salt || operation)."""
    operation: Operation = codec.trusted(salted[SALT_SIZE:])
    return operation
