"""Commands about what is let go: retention, disappear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records
from quire.cli.completion import channels as complete_channels
from quire.cli.periods import date_text, duration, duration_text
from quire.cli.reading import ChannelName
from quire.cli.session import Session, opened
from quire.cli.sizes import FOREVER, size_of
from quire.cli.text import bytes_text, line, plural
from quire.core.control import EXEMPT_ALL
from quire.core.retention import EXEMPTIONS, Keeping
from quire.errors import UsageError

if TYPE_CHECKING:
    from quire.channels.retention import Retention
    from quire.core.views import ChannelInfo
    from quire.store.retention import Preview

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

EVERYTHING = "keeps everything"
WHY = {
    "too_old": "too old", "too_many": "beyond the count", "too_much": "beyond the size",
    "disappeared": "their timer has run out", "disappeared_read": "their timer has run out since they were read",
}  # fmt: skip


@app.command()
def retention(
    ctx: typer.Context,
    channel: Annotated[
        str | None,
        typer.Argument(
            metavar="CHANNEL",
            help="A channel's name or id; none: all of them.",
            show_default=False,
            autocompletion=complete_channels,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="SPAN", help="Let go of messages older than this; forever."),
    ] = None,
    keep_count: Annotated[
        str | None, typer.Option("--keep-count", metavar="N", help="… of all but so many of the newest.")
    ] = None,
    keep_bytes: Annotated[
        str | None,
        typer.Option("--keep-bytes", metavar="SIZE", help="… of all but the newest that fit: 5GB."),
    ] = None,
    attachments: Annotated[
        str | None, typer.Option("--attachments", metavar="SPAN", help="… of files older than this.")
    ] = None,
    exempt: Annotated[
        str | None,
        typer.Option("--exempt", metavar="WHAT", help="What is spared: pins,bookmarks,threads or none."),
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="On this device only; never longer than everybody keeps it.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go and what it frees; change nothing.")
    ] = False,
    run: Annotated[
        bool, typer.Option("--run", help="Let go now of all that is to go, and wait for it.")
    ] = False,
) -> None:
    """Show or set what a channel, or this device of it, keeps.

    What a policy does not keep is destroyed on every device that hears of it, little by little, and does not come back.
    A thread stays whole while its newest reply does; pins and bookmarks hold a message, unless --exempt says otherwise.
    Where several bounds are set the strictest counts. Imported messages are as old as they were where they come from.

    \b
    Examples:
      quire retention
      quire retention general --keep 2y --keep-count 100000 --attachments 90d --dry-run
      quire retention general --keep 2y --exempt pins,bookmarks
      quire retention general --keep 30d --here
      quire retention general --keep forever
      quire retention --run
    """
    given = (keep, keep_count, keep_bytes, attachments, exempt)
    if channel is None and (here or dry_run or any(one is not None for one in given)):
        raise UsageError("which channel?", rule="channel_missing", hint="quire retention CHANNEL …")
    with opened(ctx) as session:
        if channel is None:
            _run(session, None) if run else _list(session)
            return
        info = session.channel(channel)
        before = session.manager.get_retention(info.id)
        asked = any(one is not None for one in given)
        wanted = _changed((before.here or Keeping()) if here else before.channel, *given) if asked else None
        if dry_run:
            _tell(session, info, session.manager.preview_retention(info.id, wanted, here=here))
            return
        if wanted is not None:
            session.manager.set_retention(info.id, wanted, here=here)
        if run:
            _run(session, info)
            return
        _show(session, info, session.manager.get_retention(info.id))
        if wanted is not None and (left := session.manager.preview_retention(info.id).messages):
            session.out.note(
                f"{plural(left, 'message')} to go: little by little while this vault is used, or now with quire retention --run"
            )


@app.command()
def disappear(
    ctx: typer.Context,
    channel: ChannelName,
    after: Annotated[str, typer.Argument(metavar="SPAN", help="How long a message stands: 7d; or off.")],
    start: Annotated[
        str,
        typer.Option("--from", metavar="WHEN", help="post: from its posting; read: from when one read it."),
    ] = "post",
) -> None:
    """Let what is posted from now on disappear by itself.

    It goes on every device. With --from read each reader's devices count from when they first read a message, and one's
    own messages from when they were written. Nothing is spared, not even a pin. What was posted before stays.

    \b
    Examples:
      quire disappear general 7d
      quire disappear general 1d --from read
      quire disappear general off
    """
    if start not in ("post", "read"):
        raise UsageError(f"--from {line(start, 20)}", rule="timer_start_unknown", hint="post or read")
    with opened(ctx) as session:
        info = session.channel(channel)
        span = None if after.lower() in FOREVER else duration(after)
        session.manager.set_disappearing(info.id, span, from_read=start == "read")
        _show(session, info, session.manager.get_retention(info.id))


def _run(session: Session, info: ChannelInfo | None) -> None:
    done = session.manager.enforce_retention(info.id if info else None)
    words = f"{plural(done.messages, 'message')} let go"
    if done.freed_bytes:
        words += f", {bytes_text(done.freed_bytes)} given back"
    value = {
        "messages": done.messages, "operations": done.operations, "size_bytes": done.size_bytes,
        "freed_bytes": done.freed_bytes, "channels": [one.hex() for one in done.channels],
    }  # fmt: skip
    session.out.done(value, words)


def _changed(
    before: Keeping,
    keep: str | None,
    count: str | None,
    size: str | None,
    files: str | None,
    exempt: str | None,
) -> Keeping:
    """The policy with what was asked for in the place of what stood."""
    return Keeping(
        before.age_ms if keep is None else _span(keep),
        before.count if count is None else _number(count),
        before.size_bytes if size is None else size_of(size),
        before.attachments_ms if files is None else _span(files),
        before.exempt if exempt is None else _exempt(exempt),
    )


def _span(text: str) -> int:
    if text.lower() in FOREVER:
        return 0
    try:
        return int(duration(text).total_seconds() * 1000)
    except UsageError as error:
        error.hint = f"{error.hint}; or forever"
        raise


def _number(text: str) -> int:
    plain = text.replace(",", "").replace("_", "")
    if text.lower() in FOREVER:
        return 0
    if not plain.isdecimal() or len(plain) > 13:
        raise UsageError(
            f"{line(text, 40)} is no number", rule="count_form", hint="for example 100000, or forever"
        )
    return int(plain)


def _exempt(text: str) -> int:
    words = [word.strip().lower() for word in text.split(",")]
    if words in (["none"], [""]):
        return 0
    if unknown := [word for word in words if word not in EXEMPTIONS]:
        raise UsageError(
            f"{line(', '.join(unknown), 80)} cannot be spared",
            rule="exemption_unknown",
            hint=f"some of {', '.join(EXEMPTIONS)}, or none",
        )
    return sum(EXEMPTIONS[word] for word in set(words))


def _list(session: Session) -> None:
    found = [(info, session.manager.get_retention(info.id)) for info in session.manager.list_channels()]
    if session.out.json:
        session.out.emit(
            {"channels": [{"id": info.id.hex(), "name": info.name, **_plain(one)} for info, one in found]}
        )
        return
    bounded = [(info, one) for info, one in found if _kept(one.channel) != EVERYTHING or _is_narrower(one)]
    for info, one in bounded:
        session.out.show(_words(info, one))
    if rest := len(found) - len(bounded):
        session.out.note(f"{plural(rest, 'other channel' if bounded else 'channel')}: everything is kept")
    if not found:
        session.out.note("no channels yet")


def _is_narrower(found: Retention) -> bool:
    """Does something else than the channel's bounds let messages go?"""
    return bool(found.here or found.disappear_ms or found.disappear_read_ms)


