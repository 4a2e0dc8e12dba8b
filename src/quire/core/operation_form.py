"""The form of operations: exactly one encoding for each, and bounds for every field (docs/spec/02-operations.md).

`decode_operation` accepts exactly the bytes that `encode_operation` writes, within the limits of core/limits.py, and nothing
else. A broken bound is an error that names its rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from quire.core import limits
from quire.core.bounds import broken, check_source, require
from quire.core.encoding import encode
from quire.core.operation import (
    ACTION,
    BROADCAST,
    KINDS,
    NOTICES,
    Bookmark,
    Contact,
    Delete,
    DeviceName,
    Edit,
    EpochKey,
    Erase,
    File,
    Name,
    Operation,
    Origin,
    Pin,
    Post,
    Profile,
    React,
    ReadMarker,
    Topic,
    Unbookmark,
    Unpin,
    Unreact,
    codec,
    is_control,
)
from quire.errors import MalformedError

if TYPE_CHECKING:
    from quire.core.control import ControlOperation

_SHORT = limits.BODY_BYTES_MAX // 4  # characters that fit a body in any script


def encode_operation(operation: Operation | ControlOperation) -> bytes:
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


def decode_operation(data: bytes) -> Operation | ControlOperation:
    """The operation with exactly these bytes. Raises: MalformedError."""
    _check_size(data)
    if is_control(data):
        from quire.core.control import decode_control  # reading a page never needs it

        return decode_control(data)
    operation: Operation = codec.decode(data)
    check_operation(operation)
    return operation


def decode_operations(encoded: Sequence[bytes]) -> list[Operation | ControlOperation]:
    """The operations with exactly these bytes. Raises: MalformedError, as `decode_operation` of the first that is none.

    Nearly all are posts that are plain or imported from one source, and pass in one look; the others are checked each.
    """
    try:
        operations: list[Operation] = list(map(codec.trusted, encoded))
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
