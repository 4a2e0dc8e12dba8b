"""Spans of time as one types them: `7d`, `12h`, `2w`, `1y` (365 days), `never`; and how much of the past one may read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from quire.cli.places import time_ms
from quire.errors import UsageError

__all__ = ["date_text", "duration", "duration_text", "expiry", "history", "history_text"]

UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}  # seconds
FORM = re.compile(r"([0-9]{1,6})\s*([mhdwy])", re.IGNORECASE)
NAMES = {"y": "year", "d": "day", "h": "hour", "m": "minute"}


def duration(text: str) -> timedelta:
    """Raises: UsageError(rule="duration_form")."""
    found = FORM.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no span of time", rule="duration_form", hint="for example 30m, 12h, 7d, 2w or 1y"
        )
    return timedelta(seconds=int(found[1]) * UNITS[found[2].lower()])


def expiry(text: str) -> timedelta | datetime | None:
    """When something ends: after a span, at a date, or never. Raises: UsageError."""
    if text.strip().lower() == "never":
        return None
    if FORM.fullmatch(text.strip()):
        return duration(text)
    try:
        return _moment(text)
    except UsageError:
        raise UsageError(
            f"{text!r} is no span of time and no date",
            rule="duration_form",
            hint="for example 12h, 7d, 2w, 2030-12-31 or never",
        ) from None


def history(text: str) -> str | datetime:
    """`all`, `joined`, or a date, as the manager takes them. Raises: UsageError(rule="place_form")."""
    word = text.strip().lower()
    if word in ("all", "joined"):
        return word
    try:
        return _moment(text)
    except UsageError:
        raise UsageError(
            f"{text!r} does not say how much of the past",
            rule="history_unknown",
            hint="all, joined (what comes after joining), or a date such as 2024-03-05",
        ) from None


def history_text(value: int) -> str:
    """`all`, `since joining`, `since 5 Mar 2024`."""
    return ("all", "since joining")[value] if value < 2 else f"since {date_text(value)}"


def date_text(value_ms: int) -> str:
    """`5 Mar 2024`, in local time."""
    when = datetime.fromtimestamp(value_ms / 1000).astimezone()
    return f"{when.day} {when:%b %Y}"


def duration_text(value_ms: int) -> str:
    """`30 days`, `90 minutes`: the largest unit that is exact."""
    seconds = value_ms // 1000
    unit = next((unit for unit in NAMES if seconds % UNITS[unit] == 0), "m")
    count = seconds // UNITS[unit]
    return f"{count:,} {NAMES[unit]}{'' if count == 1 else 's'}"


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(time_ms(text) / 1000, UTC)
