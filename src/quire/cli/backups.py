"""Commands that bring a vault through the loss of its disk: backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records, unlock
from quire.cli.exits import FOUND
from quire.cli.output import Output
from quire.cli.progress import Meter
from quire.cli.session import opened, output_of, settings_of
from quire.cli.text import bytes_text, line, plural
from quire.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quire.core.reports import BackupProblem, BackupReport, RestoreReport

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)


@app.command()
def backup(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new folder, or one with a backup of this vault.")
    ],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="SECOND", help="Make the same in a second place.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: read all of it back and name what is damaged.")
    ] = False,
    reread: Annotated[
        bool, typer.Option("--reread", help="Also read back what is there, and write anew what is damaged.")
    ] = False,
) -> None:
    """Back up what is new since the last time, and read it back.

    It is sealed: it opens with what opens the vault, and holds everything but this device's own keys: quire restore makes a new
    device. What is archived on a disk that is away stays in the backup if it was there. If it was not, that is said, the exit
    code is 1, and a run with the disk brings it. --check needs no vault, only the backup and a key; exit code 1 if anything is
    damaged.

    \b
    Examples:
      quire backup /media/disk/quire
      quire backup /media/disk/quire --to /mnt/bucket/quire
      quire backup --check /media/disk/quire
    """
    if check:
        if to is not None or reread:
            raise UsageError("--check stands alone", rule="options_exclude")
        _check(ctx, folder)
        return
    with opened(ctx) as session:
        with Meter(session.out, "Backing up") as meter:
            report = session.store.backup(folder, progress=meter, second=to, reread=reread)
        value = {
            "target": str(folder),
            "second": str(to) if to else None,
            **records.plain(report),
            "ok": report.ok,
        }
        session.out.done(value, _backed_up(folder, report))
        for words in _remarks(report):
            session.out.note(words)
        if not report.ok:
            raise typer.Exit(FOUND)


@app.command()
def restore(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="A folder that quire backup wrote.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="The new vault.", show_default="that of --vault")
    ] = None,
    certify: Annotated[
        bool, typer.Option("--certify", help="Ask for the 24 words, too, where they alone do not open it.")
    ] = False,
    damaged: Annotated[
        bool,
        typer.Option("--damaged", help="Restore what is whole of a damaged backup, and say what is lost."),
    ] = False,
) -> None:
    """Make a new device of a backup. The newest page is there at once, the rest follows; after a kill say it again.

    With --recovery the 24 words open the backup, and the device may write at once. With a passphrase or a key file it
    reads everything, and writes nothing until the words are given: say the same again with --recovery. The new vault
    opens with all that opened the backup. What came after the backup comes with the next sync.

    \b
    Examples:
      quire restore /media/disk/quire --recovery
      quire restore /media/disk/quire book --recovery --passphrase-fd 3 3< words.txt
      quire restore /media/disk/quire book --damaged
    """
    from quire.store.local import LocalStore

    settings, out = settings_of(ctx), output_of(ctx)
    target = folder or settings.vault
    if certify and not settings.recovery:
        phrase = unlock.recovery_phrase(settings)
        key = unlock.first_unlock(settings, words=True)
    else:
        key = unlock.unlock(settings)
        phrase = key if settings.recovery else None  # type: ignore[assignment]
    with Meter(out, "Restoring") as meter:
        report = LocalStore.restore(source, target, key, phrase=phrase, damaged=damaged, progress=meter)
    value = {"vault": str(target), **records.plain(report), "ok": report.ok}
    out.done(value, _restored(report))
    _damage(out, report.lost)
    for rule, times in report.rules.items():
        out.note(f"{plural(times, 'commit')} refused: {rule}")
    if not report.certified:
        out.note(
            "this device reads, and writes nothing until you give the 24 words: the same with --recovery"
        )
    if not report.ok:
        raise typer.Exit(FOUND)


def _check(ctx: typer.Context, folder: Path) -> None:
    from quire.store.backup_reading import check_backup

    settings, out = settings_of(ctx), output_of(ctx)
    with Meter(out, "Checking") as meter:
        found = check_backup(folder, unlock.unlock(settings), progress=meter)
    if out.json:
        out.emit({**records.plain(found), "ok": found.ok})
    else:
        _damage(out, found.problems, on_stdout=True)
        if found.ok:
            out.show("all as it was written")
        out.show(
            f"read {plural(found.packs, 'pack')} with {plural(found.commits, 'commit')}, {bytes_text(found.bytes)}"
        )
    if not found.ok:
        raise typer.Exit(FOUND)


def _damage(out: Output, problems: Sequence[BackupProblem], *, on_stdout: bool = False) -> None:
    for one in problems:
        words = f"{one.file}: {one.detail}; it held {line(one.lost, 300)}" if on_stdout else ""
        if on_stdout:
            out.show(words)
        else:
            out.note(f"lost: {line(one.lost, 300)} ({one.file}: {one.detail})")


def _backed_up(folder: Path, report: BackupReport) -> str:
    new = f"{plural(report.commits, 'commit')}, {bytes_text(report.bytes_written)} written"
    return f"backed up to {line(str(folder))}: {new}, {bytes_text(report.bytes)} in all, read back"


def _remarks(report: BackupReport) -> list[str]:
    said = []
    if report.anew == "key":
        said.append(
            "the vault's key was changed: everything was written anew, and the old key opens none of it"
        )
    if report.away:
        where = (
            f"; connect {', '.join(line(place, 200) for place in report.places[:3])}" if report.places else ""
        )
        said.append(
            f"not in it: {plural(report.away, 'commit')}, archived and not readable now (quire archive --check){where}"
        )
    if report.taken_over:
        said.append(
            f"{plural(report.taken_over, 'commit')} archived and not at hand: kept as the backup had them"
        )
    if report.unreadable:
        said.append(
            f"not in it: {plural(report.unreadable, 'attached file')}, damaged in the vault (quire verify names them)"
        )
    if report.rebuilt:
        said.append("the manifest was damaged; it was made anew")
    if report.damaged:
        said.append(f"{plural(report.damaged, 'pack')} missing or damaged: written anew")
    if report.rewritten:
        said.append(
            f"{plural(report.rewritten, 'pack')} held what was erased or let go since: written anew without it"
        )
    if report.second_bytes is not None:
        said.append(f"second place: {bytes_text(report.second_bytes)} written, read back")
    return said


def _restored(report: RestoreReport) -> str:
    return f"restored {plural(report.channels, 'channel')} with {plural(report.messages, 'message')}"
