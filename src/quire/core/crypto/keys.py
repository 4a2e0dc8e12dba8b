"""Keys of people and devices, and what an identity's signature says about a device.

An identity is an Ed25519 key derived from the recovery phrase; a device has its own, random one. The
identity, or a device it has already, signs each device's public keys once (`DeviceCertificate`), so a device can
sign for a person without holding the person's key. docs/spec/04-keys.md, sections 1, 3 and 4.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from quire.core.crypto.derivation import Label as Label
from quire.core.crypto.derivation import derive_key as derive_key
from quire.core.crypto.derivation import hkdf_sha256 as hkdf_sha256
from quire.core.crypto.secrets import KEY_SIZE, RandomBytes, RecoveryPhrase, Secret
from quire.core.ids import DeviceId, IdentityId
from quire.core.limits import TIME_MS_MAX
from quire.core.values import Value
from quire.errors import MalformedError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_KEY_SIZE = 32
SIGNATURE_SIZE = 64
CERTIFICATE_VERSION = 1
CERTIFICATE_SIZE = 1 + 4 * 32 + 8 + 2 * SIGNATURE_SIZE


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


def recovery_seed(phrase: RecoveryPhrase) -> Secret:
    """The seed of the sealing key that the self-channel's epochs are sealed to besides one's devices."""
    return Secret(derive_key(phrase.reveal(), Label.RECOVERY))


def recovery_public(phrase: RecoveryPhrase) -> bytes:
    """Its public key, 1,216 bytes."""
    from quire.core.crypto.sealing import public_of

    return public_of(recovery_seed(phrase).reveal())


class DeviceCertificate(Value):
    """Word that a device is one of an identity's own, and the device's word that it is.

    The issuer is the identity itself (then it outranks every device that it certified before), or a device that
    the identity has already: so that a new machine is linked without the recovery phrase.
    """

    identity: IdentityId
    device: DeviceId
    sealing_hash: bytes  # SHA-256 of the device's sealing public key
    issuer: bytes  # the identity's public key, or a device's
    created_ms: int
    signature: bytes  # by the issuer
    consent: bytes  # by the device

    @property
    def by_identity(self) -> bool:
        return self.issuer == self.identity

    def encode(self) -> bytes:
        """version (1) || identity (32) || device (32) || SHA-256 of the sealing key (32) || issuer (32) ||
        created_ms (8, big-endian) || signature (64) || consent (64)."""
        fields = self.identity + self.device + self.sealing_hash + self.issuer
        when = self.created_ms.to_bytes(8, "big")
        return bytes([CERTIFICATE_VERSION]) + fields + when + self.signature + self.consent

    def verify(self) -> None:
        """Both signatures; whether the issuer may speak for the identity is for membership to say.

        Raises: MalformedError with rule "certificate_signature" or "certificate_consent".
        """
        certified = _certified(self.identity, self.device, self.sealing_hash, self.created_ms)
        if not verify(self.issuer, self.signature, Label.DEVICE_CERTIFICATE.encode() + certified):
            raise MalformedError("its issuer did not sign this certificate", rule="certificate_signature")
        if not verify(self.device, self.consent, Label.DEVICE_CONSENT.encode() + certified):
            raise MalformedError("the device did not agree to this", rule="certificate_consent")


def certify(
    issuer: SigningKey,
    identity: IdentityId,
    device: DeviceId,
    sealing: bytes,
    created_ms: int,
    consent: bytes,
) -> DeviceCertificate:
    """Vouch for a device's public keys, as its identity or as another device of the same identity.

    consent    what `consent_to` gave on that device for the same identity and time
    """
    certified = _certified(identity, device, hashlib.sha256(sealing).digest(), created_ms)
    signature = issuer.sign(Label.DEVICE_CERTIFICATE.encode() + certified)
    sealing_hash = hashlib.sha256(sealing).digest()
    return DeviceCertificate(identity, device, sealing_hash, issuer.public, created_ms, signature, consent)


def consent_to(device: SigningKey, identity: IdentityId, sealing: bytes, created_ms: int) -> bytes:
    """A device's word that it belongs to an identity: nobody adds another's device to their own."""
    certified = _certified(identity, DeviceId(device.public), hashlib.sha256(sealing).digest(), created_ms)
    return device.sign(Label.DEVICE_CONSENT.encode() + certified)


def decode_certificate(encoded: bytes) -> DeviceCertificate:
    """A certificate of right form, not yet verified: call `.verify()`.

    Raises: MalformedError with rule "certificate_length", "certificate_version" or "certificate_time".
    """
    if len(encoded) != CERTIFICATE_SIZE:
        raise MalformedError(f"a certificate is {CERTIFICATE_SIZE} bytes", rule="certificate_length")
    if encoded[0] != CERTIFICATE_VERSION:
        raise MalformedError("a certificate of an unknown version", rule="certificate_version")
    created_ms = int.from_bytes(encoded[129:137], "big")
    if created_ms > TIME_MS_MAX:
        raise MalformedError("a certificate from the far future", rule="certificate_time")
    identity, device = IdentityId(encoded[1:33]), DeviceId(encoded[33:65])
    hashed, issuer = encoded[65:97], encoded[97:129]
    return DeviceCertificate(identity, device, hashed, issuer, created_ms, encoded[137:201], encoded[201:])


def _certified(identity: IdentityId, device: DeviceId, sealing_hash: bytes, created_ms: int) -> bytes:
    """The bytes that are signed after a label, which keeps them from being anything else."""
    if len(device) != PUBLIC_KEY_SIZE or not 0 <= created_ms <= TIME_MS_MAX:
        raise UsageError("a certificate is of a public key and a time of ours", rule="certificate_fields")
    return identity + device + sealing_hash + created_ms.to_bytes(8, "big")
