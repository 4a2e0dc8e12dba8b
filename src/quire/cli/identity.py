"""Commands about oneself: id, devices, revoke."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.naming import name_of, person, short
from quire.cli.session import Session, confirm, opened
from quire.cli.text import line
from quire.errors import NotFoundError, StorageError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from quire.core.circle import DeviceView

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

GROUPS_A_LINE = 4  # of the 12 that a safety number has


@app.command(name="id")
def id_(
    ctx: typer.Context,
    card: Annotated[
        Path | None,
        typer.Option("--card", metavar="FILE", help="Write the key card there; - = print it."),
    ] = None,
    qr: Annotated[bool, typer.Option("--qr", help="The id as a QR code.")] = False,
    safety: Annotated[
        str | None, typer.Option("--safety", metavar="PERSON", help="The safety number with this person.")
    ] = None,
    verify: Annotated[
        str | None, typer.Option("--verify", metavar="PERSON", help="The same; then mark them as verified.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: the numbers are alike.")] = False,
) -> None:
    """Show who you are, by id or key card, to who would invite you.

    By your id somebody makes an invite for you alone (quire invite --for); by your key card they let you in without one
    (quire add).

    None of it is secret, but it is as genuine as the road it takes. So compare safety numbers once, by voice or
    face to face: both people see the same 60 digits, or somebody is between them.

    \b
    Examples:
      quire id
      quire id --card ada.card
      quire id --safety Bob
      quire id --verify Bob
    """
    if sum(map(bool, (card, safety, verify))) > 1:
        raise UsageError("--card, --safety and --verify exclude each other", rule="options_exclude")
    with opened(ctx) as session:
        if safety or verify:
            _safety(session, safety or verify or "", marking=bool(verify), yes=yes)
        elif card is not None:
            _card(session, card)
        else:
            _show(session, qr=qr)


@app.command()
def devices(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Call this device so.", show_default=False)
    ] = None,
) -> None:
    """List your devices, the senior first; name this one. Only your own devices see names.

    \b
    Examples:
      quire devices
      quire devices --name laptop
    """
    with opened(ctx) as session:
        if name is not None:
            session.manager.name_device(name)
        found = session.manager.devices()
        if session.out.json:
            session.out.emit({"devices": [records.device(one) for one in found]})
        else:
            session.out.paged(_devices(found, session.out.console))
            if not any(one.this for one in found):
                session.out.note("this device is none of them any more: it was revoked")


@app.command()
def revoke(
    ctx: typer.Context,
    device: Annotated[
        str, typer.Argument(metavar="DEVICE", help="Its name or id, as `quire devices` shows it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also the one by whose word the others are yours.")
    ] = False,
) -> None:
    """End a device of yours that was lost or sold, in every channel.

    The channels' keys change with it: it reads nothing that is written from now on, and what it writes counts no
    more. It must be junior to this one; a device made by quire recover outranks the others. The only one that was made with
    the 24 words does not go while others are there: recover first, and revoke it from there.

    \b
    Example:
      quire revoke phone
    """
    with opened(ctx) as session:
        found = _device(session.manager.devices(), device)
        words = "this very device" if found.this else f"{_called(found)} ({short(found.id)})"
        confirm(f"Revoke {words}? It cannot come back.", yes=yes)
        session.manager.revoke_device(found.id, force=force)
        session.out.done({"device": found.id.hex(), "revoked": True}, f"{_called(found)} is revoked")


def _show(session: Session, *, qr: bool) -> None:
    manager = session.manager
    card, id = manager.key_card(), manager.key_id()
    if session.out.json:
        session.out.emit(
            {"identity": manager.identity.hex(), "name": manager.me().name, "id": id, "card": card}
        )
        return
    from rich.text import Text

    if qr:
        session.draw(id)
    elif not session.settings.quiet:
        session.out.show(Text(f"{line(manager.me().name)}  {short(manager.identity)}", "bold"))
    session.out.console.print(Text(id), soft_wrap=True)  # it stays whole, to be copied
    session.out.note(
        "\nwhoever wants to invite you takes this id or, to let you in at once, your key card: quire id --card FILE"
    )


def _card(session: Session, path: Path) -> None:
    text = session.manager.key_card()
    if str(path) == "-":
        session.out.emit({"card": text}) if session.out.json else print(text)
        return
    try:
        path.write_text(f"{text}\n")
    except OSError as error:
        raise StorageError(
            f"cannot write {line(str(path), 200)}: {error.strerror}",
            rule="file_unwritable",
            hint="choose another place",
        ) from None
    session.out.done({"card": text, "file": str(path)}, f"your key card is in {line(str(path), 200)}")
    session.out.note(f"who has it lets you in: quire add CHANNEL {line(str(path), 200)}")


def _safety(session: Session, typed: str, *, marking: bool, yes: bool) -> None:
    identity = person(session, typed)
    number = session.manager.safety_number(identity)
    name = line(name_of(session, identity), 40)
    if not session.out.json:
        groups = number.split()
        rows = [groups[at : at + GROUPS_A_LINE] for at in range(0, len(groups), GROUPS_A_LINE)]
        session.out.show(
            f"safety number with {name if name == short(identity) else f'{name} ({short(identity)})'}:",
            "",
            *("  " + " ".join(row) for row in rows),
            "",
        )
    if marking:
        confirm(f"Does {name} see the same digits?", yes=yes)
        session.manager.set_contact(identity, verified=True)
    value = {"identity": identity.hex(), "safety_number": number, "verified": marking}
    if session.out.json:
        session.out.emit(value)
    elif marking:
        session.out.done(value, f"{name} is verified")
    else:
        session.out.note(f"if {name} sees the same digits: quire id --verify {short(identity)}")


def _device(found: list[DeviceView], wanted: str) -> DeviceView:
    """Raises: NotFoundError(rule="no_device"), UsageError(rule="device_ambiguous")."""
    named = [one for one in found if one.name and one.name.casefold() == wanted.casefold()]
    if not named and len(wanted) >= 4:
        named = [one for one in found if one.id.hex().startswith(wanted.lower())]
    if not named:
        raise NotFoundError(
            f"you have no device {line(wanted, 80)}", rule="no_device", hint="quire devices lists them"
        )
    if len(named) > 1:
        choices = ", ".join(short(one.id) for one in named[:8])
        raise UsageError(
            f"{line(wanted, 80)} may be any of {choices}", rule="device_ambiguous", hint="write one of these"
        )
    return named[0]


def _called(device: DeviceView) -> str:
    return line(device.name, 40) or short(device.id)


def _devices(found: list[DeviceView], console: Console) -> Iterator[Text]:
    from quire.cli.render import stamp
    from quire.cli.tables import table

    rows = [
        (
            (line(one.name, 40) or "no name") + (" (this one)" if one.this else ""), short(one.id),
            stamp(one.since_ms), "the 24 words" if one.by_identity else "another device",
            "" if one.heard or one.this else "not yet",
        )
        for one in found
    ]  # fmt: skip
    return table(
        ("device", "id", "since", "made by", "heard of"), rows, console, bold=[one.this for one in found]
    )
