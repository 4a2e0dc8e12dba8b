"""Commits: signed, hash-linked batches of operations by one device (docs/spec/03-commits.md).

    head        version, channel, device, incarnation, seq, previous, control heads, time, count, content root
    signature   Ed25519 over a label and the head
    operations  each salt (16) || operation

    id = SHA-256(head)                      the chain: the next head's `previous`
    commitment = SHA-256(salt || operation) one for each operation
    content root = SHA-256(commitments, in order)

So one operation's bytes can be destroyed for good while its commitment stays and everything else still
verifies; the salt keeps a short text from being guessed out of its commitment. What was received is
hashed and stored as received. A commit with such holes travels with empty bytes in their places and a
fourth field, their commitments in order; one without has no fourth field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Sequence
from typing import TypeAlias

import msgspec

from quire.core import limits
from quire.core.encoding import Codec, encode
from quire.core.ids import ChannelId, CommitId, DeviceId, Incarnation
from quire.core.operation import END_OF_TAGS, FIRST_CONTROL_BYTE, SALT_SIZE
from quire.errors import MalformedError

VERSION = 1
SIGNATURE_LABEL = b"quire/v1 commit\x00"
CHANNEL_LABEL = b"quire/v1 channel\x00"


class Head(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What is signed. `time` is a hybrid logical time (core/clock.py)."""

    version: int
    channel: bytes
    device: bytes
    incarnation: bytes
    seq: int  # 1 .. in its log
    previous: bytes  # id of commit seq - 1 of the same log; empty for the first
    control_heads: tuple[bytes, ...]  # control commits without successor that the author knew, sorted
    time: int
    count: int
    content_root: bytes


