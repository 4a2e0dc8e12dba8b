"""Attachments in exports: their bytes, each file once, in a folder of its own beside what names it.

`files/<start of its id>/<name>`: a name that is safe anywhere, and never one that a double click would run as a page of the
export's folder. What is not here, or damaged, is counted and stays a name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from quire.core.ids import MessageId
from quire.core.operation import Attachment
from quire.errors import CorruptError, NotFoundError
from quire.exchange.writing import Files
from quire.store.attachments import open_attachment
from quire.store.file_types import HEAD_BYTES, safe_name, type_of

if TYPE_CHECKING:
    from quire.store.local import LocalStore

FOLDER = "files"
ID_CHARS = 24  # of a file's id: two that begin alike need 2**48 files
PIECE_BYTES = 1 << 20
RUNS = frozenset(  # what a browser would open as a page of its own, with scripts
    ["htm", "html", "xhtml", "xht", "shtml", "mht", "mhtml", "svg", "svgz", "xml", "xsl", "hta", "js", "mjs"]
)  # fmt: skip
PAGES = frozenset(["text/html", "image/svg+xml", "text/xml", "application/xml"])


class Taking:
    """Puts files into one export."""

    def __init__(self, store: LocalStore, folder: Path, files: Files) -> None:
        self._store, self._folder, self._files = store, folder, files
        self.taken = self.absent = 0

    def __call__(self, message: MessageId, number: int, attachment: Attachment) -> str:
        """Where an attachment is, from the folder of the export; "" if it is not here."""
        assert attachment.file is not None
        place = self._folder / FOLDER / attachment.file.id.hex()[:ID_CHARS]
        try:
            [known] = os.listdir(place)
        except (FileNotFoundError, ValueError):
            known = self._write(place, message, number, attachment)
        return f"{FOLDER}/{place.name}/{known}" if known else ""

    def _write(self, place: Path, message: MessageId, number: int, attachment: Attachment) -> str:
        try:
            with open_attachment(self._store, message, number) as stream:
                head = stream.read(HEAD_BYTES)
                name = harmless_name(attachment.name, head)
                for folder in (place.parent, place):
                    folder.mkdir(mode=0o700, exist_ok=True)
                file = self._files.new(place / name)
                file.write(head)
                while piece := stream.read(PIECE_BYTES):
                    file.write(piece)
                file.close()
        except (NotFoundError, CorruptError):
            self.absent += 1
            if place.is_dir():
                for left in place.iterdir():
                    left.unlink()
                place.rmdir()
            return ""
        self.taken += 1
        return name


def harmless_name(name: str, head: bytes) -> str:
    """A name for a file that begins so, by which no browser takes it for a page."""
    safe = safe_name(name)
    ending = safe.rpartition(".")[2].lower()
    return f"{safe}.txt" if ending in RUNS or type_of(head) in PAGES else safe
