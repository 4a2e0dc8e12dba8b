"""Key cards: what someone needs to invite a person; and the numbers by which two people check each other.

A card is an identity with its devices, each certified. It is no secret, and as genuine as the road it came by:
whoever can change it on the way can put another identity there. So people compare safety numbers, once, by a
road they trust. A device takes 1.5 KB, too much for a QR code: the card travels as a file or as text, and the
QR code holds the identity alone (`quire:id:`), which is what is to be compared. docs/spec/07-channel-keys.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated

import msgspec

from quire.core import limits
from quire.core.control import Device
from quire.core.crypto.keys import DeviceCertificate, Label, decode_certificate
from quire.core.encoding import Codec, encode
from quire.core.ids import IdentityId
from quire.core.texts import as_text, from_text
from quire.errors import MalformedError

VERSION = 1
CARD_PREFIX, ID_PREFIX = "quire:card:", "quire:id:"
CARD_CHARS_MAX = limits.CARD_BYTES_MAX * 4 // 3 + 32
ID_CHARS = len(ID_PREFIX) + 48  # 32 bytes and a check of 4 in base64

# As Signal's: 5,200 rounds of SHA-512, 30 digits each. Who looks for an identity with a number like another's has
# 99.6 bits to match, at 5,200 hashes a try. Source: libsignal, rust/protocol/src/fingerprint.rs.
FINGERPRINT_ROUNDS = 5_200
FINGERPRINT_DIGITS = 30


class Card(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A person and their devices."""

    version: int
    identity: bytes
    devices: Annotated[tuple[Device, ...], msgspec.Meta(max_length=limits.DEVICES_PER_MEMBER_MAX)]


_codec = Codec(Card, "card_structure")


def make_card(identity: IdentityId, devices: Iterable[Device]) -> Card:
    """A card, checked. Raises: MalformedError, as `decode_card`."""
    card = Card(VERSION, identity, tuple(sorted(devices, key=lambda device: device.certificate)))
    check_card(card)
    return card


def encode_card(card: Card) -> bytes:
    """The canonical bytes: what a card file holds."""
    return encode(card)


def decode_card(data: bytes) -> Card:
    """A card whose every signature holds.

    Raises: MalformedError with rule "card_size", "card_structure", "card_structure_not_canonical", or as `check_card`.
    """
    if len(data) > limits.CARD_BYTES_MAX:
        raise MalformedError("too large for a key card", rule="card_size", size_bytes=len(data))
    card: Card = _codec.decode(data)
    check_card(card)
    return card


def card_text(card: Card) -> str:
    """The card as one line to paste."""
    return as_text(CARD_PREFIX, encode_card(card))


def parse_card(text: str) -> Card:
    """Raises: MalformedError with rule "card_form" or "card_damaged", or as `decode_card`."""
    return decode_card(from_text(CARD_PREFIX, text, chars_max=CARD_CHARS_MAX, what="card"))


def id_text(identity: IdentityId) -> str:
    """An identity as a line of 57 characters, for a QR code."""
    return as_text(ID_PREFIX, identity)


def parse_id(text: str) -> IdentityId:
    """Raises: MalformedError with rule "id_form" or "id_damaged"."""
    data = from_text(ID_PREFIX, text, chars_max=ID_CHARS, what="id")
    if len(data) != 32:
        raise MalformedError("an identity is 32 bytes", rule="id_form")
    return IdentityId(data)


def check_card(card: Card) -> None:
    """Each device agreed, is certified, and is reached from the identity over the card's own devices.

    The last is what keeps strangers out: any key can sign a certificate, and only an issuer that leads back to
    the identity makes it word of that person.

    Raises: MalformedError with rule "card_version", "card_identity", "card_devices" (none, or not in order),
    "card_sealing", "card_chain", or of the certificate.
    """
    _require(card.version == VERSION, "card_version")
    _require(len(card.identity) == 32, "card_identity")
    encoded = [device.certificate for device in card.devices]
    _require(bool(encoded) and encoded == sorted(set(encoded)), "card_devices")
    certificates = [decode_certificate(one) for one in encoded]
    _require(len({one.device for one in certificates}) == len(certificates), "card_devices")
    for certificate, device in zip(certificates, card.devices, strict=True):
        _require(certificate.identity == card.identity, "card_identity")
        _require(hashlib.sha256(device.sealing).digest() == certificate.sealing_hash, "card_sealing")
        certificate.verify()
    _require(_reached(card.identity, certificates) == len(certificates), "card_chain")


def _reached(identity: bytes, certificates: list[DeviceCertificate]) -> int:
    """How many devices are certified by the identity, or by one that is."""
    known, before = {identity}, 0
    while len(known) > before:
        before = len(known)
        known |= {one.device for one in certificates if one.issuer in known}
    return len(known) - 1


def fingerprint(identity: IdentityId) -> str:
    """30 digits that stand for an identity, in groups of five."""
    hashed = Label.FINGERPRINT.encode() + identity
    for _ in range(FINGERPRINT_ROUNDS):
        hashed = hashlib.sha512(hashed + identity).digest()
    groups = (int.from_bytes(hashed[at : at + 5], "big") % 100_000 for at in range(0, FINGERPRINT_DIGITS, 5))
    return " ".join(f"{group:05}" for group in groups)


def safety_number(one: IdentityId, other: IdentityId) -> str:
    """60 digits that both people see alike, in groups of five. Read aloud, or compared on paper."""
    return " ".join(sorted([fingerprint(one), fingerprint(other)]))


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise MalformedError(f"key card: {rule.replace('_', ' ')}", rule=rule)
