"""Operations: every durable change, as one tagged array each (docs/spec/02-operations.md).

An operation says what its author wants; its author, time and place come from the commit around it.
Imported operations carry an `Origin`: who wrote it there, and when. `decode_operation` accepts exactly
the bytes `encode_operation` writes, within the limits of core/limits.py, and nothing else. Control
operations (who is here, what they may do, the keys) have a module of their own: core/control.py.
"""

# Types are evaluated here, not left as text: msgspec would compile each when it first decodes, in every fresh process.

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from quire.core import limits
from quire.core.encoding import Codec, encode
from quire.errors import MalformedError

if TYPE_CHECKING:
    from quire.core.control import ControlOperation

NOTICES = ("", "join", "leave", "topic", "name", "pin", "other")  # Post.notice is an index into this
SALT_SIZE = 16
OWN_SOURCE = "quire"  # author keys of people here begin so; no import may

# Post.flags
ACTION = 1
BROADCAST = 2


class Origin(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where an imported operation comes from."""

    source: str  # "slack", "irc" …
    author: str  # original author id
    id: str  # original id, unique in its channel; "" if the format gives none
    time_ms: int  # original time, Unix ms
    edited_ms: int | None = None  # marked as edited then, with no older text kept


class File(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where an attachment's bytes are: a sealed file of its own (core/sealed_file.py), and the key to it."""

    id: bytes  # 32
    key: bytes  # 32, of this file alone: without it the file is noise
    preview: bytes = (
        b""  # a small JPEG, if it is a picture; its author says so, a reader decodes it with care
    )

    def __repr__(self) -> str:
        return f"File({self.id.hex()})"


class Attachment(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A file that belongs to a message; without `file`, only its name and where it was."""

    name: str
    url: str = ""
    media_type: str = ""
    size_bytes: int | None = None
    file: File | None = None


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

_SHORT = limits.BODY_BYTES_MAX // 4  # characters that fit a body in any script
FIRST_CONTROL_BYTE, END_OF_TAGS = b"\x20", b"\x80"
_codec = Codec(Operation, "operation")


def encode_operation(operation: "Operation | ControlOperation") -> bytes:
    """The canonical bytes. Raises: MalformedError if a limit is exceeded, or a text holds a lone surrogate."""
    if type(operation) in KINDS:
        check_operation(operation)  # type: ignore[arg-type]
    else:
        from quire.core.control import check_control

        check_control(operation)  # type: ignore[arg-type]
    try:
        encoded = encode(operation)
    except UnicodeEncodeError:
        raise MalformedError(
            "the text holds half a surrogate pair, which no encoding can carry",
            rule="operation_lone_surrogate",
        ) from None
    _check_size(encoded)  # many fields at their limits are more than an operation may be
    return encoded


def decode_operation(data: bytes) -> "Operation | ControlOperation":
    """The operation with exactly these bytes. Raises: MalformedError."""
    _check_size(data)
    if is_control(data):
        from quire.core.control import decode_control  # reading a page never needs it

        return decode_control(data)
    operation: Operation = _codec.decode(data)
    check_operation(operation)
    return operation


def decode_operations(encoded: Sequence[bytes]) -> "list[Operation | ControlOperation]":
    """The operations with exactly these bytes. Raises: MalformedError, as `decode_operation` of the first that is none.

    Nearly all are posts that are plain or imported from one source, and pass in one look; the others are checked each.
    """
    try:
        operations: list[Operation] = list(map(_codec.trusted, encoded))
        canonical = list(map(encode, operations))
    except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError):
        canonical = []
    if canonical != list(encoded) or max(map(len, canonical), default=0) > limits.OPERATION_BYTES_MAX:
        return list(map(decode_operation, encoded))
    checked = None  # a source that was
    longest, latest, short = limits.ORIGIN_CHARS_MAX, limits.TIME_MS_MAX, _SHORT
    for one in operations:
        if (
            type(one) is Post
            and len(one.body) <= short
            and one.root is one.reply_to is None
            and one.notice == one.flags == 0
            and not (one.title or one.attachments or one.mentions)
        ):
            origin = one.origin
            if origin is None or (
                origin.source == checked
                and len(origin.author) <= longest
                and len(origin.id) <= longest
                and 0 <= origin.time_ms <= latest
                and origin.edited_ms is None
            ):
                continue
        check_operation(one)
        origin = getattr(one, "origin", None)
        checked = origin.source if origin is not None else checked
    return list(operations)


def is_control(data: bytes) -> bool:
    """Are these the bytes of a control operation, if of any? An operation's kind stands in its second byte."""
    return FIRST_CONTROL_BYTE <= data[1:2] < END_OF_TAGS


def stored_operation(salted: bytes) -> Operation:
    """The operation, not a control one, in bytes this vault checked before it stored them (salt || operation)."""
    operation: Operation = _codec.trusted(salted[SALT_SIZE:])
    return operation


def check_operation(operation: Operation) -> None:
    """Raises: MalformedError with the rule that a value breaks."""
    if type(operation) is not Post:
        _check_other(operation)
    elif not (  # nearly every post is plain: one look instead of ten
        len(operation.body) <= _SHORT
        and operation.root is operation.reply_to is None
        and operation.notice == operation.flags == 0
        and not operation.title
        and not operation.attachments
        and not operation.mentions
    ):
        _check_post(operation)
    origin = getattr(operation, "origin", None)
    if origin is not None:
        _check_origin(origin)


def _check_other(operation: Operation) -> None:
    match operation:
        case Edit(target, previous, body):
            _check_id(target)
            _check_id(previous)
            require(_utf8(body) <= limits.BODY_BYTES_MAX, "body_too_large")
        case Delete(target, reason):
            _check_id(target)
            require(len(reason) <= limits.TOPIC_CHARS_MAX, "reason_too_long")
        case React(target, emoji, unknown):
            _check_id(target)
            _check_emoji(emoji)
            require(0 <= unknown <= limits.ORIGIN_PEOPLE_MAX, "unknown_people_range")
            require(unknown == 0 or operation.origin is not None, "unknown_people_not_imported")
        case Unreact(target, emoji):
            _check_id(target)
            _check_emoji(emoji)
        case Pin(target) | Unpin(target):
            _check_id(target)
        case Name(name):
            require(0 < len(name) <= limits.NAME_CHARS_MAX, "name_length")
        case Topic(topic):
            require(len(topic) <= limits.TOPIC_CHARS_MAX, "topic_too_long")
        case Profile(source, author, name):
            if source:
                check_source(source)
            require(len(author) <= limits.ORIGIN_CHARS_MAX, "origin_too_long")
            require(len(name) <= limits.NAME_CHARS_MAX, "name_length")
        case ReadMarker(channel, time, message):
            _check_channel(channel)
            _check_id(message)
            require(0 <= time >> 16 <= limits.TIME_MS_MAX, "time_range")
        case Bookmark(channel, message) | Unbookmark(channel, message):
            _check_channel(channel)
            _check_id(message)
        case EpochKey(channel, epoch, key):
            _check_channel(channel)
            require(len(epoch) == 32, "epoch_size")
            require(len(key) == 32, "key_size")
        case Contact(identity, name):
            require(len(identity) == 32, "identity_size")
            require(len(name) <= limits.NAME_CHARS_MAX, "name_length")
        case DeviceName(device, name):
            require(len(device) == 32, "device_id_size")
            require(len(name) <= limits.NAME_CHARS_MAX, "name_length")
        case Erase():
            _check_erase(operation)


def _check_erase(erase: Erase) -> None:
    count = len(erase.messages) + len(erase.others)
    require(count > 0, "erase_nothing")
    require(count <= limits.ERASED_PER_OPERATION_MAX, "too_many_erased")
    require(len(erase.reason) <= limits.TOPIC_CHARS_MAX, "reason_too_long")
    for one in erase.entries:
        _check_id(one.id)
    for remains in erase.messages:
        if remains.root is not None:
            _check_id(remains.root)
        if remains.origin is not None:
            _check_origin(remains.origin)
    for gone in erase.others:
        if gone.message is not None:
            _check_id(gone.message)
    messages, others = [one.id for one in erase.messages], [one.id for one in erase.others]
    require(messages == sorted(set(messages)) and others == sorted(set(others)), "erased_order")
    require(set(messages).isdisjoint(others), "erased_twice")


def _check_post(post: Post) -> None:
    body = post.body
    require(len(body) <= _SHORT or _utf8(body) <= limits.BODY_BYTES_MAX, "body_too_large")
    if post.root is not None:
        _check_id(post.root)
    if post.reply_to is not None:
        _check_id(post.reply_to)
    if not 0 <= post.notice < len(NOTICES):
        raise broken("notice_range")
    if not 0 <= post.flags <= ACTION | BROADCAST:
        raise broken("flags_range")
    if post.title:
        require(len(post.title) <= limits.NAME_CHARS_MAX, "title_too_long")
        require(post.root is None, "title_on_reply")
    if post.attachments:
        require(len(post.attachments) <= limits.ATTACHMENTS_MAX, "too_many_attachments")
        for attachment in post.attachments:
            longest = max(len(attachment.name), len(attachment.url), len(attachment.media_type))
            require(longest <= limits.ATTACHMENT_TEXT_MAX, "attachment_text_too_long")
            size = attachment.size_bytes
            require(size is None or 0 <= size < 1 << 63, "attachment_size_range")
            if attachment.file is not None:
                _check_file(attachment.file, size)
    if post.mentions:
        require(len(post.mentions) <= limits.MENTIONS_MAX, "too_many_mentions")
        require(max(map(len, post.mentions)) <= limits.ORIGIN_CHARS_MAX, "origin_too_long")


def _check_file(file: File, size: int | None) -> None:
    require(len(file.id) == 32, "file_id_size")
    require(len(file.key) == 32, "file_key_size")
    require(size is not None and size <= limits.FILE_BYTES_MAX, "file_size_range")
    require(len(file.preview) <= limits.PREVIEW_BYTES_MAX, "preview_too_large")


def _check_origin(origin: Origin) -> None:
    check_source(origin.source)
    edited = origin.edited_ms
    longest = limits.ORIGIN_CHARS_MAX
    if len(origin.author) > longest or len(origin.id) > longest:
        raise broken("origin_too_long")
    if not 0 <= origin.time_ms <= limits.TIME_MS_MAX or (
        edited is not None and not 0 <= edited <= limits.TIME_MS_MAX
    ):
        raise broken("time_range")


def check_source(source: str) -> None:
    """An author key is `source:author`: "quire:…" would speak for a person here, and ':' for another source."""
    if not 0 < len(source) <= limits.NAME_CHARS_MAX:
        raise broken("origin_too_long")
    if source == OWN_SOURCE or ":" in source:
        raise broken("origin_source")


def _check_id(target: bytes) -> None:
    require(len(target) == 16, "message_id_size")


def _check_channel(channel: bytes) -> None:
    require(len(channel) == 32, "channel_id_size")


def _check_emoji(emoji: str) -> None:
    require(0 < _utf8(emoji) <= limits.EMOJI_BYTES_MAX, "emoji_size")


def _check_size(encoded: bytes) -> None:
    if len(encoded) > limits.OPERATION_BYTES_MAX:
        raise MalformedError(
            "the operation is too large", rule="operation_too_large", size_bytes=len(encoded)
        )


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def require(holds: bool, rule: str) -> None:
    """Raises: MalformedError(rule) unless it holds."""
    if not holds:
        raise broken(rule)


def broken(rule: str) -> MalformedError:
    """A value outside its bounds."""
    return MalformedError(f"operation: {rule.replace('_', ' ')}", rule=rule)
