"""Sizes as one types them: `500MB`, `5GB`, `forever`; and what of a quota is used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from quire.cli.text import bytes_text, line
from quire.errors import UsageError

if TYPE_CHECKING:
    from quire.core.reports import QuotaView

__all__ = ["FOREVER", "quota_text", "size_of"]

FOREVER = ("forever", "never", "off")
SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(|k|m|g|t)b?", re.IGNORECASE)
UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "t": 1_000_000_000_000}


def size_of(text: str) -> int:
    """Bytes, as people type them; 0 for forever, never and off. Raises: UsageError(rule="size_form")."""
    if text.lower() in FOREVER:
        return 0
    found = SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{line(text, 40)} is no size",
            rule="size_form",
            hint="for example 500MB or 5GB, or off for no limit",
        )
    return int(float(found[1]) * UNITS[found[2].lower()])


def quota_text(found: QuotaView) -> str:
    """One line."""
    limits = ", ".join(
        f"{name} {bytes_text(limit)}"
        for name, limit in (("soft", found.soft), ("hard", found.hard))
        if limit is not None
    )
    reached = {"ok": "", "soft": ": the soft quota is reached", "hard": ": the hard quota is reached"}
    return f"{bytes_text(found.used_bytes)} used; quota: {limits or 'none'}{reached[found.state]}"
