"""The command that brings old talk in: import."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import date as calendar_date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from quire.cli import records
from quire.cli.output import Output
from quire.cli.periods import duration_text
from quire.cli.progress import Meter
from quire.cli.session import Session, opened, output_of
from quire.cli.text import bytes_text, line, plural
from quire.errors import FormatError, UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from quire.core.reports import ImportSummary
    from quire.exchange.model import Options

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

ORDERS = ("dmy", "mdy", "ymd")
CHANNELS_SHOWN_MAX = 12
PROBLEMS_SHOWN_MAX = 10


@app.command(name="import")
def import_(
    ctx: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="A file, folder, zip or tar as exported.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count; write nothing.")] = False,
    format: Annotated[  # the option is called so
        str, typer.Option("--format", metavar="NAME", help="Which format; else it is recognised.")
    ] = "",
    formats: Annotated[bool, typer.Option("--formats", help="List the formats and leave.")] = False,
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="ZONE", help="Where its clock was, as Europe/Berlin.")
    ] = "",
    date: Annotated[
        str, typer.Option("--date", metavar="YYYY-MM-DD", help="The day of a log that has only times.")
    ] = "",
    date_order: Annotated[
        str, typer.Option("--date-order", metavar="ORDER", help="How its dates are written: dmy, mdy or ymd.")
    ] = "",
    channel: Annotated[
        str, typer.Option("--channel", metavar="NAME", help="What to call the channel of a nameless log.")
    ] = "",
    no_files: Annotated[
        bool, typer.Option("--no-files", help="Leave the files that lie in the export.")
    ] = False,
) -> None:
    """Import the export of another chat.

    Slack, Discord, Zulip, Telegram, Matrix, IRC logs and more: see --formats.
    Zips and tars are read in place. Messages keep their times, threads, reactions, edits and authors, and the
    files that lie in the export.
    A folder of several archives gives each of them in turn.
    Importing the same export again, or one that overlaps it, adds only what is new, so after an
    interruption the same command goes on. Nothing is downloaded.

    \b
    Examples:
      quire import slack-export.zip --dry-run
      quire import slack-export.zip
      quire import '#python.log' --timezone Europe/Berlin --channel python
      quire import --formats
    """
    if formats:
        _list_formats(output_of(ctx))
        return
    if path is None:
        raise UsageError(
            "there is no PATH", rule="command_line", hint="quire import --formats lists what can be read"
        )
    options = msgspec.structs.replace(_options(timezone, date, date_order, channel), files=not no_files)
    with opened(ctx) as session:
        title = _announce(session, path, format)
        _warn(session)
        with Meter(session.out, "Reading" if dry_run else "Importing") as meter:
            summary = session.manager.import_(
                path, format=format, options=options, dry_run=dry_run, progress=meter.imported
            )
        if session.out.json:
            session.out.emit(records.plain(summary))
        else:
            session.out.show(*_lines(summary, title, path))


def _announce(session: Session, path: Path, format: str) -> str:
    """Say what was found before anything is written; return the format's title."""
    from quire.exchange.detect import exports_in, open_export

    titles: dict[str, None] = {}
    for one in exports_in(path, format):
        with (
            suppress(FormatError) if titles else nullcontext(),
            open_export(one, format) as (source, importer),
        ):
            sizes = source.sizes()
            size = f"{plural(len(sizes), 'file')}, {bytes_text(sum(sizes.values()))}"
            session.out.note(f"{line(source.path.name)}: {importer.TITLE}; {size}")
            titles[importer.TITLE] = None
    return ", ".join(titles)


def _warn(session: Session) -> None:
    """Say before anything is written that what is too old for a channel that lets go by age will not stay."""
    for info in session.manager.list_channels():
        found = session.manager.get_retention(info.id)
        kept = (
            [one.age_ms for one in (found.channel, found.here) if one and one.age_ms] if info.source else []
        )
        if kept:
            session.out.note(
                f"#{line(info.name)} keeps {duration_text(min(kept))}: older messages that this brings there go at once"
            )


