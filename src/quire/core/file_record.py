"""Pieces of sealed files on roads that keep things: bundle files, and a channel's mailbox at a relay.

    version (1) || tag (16) || salt (32) || AES-256-GCM(array of file id, size, number, outline, piece)

The key is derived as that of a bundle is (core/bundle.py), under a label of its own, from the epoch of the newest message
that names the file. So whoever carries it learns neither which file it is nor which pieces belong together. The first piece
has the outline with it. docs/spec/13-attachments.md, section 4.
"""

from __future__ import annotations

import msgspec

from quire.core import limits
from quire.core.bundle import HEADER_SIZE, SALT_SIZE, VERSION, bundle_tag, tag_of
from quire.core.crypto import aead
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, derive_key
from quire.core.crypto.secrets import KEY_SIZE, RandomBytes
from quire.core.encoding import Codec, encode
from quire.core.ids import ChannelId
from quire.core.sealed_file import HASH_SIZE, check_outline, piece_count, piece_size
from quire.errors import MalformedError


class FilePiece(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A piece of a sealed file."""

    file: bytes
    size: int  # of the file, before it was sealed
    number: int  # from 0
    outline: bytes  # with the first piece; else empty
    piece: bytes


_codec = Codec(FilePiece, "file_record_form")


def seal_file_piece(piece: FilePiece, key: EpochKey, channel: ChannelId, random_bytes: RandomBytes) -> bytes:
    """A piece for who has an epoch's key."""
    salt = random_bytes(SALT_SIZE)
    header = bytes([VERSION]) + bundle_tag(key, channel) + salt
    return header + aead.encrypt(_key(key, channel, salt), aead.ZERO_NONCE, encode(piece), header)


def open_file_piece(data: bytes, key: EpochKey, channel: ChannelId) -> FilePiece:
    """The piece in a record; what its outline and its own bytes are worth is the reader's to check.

    Raises: MalformedError with rule "bundle_size", "bundle_version", "bundle_tag", "file_record_open" (changed),
    "file_record_form", "file_record_form_not_canonical", "file_record_values" or "file_outline".
    """
    if tag_of(data) != bundle_tag(key, channel):
        raise MalformedError("a record of another epoch or channel", rule="bundle_tag")
    header, sealed = data[:HEADER_SIZE], data[HEADER_SIZE:]
    derived = _key(key, channel, header[-SALT_SIZE:])
    plain = aead.decrypt(derived, aead.ZERO_NONCE, sealed, header, rule="file_record_open")
    found: FilePiece = _codec.decode(plain)
    if not (
        len(found.file) == HASH_SIZE
        and 0 <= found.size <= limits.FILE_BYTES_MAX
        and 0 <= found.number < piece_count(found.size)
        and len(found.piece) == piece_size(found.size, found.number)
        and bool(found.outline) == (found.number == 0)
    ):
        raise MalformedError("a piece of a file that cannot be", rule="file_record_values")
    if found.outline:
        check_outline(found.file, found.size, found.outline)
    return found


def _key(key: EpochKey, channel: ChannelId, salt: bytes) -> bytes:
    return derive_key(key.reveal(), Label.FILE_RECORD, salt=salt + channel, length=KEY_SIZE)
