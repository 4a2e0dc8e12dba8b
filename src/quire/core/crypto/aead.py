"""AES-256-GCM with the errors of this project; loads its library only when used.

A nonce is never used twice under one key. Where a key is derived for one message and never again, its nonce is
`ZERO_NONCE`: there is no second message that could share it.
"""

from __future__ import annotations

from quire.errors import MalformedError

NONCE_SIZE = 12
TAG_SIZE = 16
ZERO_NONCE = bytes(NONCE_SIZE)


def encrypt(key: bytes, nonce: bytes, plain: bytes, bound: bytes) -> bytes:
    """Ciphertext || tag; `bound` is authenticated with it, and not in it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).encrypt(nonce, plain, bound)


def decrypt(key: bytes, nonce: bytes, sealed: bytes, bound: bytes, *, rule: str) -> bytes:
    """The plaintext. Raises: MalformedError(rule) for another key, another `bound`, or changed bytes."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except (InvalidTag, ValueError) as error:
        raise MalformedError("it does not open with this key", rule=rule) from error
