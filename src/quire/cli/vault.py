"""Commands about the vault as a whole: init, stats, verify, doctor, rekey, name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from quire.cli import records, unlock
from quire.cli.exits import FOUND
from quire.cli.output import Output
from quire.cli.progress import Meter
from quire.cli.session import Session, opened, output_of, settings_of
from quire.cli.text import bytes_text, line, plural

if TYPE_CHECKING:
    from rich.text import Text

    from quire.core.reports import Problem, VerifyReport

__all__ = ["app", "two_columns"]

app = typer.Typer(rich_markup_mode=None)


@app.command()
def init(
    ctx: typer.Context,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What others see as your name.")] = "",
) -> None:
    """Make a new vault.

    Shows the 24 words that open the vault should all else be lost.
    The passphrase is asked for twice, or comes from the environment; with --key-file a key
    file opens the vault instead (it is made if it does not exist), with --keyring the OS keyring.

    \b
    Examples:
      quire init
      quire --vault work.quire init --name Ada
    """
    from quire.channels.manager import ChannelManager
    from quire.store.creation import ensure_free
    from quire.store.local import LocalStore

    settings, out = settings_of(ctx), output_of(ctx)
    ensure_free(settings.vault)  # before anyone thinks up a passphrase for nothing
    with LocalStore.create(settings.vault, unlock.first_unlock(settings)) as store:
        if name:
            ChannelManager(store).set_name(name)
        phrase = store.recovery_phrase
        assert phrase is not None
        words = phrase.words()
    if out.json:
        out.emit({"vault": str(settings.vault), "recovery_phrase": words})
        return
    from rich.text import Text

    if not (out.json or settings.quiet):
        out.console.print(
            Text(f"New vault: {line(str(settings.vault))}"), soft_wrap=True
        )  # a path stays whole
    out.show(Text(), *_phrase(words), Text())
    out.show(Text("Next: quire channel create general, or quire import PATH"))


@app.command()
def name(
    ctx: typer.Context,
    new: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Your new name.", show_default=False)
    ] = None,
) -> None:
    """Show or set the name others see on your messages.

    \b
    Example:
      quire name Ada
    """
    with opened(ctx) as session:
        if new is not None:
            session.manager.set_name(new)
        me = session.manager.me()
        if session.out.json:
            session.out.emit(records.plain(me))
        else:
            from rich.text import Text

            session.out.show(Text(line(me.name)))


@app.command()
def stats(ctx: typer.Context) -> None:
    """Count what the vault holds and how much room it takes.

    \b
    Example:
      quire stats
    """
    with opened(ctx) as session:
        found = session.store.stats()
        if session.out.json:
            session.out.emit(records.plain(found))
            return
        from quire.cli.render import stamp

        counts = (
            "channels",
            "messages",
            "threads",
            "reactions",
            "authors",
            "commits",
            "operations",
            "waiting",
        )
        rows = [(name, f"{getattr(found, name):,}") for name in counts]
        rows += [("first message", stamp(found.first_ms)), ("last message", stamp(found.last_ms))]
        rows += (
            [("files", f"{found.files:,}"), ("in files", bytes_text(found.files_bytes))]
            if found.files
            else []
        )
        rows += [("on disk", bytes_text(found.file_bytes)), ("write-ahead log", bytes_text(found.wal_bytes))]
        session.out.show(two_columns([*rows, ("schema", str(found.schema))]))


@app.command()
def verify(
    ctx: typer.Context,
    digest: Annotated[
        bool,
        typer.Option("--digest", help="Also a digest of each channel: alike where two vaults tell the same."),
    ] = False,
) -> None:
    """Recompute everything from the commit log and compare.

    Signatures, chains, commitments, all views and the search index.
    Exit code 1 if anything differs. The digests are alike on devices that are in step,
    and before an export and after its import.

    \b
    Examples:
      quire verify
      quire verify --digest
    """
    with opened(ctx) as session:
        with Meter(session.out, "Verifying") as meter:
            report = session.store.verify(progress=meter)
        digests = _digests(session) if digest else []
        if not session.out.json:
            for one in digests:
                row = f"{one['digest']}  #{line(one['name'])}"
                session.out.console.print(row, soft_wrap=True)  # one line each, to compare by a script
        _report(session.out, report, **({"digests": digests} if digest else {}))


def _digests(session: Session) -> list[dict[str, str]]:
    """Of each channel; `exact` covers the ids that this history has in every vault, but not after an import."""
    from quire.store.digest import contents_digest, timeline_digest

    return [
        {
            "channel": one.id.hex(),
            "name": one.name,
            "digest": contents_digest(session.store, one.id).hex(),
            "exact": timeline_digest(session.store, one.id).hex(),
        }
        for one in session.manager.list_channels()
    ]


@app.command()
def doctor(
    ctx: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild all views from the commit log, then verify.")
    ] = False,
) -> None:
    """Check the vault quickly, or repair it.

    Looks at files, permissions, key slots and pages; `verify` reads everything.
    Exit code 1 if anything is wrong.

    \b
    Examples:
      quire doctor
      quire doctor --repair
    """
    with opened(ctx) as session:
        if repair:
            with Meter(session.out, "Repairing") as meter:
                report = session.store.repair(progress=meter)
            _report(session.out, report)
            return
        problems = session.store.doctor()
        if session.out.json:
            session.out.emit({"ok": not problems, "problems": records.plain(problems)})
        else:
            _problems(session.out, problems, "nothing wrong found; quire verify checks every message")
    if problems:
        raise typer.Exit(FOUND)


@app.command()
def rekey(ctx: typer.Context) -> None:
    """Encrypt the whole vault anew, under a new key.

    The passphrase and the other ways to unlock stay.

    \b
    Example:
      quire rekey
    """
    with opened(ctx) as session:
        with Meter(session.out, "Encrypting anew") as meter:
            session.store.rekey(progress=meter)
        session.out.done({"ok": True}, "the vault has a new key; everything that opened it still does")


def two_columns(rows: Sequence[tuple[str, str]]) -> Text:
    """Names and values, the values aligned; those that are empty are left out."""
    from rich.text import Text

    width = max((len(name) for name, _ in rows), default=0)
    return Text("\n".join(f"{name.ljust(width)}  {value}" for name, value in rows if value))


def _phrase(words: str) -> list[Text]:
    from rich.text import Text

    numbered = [f"{number:2}  {word:<8}" for number, word in enumerate(words.split(), start=1)]
    rows = ["   ".join(numbered[row::6]).rstrip() for row in range(6)]
    return [
        Text("Recovery phrase. Write these 24 words on paper; they are shown only now."),
        Text("They open the vault without the passphrase, and nothing else can replace it."),
        Text(),
        Text("\n".join(rows)),
    ]


def _report(out: Output, report: VerifyReport, **beside: object) -> None:
    if out.json:
        out.emit(records.plain(report) | {"ok": report.ok} | beside)
    else:
        read = ", ".join(
            plural(getattr(report, name + "s"), name) for name in ("commit", "operation", "message", "log")
        )
        _problems(out, report.problems, "all as it was written")
        if more := report.problem_count - len(report.problems):
            out.show(f"and {plural(more, 'more problem')}")
        out.show(f"read {read}")
        if report.unread:
            out.show(f"not read, as it is archived and not at hand: {plural(report.unread, 'operation')}")
            for place in report.places:
                out.show(f"  {line(place, 400)}")
    if not report.ok:
        raise typer.Exit(FOUND)


def _problems(out: Output, problems: Sequence[Problem], none: str) -> None:
    from rich.text import Text

    for one in problems:
        out.show(Text(f"{line(one.what)}: {line(one.where)}: {line(one.detail, 1000)}", "red"))
    if not problems:
        out.show(Text(none, "green"))
