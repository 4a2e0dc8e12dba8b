"""Commands that carry history as files: bundle out, bundle in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli.circle import Circle, asked_for, asking
from quire.cli.completion import channels as complete_channels
from quire.cli.exits import FOUND, exit_code
from quire.cli.session import Session, opened
from quire.cli.text import bytes_text, line, plural

if TYPE_CHECKING:
    from rich.text import Text

    from quire.core.circle import RequestView
    from quire.core.ids import ChannelId
    from quire.core.views import ChannelInfo
    from quire.errors import PeerError
    from quire.store.unbundling import BundleReport

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)
bundle = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="""Carry history to others as a file: write one, take one in.

    \b
    Examples:
      quire bundle out talk.bundle
      quire bundle in talk.bundle
    """,
)
app.add_typer(bundle, name="bundle")

File = Annotated[Path, typer.Argument(metavar="FILE", help="The bundle file.")]
KINDS_MAX = 20  # of what was refused


@bundle.command()
def out(
    ctx: typer.Context,
    file: File,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            "-c",
            metavar="CHANNEL",
            help="Only this one; may be repeated.",
            autocompletion=complete_channels,
        ),
    ] = None,
    files: Annotated[bool, typer.Option("--files", help="With the attached files that are here.")] = False,
) -> None:
    """Write what others may have of your channels to one file.

    Your requests to join go along. Everything in it is sealed: only members read it, whoever carries it. It is whole
    each time, so the newest is enough.

    \b
    Examples:
      quire bundle out talk.bundle
      quire bundle out talk.bundle --channel general
      quire bundle out talk.bundle --files
    """
    with opened(ctx) as session:
        count = session.manager.write_bundle(file, channel, files=files)
        size = file.stat().st_size
        value = {"file": str(file), "records": count, "bytes": size}
        session.out.done(value, f"wrote {plural(count, 'record')}, {bytes_text(size)}")


@bundle.command(name="in")
def in_(ctx: typer.Context, file: File) -> None:
    """Take in what a bundle file holds for you.

    Says what was new, what waits for something that has not come, what was refused and why, who came in or went, and who
    asks to be let in. Taking it in twice does no harm. Exit code 5 if the file is damaged (the rest of it is taken in), 1 if
    something in it was refused.

    \b
    Example:
      quire bundle in talk.bundle
    """
    with opened(ctx) as session:
        before, asked = Circle(session), asking(session)
        report = session.manager.read_bundle(file)
        requests = [(info, one) for key, (info, one) in asking(session).items() if key not in asked]
        after = Circle(session)
        if session.out.json:
            session.out.emit(
                _record(report) | {"changed": after.changed(before), "answers": after.answers(before)}
            )
        else:
            session.out.show(*_lines(session, report, after.since(before), requests))
    if report.damaged:
        raise typer.Exit(exit_code(report.damaged[0]))
    if report.refused:
        raise typer.Exit(FOUND)


def _lines(
    session: Session,
    report: BundleReport,
    changes: Iterator[Text],
    requests: list[tuple[ChannelInfo, RequestView]],
) -> Iterator[Text | str]:
    from rich.text import Text

    yield _counts(report)
    infos = {info.id: info for info in session.manager.list_channels()}
    yield from changes
    yield from asked_for(session, requests)
    for id in report.forked:
        if found := infos.get(_as_channel(id)):
            yield Text(f"a device wrote in two copies of its vault: quire log {line(found.name)}", "yellow")
    for words, count in _kinds(report.refused):
        yield Text(f"refused: {words}" + (f" ({count:,} times)" if count > 1 else ""), "red")
    for error in report.damaged[:KINDS_MAX]:
        yield Text(f"damaged: {line(str(error), 300)}", "red")


def _counts(report: BundleReport) -> str:
    parts = [f"{plural(report.new, 'new commit')}"]
    parts += [f"{report.repeated:,} known already"] if report.repeated else []
    parts += [f"{report.parked:,} waiting for others"] if report.parked else []
    parts += [f"{report.closed:,} sealed for others"] if report.closed else []
    parts += [plural(len(report.files), "file")] if report.files else []
    if report.closed and not (
        report.new or report.repeated or report.parked or report.requests or report.kept
    ):
        parts = ["nothing in it is for you"]
    return ", ".join(parts)


def _kinds(refused: list[PeerError]) -> list[tuple[str, int]]:
    return Counter(line(str(one), 300) for one in refused).most_common(KINDS_MAX)


def _as_channel(id: bytes) -> ChannelId:
    from quire.core.ids import ChannelId

    return ChannelId(id)


def _record(report: BundleReport) -> dict[str, object]:
    return {
        "ok": report.ok,
        "new": report.new,
        "repeated": report.repeated,
        "waiting": report.parked,
        "closed": report.closed,
        "requests": report.requests,
        "kept": report.kept,
        "files": [id.hex() for id in report.files],
        "channels": [id.hex() for id in report.channels],
        "forked": [id.hex() for id in report.forked],
        "refused": [{"rule": one.rule, "message": str(one)} for one in report.refused],
        "damaged": [{"rule": one.rule, "message": str(one)} for one in report.damaged],
    }
