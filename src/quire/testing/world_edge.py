"""The outside of a simulated world: its clock and its randomness, so that a seed gives the same bytes again.

    with Edge(seed) as edge:
        edge.now_ms = 1_800_000_000_000

While it is entered, what the library takes from outside comes from the seed: `os.urandom`, `time.time_ns`, and the
randomness of `cryptography`'s HPKE, which nothing can seed. In its place stands an HPKE whose every other part is
real: X25519 with an ephemeral key of ours, HKDF and AES-GCM, with the same sizes and the same errors. What is sealed is
sealed; only the post-quantum half is left out. For one thread; never to be used but in a simulation.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, NamedTuple, Self
from unittest.mock import patch

from cryptography.hazmat import primitives
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from quire.core.crypto.keys import hkdf_sha256

START_MS = 1_800_000_000_000
ENCAPSULATED_SIZE = 1120  # of ML-KEM-768 and X25519 together


class Edge:
    """Time and randomness of a world, while it is entered."""

    def __init__(self, seed: int) -> None:
        self.now_ms = START_MS
        self._random = random.Random(f"edge {seed}")  # noqa: S311 - reproducible on purpose
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        fake = SimpleNamespace(
            MLKEM768X25519PublicKey=_Halves, MLKEM768X25519PrivateKey=_Halves, Suite=_Suite,
            KEM=hpke.KEM, KDF=hpke.KDF, AEAD=hpke.AEAD,
        )  # fmt: skip
        self._stack.enter_context(patch.object(os, "urandom", self._random.randbytes))
        self._stack.enter_context(patch.object(time, "time_ns", lambda: self.now_ms * 1_000_000))
        self._stack.enter_context(patch.object(primitives, "hpke", fake))
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()


class _Halves(NamedTuple):
    """A key pair's two halves, public or private."""

    mlkem: Any
    x25519: Any


class _Suite:
    def __init__(self, *parts: Any) -> None: ...

    def encrypt(self, plaintext: bytes, recipient: _Halves, *, info: bytes) -> bytes:
        ephemeral = X25519PrivateKey.from_private_bytes(os.urandom(32))
        public = ephemeral.public_key().public_bytes_raw()
        key = _key(ephemeral.exchange(recipient.x25519), public, recipient.x25519, info)
        sealed = AESGCM(key).encrypt(bytes(12), plaintext, info)
        return public + bytes(ENCAPSULATED_SIZE - len(public)) + sealed

    def decrypt(self, sealed: bytes, private: _Halves, *, info: bytes) -> bytes:
        public, rest = sealed[:32], sealed[ENCAPSULATED_SIZE:]
        shared = private.x25519.exchange(X25519PublicKey.from_public_bytes(public))
        return AESGCM(_key(shared, public, private.x25519.public_key(), info)).decrypt(bytes(12), rest, info)


def _key(shared: bytes, ephemeral: bytes, recipient: X25519PublicKey, info: bytes) -> bytes:
    return hkdf_sha256(shared, salt=ephemeral + recipient.public_bytes_raw(), info=info, length=32)
