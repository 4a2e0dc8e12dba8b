"""Commands that take talk out, and check what was taken: export, check."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.completion import channels as complete_channels
from quire.cli.exits import FOUND
from quire.cli.places import time_ms
from quire.cli.progress import Meter
from quire.cli.session import opened, output_of
from quire.cli.text import bytes_text, line, plural

if TYPE_CHECKING:
    from rich.text import Text

    from quire.exchange.exported import ExportSummary
    from quire.store.checking import CheckReport

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

PROBLEMS_SHOWN_MAX = 20
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
            metavar="CHANNEL...",
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
    files: Annotated[
        bool, typer.Option("--files", help="Add the files of messages, as far as they are here.")
    ] = False,
    signed: Annotated[
        bool, typer.Option("--signed", help="Add what proves who wrote what: quire check verifies it.")
    ] = False,
) -> None:
    """Write channels in an open format.

    jsonl is lossless: quire import reads it, and shows the same again.
    html is a folder that reads offline, with search; markdown a folder, csv one table.
    What is exported is no longer encrypted; only you may read the files. Nothing there is replaced.

    \b
    Examples:
      quire export --to book.jsonl
      quire export general --format html --to general-book
      quire export general --signed --to general.jsonl
      quire export general --files --to general
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
                signed=signed,
                files=files,
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
    if summary.attachments or summary.attachments_absent:
        said += f", with {plural(summary.attachments, 'attached file')}"
    if summary.attachments_absent:
        said += f"; {summary.attachments_absent:,} more are not here: quire fetch asks for them"
    path = shlex.quote(line(summary.path))
    lines = [Text(said), Text(NEXT[summary.format].format(path=path))]
    if summary.signed:
        lines.append(Text(f"anybody can verify it, without a vault: quire check {path}"))
        lines.append(Text("it also holds what was deleted, as it was signed; what is erased is not in it"))
    return lines


@app.command()
def check(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="EXPORT", help="A signed export: a file, or a folder.")],
) -> None:
    """Verify a signed export; no vault is needed.

    Every signature and chain, who may write, and that each line and page says what was signed.
    Compare the fingerprints with those of people's key cards (quire id). Exit code 1 if anything differs.

    \b
    Example:
      quire check general.jsonl
    """
    from quire.store.checking import check_export

    out = output_of(ctx)
    with Meter(out, "Checking") as meter:
        report = check_export(path, meter)
    if out.json:
        out.emit({"ok": report.ok} | records.plain(report))
    else:
        out.show(*_report(report))
    if not report.ok:
        raise typer.Exit(FOUND)


def _report(report: CheckReport) -> Iterator[Text]:
    from rich.text import Text

    from quire.cli.render import FAINT, stamp

    if report.ok:
        yield Text(f"all {plural(report.messages, 'message')} are as they were signed", "bold green")
    else:
        yield Text(f"{plural(report.problem_count, 'thing')} wrong", "bold red")
        for problem in report.problems[:PROBLEMS_SHOWN_MAX]:
            yield Text(f"  {problem.what}: {line(problem.where, 120)}: {line(problem.detail, 200)}")
        if report.problem_count > PROBLEMS_SHOWN_MAX:
            yield Text("  and more: --json lists them")
    yield Text(
        f"read {plural(report.commits, 'commit')} of {plural(report.channels, 'channel')},"
        f" exported {stamp(report.exported_ms)}"
    )
    if report.exporter:
        yield Text(f"sealed by     {report.exporter}")
    for signer in report.signers:
        wrote = plural(signer.messages, "message")
        brought = f", and brought in {plural(signer.imported, 'message')}" if signer.imported else ""
        yield Text(f"{signer.fingerprint}  {line(signer.name, 40)}: {wrote}{brought}")
    if any(signer.imported for signer in report.signers):
        yield Text("not proven: who wrote what was imported; that is the word of who brought it in", FAINT)
    for note in report.notes:
        yield Text(f"note: {line(note, 200)}", FAINT)
