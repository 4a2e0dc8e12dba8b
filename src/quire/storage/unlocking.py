"""From what a user holds to the slot it opens: kinds of keys, their secrets, and the price of a guess.

A slot is found by its public key: the secret derives a key pair, and if that is the slot's the secret is
right. Nothing is decrypted to find out, so a wrong passphrase can never look like damage.

Argon2id runs once for each passphrase slot that is tried. Its cost is set when the slot is made: three
passes over as much memory as `CALIBRATE_MS` allows on this machine. docs/spec/04-keys.md, section 2.
"""

from __future__ import annotations

import time

from quire.core.crypto import slots as form
from quire.core.crypto.sealing import public_of
from quire.core.crypto.secrets import KeyFile, Keyring, Passphrase, RawKey, RecoveryPhrase, Unlock
from quire.errors import StorageError, UnlockError, UsageError
from quire.storage.outside import key_file_secret, keyring_secret

CALIBRATE_MS = 500  # what a person waits for at every opening, and a thief at every guess
CALIBRATED_MEMORY_KIB_MAX = 512 << 10  # a vault made on a large machine must open on a small one
_MEMORY_STEP_KIB = 16 << 10
_LANES = 4  # RFC 9106, section 4

_WRONG: dict[form.Kind, tuple[str, str]] = {
    "passphrase": ("wrong_passphrase", "no slot opens with this passphrase"),
    "recovery_phrase": ("wrong_phrase", "no slot opens with this recovery phrase"),
    "key_file": ("wrong_key_file", "no slot opens with this key file"),
    "keyring": ("wrong_keyring", "no slot opens with what the keyring holds"),
}


def matching_slot(body: form.SlotsBody, unlock: Unlock) -> tuple[form.SlotRecord, bytes]:
    """The slot whose public key the secret derives, and its seed."""
    kind = kind_of(unlock)
    candidates = [slot for slot in body.slots if slot.kind == kind]
    if not candidates:
        kinds = ", ".join(sorted({slot.kind.replace("_", " ") for slot in body.slots})) or "the raw key"
        message = f"this vault has no {kind.replace('_', ' ')}"
        raise UnlockError(message, rule="no_such_slot", hint=f"it opens with: {kinds}")
    secret = secret_of(unlock, body.vault_id)
    for slot in candidates:
        seed = seed_of(kind, secret, slot.salt, slot.argon2)
        if public_of(seed) == slot.public:
            return slot, seed
    rule, message = _WRONG[kind]
    raise UnlockError(message, rule=rule, hint="try again, or another key of the vault")


def kind_of(unlock: Unlock) -> form.Kind:
    """Raises: UsageError with rule "raw_key_slot" or "unlock_type"."""
    match unlock:
        case Passphrase():
            return "passphrase"
        case RecoveryPhrase():
            return "recovery_phrase"
        case KeyFile():
            return "key_file"
        case Keyring():
            return "keyring"
        case RawKey():
            raise UsageError("the raw key needs no slot, and has none", rule="raw_key_slot")
    hint = 'say what it is: Passphrase("..."), KeyFile("...") and so on'
    raise UsageError("not a way to unlock a vault", rule="unlock_type", hint=hint)


def secret_of(unlock: Unlock, vault_id: bytes) -> bytes:
    """What the user holds, as bytes. Raises: UsageError, UnlockError (storage/outside.py)."""
    match unlock:
        case Passphrase() | RecoveryPhrase():
            return unlock.reveal()
        case KeyFile():
            return key_file_secret(unlock)
        case Keyring():
            return keyring_secret(unlock, vault_id)
        case RawKey():
            return unlock.key.reveal()


def is_opened_by(slot: form.SlotRecord, secret: bytes) -> bool:
    """Whether this is the secret of that slot."""
    return public_of(seed_of(slot.kind, secret, slot.salt, slot.argon2)) == slot.public


def seed_of(kind: form.Kind, secret: bytes, salt: bytes, cost: form.Argon2Cost | None) -> bytes:
    """The seed of a slot's key pair. Raises: StorageError(rule="memory_short")."""
    try:
        return form.slot_seed(kind, secret, salt, cost)
    except MemoryError:
        raise _memory_short(cost) from None


def _memory_short(cost: form.Argon2Cost | None) -> StorageError:
    needed = f"{cost.memory_kib >> 10} MiB" if cost else "more"
    message = f"the passphrase needs {needed} of memory to check"
    return StorageError(message, rule="memory_short", hint="unlock with the recovery phrase or a key file")


def argon2_cost(memory_kib: int | None) -> form.Argon2Cost:
    """Three passes over as much memory as half a second allows, and never less than 64 MiB."""
    low, high = form.ARGON2_MEMORY_KIB_MIN, form.ARGON2_MEMORY_KIB_MAX
    if memory_kib is None:
        started = time.perf_counter()
        seed_of("passphrase", b"", bytes(form.SALT_SIZE), _cost(low))
        elapsed_ms = (time.perf_counter() - started) * 1000
        affordable = int(low * CALIBRATE_MS / elapsed_ms)
        affordable -= affordable % _MEMORY_STEP_KIB
        return _cost(min(max(affordable, low), CALIBRATED_MEMORY_KIB_MAX))
    if not low <= memory_kib <= high:
        raise UsageError(f"Argon2id memory is {low} to {high} KiB", rule="argon2_memory")
    return _cost(memory_kib)


def _cost(memory_kib: int) -> form.Argon2Cost:
    return form.Argon2Cost(memory_kib, form.ARGON2_ITERATIONS_MIN, _LANES)
