"""A new device from a backup: keys and control commits first, then the newest page, then the rest, newest first.

The vault appears under its name with its first page in it; what is older follows in packs, each of which is taken whole
or not at all, so a restore that was killed goes on where it was, by what is there (`RESTORING` says that there is more).
Commits are taken as from any stranger: checked, each in its place. Nothing is believed because a backup says it.

The new device has keys of its own, and none of the old one's. With the 24 words it is certified at once. Without them it
reads everything and writes nothing, until the words are given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from quire.core.backup import (
    FileEntry,
    Kind,
    OwnerItem,
    PackBody,
    PackEntry,
    ParkedItem,
    StateItem,
    decode_state,
)
from quire.core.commit import holes_of, peek_commit
from quire.core.control import Device
from quire.core.crypto.keys import SigningKey, identity_key, recovery_seed
from quire.core.crypto.secrets import DatabaseKey, Keyring, RawKey, RecoveryPhrase, Secret, Unlock
from quire.core.heights import lacking, present
from quire.core.ids import DeviceId, IdentityId, Incarnation, log_prefix, message_id
from quire.core.reports import BackupProblem, RestoreReport
from quire.errors import CorruptError, StorageError, UsageError
from quire.storage import heights, log
from quire.storage.backup_folder import ATTACHMENTS, PACKS
from quire.storage.database import fault, guarded
from quire.storage.keyslots import KeySlots
from quire.storage.meta import get_meta, set_meta
from quire.store import group
from quire.store.arrivals import Prepared, prepare
from quire.store.backup_files import copy_out
from quire.store.backup_reading import Backup, damaged_file, open_backup, require_whole
from quire.store.backup_state import put_here, put_settings, put_state
from quire.store.creation import NewDevice, new_folder, write_database
from quire.store.erasing import say_let_go
from quire.store.ingest import take
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.local import LocalStore, Progress

RESTORING = "restoring"  # meta: there is more in the backup
PAGE_COMMITS = 400  # what is taken before the vault appears: a first page with its edits and reactions
BATCH_BYTES = 2 << 20  # commits in one transaction
CACHE_KIB = 56 << 10  # of the database: 200 MB in all, whatever the history
PASSES_MAX = 16  # over the control packs: what one names may be in another


@guarded
def restore(
    backup_folder: Path,
    folder: Path,
    unlock: Unlock,
    *,
    phrase: RecoveryPhrase | None = None,
    damaged: bool = False,
    progress: Progress | None = None,
) -> RestoreReport:
    """Make a vault of a backup, or go on with one that was begun; see `LocalStore.restore`."""
    backup = open_backup(backup_folder, unlock)
    if not damaged:
        require_whole(backup)
    work = _Restore(backup, damaged=damaged, progress=progress)
    if _is_vault(folder):
        return work.go_on(folder, unlock, phrase)
    return work.begin(folder, unlock, phrase)


def _is_vault(folder: Path) -> bool:
    return (folder / "vault.db").exists()


class _Restore:
    """One run of a restore."""

    def __init__(self, backup: Backup, *, damaged: bool, progress: Progress | None) -> None:
        self._backup = backup
        self._damaged = damaged
        self._progress = progress
        entries = backup.entries()
        self._entries = {kind: [one for one in entries if one.kind == kind] for kind in Kind}
        self._entries[Kind.CONTENT].sort(key=lambda one: one.newest, reverse=True)
        self._new = self._refused = 0
        self._rules: dict[str, int] = {}
        self._lost: list[PackEntry] = []
        self._away: list[PackBody] = []  # whose holes are still to be told apart

    def begin(self, folder: Path, unlock: Unlock, phrase: RecoveryPhrase | None) -> RestoreReport:
        from quire.store.local import LocalStore

        state = list(self._state())
        owner = _owner(state)
        device = NewDevice.uncertified(_identity(owner.identity if owner else None, phrase))
        device.recovery = owner.recovery if owner else b""
        if phrase is not None:
            device.be_certified(phrase)
        with new_folder(folder) as fresh:
            key = self._write_vault(fresh, device, unlock)
            with LocalStore.open(fresh, RawKey(key)) as store:
                self._take_people(store, state, phrase)
                self._take_page(store)
                fault("restore_page")
        fault("restore_appeared")
        with LocalStore.open(folder, RawKey(key)) as store:
            return self._take_rest(store)

    def go_on(self, folder: Path, unlock: Unlock, phrase: RecoveryPhrase | None) -> RestoreReport:
        """With what was interrupted, or with the certificate of what was restored without the words."""
        from quire.store.local import LocalStore

        with LocalStore.open(folder, unlock) as store:
            is_unfinished = get_meta(store.database.reader, RESTORING) is not None
            wants_certificate = phrase is not None and not store.ledger.is_certified
            if not (is_unfinished or wants_certificate):
                raise UsageError(
                    f"{folder} is a vault already", rule="vault_exists", hint="choose a new folder"
                )
            owner = _owner(self._state())
            if owner is not None and store.own_key != f"quire:{owner.identity.hex()}":
                raise UsageError(
                    f"{folder} is another person's", rule="backup_foreign", hint="choose a new folder"
                )
            if wants_certificate:
                assert phrase is not None
                certify(store, phrase)
            return self._take_rest(store)

    def _write_vault(self, fresh: Path, device: NewDevice, unlock: Unlock) -> DatabaseKey:
        """The new vault's files: it opens with all that opens the backup."""
        vault_id, slots = os.urandom(16), self._backup.slots
        is_raw = isinstance(unlock, RawKey)
        key = unlock.key if isinstance(unlock, RawKey) and slots is None else DatabaseKey.generate(os.urandom)
        if slots is not None:
            moved = KeySlots.create_moved(fresh, key, slots, vault_id=vault_id)
            if isinstance(unlock, Keyring):
                moved.add(unlock)
        elif is_raw:
            KeySlots.create(fresh, key, [unlock], vault_id=vault_id, now_ms=now_ms())
        write_database(fresh, device, key, vault_id, now_ms()).close()
        return key

    # What is in the packs

    def _state(self) -> Iterator[StateItem]:
        for entry in self._entries[Kind.STATE]:
            for item in (self._body(entry) or _EMPTY).items:
                yield decode_state(item)

    def _body(self, entry: PackEntry) -> PackBody | None:
        """A pack's body; None if it is lost and that is accepted."""
        try:
            return self._backup.pack(entry)
        except StorageError as error:
            if not self._damaged or error.rule not in ("backup_damaged", "backup_newer"):
                raise
            self._lost.append(entry)
            return None

    def _take_people(
        self, store: LocalStore, state: Sequence[StateItem], phrase: RecoveryPhrase | None
    ) -> None:
        """Keys, then who is in which channel, then this device."""
        ledger = store.ledger
        if phrase is not None:
            ledger.recovery_seed = recovery_seed(phrase)

        def begin(db: apsw.Connection) -> None:
            put_state(db, state)
            set_meta(db, RESTORING, 1)

        ledger.run(begin)
        for _ in range(PASSES_MAX):
            before, self._refused, self._rules = self._new, 0, {}
            for entry in self._entries[Kind.CONTROL]:
                for batch in _batches((self._body(entry) or _EMPTY).items):
                    self._take(store, prepare(store.database.reader, batch))
            if self._new == before or not self._refused:
                break
        if not log.has_self_channel(store.database.reader):
            raise CorruptError(
                "the beginning of your own channel is lost",
                rule="backup_self_lost",
                hint="`quire recover` makes a device of the words and a bundle or a relay",
            )
        fault("restore_people")
        if phrase is not None:
            ledger.run(lambda db: group.add_own_device(ledger, db, ledger.entry))
        ledger.run(lambda db: put_here(db, state))
        waiting = [one.encoded for one in state if isinstance(one, ParkedItem)]
        if waiting:
            self._take(store, prepare(store.database.reader, waiting))

    def _take_page(self, store: LocalStore) -> None:
        """The newest of what was said."""
        for entry in self._entries[Kind.CONTENT]:
            body = self._body(entry)
            if body is not None:
                self._take(store, prepare(store.database.reader, _page(body)))
                return

    def _take_rest(self, store: LocalStore) -> RestoreReport:
        """Everything that is not here yet, the newest first; the next batch is looked at while the disk takes one."""
        entries = self._entries[Kind.CONTENT]
        total, done = sum(entry.count for entry in entries), 0
        with store.database.bulk(CACHE_KIB):
            following: list[Prepared | None] = []
            batches = self._rest(store, entries)
            one = next(batches, None)
            while one is not None:
                away, self._away = self._away, []  # of packs that were taken whole
                self._take(store, one, lambda: following.append(next(batches, None)))
                for body in away:
                    _say_away(store, body)
                done = min(total, done + one.count)
                if self._progress:
                    self._progress("restoring", done, total)
                one = following.pop() if following else next(batches, None)
            for body in self._away:
                _say_away(store, body)
        for done, file in enumerate(self._backup.files(), start=1):
            self._take_file(store, file)
            if self._progress:
                self._progress("restoring attachments", done, len(self._backup.files()))
        fault("restore_rest")
        state = list(self._state())

        def end(db: apsw.Connection) -> None:
            put_settings(db, state)
            db.execute("DELETE FROM meta WHERE key = ?", (RESTORING,))

        store.ledger.run(end)
        return self._report(store)

    def _take_file(self, store: LocalStore, file: FileEntry) -> None:
        try:
            copy_out(store, self._backup.folder, file)
        except CorruptError as error:
            if not self._damaged:
                raise damaged_file(file) from error
            self._backup.note_file(file, error.rule)

    def _rest(self, store: LocalStore, entries: Sequence[PackEntry]) -> Iterator[Prepared]:
        db = store.database.reader
        for entry in entries:
            if _is_here(db, entry):
                continue
            body = self._body(entry)
            for batch in _batches(body.items, backwards=True) if body else ():
                yield prepare(db, batch)
            if body and body.away:
                self._away.append(body)

    def _take(self, store: LocalStore, given: Prepared, meanwhile: object = None) -> None:
        report = take(store, given, meanwhile)  # type: ignore[arg-type]
        self._new += report.new
        self._refused += len(report.refused)
        for one in report.refused:
            self._rules[one.error.rule] = self._rules.get(one.error.rule, 0) + 1
        fault("restore_batch")

    def _report(self, store: LocalStore) -> RestoreReport:
        channels = log.channels(store.database.reader)
        lost = tuple(
            problem for problem in self._backup.problems if problem.file.startswith((PACKS, ATTACHMENTS))
        )
        return RestoreReport(
            channels=len(channels),
            messages=sum(row.messages for row in channels),
            commits=self._new,
            refused=self._refused,
            rules=self._rules,
            certified=store.ledger.is_certified,
            lost=lost,
        )


