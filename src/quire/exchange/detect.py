"""Which format is this? Every importer looks; the surest wins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from os import PathLike
from pathlib import Path
from shlex import quote
from typing import Protocol

from quire.errors import FormatError
from quire.exchange.model import Options, Record
from quire.exchange.sources import FileSource, Source, ZipSource, archives_in, open_source, suffix_of

CERTAIN = 3
ARCHIVES_MAX = 20  # beside an export that are looked into
EXPORTS_MAX = 1000  # archives in a folder that are imported one after the other
ARCHIVES = ("zip", "tar", "tgz", "gz", "bz2", "xz", "7z", "rar", "zst")
UNPACK = "it is an archive of a kind that Quire does not read ({}): unpack it, and import the folder"
FOREIGN = {  # what a file begins with -> what to do
    b"7z\xbc\xaf\x27\x1c": UNPACK.format("7z"),
    b"Rar!\x1a\x07": UNPACK.format("RAR"),
    b"\x28\xb5\x2f\xfd": UNPACK.format("Zstandard"),
    b"\x1f\x8b": "it is compressed, and damaged or not an export",
    b"BZh": "it is compressed, and damaged or not an export",
    b"\xfd7zXZ": "it is compressed, and damaged or not an export",
    b"PK": "it is a zip that is damaged at its beginning",
    b"%PDF": "it is a PDF; export it as text, JSON or HTML",
    b"SQLite format 3\0": "it is a database; export it as text, JSON or HTML",
}


class Importer(Protocol):
    """What each module of this package is: these names."""

    NAME: str  # "slack": what `--format` takes and the summary says
    TITLE: str  # "Slack export (zip or folder)": one line for people
    NOTICES_ARE_MESSAGES: bool  # does `messages` in the summary count notices too?
    EDITS_ARE_MARKED: bool  # if not, another text of a message met before is a later one

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
        discord_text,
        element,
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
        zulip_archive, slack, zulip, discord_json, discord_html, discord_text, telegram_json, telegram_html, matrix, element,
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


def exports_in(path: str | PathLike[str], format: str = "") -> list[Path]:
    """The exports that `path` stands for: itself, or, of a folder that is none, the archives of exports in it.

    Raises: NotFoundError if nothing is there; FormatError if it is unreadable.
    """
    with open_source(path) as source:
        if not source.path.is_dir():
            return [source.path]
        archives = archives_in(source.path)[:EXPORTS_MAX]
        if len(archives) < 2 or (sure := _certainty(source, format)) == CERTAIN:
            return [source.path]
    found = [archive for archive in archives if _certainty_of(archive, format) > sure]
    return found or [source.path]


def _certainty_of(archive: Path, format: str) -> int:
    """0, too, for one that cannot be opened."""
    with suppress(FormatError), open_source(archive) as inner:
        return _certainty(inner, format)
    return 0


def _certainty(source: Source, format: str) -> int:
    return named(format).recognise(source) if format else _surest(source, "")[0]


def detect(source: Source) -> Importer:
    """The importer for `source`. Raises FormatError if there is none."""
    score, importer = _surest(source, "")
    if not score:
        raise _unknown(source, [])
    return importer


def left_aside(source: Source, importer: Importer) -> Iterator[str]:
    """What else `source` holds that could be imported and was not, in words."""
    name = source.path.name
    for other in _others(source, importer):
        yield f"{name} also holds what `--format {other.NAME}` imports ({other.TITLE}): nothing of that came"
    for path in _archives_beside(source):
        yield f"{path.name} in {name} is an export of its own: nothing of that came"


def _others(source: Source, importer: Importer) -> list[Importer]:
    """Formats of which `source` holds an export, too, beside that of `importer`. A tar is not asked: it takes long."""
    if source.forwards_only or len(source.sizes()) < 2:
        return []
    return [one for one in importers() if one.NAME != importer.NAME and one.recognise(source) == CERTAIN]


def _archives_beside(source: Source) -> list[Path]:
    """Archives in the folder of an export that are exports themselves."""
    found = []
    for path in archives_in(source.path)[:ARCHIVES_MAX] if source.path.is_dir() else []:
        with suppress(FormatError), open_source(path) as inner:
            if _surest(inner, "")[0] == CERTAIN:
                found.append(path)
    return found


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
    hint = (
        _explained(source) or "see `quire import --formats`; anything can be converted to Quire's own JSONL"
    )
    if len(archives) > 1:
        hint = (
            f"it holds {len(archives)} archives: import each, as in `quire import {quote(str(archives[0]))}`"
        )
    return FormatError(f"{source.path.name} is in no format Quire knows", rule="unknown_format", hint=hint)


def _explained(source: Source) -> str:
    """Why a file that is no export is none, where its first bytes tell."""
    sizes = source.sizes()
    if isinstance(source.raw, ZipSource) and source.raw.encrypted:
        return "its files are encrypted: unpack it with its password, and import the folder"
    if not any(sizes.values()):
        return "it is empty"
    inside = [name for name in sizes if suffix_of(name) in ARCHIVES]
    if not isinstance(source.raw, FileSource):
        return f"it holds an archive, {inside[0]}: unpack it, and import that" if inside else ""
    head = source.raw.peek(source.raw.names()[0], 512)
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            return what
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page: perhaps the page to sign in on that was saved instead of the export"
    return ""