def _options(timezone: str, date: str, date_order: str, channel: str) -> Options:
    """The options, checked here so that a typing error does not cost a long read."""
    from zoneinfo import ZoneInfo

    from quire.exchange.model import Options

    if timezone:
        try:
            ZoneInfo(timezone)
        except (ValueError, OSError, LookupError):  # not a name, a folder of the database, not in it
            raise UsageError(
                f"there is no time zone {timezone!r}",
                rule="timezone",
                hint="for example Europe/Berlin or UTC",
            ) from None
    if date:
        try:
            calendar_date.fromisoformat(date if re.fullmatch(r"\d{4}-\d\d-\d\d", date) else "")
        except ValueError:
            raise UsageError(f"{date!r} is no date", rule="date", hint="for example 2024-03-05") from None
    if date_order and date_order not in ORDERS:
        raise UsageError(
            f"{date_order!r} is no order", rule="date_order", hint=f"one of: {', '.join(ORDERS)}"
        )
    return Options(timezone=timezone, date=date, date_order=date_order, channel=channel)


def _list_formats(out: Output) -> None:
    from quire.exchange.detect import importers

    known = importers()
    if out.json:
        out.emit({"formats": [{"name": one.NAME, "title": one.TITLE} for one in known]})
        return
    from quire.cli.vault import two_columns

    out.show(two_columns([(one.NAME, one.TITLE) for one in known]))


def _lines(summary: ImportSummary, title: str, path: Path) -> Iterator[Text]:
    """The summary for people: what came, what did not, what to do next."""
    from rich.text import Text

    from quire.cli.render import FAINT, stamp

    verb = "would import" if summary.dry_run else "imported"
    yield Text(f"{verb} {plural(summary.messages, 'message')} from {title}", "bold")
    if summary.first_ms is not None:
        yield Text(f"  from {stamp(summary.first_ms)} to {stamp(summary.last_ms)}")
    counts = [
        plural(summary.channels, "channel"),
        plural(summary.authors, "author"),
        plural(summary.threads, "thread") + f" with {plural(summary.replies, 'reply', 'replies')}",
        plural(summary.reactions, "reaction"),
        plural(summary.edited, "edited message"),
        plural(summary.deleted, "deletion"),
        plural(summary.attachments, "attachment")
        + (f", {summary.files:,} with their files" if summary.files else ""),
        plural(summary.notices, "notice"),
    ]
    yield Text("  " + ", ".join(count for count in counts if not count.startswith("0 ")))
    most = sorted(summary.channel_messages.items(), key=lambda pair: -pair[1])
    for name, count in most[:CHANNELS_SHOWN_MAX]:
        yield Text(f"  #{line(name, 60)}  {count:,}", FAINT)
    if len(most) > CHANNELS_SHOWN_MAX:
        yield Text(f"  and {plural(len(most) - CHANNELS_SHOWN_MAX, 'more channel')}", FAINT)
    yield from _shortfalls(summary)
    if summary.dry_run:
        yield Text(f"nothing was written; to import: quire import {shlex.quote(line(str(path)))}")
    elif most:
        yield Text(f"try: quire channels, quire read {shlex.quote(line(most[0][0]))}, quire search WORD")


def _shortfalls(summary: ImportSummary) -> Iterator[Text]:
    """What did not come over, and why."""
    from rich.text import Text

    if summary.duplicates:
        yield Text(f"  already there: {plural(summary.duplicates, 'record')}")
    if summary.unresolved:
        yield Text(
            f"  refer to something that is in no file: {plural(summary.unresolved, 'record')}", "yellow"
        )
    for what, count in sorted(summary.not_carried.items()):
        yield Text(f"  not carried over: {count:,} {line(what)}", "yellow")
    if summary.skipped:
        yield Text(f"  skipped as broken: {plural(summary.skipped, 'record')}", "yellow")
        for problem in summary.problems[:PROBLEMS_SHOWN_MAX]:
            yield Text(f"    {line(problem)}", "yellow")
        if summary.skipped > PROBLEMS_SHOWN_MAX:
            yield Text("    and more: --json lists them")
    for warning in summary.warnings:
        yield Text(f"  note: {line(warning, 1000)}", "yellow")
