"""Commands by which a machine becomes one of one's own devices: link, recover.

Linking needs a road for four messages: a folder that both machines reach, such as a share, a synchronised folder or
a stick that is carried to and fro while both wait. Who reads or changes the folder learns nothing and has one guess
at the code (core/crypto/linking.py). Each message is a file that appears whole; what was used is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import unlock
from quire.cli.output import Output
from quire.cli.records import iso
from quire.cli.session import opened, output_of, settings_of
from quire.cli.text import line, plural
from quire.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from quire.channels.manager import ChannelManager
    from quire.core.crypto.secrets import RecoveryPhrase
    from quire.store.linking import LinkGuest

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

TRIES = 3  # typing errors cost nothing: the code checks itself
CODE_CHARS_MAX = 64
STEP_NAME = "quire-link-{}"
POLL_SECONDS = 0.2
WAIT_SECONDS = 600.0
MESSAGE_BYTES_MAX = 65 << 20  # over the longest message of linking, whose own limit says what is wrong

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that both machines reach.")]


@app.command()
def link(
    ctx: typer.Context,
    folder: Folder,
    new: Annotated[bool, typer.Option("--new", help="On the new machine: make its vault.")] = False,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="On the old one: what to call the new device.")
    ] = "",
) -> None:
    """Make another machine one of your devices, by a short code. Say it on both, the old one first.

    The old machine shows a code; the new one, with --new, asks for it. They talk through a folder that both reach: a
    share, a synchronised folder, or a stick carried between them while both wait. History comes with the next sync or bundle.

    \b
    Examples:
      quire link /media/stick --name laptop
      quire link /media/stick --new
    """
    if not folder.is_dir():
        raise NotFoundError(f"there is no folder {line(str(folder), 200)}", rule="path_absent")
    if new:
        _guest(ctx, Road(folder))
    else:
        _host(ctx, Road(folder), name)


@app.command()
def recover(
    ctx: typer.Context,
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE…]", help="Bundle files, of yours or of people who share a channel."),
    ] = None,
    relay: Annotated[
        str, typer.Option("--relay", "-r", metavar="URL", help="A relay that you used, as wss://HOST.")
    ] = "",
) -> None:
    """Make a new vault from the 24 words and a relay, or bundle files: all that anybody kept of yours is back.

    A relay that you used holds what you need, sealed. So does, in each bundle that they write, a member of any of your
    channels. The words are asked for, or read with --passphrase-fd; the passphrase of the new vault comes as for quire init.

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
            asyncio.run(_fetch(ChannelManager(store), relay))
        channels = ChannelManager(store).list_channels()
    found = [
        {"id": one.id.hex(), "name": one.name, "messages": one.messages, "last": iso(one.last_ms)}
        for one in channels
    ]
    value = {"vault": str(settings.vault), "channels": found}
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


async def _fetch(chat: ChannelManager, url: str) -> None:
    from quire.node.node import Node

    await Node(chat).sync_with_relay(url)


class Road:
    """The four messages as files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clear(self) -> None:
        """Take away what an attempt before this one left, also half written."""
        for left in [
            *self._folder.glob(STEP_NAME.format("*")),
            *self._folder.glob(f".{STEP_NAME.format('*')}"),
        ]:
            left.unlink(missing_ok=True)

    def send(self, step: int, message: bytes) -> None:
        path = self._path(step)
        fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with fresh.open("wb") as file:
                file.write(message)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)

    def receive(self, step: int) -> bytes:
        """The message of that step, as soon as it is there. Raises: UsageError(rule="link_timeout")."""
        path, end = self._path(step), time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(FileNotFoundError):  # also while a stick is on its way
                with path.open("rb") as file:
                    message = file.read(MESSAGE_BYTES_MAX)
                path.unlink(missing_ok=True)
                return message
            time.sleep(POLL_SECONDS)
        raise UsageError("the other machine did not answer", rule="link_timeout", hint="begin again on both")

    def _path(self, step: int) -> Path:
        return self._folder / STEP_NAME.format(step)


def _host(ctx: typer.Context, road: Road, name: str) -> None:
    from quire.store.linking import LinkHost

    with opened(ctx) as session:
        host = LinkHost(session.store)
        road.clear()
        _show_code(session.out, host.code.text())
        road.send(2, host.answer(road.receive(1)))
        road.send(4, host.grant(road.receive(3), name=name))
        session.out.done({"linked": True, "name": name}, "the new machine is one of your devices")
        session.out.note(
            "next: quire sync on both, or quire bundle out FILE here and quire bundle in FILE there"
        )


def _show_code(out: Output, code: str) -> None:
    """To be read and typed: on stderr with --json, where stdout holds one object."""
    if out.json or out.settings.quiet:
        out.errors.print(code)
    else:
        out.show(f"code: {code}")
    out.note("on the new machine: quire link FOLDER --new; waiting …")


def _guest(ctx: typer.Context, road: Road) -> None:
    from quire.store.creation import ensure_free

    settings, out = settings_of(ctx), output_of(ctx)
    ensure_free(settings.vault)
    guest = _guest_by_code()
    first = unlock.first_unlock(settings)
    road.send(1, guest.start())
    road.send(3, guest.offer(road.receive(2)))
    guest.finish(road.receive(4), settings.vault, first)
    out.done({"vault": str(settings.vault), "linked": True}, "this machine is one of your devices")
    out.note("next: quire sync, or quire bundle in FILE with a bundle that the old one wrote")


def _guest_by_code() -> LinkGuest:
    """The code from the person at the terminal, who may mistype it, or from stdin."""
    from quire.store.linking import LinkGuest

    if not unlock.can_ask():
        return LinkGuest(sys.stdin.readline(CODE_CHARS_MAX))
    for _ in range(TRIES - 1):
        try:
            return LinkGuest(typer.prompt("Code", err=True))
        except UsageError as error:
            sys.stderr.write(f"{error}\n")
    return LinkGuest(typer.prompt("Code", err=True))
