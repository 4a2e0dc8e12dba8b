"""Identifiers: what each names, how long it is, and how people write it (docs/spec/01-encoding.md).

A message id is a place, not a hash: 10 bytes of SHA-256(device || incarnation), then seq and index,
big-endian, so ids grow at the end of each log and nobody can claim another's.
"""

from __future__ import annotations

import hashlib
from typing import NewType

from quire.core.limits import OPERATIONS_PER_COMMIT_MAX, SEQ_MAX
from quire.errors import UsageError

ChannelId = NewType("ChannelId", bytes)  # 32 bytes: hash of the creating operation
CommitId = NewType("CommitId", bytes)  # 32 bytes: SHA-256(head)
FileId = NewType("FileId", bytes)  # 32 bytes: hash of a sealed file's outline
DeviceId = NewType("DeviceId", bytes)  # 32 bytes: the device's Ed25519 public key
IdentityId = NewType("IdentityId", bytes)  # 32 bytes: the identity's Ed25519 public key
Incarnation = NewType("Incarnation", bytes)  # 16 random bytes, fresh for each log
MessageId = NewType("MessageId", bytes)  # 16 bytes: log prefix || seq || index

PREFIX_SIZE = 10


def log_prefix(device: DeviceId, incarnation: Incarnation) -> bytes:
    """The first 10 bytes of every message id of one log."""
    return hashlib.sha256(device + incarnation).digest()[:PREFIX_SIZE]


def message_id(prefix: bytes, seq: int, index: int) -> MessageId:
    """The id of operation `index` (0 ..) of commit `seq` (1 ..) of the log with this prefix."""
    return MessageId(prefix + seq.to_bytes(4, "big") + index.to_bytes(2, "big"))


def place(message: MessageId) -> tuple[bytes, int, int]:
    """(log prefix, seq, index) of a message id."""
    return message[:10], int.from_bytes(message[10:14], "big"), int.from_bytes(message[14:], "big")


def message_id_text(message: MessageId, prefix_chars: int = 16) -> str:
    """`mzxw6ytboi2gk3dm-1042.17`: base32 of the log prefix (or its first characters), seq, index."""
    import base64  # reading a page never needs it

    prefix, seq, index = place(message)
    return f"{base64.b32encode(prefix).decode().lower()[:prefix_chars]}-{seq}.{index}"


def parse_message_id(text: str) -> tuple[str, int, int]:
    """(start of the prefix in base32, seq, index) of what `message_id_text` wrote, perhaps abbreviated.

    Raises: UsageError(rule="message_id_form").
    """
    prefix, dash, place_text = text.strip().lower().partition("-")
    seq, dot, index = place_text.partition(".")
    numbers = seq.isascii() and seq.isdigit() and index.isascii() and index.isdigit()
    if not (dash and dot and numbers and len(seq) <= 10 and len(index) <= 5 and 1 <= len(prefix) <= 16):
        raise _not_an_id(text)
    if not 1 <= int(seq) <= SEQ_MAX or int(index) >= OPERATIONS_PER_COMMIT_MAX:
        raise _not_an_id(text)
    return prefix, int(seq), int(index)


def whole_message_id(text: str) -> MessageId:
    """The id that `message_id_text` wrote in full. Raises: UsageError(rule="message_id_form")."""
    prefix, seq, index = parse_message_id(text)
    if len(prefix) != 16:
        raise _not_an_id(text)
    import base64

    try:
        return message_id(base64.b32decode(prefix.upper()), seq, index)
    except ValueError:
        raise _not_an_id(text) from None


def require_message_id(id: object) -> None:
    """A message itself, or its id as text, is not its id. Raises: UsageError(rule="message_id_type")."""
    if not isinstance(id, bytes):
        raise UsageError(
            f"a message is named by its id, not by a {type(id).__name__}",
            rule="message_id_type",
            hint="give `message.id`; of text, `ChannelManager.find_message` makes an id",
        )


def require_channel_id(id: object) -> None:
    """Raises: UsageError(rule="channel_id_type")."""
    if not isinstance(id, bytes):
        raise UsageError(
            f"a channel is named by its id, not by a {type(id).__name__}",
            rule="channel_id_type",
            hint="give its `.id`; `ChannelManager` takes its name as well",
        )


def channel_id_text(channel: ChannelId) -> str:
    """The channel id in lower-case hexadecimal, 64 characters; any unique start of it will do."""
    return channel.hex()


def _not_an_id(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a message id",
        rule="message_id_form",
        hint="ids look like mzxw-1042.17; `quire read` shows them",
    )
