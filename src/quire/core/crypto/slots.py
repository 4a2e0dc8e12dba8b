"""The slots file: the database key, sealed once per slot, in bytes that cannot be mistaken.

A slot is a key pair. Its X-Wing seed (ML-KEM-768 with X25519: a thief keeps the file for years, so it
must outlast a quantum computer) is derived from what the user holds: passphrase, phrase, key file or
keyring entry. The file keeps the public key and the database key sealed to it with HPKE. So a NEW
database key can be sealed to every slot without asking for a single secret: that is `rekey`.

Public keys can be planted, though: whoever can write the file could add their own and wait for the next
rekey. Hence the MAC over the whole body, under a key derived from the database key: only someone who
already has that key makes a slot that survives the next open.

Three kinds of wrong are kept apart. Damage fails the SHA-256 trailer (`MalformedError`). A wrong
passphrase derives another public key, and nothing else is looked at. A forgery has a right trailer and
a wrong MAC or seal. docs/spec/04-keys.md, section 5; why HPKE: docs/decisions/0003-key-slots.md.
"""

# Types are evaluated here, not left as text: msgspec would compile each when it first decodes, in every fresh process.

from typing import Annotated, Literal

import msgspec

from quire.core.crypto.derivation import Label, derive_key
from quire.core.crypto.sealing import OVERHEAD, PUBLIC_SIZE, open_sealed, seal
from quire.core.crypto.secrets import KEY_SIZE, DatabaseKey, RandomBytes
from quire.core.crypto.slots_file import SlotsFile as SlotsFile
from quire.core.crypto.slots_file import mac_of, read_slots, write_slots
from quire.core.limits import NAME_CHARS_MAX, TIME_MS_MAX
from quire.errors import MalformedError

SLOTS_MAX = 32  # a handful is normal; each costs a wrong passphrase one more Argon2id

SALT_SIZE = 16
VAULT_ID_BYTES_MAX = 64
SEALED_SIZE = KEY_SIZE + OVERHEAD
LINK_SIZE = 12 + 32 + 16  # nonce || database key || tag

# Argon2id: RFC 9106's second choice (64 MiB, 3 passes) is the floor, for writing and for reading. The
# ceilings let a tampered file cost a reader 4 GiB and a minute, not its machine.
ARGON2_MEMORY_KIB_MIN, ARGON2_MEMORY_KIB_MAX = 64 << 10, 4 << 20
ARGON2_ITERATIONS_MIN, ARGON2_ITERATIONS_MAX = 3, 64
ARGON2_LANES_MAX = 16
ARGON2_WORK_KIB_MAX = ARGON2_MEMORY_KIB_MAX * 4  # memory times passes

Kind = Literal["passphrase", "recovery_phrase", "key_file", "keyring"]
LABELS: dict[Kind, Label] = {
    "passphrase": Label.PASSPHRASE_SLOT,
    "recovery_phrase": Label.RECOVERY_SLOT,
    "key_file": Label.KEY_FILE_SLOT,
    "keyring": Label.KEYRING_SLOT,
}

_Count = Annotated[int, msgspec.Meta(ge=1, le=(1 << 53) - 1)]


class Argon2Cost(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What one guess at a passphrase costs."""

    memory_kib: Annotated[int, msgspec.Meta(ge=ARGON2_MEMORY_KIB_MIN, le=ARGON2_MEMORY_KIB_MAX)]
    iterations: Annotated[int, msgspec.Meta(ge=ARGON2_ITERATIONS_MIN, le=ARGON2_ITERATIONS_MAX)]
    lanes: Annotated[int, msgspec.Meta(ge=1, le=ARGON2_LANES_MAX)]


class SlotRecord(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One slot. `sealed_next` is empty except while a rekey is under way."""

    id: _Count
    kind: Kind
    label: Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)]
    created_ms: Annotated[int, msgspec.Meta(ge=0, le=TIME_MS_MAX)]
    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_SIZE, max_length=SALT_SIZE)]
    argon2: Argon2Cost | None
    public: Annotated[bytes, msgspec.Meta(min_length=PUBLIC_SIZE, max_length=PUBLIC_SIZE)]
    sealed: Annotated[bytes, msgspec.Meta(min_length=SEALED_SIZE, max_length=SEALED_SIZE)]
    sealed_next: Annotated[bytes, msgspec.Meta(max_length=SEALED_SIZE)] = b""


