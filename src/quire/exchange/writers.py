"""Which formats can be written, and how each is begun."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

from quire.errors import UsageError
from quire.exchange.exported import AuthorLine, ChannelLine, HeaderLine, MessageLine
from quire.exchange.writing import Files

FORMATS = ("jsonl", "html", "markdown", "csv")


class Writer(Protocol):
    """Takes channels one after another, each with its messages in order."""

    def channel(self, channel: ChannelLine) -> None:
        """What follows is of this channel."""

    def tell(self, authors: Sequence[AuthorLine], messages: Sequence[MessageLine]) -> None:
        """Some messages of the channel, in order, and everybody new in them."""

    def finish(self) -> None:
        """All is on disk when this returns."""


class Exporter(Protocol):
    """What each module `out_…` is."""

    NAME: str
    TITLE: str
    FOLDER: bool  # does it fill a folder, or one file?
    THREADS: bool  # does it take each thread whole, after its root, or everything in order of time?

    def open_writer(self, path: Path, header: HeaderLine, files: Files) -> Writer:
        """Begin at `path`: a new file to fill, or an empty folder that is there."""
        ...


def exporter(name: str) -> Exporter:
    """The exporter of a format. Raises: UsageError(rule="export_format")."""
    if name not in FORMATS:
        raise UsageError(
            f"there is no export format {name}", rule="export_format", hint=f"one of: {', '.join(FORMATS)}"
        )
    found: Exporter = import_module(f"quire.exchange.out_{name}")
    return found
