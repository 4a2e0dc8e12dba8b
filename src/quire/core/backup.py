r"""Backups: a vault's log and keys as sealed packs, and the manifest that names them.

    pack      89 51 42 50 41 43 4B 0A (\x89QBPACK\n) || version (2) || salt (32) || AES-256-GCM(packed(body))
    manifest  89 51 42 4D 41 4E 49 0A (\x89QBMANI\n) || version (2) || salt (32) || AES-256-GCM(packed(body)) || SHA-256

A pack's name is the SHA-256 of its bytes, so whoever has the folder can tell a damaged one, and nobody without the key
what is in it. The keys are derived from the vault's database key and the salt: each seals one thing. A pack says itself
what it covers: where the manifest is lost, the packs are enough. docs/spec/14-backup.md.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Annotated

import msgspec

from quire.core import limits
from quire.core.crypto import aead
from quire.core.crypto.keys import Label, derive_key
from quire.core.crypto.secrets import KEY_SIZE, DatabaseKey, RandomBytes, Secret
from quire.core.encoding import Codec, encode
from quire.core.packing import packed, unpacked
from quire.errors import MalformedError

VERSION = 1
PACK_MAGIC, MANIFEST_MAGIC = b"\x89QBPACK\n", b"\x89QBMANI\n"
MAGIC_SIZE, VERSION_SIZE, SALT_SIZE = 8, 2, 32
HEADER_SIZE = MAGIC_SIZE + VERSION_SIZE + SALT_SIZE
DIGEST_SIZE = 32

Seq = Annotated[int, msgspec.Meta(ge=1, le=limits.SEQ_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
Time = Annotated[int, msgspec.Meta(ge=0, le=(limits.TIME_MS_MAX + 1 << 16) - 1)]  # a hybrid one
Digest = Annotated[bytes, msgspec.Meta(min_length=DIGEST_SIZE, max_length=DIGEST_SIZE)]
Holes = Annotated[bytes, msgspec.Meta(max_length=DIGEST_SIZE)]
Prefix = Annotated[bytes, msgspec.Meta(min_length=10, max_length=10)]


class BackupKey(Secret):
    """What a backup is sealed under: derived from the database key, so whatever opens the vault opens it."""

    __slots__ = ()

    @classmethod
    def of(cls, key: DatabaseKey) -> BackupKey:
        return cls(derive_key(key.reveal(), Label.BACKUP))


class Kind(IntEnum):
    """What a pack's items are."""

    STATE = 1  # what is in no log: keys, settings, what is kept for others
    CONTROL = 2  # control commits
    CONTENT = 3  # all other commits


