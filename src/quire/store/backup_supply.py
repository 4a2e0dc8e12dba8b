"""What a backup has of commits whose archived bytes are not at hand: so no run takes from it what it held.

A pack goes when something in it was erased, or when small ones are joined. What the vault cannot read then, because it
is archived on a disk that is away, is read out of the packs that are to go, or of those in the second place, and checked
against the commitments in the references. What was erased since is a hole all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from quire.core.backup import BackupKey, Kind, PackEntry, open_pack, pack_name
from quire.core.commit import commitment, peek_commit
from quire.core.ids import DeviceId, Incarnation, log_prefix
from quire.core.limits import BACKUP_PACK_BYTES_MAX
from quire.core.segment import decode_reference
from quire.errors import CorruptError, MalformedError, StorageError
from quire.storage.backup_folder import BackupFolder, pack_path
from quire.storage.cold import is_reference
from quire.storage.runs import StoredCommit

Source = tuple[BackupFolder, PackEntry]


class Supply:
    """The packs of earlier runs, asked for one commit after the other. One pack is in memory.

    sources    called once, when something is wanted
    """

    def __init__(self, key: BackupKey, sources: Callable[[], Iterable[Source]]) -> None:
        self._key = key
        self._sources = sources
        self._by_log: dict[bytes, list[tuple[int, int, Source]]] | None = None
        self._at = b""
        self._items: dict[tuple[bytes, int], bytes] = {}

    def filled(self, prefix: bytes, one: StoredCommit) -> StoredCommit | None:
        """A commit with all of its operations, or holes; None if no pack has what is not at hand."""
        entries = list(one.entries)
        wanted = {
            place: decode_reference(entry) for place, entry in enumerate(entries) if is_reference(entry)
        }
        for item in self._found(prefix, one.seq) if wanted else ():
            commit, _ = peek_commit(item)
            if commit.head != one.head:
                continue
            for place, reference in list(wanted.items()):
                operation = commit.operations[place]
                if operation and commitment(operation) == reference.commitment:
                    entries[place] = operation
                    del wanted[place]
        return None if wanted else one._replace(entries=entries)

    def _found(self, prefix: bytes, seq: int) -> Iterator[bytes]:
        """The commit as packs have it."""
        if self._by_log is None:
            self._by_log = {}
            for source in self._sources():
                for span in source[1].spans if source[1].kind == Kind.CONTENT else ():
                    self._by_log.setdefault(span.prefix, []).append((span.first, span.last, source))
        for first, last, source in self._by_log.get(prefix, ()):
            if first <= seq <= last and (item := self._opened(*source).get((prefix, seq))) is not None:
                yield item

    def _opened(self, folder: BackupFolder, entry: PackEntry) -> dict[tuple[bytes, int], bytes]:
        if self._at != entry.name:
            self._at, self._items = entry.name, {}
            try:
                sealed = folder.read(pack_path(entry.name), BACKUP_PACK_BYTES_MAX)
                body = open_pack(sealed, self._key) if pack_name(sealed) == entry.name else None
                for item in body.items if body else ():
                    _, head = peek_commit(item)
                    prefix = log_prefix(DeviceId(head.device), Incarnation(head.incarnation))
                    self._items[prefix, head.seq] = item
            except (MalformedError, CorruptError, StorageError):
                pass  # damaged or gone: it gives nothing
        return self._items
