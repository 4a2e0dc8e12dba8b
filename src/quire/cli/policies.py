"""Commands about a channel's rules and keys, and how they came to be: policy, rotate, log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.periods import duration, duration_text, history, history_text
from quire.cli.reading import ChannelName
from quire.cli.session import opened
from quire.cli.text import line
from quire.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from quire.core.circle import ForkView, StoryLine

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

MEANINGS = {
    "post": "the least role that may write",
    "pin": "… that may pin",
    "name": "… that may change name and topic",
    "invite": "… that may invite and let in",
    "history": "what newcomers may read",
    "rotation": "how long one key is used",
}


@app.command()
def policy(
    ctx: typer.Context,
    channel: ChannelName,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help=f"One of: {', '.join(MEANINGS)}.", show_default=False),
    ] = None,
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="A role; all, joined or a date; a span.", show_default=False),
    ] = None,
) -> None:
    """Show or set the rules of a channel.

    Who may do what, what newcomers may read, how long a key is used.

    \b
    Examples:
      quire policy general
      quire policy general invite member
      quire policy general history joined
      quire policy general rotation 14d
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        if name is not None and name not in MEANINGS:  # what is let go is the matter of `quire retention`
            raise UsageError(
                f"there is no policy {line(name, 80)}",
                rule="policy_unknown",
                hint=f"one of {', '.join(MEANINGS)}",
            )
        if name is not None and value is not None:
            session.manager.set_policy(info.id, name, _value(name, value))
        every = session.manager.policies(info.id)
        found = {one: every[one] for one in MEANINGS}
        chosen = found if name is None else {name: found[name]}
        if session.out.json:
            session.out.emit(
                {"channel": info.id.hex(), "policies": {one: _plain(one, chosen[one]) for one in chosen}}
            )
            return
        from rich.text import Text

        if value is None:
            rows = [
                f"{one:<9} {_text(one, number):<14}  {MEANINGS.get(one, '')}"
                for one, number in chosen.items()
            ]
            session.out.show(Text("\n".join(row.rstrip() for row in rows)))
        else:
            session.out.done(
                {}, Text(f"{name} of #{line(info.name)} is {_text(str(name), found[str(name)])}")
            )


@app.command()
def rotate(ctx: typer.Context, channel: ChannelName) -> None:
    """Give a channel a new key, now.

    It happens by itself when somebody is removed and when the key is old (see quire policy).

    \b
    Example:
      quire rotate general
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        session.manager.rotate_key(info.id)
        session.out.done({"channel": info.id.hex(), "rotated": True}, f"#{line(info.name)} has a new key")


@app.command()
def log(ctx: typer.Context, channel: ChannelName) -> None:
    """Tell what was done with a channel's members, rules and keys.

    Also what did not count. void = it had no effect, and why. contested = it was rightful when written, and what others
    wrote at the same time went before it.

    \b
    Example:
      quire log general
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        lines, forks = session.manager.story(info.id), session.manager.forks(info.id)
        if session.out.json:
            session.out.emit({
                "channel": info.id.hex(),
                "log": [records.story(one) for one in lines],
                "forks": [records.fork(one) for one in forks],
            })  # fmt: skip
        else:
            session.out.paged(_story(lines, forks, session.out.console), at_end=True)


def _story(lines: list[StoryLine], forks: list[ForkView], console: Console) -> Iterator[Text]:
    from rich.text import Text

    from quire.cli.render import FAINT, stamp
    from quire.cli.tables import beside
    from quire.core.membership.model import REFUSALS

    times = [stamp(one.time_ms) for one in lines]
    width = max(map(len, times), default=0)
    for when, one in zip(times, lines, strict=True):
        told = Text()
        told.append(line(one.author, 40) or "?", "bold")
        told.append(f" {line(one.text, 400)}", "" if one.standing else "strike")
        if not one.standing:
            by = f", by {line(one.by, 40)}" if one.by else ""
            would = f"; it takes the role {one.role}" if one.role else ""
            told.append(f"\nvoid: {REFUSALS.get(one.rule, one.rule.replace('_', ' '))}{by}{would}", "red")
        if one.contested:
            told.append("\ncontested: others acted at the same time", "yellow")
        yield from beside(when.ljust(width), told, console, FAINT)
    for fork in forks:
        whose = f"the device {fork.device.hex()[:8]} of {line(fork.author, 40)}"
        words = f"forked: {whose} wrote in two copies of its vault, from commit {fork.seq:,} on"
        yield from beside(" " * width, Text(words, "yellow"), console, FAINT)


def _value(name: str, text: str) -> int:
    """What one typed, as the policy's number."""
    from quire.channels.inviting import history_scope
    from quire.channels.members import as_role

    if name == "history":
        return history_scope(history(text))
    if name == "rotation":
        return int(duration(text).total_seconds() * 1000)
    return as_role(text)


def _plain(name: str, value: int) -> str | int | None:
    if name == "rotation":
        return value
    return records.history(value) if name == "history" else _text(name, value)


def _text(name: str, value: int) -> str:
    from quire.core.control import Role

    if name == "history":
        return history_text(value)
    return duration_text(value) if name == "rotation" else Role(value).name.lower()
