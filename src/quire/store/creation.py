"""New folders: a new vault, and a backup of one. Both appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from quire.core.control import Device
from quire.core.crypto import sealing
from quire.core.crypto.keys import (
    DeviceCertificate,
    SigningKey,
    certify,
    consent_to,
    identity_key,
    recovery_public,
)
from quire.core.crypto.secrets import DatabaseKey, RecoveryPhrase, Unlock
from quire.core.ids import DeviceId, IdentityId
from quire.errors import FullError, StorageError, UsageError
from quire.storage import log, schema
from quire.storage.database import Database, guarded
from quire.storage.keyslots import KeySlots
from quire.store.ledger import Ledger, now_ms
from quire.store.witness import Witness

if TYPE_CHECKING:
    from quire.store.local import LocalStore, Progress

FILE_NAME = "vault.db"
BACKUP_PAGES = 2_048  # a step of a backup: 16 MiB


@guarded
def create_vault(folder: Path, unlock: Unlock) -> RecoveryPhrase:
    """Make a vault; its recovery phrase. Raises: UsageError(rule="vault_exists"), StorageError."""
    phrase = RecoveryPhrase.generate(os.urandom)
    with _NewFolder(folder) as fresh:
        identity = identity_key(phrase)
        device = SigningKey.generate(os.urandom)
        created_ms = now_ms()
        sealing_seed = os.urandom(sealing.SEED_SIZE)
        certificate = _certificate(identity, device, sealing_seed, created_ms).encode()
        key, vault_id = DatabaseKey.generate(os.urandom), os.urandom(16)
        KeySlots.create(fresh, key, [unlock, phrase], vault_id=vault_id, now_ms=created_ms)
        database = Database(fresh / FILE_NAME, key)
        empty = database.connect(create=True)
        empty.execute("PRAGMA journal_mode=WAL")  # writes the first page, which settles the page size
        empty.close()
        own_key = f"quire:{identity.public.hex()}"
        with database.transaction() as db:
            schema.migrate(db)
            for name, value in (
                ("vault_id", vault_id), ("device", device.public), ("device_seed", device.seed),
                ("sealing_seed", sealing_seed), ("sealing", sealing.public_of(sealing_seed)),
                ("recovery", recovery_public(phrase)),
                ("certificate", certificate), ("own_key", own_key), ("created_ms", created_ms),
            ):  # fmt: skip
                log.set_meta(db, name, value)
        entry = Device(certificate, sealing.public_of(sealing_seed))
        ledger = Ledger(database, own_key, device, entry, Witness(fresh / FILE_NAME, vault_id))
        ledger.run(lambda db: ledger.create_channel(db, kind="self", name="self"))
        database.close()
    return phrase


def _certificate(
    identity: SigningKey, device: SigningKey, sealing_seed: bytes, now_ms: int
) -> DeviceCertificate:
    """The first device's, by the identity itself."""
    who, public = IdentityId(identity.public), sealing.public_of(sealing_seed)
    consent = consent_to(device, who, public, now_ms)
    return certify(identity, who, DeviceId(device.public), public, now_ms, consent)


def write_backup(store: LocalStore, folder: Path, progress: Progress | None) -> None:
    """Copy a vault as of now and read every page of the copy (docs/decisions/0006-backup-device-key.md)."""
    with _NewFolder(folder) as fresh:
        target = Database(fresh / FILE_NAME, store.database.key)
        copy = target.connect(create=True)
        source = store.database.reader
        with copy.backup("main", source, "main") as steps:
            while not steps.done:
                steps.step(BACKUP_PAGES)
                if progress:
                    progress("copying", steps.page_count - steps.remaining, steps.page_count)
        answer = copy.execute("PRAGMA integrity_check(1)").fetchone()
        copy.close()
        if answer != ("ok",):
            raise StorageError("the backup does not read back", rule="backup_failed", hint="check both disks")
        shutil.copy(store.folder / "slots", fresh / "slots")  # with its mode
        target.close()


def ensure_free(folder: Path) -> None:
    """Raises: UsageError(rule="vault_exists") if anything is there but an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty", rule="vault_exists", hint="choose a new folder")


class _NewFolder:
    """A folder that appears under its name only when all in it is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fresh = folder.with_name(f".{folder.name}.{os.getpid()}.new")

    def __enter__(self) -> Path:
        ensure_free(self._folder)
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._fresh, ignore_errors=True)
            self._fresh.mkdir(mode=0o700)
            (self._fresh / FILE_NAME).touch(mode=0o600)  # SQLite would let everyone read it, and its WAL
        except OSError as error:
            raise FullError(
                f"cannot write {self._folder.parent}: {error.strerror}",
                rule="read_only",
                hint="choose another folder",
            ) from error
        return self._fresh

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            shutil.rmtree(self._fresh, ignore_errors=True)
            return
        if self._folder.exists():
            self._folder.rmdir()
        self._fresh.rename(self._folder)
        descriptor = os.open(self._folder.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
