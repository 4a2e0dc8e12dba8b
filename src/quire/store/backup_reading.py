"""Reading a backup: what it says it has, what is there, and what is wrong with it, each thing by its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from quire.core import limits
from quire.core.backup import (
    BackupKey,
    FileEntry,
    Kind,
    Manifest,
    PackBody,
    PackEntry,
    encode_body,
    open_manifest,
    open_pack,
    pack_name,
)
from quire.core.crypto.secrets import DatabaseKey, RawKey, Unlock
from quire.core.crypto.slots import decode_slots
from quire.core.reports import BackupCheck, BackupProblem
from quire.core.sealed_file import sealed_size
from quire.errors import CorruptError, MalformedError, NotFoundError, SchemaError, StorageError
from quire.storage.backup_folder import DAMAGED_HINT, MANIFESTS, PACKS, SLOTS, BackupFolder, pack_path
from quire.storage.keyslots import KeySlots
from quire.store.backing_up import SLOTS_BYTES_MAX
from quire.store.backup_files import file_path, is_whole
from quire.store.backup_found import digest_of, entry_of

if TYPE_CHECKING:
    from quire.store.local import Progress

SAID = {
    "backup_file_missing": "it is missing",
    "manifest_size": "it is damaged or cut off",
    "manifest_checksum": "it is damaged or cut off",
    "manifest_magic": "its beginning is damaged",
    "manifest_version": "it was written by a newer Quire",
    "manifest_open": "it is of another vault, or of a key that was changed since",
    "file_damaged": "it is not what was written",
    "pack_cut": "it is cut off",
    "pack_damaged": "it is not what was written",
    "pack_version": "it was written by a newer Quire",
    "pack_open": "it is of another vault, or of a key that was changed since",
}


class Backup:
    """A backup, opened for reading."""

    def __init__(self, folder: BackupFolder, slots: KeySlots | None, key: DatabaseKey) -> None:
        self.folder = folder
        self.slots = slots
        self.database_key = key
        self.key = BackupKey.of(key)
        self.manifest: Manifest | None = None
        self.problems: list[BackupProblem] = []
        for name in MANIFESTS:
            self._read_manifest(name)
        self._channels: dict[bytes, str] = {}
        if self.manifest is not None:
            names = {one.id: one.name for one in self.manifest.channels}
            self._channels = {one.prefix: names.get(one.channel, "") for one in self.manifest.logs}

    def _read_manifest(self, name: str) -> None:
        try:
            found = open_manifest(self.folder.read(name, limits.BACKUP_MANIFEST_BYTES_MAX), self.key)
        except (MalformedError, CorruptError) as error:
            self._note(name, error.rule, "nothing, as long as its copy is whole")
            return
        self.manifest = self.manifest or found

    @property
    def is_newer(self) -> bool:
        """Did a newer Quire write it?"""
        return self.manifest is None and any(one.rule == "manifest_version" for one in self.problems)

    def entries(self) -> list[PackEntry]:
        """The packs: those that the manifest names, or, where it is lost, all that open."""
        if self.manifest is not None:
            return list(self.manifest.packs)
        found = []
        for name in sorted(self.folder.names(PACKS)):
            try:
                found.append(entry_of(name, *self._opened(name)))
            except (MalformedError, CorruptError) as error:
                self._note(pack_path(name), error.rule, "what it held; the manifest that would say is lost")
        return found

    def files(self) -> list[FileEntry]:
        """The attachments. Without a manifest they cannot be told whole: others may have them."""
        return list(self.manifest.files) if self.manifest is not None else []

    def note_file(self, file: FileEntry, rule: str) -> None:
        """An attachment is damaged or missing."""
        self._note(file_path(file.name), rule, "an attachment; others may still have it")

    def pack(self, entry: PackEntry) -> PackBody:
        """A pack's body. Raises: CorruptError naming what is wrong with it, SchemaError(rule="backup_newer")."""
        path = pack_path(entry.name)
        try:
            if 0 <= self.folder.size(path) < entry.size:
                raise MalformedError("", rule="pack_cut")
            return self._opened(entry.name)[1]
        except (MalformedError, CorruptError) as error:
            problem = self._note(path, error.rule, self.lost_with(entry))
            kind = SchemaError if error.rule == "pack_version" else CorruptError
            rule = "backup_newer" if error.rule == "pack_version" else "backup_damaged"
            raise kind(
                f"{problem.file}: {problem.detail}; it holds {problem.lost}",
                rule=rule, hint=DAMAGED_HINT, file=problem.file, clause=error.rule,
            ) from error  # fmt: skip

    def _opened(self, name: bytes) -> tuple[bytes, PackBody]:
        sealed = self.folder.read(pack_path(name), limits.BACKUP_PACK_BYTES_MAX)
        if pack_name(sealed) != name:
            raise MalformedError("", rule="pack_damaged")
        return sealed, open_pack(sealed, self.key)

    def lost_with(self, entry: PackEntry) -> str:
        """What a pack holds, for people."""
        if entry.kind == Kind.STATE:
            return "channel keys, settings and what is kept for others"
        names = sorted({self._channels.get(span.prefix, "") for span in entry.spans} - {""})
        where = ", ".join(f"#{name}" for name in names[:5]) + (" and others" if len(names) > 5 else "")
        what = "control commits" if entry.kind == Kind.CONTROL else "commits"
        return f"{entry.count} {what}" + (f" of {where}" if where else "")

    def _note(self, file: str, rule: str, lost: str) -> BackupProblem:
        problem = BackupProblem(file, rule, SAID.get(rule, "it breaks its format"), lost)
        if problem not in self.problems:
            self.problems.append(problem)
        return problem

    def check_slots(self) -> None:
        """Note which of the two files that open the backup are damaged."""
        for name in SLOTS if self.slots is not None else ():
            try:
                right = decode_slots(self.folder.read(name, SLOTS_BYTES_MAX)).is_under(self.database_key)
            except (MalformedError, CorruptError):
                right = False
            if not right:
                self._note(name, "slots_damaged", "nothing, as long as its copy is whole")