class Commit(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A commit as it travels."""

    head: bytes
    signature: bytes
    operations: tuple[bytes, ...]  # each salt || operation


class HoledCommit(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The same with bytes of some operations destroyed."""

    head: bytes
    signature: bytes
    operations: tuple[bytes, ...]  # empty where a hole is
    commitments: tuple[bytes, ...]  # of the holes, in order


AnyCommit: TypeAlias = Commit | HoledCommit
COMMITMENT_SIZE = 32
KEY_BYTES = (b"\x2d", b"\x2e")  # the second byte of a Seal, of a Link
_ARRAY_OF_FOUR = b"\x94"

_head_codec = Codec(Head, "head")
_commit_codec = Codec(Commit, "commit")
_holed_codec = Codec(HoledCommit, "commit")


def commit_id(head: bytes) -> CommitId:
    """SHA-256 of the head's bytes."""
    return CommitId(hashlib.sha256(head).digest())


def channel_id(create: bytes) -> ChannelId:
    """The id of the channel that this encoded Create operation founds."""
    return ChannelId(hashlib.sha256(CHANNEL_LABEL + create).digest())


def commitments_of(salted: Sequence[bytes]) -> list[bytes]:
    """The commitment of each salt || operation."""
    if salted and FIRST_CONTROL_BYTE <= salted[0][SALT_SIZE + 1 : SALT_SIZE + 2] < END_OF_TAGS:
        return [commitment(operation) for operation in salted]
    sha256 = hashlib.sha256
    return [sha256(operation).digest() for operation in salted]


def content_root(salted: Sequence[bytes]) -> bytes:
    """SHA-256 of the operations' commitments, in order."""
    return root_of(commitments_of(salted))


def commitment(salted: bytes) -> bytes:
    """What of an operation (salt || operation) the root commits to.

    Of one that carries sealed keys, their hashes: so what is sealed can be destroyed, and what is left says all the rest.
    """
    if salted[SALT_SIZE + 1 : SALT_SIZE + 2] in KEY_BYTES:
        salted = salted[:SALT_SIZE] + keyless(salted[SALT_SIZE:])
    return hashlib.sha256(salted).digest()


def keyless(operation: bytes) -> bytes:
    """An encoded Seal or Link without what is sealed in it; other bytes as they are."""
    from quire.core.control import Link, Seal, decode_control, without_keys  # which content never needs

    try:
        decoded = decode_control(operation)
    except MalformedError:  # whoever decodes it next refuses it
        return operation
    return encode(without_keys(decoded)) if isinstance(decoded, Seal | Link) else operation


def root_of(commitments: Iterable[bytes]) -> bytes:
    """The content root of operations known by their commitments, in order."""
    return hashlib.sha256(b"".join(commitments)).digest()


def with_holes(head: bytes, signature: bytes, entries: Sequence[bytes], holes: Container[int]) -> AnyCommit:
    """A commit of which each entry is salt || operation, or, at these places, a commitment."""
    if not holes:
        return Commit(head, signature, tuple(entries))
    operations = tuple(b"" if index in holes else entry for index, entry in enumerate(entries))
    gone = tuple(entry for index, entry in enumerate(entries) if index in holes)
    return HoledCommit(head, signature, operations, gone)


def holes_of(commit: AnyCommit) -> dict[int, bytes]:
    """Place -> commitment of each operation whose bytes are not there."""
    if isinstance(commit, Commit):
        return {}
    places = [index for index, operation in enumerate(commit.operations) if not operation]
    return dict(zip(places, commit.commitments, strict=True))


def with_salts(operations: Sequence[bytes], random_bytes: Callable[[int], bytes]) -> list[bytes]:
    """Each encoded operation with 16 fresh random bytes before it."""
    salts = random_bytes(SALT_SIZE * len(operations))
    return [salts[i * 16 : i * 16 + 16] + operation for i, operation in enumerate(operations)]


def build_head(
    *,
    channel: ChannelId,
    device: DeviceId,
    incarnation: Incarnation,
    seq: int,
    previous: bytes,
    control_heads: Sequence[bytes],
    time: int,
    salted: Sequence[bytes] = (),
    commitments: Sequence[bytes] = (),
) -> bytes:
    """The bytes to sign and hash, for these operations, or those with these commitments, in this place."""
    of_each = commitments or commitments_of(salted)
    root, count = root_of(of_each), len(of_each)
    heads = tuple(sorted(control_heads))
    return encode(Head(VERSION, channel, device, incarnation, seq, previous, heads, time, count, root))


def to_be_signed(head: bytes) -> bytes:
    """The label and the head: a signature for one purpose is never one for another."""
    return SIGNATURE_LABEL + head


def decode_head(data: bytes) -> Head:
    """The head with exactly these bytes. Raises: MalformedError."""
    head: Head = _head_codec.decode(data)
    _require(head.version == VERSION, "head_version")
    _require(len(head.channel) == 32, "channel_id_size")
    _require(len(head.device) == 32, "device_id_size")
    _require(len(head.incarnation) == 16, "incarnation_size")
    _require(1 <= head.seq <= limits.SEQ_MAX, "seq_range")
    _require(len(head.previous) == (0 if head.seq == 1 else 32), "previous_size")
    _require(len(head.control_heads) <= limits.CONTROL_HEADS_MAX, "too_many_control_heads")
    _require(all(len(h) == 32 for h in head.control_heads), "control_head_size")
    _require(list(head.control_heads) == sorted(set(head.control_heads)), "control_heads_order")
    _require(0 <= head.time >> 16 <= limits.TIME_MS_MAX, "time_range")
    _require(1 <= head.count <= limits.OPERATIONS_PER_COMMIT_MAX, "count_range")
    _require(len(head.content_root) == 32, "content_root_size")
    return head


def encode_commit(commit: AnyCommit) -> bytes:
    """The canonical bytes."""
    return encode(commit)


def decode_commit(data: bytes) -> tuple[AnyCommit, Head]:
    """A commit and its head; form, size, count and content root checked, signature and chain not yet.

    Raises: MalformedError.
    """
    commit, head = peek_commit(data)
    check_content(commit, head)
    return commit, head


def peek_commit(data: bytes) -> tuple[AnyCommit, Head]:
    """The same with the operations not looked at: enough to know a commit again. Raises: MalformedError."""
    _require(len(data) <= limits.COMMIT_BYTES_MAX, "commit_too_large")
    commit: AnyCommit = (_holed_codec if data[:1] == _ARRAY_OF_FOUR else _commit_codec).decode(data)
    head = decode_head(commit.head)
    _require(len(commit.signature) == 64, "signature_size")
    return commit, head


def check_content(commit: AnyCommit, head: Head) -> None:
    """Raises: MalformedError unless the operations are those of the head."""
    _require(len(commit.operations) == head.count, "count_differs")
    if isinstance(commit, Commit):
        _require(min(map(len, commit.operations), default=0) > SALT_SIZE, "operation_empty")
        _require(content_root(commit.operations) == head.content_root, "content_root_differs")
        return
    sizes = [len(operation) for operation in commit.operations]
    _require(all(size == 0 or size > SALT_SIZE for size in sizes), "operation_empty")
    _require(0 in sizes, "holes_none")
    _require(len(commit.commitments) == sizes.count(0), "holes_count")
    _require(all(len(one) == COMMITMENT_SIZE for one in commit.commitments), "hole_size")
    holes = iter(commit.commitments)
    found = [commitment(operation) if operation else next(holes) for operation in commit.operations]
    _require(root_of(found) == head.content_root, "content_root_differs")


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise MalformedError(f"commit: {rule.replace('_', ' ')}", rule=rule)
