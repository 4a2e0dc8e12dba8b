"""The command line: global options, and what becomes of errors.

`run` is the program. Commands live in families, one module each, loaded by `startup.Lazy`; each opens the
vault through `session.opened`, calls the public API and prints through `output.Output`. No command
catches errors: they all come here and leave by the one table of exit codes (exits.py). Whatever is
not an error of ours is a bug, and says so in one line; the traceback is for QUIRE_DEBUG=1.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from quire.cli.exits import BUG, INTERRUPTED, OK, PIPE, USAGE, exit_code, from_os_error
from quire.cli.output import error_text
from quire.cli.settings import Settings, default_vault, hoist, wants_json
from quire.cli.startup import Lazy, plain
from quire.errors import QuireError

__all__ = ["main", "run"]

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


def run() -> None:
    """The program `quire`."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    _lenient_output()
    as_json = wants_json(arguments)
    try:
        code = _invoke(hoist(arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _forget_output()
        return PIPE
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("\n" if sys.stderr.isatty() else "")
        return INTERRUPTED
    except QuireError as error:
        return _report(error, as_json=as_json)
    except OSError as error:
        return _report(from_os_error(error), as_json=as_json)
    except Exception as error:  # the last line of defence: what comes here is our own mistake
        return _report_bug(error, as_json=as_json)


def _invoke(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from importlib.metadata import version

        print("quire", version("quire"))
        return OK
    command = typer.main.get_command(app)
    plain(command)
    usage_error: Any = typer.BadParameter.__bases__[0]  # click's UsageError, wherever this Typer keeps it
    try:
        result = command.main(arguments or ["--help"], prog_name="quire", standalone_mode=False)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # Typer has an answer of its own; ours is PIPE
            raise leaving.__context__ from None
        raise
    except usage_error as error:
        hint = f"{error.ctx.command_path} --help" if error.ctx else ""
        sys.stderr.write(
            error_text(error.format_message(), rule="command_line", hint=hint, as_json=wants_json(arguments))
        )
        return USAGE
    return result if isinstance(result, int) else OK


def _report(error: QuireError, *, as_json: bool) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.stderr.write(error_text(str(error), rule=error.rule, hint=error.hint, as_json=as_json))
    if os.environ.get("QUIRE_DEBUG") == "1":
        sys.excepthook(type(error), error, error.__traceback__)
    return exit_code(error)


def _report_bug(error: Exception, *, as_json: bool) -> int:
    # Only the type: the text of a foreign exception may hold what a message said.
    hint = "please report it with the command and `quire --version`; QUIRE_DEBUG=1 shows where it happened"
    message = f"a bug in Quire: {type(error).__name__}"
    sys.stderr.write(error_text(message, rule="bug", hint=hint, as_json=as_json))
    if os.environ.get("QUIRE_DEBUG") == "1":
        sys.excepthook(type(error), error, error.__traceback__)
    return BUG


def _lenient_output() -> None:
    """A terminal that cannot show a character shows a question mark: better than no output."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _forget_output() -> None:
    """Python flushes stdout once more on its way out; let that go nowhere."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
