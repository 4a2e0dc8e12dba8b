"""Where in a channel: what `--before`, `--after` and `--around` accept.

A cursor (as `--json` gives it), a message id (as `read` shows it), or a time: `2024-03-05`,
`2024-03-05 14:30`, `today`, `yesterday`. Times without a zone are of the local one. A day stands for
the moment it begins, so `--before 2024-03-05` ends with the 4th and `--after 2024-03-05` begins with the 5th.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING

from quire.errors import UsageError

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager
    from quire.core.ids import MessageId

__all__ = ["only_one", "parse_place", "time_ms"]

CURSOR = re.compile(r"[0-9a-f]+\.[0-9a-f]{32}")
MESSAGE = re.compile(r"[A-Za-z2-7]{1,16}-[0-9]+\.[0-9]+")


def parse_place(text: str, manager: ChannelManager) -> str | MessageId | int:
    """What the manager's pages take. Raises: UsageError(rule="place_form"), NotFoundError."""
    text = text.strip()
    if CURSOR.fullmatch(text):
        return text
    if MESSAGE.fullmatch(text):
        return manager.find_message(text)
    return time_ms(text)


def time_ms(text: str) -> int:
    """A date, or a date and a time, as Unix milliseconds. Raises: UsageError(rule="place_form")."""
    try:
        if text.lower() in ("today", "yesterday"):
            day = date.today() - timedelta(days=text.lower() == "yesterday")
            moment = datetime.combine(day, time())
        else:
            moment = datetime.fromisoformat(text)
        return max(int(moment.timestamp() * 1000), 0)  # nothing is older than 1970
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{text!r} is no cursor, message id or date",
            rule="place_form",
            hint="for example 2024-03-05, '2024-03-05 14:30', yesterday, or an id such as mzxw-1042.17",
        ) from None


def only_one(**given: str | None) -> None:
    """Raises: UsageError if more than one of these options was given."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} exclude each other", rule="options_exclude")
