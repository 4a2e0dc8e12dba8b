"""Commands about channels: channels, channel create / rename / topic, mark-read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.reading import ChannelName
from quire.cli.session import Session, opened
from quire.cli.text import line, plural
from quire.core.views import ChannelInfo

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)
STAMP_CHARS = len("30 Nov 2024 12:00")

one = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Create, rename or describe a channel.

    \b
    Examples:
      quire channel create general --topic 'Whatever concerns everybody'
      quire channel rename general lobby
      quire channel topic lobby 'Hello and goodbye'
    """,
)
app.add_typer(one, name="channel")


@app.command()
def channels(
    ctx: typer.Context,
    unread: Annotated[bool, typer.Option("--unread", help="Only those with unread messages.")] = False,
) -> None:
    """List the channels.

    What they hold, what is unread (@ = you are mentioned), when the last message came; (out) = you are not in it any
    more.

    \b
    Example:
      quire channels
    """
    with opened(ctx) as session:
        found = [info for info in session.manager.list_channels() if info.unread or not unread]
        if session.out.json:
            session.out.emit({"channels": [records.channel(info) for info in found]})
        elif found:
            session.out.paged(_table(found, session.out.console.width))
        else:
            session.out.note("no unread messages" if unread else "no channels yet: quire channel create NAME")


@one.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it, with or without #.")],
    topic: Annotated[str, typer.Option("--topic", metavar="TEXT", help="What it is about.")] = "",
) -> None:
    """Create a channel.

    \b
    Example:
      quire channel create general --topic 'Everything else'
    """
    with opened(ctx) as session:
        _changed(session, session.manager.create_channel(name, topic=topic), "created")


@one.command()
def rename(
    ctx: typer.Context,
    channel: ChannelName,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
) -> None:
    """Give a channel another name.

    \b
    Example:
      quire channel rename general lobby
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        session.manager.rename_channel(info.id, name)
        _changed(session, session.manager.get_channel(info.id), "renamed to")


@one.command()
def topic(
    ctx: typer.Context,
    channel: ChannelName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What it is about; '' for nothing.")],
) -> None:
    """Say what a channel is about.

    \b
    Example:
      quire channel topic general 'Everything else'
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        session.manager.set_topic(info.id, text)
        _changed(session, session.manager.get_channel(info.id), "set the topic of")


@app.command(name="mark-read")
def mark_read(
    ctx: typer.Context,
    channel: ChannelName,
    up_to: Annotated[
        str | None,
        typer.Argument(metavar="MESSAGE", help="The last message read; else all.", show_default=False),
    ] = None,
) -> None:
    """Mark a channel's messages as read, all or up to one.

    \b
    Example:
      quire mark-read general
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        session.manager.mark_read(info.id, session.message(up_to) if up_to else None)
        now = session.manager.get_channel(info.id)
        session.out.done(records.channel(now), f"#{line(now.name)}: {plural(now.unread, 'unread message')}")


def _changed(session: Session, info: ChannelInfo, what: str) -> None:
    session.out.done(records.channel(info), f"{what} #{line(info.name)}")


def _table(found: list[ChannelInfo], width: int) -> Iterator[Text]:
    """A row for each channel; the topic takes what room is left."""
    from rich.cells import cell_len
    from rich.text import Text

    from quire.cli.render import FAINT, stamp
    from quire.cli.tables import fitted

    names = [f"#{line(info.name)}" + (" (out)" if info.role == "none" else "") for info in found]
    room = min(max(map(cell_len, names)), max(width // 3, 10))
    head = f"{'channel':<{room}}  messages  threads  unread  {'last':<{STAMP_CHARS}}  topic"
    heading = Text(head, "bold", no_wrap=True)
    heading.truncate(width, overflow="ellipsis")
    yield heading
    for name, info in zip(names, found, strict=True):
        unread = f"{info.unread:,}" + ("@" if info.mentions else "") if info.unread else ""
        row = Text(no_wrap=True)
        row.append(fitted(name, room), "bold" if info.unread else "")
        row.append(f"  {info.messages:>8,}  {info.threads:>7,}  ")
        row.append(f"{unread:>6}", "bold")
        row.append(f"  {stamp(info.last_ms):<{STAMP_CHARS}}  {line(info.topic)}".rstrip(), FAINT)
        row.truncate(width, overflow="ellipsis")
        yield row
