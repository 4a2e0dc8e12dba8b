"""What earlier runs of a backup left: the packs that a manifest names, those of a run that was killed, and which stay."""

from __future__ import annotations

import hashlib

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
)
from quire.core.heights import Span, lacking
from quire.errors import CorruptError, MalformedError, SchemaError
from quire.storage.backup_folder import MANIFESTS, PACKS, BackupFolder, pack_path

SMALL_BYTES = (32 << 10, 256 << 10)  # sealed packs below these sizes are joined …
SMALL_COUNT = 8  # … when so many are in one class: a later run so writes 2 MiB at most for them


class Found(msgspec.Struct):
    """What an earlier run left."""

    packs: list[PackEntry]
    runs: int
    anew: str  # why nothing of it counts: "new", "key" (the vault's key was changed), or ""
    locked_out: bool = False  # there are packs that this vault's key does not open, or that are damaged
    rebuilt: bool = False  # the manifest was lost or damaged, and the packs said what they are


def found(folder: BackupFolder, key: BackupKey) -> Found:
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
        return Found([], 0, "key", locked_out=True)
    packs = list(manifest.packs) if manifest else []
    named = {entry.name for entry in packs}
    others = sorted(folder.names(PACKS) - named)
    taken = [entry for name in others if (entry := _taken_over(folder, name, key))]
    packs += _disjoint(packs, taken)
    is_rebuilt = manifest is None and rules != {"backup_file_missing"}
    locked_out = manifest is None and len(taken) < len(others)
    return Found(packs, manifest.runs if manifest else 0, "" if packs else "new", locked_out, is_rebuilt)


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


def without_crowds(packs: list[PackEntry]) -> list[PackEntry]:
    """The packs that stay: where many are small, they are written anew as one."""
    for low, high in zip((0, *SMALL_BYTES), SMALL_BYTES, strict=False):
        for kind in (Kind.CONTROL, Kind.CONTENT):
            small = [entry for entry in packs if entry.kind == kind and low <= entry.size < high]
            if len(small) >= SMALL_COUNT:
                packs = [entry for entry in packs if entry not in small]
    return packs


def entry_of(name: bytes, sealed: bytes, body: PackBody, plain: bytes = b"") -> PackEntry:
    """A pack's line in the manifest."""
    digest = digest_of(plain or encode_body(body))
    return PackEntry(
        name, len(sealed), body.kind, body.newest, body.holes, len(body.items), digest, body.spans
    )


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
