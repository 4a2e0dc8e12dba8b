"""The command that explains: help."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from quire.cli.exits import EXITS
from quire.cli.output import Output
from quire.cli.session import output_of
from quire.cli.settings import ENVIRONMENT
from quire.errors import NotFoundError

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)


@app.callback()
def _several() -> None:
    """Makes this family a group although it has but one command."""


@app.command(name="help")
def help_(
    ctx: typer.Context,
    topic: Annotated[list[str] | None, typer.Argument(metavar="TOPIC", show_default=False)] = None,
) -> None:
    """Explain a command, the exit codes, or the environment variables.

    \b
    Examples:
      quire help search
      quire help exits
      quire help environment
    """
    out = output_of(ctx)
    words = topic or []
    if words == ["exits"]:
        _exits(out)
    elif words == ["environment"]:
        _environment(out)
    else:
        _command(ctx, words)


def _exits(out: Output) -> None:
    rows = sorted(EXITS)
    if out.json:
        out.emit({"exits": [{"code": row.code, "meaning": row.meaning} for row in rows]})
    else:
        for row in rows:
            out.show(f"{row.code:>4}  {row.meaning}")


def _environment(out: Output) -> None:
    if out.json:
        out.emit({"environment": dict(ENVIRONMENT)})
    else:
        for name, meaning in ENVIRONMENT:
            out.show(f"{name:<22}{meaning}")


def _command(ctx: typer.Context, words: list[str]) -> None:
    here: Any = ctx.find_root()
    for word in words:
        find = getattr(here.command, "get_command", None)
        command = find(here, word) if find else None
        if command is None:
            raise NotFoundError(
                f"there is no command {' '.join(words)}", rule="no_such_command", hint="quire help"
            )
        here = type(here)(command, info_name=word, parent=here)
    typer.echo(here.get_help())
