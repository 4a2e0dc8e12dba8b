"""Invites: a link with a secret, the proof that one holds it, and the request to be let in.

The control log knows an invite by its public key; the link carries the seed of the private one. Who answers it
signs (channel, own identity) with that key: members verify the proof, and nobody who overhears it can use it
for another identity. The request goes to any member, since the inviter may be offline. No member holds the
invite's secret, so the request is encrypted under a key derived from its *public* key: that stands in the
control log, which members read and a carrier does not. That hides who asks for what from the carrier; what
makes a request genuine is its signatures. docs/spec/07-channel-keys.md, section 5.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from quire.core import limits
from quire.core.crypto import aead
from quire.core.crypto.cards import Card, check_card
from quire.core.crypto.keys import Label, SigningKey, derive_key, verify
from quire.core.crypto.secrets import RandomBytes, Secret
from quire.core.encoding import Codec, encode
from quire.core.ids import ChannelId, IdentityId
from quire.core.packing import packed, unpacked
from quire.core.texts import as_text, from_text
from quire.errors import MalformedError, UsageError

LINK_PREFIX = "quire:join:"
LINK_VERSION = 1
REQUEST_VERSION = 1
SEED_SIZE = 16  # 128 bits: half of what a link has room for
LINK_SIZE_MIN = 1 + SEED_SIZE + 32 + 32 + 8
REQUEST_TAG_SIZE = 16
REQUEST_HEADER_SIZE = 1 + REQUEST_TAG_SIZE


class InviteSecret(Secret):
    """The 16 random bytes of a link."""

    __slots__ = ()

    def __init__(self, value: bytes) -> None:
        if not isinstance(value, bytes) or len(value) != SEED_SIZE:
            raise UsageError(f"an invite's secret is {SEED_SIZE} bytes", rule="key_length")
        super().__init__(value)

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> InviteSecret:
        return cls(random_bytes(SEED_SIZE))

    def key(self, channel: ChannelId) -> SigningKey:
        """The invite's key pair; its public key is `Invite.key` in the control log."""
        return SigningKey(derive_key(self.reveal(), Label.INVITE, salt=channel))


class InviteLink(msgspec.Struct, frozen=True):
    """What a link says. All but the secret is a hint: the control log rules."""

    secret: InviteSecret
    channel: ChannelId
    inviter: IdentityId
    expires_ms: int = 0  # Unix ms; 0: never
    name: str = ""  # of the channel, perhaps shortened

    def is_expired(self, now_ms: int) -> bool:
        return 0 < self.expires_ms <= now_ms

    def text(self) -> str:
        """The link, at most 200 characters. A long name is cut at a character."""
        expires = self.expires_ms.to_bytes(8, "big")
        shown = "".join(char for char in self.name if char.isprintable())
        name = shown.encode()[: limits.INVITE_NAME_BYTES_MAX].decode(errors="ignore").encode()
        data = bytes([LINK_VERSION]) + self.secret.reveal() + self.channel + self.inviter + expires + name
        return as_text(LINK_PREFIX, data)


def parse_link(text: str) -> InviteLink:
    """Raises: MalformedError with rule "invite_link_form" (no such link), "invite_link_damaged" (cut or mistyped),
    "invite_link_version" or "invite_link_fields"."""
    data = from_text(LINK_PREFIX, text, chars_max=limits.INVITE_LINK_CHARS_MAX, what="invite_link")
    if data[:1] != bytes([LINK_VERSION]):
        raise MalformedError("a link of a newer version", rule="invite_link_version", hint="update Quire")
    expires_ms = int.from_bytes(data[81:89], "big")
    try:
        name = data[LINK_SIZE_MIN:].decode()
    except UnicodeDecodeError:
        name = "\n"
    if len(data) < LINK_SIZE_MIN or expires_ms > limits.TIME_MS_MAX or not name.isprintable():
        raise MalformedError("a link that says nothing sensible", rule="invite_link_fields")
    channel, inviter = ChannelId(data[17:49]), IdentityId(data[49:81])
    return InviteLink(InviteSecret(data[1:17]), channel, inviter, expires_ms, name)


# Proofs


def join_proof(key: SigningKey, channel: ChannelId, identity: IdentityId) -> bytes:
    """Word, by an invite's key, that this person holds it."""
    return key.sign(_proven(channel, identity))


def verify_join_proof(public: bytes, proof: bytes, channel: ChannelId, identity: IdentityId) -> bool:
    """Whether `identity` held the secret of the invite with this public key."""
    return verify(public, proof, _proven(channel, identity))


