"""The slots file as a whole: is it what was written, and by someone with the vault's key?

    header || msgpack [body, mac, mac_next] || SHA-256 of all before

What stands in the body is for core/crypto/slots.py. Who has the database key itself needs of it only whose slots these are
and how new, once the MAC shows that a holder of the key wrote them. docs/spec/04-keys.md, section 5.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cached_property
from typing import TYPE_CHECKING

from quire.core.crypto.derivation import Label, derive_key
from quire.core.plain import value_at
from quire.errors import MalformedError

if TYPE_CHECKING:
    from quire.core.crypto.secrets import DatabaseKey
    from quire.core.crypto.slots import SlotsBody

MAGIC = b"\x89QSLOTS\n"  # the first byte is no text, the last shows a newline-mangling copy
VERSION = 1
HEADER = MAGIC + VERSION.to_bytes(2, "big")
TRAILER_SIZE = 32
MAC_SIZE = 32
FILE_BYTES_MAX = 256 << 10  # 32 slots of under 4 KiB each, twice over


class SlotsFile:
    """A file that is whole. Whether its writer had the key is what `is_under` and `is_next_under` answer."""

    def __init__(self, encoded_body: bytes, mac: bytes, mac_next: bytes) -> None:
        self.encoded_body = encoded_body
        self.mac = mac
        self.mac_next = mac_next

    @property
    def rekeying(self) -> bool:
        return bool(self.mac_next)

    def is_under(self, key: DatabaseKey) -> bool:
        """Whether a holder of `key`, as the current key, wrote this."""
        return hmac.compare_digest(self.mac, mac_of(key, self.encoded_body))

    def is_next_under(self, key: DatabaseKey) -> bool:
        """Whether a holder of `key`, as the next key, wrote this."""
        return hmac.compare_digest(self.mac_next, mac_of(key, self.encoded_body))

    @cached_property
    def body(self) -> SlotsBody:
        """All that stands in it. Raises: MalformedError(rule="slots_form")."""
        from quire.core.crypto.slots import decode_body

        return decode_body(self.encoded_body, self.rekeying)

    def outline(self) -> tuple[bytes, int]:
        """Its vault's id and its generation. Only once `is_under` held: then its writer checked the body.

        Raises: MalformedError(rule="slots_form").
        """
        try:
            vault_id, at = value_at(self.encoded_body, 1)
            generation, _ = value_at(self.encoded_body, at)
        except (IndexError, KeyError, ValueError, RecursionError) as error:
            raise _ill_formed() from error
        if not isinstance(vault_id, bytes) or not isinstance(generation, int):
            raise _ill_formed()
        return vault_id, generation


def read_slots(encoded: bytes) -> SlotsFile:
    """The file that these bytes are; its body is read when it is asked for.

    Raises: MalformedError with rule "slots_length", "slots_magic", "slots_checksum", "slots_version"
    or "slots_form", tried in that order: a newer version keeps magic and trailer.
    """
    if not len(HEADER) + TRAILER_SIZE < len(encoded) <= FILE_BYTES_MAX:
        raise MalformedError("a slots file of impossible length", rule="slots_length")
    if not encoded.startswith(MAGIC):
        raise MalformedError("not a slots file", rule="slots_magic")
    whole, trailer = encoded[:-TRAILER_SIZE], encoded[-TRAILER_SIZE:]
    if hashlib.sha256(whole).digest() != trailer:
        raise MalformedError("the slots file is damaged", rule="slots_checksum")
    if whole[len(MAGIC) : len(HEADER)] != HEADER[len(MAGIC) :]:
        raise MalformedError("a slots file of another version", rule="slots_version")
    return _parted(whole[len(HEADER) :])


def write_slots(file: SlotsFile) -> bytes:
    """The bytes of a slots file."""
    whole = HEADER + _envelope(file)
    return whole + hashlib.sha256(whole).digest()


def mac_of(key: DatabaseKey, encoded_body: bytes) -> bytes:
    return hmac.digest(derive_key(key.reveal(), Label.SLOTS_MAC), HEADER + encoded_body, "sha256")


def _parted(envelope: bytes) -> SlotsFile:
    """The three parts: all are bytes, and exactly as `_envelope` puts them together."""
    at, parts = 1, []
    for _ in range(3):
        size = {0xC4: 1, 0xC5: 2, 0xC6: 4}.get(int.from_bytes(envelope[at : at + 1], "big"), 0)
        start = at + 1 + size
        at = start + int.from_bytes(envelope[at + 1 : start], "big")
        parts.append(envelope[start:at])
    file = SlotsFile(*parts)
    if _envelope(file) != envelope or len(file.mac) != MAC_SIZE or len(file.mac_next) not in (0, MAC_SIZE):
        raise _ill_formed()
    return file


def _ill_formed() -> MalformedError:
    return MalformedError("the slots file breaks its format", rule="slots_form")


def _envelope(file: SlotsFile) -> bytes:
    return b"\x93" + b"".join(map(_packed, (file.encoded_body, file.mac, file.mac_next)))


def _packed(data: bytes) -> bytes:
    """MessagePack's `bin`, in its shortest form."""
    size = len(data)
    width, first = (1, b"\xc4") if size < 1 << 8 else (2, b"\xc5") if size < 1 << 16 else (4, b"\xc6")
    return first + size.to_bytes(width, "big") + data
