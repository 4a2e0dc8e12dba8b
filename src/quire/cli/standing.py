"""Commands that say how far things are: peers, status."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.circle import not_let_in
from quire.cli.naming import short
from quire.cli.session import Session, opened
from quire.cli.text import line, plural

if TYPE_CHECKING:
    from quire.channels.standing import OtherStatus
    from quire.channels.syncing import ChannelStatus

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

WAITS = {  # why commits and operations wait, for people
    "ahead": "for their time: the clock that wrote them is ahead",
    "archive_away": "for what is archived and not at hand (quire archive --list)",
    "control_head_unknown": "for a change of members or keys that has not come",
    "target": "for a message that has not come, or for their time",
}
ROADS = {"direct": "its address", "lan": "the local network", "relay": "a relay", "": "it comes to us"}


@app.command()
def peers(
    ctx: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Also devices that were never met.")] = False,
    try_: Annotated[
        bool, typer.Option("--try", help="Connect to each now, where its address is known.")
    ] = False,
) -> None:
    """List other devices and relays, and what each may lack.

    When each was met last, and by which road. Behind are commits here that the other may have and, when the two last
    compared, had not. That it has them since, by another road, shows at the next meeting.

    \\b
    Examples:
      quire peers
      quire peers --try
      quire peers --all --json
    """
    from quire.channels.standing import Standing

    with opened(ctx) as session:
        found = Standing(session.manager).others()
        shown = [one for one in found if all_ or one.seen_ms or one.own]
        reachable = asyncio.run(_tried(session, shown)) if try_ else {}
        if session.out.json:
            session.out.emit(
                {
                    "peers": [records.other(one, reachable.get(one.id)) for one in shown],
                    "never_met": _unmet(found),
                }
            )
            return
        _show_peers(session, shown, reachable)
        if (unmet := len(found) - len(shown)) or not shown:
            session.out.note(
                f"and {plural(unmet, 'device')} that {'was' if unmet == 1 else 'were'} never met: --all" if unmet
                else "no other device or relay yet"
            )  # fmt: skip


@app.command()
def status(ctx: typer.Context) -> None:
    """Show how whole each channel is, and what nobody else has yet.

    Missing are commits that later ones show there to be; another sync with somebody who has them brings them. What
    waits is here, and waits for a message or a member that has not come yet, or for its time. In the outbox is what you
    wrote here that no other device and no relay is known to have.

    \\b
    Example:
      quire status
    """
    from quire.channels.standing import Standing
    from quire.channels.syncing import Syncing

    with opened(ctx) as session:
        standing = Standing(session.manager)
        found, outbox, others = Syncing(session.manager).status(), standing.outbox(), standing.others()
        if session.out.json:
            session.out.emit(
                {
                    "channels": [_channel(one, outbox.get(one.channel, 0)) for one in found],
                    "outbox": sum(outbox.values()),
                    "peers": [records.other(one, None) for one in others if one.seen_ms or one.own],
                    "never_met": _unmet(others),
                }
            )
            return
        names = {one.id: _called(one) for one in others}
        for one in found:
            _show_channel(session, one, outbox.get(one.channel, 0), names)
        if not found:
            session.out.note("no channels yet")
        behind = [one for one in others if one.behind and one.seen_ms]
        for other in behind:
            session.out.show(f"{_called(other)} lacks {plural(other.behind, 'commit')}")
        for asked in session.manager.joining():
            if asked.refused:
                session.out.show(not_let_in(asked))
            else:
                session.out.show(f"#{line(asked.name)}  asked to be let in; no answer yet")


def _unmet(found: list[OtherStatus]) -> int:
    return sum(not one.seen_ms and not one.own for one in found)


def _channel(one: ChannelStatus, outbox: int) -> dict[str, object]:
    return {
        "id": one.channel.hex(), "name": one.name, "messages": one.messages, "complete": one.complete,
        "missing": one.missing, "waiting": one.waiting, "outbox": outbox,
        "missing_of": [{"device": device.hex(), "commits": commits} for device, commits in one.missing_of],
        "waiting_for": [{"rule": rule, "count": count} for rule, count in one.waiting_for],
    }  # fmt: skip


def _show_channel(session: Session, one: ChannelStatus, outbox: int, names: dict[bytes, str]) -> None:
    says = [plural(one.messages, "message"), "complete" if one.complete else ""]
    says += [plural(one.missing, "commit") + " missing"] * bool(one.missing)
    says += [f"{one.waiting} waiting"] * bool(one.waiting)
    says += [f"{outbox} nobody else has yet"] * bool(outbox)
    session.out.show(f"#{line(one.name)}  {', '.join(filter(None, says))}")
    for device, commits in one.missing_of:
        session.out.show(
            f"    {plural(commits, 'commit')} of {names.get(device) or short(device)}: sync with somebody who has them"
        )
    for rule, waiting in one.waiting_for:
        session.out.show(f"    {waiting} waiting {WAITS.get(rule, rule)}")


def _show_peers(session: Session, found: list[OtherStatus], reachable: dict[bytes, str]) -> None:
    from quire.cli.render import stamp
    from quire.cli.tables import table

    rows = []
    for one in found:
        rule = reachable.get(one.id, one.rule if one.tried_ms else "")
        answers = "yes" if reachable.get(one.id) == "" else f"no: {rule}" if rule else ""
        rows.append((
            _called(one), short(one.id), stamp(one.seen_ms) if one.seen_ms else "never",
            (ROADS[one.road] + (f" {one.address}" if one.kind == "device" and one.address else "")) if one.seen_ms else "",
            str(one.behind) if one.behind else "nothing", answers,
        ))  # fmt: skip
    if rows:
        headings = ("peer", "id", "last met", "by", "behind", "answers")
        session.out.paged(table(headings, rows, session.out.console))


def _called(one: OtherStatus) -> str:
    if one.kind == "relay":
        return line(one.address, 60)
    own = line(one.name, 40) or f"device {short(one.id)}"
    return f"{own} (yours)" if one.own else line(one.name, 40)


async def _tried(session: Session, found: list[OtherStatus]) -> dict[bytes, str]:
    """Of each whose address is known: the rule by which it does not answer, or "" if it does."""
    from quire.node.node import Node

    asked = [one for one in found if one.address]
    node = Node(session.manager)
    rules = await asyncio.gather(*(node.answers(one.kind, one.address, one.id) for one in asked))
    return {one.id: rule for one, rule in zip(asked, rules, strict=True)}
