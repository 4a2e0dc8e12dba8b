"""Linking: a new device becomes one of a person's own, by a short code read from the old one's screen.

    1  new -> old   SPAKE2 element
    2  old -> new   SPAKE2 element, MAC, sealed: identity and time to consent to
    3  new -> old   MAC, sealed: device id, sealing key, consent
    4  old -> new   sealed: certificate, welcome to the self-channel

SPAKE2 (Abdalla and Pointcheval 2005, in the form of the library `spake2`, older than RFC 9382) turns the code
into a key that only someone with the same code has; who sits between has one guess, and learns only whether it
was right. So a code is good for one attempt: after a wrong one the old device shows another. The MACs over both
elements are checked before anything is decrypted: AES-GCM does not commit to its key, and a ciphertext made to
open under many keys would test many codes at once (Len and others, Partitioning Oracle Attacks, 2021).

Both sides are machines without I/O: the caller carries messages, and shows or asks for the code. A message out
of turn is refused and changes nothing; any other failure ends the attempt. docs/spec/07-channel-keys.md, section 6.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, NamedTuple, Protocol

import msgspec

from quire.core import limits
from quire.core.crypto import aead
from quire.core.crypto.keys import (
    CERTIFICATE_SIZE,
    Label,
    SigningKey,
    consent_to,
    decode_certificate,
    derive_key,
    verify,
)
from quire.core.crypto.link_code import LinkCode
from quire.core.crypto.sealing import PUBLIC_SIZE
from quire.core.crypto.secrets import RandomBytes
from quire.core.encoding import Codec, encode
from quire.core.ids import DeviceId, IdentityId
from quire.errors import MalformedError, UnauthorisedError, UsageError

VERSION = 1
ELEMENT_SIZE, MAC_SIZE = 33, 32
HEADER_SIZE = 2
MESSAGE_BYTES_MAX = limits.BUNDLE_BYTES_MAX + 4_096
SPENT = 9  # a state after the last step

_Public = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Offer(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the new device is, and that it agrees."""

    device: _Public
    sealing: Annotated[bytes, msgspec.Meta(min_length=PUBLIC_SIZE, max_length=PUBLIC_SIZE)]
    consent: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Grant(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the new device gets."""

    certificate: Annotated[bytes, msgspec.Meta(min_length=CERTIFICATE_SIZE, max_length=CERTIFICATE_SIZE)]
    welcome: bytes


class _Hello(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    identity: _Public
    created_ms: Annotated[int, msgspec.Meta(ge=0, le=limits.TIME_MS_MAX)]


_hello_codec = Codec(_Hello, "linking_message")
_offer_codec = Codec(Offer, "linking_message")
_grant_codec = Codec(Grant, "linking_message")


class _Keys(NamedTuple):
    """All that follows from the code and both elements."""

    confirm_new: bytes
    confirm_old: bytes
    from_new: bytes
    from_old: bytes


class _Side:
    """What both sides do alike: turns, and that a failure ends the attempt."""

    def __init__(self, step: int) -> None:
        self._step = step  # of the message that may come next

    def _open_turn(self, message: bytes) -> bytes:
        """The message's body, if it may come now; until it has been dealt with, the attempt counts as spent."""
        self._need_life()
        if not HEADER_SIZE <= len(message) <= MESSAGE_BYTES_MAX:
            raise MalformedError("no message of linking", rule="linking_message")
        if message[0] != VERSION:
            raise MalformedError("the other device speaks a newer version", rule="linking_version")
        if message[1] != self._step:
            raise MalformedError("this message may not come now", rule="linking_out_of_turn", step=message[1])
        self._step = SPENT
        return message[HEADER_SIZE:]

    def _need_life(self) -> None:
        if self._step == SPENT:
            raise UsageError("this code was used", rule="code_spent", hint="begin again with a new code")


class NewDevice(_Side):
    """The device that wants in, and where the code is typed."""

    def __init__(self, code: LinkCode, device: SigningKey, sealing: bytes, random_bytes: RandomBytes) -> None:
        from spake2 import SPAKE2_A

        super().__init__(2)
        self._device, self._sealing = device, sealing
        self._exchange = SPAKE2_A(code.reveal(), *_names(), entropy_f=random_bytes)
        self._element: bytes = self._exchange.start()
        self._keys: _Keys | None = None
        self._hello: _Hello | None = None

    def start(self) -> bytes:
        """Message 1."""
        return _message(1, self._element)

    def offer(self, message: bytes) -> bytes:
        """Message 3, in answer to message 2.

        Raises: MalformedError with rule "linking_message", "linking_version", "linking_out_of_turn" or
        "linking_open"; UnauthorisedError(rule="code_wrong"); UsageError(rule="code_spent").
        """
        body = self._open_turn(message)
        theirs, mac, sealed = (
            body[:ELEMENT_SIZE],
            body[ELEMENT_SIZE:][:MAC_SIZE],
            body[ELEMENT_SIZE + MAC_SIZE :],
        )
        keys = _keys(self._exchange, theirs, self._element, theirs)
        _confirm(mac, keys.confirm_old)
        hello: _Hello = _hello_codec.decode(_opened(keys.from_old, 2, sealed))
        consent = consent_to(self._device, IdentityId(hello.identity), self._sealing, hello.created_ms)
        offer = encode(Offer(self._device.public, self._sealing, consent))
        self._keys, self._hello, self._step = keys, hello, 4
        return _message(3, keys.confirm_new + _sealed(keys.from_new, 3, offer))

    def finish(self, message: bytes) -> Grant:
        """What message 4 brings: a certificate for this very device, and the way into the self-channel.

        Raises: as `offer`; MalformedError(rule="linking_certificate") for another device's, or of the certificate.
        """
        body = self._open_turn(message)
        assert self._keys is not None
        assert self._hello is not None
        grant: Grant = _grant_codec.decode(_opened(self._keys.from_old, 4, body))
        certificate = decode_certificate(grant.certificate)
        certificate.verify()
        named = (certificate.identity, certificate.device, certificate.sealing_hash)
        if named != (self._hello.identity, self._device.public, hashlib.sha256(self._sealing).digest()):
            raise MalformedError("the certificate is for something else", rule="linking_certificate")
        return grant


class OldDevice(_Side):
    """The device that is in, and where the code is shown.

    identity     the person
    created_ms   the time that the certificate will carry
    """

    def __init__(
        self, code: LinkCode, identity: IdentityId, created_ms: int, random_bytes: RandomBytes
    ) -> None:
        super().__init__(1)
        self._code, self._random = code, random_bytes
        self._hello = _Hello(identity, created_ms)
        self._keys: _Keys | None = None

    def answer(self, message: bytes) -> bytes:
        """Message 2, in answer to message 1. From here on the code is spent, come what may.

        Raises: as `NewDevice.offer`.
        """
        from spake2 import SPAKE2_B

        theirs = self._open_turn(message)
        exchange = SPAKE2_B(self._code.reveal(), *_names(), entropy_f=self._random)
        ours: bytes = exchange.start()
        keys = _keys(exchange, theirs, theirs, ours)
        self._keys, self._step = keys, 3
        return _message(2, ours + keys.confirm_old + _sealed(keys.from_old, 2, encode(self._hello)))

    def receive(self, message: bytes) -> Offer:
        """The new device, from message 3: to be shown, certified, and granted.

        Raises: as `NewDevice.offer`; MalformedError(rule="certificate_consent").
        """
        body = self._open_turn(message)
        assert self._keys is not None
        _confirm(body[:MAC_SIZE], self._keys.confirm_new)
        offer: Offer = _offer_codec.decode(_opened(self._keys.from_new, 3, body[MAC_SIZE:]))
        sealing_hash = hashlib.sha256(offer.sealing).digest()
        when = self._hello.created_ms.to_bytes(8, "big")
        agreed = Label.DEVICE_CONSENT.encode() + self._hello.identity + offer.device + sealing_hash + when
        if not verify(DeviceId(offer.device), offer.consent, agreed):
            raise MalformedError("the device did not agree to this", rule="certificate_consent")
        self._step = 4
        return offer

    def grant(self, certificate: bytes, welcome: bytes) -> bytes:
        """Message 4, once; `welcome` is one of core/welcome.py, to the offered sealing key."""
        self._need_life()
        if self._step != 4 or self._keys is None:
            raise UsageError("no device has been offered yet", rule="linking_grant_early")
        self._step = SPENT
        return _message(4, _sealed(self._keys.from_old, 4, encode(Grant(certificate, welcome))))


def _names() -> tuple[bytes, bytes]:
    """What SPAKE2 calls its two sides."""
    return Label.LINKING.encode() + b" new", Label.LINKING.encode() + b" old"


class _Exchange(Protocol):
    """What is used of `spake2`, which has no types."""

    def finish(self, element: bytes, /) -> bytes: ...


def _keys(exchange: _Exchange, theirs: bytes, new: bytes, old: bytes) -> _Keys:
    """Raises: MalformedError(rule="linking_message") for what is no element of the other side."""
    try:
        if len(theirs) != ELEMENT_SIZE:
            raise ValueError("an element is 33 bytes")
        shared = exchange.finish(theirs)
    except Exception as error:  # the library has no common class for a bad element
        raise MalformedError("no message of linking", rule="linking_message") from error

    def derived(label: Label) -> bytes:
        return derive_key(shared, label, salt=new + old)

    transcript = bytes([VERSION]) + new + old
    confirm_new = hmac.digest(derived(Label.LINKING_CONFIRM_NEW), transcript, "sha256")
    confirm_old = hmac.digest(derived(Label.LINKING_CONFIRM_OLD), transcript, "sha256")
    return _Keys(confirm_new, confirm_old, derived(Label.LINKING_FROM_NEW), derived(Label.LINKING_FROM_OLD))


def _confirm(mac: bytes, expected: bytes) -> None:
    if not hmac.compare_digest(mac, expected):
        raise UnauthorisedError(
            "the code was wrong, or someone is between the two devices",
            rule="code_wrong",
            hint="begin again with a new code",
        )


def _message(step: int, body: bytes) -> bytes:
    return bytes([VERSION, step]) + body


def _sealed(key: bytes, step: int, plain: bytes) -> bytes:
    """The nonce is the step: a side seals each step once."""
    return aead.encrypt(key, step.to_bytes(aead.NONCE_SIZE, "big"), plain, bytes([VERSION, step]))


def _opened(key: bytes, step: int, sealed: bytes) -> bytes:
    nonce = step.to_bytes(aead.NONCE_SIZE, "big")
    return aead.decrypt(key, nonce, sealed, bytes([VERSION, step]), rule="linking_open")
