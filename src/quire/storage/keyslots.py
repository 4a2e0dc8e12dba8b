"""Several keys to one vault: the file `slots` in its folder, and what is done with it.

The database key never lies there in the clear: each slot of the file holds it sealed to a key pair
derived from one thing a user has (core/crypto/slots.py says how, and why a thief or a planter gains
nothing). Any slot opens; adding, changing and removing one rewrites this file alone.

Every change is read, checked, modified and written under one lock, from the file as it then is: two
processes lose nothing of each other's, and a slot planted meanwhile fails the MAC before anything is
sealed to it. The write is a rename: killed at any point, the old file or the new one is there.

`rekey` changes the database key in two steps, around the re-encryption of the database:

    begin_rekey(new)   every slot opens both keys   ── re-encrypt ──   finish_rekey()   the new one only
                                                    ── or not ──────   abort_rekey()    the old one only

From the first step to the last the lock is held. So whoever finds the file in the middle state and gets
the lock knows that the other process is dead; `open` then returns with the lock, both keys, and
`rekeying` set, and the caller, who can try which key opens the database, finishes or aborts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from quire.core.crypto import slots_file
from quire.core.crypto.secrets import (
    DatabaseKey,
    KeyFile,
    Keyring,
    RandomBytes,
    RawKey,
    Unlock,
)
from quire.core.limits import NAME_CHARS_MAX, TIME_MS_MAX
from quire.core.values import Value
from quire.errors import (
    CorruptError,
    MalformedError,
    SchemaError,
    StorageError,
    UnlockError,
    UsageError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from quire.core.crypto import slots as form
    from quire.core.crypto.slot_changes import Draft
    from quire.storage.files import FileLock

FILE_NAME = "slots"
LOCK_NAME = "slots.lock"

_RESTORE_HINT = "put the file `slots` back from a backup of the vault folder"


class Slot(Value):
    """What may be shown of a slot."""

    id: int
    kind: form.Kind
    label: str
    created_ms: int


class KeySlots:
    """The slots of one vault, in the hands of someone who has its database key."""

    def __init__(self, folder: str, of: form.SlotsBody | slots_file.SlotsFile, key: DatabaseKey) -> None:
        """`of` is what stands in the slots; or their file, which is read further when more is asked for."""
        self._folder = folder
        self._of = of
        self._vault_id, self._generation = (
            of.outline() if isinstance(of, slots_file.SlotsFile) else (of.vault_id, of.generation)
        )
        self._key = key
        self._next_key: DatabaseKey | None = None
        self._rekey_lock: FileLock | None = None
        self._random: RandomBytes = os.urandom

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        key: DatabaseKey,
        unlocks: Sequence[Unlock],
        *,
        vault_id: bytes,
        now_ms: int,
        random_bytes: RandomBytes = os.urandom,
        argon2_memory_kib: int | None = None,
    ) -> KeySlots:
        """Write the slots file of a new vault. `RawKey(key)` makes no slot, and alone it makes none at all.

        argon2_memory_kib    what a guess at a passphrase costs; None: measured, about half a second

        Raises: UsageError (rule "slots_exist", "no_unlock", "raw_key_differs" or of an unlock), StorageError.
        """
        from quire.core.crypto import slots as form

        if not 1 <= len(vault_id) <= form.VAULT_ID_BYTES_MAX:
            raise UsageError("a vault id is 1 to 64 bytes", rule="vault_id_length")
        if not unlocks:
            raise UsageError("a vault needs at least one key", rule="no_unlock")
        if any(isinstance(one, RawKey) and one.key != key for one in unlocks):
            raise UsageError("the raw key is not the vault's", rule="raw_key_differs")
        body = form.SlotsBody(vault_id=vault_id, generation=1, next_id=1, slots=())
        from quire.core.crypto import slot_changes as changes

        slots = cls(os.fspath(folder), body, key)
        slots._random = random_bytes
        for unlock in unlocks:
            if not isinstance(unlock, RawKey):
                draft = slots._draft(unlock, "", now_ms, argon2_memory_kib)
                body = changes.appended(body, draft, key)
                slots._body = body
        with _locked(slots._folder):
            if _in(slots._folder, FILE_NAME).exists():
                raise UsageError(
                    "this folder has key slots", rule="slots_exist", hint="open the vault instead"
                )
            _replace(slots._folder, form.encode_slots(body, key))
        return slots

    @classmethod
    def open(cls, folder: str | os.PathLike[str], unlock: Unlock) -> tuple[KeySlots, DatabaseKey]:
        """Find the slot this opens, and the (current) database key in it.

        Raises: UnlockError (rule "wrong_passphrase", "wrong_phrase", "wrong_key_file", "wrong_keyring",
        "wrong_key", "keyring_empty", "no_such_slot"), CorruptError (rule "slots_damaged": not the bytes that
        were written; "slots_forged": written by someone without the key), SchemaError, StorageError
        (rule "slots_missing", ...), BusyError while another process changes the database key.
        """
        path = os.fspath(folder)
        file = _read(path, whole=not isinstance(unlock, RawKey))
        slots = cls._opened_amid_rekey(path, unlock) if file.rekeying else cls._opened(path, file, unlock)
        return slots, slots._key

    @staticmethod
    def kinds(folder: str | os.PathLike[str]) -> set[str]:
        """What kinds of things open the vault in a folder; needs none of them. Raises: CorruptError, StorageError."""
        return {slot.kind for slot in _read(os.fspath(folder)).body.slots}

    @classmethod
    def open_copy(
        cls, folder: str | os.PathLike[str], names: Sequence[str], unlock: Unlock
    ) -> tuple[KeySlots, DatabaseKey]:
        """The same from a copy that is only read, as in a backup: the first of these files that is whole.

        Raises: as `open`, for the first file.
        """
        path = os.fspath(folder)
        first: StorageError | None = None
        for name in names:
            try:
                slots = cls._opened(path, _read(path, name), unlock)
                return slots, slots._key
            except (CorruptError, StorageError) as error:
                if error.rule not in ("slots_damaged", "slots_missing"):
                    raise
                first = first or error
        assert first is not None
        raise first

    @classmethod
    def create_moved(
        cls, folder: str | os.PathLike[str], key: DatabaseKey, like: KeySlots, *, vault_id: bytes
    ) -> KeySlots:
        """Write the slots file of a new vault that opens with all that opens another one, but for its keyring entries.

        Nobody need be asked for anything: each slot's public key is in the other file.
        """
        from quire.core.crypto.slot_changes import moved
        from quire.core.crypto.slots import encode_slots

        slots = cls(os.fspath(folder), moved(like._body, key, vault_id), key)
        _replace(slots._folder, encode_slots(slots._body, key))
        return slots

    @classmethod
    def _opened(cls, folder: str, file: slots_file.SlotsFile, unlock: Unlock) -> KeySlots:
        if isinstance(unlock, RawKey):
            return cls._opened_raw(folder, file, unlock.key)
        from quire.storage.unlocking import matching_slot

        slot, seed = matching_slot(file.body, unlock)
        slots = cls(folder, file.body, _open_sealed(slot.sealed, seed, file.body, slot))
        if file.rekeying:
            slots._next_key = _open_sealed(slot.sealed_next, seed, file.body, slot)
        slots._check(file)
        return slots

    @classmethod
    def _opened_raw(cls, folder: str, file: slots_file.SlotsFile, key: DatabaseKey) -> KeySlots:
        """By the current key; or, amid a rekey, by the next one, which leads to the current one."""
        if file.is_under(key):
            try:
                return cls(folder, file, key)
            except MalformedError as error:
                raise _damaged(error, folder) from error
        if not (file.rekeying and file.is_next_under(key)):
            raise UnlockError("this is not the vault's key", rule="wrong_key", hint="give another key")
        from quire.core.crypto.slots import open_link

        try:
            slots = cls(folder, file.body, open_link(file.body.link, key, file.body.vault_id))
        except MalformedError as error:
            raise _forged() from error
        slots._next_key = key
        slots._check(file)
        return slots

    @classmethod
    def _opened_amid_rekey(cls, folder: str, unlock: Unlock) -> KeySlots:
        lock: FileLock | None = _locked(folder)  # BusyError: the process that began is alive
        try:
            file = _read(folder)
            slots = cls._opened(folder, file, unlock)
            if file.rekeying:
                slots._rekey_lock, lock = lock, None
            return slots
        finally:
            if lock:
                lock.release()

    @property
    def _body(self) -> form.SlotsBody:
        return self._of.body if isinstance(self._of, slots_file.SlotsFile) else self._of

    @_body.setter
    def _body(self, body: form.SlotsBody) -> None:
        self._of, self._vault_id, self._generation = body, body.vault_id, body.generation

    @property
    def vault_id(self) -> bytes:
        return self._vault_id

    @property
    def generation(self) -> int:
        """Grows with every change: a vault that remembers it notices an old slots file put back."""
        return self._generation

    @property
    def rekeying(self) -> bool:
        """Whether a change of the database key is under way, or was interrupted and waits for us."""
        return self._rekey_lock is not None

    @property
    def next_key(self) -> DatabaseKey | None:
        """The key to come while `rekeying`; None also if we were opened by the raw current key."""
        return self._next_key

    def list(self) -> _SlotList:
        return [Slot(slot.id, slot.kind, slot.label, slot.created_ms) for slot in self._body.slots]

    def add(
        self,
        unlock: Unlock,
        label: str = "",
        *,
        now_ms: int | None = None,
        argon2_memory_kib: int | None = None,
    ) -> Slot:
        """One more key to the vault. Raises: UsageError, StorageError, CorruptError(rule="slots_forged")."""
        from quire.core.crypto.slot_changes import appended

        draft = self._draft(unlock, label, now_ms, argon2_memory_kib)
        self._change(lambda body: appended(body, draft, self._key))
        return self.list()[-1]

    def replace(
        self,
        slot_id: int,
        unlock: Unlock,
        *,
        now_ms: int | None = None,
        argon2_memory_kib: int | None = None,
    ) -> Slot:
        """Another key in the place of this one, in one step: how a passphrase is changed.

        Raises: NotFoundError(rule="no_such_slot") and as `add`. An old copy of the file still opens with the
        old key: `rekey` is what shuts that out.
        """
        from quire.core.crypto.slot_changes import replaced, slot_of

        draft = self._draft(unlock, slot_of(self._body, slot_id).label, now_ms, argon2_memory_kib)
        self._change(lambda body: replaced(body, slot_id, draft, self._key))
        return next(slot for slot in self.list() if slot.id == slot_id)

    def remove(self, slot_id: int) -> None:
        """Raises: NotFoundError(rule="no_such_slot"), UsageError(rule="last_slot") and as `add`."""
        from quire.core.crypto.slot_changes import removed

        self._change(lambda body: removed(body, slot_id))

    def begin_rekey(self, new_key: DatabaseKey) -> None:
        """Let every slot open the new database key too, and keep everyone else out until it is decided.

        Raises: UsageError (rule "rekey_unfinished", "same_key"), BusyError, StorageError, CorruptError.
        """
        self._refuse_amid_rekey()
        if new_key == self._key:
            raise UsageError("the new key is the old one", rule="same_key")
        from quire.core.crypto.slot_changes import with_next

        lock = _locked(self._folder)
        try:
            body = with_next(self._current().body, self._key, new_key, self._random)
            self._write(body, self._key, new_key)
        except BaseException:
            lock.release()
            raise
        self._rekey_lock, self._next_key = lock, new_key

    def finish_rekey(self) -> None:
        """The database is under the new key: forget the old one. Raises: UsageError(rule="no_rekey")."""
        from quire.core.crypto.slot_changes import only_next

        body = self._amid_rekey().body
        if self._next_key is None:
            raise UsageError("the new key is not known", rule="no_rekey", hint="unlock with another key")
        self._write(only_next(body), self._next_key)
        self._end_rekey(self._next_key)

    def abort_rekey(self) -> None:
        """The database is under the old key: forget the new one. Raises: UsageError(rule="no_rekey")."""
        from quire.core.crypto.slot_changes import only_current

        self._write(only_current(self._amid_rekey().body), self._key)
        self._end_rekey(self._key)

    def close(self) -> None:
        """Let go of an undecided rekey, if any: the next `open` finds the question. Twice is once."""
        if self._rekey_lock is not None:
            self._rekey_lock.release()

    def _end_rekey(self, key: DatabaseKey) -> None:
        assert self._rekey_lock is not None
        self._rekey_lock.release()
        self._rekey_lock, self._next_key, self._key = None, None, key

    def _amid_rekey(self) -> slots_file.SlotsFile:
        if self._rekey_lock is None or not self._rekey_lock.held:
            raise UsageError("no change of the database key is under way", rule="no_rekey")
        file = _read(self._folder)
        self._check(file)
        return file

    def _refuse_amid_rekey(self) -> None:
        if self._rekey_lock is not None:
            raise _rekey_unfinished()

    def _change(self, change: Callable[[form.SlotsBody], form.SlotsBody]) -> None:
        self._refuse_amid_rekey()
        with _locked(self._folder):
            self._write(change(self._current().body), self._key)

    def _current(self) -> slots_file.SlotsFile:
        """The file as it is now, written by someone with our key. Call it under the lock."""
        file = _read(self._folder)
        self._check(file)
        if file.rekeying:
            raise _rekey_unfinished()
        return file

    def _check(self, file: slots_file.SlotsFile) -> None:
        """Nothing in the file counts before this: a slot in it may be planted."""
        right = file.is_under(self._key) and (not self._next_key or file.is_next_under(self._next_key))
        if not right:
            raise _forged()

    def _write(self, body: form.SlotsBody, key: DatabaseKey, next_key: DatabaseKey | None = None) -> None:
        from msgspec.structs import replace

        from quire.core.crypto.slots import encode_slots

        body = replace(body, generation=body.generation + 1)
        _replace(self._folder, encode_slots(body, key, next_key))
        self._body = body

    def _draft(self, unlock: Unlock, label: str, now_ms: int | None, argon2_memory_kib: int | None) -> Draft:
        """All of a new slot that can be made before the lock is taken (Argon2id takes its time)."""
        from quire.core.crypto.sealing import public_of
        from quire.core.crypto.slot_changes import Draft
        from quire.core.crypto.slots import SALT_SIZE
        from quire.storage.unlocking import argon2_cost, is_opened_by, kind_of, seed_of

        kind = kind_of(unlock)
        if len(label) > NAME_CHARS_MAX or not label.isprintable():
            raise UsageError("a slot's label is a short line of text", rule="slot_label")
        if isinstance(unlock, KeyFile) and _is_inside(unlock.path, self._folder):
            hint = "keep it elsewhere: who takes the folder would have both"
            raise UsageError("the key file is in the vault's folder", rule="key_file_inside", hint=hint)
        created_ms = _now_ms() if now_ms is None else now_ms
        if not 0 <= created_ms <= TIME_MS_MAX:
            raise UsageError("a slot is of a time between 1970 and 2248", rule="slot_time")
        secret = self._new_secret(unlock)
        cost = argon2_cost(argon2_memory_kib) if kind == "passphrase" else None
        if cost is None and any(is_opened_by(slot, secret) for slot in self._body.slots if slot.kind == kind):
            raise UsageError("this key opens the vault already", rule="slot_exists")
        salt = self._random(SALT_SIZE)
        public = public_of(seed_of(kind, secret, salt, cost))
        return Draft(kind, label, created_ms, salt, cost, public)

    def _new_secret(self, unlock: Unlock) -> bytes:
        if isinstance(unlock, Keyring):
            from quire.storage.outside import ensure_keyring_secret

            return ensure_keyring_secret(unlock, self.vault_id, self._random)
        from quire.storage.unlocking import secret_of

        return secret_of(unlock, self.vault_id)


# Opening with the database's key needs none of what finds, changes or writes slots: methods import that.


def _in(folder: str, name: str) -> Path:
    from pathlib import Path  # opening never needs it, and it takes milliseconds

    return Path(folder, name)


def _locked(folder: str) -> FileLock:
    from quire.storage.files import FileLock

    return FileLock(_in(folder, LOCK_NAME))


def _replace(folder: str, encoded: bytes) -> None:
    from quire.storage.files import replace_file

    replace_file(_in(folder, FILE_NAME), encoded)


_SlotList = list[Slot]  # inside the class, `list` is the method


def _read(folder: str, name: str = FILE_NAME, whole: bool = True) -> slots_file.SlotsFile:
    """The file; `whole` if what stands in the slots is read too, and not only when it is asked for."""
    path = os.path.join(folder, name)
    try:
        with open(path, "rb") as file:
            encoded = file.read(slots_file.FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        message = "the vault's key slots are missing"
        raise StorageError(message, rule="slots_missing", hint=_RESTORE_HINT, path=path) from None
    except OSError as error:
        message = f"cannot read the key slots: {error.strerror}"
        hint = "check the permissions of the vault's folder"
        raise StorageError(message, rule="slots_unreadable", hint=hint, path=path) from error
    try:
        found = slots_file.read_slots(encoded)
        if whole:
            _ = found.body
        return found
    except MalformedError as error:
        if error.rule == "slots_version":
            message = "the key slots were written by a newer Quire"
            raise SchemaError(message, rule="slots_newer", hint="upgrade Quire", path=path) from error
        raise _damaged(error, path) from error


def _damaged(error: MalformedError, path: str) -> CorruptError:
    message = "the key slots are not the bytes that were written"
    return CorruptError(message, rule="slots_damaged", hint=_RESTORE_HINT, path=path, clause=error.rule)


def _open_sealed(sealed: bytes, seed: bytes, body: form.SlotsBody, slot: form.SlotRecord) -> DatabaseKey:
    from quire.core.crypto.slots import open_key

    try:
        return open_key(sealed, seed, body.vault_id, slot.id)
    except MalformedError as error:
        raise _forged() from error


def _forged() -> CorruptError:
    return CorruptError(
        "the key slots were written by someone without this vault's key",
        rule="slots_forged",
        hint="if the key was changed just now, open the vault again; else " + _RESTORE_HINT,
    )


def _rekey_unfinished() -> UsageError:
    message = "a change of the database key is not finished"
    return UsageError(message, rule="rekey_unfinished", hint="open the vault again: that decides it")


def _is_inside(path: str, folder: str) -> bool:
    from pathlib import Path

    return Path(path).resolve().is_relative_to(Path(folder).resolve())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
