"""Commands about attached files: attach, open, save, fetch."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from quire.cli import records, unlock
from quire.cli.reading import ChannelName, MessageName
from quire.cli.session import Session, opened
from quire.cli.settings import child_environment
from quire.cli.text import bytes_text, line, plural
from quire.core.views import AttachmentView, Message
from quire.errors import NotFoundError, UsageError
from quire.store.file_types import HARMLESS

__all__ = ["app", "sent"]

app = typer.Typer(rich_markup_mode=None)

Number = Annotated[
    int | None,
    typer.Option("--number", "-n", metavar="N", help="Which of its files, from 1; default: the only one."),
]
STALE_S = 24 * 3_600  # a decrypted copy that nobody took away


@app.command()
def attach(
    ctx: typer.Context,
    channel: ChannelName,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="The files.", show_default=False)],
    text: Annotated[str, typer.Option("--text", "-t", metavar="TEXT", help="Something said with them.")] = "",
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="MESSAGE", help="Reply in this message's thread.")
    ] = None,
) -> None:
    """Post files. They are encrypted, each under a key of its own, and go to the channel's members.

    The same as `quire post --attach`, which takes a text first.

    \b
    Examples:
      quire attach general plan.pdf
      quire attach general photo-1.jpg photo-2.jpg --text 'From the lighthouse'
    """
    with opened(ctx) as session:
        root = session.message(thread) if thread else None
        message = session.manager.send_message(channel, text, files=files, thread=root)
        sent(session, message)


def sent(session: Session, message: Message) -> None:
    """What was posted with files."""
    size = sum(one.size_bytes or 0 for one in message.attachments)
    what = f"{plural(len(message.attachments), 'file')}, {bytes_text(size)}"
    session.out.done(records.message(message), f"posted {session.short(message.id)} with {what}")


@app.command(name="open")
def open_(
    ctx: typer.Context,
    message: MessageName,
    number: Number = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what might be a program, or make one run.")
    ] = False,
) -> None:
    """Show an attached file with the system's program for its kind.

    A copy is decrypted into a private folder, in memory where the system has such a place, and given to
    $QUIRE_OPENER, else xdg-open (open on a Mac). What it is is told by its content, not by its name: pictures, sound,
    films, PDF and plain text are opened; anything else only with --force. Nothing is ever executed.

    \b
    Examples:
      quire open mzxw-1042.17
      quire open mzxw-1042.17 --number 2
    """
    with opened(ctx) as session:
        found = session.message(message)
        view = _one(session, message, session.manager.get_attachments(found), number)
        kind = session.manager.attachment_type(found, view.number)
        if kind not in HARMLESS and not force:
            raise UsageError(
                f"{line(view.name, 80)} is {kind}, which may be a program or make one run",
                rule="attachment_dangerous",
                hint="`quire save` keeps it without opening it; --force opens it all the same",
            )
        with _private_folder(session) as folder:
            # Openers go by the ending: it says what the content is, not what its author would like.
            name = "attachment" + HARMLESS[kind] if kind in HARMLESS else ""
            path = session.manager.save_attachment(found, view.number, folder, name=name)
            path.chmod(0o400)
            _run_opener(path)
            session.out.done(
                {"opened": records.plain(view) | {"type": kind}}, f"opened {line(view.name, 80)}, {kind}"
            )
            if unlock.can_ask() and not session.out.json:
                with contextlib.suppress(EOFError):
                    input("Enter takes the decrypted copy away: ")


def _run_opener(path: Path) -> None:
    chosen = os.environ.get("QUIRE_OPENER") or ("open" if sys.platform == "darwin" else "xdg-open")
    program = shutil.which(chosen)
    if program is None:
        raise UsageError(
            f"there is no program {chosen}", rule="no_opener", hint="set QUIRE_OPENER, or use `quire save`"
        )
    done = subprocess.run(
        [program, str(path)], env=child_environment(), check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise UsageError(
            f"{chosen} ended with an error", rule="opener_failed", hint="`quire save` keeps the file"
        )


@contextlib.contextmanager
def _private_folder(session: Session) -> Iterator[Path]:
    """A folder that only its owner can enter, in memory where there is such a place.

    Where somebody can say when they are done, it is gone then; else the next `open` takes it away a day later, because a
    program that shows the file may still be loading it.
    """
    base = next(
        (
            Path(one)
            for one in (os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm")  # noqa: S108  the folder made inside is private
            if one and Path(one).is_dir()
        ),
        Path(tempfile.gettempdir()),
    )
    for old in base.glob(f"quire-open-{os.getuid()}-*"):
        with contextlib.suppress(OSError):
            if time.time() - old.lstat().st_mtime > STALE_S and old.lstat().st_uid == os.getuid():
                shutil.rmtree(old)
    folder = Path(tempfile.mkdtemp(prefix=f"quire-open-{os.getuid()}-", dir=base))
    stays = False
    try:
        yield folder
        stays = not unlock.can_ask() or session.out.json
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)


@app.command()
def save(
    ctx: typer.Context,
    message: MessageName,
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="The folder.", show_default="the current one")
    ] = Path("."),
    number: Number = None,
) -> None:
    """Write a message's files, or one of them, to a folder. No file there is ever overwritten.

    Names are made harmless first: no folders, no control characters, nothing hidden.

    \b
    Examples:
      quire save mzxw-1042.17
      quire save mzxw-1042.17 --to ~/Downloads --number 2
    """
    with opened(ctx) as session:
        found = session.message(message)
        views = session.manager.get_attachments(found)
        if number is not None:
            views = [_one(session, message, views, number)]
        wanted = [view for view in views if view.state == "here"]
        if not wanted:
            session.manager.open_attachment(found, views[0].number if views else 1).close()  # which says why
        paths = [session.manager.save_attachment(found, view.number, to) for view in wanted]
        saved = [
            {"number": view.number, "path": str(path), "size_bytes": view.size_bytes}
            for view, path in zip(wanted, paths, strict=True)
        ]
        left = [view for view in views if view.state not in ("here", "link")]
        if left:
            session.out.note(f"{plural(len(left), 'file')} not here yet: quire fetch {message}")
        session.out.done({"saved": saved}, *(f"saved {line(str(path), 400)}" for path in paths))


@app.command()
def fetch(
    ctx: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="MESSAGE|CHANNEL...", help="Whose files.", show_default=False),
    ] = None,
    alone: Annotated[
        int | None,
        typer.Option(
            "--by-itself", metavar="MIB", help="From now on files of up to so many MiB come by themselves."
        ),
    ] = None,
) -> None:
    """Ask for files that are not here yet, whatever their size. They come with the next `quire sync` or `quire up`.

    Files of up to 16 MiB come by themselves, unless --by-itself says otherwise for this device.

    \b
    Examples:
      quire fetch mzxw-1042.17
      quire fetch general
      quire fetch --by-itself 0
    """
    if not what and alone is None:
        raise UsageError(
            "there is nothing to ask for", rule="fetch_nothing", hint="name a message or a channel"
        )
    with opened(ctx) as session:
        if alone is not None:
            session.manager.set_fetch_limit(alone << 20)
            session.out.note(f"files of up to {alone:,} MiB come by themselves")
        asked, views = 0, []
        for one in what or ():
            try:
                found = session.message(one)
            except (UsageError, NotFoundError) as error:
                if error.rule == "message_id_ambiguous":
                    raise
                asked += session.manager.fetch_attachments(one)
                continue
            now = session.manager.fetch_attachment(found)
            views += [records.plain(view) | {"message": one} for view in now]
            asked += sum(view.state == "asked" for view in now)
        words = [f"asked for {plural(asked, 'file')}" if asked else "all of it is here"] if what else []
        limit = session.manager.fetch_limit()
        session.out.done({"asked": asked, "attachments": views, "by_itself_bytes": limit}, *words)


def _one(session: Session, message: str, views: list[AttachmentView], number: int | None) -> AttachmentView:
    """The file that is meant."""
    if not views:
        raise NotFoundError("this message has no attachments", rule="no_attachment")
    if number is None and len(views) > 1:
        raise UsageError(
            f"this message has {len(views)} files",
            rule="attachment_which",
            hint=f"--number 1 to {len(views)}",
        )
    wanted = number or 1
    if not 1 <= wanted <= len(views):
        raise NotFoundError(
            f"this message has {plural(len(views), 'file')}, counted from 1", rule="no_attachment"
        )
    return views[wanted - 1]
