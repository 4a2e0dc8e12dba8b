"""How every key is derived.

One secret never serves two purposes: each use derives its own key with HKDF-SHA256 under its own label
(`Label`, one list for the whole project). HKDF is written here over the standard library's HMAC, eight
lines checked against RFC 5869, because opening a vault by raw key needs it and must not pay for
importing `cryptography` (tens of milliseconds). docs/spec/04-keys.md, section 1.
"""

from __future__ import annotations

import hmac
from enum import StrEnum

from quire.core.crypto.secrets import KEY_SIZE
from quire.errors import UsageError


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
    REFUSAL = "quire/v1 refusal"  # opens a signed message; derives no key
    REFUSAL_SEAL = "quire/v1 refusal seal"  # HPKE's info
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
