"""Bundles: commits of one channel, sealed under an epoch's key, for any road.

    version (1) || tag (16) || salt (32) || AES-256-GCM(packed(commits))

The tag is the same for all bundles of an epoch, and tells its readers which key opens them; to others it is
random. The key is derived from the epoch's and the salt and seals nothing else, hence the fixed nonce. What is
inside is checked like commits from anywhere: a bundle proves that a holder of the key made it, no more.
docs/spec/08-bundles.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import msgspec

from quire.core import limits
from quire.core.crypto import aead
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, derive_key
from quire.core.crypto.secrets import KEY_SIZE, RandomBytes
from quire.core.encoding import Codec, encode
from quire.core.ids import ChannelId
from quire.core.packing import packed, unpacked
from quire.errors import MalformedError, UsageError

VERSION = 1
TAG_SIZE, SALT_SIZE = 16, 32
HEADER_SIZE = 1 + TAG_SIZE + SALT_SIZE
COMMIT_OVERHEAD = 5  # of a byte string in the list

Commits = Annotated[tuple[bytes, ...], msgspec.Meta(max_length=limits.BUNDLE_COMMITS_MAX)]
_codec = Codec(Commits, "bundle_commits")


def bundle_tag(key: EpochKey, channel: ChannelId) -> bytes:
    """How a reader finds the epoch of a bundle."""
    return derive_key(key.reveal(), Label.BUNDLE_TAG, salt=channel, length=TAG_SIZE)


def tag_of(bundle: bytes) -> bytes:
    """The tag that a bundle shows. Raises: MalformedError with rule "bundle_size" or "bundle_version"."""
    if not HEADER_SIZE + aead.TAG_SIZE <= len(bundle) <= limits.BUNDLE_BYTES_MAX:
        raise MalformedError("a bundle of impossible size", rule="bundle_size", size_bytes=len(bundle))
    if bundle[0] != VERSION:
        raise MalformedError("a bundle of another version", rule="bundle_version")
    return bundle[1 : 1 + TAG_SIZE]


def seal_bundle(
    commits: Sequence[bytes], key: EpochKey, channel: ChannelId, random_bytes: RandomBytes
) -> bytes:
    """Encoded commits, in this order, as one bundle.

    Raises: UsageError(rule="bundle_too_large"): `in_parts` divides what is too much for one.
    """
    plain = encode(commits)
    if len(plain) > limits.BUNDLE_PLAIN_BYTES_MAX or len(commits) > limits.BUNDLE_COMMITS_MAX:
        raise UsageError("too many commits for one bundle", rule="bundle_too_large")
    salt = random_bytes(SALT_SIZE)
    header = bytes([VERSION]) + bundle_tag(key, channel) + salt
    return header + aead.encrypt(_key(key, channel, salt), aead.ZERO_NONCE, packed(plain), header)


def open_bundle(bundle: bytes, key: EpochKey, channel: ChannelId) -> list[bytes]:
    """The encoded commits in it, not yet looked at.

    Raises: MalformedError with rule "bundle_size", "bundle_version", "bundle_tag" (of another epoch or channel),
    "bundle_open" (changed), "bundle_packing", "bundle_too_large", "bundle_commits" or "bundle_commits_not_canonical".
    """
    if tag_of(bundle) != bundle_tag(key, channel):
        raise MalformedError("a bundle of another epoch or channel", rule="bundle_tag")
    header, sealed = bundle[:HEADER_SIZE], bundle[HEADER_SIZE:]
    derived = _key(key, channel, header[-SALT_SIZE:])
    opened = aead.decrypt(derived, aead.ZERO_NONCE, sealed, header, rule="bundle_open")
    return list(_codec.decode(unpacked(opened, bytes_max=limits.BUNDLE_PLAIN_BYTES_MAX, what="bundle")))


def in_parts(commits: Iterable[bytes], bytes_max: int) -> Iterator[list[bytes]]:
    """Commits in their order, in lists that encode to at most `bytes_max`, or hold one commit."""
    part: list[bytes] = []
    size = COMMIT_OVERHEAD
    for commit in commits:
        more = len(commit) + COMMIT_OVERHEAD
        if part and (size + more > bytes_max or len(part) == limits.BUNDLE_COMMITS_MAX):
            yield part
            part, size = [], COMMIT_OVERHEAD
        part.append(commit)
        size += more
    if part:
        yield part


def _key(key: EpochKey, channel: ChannelId, salt: bytes) -> bytes:
    return derive_key(key.reveal(), Label.BUNDLE, salt=salt + channel, length=KEY_SIZE)
