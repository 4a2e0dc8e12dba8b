"""Sealing to a public key: HPKE (RFC 9180, base mode) with the hybrid KEM of ML-KEM-768 and X25519.

The KEM is X-Wing (HPKE's KEM 0x647A): broken only if both its halves are. A key pair is a 32-byte
seed, expanded as draft-connolly-cfrg-xwing-kem section 5.2 says, so it can be derived from a passphrase
and any X-Wing implementation agrees on the public key. `cryptography` wants the two halves apart.

Base mode names no sender: anyone can seal to a public key. Whoever opens must know from elsewhere (a MAC,
a signature) who sealed. docs/spec/04-keys.md, section 1.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from quire.errors import MalformedError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.hpke import Suite

SEED_SIZE = 32
PUBLIC_SIZE = 1184 + 32  # ML-KEM-768 || X25519
OVERHEAD = 1120 + 16  # the encapsulated key and the tag


def public_of(seed: bytes) -> bytes:
    """The public key of a seed, 1,216 bytes."""
    mlkem_private, x25519_private = _halves(seed)
    return mlkem_private.public_key().public_bytes_raw() + x25519_private.public_key().public_bytes_raw()


def seal(plaintext: bytes, public: bytes, info: bytes) -> bytes:
    """Encapsulated key || ciphertext || tag, `OVERHEAD` longer than the plaintext, bound to `info`.

    Raises: MalformedError(rule="sealing_public") for bytes that are no public key.
    """
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        recipient = hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:-32]),
            X25519PublicKey.from_public_bytes(public[-32:]),
        )
        return _suite().encrypt(plaintext, recipient, info=info)
    except ValueError as error:
        raise MalformedError("not a public key to seal to", rule="sealing_public") from error


def open_sealed(sealed: bytes, seed: bytes, info: bytes) -> bytes:
    """The plaintext. Raises: MalformedError(rule="sealing_open") if this was not sealed to it with `info`."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives import hpke

    private = hpke.MLKEM768X25519PrivateKey(*_halves(seed))
    try:
        return _suite().decrypt(sealed, private, info=info)
    except (InvalidTag, ValueError) as error:
        raise MalformedError("not sealed to this key", rule="sealing_open") from error


def _halves(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    expanded = hashlib.shake_256(seed).digest(96)
    try:
        mlkem_private = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    except UnsupportedAlgorithm as error:
        raise UsageError(
            "this build of the cryptography library has no ML-KEM",
            rule="post_quantum_missing",
            hint="install its wheel, or build it with OpenSSL 3.5 or newer",
        ) from error
    return mlkem_private, X25519PrivateKey.from_private_bytes(expanded[64:])


def _suite() -> Suite:
    from cryptography.hazmat.primitives import hpke

    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
