"""The command that takes talk out: export."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.completion import channels as complete_channels
from quire.cli.places import time_ms
from quire.cli.progress import Meter
from quire.cli.session import opened
from quire.cli.text import bytes_text, line, plural

if TYPE_CHECKING:
    from rich.text import Text

    from quire.exchange.exported import ExportSummary

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

NEXT = {
    "jsonl": "to read it back, here or elsewhere: quire import {path}",
    "html": "open {path}/index.html in a browser",
    "markdown": "begin with {path}/README.md",
    "csv": "every spreadsheet opens {path}",
}


@app.command()
def export(
    ctx: typer.Context,
    channel: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHANNEL]...",
            help="Which channels; all, if none is named.",
            show_default=False,
            autocompletion=complete_channels,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="PATH", help="Where to: a new file, or a new folder.", show_default=False
        ),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="jsonl, html, markdown or csv.")
    ] = "jsonl",
    since: Annotated[
        str, typer.Option("--since", metavar="DATE", help="Only messages from then on, as 2024-03-05.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="Only messages before then.")] = "",
) -> None:
    """Write channels in an open format.

    jsonl is lossless: quire import reads it, and shows the same again.
    html is a folder that reads offline, with search; markdown a folder, csv one table.
    What is exported is no longer encrypted; only you may read the files. Nothing there is replaced.

    \b
    Examples:
      quire export --to book.jsonl
      quire export general --format html --to general-book
      quire export general --since 2024-03-05 --format csv --to march.csv
    """
    from quire.errors import UsageError

    if to is None:
        raise UsageError("there is no --to PATH", rule="command_line", hint="quire export --to book.jsonl")
    with opened(ctx) as session:
        with Meter(session.out, "Exporting") as meter:
            summary = session.manager.export(
                to,
                channel or (),
                format=format,
                since=time_ms(since) if since else None,
                until=time_ms(until) if until else None,
                progress=meter,
            )
        session.out.done(records.plain(summary), *_lines(summary))


def _lines(summary: ExportSummary) -> list[Text]:
    from rich.text import Text

    said = (
        f"exported {plural(summary.messages, 'message')} of {plural(summary.channels, 'channel')}:"
        f" {plural(summary.files, 'file')}, {bytes_text(summary.bytes)}"
    )
    path = shlex.quote(line(summary.path))
    return [Text(said), Text(NEXT[summary.format].format(path=path))]
