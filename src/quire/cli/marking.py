"""Commands that mark messages: pin, unpin, bookmark, unbookmark."""

from __future__ import annotations

from collections.abc import Callable

import typer

from quire.cli import records
from quire.cli.reading import MessageName
from quire.cli.session import Session, opened
from quire.core.ids import MessageId

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)


@app.command()
def pin(ctx: typer.Context, message: MessageName) -> None:
    """Pin a message to its channel, for everyone.

    \b
    Example:
      quire pin mzxw-1042.17
    """
    _mark(ctx, message, lambda session: session.manager.pin, "pinned")


@app.command()
def unpin(ctx: typer.Context, message: MessageName) -> None:
    """Take a pin off.

    \b
    Example:
      quire unpin mzxw-1042.17
    """
    _mark(ctx, message, lambda session: session.manager.unpin, "unpinned")


@app.command()
def bookmark(ctx: typer.Context, message: MessageName) -> None:
    """Keep a message among your bookmarks.

    Nobody else sees them; `quire bookmarks` lists them.

    \b
    Example:
      quire bookmark mzxw-1042.17
    """
    _mark(ctx, message, lambda session: session.manager.bookmark, "bookmarked")


@app.command()
def unbookmark(ctx: typer.Context, message: MessageName) -> None:
    """Take a message out of your bookmarks.

    \b
    Example:
      quire unbookmark mzxw-1042.17
    """
    _mark(ctx, message, lambda session: session.manager.unbookmark, "took the bookmark off")


def _mark(
    ctx: typer.Context, message: str, change: Callable[[Session], Callable[[MessageId], object]], what: str
) -> None:
    with opened(ctx) as session:
        found = session.message(message)
        change(session)(found)
        session.out.done(
            records.message(session.manager.get_message(found)), f"{what} {session.short(found)}"
        )
