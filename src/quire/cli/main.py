"""The command line: how it starts, and what becomes of errors.

`run` is the program. Global options are in app.py; commands live in families, one module each, loaded
by `startup.Lazy`; each opens the vault through `session.opened`, calls the public API and prints
through `output.Output`. No command catches errors: they all come here and leave by the one table of
exit codes (exits.py). Whatever is not an error of ours is a bug, and says so in one line; the traceback
is for QUIRE_DEBUG=1.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Sequence
from typing import Any

from quire.cli.exits import BUG, INTERRUPTED, OK, PIPE, USAGE, exit_code, from_os_error
from quire.cli.output import error_text
from quire.cli.settings import hoist, wants_json
from quire.errors import QuireError

__all__ = ["main", "run"]

COLLECT_EVERY = 20_000  # objects made and not yet freed: more than importing what a command needs makes


def run() -> None:
    """The program `quire`."""
    gc.disable()  # starting makes much and frees nothing: collecting then costs a tenth of `quire read`
    gc.set_threshold(COLLECT_EVERY)  # so do the commands that only show something
    code = main(sys.argv[1:])
    atexit._run_exitfuncs()  # temporary files go
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # no more is left to do, and taking all modules down costs a tenth again


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
    except KeyboardInterrupt:
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
    import typer

    from quire.cli.app import app
    from quire.cli.startup import plain

    command = typer.main.get_command(app)
    plain(command)
    gc.enable()
    usage_error: Any = typer.BadParameter.__bases__[0]  # click's UsageError, wherever this Typer keeps it
    try:
        result = command.main(arguments or ["--help"], prog_name="quire", standalone_mode=False)
    except typer.Abort:  # a question that was answered with no
        raise KeyboardInterrupt from None
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
    """A terminal that cannot show a character shows a question mark; a stream that was closed is silent."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  for as long as the process lives
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _forget_output() -> None:
    """Python flushes stdout once more on its way out; let that go nowhere."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
