"""Which format is this? Every importer looks; the surest wins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from quire.errors import FormatError
from quire.exchange.model import Options, Record
from quire.exchange.sources import Source

CERTAIN = 3


class Importer(Protocol):
    """What each module of this package is: four names."""

    NAME: str  # "slack": what `--format` takes and the summary says
    TITLE: str  # "Slack export (zip or folder)": one line for people
    NOTICES_ARE_MESSAGES: bool  # does `messages` in the summary count notices too?

    def recognise(self, source: Source) -> int:
        """How sure this is the format: 0 no, 1 perhaps (by shape), 2 likely, 3 certain. Never raises
        FormatError for a foreign file; reads little (names, first bytes)."""
        ...

    def read(self, source: Source, options: Options) -> Iterator[Record]:
        """All records, streamed. Raises FormatError only when nothing at all can be read."""
        ...


def importers() -> list[Importer]:
    """All of them, in the order they are asked: first those that need only names."""
    from quire.exchange import (  # each is imported only when an import begins
        discord_html,
        discord_json,
        gitter,
        irc,
        jsonl,
        matrix,
        mattermost,
        mbox,
        messenger,
        signal,
        slack,
        telegram_html,
        telegram_json,
        whatsapp,
        zulip,
        zulip_archive,
    )

    return [
        zulip_archive, slack, zulip, discord_json, discord_html, telegram_json, telegram_html, matrix,
        gitter, mattermost, messenger, jsonl, whatsapp, signal, mbox, irc,
    ]  # fmt: skip


def detect(source: Source, name: str = "") -> Importer:
    """The importer for `source`, or the one called `name`. Raises FormatError if there is none."""
    known = importers()
    if name:
        for importer in known:
            if name == importer.NAME:
                return importer
        names = ", ".join(i.NAME for i in known)
        raise FormatError(f"there is no format called {name}", rule="unknown_format", hint=f"one of: {names}")
    best = (0, known[0])
    for importer in known:
        score = importer.recognise(source)
        if score > best[0]:
            best = (score, importer)
        if score == CERTAIN:
            break
    if best[0] == 0:
        raise FormatError(
            f"{source.path.name} is in no format Quire knows",
            rule="unknown_format",
            hint="see `quire import --formats`; anything can be converted to Quire's own JSONL",
        )
    return best[1]
