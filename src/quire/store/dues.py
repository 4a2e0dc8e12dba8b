"""What is due in a vault, and is done in passing: by opening it and by writing to it, so that no program need see to it.

What was held for a time that has come is shown; what retention says is to go, goes, a little at a time; what a killed process
left is taken away; what waited for a file of the archive is settled. Whether there is anything to do is seen at once.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

import apsw

from quire.errors import BusyError, FullError, StorageError
from quire.storage import pending
from quire.storage.cold import any_segment
from quire.storage.database import Database

if TYPE_CHECKING:
    from quire.store.local import LocalStore

OPENING_MS = 40  # what opening a vault may take longer to destroy what is to go


class Dues:
    """What `LocalStore` does in passing."""

    database: Database
    _folder: str

    def __init__(self) -> None:
        self._letting = threading.Lock()
        self._lets_go = 0  # how many threads are at it
        self._let_go_at = time.time_ns()  # when we last looked what is to go

    @property
    def _store(self) -> LocalStore:
        return cast("LocalStore", self)

    def _do_what_is_due(self) -> None:
        """All of it, when a vault has been opened."""
        self.release_due()
        self._settle_if_archived()
        self._tidy_if_left()
        self.let_go_a_little(OPENING_MS)

    def release_due(self) -> None:
        """Show what was held for a time that has come; every write does so too, and every opening."""
        db = self.database.reader
        if self.database.read_only or not pending.may_be_due(db):
            return
        from quire.storage import backlog
        from quire.store.wallclock import now_ms

        now = now_ms()
        if backlog.is_due(db, now) or backlog.is_parked_due(db, now):
            with suppress(BusyError, FullError):  # whoever writes now, or next, does it
                self._store.ledger.run(lambda db: None)

    def _settle_if_archived(self) -> None:
        """Do what waited for a file of the archive that is at hand now."""
        with suppress(StorageError, apsw.Error):  # the next opening does it; damage is for `verify`
            db = self.database.reader
            if not self.database.read_only and (any_segment(db) or pending.any_wished(db)):
                from quire.store.owing import settle

                settle(self._store)

    def _tidy_if_left(self) -> None:
        """Take away what a killed process left among the attachments; it is seen at once whether there may be any."""
        if self.database.read_only or not (
            pending.any_doomed(self.database.reader)
            or _holds_any(os.path.join(self._folder, "attachments", "new"))
        ):
            return
        from quire.store.attachment_care import tidy

        with suppress(StorageError):  # the next opening does it
            tidy(self._store)

    def let_go_a_little(self, budget_ms: float) -> None:
        """Destroy some of what retention says is to go, if any of it is due; for about so long."""
        due = None if self.database.read_only else pending.retention_due(self.database.reader)
        if due is not None and due <= time.time_ns() // 1_000_000:  # imports what most programs never need
            from quire.store.pruning import enforce

            with suppress(BusyError, FullError):  # whoever writes next does it
                enforce(self._store, budget_ms=budget_ms)

    @contextmanager
    def letting_go(self) -> Iterator[None]:
        """While this goes on, whoever posts has not to do it too, nor what is to be done for the WAL."""
        with self._letting:
            self._lets_go += 1
        try:
            with self.database.checkpointing():
                yield
        finally:
            with self._letting:
                self._lets_go -= 1

    def _let_go_meanwhile(self) -> None:
        """After a write: so a program that only writes lets go, too, one short step a second; not while others do it."""
        now = time.time_ns()
        if self._lets_go == 0 and abs(now - self._let_go_at) >= 1_000_000_000:
            self._let_go_at = now
            self.let_go_a_little(0)


def _holds_any(folder: str) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False
