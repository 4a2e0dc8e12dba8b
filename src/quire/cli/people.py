"""Commands about who is in a channel: members, role, remove, ban, unban, leave, contact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.naming import PersonName, labels, member_text, name_of, person, short
from quire.cli.reading import ChannelName
from quire.cli.session import Session, confirm, opened
from quire.cli.text import line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from quire.core.circle import MemberView
    from quire.core.ids import IdentityId
    from quire.core.views import ChannelInfo

__all__ = ["Yes", "app"]

app = typer.Typer(rich_markup_mode=None)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; every member sees it.")]


@app.command()
def members(ctx: typer.Context, channel: ChannelName) -> None:
    """List who is in a channel, the senior first.

    Their role and since when they have it, the start of their identity, their devices, how much of the past they
    may read. (verified) = you compared safety numbers: quire id --verify.

    \b
    Example:
      quire members general
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        found = session.manager.members(info.id)
        if session.out.json:
            session.out.emit({"channel": info.id.hex(), "members": [records.member(one) for one in found]})
        elif found:
            session.out.paged(_table(found, session.out.console))
        else:
            session.out.note(f"nobody is in #{line(info.name)} any more")


@app.command()
def role(
    ctx: typer.Context,
    channel: ChannelName,
    who: PersonName,
    new: Annotated[
        str | None,
        typer.Argument(metavar="ROLE", help="guest, member, moderator, admin or owner.", show_default=False),
    ] = None,
    yes: Yes = False,
) -> None:
    """Show or set the role of a member.

    A guest reads. A member also writes. A moderator also deletes and removes. An admin also gives roles, invites and
    sets policies. An owner is outranked by no one; there may be several. Nobody gives a role above their own.

    \b
    Examples:
      quire role general Bob
      quire role general Bob moderator
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        identity = person(session, who, info.id)
        if new is not None and identity == session.manager.identity:
            confirm(
                f"Give yourself the role {line(new.lower(), 20)} in #{line(info.name)}? Only who has a higher one gives it back.",
                yes=yes,
            )
        if new is not None:
            session.manager.set_role(info.id, identity, new.lower())
        now = session.manager.get_member_role(info.id, identity)
        value = {"channel": info.id.hex(), "identity": identity.hex(), "role": now}
        if session.out.json:
            session.out.emit(value)
        elif new is None:
            session.out.show(now)
        else:
            session.out.done(value, f"{called(session, info, identity)} is {now} of #{line(info.name)}")


@app.command()
def remove(
    ctx: typer.Context, channel: ChannelName, who: PersonName, reason: Reason = "", yes: Yes = False
) -> None:
    """Put somebody out of a channel.

    The channel's key changes with it: they read nothing that is written from now on. What they have, they keep.
    They may be invited again; `quire ban` says that they may not.

    \b
    Example:
      quire remove general Bob --reason 'left the company'
    """
    _put_out(ctx, channel, who, reason, yes=yes, ban=False)


@app.command()
def ban(
    ctx: typer.Context, channel: ChannelName, who: PersonName, reason: Reason = "", yes: Yes = False
) -> None:
    """Put somebody out of a channel, and let nobody let them in again.

    Somebody who is not in may be banned beforehand.

    \b
    Example:
      quire ban general Bob --reason 'advertising'
    """
    _put_out(ctx, channel, who, reason, yes=yes, ban=True)


@app.command()
def unban(ctx: typer.Context, channel: ChannelName, who: PersonName) -> None:
    """Lift a ban. They are not in by that: invite them.

    \b
    Example:
      quire unban general Bob
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        identity = person(session, who, info.id)
        name = called(session, info, identity)
        session.manager.unban_member(info.id, identity)
        value = {"channel": info.id.hex(), "identity": identity.hex()}
        session.out.done(value, f"{name} may be invited to #{line(info.name)} again")


@app.command()
def leave(ctx: typer.Context, channel: ChannelName, yes: Yes = False) -> None:
    """Leave a channel. What is here stays here, and nothing new comes.

    Says so if nobody else has shown yet that they have the channel's key: what was written under it might be lost to
    them. Sync, or give them a bundle, and wait until one of them has written; then leave.

    \b
    Example:
      quire leave general
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        last = session.manager.is_last_keyholder(info.id)
        warning = "nobody else has shown yet that they have its key; what is written may be lost to them"
        confirm(
            f"Leave #{line(info.name)}? To come back you must be invited." + f" But {warning}." * last,
            yes=yes,
        )
        session.manager.leave_channel(info.id)
        if last:
            session.out.note(f"{warning}: quire sync, or quire bundle out FILE for them, now")
        words = f"left #{line(info.name)}; the others learn of it from your next bundle"
        session.out.done({"channel": info.id.hex(), "left": True, "last_keyholder": last}, words)


@app.command()
def contact(
    ctx: typer.Context,
    who: PersonName,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="What to call them; '' = by their own name.", show_default=False),
    ] = None,
    unverify: Annotated[bool, typer.Option("--unverify", help="Take the verified mark off.")] = False,
) -> None:
    """Call a person by a name of your choice. Only your own devices see it.

    \b
    Examples:
      quire contact 3f2a9c01 Bob
      quire contact Bob --unverify
    """
    with opened(ctx) as session:
        identity = person(session, who)
        if name is not None or unverify:
            session.manager.set_contact(identity, name=name, verified=False if unverify else None)
        shown = name_of(session, identity)
        session.out.done(
            {"identity": identity.hex(), "name": shown}, f"{short(identity)} is {line(shown)} to you"
        )


def called(session: Session, info: ChannelInfo, identity: IdentityId) -> str:
    """What a person is called among the members of a channel."""
    everyone = {one.identity: one.name for one in session.manager.members(info.id)}
    everyone.setdefault(identity, name_of(session, identity))
    return labels(everyone.items())[identity]


def _put_out(ctx: typer.Context, channel: str, who: str, reason: str, *, yes: bool, ban: bool) -> None:
    with opened(ctx) as session:
        info = session.channel(channel)
        identity = person(session, who, info.id)
        name = called(session, info, identity)
        verb, done = ("Ban", "banned") if ban else ("Remove", "removed")
        confirm(f"{verb} {name} ({short(identity)}) from #{line(info.name)}?", yes=yes)
        act = session.manager.ban_member if ban else session.manager.remove_member
        act(info.id, identity, reason=reason)
        value = {"channel": info.id.hex(), "identity": identity.hex(), "banned": ban}
        session.out.done(value, f"{done} {name} from #{line(info.name)}; its key has changed")


def _table(found: list[MemberView], console: Console) -> Iterator[Text]:
    from quire.cli.periods import history_text
    from quire.cli.render import stamp
    from quire.cli.tables import table

    names = labels((one.identity, one.name) for one in found)
    rows = [
        (
            member_text(one, names[one.identity]), one.role, short(one.identity), stamp(one.since_ms),
            str(len(one.devices)), history_text(one.history),
        )
        for one in found
    ]  # fmt: skip
    headings = ("member", "role", "id", "since", "devices", "reads")
    return table(headings, rows, console, bold=[one.own for one in found])