def _proven(channel: ChannelId, identity: IdentityId) -> bytes:
    return Label.JOIN.encode() + channel + identity


# Requests


class JoinRequest(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A person asks to be let in."""

    channel: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    card: Card
    invite: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]  # its public key
    proof: bytes
    name: Annotated[str, msgspec.Meta(max_length=limits.NAME_CHARS_MAX)]  # wishes to be called so
    created_ms: Annotated[int, msgspec.Meta(ge=0, le=limits.TIME_MS_MAX)]


class _Signed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    request: bytes
    device: bytes
    signature: bytes


_request_codec = Codec(JoinRequest, "request_structure")
_signed_codec = Codec(_Signed, "request_structure")


def request_tag(invite: bytes, channel: ChannelId) -> bytes:
    """How a member finds the invite that a request answers."""
    return derive_key(invite, Label.REQUEST_TAG, salt=channel, length=REQUEST_TAG_SIZE)


def tag_of_request(sealed: bytes) -> bytes:
    """The tag that a request shows. Raises: MalformedError with rule "request_size" or "request_version"."""
    least = REQUEST_HEADER_SIZE + aead.NONCE_SIZE + aead.TAG_SIZE
    if not least <= len(sealed) <= limits.REQUEST_BYTES_MAX:
        raise MalformedError("a request of impossible size", rule="request_size", size_bytes=len(sealed))
    if sealed[0] != REQUEST_VERSION:
        raise MalformedError("a request of another version", rule="request_version")
    return sealed[1:REQUEST_HEADER_SIZE]


def seal_request(request: JoinRequest, device: SigningKey, random_bytes: RandomBytes) -> bytes:
    """The request, signed by one of the devices on its card, for the members of the channel."""
    check_request(request)
    encoded = encode(request)
    signature = device.sign(Label.REQUEST_SIGNATURE.encode() + encoded)
    channel = ChannelId(request.channel)
    header = bytes([REQUEST_VERSION]) + request_tag(request.invite, channel)
    nonce = random_bytes(aead.NONCE_SIZE)
    plain = packed(encode(_Signed(encoded, device.public, signature)))
    return header + nonce + aead.encrypt(_request_key(request.invite, channel), nonce, plain, header)


def open_request(sealed: bytes, invite: bytes, channel: ChannelId) -> JoinRequest:
    """A request whose card, proof and signature hold. Whether the invite still does is for membership to say.

    Raises: MalformedError with rule "request_size", "request_version", "request_tag" (of another invite),
    "request_open", "request_packing", "request_too_large", "request_structure", "request_structure_not_canonical",
    "request_device" (not on the card), "request_signature", or as `check_request`.
    """
    if tag_of_request(sealed) != request_tag(invite, channel):
        raise MalformedError("a request that answers another invite", rule="request_tag")
    header, rest = sealed[:REQUEST_HEADER_SIZE], sealed[REQUEST_HEADER_SIZE:]
    nonce, ciphertext = rest[: aead.NONCE_SIZE], rest[aead.NONCE_SIZE :]
    opened = aead.decrypt(_request_key(invite, channel), nonce, ciphertext, header, rule="request_open")
    plain = unpacked(opened, bytes_max=limits.REQUEST_BYTES_MAX, what="request")
    signed: _Signed = _signed_codec.decode(plain)
    request: JoinRequest = _request_codec.decode(signed.request)
    if (request.invite, request.channel) != (invite, channel):
        raise MalformedError("the request names another invite", rule="request_tag")
    check_request(request)
    devices = {device.certificate[33:65] for device in request.card.devices}
    if signed.device not in devices:
        raise MalformedError("who signed is not on the card", rule="request_device")
    if not verify(signed.device, signed.signature, Label.REQUEST_SIGNATURE.encode() + signed.request):
        raise MalformedError("the device did not sign this request", rule="request_signature")
    return request


def check_request(request: JoinRequest) -> None:
    """Raises: MalformedError(rule="request_proof"), or of the card."""
    check_card(request.card)
    who = IdentityId(request.card.identity)
    if not verify_join_proof(request.invite, request.proof, ChannelId(request.channel), who):
        raise MalformedError("no proof that this person holds the invite", rule="request_proof")


def _request_key(invite: bytes, channel: ChannelId) -> bytes:
    return derive_key(invite, Label.REQUEST, salt=channel)
