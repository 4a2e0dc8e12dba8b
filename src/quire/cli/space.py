"""Commands about room: compact."""

from __future__ import annotations

import typer

from quire.cli.session import opened
from quire.cli.text import bytes_text

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)


@app.command()
def compact(ctx: typer.Context) -> None:
    """Give freed space back to the file system.

    \b
    Example:
      quire compact
    """
    with opened(ctx) as session:
        before = session.store.stats()
        session.out.note("compacting …")
        session.store.compact()
        after = session.store.stats()
        sizes = [found.file_bytes + found.wal_bytes for found in (before, after)]
        session.out.done(
            {"bytes_before": sizes[0], "bytes_after": sizes[1]},
            f"{bytes_text(sizes[0])} before, {bytes_text(sizes[1])} now",
        )
