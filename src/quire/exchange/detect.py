"""Which format is this? Every importer looks; the surest wins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from shlex import quote
from typing import Protocol

from quire.errors import FormatError
from quire.exchange.model import Options, Record
from quire.exchange.sources import Source, archives_in, open_source

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


@contextmanager
def open_export(path: str | PathLike[str], format: str = "") -> Iterator[tuple[Source, Importer]]:
    """The export at `path` and who reads it: the format called `format`, else the surest.

    A folder that is no export itself and holds one archive stands for that archive, as people keep them.

    Raises: NotFoundError if nothing is there; FormatError if it is unreadable, or in no known format.
    """
    with ExitStack() as opened:
        source = opened.enter_context(open_source(path))
        score, importer = _surest(source, format)
        archives = archives_in(source.path) if score < CERTAIN and source.path.is_dir() else []
        if len(archives) == 1:
            inner = opened.enter_context(open_source(archives[0]))
            found, other = _surest(inner, format)
            if found > score:
                source, score, importer = inner, found, other
        if not score:
            raise _unknown(source, archives)
        yield source, importer


def detect(source: Source) -> Importer:
    """The importer for `source`. Raises FormatError if there is none."""
    score, importer = _surest(source, "")
    if not score:
        raise _unknown(source, [])
    return importer


def named(name: str) -> Importer:
    """The importer with this name. Raises: FormatError(rule="unknown_format")."""
    known = importers()
    for importer in known:
        if name == importer.NAME:
            return importer
    names = ", ".join(i.NAME for i in known)
    raise FormatError(f"there is no format called {name}", rule="unknown_format", hint=f"one of: {names}")


def _surest(source: Source, format: str) -> tuple[int, Importer]:
    """Who reads it, and how surely; 0 if nobody does."""
    if format:
        importer = named(format)
        return max(importer.recognise(source), 1), importer
    known = importers()
    best = (0, known[0])
    for importer in known:
        score = importer.recognise(source)
        if score > best[0]:
            best = (score, importer)
        if score == CERTAIN:
            break
    return best


def _unknown(source: Source, archives: list[Path]) -> FormatError:
    hint = "see `quire import --formats`; anything can be converted to Quire's own JSONL"
    if len(archives) > 1:
        hint = (
            f"it holds {len(archives)} archives: import each, as in `quire import {quote(str(archives[0]))}`"
        )
    return FormatError(f"{source.path.name} is in no format Quire knows", rule="unknown_format", hint=hint)
