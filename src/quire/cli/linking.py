"""Commands by which a machine becomes one of one's own devices: link, recover.

Linking needs a road for four messages: the local network, a relay, or a folder that both machines reach, such as a share
or a stick that is carried to and fro while both wait. Who reads or changes what goes there learns nothing and has one
guess at the code (core/crypto/linking.py).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import unlock
from quire.cli.fetching import channel_line, shown
from quire.cli.output import Output
from quire.cli.session import Session, opened, output_of, settings_of
from quire.cli.text import line, plural
from quire.errors import NotFoundError, PeerError, TransportError, UsageError

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager
    from quire.core.crypto.secrets import RecoveryPhrase, Unlock
    from quire.store.linking import LinkGuest
    from quire.store.local import LocalStore

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

TRIES = 3  # typing errors cost nothing: the code checks itself; nor does whoever spoils an attempt: there is another
SPOILED = ("link_unanswered", "link_lost")
CALL = "quire:link:"  # what the QR code says: the code, and the relay after an @
CODE_CHARS_MAX = 2_048


@app.command()
def link(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="A folder that both machines reach.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="On the new machine: make its vault.")] = False,
    code: Annotated[
        str,
        typer.Option("--code", metavar="CODE", help="On the new one: the code, or what the QR code says."),
    ] = "",
    relay: Annotated[
        str, typer.Option("--relay", "-r", metavar="URL", help="Meet at a relay, as wss://HOST.")
    ] = "",
    no_lan: Annotated[bool, typer.Option("--no-lan", help="Do not meet on the local network.")] = False,
    interface: Annotated[
        list[str] | None,
        typer.Option("--interface", metavar="ADDRESS", help="On which local network to meet."),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="On the old one: what to call the new device.")
    ] = "",
) -> None:
    """Make another machine one of your devices, by a short code. Say it on both, the old one first.

    The old machine shows a code; the new one takes it by --code, or asks for it with --new. They meet on the local
    network, at a relay, or in a folder that both reach: a share, or a stick carried between them while both wait. Over a
    network the new machine then fetches history: the newest is there at once. If that is broken off, quire sync goes on.
    A vault that was restored from a backup without the 24 words becomes one of your devices in the same way.

    \b
    Examples:
      quire link --name laptop
      quire link --code 3F9T-7K2Q-M9XD
      quire link --relay wss://relay.example
      quire link --code 3F9T-7K2Q-M9XD --relay wss://relay.example
      quire link /media/stick
      quire link /media/stick --new
    """
    if folder is not None and not folder.is_dir():
        raise NotFoundError(f"there is no folder {line(str(folder), 200)}", rule="path_absent")
    near = None if no_lan or folder is not None else list(interface or ())
    if new or code:
        _guest(ctx, code, folder, relay, list(interface or ()))
        return
    if folder is None and not relay and near is None:
        raise UsageError("say where to meet", rule="no_road", hint="quire link --relay URL, or a folder")
    with opened(ctx) as session:
        asyncio.run(_host(session, name, folder, relay, near))


@app.command()
def recover(
    ctx: typer.Context,
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Bundle files, of yours or of people who share a channel."),
    ] = None,
    relay: Annotated[
        str, typer.Option("--relay", "-r", metavar="URL", help="A relay that you used, as wss://HOST.")
    ] = "",
) -> None:
    """Make a new vault from the 24 words and a relay, or bundles.

    All that anybody kept of yours is back. A relay that you used holds what you need, sealed. So does, in each bundle
    that they write, a member of any of your channels. The words are asked for, or read with --passphrase-fd; the
    passphrase of the new vault comes as for quire init.

    \b
    Examples:
      quire recover --relay wss://relay.example
      quire recover talk.bundle
      quire --vault book recover talk.bundle work.bundle --passphrase-fd 3 3< words.txt
    """
    from quire.channels.manager import ChannelManager
    from quire.store.creation import ensure_free
    from quire.store.local import LocalStore

    if not bundles and not relay:
        raise UsageError("say from where", rule="recover_from", hint="quire recover --relay URL, or FILE")
    settings, out = settings_of(ctx), output_of(ctx)
    ensure_free(settings.vault)  # before anybody types 24 words for nothing
    phrase = unlock.recovery_phrase(settings)
    first = unlock.first_unlock(settings, words=True)
    with TemporaryDirectory() as folder:
        files = list(bundles or ())
        if relay:
            files.append(_inbox_file(Path(folder), relay, phrase))
        store = LocalStore.recover(settings.vault, first, phrase, files)
    with store:
        if relay:
            out.note("fetching history from the relay …")
            asyncio.run(_fetch(out, ChannelManager(store), relay))
        channels = ChannelManager(store).list_channels()
    value = {"vault": str(settings.vault), "channels": [channel_line(one) for one in channels]}
    messages = sum(one.messages for one in channels)
    out.done(value, f"recovered {plural(len(channels), 'channel')} with {plural(messages, 'message')}")
    out.note(
        "next: quire sync, or quire bundle out FILE, for the others; quire revoke DEVICE for what was lost: quire devices"
    )


def _inbox_file(folder: Path, url: str, phrase: RecoveryPhrase) -> Path:
    """What lies at a relay for who has these words, as a bundle file."""
    from quire.core.bundle_file import write_bundle_file
    from quire.core.crypto.keys import identity_key
    from quire.node.relays import fetch_inbox

    records = asyncio.run(fetch_inbox(url, identity_key(phrase).public))
    path = folder / "inbox"
    path.write_bytes(b"".join(write_bundle_file(records)))
    return path


async def _fetch(out: Output, chat: ChannelManager, url: str) -> None:
    from quire.node.node import Node

    async def once() -> None:
        await Node(chat).sync_with_relay(url)

    await shown(out, chat, once())


# The old machine


async def _host(session: Session, name: str, folder: Path | None, relay: str, near: list[str] | None) -> None:
    from quire.node.linking import give_history, host_roads, link_host
    from quire.store.linking import LinkHost

    for left in reversed(range(TRIES)):
        host = LinkHost(session.store)
        roads = await host_roads(host.code, folder=folder, relay=relay, lan=near)
        _show_code(session, host.code.text(), folder, relay)
        try:
            road = await link_host(host, roads, name=name)
            break
        except (PeerError, TransportError) as error:  # somebody mistyped, guessed, or spoiled it
            if not left or (isinstance(error, TransportError) and error.rule not in SPOILED):
                raise
            session.out.note(f"{error}; here is another code")
    session.out.done({"linked": True, "name": name}, "the new machine is one of your devices")
    try:
        session.out.note("giving it what it needs …")
        came = await give_history(session.manager, host, road, relay=relay, lan=near)
    finally:
        await road.close()
    if not came:
        session.out.note(
            "next: quire sync on both, or quire bundle out FILE here and quire bundle in FILE there"
        )


def _show_code(session: Session, code: str, folder: Path | None, relay: str) -> None:
    """To be read and typed: on stderr with --json, where stdout holds one object."""
    out = session.out
    if out.json or out.settings.quiet:
        out.errors.print(code)
    else:
        out.show(f"code: {code}")
        sys.stdout.flush()
        if folder is None and out.console.is_terminal:
            session.draw(CALL + code + (f"@{relay}" if relay else ""))
    where = f"{line(str(folder), 200)} --new" if folder else f"--code {code}"
    by = f" --relay {line(relay, 200)}" if relay else ""
    out.note(f"on the new machine: quire link {where}{by}; waiting …")


# The new machine


def _guest(ctx: typer.Context, code: str, folder: Path | None, relay: str, near: list[str]) -> None:
    from quire.store.creation import ensure_free

    settings, out = settings_of(ctx), output_of(ctx)
    code, _, called = code.strip().removeprefix(CALL).partition("@")
    if settings.vault.is_dir() and any(settings.vault.iterdir()):
        with opened(ctx) as session:
            if session.store.ledger.is_certified:
                ensure_free(settings.vault)
            guest = _guest_by_code(code, session.store)
            asyncio.run(_certified(session, guest, folder, relay or called, near))
        return
    ensure_free(settings.vault)
    guest = _guest_by_code(code)
    first = unlock.first_unlock(settings)
    asyncio.run(_linked(out, guest, settings.vault, first, folder, relay or called, near))


async def _linked(
    out: Output,
    guest: LinkGuest,
    vault: Path,
    first: Unlock,
    folder: Path | None,
    relay: str,
    near: list[str],
) -> None:
    from quire.channels.manager import ChannelManager
    from quire.node.linking import fetch_history, guest_road, link_guest
    from quire.store.local import LocalStore

    if folder is None:
        out.note("looking for the old machine …")
    road = await guest_road(guest.code, folder=folder, relay=relay, lan=near)
    try:
        await link_guest(guest, road, vault, first)
        value: dict[str, object] = {"vault": str(vault), "linked": True}
        if folder is not None:
            out.done(value, "this machine is one of your devices")
            out.note("next: quire sync, or quire bundle in FILE with a bundle that the old one wrote")
            return
        out.note("this machine is one of your devices; fetching history …")
        with LocalStore.open(vault, first) as store:
            chat = ChannelManager(store)
            await shown(out, chat, fetch_history(chat, road, relay=relay, lan=near))
            found = chat.list_channels()
    finally:
        await road.close()
    value["channels"] = [channel_line(one) for one in found]
    messages = sum(one.messages for one in found)
    out.done(value, f"linked: {plural(len(found), 'channel')} with {plural(messages, 'message')}")
    out.note("next: quire up keeps it in step")


async def _certified(
    session: Session, guest: LinkGuest, folder: Path | None, relay: str, near: list[str]
) -> None:
    """A vault that was restored without the words becomes a device of its owner, and catches up."""
    from quire.node.linking import fetch_history, guest_road, link_guest

    out, chat, vault = session.out, session.manager, session.store.folder
    if folder is None:
        out.note("looking for the old machine …")
    road = await guest_road(guest.code, folder=folder, relay=relay, lan=near)
    try:
        await link_guest(guest, road, vault, None)
        if folder is None:
            out.note("this machine is one of your devices; fetching what is newer than the backup …")
            await shown(out, chat, fetch_history(chat, road, relay=relay, lan=near))
    finally:
        await road.close()
    out.done({"vault": str(vault), "linked": True}, "this restored vault is one of your devices")
    out.note("next: quire up keeps it in step")


def _guest_by_code(code: str, restored: LocalStore | None = None) -> LinkGuest:
    """The code from the command line, from the person at the terminal, who may mistype it, or from stdin."""
    from quire.store.linking import LinkGuest

    if code:
        return LinkGuest(code, restored)
    if not unlock.can_ask():
        return LinkGuest(sys.stdin.readline(CODE_CHARS_MAX), restored)
    for _ in range(TRIES - 1):
        try:
            return LinkGuest(typer.prompt("Code", err=True), restored)
        except UsageError as error:
            sys.stderr.write(f"{error}\n")
    return LinkGuest(typer.prompt("Code", err=True), restored)
