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

import apsw
import msgspec

from quire.core import limits
from quire.core.backup import (
    Away,
    BackupKey,
    ChannelEntry,
    Kind,
    LogEntry,
    Manifest,
    PackBody,
    PackEntry,
    PackSpan,
    encode_body,
    open_manifest,
    open_pack,
    pack_name,
    seal_manifest,
    seal_pack,
)
from quire.core.commit import commit_id, decode_head, encode_commit, with_holes
from quire.core.crypto.slots import decode_slots
from quire.core.heights import Span, count, joined, lacking
from quire.core.sealed_file import sealed_size
from quire.core.views import BackupReport
from quire.errors import CorruptError, MalformedError, SchemaError, StorageError, UsageError
from quire.storage import erasures, heights, log
from quire.storage.backup_folder import ATTACHMENTS, MANIFESTS, PACKS, SLOTS, BackupFolder, pack_path
from quire.storage.database import fault
from quire.storage.erasures import LET_GO
from quire.storage.runs import StoredCommit, control_seqs, holes_digest, holes_in, run, stored
from quire.store.backup_files import copy_in
from quire.store.backup_state import state_bodies
from quire.store.ledger import now_ms

if TYPE_CHECKING:
    from quire.store.local import LocalStore, Progress

PACK_BYTES = 4 << 20  # encoded commits of one pack: 20,000 messages, and what a restore decides at once
SMALL_BYTES = (32 << 10, 256 << 10)  # sealed packs below these sizes are joined …
SMALL_COUNT = 8  # … when so many are in one class: a later run so writes 2 MiB at most for them
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
        report = _Run(store, target, progress, reread=reread).run()
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


class _Found(msgspec.Struct):
    """What an earlier run left."""

    packs: list[PackEntry]
    runs: int
    anew: str  # why nothing of it counts: "new", "key" (the vault's key was changed), or ""
    rebuilt: bool = False  # the manifest was lost or damaged, and the packs said what they are


