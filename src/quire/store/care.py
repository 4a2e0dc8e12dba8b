"""Taking care of a vault: checking and repairing it, its key, its space, and its backups.

What `LocalStore` offers for it. Each method imports what it needs: none of it is for reading a page.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import apsw

from quire.core.crypto.secrets import DatabaseKey, RecoveryPhrase, Unlock
from quire.errors import BusyError, CorruptError, FullError
from quire.storage.database import Database, guarded, translate
from quire.storage.meta import get_meta

if TYPE_CHECKING:
    from quire.core.reports import (
        BackupReport,
        CompactReport,
        Problem,
        QuotaView,
        RestoreReport,
        SpaceReport,
        VerifyReport,
    )
    from quire.storage.keyslots import KeySlots
    from quire.store.local import LocalStore

Progress = Callable[[str, int, int], None]  # (what is being done, steps done, steps in all)


class Care:
    """What `LocalStore` does to stay well."""

    slots: KeySlots
    database: Database

    @property
    def _store(self) -> LocalStore:
        return cast("LocalStore", self)

    def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Recompute every view and the search index from the log, check chains and signatures, and compare."""
        from quire.store.verify import verify

        return verify(self._store, progress)

    def repair(self, progress: Progress | None = None) -> VerifyReport:
        """Rebuild every view and the search index from the log, ask for damaged files anew, then verify."""
        from quire.store.attachment_care import ask_again
        from quire.store.rebuild import rebuild
        from quire.store.segments import require

        require(self._store)
        rebuild(self._store, progress)
        ask_again(self._store)
        return self.verify(progress)

    def doctor(self) -> list[Problem]:
        """Quick checks of the folder, the file and the log's counters; `verify` reads everything."""
        from quire.store.attachment_care import tidy
        from quire.store.verify import quick_check

        if not self.database.read_only:
            with suppress(BusyError, FullError):
                tidy(self._store)
        return quick_check(self._store)

    def rekey(self, progress: Progress | None = None) -> None:
        """Re-encrypt the whole vault under a new key; every slot goes on working. No one else may have it open.

        Raises: BusyError, CorruptError(rule="slots_rolled_back"), StorageError: then the next `open` finds out
        which of the two keys holds, and settles it.
        """
        if self.slots.generation < (get_meta(self.database.reader, "slots_generation") or 0):
            raise CorruptError(
                "the slots file is older than one this vault has seen",
                rule="slots_rolled_back",
                hint="a removed slot would come back; remove it again first",
            )
        key = DatabaseKey.generate(os.urandom)
        self.slots.begin_rekey(key)
        try:
            self.database.rekey(key, progress)
        except apsw.Error as error:
            self.slots.close()
            raise translate(error) from error
        self.slots.finish_rekey()

    @guarded
    def compact(self, progress: Progress | None = None) -> CompactReport:
        """Give free space back to the file system and tidy the search index, in small steps.

        Raises: FullError, StorageError: what was given back so far is, and the vault is whole.
        """
        from quire.store.compacting import compact

        return compact(self._store, progress)

    @guarded
    def space(self) -> SpaceReport:
        """Where the space goes: by kind, channel and age, and what the policies in force would free."""
        from quire.store.space import space

        return space(self._store)

    @guarded
    def quota(self) -> QuotaView:
        """This vault's own limits, and what counts towards them."""
        from quire.store.quota import view

        return view(self.database.reader)

    @guarded
    def set_quota(self, *, soft: int | None = None, hard: int | None = None) -> QuotaView:
        """Limit what the vault may hold, in bytes; None for no limit.

        Beyond the soft one programs warn. Beyond the hard one posts, edits, reactions, attachments and fetches are
        refused with FullError(rule="quota_hard"); deleting, erasing, retention and compacting go on.

        Raises: UsageError (rule "quota_order" or "quota_range").
        """
        from quire.store.quota import set_quota

        set_quota(self._store, soft, hard)
        return self.quota()

    @guarded
    def backup(
        self,
        folder: str | os.PathLike[str],
        progress: Progress | None = None,
        *,
        second: str | os.PathLike[str] | None = None,
        reread: bool = False,
    ) -> BackupReport:
        """Begin a backup in a folder, or bring it up to date; it opens with what opens the vault.

        Sealed, and read back from the disk before this returns. It holds no key of this device: see `restore`.

        second    another place, made the same afterwards
        reread    read back what earlier runs wrote, too, and write anew what is damaged

        Raises: UsageError (rule "not_a_backup", "backup_foreign", "backup_inside"), BusyError(rule="backup_running"),
        SchemaError(rule="backup_newer"), StorageError: then the backup is the one that it was.
        """
        from pathlib import Path

        from quire.store.backing_up import back_up

        return back_up(
            self._store, Path(folder), progress, second=Path(second) if second else None, reread=reread
        )

    @classmethod
    def restore(
        cls,
        backup: str | os.PathLike[str],
        folder: str | os.PathLike[str],
        unlock: Unlock | str,
        *,
        phrase: RecoveryPhrase | str | None = None,
        damaged: bool = False,
        progress: Progress | None = None,
    ) -> RestoreReport:
        """Make a new device's vault in `folder` of a backup; it opens with all that opened the backup.

        The vault is there, with its newest page, long before this returns. After a kill the same call goes on.

        phrase     the 24 words: the device is one of its owner's at once. Without them it reads, and writes nothing until
                   the same call is made with them
        damaged    restore what is whole, and say what is lost

        Raises: NotFoundError(rule="no_backup"), UnlockError, UsageError (rule "vault_exists", "phrase_foreign"),
        CorruptError (rule "backup_damaged", "backup_self_lost"), SchemaError(rule="backup_newer"), StorageError.
        """
        from pathlib import Path

        from quire.store.local import as_unlock
        from quire.store.restoring import restore

        words = RecoveryPhrase(phrase) if isinstance(phrase, str) else phrase
        return restore(
            Path(backup), Path(folder), as_unlock(unlock), phrase=words, damaged=damaged, progress=progress
        )