_EMPTY = PackBody(Kind.STATE, 0, b"", (), ())


def _owner(state: Iterable[StateItem]) -> OwnerItem | None:
    return next((one for one in state if isinstance(one, OwnerItem)), None)


def _page(body: PackBody) -> list[bytes]:
    """The newest commits of a pack: the last ones of its logs, of the log that was written to last the most."""
    runs: list[tuple[int, list[bytes]]] = []
    at = 0
    for span in body.spans:
        some = body.items[at : at + span.last - span.first + 1]
        at += len(some)
        if some:
            runs.append((peek_commit(some[-1])[1].time, list(some[-PAGE_COMMITS:])))
    page: list[bytes] = []
    for _, newest in sorted(runs, reverse=True):
        page += newest
        if len(page) >= PAGE_COMMITS:
            break
    return page


def _say_away(store: LocalStore, body: PackBody) -> None:
    """What retention had let go in the vault that was backed up stays gone, and is not asked for."""
    whys: dict[bytes, dict[bytes, int]] = {}  # by channel
    for one in body.away:
        commit, head = peek_commit(body.items[one.item])
        prefix = log_prefix(DeviceId(head.device), Incarnation(head.incarnation))
        found = whys.setdefault(head.channel, {})
        for at, why in zip(holes_of(commit), one.whys, strict=True):
            found[message_id(prefix, head.seq, at)] = why
    ledger = store.ledger

    def work(db: apsw.Connection) -> None:
        for id, found in whys.items():
            channel = log.channel_by_id(db, id)
            if channel is not None:
                say_let_go(db, ledger.applier, channel, found, now_ms())

    ledger.run(work)


