"""Commands by which people come in: invite, invites, uninvite, add, join, requests.

An invite link holds a secret: who has it may ask to be let in. So `join` also takes it from a file or stdin, where it
stands in no process list.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.circle import not_let_in
from quire.cli.fetching import channel_line, shown
from quire.cli.naming import Card, given_text, labels, name_of, person, short
from quire.cli.periods import expiry, history, history_text
from quire.cli.reading import ChannelName
from quire.cli.session import Session, opened
from quire.cli.text import a_role, line, plural
from quire.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from quire.core.circle import InviteView, Joining, RequestView
    from quire.core.views import ChannelInfo

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

KEY_CHARS = 8  # of an invite's key, as people are shown it
Role = Annotated[str, typer.Option("--role", metavar="ROLE", help="What they become: guest, member, …")]
Scope = Annotated[
    str | None, typer.Option("--history", metavar="PAST", help="What they may read: all, joined, or a date.")
]


@app.command()
def invite(
    ctx: typer.Context,
    channel: ChannelName,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="PERSON", help="Only this one: a name, or a key card.")
    ] = None,
    uses: Annotated[
        int, typer.Option("--uses", metavar="N", help="How many may come by it; 0 = any number.")
    ] = 1,
    expires: Annotated[
        str, typer.Option("--expires", metavar="WHEN", help="12h, 7d, a date, or never.")
    ] = "7d",
    role: Role = "member",
    past: Scope = None,
    approval: Annotated[
        bool, typer.Option("--approval", help="A member who may invite must agree: quire requests.")
    ] = False,
    qr: Annotated[bool, typer.Option("--qr", help="Also as a QR code.")] = False,
) -> None:
    """Make a link by which people join a channel.

    Whoever has the link may ask to be let in, so send it by a road you trust. Any member who may invite lets them in,
    also while you are away. Without --history the channel's policy says what they may read.

    \b
    Examples:
      quire invite general
      quire invite general --for bob.card --role moderator
      quire invite general --uses 20 --expires 2d --history joined --approval
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        only = person(session, for_) if for_ else None
        made = session.manager.create_invite(
            info.id, role=role, uses=uses, expires=expiry(expires),
            history=history(past) if past else None, person=only, approval=approval,
        )  # fmt: skip
        key = made.secret.key(made.channel).public
        text = made.text()
        if session.out.json:
            session.out.emit(
                {
                    "link": text,
                    "key": key.hex(),
                    "channel": info.id.hex(),
                    "expires": records.iso(made.expires_ms or None),
                }
            )
            return
        if qr:
            session.draw(text)
        from rich.text import Text

        from quire.cli.render import stamp

        session.out.console.print(Text(text), soft_wrap=True)  # a link stays whole
        who = name_of(session, only) if only else "anyone" if uses == 0 else plural(uses, "person", "people")
        until = f", until {stamp(made.expires_ms)}" if made.expires_ms else ""
        if made.is_expired(time.time_ns() // 1_000_000):
            session.out.note("that is over: nobody comes in by it")
        session.out.note(
            f"\nfor {line(who, 40)} to join #{line(info.name)} as {role.lower()}{until}; they say: quire join LINK\n"
            f"to withdraw it: quire uninvite {line(channel)} {key.hex()[:KEY_CHARS]}"
        )


@app.command()
def invites(
    ctx: typer.Context,
    channel: ChannelName,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are used up or expired.")] = False,
) -> None:
    """List the invites to a channel that are open.

    \b
    Example:
      quire invites general
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        found = [one for one in session.manager.invites(info.id) if all_ or one.usable]
        if session.out.json:
            session.out.emit({"channel": info.id.hex(), "invites": [records.invite(one) for one in found]})
        elif found:
            session.out.paged(_invites(session, found))
        else:
            session.out.note(f"no open invites to #{line(info.name)}")


@app.command()
def uninvite(
    ctx: typer.Context,
    channel: ChannelName,
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `quire invites` shows it.")],
) -> None:
    """Withdraw an invite: nobody comes in by it any more.

    \b
    Example:
      quire uninvite general 5c0d91aa
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        session.manager.withdraw_invite(info.id, key)
        value = {"channel": info.id.hex(), "key": key.lower(), "withdrawn": True}
        session.out.done(value, f"the invite {line(key, 64)} to #{line(info.name)} is withdrawn")


@app.command()
def add(
    ctx: typer.Context, channel: ChannelName, card: Card, role: Role = "member", past: Scope = None
) -> None:
    """Let somebody in whose key card you have. They need no link.

    They show their card with: quire id. They learn of it from your next bundle.

    \b
    Examples:
      quire add general bob.card
      quire add general bob.card --role guest --history joined
    """
    with opened(ctx) as session:
        from quire.core.crypto.cards import parse_card

        info = session.channel(channel)
        text = given_text(card)
        identity = parse_card(text).identity
        session.manager.add_member(info.id, text, role=role, history=history(past) if past else None)
        value = {"channel": info.id.hex(), "identity": identity.hex(), "role": role.lower()}
        name = line(name_of(session, identity), 40)
        session.out.done(value, f"{name} is {role.lower()} of #{line(info.name)}")
        session.out.note(f"next: quire sync, or quire bundle out FILE --channel {line(channel)} for them")


@app.command()
def join(
    ctx: typer.Context,
    link: Annotated[
        str, typer.Argument(metavar="LINK", help="The link, a file that holds it, or - (stdin).")
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What you wish to be called there.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the request to this bundle file.")
    ] = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Ask no longer.")] = False,
    relay: Annotated[
        str, typer.Option("--relay", "-r", metavar="URL", help="Ask by this relay, and wait to be let in.")
    ] = "",
    lan: Annotated[
        bool, typer.Option("--lan", help="Ask on the local network, and wait to be let in.")
    ] = False,
    interface: Annotated[
        list[str] | None, typer.Option("--interface", metavar="ADDRESS", help="On which local network.")
    ] = None,
) -> None:
    """Ask to be let into a channel, by an invite link.

    The request leaves with every sync and every bundle that you write, until you are in. Any member may take it. With
    --relay or --lan it goes at once, and history comes as soon as a member's quire up has let you in, the newest first;
    you may stop it (Ctrl-C), and go on with quire sync or quire up.

    \b
    Examples:
      quire join quire:join:AbCd… --relay wss://relay.example
      quire join link.txt --name Bob --lan
      quire join link.txt --out request.bundle
    """
    from quire.core.invite import parse_link

    text = given_text(link)
    with opened(ctx) as session:
        if cancel:
            wanted = parse_link(text)
            session.manager.cancel_join(wanted.channel)
            session.out.done(
                {"channel": wanted.channel.hex(), "asked": False},
                f"no longer asking for #{line(wanted.name)}",
            )
            return
        asked = session.manager.join_channel(text, name=name)
        if out is not None:
            session.manager.write_bundle(out, [])
        if relay or lan or interface:
            asyncio.run(_come_in(session, asked, relay, interface or []))
            return
        session.out.done(
            records.joining(asked) | {"out": None if out is None else str(out)},
            f"asking to be let into #{line(asked.name)}" + ("; the request is written" if out else ""),
        )
        session.out.note(
            "next: give that file to any member; they say quire bundle in FILE, and give you a bundle back"
            if out
            else "next: quire sync --relay URL or --peer HOST, or quire bundle out FILE for any member"
        )


async def _come_in(session: Session, asked: Joining, relay: str, interfaces: list[str]) -> None:
    """Send the request, wait for a member's answer, and fetch what is there to read."""
    from quire.node.fetching import from_lan, from_relay

    chat = session.manager

    def is_answered() -> bool:
        return all(one.channel != asked.channel or one.refused for one in chat.joining())

    session.out.note(f"asking to be let into #{line(asked.name)}; waiting for a member (Ctrl-C: later) …")
    coming = from_relay(chat, relay, is_answered) if relay else from_lan(chat, interfaces, is_answered)
    await shown(session.out, chat, coming)
    for one in chat.joining():
        if one.channel == asked.channel:
            raise UsageError(
                not_let_in(one), rule="join_refused", hint="ask them for another invite", reason=one.refused
            )
    info = chat.get_channel(asked.channel)
    session.out.done(
        channel_line(info), f"you are in #{line(info.name)}: {plural(info.messages, 'message')} to read"
    )
    session.out.note(f"next: quire read {line(info.name)}; quire up keeps it in step")


@app.command()
def requests(
    ctx: typer.Context,
    channel: Annotated[
        str | None, typer.Argument(metavar="CHANNEL", help="Only to this one.", show_default=False)
    ] = None,
    approve: Annotated[
        str | None, typer.Option("--approve", metavar="PERSON", help="Let this one in.")
    ] = None,
    decline: Annotated[
        str | None, typer.Option("--decline", metavar="PERSON", help="Refuse this one.")
    ] = None,
) -> None:
    """List who asks to be let in; agree, or refuse.

    Also where you ask to be let in yourself, and wait, or are refused. Who invited you can refuse you, and nobody else in
    their name. A refused request goes out no more: quire join LINK asks again.

    \b
    Examples:
      quire requests
      quire requests general --approve Bob
      quire requests general --decline 3f2a9c01
    """
    with opened(ctx) as session:
        if (approve or decline) and (channel is None or (approve and decline)):
            raise UsageError(
                "one channel, and one of --approve and --decline",
                rule="command_line",
                hint="quire requests CHANNEL --approve PERSON",
            )
        if channel is None:
            _all_requests(session)
            return
        info = session.channel(channel)
        if approve or decline:
            _answer(session, info, approve, decline)
            return
        found = session.manager.requests(info.id)
        if session.out.json:
            session.out.emit({"requests": [records.request(one, info) for one in found], "asked": []})
        elif found:
            _show_requests(session, [(info, one) for one in found], [])
        else:
            session.out.note(f"nobody asks to be let into #{line(info.name)}")


def _all_requests(session: Session) -> None:
    infos = session.manager.list_channels()
    found = [(info, one) for info in infos for one in session.manager.requests(info.id)]
    asked = session.manager.joining()
    if session.out.json:
        session.out.emit({
            "requests": [records.request(one, info) for info, one in found],
            "asked": [records.joining(one) for one in asked],
        })  # fmt: skip
    elif found or asked:
        _show_requests(session, found, asked)
    else:
        session.out.note("nobody asks to be let in, and you ask for nothing")


def _answer(session: Session, info: ChannelInfo, approve: str | None, decline: str | None) -> None:
    identity = person(session, approve or decline or "", info.id)
    name = line(name_of(session, identity), 40)
    if approve:
        session.manager.approve(info.id, identity)
    else:
        session.manager.decline(info.id, identity)
    value = {"channel": info.id.hex(), "identity": identity.hex(), "approved": bool(approve)}
    session.out.done(
        value, f"{'let' if approve else 'refused'} {name}{' into' if approve else ' for'} #{line(info.name)}"
    )
    if approve:
        session.out.note("next: quire sync, or quire bundle out FILE for them")


def _show_requests(
    session: Session, found: list[tuple[ChannelInfo, RequestView]], asked: list[Joining]
) -> None:
    from rich.text import Text

    from quire.cli.render import stamp

    names = labels((one.identity, one.name) for _, one in found)
    rows = [
        f"{names[one.identity]} ({short(one.identity)}) asks to be {a_role(one.role)} of #{line(info.name)},"
        f" {stamp(one.since_ms)}"
        for info, one in found
    ]
    rows += [
        f"{not_let_in(one)}, {stamp(one.refused_ms)}"
        if one.refused
        else f"you ask to be let into #{line(one.name)}, {stamp(one.since_ms)}"
        for one in asked
    ]
    session.out.paged([Text(row) for row in rows])
    if any(one.refused for one in asked):
        session.out.note("to ask again: quire join LINK; to forget it: quire join LINK --cancel")


def _invites(session: Session, found: list[InviteView]) -> Iterator[Text]:
    from quire.cli.render import stamp
    from quire.cli.tables import table

    rows = [
        (
            one.key.hex()[:KEY_CHARS],
            line(name_of(session, one.identity) if one.identity else "anyone", 40)
            + (", if approved" if one.approval else ""),
            one.role, f"{one.used:,} of {one.uses:,}" if one.uses else f"{one.used:,}",
            stamp(one.expires_ms) if one.expires_ms else "never", history_text(one.history), line(one.author, 40),
        )
        for one in found
    ]  # fmt: skip
    headings = ("key", "for", "role", "used", "expires", "reads", "by")
    return table(headings, rows, session.out.console)
