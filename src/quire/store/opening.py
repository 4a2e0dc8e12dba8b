"""Opening a vault's files: the slots, and the database under the key that they give.

Both belong together, and each is checked against the other. A change of key that was interrupted is completed or undone here.
"""

from __future__ import annotations

import os

from quire.core.crypto.secrets import DatabaseKey, Unlock
from quire.errors import CorruptError, NotFoundError, StorageError
from quire.storage import schema
from quire.storage.database import Database
from quire.storage.keyslots import KeySlots
from quire.storage.meta import get_meta, set_meta

FILE_NAME = "vault.db"


def opened(folder: str, unlock: Unlock, *, read_only: bool, vfs: str | None) -> tuple[KeySlots, Database]:
    """A vault's slots and its database.

    Raises: NotFoundError(rule="no_vault"), UnlockError, CorruptError, SchemaError, StorageError.
    """
    file = os.path.join(folder, FILE_NAME)
    if not _exists(os.path.join(folder, "slots")) and not _exists(file):
        raise NotFoundError(f"there is no vault in {folder}", rule="no_vault", hint="`quire init` makes one")
    slots, key = KeySlots.open(folder, unlock)
    try:
        if not _exists(file):
            raise CorruptError(
                f"{file} is missing",
                rule="database_missing",
                hint="restore it from the backup that has these slots",
            )
        database = _open_database(file, slots, key, read_only, vfs)
        try:
            _check_slots(database, slots)
        except BaseException:
            database.close()
            raise
    except BaseException:
        slots.close()
        raise
    return slots, database


def _open_database(
    file: str, slots: KeySlots, key: DatabaseKey, read_only: bool, vfs: str | None
) -> Database:
    """The database under its key; a rekey that was interrupted is completed or undone."""
    database = Database(file, key, read_only=read_only, vfs=vfs)
    try:
        found = schema.check(database.reader)
        if slots.rekeying:
            slots.abort_rekey()
    except CorruptError as error:
        database.close()
        if error.rule != "not_a_vault" or slots.next_key is None:
            raise
        database = Database(file, slots.next_key, read_only=read_only, vfs=vfs)
        found = schema.check(database.reader)
        slots.finish_rekey()
    if found < len(schema.MIGRATIONS) and not read_only:
        with database.transaction() as db:
            schema.migrate(db)
    return database


def _check_slots(database: Database, slots: KeySlots) -> None:
    """Slots and database belong together, and the newest slots seen are remembered (docs/spec/04-keys.md, 6)."""
    db = database.reader
    if bytes(get_meta(db, "vault_id")) != slots.vault_id:
        raise CorruptError(
            "the slots are of another vault", rule="slots_foreign", hint="restore both files from one backup"
        )
    if not database.read_only and slots.generation > (get_meta(db, "slots_generation") or 0):
        with database.transaction() as writer:
            set_meta(writer, "slots_generation", slots.generation)


def _exists(path: str) -> bool:
    try:
        os.stat(path)
        return True
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a path with NUL
        return False
    except OSError as error:
        raise StorageError(
            f"cannot look into {os.path.dirname(path)}: {error.strerror}",
            rule="folder_unreadable",
            hint="check its permissions",
        ) from error
