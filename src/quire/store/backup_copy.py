"""The same backup in a second place: files that are not there yet, read back, then what names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quire.core import limits
from quire.core.backup import BackupKey, pack_name
from quire.core.sealed_file import PIECE_SIZE, sealed_size
from quire.errors import CorruptError
from quire.storage.backup_folder import (
    ATTACHMENTS,
    DAMAGED_HINT,
    MANIFESTS,
    PACKS,
    SLOTS,
    BackupFolder,
    pack_path,
)
from quire.store.backing_up import SLOTS_BYTES_MAX
from quire.store.backup_files import file_path
from quire.store.backup_found import read_manifest

if TYPE_CHECKING:
    from quire.store.local import Progress


def copy_backup(
    source: BackupFolder, target: BackupFolder, key: BackupKey, progress: Progress | None = None
) -> int:
    """Make `target` what `source` is; bytes written. Hold both locks.

    Raises: CorruptError(rule="backup_damaged") if a pack of the source is not what was written, FullError, StorageError;
    the target is then the backup that it was.
    """
    manifest, _ = read_manifest(source, key)
    assert manifest is not None  # it was written a moment ago
    written = 0
    for done, entry in enumerate(manifest.packs, start=1):
        path = pack_path(entry.name)
        if target.size(path) != entry.size:
            data = source.read(path, limits.BACKUP_PACK_BYTES_MAX)
            if pack_name(data) != entry.name:
                raise CorruptError(
                    f"{path} is not what was written", rule="backup_damaged", hint=DAMAGED_HINT, file=path
                )
            target.put(path, data)
            written += len(data)
        if progress:
            progress("copying", done, len(manifest.packs))
    for file in manifest.files:
        path = file_path(file.name)
        if target.size(path) != sealed_size(file.size):
            target.put_pieces(path, source.pieces(path, PIECE_SIZE))
            written += sealed_size(file.size)
    for name in (*SLOTS, *MANIFESTS):
        is_there = source.size(name) >= 0
        if is_there and (target.size(name) < 0 or target.digest(name) != source.digest(name)):
            data = source.read(name, max(SLOTS_BYTES_MAX, limits.BACKUP_MANIFEST_BYTES_MAX))
            target.put(name, data)
            written += len(data)
    target.keep_only(PACKS, {entry.name for entry in manifest.packs})
    target.keep_only(ATTACHMENTS, {entry.name for entry in manifest.files})
    return written