class SlotsBody(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """All that the MAC covers. `link` is the current key sealed under the next one, or empty."""

    vault_id: Annotated[bytes, msgspec.Meta(min_length=1, max_length=VAULT_ID_BYTES_MAX)]
    generation: _Count  # grows with every change
    next_id: _Count
    slots: Annotated[tuple[SlotRecord, ...], msgspec.Meta(max_length=SLOTS_MAX)]
    link: Annotated[bytes, msgspec.Meta(max_length=LINK_SIZE)] = b""


def encode_slots(body: SlotsBody, key: DatabaseKey, next_key: DatabaseKey | None = None) -> bytes:
    """The slots file with this body. Raises: MalformedError(rule="slots_form") for values outside their limits."""
    encoded = msgspec.msgpack.encode(body)
    mac_next = mac_of(next_key, encoded) if next_key else b""
    file = write_slots(SlotsFile(encoded, mac_of(key, encoded), mac_next))
    decode_slots(file)  # msgspec checks values only on reading, and what cannot be read would lock us out
    return file


def decode_slots(encoded: bytes) -> SlotsFile:
    """The file, its body read. Raises: MalformedError, as `read_slots`, and for the body with rule "slots_form"."""
    file = read_slots(encoded)
    _ = file.body
    return file


def decode_body(encoded: bytes, rekeying: bool) -> SlotsBody:
    """Raises: MalformedError(rule="slots_form")."""
    try:
        body = msgspec.msgpack.decode(encoded, type=SlotsBody)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError) as error:
        raise MalformedError("the slots file breaks its format", rule="slots_form") from error
    if msgspec.msgpack.encode(body) != encoded or not _agrees(body, rekeying):
        raise MalformedError("the slots file breaks its format", rule="slots_form")
    return body


def _agrees(body: SlotsBody, rekeying: bool) -> bool:
    """What no single field shows."""
    ids = [slot.id for slot in body.slots]
    return (
        ids == sorted(set(ids))
        and all(number < body.next_id for number in ids)
        and all((slot.kind == "passphrase") == (slot.argon2 is not None) for slot in body.slots)
        and all(_is_affordable(slot.argon2) for slot in body.slots if slot.argon2)
        and len(body.link) == LINK_SIZE * rekeying
        and all(len(slot.sealed_next) == SEALED_SIZE * rekeying for slot in body.slots)
    )


def _is_affordable(cost: Argon2Cost) -> bool:
    return cost.memory_kib * cost.iterations <= ARGON2_WORK_KIB_MAX


# The secrets of a slot.


def slot_seed(kind: Kind, secret: bytes, salt: bytes, cost: Argon2Cost | None) -> bytes:
    """The seed of a slot's key pair, from what its user holds. A passphrase is stretched first."""
    if cost is not None:
        secret = stretch(secret, salt, cost)
    return derive_key(secret, LABELS[kind], salt=salt)


def stretch(passphrase: bytes, salt: bytes, cost: Argon2Cost) -> bytes:
    """Argon2id, version 0x13, 32 bytes. Source: RFC 9106. Raises: MemoryError."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    lanes, memory = cost.lanes, cost.memory_kib
    kdf = Argon2id(salt=salt, length=32, iterations=cost.iterations, lanes=lanes, memory_cost=memory)
    return kdf.derive(passphrase)


def seal_key(key: DatabaseKey, public: bytes, vault_id: bytes, slot_id: int) -> bytes:
    """The database key, for the holder of the slot's secret only."""
    return seal(key.reveal(), public, _info(vault_id, slot_id))


def open_key(sealed: bytes, seed: bytes, vault_id: bytes, slot_id: int) -> DatabaseKey:
    """Raises: MalformedError(rule="sealing_open") if it was not sealed to this slot of this vault."""
    return DatabaseKey(open_sealed(sealed, seed, _info(vault_id, slot_id)))


def _info(vault_id: bytes, slot_id: int) -> bytes:
    return Label.SLOT.encode() + slot_id.to_bytes(8, "big") + vault_id


def seal_link(key: DatabaseKey, next_key: DatabaseKey, vault_id: bytes, random_bytes: RandomBytes) -> bytes:
    """The current key for the holder of the next one. Never the other way round: a rekey may be there
    to shut out someone who has the current key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = random_bytes(12)
    return nonce + AESGCM(derive_key(next_key.reveal(), Label.SLOTS_LINK)).encrypt(
        nonce, key.reveal(), vault_id
    )


def open_link(link: bytes, next_key: DatabaseKey, vault_id: bytes) -> DatabaseKey:
    """Raises: MalformedError(rule="slots_link")."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher = AESGCM(derive_key(next_key.reveal(), Label.SLOTS_LINK))
    try:
        return DatabaseKey(cipher.decrypt(link[:12], link[12:], vault_id))
    except InvalidTag as error:
        raise MalformedError("the link between two keys does not open", rule="slots_link") from error