def certify(store: LocalStore, phrase: RecoveryPhrase) -> None:
    """Make a restored device one of the person's, by the 24 words, in every channel.

    Raises: UsageError(rule="phrase_foreign").
    """
    db, ledger = store.database.reader, store.ledger
    identity = _identity(bytes.fromhex(store.own_key.partition(":")[2]), phrase)
    device = NewDevice(
        identity,
        SigningKey(bytes(get_meta(db, "device_seed"))),
        Secret(bytes(get_meta(db, "sealing_seed"))),
    )
    device.be_certified(phrase)
    ledger.recovery_seed = recovery_seed(phrase)

    def work(db: apsw.Connection) -> None:
        set_meta(db, "certificate", device.certificate)
        set_meta(db, "recovery", device.recovery)
        ledger.entry = device.entry
        group.add_own_device(ledger, db, device.entry)

    try:
        ledger.run(work)
    except BaseException:
        ledger.entry = Device(b"", device.sealing)
        raise


def _identity(owner: bytes | None, phrase: RecoveryPhrase | None) -> IdentityId:
    """Whose the backup is; the words must be theirs. Raises: UsageError(rule="phrase_foreign"), CorruptError."""
    given = identity_key(phrase).public if phrase is not None else owner
    if given is None:
        raise CorruptError(
            "the backup does not say any more whose it is",
            rule="backup_self_lost",
            hint="give the 24 words: --recovery",
        )
    if owner not in (None, given):
        raise UsageError(
            "these words are another person's", rule="phrase_foreign", hint="give those of the vault's owner"
        )
    return IdentityId(given)


def _is_here(db: apsw.Connection, entry: PackEntry) -> bool:
    """Has everything of a pack been taken already?"""
    for span in entry.spans:
        row = log.log_by_prefix(db, span.prefix)
        if row is None or lacking(
            [(span.first, span.last)], present(log.newest_commit(db, row.n)[0], heights.gaps(db, row.n))
        ):
            return False
    return True


def _batches(items: Sequence[bytes], *, backwards: bool = False) -> Iterator[list[bytes]]:
    """Commits in transactions' worths; backwards, the last ones first, each batch in order."""
    batch: list[bytes] = []
    size = 0
    for item in reversed(items) if backwards else items:
        batch.append(item)
        size += len(item)
        if size >= BATCH_BYTES:
            yield batch[::-1] if backwards else batch
            batch, size = [], 0
    if batch:
        yield batch[::-1] if backwards else batch


__all__ = ["RESTORING", "BackupProblem", "certify", "restore"]
