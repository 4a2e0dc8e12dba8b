"""Refusals: the answer to a join request that lets nobody in.

    version (1) || recipient tag (16) || HPKE seal of packed([refusal, device, signature])

Who asks knows of the channel only what their link says, so it is the inviter named there whose word counts: a refusal is
signed by a device, and carries the certificates that lead from a person to it. It answers every asking up to its time, and
none after, so an old one that comes again says nothing of a new request. It is sealed to one device: a carrier, and others
who hold the same link, do not learn who was refused. docs/spec/07-channel-keys.md, section 5.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from quire.core import limits
from quire.core.crypto.cards import Card, check_card
from quire.core.crypto.derivation import Label
from quire.core.crypto.keys import SigningKey, verify
from quire.core.crypto.sealing import OVERHEAD, open_sealed, public_of, seal
from quire.core.encoding import Codec, encode
from quire.core.packing import packed, unpacked
from quire.core.welcome import TAG_SIZE, recipient_tag
from quire.errors import MalformedError

VERSION = 1
HEADER_SIZE = 1 + TAG_SIZE
DECLINED = "declined"  # somebody said no to a request that asked for approval
Id = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Refusal(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Somebody is not let in."""

    channel: Id
    identity: Id  # who asked
    invite: Id  # its public key
    rule: Annotated[str, msgspec.Meta(pattern="^[a-z_]{1,64}$")]  # "declined", or a rule of membership
    created_ms: Annotated[
        int, msgspec.Meta(ge=0, le=limits.TIME_MS_MAX)
    ]  # it answers what was asked until then
    card: Card  # of who says so, with the device that signs


class _Signed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    refusal: bytes
    device: bytes
    signature: bytes


_refusal_codec = Codec(Refusal, "refusal_structure")
_signed_codec = Codec(_Signed, "refusal_structure")


def seal_refusal(refusal: Refusal, device: SigningKey, public: bytes) -> bytes:
    """The refusal, signed by a device on its card, for the holder of a sealing public key.

    Raises: MalformedError(rule="sealing_public") for bytes that are no public key.
    """
    encoded = encode(refusal)
    signature = device.sign(Label.REFUSAL.encode() + encoded)
    tag = recipient_tag(public)
    plain = packed(encode(_Signed(encoded, device.public, signature)))
    return bytes([VERSION]) + tag + seal(plain, public, _info(tag))


def open_refusal(sealed: bytes, seed: bytes) -> Refusal:
    """A refusal whose card and signature hold. Whether its author's word counts is for the caller to say.

    Raises: MalformedError with rule "refusal_size", "refusal_version", "refusal_not_ours" (for others), "sealing_open",
    "refusal_packing", "refusal_too_large", "refusal_structure", "refusal_structure_not_canonical", "refusal_device" (not
    on the card), "refusal_signature", or of the card.
    """
    if not HEADER_SIZE + OVERHEAD < len(sealed) <= limits.REFUSAL_BYTES_MAX:
        raise MalformedError("a refusal of impossible size", rule="refusal_size", size_bytes=len(sealed))
    if sealed[0] != VERSION:
        raise MalformedError("a refusal of another version", rule="refusal_version")
    tag = sealed[1:HEADER_SIZE]
    if tag != recipient_tag(public_of(seed)):
        raise MalformedError("a refusal for somebody else", rule="refusal_not_ours")
    opened = open_sealed(sealed[HEADER_SIZE:], seed, _info(tag))
    plain = unpacked(opened, bytes_max=limits.REFUSAL_BYTES_MAX, what="refusal")
    signed: _Signed = _signed_codec.decode(plain)
    refusal: Refusal = _refusal_codec.decode(signed.refusal)
    check_card(refusal.card)
    if signed.device not in {device.certificate[33:65] for device in refusal.card.devices}:
        raise MalformedError("who signed is not on the card", rule="refusal_device")
    if not verify(signed.device, signed.signature, Label.REFUSAL.encode() + signed.refusal):
        raise MalformedError("the device did not sign this refusal", rule="refusal_signature")
    return refusal


def _info(tag: bytes) -> bytes:
    return Label.REFUSAL_SEAL.encode() + tag
