"""The command that erases for good, and looks whether it did: erase."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from quire.channels.receipts import read_receipt, receipt_fields, write_receipt
from quire.cli import records
from quire.cli.exits import FOUND
from quire.cli.progress import Meter
from quire.cli.session import Session, confirm, opened
from quire.cli.text import line, plural
from quire.core.ids import MessageId, message_id_text
from quire.core.reports import ErasureReceipt, Scan
from quire.errors import NotFoundError, UsageError

__all__ = ["app"]

app = typer.Typer(rich_markup_mode=None)

LISTED_MAX = 5  # operations shown; a receipt has all


@app.command()
def erase(
    ctx: typer.Context,
    message: Annotated[
        str | None,
        typer.Argument(metavar="MESSAGE", help="A message's id, as `read` shows it.", show_default=False),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option("--version", metavar="N", help="Only this version, as `history` numbers them."),
    ] = None,
    author: Annotated[
        str | None,
        typer.Option("--author", metavar="WHO", help="Everything that somebody wrote: a name, a key, me."),
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--in", metavar="CHANNEL", help="With --author: in this channel only.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; everyone sees it.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Look through the vault's bytes afterwards; alone: for --text, or by --receipt."
        ),
    ] = False,
    receipt: Annotated[
        Path | None,
        typer.Option(
            "--receipt", metavar="FILE", help="Write the receipt there; with --verify alone: check it."
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="TEXT", help="With --verify: look for this; - reads stdin."),
    ] = None,
) -> None:
    """Destroy a message for good, on every device of its channel.

    Its text, versions and files are destroyed, not hidden; that it was there, when, and who erased it stays, and
    the log still verifies. Who had read it may have kept it, and disks that no Quire writes to are not reached.

    \b
    Examples:
      quire erase mzxw-1042.17 --reason 'a password' --verify
      quire erase mzxw-1042.17 --version 1
      quire erase --author slack:U0421 --in general --receipt gone.json
      quire erase --verify --receipt gone.json
      quire erase --verify --text 'correct horse battery'
    """
    if (
        sum(one is not None for one in (message, author)) + (message is None and author is None and verify)
        != 1
    ):
        raise UsageError(
            "say what to erase: a message, or --author", rule="erase_what", hint="see quire erase --help"
        )
    if (version is not None and message is None) or (channel is not None and author is None):
        raise UsageError("--version goes with a message, --in with --author", rule="erase_what")
    with opened(ctx) as session:
        if message is None and author is None:
            _verify(session, receipt, text)
            return
        texts = [_text(text)] if text is not None else []
        if message is not None:
            found = _message(session, message, version, reason, yes, texts)
        else:
            found = _author(session, author or "", channel, reason, yes, texts if verify else None)
        scan = _scan(session, texts) if verify else None
        if receipt is not None:
            write_receipt(receipt, found)
        _show(session, found, scan)


def _message(
    session: Session, message: str, version: int | None, reason: str, yes: bool, texts: list[str]
) -> ErasureReceipt:
    manager = session.manager
    found = manager.get_message(session.message(message))
    what = f"version {version} of " if version is not None else ""
    said = f"Erase {what}{session.short(found.id)} by {line(found.author.name)}, “{line(found.body, 60)}”, for good?"
    confirm(said, yes=yes)
    if version is None:
        texts += manager.texts_of(found.id)
        return manager.erase_message(found.id, reason)
    texts += [one.body for one in manager.get_edit_history(found.id) if one.number == version and one.body]
    return manager.erase_version(found.id, version, reason)


def _author(
    session: Session, name: str, channel: str | None, reason: str, yes: bool, texts: list[str] | None
) -> ErasureReceipt:
    """Erase an author; `texts` gets what is to be looked for then."""
    manager = session.manager
    keys = manager.authors_named(name)
    if not keys:
        raise NotFoundError(
            f"nobody here is called {name}",
            rule="no_author",
            hint="the name as `quire read` shows it, or the key that `quire show --json` has as author",
        )
    if len(keys) > 1:
        raise UsageError(
            f"{name} may be any of {', '.join(keys)}", rule="author_ambiguous", hint="write one of these"
        )
    where = f"in {channel}" if channel else "in every channel"
    confirm(f"Erase everything by {line(name)} {where}, for good?", yes=yes)
    if texts is not None:
        texts += manager.texts_by(keys[0], channel=channel)
    return manager.erase_author(keys[0], channel=channel, reason=reason)


def _verify(session: Session, receipt: Path | None, text: str | None) -> None:
    """Look whether what was erased is gone."""
    if receipt is None and text is None:
        raise UsageError(
            "say what to look for: --text, or a receipt",
            rule="erase_what",
            hint="the vault does not know any more",
        )
    out, manager = session.out, session.manager
    told: list[str] = []
    wrong: list[MessageId] = []
    waits: set[MessageId] = set()
    if receipt is not None:
        held = read_receipt(receipt)
        wrong = manager.check_receipt(held)
        waits = manager.owed_erasures(wrong)
        told += [
            f"{message_id_text(id)} is not destroyed here"
            + (
                ": it is erased, archived and not at hand, and goes when its file is (quire archive --list)"
                if id in waits
                else ""
            )
            for id in wrong
        ]
        count = plural(len(held.erased) - len(wrong), "operation")
        told.append(
            f"{count} destroyed: nothing is here of it but a commitment, by which the log still verifies"
        )
    scan = _scan(session, [_text(text)]) if text is not None else None
    ok = not wrong and (scan is None or scan.ok)
    found = {
        "ok": ok,
        "not_destroyed": [message_id_text(id) for id in wrong],
        "waiting": [message_id_text(id) for id in wrong if id in waits],
        "scan": records.plain(scan),
    }
    out.done(found, *told, *_scanned(scan))
    if not ok:
        raise typer.Exit(FOUND)


def _scan(session: Session, texts: list[str]) -> Scan:
    with Meter(session.out, "Looking through the vault") as meter:
        return session.manager.scan(texts, meter)


def _show(session: Session, receipt: ErasureReceipt, scan: Scan | None) -> None:
    out = session.out
    told = [f"erased {_counted(receipt)}, {plural(len(receipt.erased), 'operation')} in all"]
    for one in receipt.erased[:LISTED_MAX]:
        told += [f"  {message_id_text(one.id)}, by its commitment", f"  {one.commitment.hex()}"]
    if len(receipt.erased) > LISTED_MAX:
        told.append(f"  … and {len(receipt.erased) - LISTED_MAX:,} more: --receipt writes all to a file")
    fields = {
        "receipt": receipt_fields(receipt),
        "left": receipt.left,
        "owed": receipt.owed,
        "wished": receipt.wished,
        "pending": receipt.pending,
        "scan": records.plain(scan),
    }
    out.done(fields, *told, *_scanned(scan))
    if receipt.left:
        out.note(
            f"{plural(receipt.left, 'message')} left: only who wrote or imported them, or a moderator, may erase them"
        )
    if receipt.owed:
        out.note(
            f"{plural(receipt.owed, 'operation')} archived and not at hand: destroyed here when the file is"
            " (quire archive --list)"
        )
    if receipt.wished:
        out.note(
            f"{plural(receipt.wished, 'imported message')} archived and not at hand: remembered, and erased for everybody"
            " when the file is (quire archive --list)"
        )
    if receipt.pending:
        out.note("another program is reading this vault: old pages stay in its journal until it is done")
    if scan is not None and not scan.ok:
        raise typer.Exit(FOUND)


def _counted(receipt: ErasureReceipt) -> str:
    kinds = Counter(one.kind for one in receipt.erased)
    words = {"message": "message", "version": "version", "other": "reaction or name"}
    plurals = {"other": "reactions and names"}
    parts = [
        f"{count:,} {plurals[kind]}" if count > 1 and kind in plurals else plural(count, word)
        for kind, word in words.items()
        if (count := kinds[kind])
    ]
    return ", ".join(parts) or "nothing"


def _scanned(scan: Scan | None) -> list[str]:
    if scan is None:
        return []
    told = [
        f"looked for {plural(scan.looked_for, 'piece')} in {plural(scan.pages, 'page')} of the vault: {scan.found} found"
    ]
    if scan.said_elsewhere:
        told.append(f"{plural(scan.said_elsewhere, 'operation')} that stand say the same")
    if scan.pending:
        told.append(
            "another program is reading this vault: its journal could not be looked at; try again when it is done"
        )
    if scan.skipped:
        told.append(f"{plural(scan.skipped, 'piece')} too short, or too many, to look for")
    return told


def _text(text: str) -> str:
    return sys.stdin.read() if text == "-" else text