class _Run:
    """One run."""

    def __init__(
        self, store: LocalStore, folder: BackupFolder, progress: Progress | None, *, reread: bool
    ) -> None:
        self._store = store
        self._db = store.database.reader
        self._folder = folder
        self._key = BackupKey.of(store.database.key)
        self._progress = progress
        self._reread = reread
        self._written: list[PackEntry] = []
        self._done = self._total = 0  # commits

    def run(self) -> BackupReport:
        found = _found(self._folder, self._key)
        with self._store.database.snapshot() as db:
            vault = _Vault(db)
        kept: list[PackEntry] = []
        stale = damaged = 0
        there = self._folder.names(PACKS)
        for entry in found.packs:
            if entry.name not in there or not self._is_whole(entry):
                damaged += 1
            elif entry.kind == Kind.STATE or vault.agrees(entry):
                kept.append(entry)
            else:
                stale += 1
        kept = _without_crowds(kept)
        state, kept = (
            self._state([entry for entry in kept if entry.kind == Kind.STATE]),
            [entry for entry in kept if entry.kind != Kind.STATE],
        )
        todo = {kind: vault.uncovered(kind, kept) for kind in (Kind.CONTROL, Kind.CONTENT)}
        self._total = sum(count(spans) for of in todo.values() for _, spans in of)
        self._write(bodies(self._db, kind, runs) for kind, runs in todo.items())
        copied = copy_in(self._store, self._folder, self._progress, reread=self._reread)
        self._bytes_written += copied.bytes_written
        files = tuple(copied.entries)
        packs = (*state, *kept, *self._written)
        self._finish(Manifest(
            self._store.slots.vault_id, now_ms(), found.runs + 1, packs, files,
            tuple(vault.logs), tuple(vault.channels),
        ))  # fmt: skip
        freed = self._folder.keep_only(PACKS, {entry.name for entry in packs})
        freed += self._folder.keep_only(ATTACHMENTS, {entry.name for entry in files})
        return BackupReport(
            packs_written=self._packs_written,
            bytes_written=self._bytes_written,
            commits=self._total,
            packs=len(packs),
            files=len(files),
            bytes=sum(entry.size for entry in packs) + sum(sealed_size(entry.size) for entry in files),
            unreadable=copied.unreadable,
            rewritten=stale,
            damaged=damaged,
            freed=freed,
            anew=found.anew,
            rebuilt=found.rebuilt,
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
            entry = by_plain.get(_digest(plain))
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
            if self._folder.size(name) != len(slots) or self._folder.digest(name) != _digest(slots):
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


class _Vault:
    """What the vault holds, by log, at one moment."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.rows = {row.prefix: row for row in log.logs(db)}
        control = control_seqs(db)
        self._runs: dict[tuple[int, bytes], list[Span]] = {}
        for prefix, row in self.rows.items():
            here = stored(db, row)
            self._runs[Kind.CONTROL, prefix] = control.get(prefix, [])
            self._runs[Kind.CONTENT, prefix] = lacking(here, control.get(prefix, []))
        self._has_holes = erasures.any_here(db)
        channels = log.all_channels(db)
        ids = {row.n: row.id for row in channels}
        self.logs = [LogEntry(prefix, ids[row.channel]) for prefix, row in self.rows.items()]
        self.channels = [ChannelEntry(row.id, row.name, row.messages) for row in channels]

    def agrees(self, entry: PackEntry) -> bool:
        """Is all that a pack holds still here, and just so?"""
        if not all(self._has(entry.kind, span) for span in entry.spans):
            return False
        if entry.kind == Kind.CONTROL or not (entry.holes or self._has_holes):
            return True
        found = (
            one for span in entry.spans for one in holes_in(self._db, span.prefix, span.first, span.last)
        )
        return holes_digest(found) == entry.holes

    def _has(self, kind: int, span: PackSpan) -> bool:
        row = self.rows.get(span.prefix)
        runs = self._runs.get((kind, span.prefix), ())
        if row is None or lacking([(span.first, span.last)], runs):
            return False
        return heights.id_at(self._db, row.n, span.last) == span.end

    def uncovered(self, kind: Kind, packs: Iterable[PackEntry]) -> list[tuple[log.LogRow, list[Span]]]:
        """What no pack covers, by log."""
        covered: dict[bytes, list[Span]] = {}
        for entry in packs:
            for span in entry.spans if entry.kind == kind else ():
                covered.setdefault(span.prefix, []).append((span.first, span.last))
        found = []
        for prefix, row in self.rows.items():
            if spans := lacking(self._runs[kind, prefix], joined(covered.get(prefix, ()))):
                found.append((row, spans))
        return found


def bodies(
    db: apsw.Connection, kind: Kind, runs: Iterable[tuple[log.LogRow, list[Span]]]
) -> Iterator[PackBody]:
    """Packs of these runs of logs, each filled before the next is begun."""
    filling = _Filling(kind)
    for row, wanted in runs:
        for first, last in wanted:
            begun = first
            while begun <= last:
                head, seq = b"", last
                for one in run(db, row, begun, last):
                    head = one.head
                    filling.add(row.prefix, one)
                    if filling.size >= PACK_BYTES:
                        seq = one.seq
                        break
                if head:
                    filling.end(PackSpan(row.prefix, begun, seq, commit_id(head)), decode_head(head).time)
                begun = seq + 1
                if filling.size >= PACK_BYTES:
                    yield filling.body()
                    filling = _Filling(kind)
    if filling.size:
        yield filling.body()


class _Filling:
    """A pack to be."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._spans: list[PackSpan] = []
        self._items: list[bytes] = []
        self._holes: list[tuple[bytes, int]] = []
        self._away: list[Away] = []
        self._newest = 0
        self.size = 0

    def add(self, prefix: bytes, one: StoredCommit) -> None:
        encoded = encode_commit(with_holes(one.head, one.signature, one.entries, one.holes))
        if one.holes:
            place = prefix + one.seq.to_bytes(4, "big")
            self._holes += [(place + at.to_bytes(2, "big"), why) for at, why in one.holes.items()]
            if any(why in LET_GO for why in one.holes.values()):
                self._away.append(Away(len(self._items), bytes(one.holes.values())))
        self._items.append(encoded)
        self.size += len(encoded)

    def end(self, span: PackSpan, time: int) -> None:
        self._spans.append(span)
        self._newest = max(self._newest, time)

    def body(self) -> PackBody:
        holes = holes_digest(self._holes)
        return PackBody(
            self._kind, self._newest, holes, tuple(self._spans), tuple(self._items), tuple(self._away)
        )


def entry_of(name: bytes, sealed: bytes, body: PackBody, plain: bytes = b"") -> PackEntry:
    """A pack's line in the manifest."""
    digest = _digest(plain or encode_body(body))
    return PackEntry(
        name, len(sealed), body.kind, body.newest, body.holes, len(body.items), digest, body.spans
    )


def _digest(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).digest()


def _without_crowds(packs: list[PackEntry]) -> list[PackEntry]:
    """The packs that stay: where many are small, they are written anew as one."""
    for low, high in zip((0, *SMALL_BYTES), SMALL_BYTES, strict=False):
        for kind in (Kind.CONTROL, Kind.CONTENT):
            small = [entry for entry in packs if entry.kind == kind and low <= entry.size < high]
            if len(small) >= SMALL_COUNT:
                packs = [entry for entry in packs if entry not in small]
    return packs


def _found(folder: BackupFolder, key: BackupKey) -> _Found:
    """What earlier runs left: what the manifest names, and packs of a run that was killed before it was written.

    Raises: SchemaError(rule="backup_newer").
    """
    manifest, rules = read_manifest(folder, key)
    if "manifest_version" in rules:
        raise SchemaError(
            "this backup was written by a newer Quire",
            rule="backup_newer",
            hint="upgrade Quire, or choose a new folder",
        )
    if manifest is None and "manifest_open" in rules:
        return _Found([], 0, "key")
    packs = list(manifest.packs) if manifest else []
    named = {entry.name for entry in packs}
    taken = [
        entry for name in sorted(folder.names(PACKS) - named) if (entry := _taken_over(folder, name, key))
    ]
    packs += _disjoint(packs, taken)
    is_rebuilt = manifest is None and rules != {"backup_file_missing"}
    return _Found(packs, manifest.runs if manifest else 0, "" if packs else "new", is_rebuilt)


def read_manifest(folder: BackupFolder, key: BackupKey) -> tuple[Manifest | None, set[str]]:
    """The manifest, from whichever of its two copies is whole; and what is wrong with the others."""
    rules: set[str] = set()
    for name in MANIFESTS:
        try:
            return open_manifest(folder.read(name, limits.BACKUP_MANIFEST_BYTES_MAX), key), rules
        except (MalformedError, CorruptError) as error:
            rules.add(error.rule)
    return None, rules


def _taken_over(folder: BackupFolder, name: bytes, key: BackupKey) -> PackEntry | None:
    """The line of a pack that no manifest names, if it is whole and of this vault."""
    try:
        sealed = folder.read(pack_path(name), limits.BACKUP_PACK_BYTES_MAX)
        body = open_pack(sealed, key) if pack_name(sealed) == name else None
    except (MalformedError, CorruptError):
        return None
    return None if body is None else entry_of(name, sealed, body)


def _disjoint(packs: list[PackEntry], more: list[PackEntry]) -> list[PackEntry]:
    """Those of `more` that cover nothing that is covered."""
    covered: dict[tuple[int, bytes], list[Span]] = {}
    for entry in packs:
        for span in entry.spans:
            covered.setdefault((entry.kind, span.prefix), []).append((span.first, span.last))
    found = []
    for entry in more:
        runs = [((entry.kind, span.prefix), (span.first, span.last)) for span in entry.spans]
        if all(lacking([one], covered.get(of, ())) == [one] for of, one in runs):
            found.append(entry)
            for of, one in runs:
                covered.setdefault(of, []).append(one)
    return found
