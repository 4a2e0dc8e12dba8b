"""Checking a signed export, with no vault but a throw-away one.

The commits in the export are taken into a new vault, which checks each as it would one from a peer: form, content root,
chain, signature, membership, rights. Then that vault tells its channels, and the export must say the same, line by line;
the pages of a folder are written anew and compared. So nothing is trusted twice, and no rule stands twice. The throw-away
vault is encrypted like any other, and gone afterwards.

    commit_refused      a commit is not what was signed, or not its author's right
    commit_missing      the exporter had commits that are not in the export
    seal_missing, seal_broken
    message_changed     a message does not say what was signed; the fields that differ
    message_missing     a signed message is not among the lines
    message_unsigned    a line that nobody signed
    message_repeated, messages_order
    author_changed, channel_changed, line_broken, cut_short
    page_changed, page_missing, page_unsigned    files of a folder
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from quire.core.crypto.cards import fingerprint
from quire.core.crypto.secrets import KeyFile
from quire.core.ids import IdentityId
from quire.core.reports import Problem
from quire.storage import timeline as rows
from quire.storage.outside import create_key_file
from quire.store.checking_export import Export
from quire.store.checking_lines import Lines
from quire.store.checking_pages import check_pages
from quire.store.checking_proof import Proof
from quire.store.exporting import SIGNED_NAME
from quire.store.findings import Progress
from quire.store.local import LocalStore


class Signer(msgspec.Struct, frozen=True):
    """Somebody whose signatures an export holds."""

    key: str
    name: str  # as they signed it
    fingerprint: str  # to be compared with their key card
    messages: int  # they wrote
    imported: int  # they brought in: who wrote those is their word


class CheckReport(msgspec.Struct, frozen=True):
    """What a check found."""

    path: str
    channels: int
    messages: int
    commits: int
    exported_ms: int
    exporter: str  # the fingerprint of whose device sealed it, "" if nobody's did
    signers: tuple[Signer, ...]
    problems: tuple[Problem, ...]
    problem_count: int
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.problem_count == 0


def check_export(path: str | os.PathLike[str], progress: Progress | None = None) -> CheckReport:
    """Check a signed export: a JSONL file, or a folder. Memory does not grow with it.

    Raises: FormatError(rule="not_signed") if it is no signed export; OSError.
    """
    place = Path(path)
    file = place / SIGNED_NAME if place.is_dir() else place
    with tempfile.TemporaryDirectory(prefix="quire-check-") as folder:
        create_key_file(Path(folder) / "key")
        with LocalStore.create(Path(folder) / "vault", KeyFile(str(Path(folder) / "key"))) as store:
            try:
                export = Export(store, file, progress)
                proof, lines = Proof(export), Lines(export)
                proof.take()
                proof.check_seals()
                lines.compare()
                if place.is_dir():
                    check_pages(export, place, Path(folder) / "pages")
                return CheckReport(
                    str(place), len(export.channels), lines.messages, proof.commits, export.header.exported_ms,
                    proof.exporter, tuple(_signers(store)), tuple(export.findings.listed), export.findings.count,
                    tuple(dict.fromkeys(export.notes)),
                )  # fmt: skip
            finally:
                store.forget_witness()


def _signers(store: LocalStore) -> Iterator[Signer]:
    db = store.database.reader
    found: Any = db.execute(
        "SELECT l.signer, sum(m.flags & ?1 = 0), sum(m.flags & ?1 <> 0) FROM message m"
        " JOIN log l ON l.prefix = substr(m.id, 1, 10) GROUP BY l.signer ORDER BY count(*) DESC",
        (rows.IMPORTED,),
    ).fetchall()
    named: Any = db.execute("SELECT key, name FROM author").fetchall()
    names: dict[str, str] = dict(named)
    for key, written, imported in found:
        identity = IdentityId(bytes.fromhex(key.partition(":")[2]))
        yield Signer(key, names.get(key, key[6:14]), fingerprint(identity), written, imported)
