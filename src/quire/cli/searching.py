"""Commands that find messages: search, pins, bookmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.completion import channels as complete_channels
from quire.cli.reading import ChannelName, Limit
from quire.cli.session import Session, opened
from quire.cli.text import SPACES, block, line, plural
from quire.core.views import Hit, Message

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["app", "snippet"]

app = typer.Typer(rich_markup_mode=None)

CONTEXT_CHARS = 80  # shown before the first match; after it three times as many


@app.command()
def search(
    ctx: typer.Context,
    query: Annotated[list[str], typer.Argument(metavar="QUERY...", help="Words and filters.")],
    channel: Annotated[
        str | None,
        typer.Option("--in", metavar="CHANNEL", help="Only there.", autocompletion=complete_channels),
    ] = None,
    limit: Limit = 20,
    before: Annotated[
        str | None, typer.Option("--before", metavar="CURSOR", help="Continue where a list ended.")
    ] = None,
) -> None:
    """Find messages by words and filters, newest first.

    Every word must be there.

    \b
    QUERY may hold
      word "a phrase" start* -without
      from:NAME in:CHANNEL before:DATE after:DATE
      has:link has:attachment has:reaction has:code has:thread has:pin

    A word that begins with a dash must come after --, as in the last example.

    \b
    Examples:
      quire search deploy from:ada
      quire search '"release notes"' after:2024-01-01
      quire search -- deploy -friday
    """
    with opened(ctx) as session:
        place = session.channel(channel).id if channel else None
        found = session.manager.search(" ".join(query), channel=place, limit=limit, before=before)
        if session.out.json:
            session.out.emit({"hits": [records.hit(one) for one in found.hits], "older": found.older})
            return
        from quire.cli.render import faint

        parts = [part for hit in found.hits for part in _hit(session, hit)]
        if found.older:
            parts.append(faint(f"more: add --before {found.older}"))
        session.out.paged(parts)
        session.out.note(plural(len(found.hits), "hit") + (" and more" if found.older else ""))


@app.command()
def pins(ctx: typer.Context, channel: ChannelName) -> None:
    """Show a channel's pinned messages.

    \b
    Example:
      quire pins general
    """
    with opened(ctx) as session:
        _list(session, session.manager.pinned(channel), "nothing is pinned here")


@app.command()
def bookmarks(ctx: typer.Context) -> None:
    """Show the messages you keep.

    \b
    Example:
      quire bookmarks
    """
    with opened(ctx) as session:
        _list(session, session.manager.bookmarks(), "no bookmarks yet")


def _list(session: Session, messages: Sequence[Message], none: str) -> None:
    if session.out.json:
        session.out.emit({"messages": [records.message(one) for one in messages]})
        return
    renderer = session.renderer()
    session.out.paged([part for one in messages for part in renderer.message(one)])
    if not messages:
        session.out.note(none)


def _hit(session: Session, hit: Hit) -> list[Text]:
    from quire.cli.render import FAINT, GUTTER, author_text, stamp

    message = hit.message
    head = author_text(message.author)
    head.append(f"  #{line(hit.channel_name)}  {stamp(message.time_ms)}  {session.short(message.id)}", FAINT)
    lines = snippet(message.body, hit.spans).wrap(
        session.out.console, max(session.out.console.width - GUTTER, 20), overflow="fold", tab_size=4
    )
    for part in lines:
        part.rstrip()
        part.pad_left(GUTTER)
    return [head, *lines]


def snippet(body: str, spans: Sequence[tuple[int, int]]) -> Text:
    """The text around the first match, with every match in it marked.

    Cleaning changes lengths, so each piece is cut by the spans first and cleaned then. White space of any
    kind is one space: a hit is a few lines, whatever it was cut from.
    """
    from rich.text import Text

    def flat(piece: str) -> str:
        return block(SPACES.sub(" ", piece))

    first = spans[0][0] if spans else 0
    start = max(first - CONTEXT_CHARS, 0)
    end = min(first + 3 * CONTEXT_CHARS, len(body))
    text = Text("…" if start else "")
    place = start
    for left, right in spans:
        left, right = max(left, place), min(right, end)
        if left < right:
            text.append(flat(body[place:left]))
            text.append(flat(body[left:right]), "bold reverse")
            place = right
    text.append(flat(body[place:end]))
    text.append("…" if end < len(body) else "")
    return text
