"""Commands about room: storage, quota, compact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.progress import Meter
from quire.cli.session import opened
from quire.cli.sizes import quota_text, size_of
from quire.cli.text import bytes_text, line, plural

if TYPE_CHECKING:
    from rich.text import Text

    from quire.core.reports import SpaceReport

__all__ = ["app", "chart"]

app = typer.Typer(rich_markup_mode=None)

BAR_CELLS_MAX = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"
CHANNELS_SHOWN = 12


@app.command()
def storage(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="All channels, not the largest only.")] = False,
) -> None:
    """Show where the space goes, and what letting go would free.

    A channel's part of an index is by what it holds in it. What messages older than a date would free counts all of them;
    quire retention CHANNEL --dry-run leaves out what is spared.

    \b
    Examples:
      quire storage
      quire storage --all --json
    """
    with opened(ctx) as session:
        found = session.store.space()
        if session.out.json:
            session.out.emit(records.plain(found))
        else:
            session.out.paged(list(_report(found, session.out.console.width, every=every)))


@app.command()
def quota(
    ctx: typer.Context,
    soft: Annotated[
        str | None, typer.Option("--soft", metavar="SIZE", help="Warn beyond this: 1GB, or off.")
    ] = None,
    hard: Annotated[
        str | None, typer.Option("--hard", metavar="SIZE", help="Refuse to grow beyond this: 2GB, or off.")
    ] = None,
) -> None:
    """Show or set how large this vault may get on this device.

    Beyond the soft quota each command that writes says so. Beyond the hard one nothing is posted or fetched; deleting, erasing,
    retention and compacting go on, and so does everything about members and keys. What is used counts, not what the file
    takes: quire compact changes nothing about it.

    \b
    Examples:
      quire quota
      quire quota --soft 1GB --hard 2GB
      quire quota --hard off
    """
    with opened(ctx) as session:
        found = session.store.quota()
        if soft is not None or hard is not None:
            found = session.store.set_quota(
                soft=found.soft if soft is None else size_of(soft) or None,
                hard=found.hard if hard is None else size_of(hard) or None,
            )
        if session.out.json:
            session.out.emit({**records.plain(found), "state": found.state})
        else:
            session.out.show(quota_text(found))


@app.command()
def compact(ctx: typer.Context) -> None:
    """Give freed space back to the file system, in small steps.

    Others may read and write meanwhile. It needs a megabyte or two of room; on a full disk it stops with what it freed so far.

    \b
    Example:
      quire compact
    """
    with opened(ctx) as session:
        with Meter(session.out, "Compacting") as meter:
            found = session.store.compact(progress=meter)
        session.out.done(
            {**records.plain(found), "freed": found.freed},
            f"{bytes_text(found.bytes_before)} before, {bytes_text(found.bytes_after)} now: {bytes_text(found.freed)} given back",
        )


def chart(rows: Sequence[tuple[str, int, str]], width: int) -> Iterator[Text]:
    """A line for each (name, bytes, remark), `width` cells at most; its bar, the longest for the most, has what they leave."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    most = max((size for _, size, _ in rows), default=0)
    whole = sum(size for _, size, _ in rows)
    named = max((cell_len(name) for name, _, _ in rows), default=0)
    remarked = max((cell_len(remark) for _, _, remark in rows), default=0)
    for name, size, remark in rows:
        share = f"{size * 100 / whole:3.0f} %" if whole else "  0 %"
        words = f"{set_cell_size(name, named)}  {bytes_text(size):>8}  {share}  "
        words += f"{remark:>{remarked}}  " if remarked else ""
        cells = round(size * min(BAR_CELLS_MAX, max(0, width - cell_len(words))) * 8 / most) if most else 0
        drawn = Text(words)
        drawn.append("█" * (cells // 8) + EIGHTHS[cells % 8].strip(), "cyan")
        drawn.rstrip()
        yield drawn


def _report(found: SpaceReport, width: int, *, every: bool) -> Iterator[Text | str]:
    from quire.core.reports import QuotaView

    yield f"on disk {bytes_text(found.file_bytes + found.kinds.get('attachments', 0))}, " + quota_text(
        QuotaView(found.soft, found.hard, found.used_bytes)
    )
    yield from _archived(found)
    yield ""
    yield from chart([(kind, size, "") for kind, size in found.kinds.items() if size], width)
    yield ""
    shown = found.channels if every else found.channels[:CHANNELS_SHOWN]
    names = [(f"#{line(one.name, 30)}", one.bytes, plural(one.messages, "message")) for one in shown]
    if rest := found.channels[len(shown) :]:
        names.append((f"{len(rest)} more", sum(one.bytes for one in rest), "--all shows them"))
    yield from chart(names, width)
    yield ""
    yield from chart(
        [(_age(one.days), one.bytes, plural(one.messages, "message")) for one in found.ages if one.messages],
        width,
    )
    freed = list(_freed(found))
    if freed:
        yield ""
        yield from freed


def _archived(found: SpaceReport) -> Iterator[str]:
    whole = found.archived_here + found.archived_elsewhere
    if whole:
        away = f", {bytes_text(found.archived_away)} not at hand" if found.archived_away else ""
        yield f"archived {bytes_text(whole)}: {bytes_text(found.archived_here)} in the vault's folder{away}"
    if found.owed:
        yield f"{plural(found.owed, 'erasure')} waiting for what is not at hand: quire archive --list"


def _freed(found: SpaceReport) -> Iterator[str]:
    for one in found.in_force:
        if one.messages:
            yield (
                f"retention of #{line(one.name, 30)} would let go of {plural(one.messages, 'message')},"
                f" {bytes_text(one.bytes)}, now"
            )
    for number, age in enumerate(found.ages):
        older = found.ages[number + 1 :]
        messages = sum(other.messages for other in older)
        if age.days is not None and age.days >= 365 and messages:
            size = bytes_text(sum(other.bytes for other in older))
            years = age.days // 365
            yield f"--keep {years}y in every channel would free about {size} ({plural(messages, 'message')})"


def _age(days: int | None) -> str:
    if days is None:
        return "older"
    return (
        f"under {days // 365} years" if days > 365 else f"under {days} days" if days < 365 else "under a year"
    )
