"""Commands about what opens the vault: passphrase (change), and its list / add / remove.

Each way to unlock is a slot of its own; any one opens the vault, and changing one touches no other.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quire.cli import unlock
from quire.cli.records import iso
from quire.cli.session import Session, opened
from quire.cli.text import line
from quire.core.crypto.secrets import Keyring
from quire.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from quire.core.crypto.secrets import Unlock
    from quire.storage.keyslots import Slot

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)
passphrase = typer.Typer(rich_markup_mode=None)
app.add_typer(passphrase, name="passphrase")

KINDS = ("passphrase", "key-file", "keyring", "recovery")


@passphrase.callback(invoke_without_command=True)
def change(
    ctx: typer.Context,
    slot: Annotated[
        int | None, typer.Option("--slot", metavar="ID", help="Which, if there are several.")
    ] = None,
) -> None:
    """Change the passphrase; list, add, remove ways to unlock.

    The new passphrase is asked for twice, or comes from QUIRE_NEW_PASSPHRASE.

    \b
    Examples:
      quire passphrase
      quire passphrase list
      quire passphrase add key-file ~/quire.key
      quire passphrase remove 3
    """
    if ctx.invoked_subcommand is not None:
        return
    with opened(ctx) as session:
        chosen = _to_change(session.store.slots.list(), slot)
        session.store.slots.replace(chosen.id, unlock.new_passphrase(session.settings))
        session.out.done({"slot": chosen.id}, "the passphrase is changed")


@passphrase.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List what opens this vault.

    \b
    Example:
      quire passphrase list
    """
    with opened(ctx) as session:
        slots = session.store.slots.list()
        if session.out.json:
            session.out.emit({"slots": [_record(one) for one in slots]})
            return
        from rich.table import Table
        from rich.text import Text

        from quire.cli.render import stamp

        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("slot", "kind", "label", "since"):
            table.add_column(heading, no_wrap=True)
        for one in slots:
            table.add_row(str(one.id), Text(_kind(one)), Text(line(one.label)), Text(stamp(one.created_ms)))
        session.out.show(table)


@passphrase.command()
def add(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of: {', '.join(KINDS)}.")],
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help="The key file.", show_default=False)
    ] = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="A word to know it by.")] = "",
) -> None:
    """Add a way to unlock.

    Another passphrase, a key file, the OS keyring or the recovery words. A key file that does not exist is made. For
    the recovery kind, the 24 words are asked for.

    \b
    Examples:
      quire passphrase add passphrase --label 'for the backup'
      quire passphrase add key-file ~/quire.key
      quire passphrase add keyring
    """
    if kind not in KINDS:
        raise UsageError(
            f"{kind!r} is no kind of key slot", rule="slot_kind", hint=f"one of: {', '.join(KINDS)}"
        )
    if (path is None) is (kind == "key-file"):
        raise UsageError("a PATH belongs to the kind key-file, and only to it", rule="slot_kind")
    with opened(ctx) as session:
        slot = session.store.slots.add(_new(session, kind, path), label)
        session.out.done(_record(slot), f"slot {slot.id}, {_kind(slot)}, opens the vault from now on")


@passphrase.command()
def remove(
    ctx: typer.Context, slot: Annotated[int, typer.Argument(metavar="SLOT", help="As `list` shows it.")]
) -> None:
    """Remove a way to unlock; the last one cannot be.

    Who copied the vault before can still open that copy: `quire rekey` afterwards protects what is written
    from then on.

    \b
    Example:
      quire passphrase remove 3
    """
    with opened(ctx) as session:
        session.store.slots.remove(slot)
        session.out.done({"slot": slot}, f"slot {slot} no longer opens the vault")


def _to_change(slots: list[Slot], wanted: int | None) -> Slot:
    ours = [one for one in slots if one.kind == "passphrase" and wanted in (None, one.id)]
    if not ours:
        which = "" if wanted is None else f" in slot {wanted}"
        raise NotFoundError(
            f"there is no passphrase{which}", rule="slot_absent", hint="quire passphrase add passphrase"
        )
    if len(ours) > 1:
        raise UsageError(
            "there are several passphrases",
            rule="slot_ambiguous",
            hint="say which with --slot; see quire passphrase list",
        )
    return ours[0]


def _new(session: Session, kind: str, path: Path | None) -> Unlock:
    if kind == "passphrase":
        return unlock.new_passphrase(session.settings)
    if kind == "keyring":
        return Keyring()
    if path is not None:
        return unlock.new_key_file(path)
    return unlock.recovery_phrase(session.settings)


def _kind(slot: Slot) -> str:
    return slot.kind.replace("_", " ")


def _record(slot: Slot) -> dict[str, Any]:
    return {"slot": slot.id, "kind": slot.kind, "label": slot.label, "created": iso(slot.created_ms)}