class PackSpan(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """A run of one log's commits in a pack: all of its kind from the first seq to the last."""

    prefix: Prefix
    first: Seq
    last: Seq
    end: Digest  # id of the last one: the chain says the rest


class Away(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Why operations of a commit are not there although nobody erased them (storage/erasures.py)."""

    item: Count  # its place among the items
    whys: Annotated[bytes, msgspec.Meta(min_length=1)]  # a byte for each of its holes, in order


class PackBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A pack's content, sealed."""

    kind: Annotated[int, msgspec.Meta(ge=1, le=255)]
    newest: Time  # hybrid time of the newest commit in it
    holes: (
        Holes  # which operations' bytes had been destroyed, and why; of control commits, which epochs' keys
    )
    spans: tuple[PackSpan, ...]
    items: tuple[bytes, ...]  # encoded commits, by log and seq; or encoded `StateItem`s
    away: tuple[Away, ...] = ()  # of those with holes that retention made


class PackEntry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A pack as the manifest names it."""

    name: Digest
    size: Count  # bytes of the file
    kind: Annotated[int, msgspec.Meta(ge=1, le=255)]
    newest: Time
    holes: Holes
    count: Count  # items in it
    plain: Digest  # SHA-256 of the encoded body: what has not changed is not written again
    spans: tuple[PackSpan, ...]


class FileEntry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A sealed attachment (docs/spec/13-attachments.md), by its id, which is the hash of what it is made of."""

    name: Digest
    size: Count  # bytes before it was sealed
    plain: Annotated[bytes, msgspec.Meta(max_length=DIGEST_SIZE)]  # SHA-256 of these, if we sealed it


class LogEntry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Which channel a log is of, so that what is lost can be named."""

    prefix: Prefix
    channel: Digest


class ChannelEntry(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A channel in a backup, for people."""

    id: Digest
    name: str
    messages: Count


class Manifest(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """All that a backup is: what it does not name is not part of it."""

    vault_id: Annotated[bytes, msgspec.Meta(min_length=1, max_length=64)]
    made_ms: Count
    runs: Count  # how often this backup was brought up to date
    packs: tuple[PackEntry, ...]
    files: tuple[FileEntry, ...]
    logs: tuple[LogEntry, ...]
    channels: tuple[ChannelEntry, ...]


class OwnerItem(msgspec.Struct, array_like=True, tag=0, frozen=True, forbid_unknown_fields=True):
    """Whose vault it is."""

    identity: Digest
    recovery: bytes  # public half of the recovery key; empty on a linked device


class SettingItem(msgspec.Struct, array_like=True, tag=1, frozen=True, forbid_unknown_fields=True):
    """A setting of this device that its successor goes on with."""

    key: str
    value: int | str


class EpochItem(msgspec.Struct, array_like=True, tag=2, frozen=True, forbid_unknown_fields=True):
    """A channel key."""

    channel: Digest
    epoch: bytes
    key: bytes


class KeptItem(msgspec.Struct, array_like=True, tag=3, frozen=True, forbid_unknown_fields=True):
    """Somebody's sealed self-channel, kept for them."""

    owner: bytes
    stamp_ms: Count
    sealed: bytes


class ParkedItem(msgspec.Struct, array_like=True, tag=4, frozen=True, forbid_unknown_fields=True):
    """A commit that waits whole for one that it names, or for its time."""

    encoded: bytes


class JoiningItem(msgspec.Struct, array_like=True, tag=5, frozen=True, forbid_unknown_fields=True):
    """A channel that we asked to be let into."""

    channel: Digest
    link: str
    name: str
    since_ms: Count


class HereItem(msgspec.Struct, array_like=True, tag=6, frozen=True, forbid_unknown_fields=True):
    """What this device lets go of a channel besides (docs/spec/12-retention.md)."""

    channel: Digest
    name: str
    value: Count


class ForgottenItem(msgspec.Struct, array_like=True, tag=7, frozen=True, forbid_unknown_fields=True):
    """An epoch whose key was destroyed, and is not to come back."""

    channel: Digest
    epoch: bytes


class WishItem(msgspec.Struct, array_like=True, tag=8, frozen=True, forbid_unknown_fields=True):
    """A message that is to be erased, when its archive's file is at hand (docs/spec/16-archive.md, 4.3)."""

    channel: Digest
    id: bytes
    reason: str


StateItem = (
    ForgottenItem
    | OwnerItem
    | SettingItem
    | HereItem
    | EpochItem
    | KeptItem
    | ParkedItem
    | JoiningItem
    | WishItem
)

_body_codec = Codec(PackBody, "pack_form")
_state_codec = Codec(StateItem, "pack_state")
_manifest_codec = Codec(Manifest, "manifest_form")


def pack_name(sealed: bytes) -> bytes:
    """What a pack is called: SHA-256 of its bytes."""
    return hashlib.sha256(sealed).digest()


def encode_body(body: PackBody) -> bytes:
    """The bytes to seal."""
    return encode(body)


def seal_pack(plain: bytes, key: BackupKey, random_bytes: RandomBytes) -> bytes:
    """An encoded body as a pack's file."""
    return _seal(PACK_MAGIC, Label.BACKUP_PACK, plain, key, random_bytes)


def open_pack(sealed: bytes, key: BackupKey) -> PackBody:
    """A pack's body; the items not looked at.

    Raises: MalformedError with rule "pack_size", "pack_magic", "pack_version" (of a newer Quire), "pack_open" (another
    key, or changed), "pack_packing", "pack_too_large", "pack_form" or "pack_form_not_canonical".
    """
    body: PackBody = _body_codec.decode(pack_plain(sealed, key))
    return body


def pack_plain(sealed: bytes, key: BackupKey) -> bytes:
    """The same, encoded. Raises: as `open_pack`."""
    if len(sealed) > limits.BACKUP_PACK_BYTES_MAX:
        raise MalformedError("a pack of impossible size", rule="pack_size", size_bytes=len(sealed))
    return _open("pack", PACK_MAGIC, Label.BACKUP_PACK, sealed, key, limits.BACKUP_PACK_PLAIN_BYTES_MAX)


def encode_state(item: StateItem) -> bytes:
    """One item of a STATE pack."""
    return encode(item)


def decode_state(encoded: bytes) -> StateItem:
    """Raises: MalformedError with rule "pack_state" or "pack_state_not_canonical"."""
    item: StateItem = _state_codec.decode(encoded)
    return item


def seal_manifest(manifest: Manifest, key: BackupKey, random_bytes: RandomBytes) -> bytes:
    """The manifest's file."""
    whole = _seal(MANIFEST_MAGIC, Label.BACKUP_MANIFEST, encode(manifest), key, random_bytes)
    return whole + hashlib.sha256(whole).digest()


def open_manifest(file: bytes, key: BackupKey) -> Manifest:
    """What a backup is.

    Raises: MalformedError with rule "manifest_size", "manifest_magic", "manifest_checksum" (damaged or cut off),
    "manifest_version" (of a newer Quire), "manifest_open" (under another key), "manifest_packing",
    "manifest_too_large", "manifest_form" or "manifest_form_not_canonical", tried in that order: later versions keep
    magic, version and checksum.
    """
    if not HEADER_SIZE + DIGEST_SIZE <= len(file) <= limits.BACKUP_MANIFEST_BYTES_MAX:
        raise MalformedError("a manifest of impossible size", rule="manifest_size", size_bytes=len(file))
    if not file.startswith(MANIFEST_MAGIC):
        raise MalformedError("this is no manifest of a backup", rule="manifest_magic")
    whole, trailer = file[:-DIGEST_SIZE], file[-DIGEST_SIZE:]
    if hashlib.sha256(whole).digest() != trailer:
        raise MalformedError("the manifest is damaged or cut off", rule="manifest_checksum")
    bytes_max = limits.BACKUP_MANIFEST_BYTES_MAX
    plain = _open("manifest", MANIFEST_MAGIC, Label.BACKUP_MANIFEST, whole, key, bytes_max)
    manifest: Manifest = _manifest_codec.decode(plain)
    return manifest


def _seal(magic: bytes, label: Label, plain: bytes, key: BackupKey, random_bytes: RandomBytes) -> bytes:
    salt = random_bytes(SALT_SIZE)
    header = magic + VERSION.to_bytes(VERSION_SIZE, "big") + salt
    return header + aead.encrypt(_key(key, label, salt), aead.ZERO_NONCE, packed(plain), header)


def _open(what: str, magic: bytes, label: Label, sealed: bytes, key: BackupKey, bytes_max: int) -> bytes:
    header, rest = sealed[:HEADER_SIZE], sealed[HEADER_SIZE:]
    if not header.startswith(magic):
        raise MalformedError(f"this is no {what} of a backup", rule=f"{what}_magic")
    if header[MAGIC_SIZE : MAGIC_SIZE + VERSION_SIZE] != VERSION.to_bytes(VERSION_SIZE, "big"):
        raise MalformedError(f"a {what} of another version", rule=f"{what}_version")
    if len(rest) < aead.TAG_SIZE:
        raise MalformedError(f"a {what} of impossible size", rule=f"{what}_size", size_bytes=len(sealed))
    derived = _key(key, label, header[-SALT_SIZE:])
    opened = aead.decrypt(derived, aead.ZERO_NONCE, rest, header, rule=f"{what}_open")
    return unpacked(opened, bytes_max=bytes_max, what=what)


def _key(key: BackupKey, label: Label, salt: bytes) -> bytes:
    return derive_key(key.reveal(), label, salt=salt, length=KEY_SIZE)
