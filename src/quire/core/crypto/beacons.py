"""What a device says of itself on a local network: tags by which who shares a channel with it knows it, and nobody else.

A device listens with a certificate that it made for this purpose; the first 16 bytes of that certificate's hash name it
there (its instance). A tag is a MAC over the instance under a key that a channel's members have. So a stranger sees
random bytes, other ones after each turn of the certificate, and who copies tags to an address of their own is found out
before anything is said: their certificate is another. Tags are filled up with random ones, so that their number tells
little. docs/spec/11-direct.md, section 3.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence

from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, derive_key
from quire.core.crypto.secrets import RandomBytes
from quire.core.ids import ChannelId

INSTANCE_SIZE = 16
TAG_SIZE = 8
TAGS_STEP = 30  # they are filled up to a multiple of this: 240 bytes, one string of a TXT record
TAGS_MAX = 4 * TAGS_STEP  # an announcement stays within one packet of 1,500 bytes


def instance_of(certificate_hash: bytes) -> bytes:
    """What who listens with this certificate is called."""
    return certificate_hash[:INSTANCE_SIZE]


def member_beacon(key: EpochKey, channel: ChannelId) -> bytes:
    """The key of tags for who has an epoch's key."""
    return derive_key(key.reveal(), Label.BEACON, salt=channel)


def invite_beacon(invite: bytes, channel: ChannelId) -> bytes:
    """The key of tags for members and who has an invite's link.

    invite    its public key
    """
    return derive_key(invite, Label.INVITE_BEACON, salt=channel)


def link_beacon(place: bytes) -> bytes:
    """The key of tags for who was told the open half of a code (core/crypto/link_code.py)."""
    return derive_key(place, Label.LINK_BEACON)


def beacon_tag(key: bytes, instance: bytes) -> bytes:
    """What shows to who has the same key that this instance has it."""
    return hmac.digest(key, instance, "sha256")[:TAG_SIZE]


def beacon_tags(keys: Sequence[bytes], instance: bytes, random_bytes: RandomBytes) -> list[bytes]:
    """The tags that an instance announces: of the first `TAGS_MAX` keys, among random ones."""
    tags = {beacon_tag(key, instance) for key in keys[:TAGS_MAX]}
    size = max(TAGS_STEP, -(-len(tags) // TAGS_STEP) * TAGS_STEP)
    while len(tags) < size:
        tags.add(random_bytes(TAG_SIZE))
    return sorted(tags)


def recognised(keys: Iterable[bytes], instance: bytes, tags: frozenset[bytes]) -> bool:
    """Does an instance have one of these keys, by its tags?"""
    return any(beacon_tag(key, instance) in tags for key in keys)
