"""What the items in a relay's mailboxes are, for those who can read them (docs/spec/10-relay.md, section 4).

    kind (1) || record                                           a record of a bundle file, whole
    32 || hash (16) || number (2) || count (2) || bytes          a part of one that is larger than an item
    33 || version (1) || tag (16) || salt (32) || sealed         a need: what one device lacks of a channel
    34 || name (32)                                              a mark: what has this name was put, by somebody

A need goes into the mailbox of an epoch, sealed under its key: a relay forgets what is old, and whoever finds less there
than there should be asks for the rest. A mark goes there as well: a welcome lies in a mailbox that other members do not
read, and one is enough.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from quire.core.bundle import SALT_SIZE, TAG_SIZE, bundle_tag
from quire.core.bundle_file import KNOWN, Kind, Record
from quire.core.crypto import aead
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, derive_key
from quire.core.crypto.secrets import RandomBytes
from quire.core.encoding import Codec, encode
from quire.core.heights import LogHeight, is_well_formed
from quire.core.ids import ChannelId
from quire.core.limits import BUNDLE_BYTES_MAX, NEED_HEIGHTS_MAX
from quire.core.packing import packed, unpacked
from quire.core.relay_frames import ITEM_BYTES_MAX
from quire.errors import MalformedError

PART, NEED, MARK = 32, 33, 34
WHOLE_SIZE, PART_HEAD = 16, 21
PART_BYTES_MAX = ITEM_BYTES_MAX - PART_HEAD
PARTS_MAX = -(-(BUNDLE_BYTES_MAX + 1) // PART_BYTES_MAX)
NEED_VERSION = 1
NEED_HEAD = 2 + TAG_SIZE + SALT_SIZE
NEED_BYTES_MAX = ITEM_BYTES_MAX
MARK_SIZE = 32


class Part(NamedTuple):
    """A part of a record."""

    whole: bytes  # which record: the first bytes of SHA-256(kind || record)
    number: int  # from 0
    parts: int  # that there are of it
    data: bytes


class Need(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What a device has of a channel; it lacks the rest, and has not found it at this relay."""

    device: bytes
    heights: tuple[LogHeight, ...]


_codec = Codec(Need, "need_structure")


def items_of(record: Record) -> Iterator[bytes]:
    """A record as an item, or as several."""
    whole = bytes([record.kind]) + record.data
    if len(whole) <= ITEM_BYTES_MAX:
        yield whole
        return
    name = hashlib.sha256(whole).digest()[:WHOLE_SIZE]
    parts = [whole[at : at + PART_BYTES_MAX] for at in range(0, len(whole), PART_BYTES_MAX)]
    for number, part in enumerate(parts):
        yield bytes([PART]) + name + number.to_bytes(2, "big") + len(parts).to_bytes(2, "big") + part


def record_of(item: bytes) -> Record | None:
    """The record that an item is; None if it is none, or of a newer kind."""
    return Record(Kind(item[0]), item[1:]) if item and item[0] in KNOWN else None


def part_of(item: bytes) -> Part:
    """Raises: MalformedError(rule="item_part")."""
    number, count = int.from_bytes(item[17:19], "big"), int.from_bytes(item[19:21], "big")
    if item[:1] != bytes([PART]) or len(item) <= PART_HEAD or not number < count <= PARTS_MAX:
        raise MalformedError("this is no part of a record", rule="item_part")
    return Part(item[1:17], number, count, item[PART_HEAD:])


def assembled(whole: bytes, parts: Mapping[int, bytes]) -> Record:
    """The record that parts, all of them, are of. Raises: MalformedError(rule="item_parts") if they are not of one."""
    data = b"".join(parts[number] for number in sorted(parts))
    if hashlib.sha256(data).digest()[:WHOLE_SIZE] != whole or (record := record_of(data)) is None:
        raise MalformedError("these parts are of no record", rule="item_parts")
    return record


def seal_need(need: Need, key: EpochKey, channel: ChannelId, random_bytes: RandomBytes) -> bytes:
    """A need as an item, for who has the epoch's key."""
    salt = random_bytes(SALT_SIZE)
    header = bytes([NEED, NEED_VERSION]) + bundle_tag(key, channel) + salt
    return header + aead.encrypt(_key(key, channel, salt), aead.ZERO_NONCE, packed(encode(need)), header)


def need_tag(item: bytes) -> bytes:
    """The tag of the epoch that a need is sealed under. Raises: MalformedError(rule="need_form")."""
    if not NEED_HEAD < len(item) <= NEED_BYTES_MAX or item[:2] != bytes([NEED, NEED_VERSION]):
        raise MalformedError("this is no need", rule="need_form")
    return item[2 : 2 + TAG_SIZE]


def open_need(item: bytes, key: EpochKey, channel: ChannelId) -> Need:
    """Raises: MalformedError with rule "need_form", "need_open", "need_structure", "need_heights" or of the packing."""
    need_tag(item)
    header = item[:NEED_HEAD]
    derived = _key(key, channel, header[-SALT_SIZE:])
    opened = aead.decrypt(derived, aead.ZERO_NONCE, item[NEED_HEAD:], header, rule="need_open")
    need: Need = _codec.decode(unpacked(opened, bytes_max=NEED_BYTES_MAX, what="need"))
    fits = len(need.device) == 32 and len(need.heights) <= NEED_HEIGHTS_MAX
    if not fits or not all(map(is_well_formed, need.heights)):
        raise MalformedError("a need of no device, or of no heights", rule="need_heights")
    return need


def mark_of(name: bytes) -> bytes:
    """A mark as an item: what has this name lies at the relay."""
    return bytes([MARK]) + name


def name_of_mark(item: bytes) -> bytes:
    """Raises: MalformedError(rule="mark_form")."""
    if len(item) != 1 + MARK_SIZE or item[0] != MARK:
        raise MalformedError("this is no mark", rule="mark_form")
    return item[1:]


def _key(key: EpochKey, channel: ChannelId, salt: bytes) -> bytes:
    return derive_key(key.reveal(), Label.NEED, salt=salt + channel)
