"""What two devices say to each other: one message a frame (docs/spec/09-sync.md, section 3)."""

from __future__ import annotations

import hashlib

import msgspec

from quire.core.encoding import Codec, encode
from quire.core.heights import DIGEST_SIZE, LogHeight, is_well_formed
from quire.core.ids import ChannelId, DeviceId
from quire.core.limits import BUNDLE_BYTES_MAX, CHANNELS_PER_SYNC_MAX, FILE_BYTES_MAX
from quire.core.sealed_file import HASH_SIZE, PIECE_SIZE, piece_count
from quire.errors import MalformedError

VERSION = 1
NONCE_SIZE = TOKEN_SIZE = TAG_SIZE = 16
PART_BYTES_MAX = 1 << 20  # of a record in one frame
HEIGHTS_PER_FRAME_MAX = 256
TAGS_PER_FRAME_MAX = 16_384  # keys of a channel that somebody has: one a week for three hundred years
WANT_PIECES_MAX = 16  # pieces of one file, in one wish
PIECES_MAX = piece_count(FILE_BYTES_MAX)
TOKEN_LABEL = b"quire/v1 sync channel\x00"


class Message(msgspec.Struct, array_like=True, frozen=True):
    """One of those below."""


class Hello(Message, tag=1, frozen=True):
    """A round begins: which channels I have, to whom knows them, and how much of each."""

    version: int
    nonce: bytes
    offers: tuple[tuple[bytes, bytes], ...]  # token and digest, ascending


class Have(Message, tag=2, frozen=True):
    """What I have of a channel that differs; its logs may take several of these."""

    token: bytes  # the asker's own, of this round
    heights: tuple[LogHeight, ...]
    tags: tuple[bytes, ...]


class Asked(Message, tag=3, frozen=True):
    """That was all I have to say of what I have."""


class Part(Message, tag=4, frozen=True):
    """A record, or a part of it."""

    number: int  # of the record on this link, from 1
    kind: int  # as in bundle files
    last: bool
    data: bytes


class Sent(Message, tag=5, frozen=True):
    """That is all I may give."""


class Rest(Message, tag=6, frozen=True):
    """I have taken all that you sent."""

    again: bool  # something was new: let us look once more


class Taken(Message, tag=7, frozen=True):
    """All records up to this one are on disk, or refused for good."""

    number: int


class Bye(Message, tag=8, frozen=True):
    """I end here, and why: the name of a rule, or nothing."""

    rule: str


class FileMessage(Message, frozen=True):
    """One about files; they stand beside the rounds."""


class Want(FileMessage, tag=9, frozen=True):
    """Send me these pieces of a file, and its outline first if they begin with the first."""

    file: bytes
    first: int
    count: int


class Outline(FileMessage, tag=10, frozen=True):
    """The hashes of a file's pieces."""

    file: bytes
    hashes: bytes


class Piece(FileMessage, tag=11, frozen=True):
    """A piece that was wanted."""

    file: bytes
    number: int
    data: bytes


class Lacks(FileMessage, tag=12, frozen=True):
    """I have not got it, or you may not have it: no piece that you want of it comes any more."""

    file: bytes


class Here(FileMessage, tag=13, frozen=True):
    """What I lacked has come."""

    file: bytes


class Content(FileMessage, tag=14, frozen=True):
    """I want no more files, for now."""


Any = (
    Hello | Have | Asked | Part | Sent | Rest | Taken | Bye | Want | Outline | Piece | Lacks | Here | Content
)
_codec = Codec(Any, "sync_message")


def encode_message(message: Message) -> bytes:
    """The frame."""
    return encode(message)


def decode_message(frame: bytes) -> Message:
    """The message with exactly these bytes, its fields within bounds. Raises: MalformedError."""
    message: Message = _codec.decode(frame)
    match message:
        case Hello(version=version, nonce=nonce, offers=offers):
            _require(version >= 1 and len(nonce) == NONCE_SIZE, "sync_hello")
            _require(len(offers) <= CHANNELS_PER_SYNC_MAX, "too_many_channels")
            sizes = all((len(token), len(digest)) == (TOKEN_SIZE, DIGEST_SIZE) for token, digest in offers)
            tokens = [token for token, _ in offers]
            _require(sizes and tokens == sorted(set(tokens)), "sync_offers")
        case Have(token=token, heights=heights, tags=tags):
            _require(len(token) == TOKEN_SIZE and len(heights) <= HEIGHTS_PER_FRAME_MAX, "sync_have")
            _require(all(map(is_well_formed, heights)), "sync_heights")
            _require(
                len(tags) <= TAGS_PER_FRAME_MAX and all(len(tag) == TAG_SIZE for tag in tags), "sync_tags"
            )
        case Part(number=number, last=last, data=data):
            fits = len(data) <= PART_BYTES_MAX if last else len(data) == PART_BYTES_MAX
            _require(number >= 1 and fits, "sync_part")
        case Taken(number=number):
            _require(number >= 1, "sync_taken")
        case Bye(rule=rule):
            _require(len(rule) <= 64 and rule.isascii(), "sync_bye")
        case Want(file=file, first=first, count=count):
            _require(
                len(file) == HASH_SIZE and 0 <= first < PIECES_MAX and 1 <= count <= WANT_PIECES_MAX,
                "sync_want",
            )
        case Outline(file=file, hashes=hashes):
            count, rest = divmod(len(hashes), HASH_SIZE)
            _require(len(file) == HASH_SIZE and not rest and 1 <= count <= PIECES_MAX, "sync_outline")
        case Piece(file=file, number=number, data=data):
            _require(
                len(file) == HASH_SIZE and 0 <= number < PIECES_MAX and len(data) <= PIECE_SIZE, "sync_piece"
            )
        case Lacks(file=file) | Here(file=file):
            _require(len(file) == HASH_SIZE, "sync_file")
    return message


def channel_token(channel: ChannelId, sender: DeviceId, nonce: bytes) -> bytes:
    """What names a channel to who knows it, from one device, in one round: to others 16 bytes of nothing."""
    return hashlib.sha256(TOKEN_LABEL + channel + sender + nonce).digest()[:TOKEN_SIZE]


def record_fits(size: int) -> bool:
    """May a record have so many bytes?"""
    return size <= BUNDLE_BYTES_MAX


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise MalformedError(f"a sync message: {rule.replace('_', ' ')}", rule=rule)
