"""The root of the command line: the global options and what `quire --help` says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quire.cli.settings import Settings, default_vault
from quire.cli.startup import Lazy

__all__ = ["app"]

EPILOG = (
    "Begin with: quire init, then quire import PATH or quire channel create NAME. "
    "Exit codes: quire help exits. Environment: quire help environment."
)

app = typer.Typer(cls=Lazy, rich_markup_mode=None, pretty_exceptions_enable=False, epilog=EPILOG)


@app.callback()
def options(
    ctx: typer.Context,
    vault: Annotated[
        Path | None, typer.Option("--vault", metavar="DIR", help="The vault's folder.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, for scripts.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, no notes: only results.")
    ] = False,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", metavar="PATH", help="Unlock with this key file.")
    ] = None,
    passphrase_fd: Annotated[
        int | None,
        typer.Option("--passphrase-fd", metavar="N", help="Read the passphrase from this file descriptor."),
    ] = None,
    keyring: Annotated[
        bool, typer.Option("--keyring", help="Unlock with the operating system's keyring.")
    ] = False,
    recovery: Annotated[bool, typer.Option("--recovery", help="Unlock with the 24 recovery words.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    """Durable, end-to-end-encrypted message history for groups.

    Everything is kept in a vault: one encrypted folder, $QUIRE_VAULT or ~/.local/share/quire
    unless --vault names another. The passphrase is asked for, or comes from
    QUIRE_PASSPHRASE, a file descriptor, a key file or the keyring; never from the command line.
    """
    ctx.obj = Settings(
        vault=vault or default_vault(),
        json=json,
        quiet=quiet,
        key_file=key_file,
        passphrase_fd=passphrase_fd,
        keyring=keyring,
        recovery=recovery,
    )
