"""Commands about what is kept out of the vault: archive, unarchive."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.completion import channels as complete_channels
from quire.cli.exits import FOUND
from quire.cli.periods import date_text, duration
from quire.cli.places import time_ms
from quire.cli.progress import Meter
from quire.cli.reading import ChannelName
from quire.cli.session import Session, opened
from quire.cli.text import bytes_text, line, plural
from quire.errors import UsageError

if TYPE_CHECKING:
    from quire.store.archiving import ArchiveReport
    from quire.store.segments import Segment

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

STATES = {
    "here": "here", "away": "not there", "damaged": "damaged", "unneeded": "not needed any more: it may be deleted",
}  # fmt: skip


@app.command()
def archive(
    ctx: typer.Context,
    channel: Annotated[
        str | None,
        typer.Argument(
            metavar="CHANNEL",
            help="A channel's name or id.",
            show_default=False,
            autocompletion=complete_channels,
        ),
    ] = None,
    before: Annotated[
        str | None,
        typer.Option("--before", metavar="DATE", help="What is older than a date or a span: 2024-01-01, 2y."),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="A folder that is there, on another disk; else in the vault's."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be moved; change nothing.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--list", help="The files, where each should be, and whether it is.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="The same, each file read whole; exit code 1 if one is damaged.")
    ] = False,
    at: Annotated[
        Path | None, typer.Option("--at", metavar="DIR", help="Say that the files are in this folder now.")
    ] = None,
) -> None:
    """Move the texts of old messages out into sealed files.

    The files are here or on another disk. Messages are read, found and given to others as before while the files are at
    hand. When a disk is away, its messages show with author and time, and a search still finds them. Only this vault
    opens the files: keep them apart from it, or a copy of both, but do not lose the vault. quire unarchive brings all
    back. Attached files stay where they are.

    \b
    Examples:
      quire archive general --before 2024-01-01 --dry-run
      quire archive general --before 2y
      quire archive general --before 2y --to /media/disk/quire-archive
      quire archive --list
      quire archive --check
      quire archive --at /mnt/new-disk/quire-archive
    """
    if (channel is not None) + show + check + (at is not None) != 1:
        raise UsageError(
            "a channel, or one of --list, --check and --at",
            rule="archive_what",
            hint="quire archive CHANNEL --before DATE",
        )
    if channel is None and (before is not None or to is not None or dry_run):
        raise UsageError("--before, --to and --dry-run go with a channel", rule="archive_what")
    if channel is not None and before is None:
        raise UsageError(
            "before when?", rule="archive_before_missing", hint="quire archive CHANNEL --before 2y"
        )
    with opened(ctx) as session:
        if channel is not None:
            _archive(session, channel, before or "", to, dry_run=dry_run)
        elif at is not None:
            _list(session, session.manager.move_segments(at), "now found")
        elif check:
            with Meter(session.out, "Checking") as meter:
                found = session.manager.check_segments(progress=meter)
            _list(session, found, "checked")
            if any(one.state == "damaged" for one in found):
                raise typer.Exit(FOUND)
        else:
            _list(session, session.manager.list_segments(), "")


@app.command()
def unarchive(ctx: typer.Context, channel: ChannelName) -> None:
    """Bring all that is archived of a channel back.

    It is in the vault again, and the files are removed. All of its files must be at hand: nothing is changed otherwise.

    \b
    Examples:
      quire unarchive general
    """
    with opened(ctx) as session:
        info = session.channel(channel)
        with Meter(session.out, "Bringing back") as meter:
            done = session.manager.unarchive(info.id, progress=meter)
        value = {"channel": info.id.hex(), **records.plain(done)}
        session.out.done(
            value, f"#{line(info.name)}: {plural(done.messages, 'message')} brought back into the vault"
        )


def _archive(session: Session, channel: str, before: str, to: Path | None, *, dry_run: bool) -> None:
    info, before_ms = session.channel(channel), _time(before)
    if dry_run:
        done = session.manager.preview_archive(info.id, before_ms)
    else:
        with Meter(session.out, "Archiving") as meter:
            done = session.manager.archive(info.id, before_ms, to=to, progress=meter)
    value = {"channel": info.id.hex(), "dry_run": dry_run, **records.plain(done)}
    session.out.done(value, f"#{line(info.name)}: {_words(done, dry_run=dry_run)}")


def _words(done: ArchiveReport, *, dry_run: bool) -> str:
    if not done.messages:
        return "nothing so old that is not archived, and long enough to be worth it"
    span = f"from {date_text(done.oldest_ms or 0)} to {date_text(done.newest_ms or 0)}"
    if dry_run:
        return (
            f"{plural(done.messages, 'message')} would be archived, {span}\n"
            f"  that frees about {bytes_text(done.vault_bytes)}"
        )
    return (
        f"{plural(done.messages, 'message')} archived, {span}\n"
        f"  {plural(done.segments, 'file')}, {bytes_text(done.segment_bytes)}; {_space(done)}"
    )


def _space(done: ArchiveReport) -> str:
    """What became of the room in the vault's file."""
    said = [f"{bytes_text(done.freed_bytes)} given back to the disk"] if done.freed_bytes else []
    if done.free_bytes:
        free = f"{bytes_text(done.free_bytes)} free in the vault's file for what comes"
        said.append(f"{free} (quire compact gives it back)")
    return ", ".join(said) or (
        f"{bytes_text(done.vault_bytes)} less in the vault, too little yet to free whole pages of its file"
    )


def _list(session: Session, found: list[Segment], what: str) -> None:
    if session.out.json:
        session.out.emit({"segments": [_record(one) for one in found]})
        return
    names = {info.id: info.name for info in session.manager.list_channels()}
    place = None
    for one in sorted(found, key=lambda one: (one.place, one.channel, one.from_ms)):
        if one.place != place:
            place = one.place
            session.out.show(line(place, 400))
        bad = f", blocks {', '.join(map(str, one.bad_blocks))}" if one.bad_blocks else ""
        session.out.show(
            f"  #{line(names.get(one.channel, '?'), 40)}, {date_text(one.from_ms)} to {date_text(one.to_ms)},"
            f" {bytes_text(one.size_bytes)}: {STATES[one.state]}{bad}\n    {line(one.name)}"
        )
    if not found:
        session.out.note("nothing is archived" if not what else f"no file {what}")


def _record(one: Segment) -> dict[str, object]:
    return {
        "name": one.name, "place": one.place, "channel": one.channel.hex(), "state": one.state,
        "size_bytes": one.size_bytes, "operations": one.operations, "from": records.iso(one.from_ms),
        "to": records.iso(one.to_ms), "made": records.iso(one.made_ms), "bad_blocks": list(one.bad_blocks),
    }  # fmt: skip


def _time(text: str) -> int:
    """Unix ms of a date, or of so long ago."""
    if text[:1].isdigit() and text[-1:].isalpha() and len(text) < 8:
        return int(time.time() * 1000 - duration(text).total_seconds() * 1000)
    return time_ms(text)
