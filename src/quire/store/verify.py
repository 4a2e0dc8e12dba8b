"""`verify` recomputes everything from the log and compares; `quick_check` looks at what is quickly seen.

All checks read one snapshot, as streams, so memory does not grow with history. First SQLite's own check of
its trees, then the log against its chains, signatures and commitments (check_log.py), in the same pass each
message and operation against the timeline's rules (check_views.py) and each commit against what membership lets its
author do (check_people.py), then the views that are counted from
those (check_rows.py), and the search index, word by word (check_search.py). What can be found is listed in
findings.py. A part that damaged pages cut short is reported, and the others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from quire.core.crypto.keys import SigningKey, decode_certificate
from quire.core.crypto.slots import decode_slots
from quire.core.reports import Problem, VerifyReport
from quire.errors import MalformedError, StorageError
from quire.storage import cold
from quire.storage.database import guarded
from quire.storage.meta import get_meta
from quire.store import wallclock
from quire.store.attachment_care import check_files
from quire.store.check_log import LogCheck
from quire.store.check_people import PeopleCheck
from quire.store.check_rows import check_docs, check_newest, check_threads
from quire.store.check_search import SearchCheck
from quire.store.check_views import Views
from quire.store.findings import PROBLEMS_MAX, Findings, Progress, Run
from quire.store.owing import settle

if TYPE_CHECKING:
    from quire.store.local import LocalStore

RELEASE_SLACK_MS = 60_000  # what came due while we began is not in vain


@guarded
def verify(store: LocalStore, progress: Progress | None = None) -> VerifyReport:
    """Compare everything with the log. Raises: StorageError if the disk fails; damage is in the report."""
    store.release_due()
    with suppress(StorageError):  # damage is found below
        settle(store)
    findings = Findings()
    released_ms = None if store.database.read_only else wallclock.now_ms() - RELEASE_SLACK_MS
    with store.database.snapshot() as db:
        run = Run(db, findings, store.own_key, store.device, released_ms, progress)
        _verify(run)
        findings.attempt("attachments", lambda: _check_attachments(store, run, whole=True))
    return VerifyReport(
        run.commits, run.operations, run.messages, len(run.logs), tuple(findings.listed), findings.count,
        sum(run.unread.values()), unread_places(store, run.unread),
    )  # fmt: skip


def unread_places(store: LocalStore, unread: Counter[int]) -> tuple[str, ...]:
    """The files that operations are in which could not be read."""
    blocks, db = store.database.blocks, store.database.reader
    found = [cold.segment(db, n) for n in sorted(unread)]
    return tuple(blocks.path(row) for row in found if row is not None)


def _verify(run: Run) -> None:
    db, attempt = run.db, run.findings.attempt
    run.step("checking the file", 0, 1)
    attempt("vault.db", lambda: _check_file(run, f"PRAGMA integrity_check({PROBLEMS_MAX})"))
    run.step("checking the file", 1, 1)
    attempt("meta", lambda: _check_own(run))
    if not run.is_laid_out:
        return
    searches: list[SearchCheck] = []
    views: list[Views] = []
    people = PeopleCheck(run)

    def read_log() -> None:
        searches.append(SearchCheck(db))
        views.append(Views(run, searches[0]))
        LogCheck(run, views[0], people).check()

    attempt("the log", read_log)
    later: list[tuple[str, Callable[[], None]]] = [
        ("threads", lambda: check_threads(run, views[0])),
        ("channels", lambda: views[0].check_channels()),
        ("people", people.check_channels),
        ("keys", people.check_keys),
        ("parked commits", people.check_parked),
        ("authors and marks", lambda: check_newest(run)),
        ("index rows", lambda: check_docs(run)),
        ("the search index", lambda: searches[0].compare(run.findings)),
    ]
    for done, (what, check) in enumerate(later):
        run.step("comparing views", done, len(later))
        if views:
            attempt(what, check)
    run.step("comparing views", len(later), len(later))


def _check_file(run: Run, pragma: str) -> None:
    for (line,) in run.db.execute(pragma):
        if line != "ok":
            run.findings.add("database", "vault.db", str(line))


def _check_attachments(store: LocalStore, run: Run, *, whole: bool) -> None:
    for what, where, detail in check_files(store, run.db, whole=whole):
        run.findings.add(what, where, detail)


def _check_own(run: Run) -> None:
    """The vault's own keys fit each other."""
    encoded = bytes(get_meta(run.db, "certificate"))
    if not encoded:  # restored, and not yet certified (store/restoring.py)
        return
    try:
        certificate = decode_certificate(encoded)
        certificate.verify()
    except MalformedError as error:
        run.findings.add("certificate", "our own", error.rule)
        return
    seed = get_meta(run.db, "device_seed")
    device = SigningKey(bytes(seed)).public if seed is not None else run.device
    if not certificate.device == device == run.device or run.own_key != f"quire:{certificate.identity.hex()}":
        run.findings.add("certificate", "our own", "it is another's")


def _check_modes(store: LocalStore, findings: Findings) -> None:
    """Nobody else on this machine may read the folder, nor any file in it should its folder be opened or copied."""
    for path, wanted in ((store.folder, 0o700), *((file, 0o600) for file in sorted(store.folder.iterdir()))):
        try:
            mode = path.stat().st_mode & 0o777
        except FileNotFoundError:  # another process closed the vault, and its WAL went
            continue
        if mode & 0o077:
            findings.add("permissions", str(path), f"its mode is {mode:o}; it should be {wanted:o}")


def quick_check(store: LocalStore) -> list[Problem]:
    """The folder, the slots, our own keys, the structure of the file's pages."""
    findings = Findings()
    _check_modes(store, findings)
    try:
        slots = decode_slots((store.folder / "slots").read_bytes())
        if not slots.is_under(store.database.key):
            findings.add("slots_damaged", "slots", "they are not of this vault's key")
    except (OSError, MalformedError) as error:
        findings.add("slots_damaged", "slots", getattr(error, "rule", "not readable"))
    with store.database.snapshot() as db:
        run = Run(db, findings, store.own_key, store.device, None, None)
        findings.attempt("vault.db", lambda: _check_file(run, f"PRAGMA quick_check({PROBLEMS_MAX})"))
        findings.attempt("meta", lambda: _check_own(run))
        findings.attempt("attachments", lambda: _check_attachments(store, run, whole=False))
    return findings.listed
