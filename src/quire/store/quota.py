"""The vault's own limits: a soft one warns, a hard one refuses what would make it larger.

What counts is what is used: pages that hold something, and sealed attachments. So what was deleted counts no more,
whether its space was given back or not. Deleting, erasing, retention, keys, roles and read markers go on beyond a hard
quota: who is over it must be able to get below it again, and to put somebody out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import apsw

from quire.core.operation import Edit, Operation, Post, React
from quire.core.reports import QuotaView
from quire.errors import FullError, UsageError
from quire.storage.attachments import totals
from quire.storage.meta import get_meta, set_meta

if TYPE_CHECKING:
    from quire.store.local import LocalStore

SOFT, HARD = "quota_soft", "quota_hard"  # meta: bytes
GROWING = (Post, Edit, React)


def used_bytes(db: apsw.Connection) -> int:
    """What the vault holds, in bytes of its file and of attachments."""
    pages = int(db.pragma("page_count")) - int(db.pragma("freelist_count"))
    return pages * int(db.pragma("page_size")) + totals(db)[1]


def view(db: apsw.Connection) -> QuotaView:
    """The limits, and what is used."""
    return QuotaView(get_meta(db, SOFT), get_meta(db, HARD), used_bytes(db))


def set_quota(store: LocalStore, soft: int | None, hard: int | None) -> None:
    """Set both limits, in bytes; None for no limit. Raises: UsageError(rule="quota_order" or "quota_range")."""
    if any(one is not None and one < 1 for one in (soft, hard)):
        raise UsageError("a quota is at least one byte", rule="quota_range", hint="none takes it away")
    if soft is not None and hard is not None and soft > hard:
        raise UsageError(
            "the soft quota is above the hard one", rule="quota_order", hint="it warns before that refuses"
        )

    def work(db: apsw.Connection) -> None:
        for name, value in ((SOFT, soft), (HARD, hard)):
            if value is None:
                db.execute("DELETE FROM meta WHERE key = ?", (name,))
            else:
                set_meta(db, name, value)

    store.ledger.run(work)


def is_over(db: apsw.Connection, more: int = 0) -> bool:
    """Is the hard quota reached, or would be with so many bytes more?"""
    hard = get_meta(db, HARD)
    return hard is not None and used_bytes(db) + more >= hard


def require_room(db: apsw.Connection, more: int = 0) -> None:
    """Raises: FullError(rule="quota_hard")."""
    if is_over(db, more):
        raise refusal(db)


def grows(operations: Iterable[Operation | None]) -> bool:
    """Do these make a vault larger for good?"""
    return any(isinstance(one, GROWING) for one in operations)


def refusal(db: apsw.Connection) -> FullError:
    """What who wants to write hears."""
    hard, used = get_meta(db, HARD), used_bytes(db)
    return FullError(
        f"the vault's quota is reached: it holds {used / 1e6:,.1f} MB of {hard / 1e6:,.1f} MB",
        rule="quota_hard",
        hint="`quire storage` shows what takes room; delete, erase, `quire retention`, or `quire quota --hard`",
        used_bytes=used,
        limit=hard,
    )
