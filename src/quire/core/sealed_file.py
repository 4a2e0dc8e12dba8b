"""Sealed files: what an attachment's bytes become, on a disk and on every road (docs/spec/13-attachments.md).

A file is padded and cut into pieces; each is sealed with AES-256-GCM under the file's own key, by the STREAM
construction: the nonce is the piece's number and whether it is the last, so pieces cannot be reordered, repeated, left
out or cut off unseen. Source: Hoang, Reyhanitabar, Rogaway, Vizár, Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance (2015), section 7. A key seals one file and never another, so nonces count from zero.

The file's id is the hash of its size and of the hashes of its sealed pieces (its outline). A piece is checked when it comes,
by who has the outline, whoever brought it: also a member, who has the key and could seal another piece with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from quire.core.crypto.aead import NONCE_SIZE, TAG_SIZE, decrypt, encrypt
from quire.core.ids import FileId
from quire.core.packing import padme
from quire.errors import MalformedError

PIECE_SIZE = 1 << 20  # sealed: what is read, checked, carried and kept at once
PIECE_PLAIN = PIECE_SIZE - TAG_SIZE
PADDED_LEAST = 4_096  # a short text and a long one look alike, and take a block of a disk each
HASH_SIZE = 32
KEY_SIZE = 32
LABEL = b"quire/v1 file\x00"
PIECE_LABEL = b"quire/v1 piece\x00"
_COUNTER_SIZE = 4


def padded_size(size: int) -> int:
    """Bytes of a file before it is sealed, padding included."""
    return padme(max(size, PADDED_LEAST))


def piece_count(size: int) -> int:
    """Pieces of a file of so many bytes."""
    return -(-padded_size(size) // PIECE_PLAIN)


def sealed_size(size: int) -> int:
    """Bytes of a file once it is sealed."""
    return padded_size(size) + piece_count(size) * TAG_SIZE


def piece_size(size: int, number: int) -> int:
    """Bytes of a sealed piece (0 ..) of a file of `size` bytes."""
    return min(PIECE_SIZE, sealed_size(size) - number * PIECE_SIZE)


def piece_hash(piece: bytes) -> bytes:
    """What the outline says of a sealed piece."""
    hashed = hashlib.sha256(PIECE_LABEL)
    hashed.update(piece)
    return hashed.digest()


def file_id(size: int, outline: bytes) -> FileId:
    """The name of a file: the hash of its size and its pieces' hashes, so that it is of no other size to anybody."""
    return FileId(hashlib.sha256(_bound(size) + outline).digest())


def check_outline(id: bytes, size: int, outline: bytes) -> None:
    """Raises: MalformedError(rule="file_outline") if these are not the hashes of that file's pieces."""
    if len(outline) != piece_count(size) * HASH_SIZE or file_id(size, outline) != id:
        raise MalformedError("this outline is not that file's", rule="file_outline")


def check_piece(outline: bytes, size: int, number: int, piece: bytes) -> None:
    """Raises: MalformedError(rule="file_piece") if this is not that piece of the file that the outline tells of."""
    wanted = outline[number * HASH_SIZE : (number + 1) * HASH_SIZE]
    if len(piece) != piece_size(size, number) or piece_hash(piece) != wanted:
        raise MalformedError("a piece of a file is not what it should be", rule="file_piece", piece=number)


def seal_pieces(key: bytes, size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The sealed pieces of a file, one after the other.

    key       32 random bytes, of this file alone
    size      bytes of the file; the chunks are exactly those, cut anywhere

    Raises: MalformedError(rule="file_size") if there are more or fewer.
    """
    count, left = piece_count(size), size
    held = bytearray()
    number = 0
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise _other_size()
        if (
            not held and len(chunk) == PIECE_PLAIN and number < count - 1
        ):  # as who reads large files cuts them
            yield seal_piece(key, size, number, chunk)
            number += 1
            continue
        held += chunk
        while len(held) >= PIECE_PLAIN and number < count - 1:
            yield seal_piece(key, size, number, bytes(held[:PIECE_PLAIN]))
            del held[:PIECE_PLAIN]
            number += 1
    if left:
        raise _other_size()
    while number < count:  # the padding may take more than one
        plain = bytes(held[:PIECE_PLAIN])
        del held[:PIECE_PLAIN]
        yield seal_piece(key, size, number, plain)
        number += 1


def seal_piece(key: bytes, size: int, number: int, plain: bytes) -> bytes:
    """One sealed piece; what is missing of its length is zeros."""
    whole = plain.ljust(piece_size(size, number) - TAG_SIZE, b"\0")
    return encrypt(key, _nonce(size, number), whole, _bound(size))


def open_piece(key: bytes, size: int, number: int, piece: bytes) -> bytes:
    """The bytes of the file in a sealed piece, without padding. Raises: MalformedError(rule="file_open")."""
    plain = decrypt(key, _nonce(size, number), piece, _bound(size), rule="file_open")
    return plain[: max(0, size - number * PIECE_PLAIN)]


def _nonce(size: int, number: int) -> bytes:
    last = number == piece_count(size) - 1
    return bytes(NONCE_SIZE - _COUNTER_SIZE - 1) + number.to_bytes(_COUNTER_SIZE, "big") + bytes([last])


def _bound(size: int) -> bytes:
    return LABEL + size.to_bytes(8, "big")


def _other_size() -> MalformedError:
    return MalformedError("the file changed while it was read", rule="file_size")
