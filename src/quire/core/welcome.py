"""Welcomes: a channel's control log for someone who has no epoch key yet, sealed to their own keys.

    version (1) || number of recipients (1) || for each: tag (16) || sealed content key (1,168)
    || AES-256-GCM(packed([channel, commits]))

A newcomer's devices each get the content key, the ciphertext stands once. The commits are the whole control log
(in several welcomes if it is large), so a newcomer checks for themselves who is a member and finds there the
epoch's key sealed to them: whoever wrote the welcome need not be believed. The same form serves recovery (the
recipient is the recovery key) and linking. docs/spec/08-bundles.md, section 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec

from quire.core import limits
from quire.core.bundle import Commits
from quire.core.crypto import aead
from quire.core.crypto.keys import Label
from quire.core.crypto.sealing import OVERHEAD, open_sealed, public_of, seal
from quire.core.crypto.secrets import KEY_SIZE, RandomBytes
from quire.core.encoding import Codec, encode
from quire.core.ids import ChannelId
from quire.core.packing import packed, unpacked
from quire.errors import MalformedError, UsageError

VERSION = 1
TAG_SIZE = 16
ENTRY_SIZE = TAG_SIZE + KEY_SIZE + OVERHEAD
RECIPIENTS_MAX = limits.DEVICES_PER_MEMBER_MAX + 1  # a person's devices and the recovery key


class Welcome(NamedTuple):
    """What a newcomer begins with. The caller compares the channel with the one it asked for."""

    channel: ChannelId
    commits: list[bytes]


class _Body(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    channel: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    commits: Commits


_codec = Codec(_Body, "welcome_structure")


def recipient_tag(public: bytes) -> bytes:
    """By which the holder of a sealing key sees that a welcome is for it."""
    return hashlib.sha256(Label.WELCOME_TAG.encode() + public).digest()[:TAG_SIZE]


def seal_welcome(
    channel: ChannelId, commits: Sequence[bytes], publics: Sequence[bytes], random_bytes: RandomBytes
) -> bytes:
    """Control commits, encoded, for the holders of these sealing public keys.

    Raises: UsageError with rule "recipients_range" or "welcome_too_large" (`bundle.in_parts` divides the
    commits); MalformedError(rule="sealing_public").
    """
    plain = encode(_Body(channel, tuple(commits)))
    if not 0 < len(publics) <= RECIPIENTS_MAX:
        raise UsageError(f"a welcome has 1 to {RECIPIENTS_MAX} recipients", rule="recipients_range")
    if len(plain) > limits.BUNDLE_PLAIN_BYTES_MAX or len(commits) > limits.BUNDLE_COMMITS_MAX:
        raise UsageError("too many commits for one welcome", rule="welcome_too_large")
    key = random_bytes(KEY_SIZE)
    entries = [recipient_tag(public) + seal(key, public, _info(public)) for public in publics]
    header = bytes([VERSION, len(publics)]) + b"".join(entries)
    return header + aead.encrypt(key, aead.ZERO_NONCE, packed(plain), header)


def recipients(sealed: bytes) -> list[bytes]:
    """The tags that a welcome shows.

    Raises: MalformedError with rule "welcome_size", "welcome_version" or "welcome_recipients".
    """
    if not 2 <= len(sealed) <= limits.BUNDLE_BYTES_MAX:
        raise MalformedError("a welcome of impossible size", rule="welcome_size", size_bytes=len(sealed))
    if sealed[0] != VERSION:
        raise MalformedError("a welcome of another version", rule="welcome_version")
    count = sealed[1]
    if not 0 < count <= RECIPIENTS_MAX:
        raise MalformedError("a welcome for nobody, or too many", rule="welcome_recipients")
    if len(sealed) < 2 + count * ENTRY_SIZE + aead.TAG_SIZE:
        raise MalformedError("a welcome of impossible size", rule="welcome_size", size_bytes=len(sealed))
    return [sealed[at : at + TAG_SIZE] for at in range(2, 2 + count * ENTRY_SIZE, ENTRY_SIZE)]


def open_welcome(sealed: bytes, seed: bytes) -> Welcome:
    """What is in it, for the holder of a sealing seed; the commits not yet looked at.

    Raises: MalformedError with rule "welcome_size", "welcome_version", "welcome_recipients", "welcome_not_ours"
    (for others), "sealing_open", "welcome_open" (changed), "welcome_packing", "welcome_too_large",
    "welcome_structure" or "welcome_structure_not_canonical".
    """
    tags, public = recipients(sealed), public_of(seed)
    tag = recipient_tag(public)
    if tag not in tags:
        raise MalformedError("a welcome for somebody else", rule="welcome_not_ours")
    end = 2 + len(tags) * ENTRY_SIZE
    at = 2 + tags.index(tag) * ENTRY_SIZE
    key = open_sealed(sealed[at + TAG_SIZE : at + ENTRY_SIZE], seed, _info(public))
    opened = aead.decrypt(key, aead.ZERO_NONCE, sealed[end:], sealed[:end], rule="welcome_open")
    plain = unpacked(opened, bytes_max=limits.BUNDLE_PLAIN_BYTES_MAX, what="welcome")
    body: _Body = _codec.decode(plain)
    return Welcome(ChannelId(body.channel), list(body.commits))


def _info(public: bytes) -> bytes:
    return Label.WELCOME.encode() + recipient_tag(public)
