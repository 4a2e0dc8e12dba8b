"""What may be done to the slots of a vault, as pure functions from one body to the next.

The caller has checked the body's MAC before and writes the result after (storage/keyslots.py).
docs/spec/04-keys.md, section 6.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from quire.core.crypto.secrets import DatabaseKey, RandomBytes
from quire.core.crypto.slots import SLOTS_MAX, Argon2Cost, Kind, SlotRecord, SlotsBody, seal_key, seal_link
from quire.errors import NotFoundError, UsageError


class Draft(msgspec.Struct, frozen=True):
    """A slot without its place and without the key sealed in it."""

    kind: Kind
    label: str
    created_ms: int
    salt: bytes
    argon2: Argon2Cost | None
    public: bytes

    def record(self, slot_id: int, key: DatabaseKey, vault_id: bytes) -> SlotRecord:
        sealed = seal_key(key, self.public, vault_id, slot_id)
        return SlotRecord(
            slot_id, self.kind, self.label, self.created_ms, self.salt, self.argon2, self.public, sealed
        )


def appended(body: SlotsBody, draft: Draft, key: DatabaseKey) -> SlotsBody:
    if len(body.slots) >= SLOTS_MAX:
        raise UsageError(f"a vault has at most {SLOTS_MAX} keys", rule="slots_full", hint="remove one")
    record = draft.record(body.next_id, key, body.vault_id)
    return replace(body, next_id=body.next_id + 1, slots=(*body.slots, record))


def replaced(body: SlotsBody, slot_id: int, draft: Draft, key: DatabaseKey) -> SlotsBody:
    slot_of(body, slot_id)
    record = draft.record(slot_id, key, body.vault_id)
    return replace(body, slots=tuple(record if slot.id == slot_id else slot for slot in body.slots))


def removed(body: SlotsBody, slot_id: int) -> SlotsBody:
    slot_of(body, slot_id)
    if len(body.slots) == 1:
        raise UsageError("this is the vault's last key", rule="last_slot", hint="add another first")
    return replace(body, slots=tuple(slot for slot in body.slots if slot.id != slot_id))


def moved(body: SlotsBody, key: DatabaseKey, vault_id: bytes) -> SlotsBody:
    """The slots of another vault with another key that the same secrets open.

    What the keyring holds is for one vault: its slots stay behind.
    """
    slots = tuple(
        replace(slot, sealed=seal_key(key, slot.public, vault_id, slot.id), sealed_next=b"")
        for slot in body.slots
        if slot.kind != "keyring"
    )
    return replace(body, vault_id=vault_id, generation=1, slots=slots, link=b"")


def slot_of(body: SlotsBody, slot_id: int) -> SlotRecord:
    for slot in body.slots:
        if slot.id == slot_id:
            return slot
    raise NotFoundError(f"there is no key slot {slot_id}", rule="no_such_slot", slot=slot_id)


def with_next(
    body: SlotsBody, key: DatabaseKey, next_key: DatabaseKey, random_bytes: RandomBytes
) -> SlotsBody:
    """Every slot opens both keys."""
    slots = tuple(
        replace(slot, sealed_next=seal_key(next_key, slot.public, body.vault_id, slot.id))
        for slot in body.slots
    )
    return replace(body, slots=slots, link=seal_link(key, next_key, body.vault_id, random_bytes))


def only_next(body: SlotsBody) -> SlotsBody:
    """Every slot opens the next key only."""
    slots = tuple(replace(slot, sealed=slot.sealed_next, sealed_next=b"") for slot in body.slots)
    return replace(body, slots=slots, link=b"")


def only_current(body: SlotsBody) -> SlotsBody:
    """Every slot opens the current key only."""
    slots = tuple(replace(slot, sealed_next=b"") for slot in body.slots)
    return replace(body, slots=slots, link=b"")
