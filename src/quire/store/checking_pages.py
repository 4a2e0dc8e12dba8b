"""The pages of a signed folder: written anew from what was signed, and compared file by file."""

from __future__ import annotations

import shutil
from pathlib import Path

from quire.exchange.writers import exporter
from quire.exchange.writing import Files
from quire.store.checking_export import Export
from quire.store.exporting import SIGNED_NAME, Span, files_of, write_told
from quire.store.telling import Teller


def check_pages(export: Export, place: Path, fresh: Path) -> None:
    """Write the folder anew from what was signed, and compare file by file."""
    from importlib.metadata import version

    if export.header.export != f"quire {version('quire')}":
        export.notes.append(
            f"the pages were written by {export.header.export}: only {SIGNED_NAME} was checked"
        )
        return
    format = "html" if (place / "index.html").exists() else "markdown"
    kind = exporter(format)
    fresh.mkdir(mode=0o700)
    told = [row for channel in export.channels if (row := export.row(channel.key)) is not None]
    with export.store.database.snapshot() as db, Files() as files:
        writer = kind.open_writer(fresh, export.header, files)
        write_told(Teller(db), kind, writer, told, Span(), export.tell)
        writer.finish()
    written = {path.relative_to(fresh) for path in files_of(fresh)}
    there = {path.relative_to(place) for path in files_of(place)} - {Path(SIGNED_NAME)}
    for name in sorted(written - there):
        export.problem("page_missing", str(name), "it was written")
    for name in sorted(there - written):
        export.problem("page_unsigned", str(name), "it is no part of the export")
    for name in sorted(written & there):
        if (place / name).is_symlink() or not same_bytes(place / name, fresh / name):
            export.problem("page_changed", str(name), "it does not show what was signed")
    shutil.rmtree(fresh)


def same_bytes(one: Path, other: Path) -> bool:
    """Do two files hold the same? Read in pieces."""
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            a, b = first.read(1 << 20), second.read(1 << 20)
            if a != b:
                return False
            if not a:
                return True
