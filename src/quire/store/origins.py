"""Whom an import's records speak for: the source and original id of an author, as operations and rows have them.

Most exports name people by ids of their own, all of one source. Those that Quire wrote name them by whole keys
(`slack:U123`), so that a message that came from Slack stays Slack's, and Slack's own export, imported later, finds it.
Nobody's file speaks for a person here: `quire:<identity>` becomes an imported author of that name.
"""

from __future__ import annotations

from quire.core.operation import OWN_SOURCE
from quire.exchange.exported import IMPORTED_SOURCE


class Origins:
    """How one import's author keys are to be read."""

    def __init__(self, source: str) -> None:
        self.source = source  # the import's format
        self.whole = False  # are its author keys whole?

    def of(self, author: str) -> tuple[str, str]:
        """(source, author there)."""
        if not self.whole:
            return self.source, author
        source, colon, there = author.partition(":")
        return (source, there) if colon and source not in ("", OWN_SOURCE) else (IMPORTED_SOURCE, author)

    def key(self, author: str) -> str:
        """The author key of rows and mentions."""
        return ":".join(self.of(author)) if self.whole else f"{self.source}:{author}"