def open_backup(path: Path, unlock: Unlock) -> Backup:
    """Open a backup with what opens the vault.

    Raises: NotFoundError(rule="no_backup"), UnlockError, StorageError.
    """
    folder = BackupFolder(path)
    if not folder.exists:
        raise NotFoundError(
            f"there is no backup in {path}", rule="no_backup", hint="`quire backup DIR` makes one"
        )
    if isinstance(unlock, RawKey) and all(folder.size(name) < 0 for name in SLOTS):
        return Backup(folder, None, unlock.key)
    slots, key = KeySlots.open_copy(path, SLOTS, unlock)
    return Backup(folder, slots, key)


def require_whole(backup: Backup) -> None:
    """Raises: SchemaError(rule="backup_newer"), CorruptError(rule="backup_damaged") if the manifest is lost, or a pack
    is not there in its size."""
    if backup.is_newer:
        raise SchemaError(
            "this backup was written by a newer Quire", rule="backup_newer", hint="upgrade Quire"
        )
    if backup.manifest is None:
        said = "; ".join(f"{one.file}: {one.detail}" for one in backup.problems)
        raise CorruptError(f"the backup has no manifest ({said})", rule="backup_damaged", hint=DAMAGED_HINT)
    for entry in backup.manifest.packs:
        if backup.folder.size(pack_path(entry.name)) != entry.size:
            backup.pack(entry)
    for file in backup.manifest.files:
        if backup.folder.size(file_path(file.name)) != sealed_size(file.size):
            raise damaged_file(file)


def damaged_file(file: FileEntry) -> CorruptError:
    """Raised for an attachment that is not what was written."""
    path = file_path(file.name)
    return CorruptError(
        f"{path}: an attachment is missing or damaged", rule="backup_damaged", hint=DAMAGED_HINT, file=path
    )


def check_backup(path: Path, unlock: Unlock, progress: Progress | None = None) -> BackupCheck:
    """Read all of a backup back; every file that is not what was written, by name."""
    backup = open_backup(path, unlock)
    backup.check_slots()
    entries = backup.entries()
    files = backup.files()
    for done, _ in enumerate(_checked(backup, entries), start=1):
        if progress:
            progress("reading back", done, len(entries) + len(files))
    for done, file in enumerate(files, start=len(entries) + 1):
        try:
            if not is_whole(backup.folder, file):
                backup.note_file(file, "file_damaged")
        except CorruptError as error:
            backup.note_file(file, error.rule)
        if progress:
            progress("reading back", done, len(entries) + len(files))
    manifest = backup.manifest
    return BackupCheck(
        packs=len(entries),
        files=len(files),
        bytes=sum(entry.size for entry in entries) + sum(sealed_size(file.size) for file in files),
        commits=sum(entry.count for entry in entries if entry.kind != Kind.STATE),
        made_ms=manifest.made_ms if manifest else None,
        channels=len(manifest.channels) - 1 if manifest else None,
        problems=tuple(backup.problems),
    )


def _checked(backup: Backup, entries: list[PackEntry]) -> Iterator[None]:
    for entry in entries:
        try:
            body = backup.pack(entry)
            if digest_of(encode_body(body)) != entry.plain:
                backup._note(pack_path(entry.name), "pack_damaged", backup.lost_with(entry))
        except StorageError as error:
            if error.rule not in ("backup_damaged", "backup_newer"):
                raise
        yield
