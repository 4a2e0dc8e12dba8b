"""Segments: files of operations that were archived, and the references that stand for them (docs/spec/16-archive.md).

    magic, version, id of the file || sealed operations, one after the other || random bytes, up to a length that Padmé allows

Nothing in the file says where one operation ends. A row of the vault has, in the place of the bytes, a reference: where they
are, what they must hash to, and 16 random bytes without which the segment's key opens nothing. So an operation is destroyed
where its reference is, in the vault, whether the file is at hand or not, and in every copy of the file.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from quire.core.commit import commitment
from quire.core.crypto.aead import ZERO_NONCE, decrypt, encrypt
from quire.core.crypto.keys import Label, derive_key
from quire.core.limits import OPERATION_BYTES_MAX
from quire.core.operation import SALT_SIZE
from quire.errors import MalformedError

MAGIC = b"\x89QSEGMT\n"
VERSION = 1
ID_SIZE = 16
HEADER_SIZE = len(MAGIC) + 1 + ID_SIZE

SECRET_SIZE = 16  # of each operation its own
MARK = b"\xc1"  # stands where an operation has its first byte; no MessagePack value begins so
_FORM = struct.Struct(f">{SECRET_SIZE}scIIII32s")
REFERENCE_SIZE = _FORM.size
SALTED_BYTES_MAX = SALT_SIZE + OPERATION_BYTES_MAX
_PLAIN, _COMPRESSED = b"\0", b"\1"
_COMPRESSED_LEAST = 160  # bytes: what is shorter hardly ever becomes shorter
_LEVEL = 6


class Reference(NamedTuple):
    """Where an archived operation is."""

    secret: bytes
    segment: int  # its number in this vault
    offset: int  # in the file
    size: int  # sealed
    length: int  # of salt || operation
    commitment: bytes

    def encode(self) -> bytes:
        """What stands in the place of salt || operation."""
        return _FORM.pack(
            self.secret, MARK, self.segment, self.offset, self.size, self.length, self.commitment
        )


def is_reference(stored: bytes) -> bool:
    """Do these bytes of a row stand for an operation that is archived?"""
    return len(stored) == REFERENCE_SIZE and stored[SECRET_SIZE] == MARK[0]


def decode_reference(stored: bytes) -> Reference:
    """Raises: MalformedError(rule="reference_form")."""
    if not is_reference(stored):
        raise MalformedError("this is no reference to an archived operation", rule="reference_form")
    secret, _, segment, offset, size, length, commitment = _FORM.unpack(stored)
    return Reference(secret, segment, offset, size, length, commitment)


def header(id: bytes) -> bytes:
    """How a segment's file begins."""
    return MAGIC + bytes([VERSION]) + id


def check_header(begins: bytes, id: bytes) -> None:
    """Raises: MalformedError with rule "segment_cut", "segment_magic", "segment_version" or "segment_other"."""
    if len(begins) < HEADER_SIZE:
        raise MalformedError("the file is cut off", rule="segment_cut")
    if begins[: len(MAGIC)] != MAGIC:
        raise MalformedError("this is no segment of an archive", rule="segment_magic")
    if begins[len(MAGIC)] != VERSION:
        raise MalformedError("this segment was written by a newer Quire", rule="segment_version")
    if begins[len(MAGIC) + 1 : HEADER_SIZE] != id:
        raise MalformedError("this is another segment", rule="segment_other")


class Sealer:
    """Seals the operations of one segment, one after the other.

    key    32 random bytes of the segment
    id     of its file
    """

    def __init__(self, key: bytes, id: bytes) -> None:
        import zstandard

        self._key = key
        self._header = header(id)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)  # made once: it costs more than its work

    def seal(self, secret: bytes, offset: int, salted: bytes) -> bytes:
        """One operation as it stands in the file.

        secret    16 fresh random bytes
        offset    where in the file it will stand, so that no two have one key
        """
        plain = _PLAIN + salted
        if len(salted) >= _COMPRESSED_LEAST:
            plain = min(plain, _COMPRESSED + self._compressor.compress(salted), key=len)
        return encrypt(_record_key(self._key, secret, offset), ZERO_NONCE, plain, self._header)


def open_record(key: bytes, id: bytes, reference: Reference, sealed: bytes) -> bytes:
    """salt || operation, which hashes to what the reference says.

    Raises: MalformedError with rule "segment_record", or "segment_packing" (which only who has the key can cause).
    """
    record_key = _record_key(key, reference.secret, reference.offset)
    plain = decrypt(record_key, ZERO_NONCE, sealed, header(id), rule="segment_record")
    salted = plain[1:]
    if plain[:1] == _COMPRESSED:
        salted = _unpacked(salted)
    elif plain[:1] != _PLAIN:
        raise MalformedError("a record is packed in no known way", rule="segment_packing")
    if len(salted) != reference.length:
        raise MalformedError("a record is not as long as it should be", rule="segment_packing")
    if commitment(salted) != reference.commitment:
        raise MalformedError("a record is of another operation", rule="segment_record")
    return salted


def read_record(file: bytes, key: bytes, id: bytes, stored: bytes) -> bytes:
    """One operation of a whole file, by its reference: salt || operation. Raises: MalformedError, any of the above."""
    check_header(file, id)
    reference = decode_reference(stored)
    return open_record(key, id, reference, file[reference.offset : reference.offset + reference.size])


def _record_key(key: bytes, secret: bytes, offset: int) -> bytes:
    return derive_key(key, Label.SEGMENT_RECORD, salt=secret + offset.to_bytes(4, "big"))


def _unpacked(frame: bytes) -> bytes:
    import zstandard

    try:
        size = zstandard.get_frame_parameters(frame).content_size
        if size in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR) or size > SALTED_BYTES_MAX:
            raise MalformedError("a record unpacks to more than it may", rule="segment_packing")
        return zstandard.ZstdDecompressor().decompress(
            frame, max_output_size=SALTED_BYTES_MAX, allow_extra_data=False
        )
    except (zstandard.ZstdError, MemoryError) as error:
        raise MalformedError("a record does not unpack", rule="segment_packing") from error