def _show(session: Session, info: ChannelInfo, found: Retention) -> None:
    session.out.done({"channel": info.id.hex(), **_plain(found)}, _words(info, found))


def _words(info: ChannelInfo, found: Retention) -> str:
    lines = [f"#{line(info.name)}: {_kept(found.channel)}"]
    if found.here:
        lines.append(f"  on this device {_kept(found.here)}")
    for after_ms, what in ((found.disappear_ms, "posting"), (found.disappear_read_ms, "reading")):
        if after_ms:
            lines.append(f"  messages disappear {duration_text(after_ms)} after {what}")
    return "\n".join(lines)


def _kept(keeping: Keeping) -> str:
    bounds = []
    if keeping.age_ms:
        bounds.append(duration_text(keeping.age_ms))
    if keeping.count:
        bounds.append(f"the newest {keeping.count:,} messages")
    if keeping.size_bytes:
        bounds.append(f"the newest {bytes_text(keeping.size_bytes)}")
    if keeping.attachments_ms:
        bounds.append(f"files {duration_text(keeping.attachments_ms)}")
    if not bounds:
        return EVERYTHING
    spared = [word for word, bit in EXEMPTIONS.items() if keeping.exempt & bit]
    also = f"; spares {', '.join(spared)}" if spared else ""
    return f"keeps {', '.join(bounds)}{also}"


def _plain(found: Retention) -> dict[str, object]:
    return {
        "policy": _policy(found.channel), "here": None if found.here is None else _policy(found.here),
        "disappear_ms": found.disappear_ms, "disappear_read_ms": found.disappear_read_ms,
    }  # fmt: skip


def _policy(keeping: Keeping) -> dict[str, object]:
    """0 is no bound."""
    spared = [word for word, bit in EXEMPTIONS.items() if keeping.exempt & bit & EXEMPT_ALL]
    return {
        "keep_ms": keeping.age_ms, "keep_count": keeping.count, "keep_bytes": keeping.size_bytes,
        "keep_attachments_ms": keeping.attachments_ms, "exempt": spared,
    }  # fmt: skip


def _tell(session: Session, info: ChannelInfo, seen: Preview) -> None:
    """What would go."""
    if session.out.json:
        session.out.emit({"channel": info.id.hex(), **records.plain(seen)})
        return
    if not seen.messages:
        session.out.show(f"#{line(info.name)}: nothing would go")
        return
    span = f"from {date_text(seen.oldest_ms or 0)} to {date_text(seen.newest_ms or 0)}"
    also = [
        plural(count, word)
        for count, word in (
            (seen.reactions, "reaction"), (seen.versions, "version"), (seen.attachments, "attachment"),
        )
        if count
    ]  # fmt: skip
    lines = [
        f"#{line(info.name)}: {plural(seen.messages, 'message')} would go"
        + (f", with {', '.join(also)}" if also else ""),
        f"  {span}; that frees about {bytes_text(seen.size_bytes)}",
    ]
    lines += [f"  {plural(count, 'message')}: {WHY.get(rule, rule)}" for rule, count in seen.rules.items()]
    lines += [f"  {year}: {plural(count, 'message')}" for year, count in sorted(seen.years.items())]
    session.out.show("\n".join(lines))
