"""New folders: a new vault, one recovered, linked or restored. All appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from quire.core.control import Device
from quire.core.crypto import sealing
from quire.core.crypto.keys import (
    SigningKey,
    certify,
    consent_to,
    identity_key,
    recovery_public,
    recovery_seed,
)
from quire.core.crypto.secrets import DatabaseKey, RecoveryPhrase, Secret, Unlock
from quire.core.ids import DeviceId, IdentityId
from quire.core.welcome import open_welcome
from quire.errors import FullError, UsageError
from quire.storage import log, schema
from quire.storage.database import Database, fault, guarded
from quire.storage.files import beside, flush_folder
from quire.storage.keyslots import KeySlots
from quire.storage.meta import set_meta
from quire.store.ledger import Ledger
from quire.store.opening import FILE_NAME
from quire.store.wallclock import now_ms
from quire.store.witness import Witness

if TYPE_CHECKING:
    from quire.store.local import LocalStore


@guarded
def create_vault(folder: Path, unlock: Unlock) -> RecoveryPhrase:
    """Make a vault; its recovery phrase. Raises: UsageError(rule="vault_exists"), StorageError."""
    phrase = RecoveryPhrase.generate(os.urandom)
    device = NewDevice.by_identity(phrase)
    with new_folder(folder) as fresh:
        database, vault_id = _write_vault(fresh, device, [unlock, phrase])
        witness = Witness(fresh / FILE_NAME, vault_id)
        ledger = Ledger(database, device.own_key, device.signing, device.entry, witness)
        ledger.run(lambda db: ledger.create_channel(db, kind="self", name="self"))
        database.close()
    return phrase


@guarded
def create_recovered(folder: Path, unlock: Unlock, phrase: RecoveryPhrase, bundles: Sequence[Path]) -> None:
    """A new device of the person whose words these are: its vault appears when everything found is in it.

    bundles    files that any of our devices wrote, or somebody who shares a channel with us

    Raises: UsageError with rule "vault_exists", "file_unreadable", or "recovery_nothing".
    """
    from quire.store import group
    from quire.store.local import LocalStore
    from quire.store.unbundling import read_file

    device = NewDevice.by_identity(phrase)
    with new_folder(folder) as fresh:
        _write_vault(fresh, device, [unlock, phrase])[0].close()
        with LocalStore.open(fresh, unlock) as store:
            store.ledger.recovery_seed = recovery_seed(phrase)
            fault("recover_begun")
            for bundle in [*bundles, *bundles]:  # the self-channel in one may open what another holds
                read_file(store, bundle)
            _require_self_channel(store)
            fault("recover_read")
            ledger = store.ledger
            ledger.run(lambda db: group.add_own_device(ledger, db, ledger.entry))


@guarded
def create_linked(folder: Path, unlock: Unlock, device: NewDevice, welcome: bytes) -> None:
    """The vault of a device that another of the same person has certified.

    welcome    the self-channel's control log, sealed to this device (core/welcome.py)

    Raises: UsageError with rule "vault_exists" or "recovery_nothing"; MalformedError (the welcome).
    """
    from quire.store.local import LocalStore

    opened = open_welcome(welcome, device.sealing_seed.reveal())
    with new_folder(folder) as fresh:
        _write_vault(fresh, device, [unlock])[0].close()
        with LocalStore.open(fresh, unlock) as store:
            store.ingest(opened.commits)
            _require_self_channel(store)
            fault("link_read")


def _require_self_channel(store: LocalStore) -> None:
    if not log.has_self_channel(store.database.reader):
        raise UsageError(
            "nothing of yours was found there",
            rule="recovery_nothing",
            hint="take a bundle file that you, or somebody who shares a channel with you, wrote",
        )


class NewDevice:
    """The keys of a device that is being made."""

    def __init__(self, identity: IdentityId, signing: SigningKey, sealing_seed: Secret) -> None:
        self.identity = identity
        self.signing = signing
        self.sealing_seed = sealing_seed
        self.sealing = sealing.public_of(sealing_seed.reveal())
        self.certificate = b""
        self.recovery = b""

    @classmethod
    def uncertified(cls, identity: IdentityId) -> NewDevice:
        """One that nobody vouches for yet."""
        return cls(identity, SigningKey.generate(os.urandom), Secret(os.urandom(sealing.SEED_SIZE)))

    @classmethod
    def by_identity(cls, phrase: RecoveryPhrase) -> NewDevice:
        """One that the identity certifies itself."""
        device = cls.uncertified(IdentityId(identity_key(phrase).public))
        device.be_certified(phrase)
        return device

    def be_certified(self, phrase: RecoveryPhrase) -> None:
        """Be one of the identity's devices, by its own word."""
        now = now_ms()
        consent = consent_to(self.signing, self.identity, self.sealing, now)
        certificate = certify(
            identity_key(phrase), self.identity, DeviceId(self.signing.public), self.sealing, now, consent
        )
        self.certificate = certificate.encode()
        self.recovery = recovery_public(phrase)

    @property
    def own_key(self) -> str:
        return f"quire:{self.identity.hex()}"

    @property
    def entry(self) -> Device:
        return Device(self.certificate, self.sealing)


def _write_vault(fresh: Path, device: NewDevice, unlocks: list[Unlock]) -> tuple[Database, bytes]:
    """The files of a new vault, without any channel; the database, open, and the vault's id."""
    key, vault_id, created_ms = DatabaseKey.generate(os.urandom), os.urandom(16), now_ms()
    KeySlots.create(fresh, key, unlocks, vault_id=vault_id, now_ms=created_ms)
    return write_database(fresh, device, key, vault_id, created_ms), vault_id


def write_database(
    fresh: Path, device: NewDevice, key: DatabaseKey, vault_id: bytes, created_ms: int
) -> Database:
    """The database of a new vault, without any channel, open."""
    database = Database(fresh / FILE_NAME, key)
    empty = database.connect(create=True)
    empty.execute("PRAGMA journal_mode=WAL")  # writes the first page, which settles the page size
    empty.close()
    with database.transaction() as db:
        schema.migrate(db)
        for name, value in (
            ("vault_id", vault_id), ("device", device.signing.public), ("device_seed", device.signing.seed),
            ("sealing_seed", device.sealing_seed.reveal()), ("sealing", device.sealing),
            ("recovery", device.recovery), ("certificate", device.certificate), ("own_key", device.own_key),
            ("created_ms", created_ms),
        ):  # fmt: skip
            set_meta(db, name, value)
    return database


def ensure_free(folder: Path) -> None:
    """Raises: UsageError(rule="vault_exists") if anything is there but an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty", rule="vault_exists", hint="choose a new folder")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name only when all in it is written."""
    ensure_free(folder)
    made = ExitStack()
    with made:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            fresh = made.enter_context(beside(folder, folder=True))
            (fresh / FILE_NAME).touch(mode=0o600)  # SQLite would let everyone read it, and its WAL
        except OSError as error:
            raise FullError(
                f"cannot write {folder.parent}: {error.strerror}",
                rule="read_only",
                hint="choose another folder",
            ) from error
        yield fresh
        if folder.exists():
            folder.rmdir()
        fresh.rename(folder)
        flush_folder(folder.parent)
