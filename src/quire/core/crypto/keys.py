"""Keys: how every one is derived, and what an identity's signature says about a device.

One secret never serves two purposes: each use derives its own key with HKDF-SHA256 under its own label
(`Label`, one list for the whole project). HKDF is written here over the standard library's HMAC, eight
lines checked against RFC 5869, because opening a vault by raw key needs it and must not pay for
importing `cryptography` (tens of milliseconds). Everything else is that library's.

An identity is an Ed25519 key derived from the recovery phrase; a device has its own, random one. The
identity signs each device's public key once (`DeviceCertificate`), so a device can sign for a person
without holding the person's key. docs/spec/04-keys.md, sections 1, 3 and 4.
"""

from __future__ import annotations

import hmac
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from quire.core.crypto.secrets import KEY_SIZE, RandomBytes, RecoveryPhrase, Secret
from quire.core.ids import DeviceId, IdentityId
from quire.core.limits import TIME_MS_MAX
from quire.errors import MalformedError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_KEY_SIZE = 32
SIGNATURE_SIZE = 64
CERTIFICATE_VERSION = 1
CERTIFICATE_SIZE = 1 + PUBLIC_KEY_SIZE + PUBLIC_KEY_SIZE + 8 + SIGNATURE_SIZE


class Label(StrEnum):
    """What a derived key, or a signature, is for. A label is never used twice or reused."""

    IDENTITY = "quire/v1 identity"
    DEVICE_CERTIFICATE = "quire/v1 device certificate"  # opens a signed message; derives no key
    PASSPHRASE_SLOT = "quire/v1 passphrase slot"  # noqa: S105 - a label
    RECOVERY_SLOT = "quire/v1 recovery slot"
    KEY_FILE_SLOT = "quire/v1 key file slot"
    KEYRING_SLOT = "quire/v1 keyring slot"
    SLOT = "quire/v1 slot"  # HPKE's info; derives no key
    SLOTS_MAC = "quire/v1 slots mac"
    SLOTS_LINK = "quire/v1 slots link"


def derive_key(secret: bytes, label: Label, *, salt: bytes = b"", length: int = KEY_SIZE) -> bytes:
    """HKDF-SHA256 with the label as info: `length` bytes (at most 8,160) for that purpose alone."""
    return hkdf_sha256(secret, salt=salt, info=label.encode(), length=length)


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    """Extract and expand. Source: RFC 5869, sections 2.2 and 2.3."""
    if length > 255 * 32:
        raise UsageError("HKDF-SHA256 gives at most 8,160 bytes", rule="derived_length")
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    block, output = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


class SigningKey(Secret):
    """An Ed25519 key pair; `reveal()` is its 32-byte seed, kept only inside the encrypted vault."""

    def __init__(self, seed: bytes) -> None:
        if not isinstance(seed, bytes) or len(seed) != KEY_SIZE:
            raise UsageError(f"an Ed25519 seed is {KEY_SIZE} bytes", rule="key_length")
        super().__init__(seed)

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> SigningKey:
        return cls(random_bytes(KEY_SIZE))

    @property
    def seed(self) -> bytes:
        return self.reveal()

    @cached_property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes. Source: RFC 8032, section 5.1.6."""
        return self._private.sign(message)

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.reveal())


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the holder of `public` signed `message`; False for anything of a wrong form."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def identity_key(phrase: RecoveryPhrase) -> SigningKey:
    """The identity that these 24 words are."""
    return SigningKey(derive_key(phrase.reveal(), Label.IDENTITY))


class DeviceCertificate(msgspec.Struct, frozen=True):
    """An identity's word that a device is one of its own."""

    identity: IdentityId
    device: DeviceId
    created_ms: int
    signature: bytes

    def encode(self) -> bytes:
        """version (1) || identity (32) || device (32) || created_ms (8, big-endian) || signature (64)."""
        version = bytes([CERTIFICATE_VERSION])
        return version + self.identity + self.device + self.created_ms.to_bytes(8, "big") + self.signature

    def verify(self) -> None:
        """Raises: MalformedError(rule="certificate_signature") unless the identity signed it."""
        if not verify(self.identity, self.signature, _certified(self.device, self.created_ms)):
            raise MalformedError("the identity did not sign this device", rule="certificate_signature")


def certify(identity: SigningKey, device: DeviceId, now_ms: int) -> DeviceCertificate:
    """Let the identity vouch for a device's public key."""
    if len(device) != PUBLIC_KEY_SIZE or not 0 <= now_ms <= TIME_MS_MAX:
        raise UsageError("a certificate is of a public key and a time of ours", rule="certificate_fields")
    signature = identity.sign(_certified(device, now_ms))
    return DeviceCertificate(IdentityId(identity.public), device, now_ms, signature)


def decode_certificate(encoded: bytes) -> DeviceCertificate:
    """A certificate of right form, not yet verified: call `.verify()`.

    Raises: MalformedError with rule "certificate_length", "certificate_version" or "certificate_time".
    """
    if len(encoded) != CERTIFICATE_SIZE:
        raise MalformedError(f"a certificate is {CERTIFICATE_SIZE} bytes", rule="certificate_length")
    if encoded[0] != CERTIFICATE_VERSION:
        raise MalformedError("a certificate of an unknown version", rule="certificate_version")
    created_ms = int.from_bytes(encoded[65:73], "big")
    if created_ms > TIME_MS_MAX:
        raise MalformedError("a certificate from the far future", rule="certificate_time")
    identity, device = IdentityId(encoded[1:33]), DeviceId(encoded[33:65])
    return DeviceCertificate(identity, device, created_ms, encoded[73:])


def _certified(device: DeviceId, created_ms: int) -> bytes:
    """The bytes an identity signs: the label keeps them from being anything else."""
    return Label.DEVICE_CERTIFICATE.encode() + device + created_ms.to_bytes(8, "big")
