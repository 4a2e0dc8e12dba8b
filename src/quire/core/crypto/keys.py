"""Keys: how every one is derived, and what an identity's signature says about a device.

One secret never serves two purposes: each use derives its own key with HKDF-SHA256 under its own label
(`Label`, one list for the whole project). HKDF is written here over the standard library's HMAC, eight
lines checked against RFC 5869, because opening a vault by raw key needs it and must not pay for
importing `cryptography` (tens of milliseconds). Everything else is that library's.

An identity is an Ed25519 key derived from the recovery phrase; a device has its own, random one. The
identity, or a device it has already, signs each device's public keys once (`DeviceCertificate`), so a device can
sign for a person without holding the person's key. docs/spec/04-keys.md, sections 1, 3 and 4.
"""

from __future__ import annotations

import hashlib
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
CERTIFICATE_SIZE = 1 + 4 * 32 + 8 + 2 * SIGNATURE_SIZE


class Label(StrEnum):
    """What a derived key, or a signature, is for. A label is never used twice or reused."""

    IDENTITY = "quire/v1 identity"
    RECOVERY = "quire/v1 recovery"
    DEVICE_CERTIFICATE = "quire/v1 device certificate"  # opens a signed message; derives no key
    DEVICE_CONSENT = "quire/v1 device consent"  # likewise
    CARRIED = "quire/v1 carried"  # opens a signed message; derives no key
    JOIN = "quire/v1 join"  # likewise
    EXPORT = "quire/v1 export"  # likewise
    EPOCH = "quire/v1 epoch"  # an epoch's name, which commits to its key
    EPOCH_SEAL = "quire/v1 epoch seal"  # HPKE's info
    EPOCH_LINK = "quire/v1 epoch link"
    BUNDLE = "quire/v1 bundle"
    BUNDLE_TAG = "quire/v1 bundle tag"
    FILE_RECORD = "quire/v1 file record"
    FINGERPRINT = "quire/v1 fingerprint"  # opens a hashed message
    INVITE = "quire/v1 invite"
    REQUEST = "quire/v1 join request"
    REQUEST_TAG = "quire/v1 join request tag"
    REQUEST_SIGNATURE = "quire/v1 join request signature"  # opens a signed message
    WELCOME = "quire/v1 welcome"  # HPKE's info
    WELCOME_TAG = "quire/v1 welcome tag"  # opens a hashed message
    LINKING = "quire/v1 linking"  # what both sides of a SPAKE2 say they do
    LINKING_CONFIRM_NEW = "quire/v1 linking confirm new"
    LINKING_CONFIRM_OLD = "quire/v1 linking confirm old"
    LINKING_FROM_NEW = "quire/v1 linking from new"
    LINKING_FROM_OLD = "quire/v1 linking from old"
    MAILBOX = "quire/v1 mailbox"  # the seed of an epoch's mailbox at a relay
    CONTROL_MAILBOX = "quire/v1 control mailbox"  # of an epoch's control commits
    FILE_MAILBOX = "quire/v1 file mailbox"  # of an epoch's files
    INBOX = "quire/v1 inbox"  # of a person's, from their public key
    INVITE_MAILBOX = "quire/v1 invite mailbox"  # of an invite's, from its public key
    NEED = "quire/v1 need"
    BEACON = "quire/v1 beacon"  # of an epoch's members on a local network
    INVITE_BEACON = "quire/v1 invite beacon"
    LINK_BEACON = "quire/v1 link beacon"
    LINK_MAILBOX = "quire/v1 link mailbox"  # where two devices that are being linked meet at a relay
    DIRECT_CLIENT = "quire/v1 direct client"  # opens a signed message; derives no key
    DIRECT_SERVER = "quire/v1 direct server"  # likewise
    PASSPHRASE_SLOT = "quire/v1 passphrase slot"  # noqa: S105 - a label
    RECOVERY_SLOT = "quire/v1 recovery slot"
    KEY_FILE_SLOT = "quire/v1 key file slot"
    KEYRING_SLOT = "quire/v1 keyring slot"
    SLOT = "quire/v1 slot"  # HPKE's info; derives no key
    SLOTS_MAC = "quire/v1 slots mac"
    SLOTS_LINK = "quire/v1 slots link"
    BACKUP = "quire/v1 backup"
    BACKUP_PACK = "quire/v1 backup pack"
    BACKUP_MANIFEST = "quire/v1 backup manifest"
    SEGMENT_RECORD = "quire/v1 segment record"


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


def recovery_seed(phrase: RecoveryPhrase) -> Secret:
    """The seed of the sealing key that the self-channel's epochs are sealed to besides one's devices."""
    return Secret(derive_key(phrase.reveal(), Label.RECOVERY))


def recovery_public(phrase: RecoveryPhrase) -> bytes:
    """Its public key, 1,216 bytes."""
    from quire.core.crypto.sealing import public_of

    return public_of(recovery_seed(phrase).reveal())


class DeviceCertificate(msgspec.Struct, frozen=True):
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
