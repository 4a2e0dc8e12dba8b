"""Commands that write messages: post, edit, delete, react, unreact."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from quire.cli import records, unlock
from quire.cli.reading import ChannelName, MessageName
from quire.cli.session import Session, confirm, opened
from quire.cli.settings import child_environment
from quire.cli.text import line, plural
from quire.core.limits import BODY_BYTES_MAX
from quire.core.views import Message
from quire.errors import FormatError, UsageError

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

Text = Annotated[
    str | None, typer.Argument(metavar="TEXT", help="The text; - reads it from stdin.", show_default=False)
]
Emoji = Annotated[str, typer.Argument(metavar="EMOJI", help="A character such as 👍, or a :name:.")]


@app.command()
def post(
    ctx: typer.Context,
    channel: ChannelName,
    text: Text = None,
    thread: Annotated[
        str | None, typer.Option("--thread", metavar="MESSAGE", help="Reply in this message's thread.")
    ] = None,
    reply_to: Annotated[
        str | None, typer.Option("--reply-to", metavar="MESSAGE", help="Answer this message in the channel.")
    ] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option("--attach", "-a", metavar="FILE", help="Attach a file; may be repeated."),
    ] = None,
) -> None:
    """Write a message. When the command is back, the message is on disk, and its files are.

    \b
    Examples:
      quire post general 'Hello everyone'
      quire post general --thread mzxw-1042.17 'I agree'
      git log -1 | quire post releases -
      quire post general 'The plan' --attach plan.pdf
    """
    body = _body(text)
    if not body and not attach:
        raise UsageError(
            "there is no text; nothing was posted", rule="no_text", hint="quire post general 'Hello everyone'"
        )
    with opened(ctx) as session:
        message = session.manager.send_message(
            channel,
            body,
            thread=session.message(thread) if thread else None,
            reply_to=session.message(reply_to) if reply_to else None,
            files=attach or (),
        )
        _written(session, message, "posted")


@app.command()
def edit(ctx: typer.Context, message: MessageName, text: Text = None) -> None:
    """Change a message of yours. Earlier versions stay: see `quire history`.

    Without TEXT, and at a terminal, the message opens in $VISUAL or $EDITOR.

    \b
    Examples:
      quire edit mzxw-1042.17 'Hello, everyone'
      quire edit mzxw-1042.17
    """
    with opened(ctx) as session:
        found = session.manager.get_message(session.message(message))
        if text is None and unlock.can_ask():
            body = _edited(found.body)
            if body == found.body:
                session.out.note("nothing changed")
                return
        else:
            body = _body(text)
            if (
                not body and text is None
            ):  # nothing was piped in: a mistake in a script is not to empty a message
                raise UsageError(
                    "there is no text; nothing was changed",
                    rule="no_text",
                    hint="`quire delete` takes a message back",
                )
        _written(session, session.manager.edit_message(found.id, body), "edited")


@app.command()
def delete(
    ctx: typer.Context,
    message: MessageName,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; everyone sees it.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Take a message back. This is final: no edit brings it back.

    \b
    Example:
      quire delete mzxw-1042.17 --reason 'posted twice'
    """
    with opened(ctx) as session:
        found = session.manager.get_message(session.message(message))
        question = f"Delete {session.short(found.id)} by {line(found.author.name)}, “{line(found.body, 60)}”?"
        confirm(question, yes=yes or found.deleted is not None)
        session.manager.delete_message(found.id, reason)
        _written(session, session.manager.get_message(found.id), "deleted")


@app.command()
def react(ctx: typer.Context, message: MessageName, emoji: Emoji) -> None:
    """Add a reaction to a message.

    \b
    Example:
      quire react mzxw-1042.17 👍
    """
    with opened(ctx) as session:
        found = session.message(message)
        session.manager.add_reaction(found, emoji)
        _written(session, session.manager.get_message(found), f"reacted {line(emoji)} to")


@app.command()
def unreact(ctx: typer.Context, message: MessageName, emoji: Emoji) -> None:
    """Take a reaction of yours back.

    \b
    Example:
      quire unreact mzxw-1042.17 👍
    """
    with opened(ctx) as session:
        found = session.message(message)
        session.manager.remove_reaction(found, emoji)
        _written(session, session.manager.get_message(found), f"took {line(emoji)} back from")


def _written(session: Session, message: Message, what: str) -> None:
    session.out.done(records.message(message), f"{what} {session.short(message.id)}")


def _body(text: str | None) -> str:
    """The text of a message: the argument, or what stdin holds if that is asked for or piped in."""
    if text is not None and text != "-":
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FormatError("the text is not valid UTF-8", rule="not_utf8") from None
        return text
    if text is None and unlock.can_ask():
        raise UsageError(
            "there is no text",
            rule="no_text",
            hint="give it as an argument, or - and type it, ended by Ctrl-D",
        )
    return _decode(sys.stdin.buffer.read(BODY_BYTES_MAX + 2))


def _decode(data: bytes) -> str:
    """A message of bytes from outside, without the line break that ends a file."""
    if len(data) > BODY_BYTES_MAX + 1:
        raise UsageError(
            f"a message holds at most {plural(BODY_BYTES_MAX, 'byte')}",
            rule="body_too_long",
            hint="post a part, or a link to a file",
        )
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise FormatError(f"the text is not UTF-8 at byte {error.start}", rule="not_utf8") from None


def _edited(body: str) -> str:
    """What the user's editor makes of `body`.

    The editor needs a file: it lies in memory where the system has such a place (`/dev/shm`), is readable for
    the user alone, and is gone when the editor is.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    memory = Path("/dev/shm")  # noqa: S108  the folder made inside it is private
    with tempfile.TemporaryDirectory(prefix="quire-", dir=memory if memory.is_dir() else None) as folder:
        path = Path(folder, "message.md")
        path.write_bytes(body.encode() + b"\n")
        try:
            result = subprocess.run([*command, str(path)], env=child_environment(), check=False)
        except OSError:
            raise UsageError(
                f"the editor {command[0]} does not start",
                rule="no_editor",
                hint="set EDITOR, or give the text",
            ) from None
        if result.returncode:
            raise UsageError("the editor ended with an error; nothing was changed", rule="editor_failed")
        return _decode(path.read_bytes())
