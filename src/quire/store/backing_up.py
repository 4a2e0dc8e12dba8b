"""Writing a backup: what the vault's log holds and no pack covers yet, sealed and read back, then the manifest.

The log is append-only, so what is new is a difference of heights: nobody compares a million messages to say that a
thousand are new. A pack covers runs of logs and names the id of the last commit in each; one that is still as the vault
has it stays. One that holds what has been erased, pruned or moved since is written anew without it. Small packs of
earlier runs are joined when there are many, so their number grows with the logarithm of the runs.

Who reads the log and who packs, seals, writes and reads back work at once. A few packs are in memory, whatever the
history. Killed at any point, the backup is the one before; the packs that were written are taken over by the next run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from quire.core import limits
from quire.core.backup import (
    BackupKey,
    Kind,
    Manifest,
    PackBody,
    PackEntry,
    encode_body,
    open_manifest,
    open_pack,
    pack_name,
    seal_manifest,
    seal_pack,
)
from quire.core.crypto.slots import decode_slots
from quire.core.heights import count
from quire.core.reports import BackupReport
from quire.core.sealed_file import sealed_size
from quire.errors import CorruptError, MalformedError, StorageError, UnreachableError, UsageError
from quire.storage.backup_folder import ATTACHMENTS, MANIFESTS, PACKS, SLOTS, BackupFolder, pack_path
from quire.storage.cold import WHOLE, SegmentRow, segments
from quire.storage.database import fault
from quire.storage.runs import StoredCommit
from quire.store.backup_files import copy_in
from quire.store.backup_found import digest_of, entry_of, found, without_crowds
from quire.store.backup_packing import Holdings, bodies
from quire.store.backup_state import state_bodies
from quire.store.backup_supply import Source, Supply
from quire.store.wallclock import now_ms

if TYPE_CHECKING:
    from quire.store.local import LocalStore, Progress

IN_FLIGHT = 2  # packs between the reader and the disk
SLOTS_BYTES_MAX = 1 << 18


def back_up(
    store: LocalStore,
    folder: Path,
    progress: Progress | None = None,
    *,
    second: Path | None = None,
    reread: bool = False,
) -> BackupReport:
    """Bring the backup in `folder` up to date, or begin one there.

    second    another place, made the same afterwards
    reread    read back what earlier runs wrote, too, and write damaged packs anew

    Raises: UsageError (rule "not_a_backup", "backup_foreign", "backup_inside"), BusyError(rule="backup_running"),
    SchemaError(rule="backup_newer"), FullError, StorageError.
    """
    for place in (folder, *((second,) if second else ())):
        _require_place(store, place)
    target = BackupFolder(folder)
    with target.locked():
        report = _Run(store, target, progress, second, reread=reread).run()
    if second is not None:
        from quire.store.backup_copy import copy_backup

        other = BackupFolder(second)
        with other.locked():
            copied = copy_backup(target, other, BackupKey.of(store.database.key), progress)
        report = msgspec.structs.replace(report, second_bytes=copied)
    return report


def _require_place(store: LocalStore, folder: Path) -> None:
    """Raises: UsageError unless a backup of this vault may be in this folder."""
    if folder.resolve() == store.folder.resolve() or store.folder.resolve() in folder.resolve().parents:
        raise UsageError(
            "a backup inside the vault is lost with it", rule="backup_inside", hint="choose another disk"
        )
    target = BackupFolder(folder)
    if target.is_foreign:
        raise UsageError(
            f"{folder} is something else than a backup", rule="not_a_backup", hint="choose a new folder"
        )
    for name in SLOTS:
        try:
            found = decode_slots(target.read(name, SLOTS_BYTES_MAX)).body.vault_id
        except (CorruptError, MalformedError):
            continue  # it is written anew
        if found != store.slots.vault_id:
            raise UsageError(
                f"{folder} is a backup of another vault", rule="backup_foreign", hint="choose another folder"
            )


class _Run:
    """One run."""

    def __init__(
        self,
        store: LocalStore,
        folder: BackupFolder,
        progress: Progress | None,
        second: Path | None = None,
        *,
        reread: bool,
    ) -> None:
        self._store = store
        self._db = store.database.reader
        self._folder = folder
        self._key = BackupKey.of(store.database.key)
        self._progress = progress
        self._reread = reread
        self._written: list[PackEntry] = []
        self._done = self._total = 0  # commits
        self._away = self._taken_over = 0  # of them: out of reach; and those that packs had
        self._second = second
        self._going: list[PackEntry] = []  # packs that do not stay
        self._supply = Supply(self._key, self._sources)

    def _fill(self, prefix: bytes, one: StoredCommit) -> StoredCommit | None:
        """A commit that the vault cannot read whole, out of a pack."""
        filled = self._supply.filled(prefix, one)
        if filled is None:
            self._away += 1
        else:
            self._taken_over += 1
        return filled

    def _sources(self) -> Iterator[Source]:
        for entry in self._going:
            yield self._folder, entry
        if self._second is not None:
            other = BackupFolder(self._second)
            for entry in found(other, self._key).packs:
                yield other, entry

    def _segments_away(self) -> list[SegmentRow]:
        blocks = self._store.database.blocks
        return [row for row in segments(self._db) if row.state == WHOLE and not blocks.is_reachable(row)]

    def _refuse(self, away: list[SegmentRow]) -> UnreachableError:
        """What a backup of another key holds would go, and cannot be had anew."""
        return UnreachableError(
            "what is archived is not all at hand, and the backup there is under a key that was changed since:"
            " what it holds of it would go",
            rule="archive_unreachable",
            hint="connect the archive's disk, or choose a new folder and keep this one",
            places=self._places(away),
        )

    def _places(self, away: list[SegmentRow]) -> tuple[str, ...]:
        return tuple(sorted({self._store.database.blocks.folder(row) for row in away}))

    def run(self) -> BackupReport:
        earlier = found(self._folder, self._key)
        others = [found(BackupFolder(self._second), self._key)] if self._second is not None else []
        locked_out = any(one.locked_out for one in (earlier, *others))
        if locked_out and (away := self._segments_away()):
            raise self._refuse(away)
        with self._store.database.snapshot() as db:
            vault = Holdings(db)
        kept: list[PackEntry] = []
        stale = damaged = 0
        there = self._folder.names(PACKS)
        for entry in earlier.packs:
            if entry.name not in there or not self._is_whole(entry):
                damaged += 1
            elif entry.kind == Kind.STATE or vault.agrees(entry):
                kept.append(entry)
            else:
                stale += 1
        kept = without_crowds(kept)
        stays = {entry.name for entry in kept}
        self._going = [entry for entry in earlier.packs if entry.name in there and entry.name not in stays]
        state, kept = (
            self._state([entry for entry in kept if entry.kind == Kind.STATE]),
            [entry for entry in kept if entry.kind != Kind.STATE],
        )
        todo = {kind: vault.uncovered(kind, kept) for kind in (Kind.CONTROL, Kind.CONTENT)}
        self._total = sum(count(spans) for of in todo.values() for _, spans in of)
        self._write(bodies(self._db, kind, runs, vault.owed, self._fill) for kind, runs in todo.items())
        away = self._segments_away() if self._away else []
        if locked_out and self._away:  # a disk was taken away meanwhile, or a file is damaged
            raise self._refuse(away)
        copied = copy_in(self._store, self._folder, self._progress, reread=self._reread)
        self._bytes_written += copied.bytes_written
        files = tuple(copied.entries)
        packs = (*state, *kept, *self._written)
        self._finish(Manifest(
            self._store.slots.vault_id, now_ms(), earlier.runs + 1, packs, files,
            tuple(vault.logs), tuple(vault.channels),
        ))  # fmt: skip
        freed = self._folder.keep_only(PACKS, {entry.name for entry in packs})
        freed += self._folder.keep_only(ATTACHMENTS, {entry.name for entry in files})
        return BackupReport(
            packs_written=self._packs_written,
            bytes_written=self._bytes_written,
            commits=self._total - self._away,
            away=self._away,
            taken_over=self._taken_over,
            places=self._places(away),
            packs=len(packs),
            files=len(files),
            bytes=sum(entry.size for entry in packs) + sum(sealed_size(entry.size) for entry in files),
            unreadable=copied.unreadable,
            rewritten=stale,
            damaged=damaged,
            freed=freed,
            anew=earlier.anew,
            rebuilt=earlier.rebuilt,
        )

    def _is_whole(self, entry: PackEntry) -> bool:
        path = pack_path(entry.name)
        if self._reread:
            return self._folder.digest(path) == entry.name
        return self._folder.size(path) == entry.size

    # Packs

    _packs_written = _bytes_written = 0

    def _state(self, known: list[PackEntry]) -> list[PackEntry]:
        """The packs of what is in no log; those that say the same already stay."""
        by_plain = {entry.plain: entry for entry in known}
        entries = []
        for body in state_bodies(self._store):
            plain = encode_body(body)
            entry = by_plain.get(digest_of(plain))
            entries.append(entry or self._put(body))
        return entries

    def _write(self, parts: Iterable[Iterator[PackBody]]) -> None:
        """Read, pack and write at once, a few packs ahead."""
        with ThreadPoolExecutor(1, "quire-backup") as pool:
            waiting: list[Future[PackEntry]] = []
            try:
                for part in parts:
                    for body in part:
                        waiting.append(pool.submit(self._put, body))
                        if len(waiting) > IN_FLIGHT:
                            self._take(waiting.pop(0))
                while waiting:
                    self._take(waiting.pop(0))
            except BaseException:
                for one in waiting:
                    one.cancel()
                raise

    def _take(self, done: Future[PackEntry]) -> None:
        entry = done.result()
        self._written.append(entry)
        self._done += entry.count
        fault("backup_pack")
        if self._progress:
            self._progress("packing", self._done, self._total)

    def _put(self, body: PackBody) -> PackEntry:
        """Seal a pack, write it, and read it back from the disk; its line in the manifest."""
        plain = encode_body(body)
        sealed = seal_pack(plain, self._key, os.urandom)
        name = pack_name(sealed)
        self._folder.put(pack_path(name), sealed)
        if open_pack(sealed, self._key) != body:  # what is on the disk is `sealed`: does it open, too?
            raise StorageError("a pack does not open again", rule="backup_failed", hint="check this machine")
        self._packs_written += 1
        self._bytes_written += len(sealed)
        return entry_of(name, sealed, body, plain)

    def _finish(self, manifest: Manifest) -> None:
        """Slots and manifest: from here on this is the backup."""
        fault("backup_packed")
        try:
            with open(self._store.folder / "slots", "rb") as file:
                slots = file.read(SLOTS_BYTES_MAX)
        except FileNotFoundError:
            slots = b""  # a vault that opens by its raw key alone
        for name in SLOTS if slots else ():
            if self._folder.size(name) != len(slots) or self._folder.digest(name) != digest_of(slots):
                self._folder.put(name, slots)
                self._bytes_written += len(slots)
        sealed = seal_manifest(manifest, self._key, os.urandom)
        if len(sealed) > limits.BACKUP_MANIFEST_BYTES_MAX:
            raise StorageError("there is too much for one backup", rule="backup_too_large")
        if open_manifest(sealed, self._key) != manifest:
            raise StorageError(
                "the manifest does not open again", rule="backup_failed", hint="check this machine"
            )
        fault("backup_manifest")
        for name in MANIFESTS:
            self._folder.put(name, sealed)
            self._bytes_written += len(sealed)
        fault("backup_named")
