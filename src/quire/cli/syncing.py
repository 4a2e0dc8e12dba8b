"""Commands that keep vaults in step: sync, up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli.circle import Circle, asked_for, asking
from quire.cli.exits import FOUND
from quire.cli.session import Session, opened
from quire.cli.telling import Teller
from quire.cli.text import bytes_text, plural
from quire.errors import PeerError, TransportError, UsageError

if TYPE_CHECKING:
    from quire.node.peer import SyncReport
    from quire.node.relays import RelayReport
    from quire.transports.interface import Address

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)
ANYWHERE = "0.0.0.0:8441"
Peers = Annotated[
    list[str] | None,
    typer.Option(
        "--peer", "-p", metavar="ADDRESS", help="Where a peer listens, as HOST or HOST:PORT; may be repeated."
    ),
]
Relays = Annotated[
    list[str] | None,
    typer.Option("--relay", "-r", metavar="URL", help="A relay, as wss://HOST; may be repeated."),
]
Interfaces = Annotated[
    list[str] | None,
    typer.Option(
        "--interface",
        metavar="ADDRESS",
        help="Of this machine, on the local network to use; may be repeated.",
    ),
]


@app.command()
def sync(
    ctx: typer.Context,
    peer: Peers = None,
    relay: Relays = None,
    lan: Annotated[
        bool, typer.Option("--lan", help="With all of yours that are up on the local network.")
    ] = False,
    interface: Interfaces = None,
) -> None:
    """Come into step with other devices, once.

    Directly, or by a relay. Those at --peer, and on the local network, must be running `quire up`; a relay keeps what
    goes to those who are not there now. What either side has the other gets, as far as it may. What carries it can read
    and change none of it; if the link breaks, the next sync goes on where it was. Exit code 1 if something was refused,
    10 if somebody did not answer.

    \b
    Examples:
      quire sync --peer 192.168.1.20
      quire sync --relay wss://relay.example
      quire sync --lan
      quire sync --peer desk.example:8441 --peer 10.0.0.3
    """
    addresses, near = _addresses(peer), interface if interface else [] if lan else None
    if not addresses and not relay and near is None:
        raise UsageError(
            "say with whom", rule="no_peer", hint="quire sync --lan, --peer HOST, or --relay URL"
        )
    with opened(ctx) as session:
        before, asked = Circle(session), asking(session)
        reports, failed = asyncio.run(_sync_each(session, addresses, relay or [], near))
        if not (session.out.json or session.settings.quiet):
            requests = [one for key, one in asking(session).items() if key not in asked]
            session.out.show(*Circle(session).since(before), *asked_for(session, requests))
    if failed is not None:
        raise failed
    if any(report.refused for report in reports):
        raise typer.Exit(FOUND)


async def _sync_each(
    session: Session, addresses: list[Address], relays: list[str], near: list[str] | None
) -> tuple[list[SyncReport | RelayReport], PeerError | TransportError | None]:
    """One after the other; who does not answer keeps nobody else from it."""
    from quire.node.node import Node

    node, failed = Node(session.manager), None
    reports: list[SyncReport | RelayReport] = []
    places: list[Address | str] = [*relays, *addresses]
    for where in places:
        try:
            report = await (node.sync_with_relay(where) if isinstance(where, str) else node.sync_with(where))
        except (PeerError, TransportError) as error:
            if failed is not None:
                session.out.note(f"{failed}")
            failed = error
            continue
        reports.append(report)
        _say_brought(session, where, report)
    if near is not None:
        found = 0
        async for address, one in node.sync_on_lan(near):
            found += 1
            reports.append(one)
            _say_brought(session, address, one)
        if not found:
            failed = TransportError(
                "nobody of yours is up on the local network",
                rule="lan_nobody",
                hint="is quire up running there?",
            )
    return reports, failed


def _say_brought(session: Session, where: Address | str, report: SyncReport | RelayReport) -> None:
    session.out.done(*_brought(where, report))
    for rule, times in Counter(error.rule for error in report.refused).items():
        session.out.note(f"refused: {rule}" + (f", {times} times" if times > 1 else ""))


def _brought(where: Address | str, report: SyncReport | RelayReport) -> tuple[dict[str, object], str]:
    """What a sync did, for scripts and for people."""
    from quire.node.peer import SyncReport

    value: dict[str, object] = {
        "new": report.new, "given": report.given, "refused": [error.rule for error in report.refused],
    }  # fmt: skip
    words = f"{where}: {plural(report.new, 'new commit')}, {plural(report.given, 'record')} given"
    if not isinstance(report, SyncReport):
        words += f", {plural(report.files, 'file')} came" if report.files else ""
        return {"relay": where, **value, "files": {"came": report.files}}, words
    value |= {
        "differing": [channel.hex() for channel in report.differing],
        "received_bytes": report.received_bytes, "sent_bytes": report.sent_bytes,
    }  # fmt: skip
    value["files"] = {
        "came": report.files.came, "lacked": report.files.lacked, "no_room": report.files.full,
        "refused": [error.rule for error in report.files.refused],
    }  # fmt: skip
    words += f", {plural(report.files.came, 'file')} came" if report.files.came else ""
    words += ", no room for files" if report.files.full else ""
    words += f", {bytes_text(report.received_bytes)} in, {bytes_text(report.sent_bytes)} out"
    return {"address": str(where), "peer": report.peer.hex(), **value}, words


@app.command()
def up(
    ctx: typer.Context,
    peer: Peers = None,
    relay: Relays = None,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where others may connect; - for nowhere.")
    ] = ANYWHERE,
    no_lan: Annotated[
        bool, typer.Option("--no-lan", help="Neither find others on the local network, nor be found.")
    ] = False,
    interface: Interfaces = None,
) -> None:
    """Keep this vault in step with others until you stop it.

    Ctrl-C ends it. It says what happens.

    Devices on one local network that share a channel find each other. To others they announce nothing but that
    somebody runs Quire. Those at --peer, and relays, are kept connected; others reach this one at --listen. It speaks
    only to devices that share a channel with you, and to anybody while an invite of yours is open or you wait to be let
    in. What this or any other program writes to the vault goes out at once.

    \b
    Examples:
      quire up
      quire up --peer 192.168.1.20
      quire up --relay wss://relay.example --listen -
      quire up --listen 127.0.0.1:9000 --no-lan --json
    """
    from quire.transports.interface import parse_address

    addresses = _addresses(peer)
    place = None if listen == "-" else parse_address(listen)
    near = None if no_lan else _near(interface or [], place)
    with opened(ctx) as session:
        asyncio.run(_up(session, addresses, relay or [], place, near))


def _near(interfaces: list[str], place: Address | None) -> list[str] | None:
    """On which interfaces to find others, for who listens there: none if that is this machine's own loop."""
    if interfaces or place is None or place.host in ("0.0.0.0", "::"):  # noqa: S104 - compared only
        return interfaces
    return None if place.host == "localhost" or place.host.startswith("127.") else [place.host]


async def _up(
    session: Session,
    addresses: list[Address],
    relays: list[str],
    place: Address | None,
    near: list[str] | None,
) -> None:
    from quire.node.node import Node

    teller = Teller(session)

    async def tell(node: Node) -> None:
        async for event in node.events():
            teller.say(event)

    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with Node(session.manager, listen=place, lan=near) as node:
        for address in addresses:
            node.keep(address)
        for url in relays:
            node.keep_relay(url)
        telling = asyncio.create_task(tell(node))
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait({telling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (telling, stopping):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling


def _addresses(peers: list[str] | None) -> list[Address]:
    from quire.transports.interface import parse_address

    return [parse_address(text) for text in peers or ()]
