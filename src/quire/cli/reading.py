"""Commands that show messages: read, thread, threads, show, history."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.completion import channels as complete_channels
from quire.cli.places import only_one, parse_place
from quire.cli.session import Session, opened
from quire.cli.text import line
from quire.core.ids import message_id_text
from quire.core.views import Message, Page
from quire.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from quire.cli.render import Renderer

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

ChannelName = Annotated[
    str, typer.Argument(metavar="CHANNEL", help="A channel's name or id.", autocompletion=complete_channels)
]
MessageName = Annotated[str, typer.Argument(metavar="MESSAGE", help="A message's id, as `read` shows it.")]
Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", help="How many at most.")]
Before = Annotated[
    str | None, typer.Option("--before", metavar="PLACE", help="Older than a cursor, a message or a date.")
]
After = Annotated[
    str | None, typer.Option("--after", metavar="PLACE", help="Newer than a cursor, a message or a date.")
]


@app.command()
def read(
    ctx: typer.Context,
    channel: ChannelName,
    limit: Limit = 50,
    before: Before = None,
    after: After = None,
    around: Annotated[
        str | None, typer.Option("--around", metavar="PLACE", help="Around a cursor, a message or a date.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay and show what arrives, until Ctrl-C.")
    ] = False,
) -> None:
    """Show a channel's newest messages, or a page elsewhere in it.

    The newest message stands at the bottom. PLACE is a message's id, a cursor from --json, or a date such
    as 2024-03-05, '2024-03-05 14:30' or yesterday. With --json and --follow each new message is
    one line.

    \b
    Examples:
      quire read general
      quire read general --before 2024-03-05 -n 20
      quire read general --around mzxw-1042.17
      quire read general --follow
    """
    only_one(before=before, after=after, around=around)
    if follow and (before or after or around):
        raise UsageError("--follow shows what is new: it takes no place", rule="options_exclude")
    with opened(ctx) as session:
        info = session.channel(channel)
        texts = {"before": before, "after": after, "around": around}
        places = {name: parse_place(text, session.manager) for name, text in texts.items() if text}
        arriving = (
            session.manager.follow(info.id) if follow else iter(())
        )  # before the page: nothing is missed
        page = session.manager.get_stored_messages_paginated(info.id, limit=limit, **places)  # type: ignore[arg-type]
        renderer = None if session.out.json else session.renderer()
        if renderer is None:
            session.out.emit(records.page(page))
        else:
            parts = [*renderer.page(page), *_continued(session, channel, page)]
            if not page.messages:
                session.out.note(f"no messages here{'' if info.messages else ' yet'}")
            if follow:
                session.out.show(*parts)
            else:
                session.out.paged(parts, at_end=not after)
        if follow:
            session.out.note(f"following #{line(info.name)}; Ctrl-C ends it")
            shown = {message.id for message in page.messages}
            _follow(session, renderer, (message for message in arriving if message.id not in shown))


@app.command()
def thread(ctx: typer.Context, message: MessageName, limit: Limit = 200, after: After = None) -> None:
    """Show a thread, oldest message first.

    Any message of the thread will do. The next page begins after the cursor or message given with --after.

    \b
    Example:
      quire thread mzxw-1042.17
    """
    with opened(ctx) as session:
        found = session.manager.get_message(session.message(message))
        root = session.manager.get_message(found.root) if found.root else found
        place = parse_place(after, session.manager) if after else None
        page = session.manager.get_stored_thread_replies(root.id, limit=limit, after=place)
        if session.out.json:
            session.out.emit({"root": records.message(root)} | records.page(page))
            return
        from quire.cli.render import faint

        renderer = session.renderer(full=True)
        parts = [] if after else list(renderer.message(root))
        for reply in page.messages:
            parts += renderer.message(reply)
        if page.newer and page.messages:
            parts.append(faint(f"more: quire thread {message} --after {session.short(page.messages[-1].id)}"))
        session.out.paged(parts)


@app.command()
def threads(
    ctx: typer.Context,
    channel: ChannelName,
    limit: Limit = 20,
    before: Annotated[
        str | None, typer.Option("--before", metavar="CURSOR", help="Continue where a list ended.")
    ] = None,
) -> None:
    """List a channel's threads, the one answered last first.

    \b
    Example:
      quire threads general
    """
    with opened(ctx) as session:
        found, older = session.manager.get_channel_threads(channel, limit=limit, before=before)
        if session.out.json:
            session.out.emit({"threads": [records.thread(one) for one in found], "older": older})
            return
        from rich.text import Text

        from quire.cli.render import FAINT, GUTTER, author_text, faint, thread_line

        for one in found:
            root = session.manager.get_message(one.root)
            head = author_text(root.author)
            head.append(f"  {session.short(one.root)}", FAINT)
            words = line(one.title or root.body, 200) or "…"
            body = Text(" " * GUTTER + words)
            below = Text(" " * GUTTER + thread_line(one), FAINT)
            for part in (body, below):  # printed together, parts would wrap as one text
                part.truncate(session.out.console.width, overflow="ellipsis")
            session.out.show(head, body, below)
        if not found:
            session.out.note("no threads here")
        if older:
            session.out.show(faint(f"more: quire threads {shlex.quote(line(channel))} --before {older}"))


@app.command()
def show(ctx: typer.Context, message: MessageName) -> None:
    """Show one message whole.

    Its text, files, who reacted, and where it comes from.

    \b
    Example:
      quire show mzxw-1042.17
    """
    with opened(ctx) as session:
        found = session.manager.get_message(session.message(message))
        if session.out.json:
            session.out.emit(records.message(found))
            return
        from quire.cli.render import faint, thread_line

        parts = list(session.renderer(full=True).message(found))
        if found.thread and found.thread.replies:
            parts.append(faint(f"thread: {thread_line(found.thread)}"))
        if found.origin:
            parts.append(
                faint(f"imported from {line(found.origin.source)}, where its id is {line(found.origin.id)}")
            )
        parts.append(faint(f"id: {message_id_text(found.id)}"))
        session.out.paged(parts)


@app.command()
def history(ctx: typer.Context, message: MessageName) -> None:
    """Show every version of a message and what changed.

    Words taken out are red and struck through, new ones green; without colour they stand as
    [-out-] and {+in+}.

    \b
    Example:
      quire history mzxw-1042.17
    """
    with opened(ctx) as session:
        versions = session.manager.get_edit_history(session.message(message))
        if session.out.json:
            session.out.emit({"versions": [records.version(one) for one in versions]})
            return
        from quire.cli.differences import history_lines

        session.out.paged(history_lines(versions, colour=session.out.console.color_system is not None))


def _continued(session: Session, channel: str, page: Page) -> Iterator[Text]:
    """How to go on from this page."""
    from quire.cli.render import faint

    command = f"quire read {shlex.quote(line(channel))}"
    if page.messages and page.older:
        yield faint(f"older: {command} --before {session.short(page.messages[-1].id)}")
    if page.messages and page.newer:
        yield faint(f"newer: {command} --after {session.short(page.messages[0].id)}")


def _follow(session: Session, renderer: Renderer | None, arriving: Iterator[Message]) -> None:
    """Show what arrives. Ctrl-C is how one leaves, so it is no error."""
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdout.flush()
        for message in arriving:
            if renderer is None:
                session.out.emit(records.message(message))
            else:
                session.out.show(*renderer.message(message))
                sys.stdout.flush()
