"""Who is at the other end of a direct link: both devices prove their keys, bound to the TLS channel they speak in.

    server -> client    version (1) || nonce (16)
    client -> server    nonce (16) || device (32) || signature (64)
    server -> client    device (32) || signature (64)

Each signs both nonces and the SHA-256 of the server's certificate as it has seen it (tls-server-end-point, RFC 5929,
section 4): whoever stands between with a certificate of their own gets signatures that hold nowhere. The server
proves itself second, and only to a device that it means to speak to: a stranger who knocks learns nothing.
docs/spec/11-direct.md.
"""

from __future__ import annotations

from quire.core.crypto.keys import PUBLIC_KEY_SIZE, SIGNATURE_SIZE, Label, SigningKey, verify
from quire.core.crypto.secrets import RandomBytes
from quire.core.ids import DeviceId
from quire.errors import MalformedError, UnauthorisedError

VERSION = 1
NONCE_SIZE = 16
OPENING_SIZE = 1 + NONCE_SIZE
PROOF_SIZE = PUBLIC_KEY_SIZE + SIGNATURE_SIZE
CLIENT_SIZE = NONCE_SIZE + PROOF_SIZE


class ServerSide:
    """The side that was connected to."""

    def __init__(self, key: SigningKey, certificate_hash: bytes, random_bytes: RandomBytes) -> None:
        self._key = key
        self._bound = certificate_hash
        self._nonce = random_bytes(NONCE_SIZE)
        self._nonces = b""

    def opening(self) -> bytes:
        """The first message."""
        return bytes([VERSION]) + self._nonce

    def receive(self, message: bytes) -> DeviceId:
        """Which device the client is. Raises: MalformedError, UnauthorisedError(rule="link_proof")."""
        if len(message) != CLIENT_SIZE:
            raise MalformedError("this is no proof of a device", rule="link_message")
        self._nonces = self._nonce + message[:NONCE_SIZE]
        return _proven(message[NONCE_SIZE:], Label.DIRECT_CLIENT, self._bound + self._nonces)

    def proof(self, client: DeviceId) -> bytes:
        """The last message, for a client that we speak to."""
        signed = _signed(Label.DIRECT_SERVER, self._bound + self._nonces + client, self._key.public)
        return self._key.public + self._key.sign(signed)


class ClientSide:
    """The side that connects."""

    def __init__(self, key: SigningKey, certificate_hash: bytes, random_bytes: RandomBytes) -> None:
        self._key = key
        self._bound = certificate_hash
        self._nonce = random_bytes(NONCE_SIZE)
        self._nonces = b""

    def answer(self, opening: bytes) -> bytes:
        """Our proof. Raises: MalformedError with rule "link_message" or "link_version"."""
        if len(opening) != OPENING_SIZE:
            raise MalformedError("this is no opening of a link", rule="link_message")
        if opening[0] != VERSION:
            raise MalformedError("the other side speaks another version", rule="link_version")
        self._nonces = opening[1:] + self._nonce
        signed = _signed(Label.DIRECT_CLIENT, self._bound + self._nonces, self._key.public)
        return self._nonce + self._key.public + self._key.sign(signed)

    def finish(self, message: bytes) -> DeviceId:
        """Which device the server is. Raises: MalformedError, UnauthorisedError(rule="link_proof")."""
        if len(message) != PROOF_SIZE:
            raise MalformedError("this is no proof of a device", rule="link_message")
        return _proven(message, Label.DIRECT_SERVER, self._bound + self._nonces + self._key.public)


def _signed(label: Label, bound: bytes, device: bytes) -> bytes:
    return label.encode() + bound + device


def _proven(proof: bytes, label: Label, bound: bytes) -> DeviceId:
    device, signature = proof[:PUBLIC_KEY_SIZE], proof[PUBLIC_KEY_SIZE:]
    if not verify(device, signature, _signed(label, bound, device)):
        raise UnauthorisedError("the other side is not the device that it says", rule="link_proof")
    return DeviceId(device)
