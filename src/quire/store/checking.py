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

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec

from quire.core.commit import peek_commit, to_be_signed
from quire.core.crypto.cards import fingerprint
from quire.core.crypto.keys import verify
from quire.core.crypto.secrets import KeyFile
from quire.core.export_seal import Statement, open_seal
from quire.core.ids import ChannelId, IdentityId
from quire.core.limits import COMMIT_BYTES_MAX
from quire.core.reports import Problem
from quire.errors import FormatError, MalformedError, PeerError
from quire.exchange.exported import (
    AuthorLine,
    ChannelLine,
    CommitLine,
    EndLine,
    HeaderLine,
    Line,
    MessageLine,
    SealLine,
)
from quire.exchange.writers import exporter
from quire.exchange.writing import Files
from quire.storage import erasures, heights, keychain, log, retention
from quire.storage import timeline as rows
from quire.storage.outside import create_key_file
from quire.storage.pending import waiting_exists
from quire.store.exporting import SIGNED_NAME, Span, files_of, write_told
from quire.store.local import LocalStore
from quire.store.telling import Teller, message_id

LINE_MAX = 4 * COMMIT_BYTES_MAX
BATCH_BYTES = 4 << 20
PROBLEMS_MAX = 1_000
APART_MAX = 100_000  # lines that do not meet their message yet
Progress = Callable[[str, int, int], None]


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
                check = _Check(store, file, progress)
                check.run()
                if place.is_dir():
                    check.pages(place, Path(folder) / "pages")
                return check.report(place)
            finally:
                store.forget_witness()


class _Check:
    """One export, one throw-away vault."""

    def __init__(self, store: LocalStore, file: Path, progress: Progress | None) -> None:
        self._store, self._file, self._progress = store, file, progress
        self._problems: list[Problem] = []
        self._count = 0
        self._notes: list[str] = []
        self._header = HeaderLine(0)
        self._channels: list[ChannelLine] = []
        self._authors: dict[str, AuthorLine] = {}
        self._seals: dict[str, Statement] = {}
        self._placed: dict[bytes, bool] = {}  # heads of content whose epoch is known
        self._commits = self._messages = 0
        self._exporter = ""

    def run(self) -> None:
        self._take_proof()
        self._check_seals()
        self._compare()

    def _problem(self, what: str, where: str, detail: str) -> None:
        self._count += 1
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(Problem(what, where, detail))

    # The lines

    def _lines(self) -> Iterator[tuple[int, Line]]:
        """Every line that is one; the others are problems, once."""
        decode, encode = msgspec.json.Decoder(Line).decode, msgspec.json.Encoder().encode
        first_time = not self._commits and not self._channels
        with self._file.open("rb") as file:
            number = 0
            while data := file.readline(LINE_MAX):
                number += 1
                try:
                    line = decode(data)
                    if encode(line) + b"\n" != data:  # two readers might read it as two things
                        raise msgspec.DecodeError("not as an export writes it")
                    yield number, line
                except (msgspec.MsgspecError, UnicodeError, RecursionError):
                    if number == 1:
                        raise _not_signed(self._file) from None
                    if first_time:
                        self._problem("line_broken", f"line {number}", "it is no line of an export")

    # The proof

    def _take_proof(self) -> None:
        batch: list[tuple[int, bytes]] = []
        size, ended = 0, False
        for number, line in self._lines():
            if number == 1:
                self._begin(line)
            elif isinstance(line, CommitLine):
                if not _is_of(line):
                    self._problem("line_broken", f"line {number}", "its commit is of another channel")
                batch.append((number, line.commit))
                size += len(line.commit)
                if size > BATCH_BYTES:
                    self._take(batch)
                    batch, size = [], 0
            elif isinstance(line, SealLine):
                self._open_seal(number, line)
            elif isinstance(line, ChannelLine):
                self._channels.append(line)
            ended = isinstance(line, EndLine)
        self._take(batch)
        self._mind_holes()
        if not ended:
            self._problem("cut_short", self._file.name, "the last line is missing")

    def _begin(self, line: Line) -> None:
        if not isinstance(line, HeaderLine) or not line.signed:
            raise _not_signed(self._file)
        self._header = line

    def _take(self, batch: list[tuple[int, bytes]]) -> None:
        """Give commits to the vault, control commits before content: it needs no key where it is only to be read."""
        if not batch:
            return
        control: list[tuple[int, bytes]] = []
        content: list[tuple[int, bytes]] = []
        for number, encoded in batch:
            if not _is_signed(encoded):
                self._problem("commit_refused", f"line {number}, {_named(encoded)}", "signature")
                continue
            (control if self._is_control(encoded) else content).append((number, encoded))
        for some in (control, content):
            self._make_ready([encoded for _, encoded in some])
            report = self._store.ingest([encoded for _, encoded in some])
            self._commits += report.new
            for refused in report.refused:
                number, encoded = some[refused.position]
                self._problem("commit_refused", f"line {number}, {_named(encoded)}", refused.error.rule)
            if report.repeated:
                self._notes.append(f"{report.repeated} commits stand twice in the export")
            if report.parked:
                self._problem(
                    "commit_missing", f"line {some[0][0]} and after", "control commits that others name"
                )
        if self._progress:
            self._progress("signatures", self._commits, 0)

    @staticmethod
    def _is_control(encoded: bytes) -> bool:
        from quire.core.operation import SALT_SIZE, is_control

        try:
            commit, _ = peek_commit(encoded)
        except PeerError:
            return True
        return any(is_control(one[SALT_SIZE:]) for one in commit.operations[:1] if one)

    def _make_ready(self, encoded: list[bytes]) -> None:
        """What keeps a vault from taking content, and says nothing about an export: a key that is not there, to hand
        it on, and a policy of the channel by which it has gone since."""
        wanted: set[tuple[bytes, bytes]] = set()
        db = self._store.database.reader
        for one in encoded:
            try:
                head = peek_commit(one)[1]
            except PeerError:
                continue
            place = b"".join(head.control_heads)
            row = log.channel_by_id(db, head.channel)
            if place in self._placed or row is None:
                continue
            graph = self._store.ledger.people.graph(db, row)
            if all(id in graph for id in head.control_heads):
                epoch = graph.epoch_at(head.control_heads)
                self._placed[place] = True
                if epoch is not None:
                    wanted.add((head.channel, epoch.epoch))

        def work(db: apsw.Connection) -> None:
            for channel, epoch in wanted:
                keychain.put_epoch(db, channel, epoch, bytes(32))
            for row in log.channels(db):
                retention.put_policies(db, row.n, {})

        if encoded:
            self._store.ledger.run(work)

    def _mind_holes(self) -> None:
        """What the exporter had let go, this vault need not wait for."""

        def work(db: apsw.Connection) -> bool:
            db.execute("UPDATE destroyed SET why = ? WHERE why = ?", (erasures.LOCAL, erasures.MISSING))
            return db.changes() > 0 and waiting_exists(db)

        if self._store.ledger.run(work):
            self._store.repair()

    # The seals

    def _open_seal(self, number: int, line: SealLine) -> None:
        try:
            self._seals[line.channel] = open_seal(line.statement, line.signature)
        except MalformedError as error:
            self._problem("seal_broken", f"line {number}", error.rule)

    def _check_seals(self) -> None:
        db = self._store.database.reader
        for channel in self._channels:
            row, seal = self._row(channel.key), self._seals.get(channel.key)
            if row is None:
                self._problem("commit_missing", f"#{channel.name}", "the commit that founds the channel")
                continue
            if seal is None or seal.channel != row.id:
                self._problem("seal_missing", f"#{channel.name}", "nobody says that this is all there was")
                continue
            owner = self._store.ledger.people.graph(db, row).state.owner_of(seal.device)
            if not owner:
                self._problem("seal_broken", f"#{channel.name}", "its device is nobody's in this channel")
                continue
            if seal.header != hashlib.sha256(msgspec.json.encode(self._header)).digest():
                self._problem("seal_broken", f"#{channel.name}", "it is of another export")
            if seal.messages != row.messages:
                told = f"the exporter counted {seal.messages:,} messages, here they are {row.messages:,}"
                self._notes.append(f"#{channel.name}: {told}")
            self._exporter = fingerprint(IdentityId(owner))
            here = {height.log: height for of in log.logs_of(db, row.n) if (height := heights.height(db, of))}
            for said in seal.logs:
                there = here.get(said.log)
                if there is None or (there.last, there.id, there.gaps) != (said.last, said.id, said.gaps):
                    last = there.last if there else 0
                    detail = f"the log of device {said.device.hex()[:8]} had {said.last} commits; here it ends at {last}"
                    self._problem("commit_missing", f"#{channel.name}", detail)
                elif said.gaps:
                    self._notes.append(f"#{channel.name}: the exporter did not have all of one log")

    # The lines against what was signed

    def _compare(self) -> None:
        """Walk the lines of messages and the vault's own telling side by side; both are in the order of each channel."""
        walk: _Walk | None = None
        known = {row.id.hex() for row in log.channels(self._store.database.reader)}
        total = 0
        with self._store.database.snapshot() as db:
            teller = Teller(db)
            for number, line in self._lines():
                if isinstance(line, ChannelLine):
                    self._end(walk)
                    walk = None
                    row = self._row(line.key)
                    if row is None:
                        continue
                    known.discard(line.key)
                    if teller.channel(row) != line:
                        fields = differing(teller.channel(row), line)
                        self._problem("channel_changed", f"line {number}, #{line.name}", fields)
                    expected = (tuple(told.messages) for told in teller.tell(row))
                    walk = _Walk(self, db, expected, line)
                elif isinstance(line, AuthorLine):
                    self._authors[line.key] = line
                elif isinstance(line, MessageLine):
                    total += 1
                    if walk is None or line.channel != walk.channel.key:
                        self._problem(
                            "message_unsigned", f"line {number}, {line.id[:60]}", "it is of no channel here"
                        )
                    else:
                        walk.take(number, line)
                    if self._progress and total % 1_000 == 0:
                        self._progress("messages", total, 0)
                elif isinstance(line, EndLine) and line.messages != total:
                    self._problem(
                        "cut_short",
                        f"line {number}",
                        f"{line.messages} messages were written, {total} are here",
                    )
            self._end(walk)
            for key in known:
                self._problem("channel_changed", key[:16], "its commits are here, its lines are not")
            self._check_authors(db)
        self._messages = total

    def _end(self, walk: _Walk | None) -> None:
        if walk is not None:
            walk.finish()

    def _check_authors(self, db: apsw.Connection) -> None:
        found: Any = db.execute("SELECT key, name, bot FROM author")
        signed = {key: (name, bool(bot)) for key, name, bot in found}
        for key, line in self._authors.items():
            if key not in signed:
                self._problem(
                    "author_changed", key[:80], "nobody of this key signed anything here, nor was imported"
                )
            elif signed[key] != (line.name, line.bot):
                self._problem("author_changed", key[:80], "name" if signed[key][0] != line.name else "bot")

    def _row(self, key: str) -> log.ChannelRow | None:
        try:
            return log.channel_by_id(self._store.database.reader, ChannelId(bytes.fromhex(key)))
        except ValueError:
            return None

    # Pages

    def pages(self, place: Path, fresh: Path) -> None:
        """Write the folder anew from what was signed, and compare file by file."""
        from importlib.metadata import version

        if self._header.export != f"quire {version('quire')}":
            self._notes.append(
                f"the pages were written by {self._header.export}: only {SIGNED_NAME} was checked"
            )
            return
        format = "html" if (place / "index.html").exists() else "markdown"
        kind = exporter(format)
        fresh.mkdir(mode=0o700)
        told = [row for channel in self._channels if (row := self._row(channel.key)) is not None]
        with self._store.database.snapshot() as db, Files() as files:
            writer = kind.open_writer(fresh, self._header, files)
            write_told(Teller(db), kind, writer, told, Span(), self._progress)
            writer.finish()
        written = {path.relative_to(fresh) for path in files_of(fresh)}
        there = {path.relative_to(place) for path in files_of(place)} - {Path(SIGNED_NAME)}
        for name in sorted(written - there):
            self._problem("page_missing", str(name), "it was written")
        for name in sorted(there - written):
            self._problem("page_unsigned", str(name), "it is no part of the export")
        for name in sorted(written & there):
            if (place / name).is_symlink() or not same_bytes(place / name, fresh / name):
                self._problem("page_changed", str(name), "it does not show what was signed")
        shutil.rmtree(fresh)

    # The report

    def report(self, place: Path) -> CheckReport:
        return CheckReport(
            str(place), len(self._channels), self._messages, self._commits, self._header.exported_ms,
            self._exporter, tuple(self._signers()), tuple(self._problems), self._count,
            tuple(dict.fromkeys(self._notes)),
        )  # fmt: skip

    def _signers(self) -> Iterator[Signer]:
        db = self._store.database.reader
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


class _Walk:
    """The lines of one channel beside what was signed; what is out of step waits, within bounds."""

    def __init__(
        self,
        check: _Check,
        db: apsw.Connection,
        expected: Iterator[tuple[MessageLine, ...]],
        channel: ChannelLine,
    ) -> None:
        self._check, self._db, self.channel = check, db, channel
        self._expected = (line for some in expected for line in some)
        self._unmet: dict[str, MessageLine] = {}  # signed, and not yet among the lines
        self._early: dict[str, tuple[int, MessageLine]] = {}  # the other way round
        self._time_ms = 0

    def take(self, number: int, line: MessageLine) -> None:
        if line.time_ms < self._time_ms:
            self._check._problem(
                "messages_order", f"line {number}, {line.id[:60]}", "it is older than the line before"
            )
        self._time_ms = line.time_ms
        signed = next(self._expected, None)
        if signed is not None and signed.id == line.id:
            self._same(number, line, signed)
            return
        if signed is not None:
            early = self._early.pop(signed.id, None)
            if early is not None:
                self._same(*early, signed)
            else:
                self._unmet[signed.id] = signed
        unmet = self._unmet.pop(line.id, None)
        if unmet is not None:
            self._same(number, line, unmet)
        else:
            self._early[line.id] = (number, line)
        if len(self._early) + len(self._unmet) > APART_MAX:
            raise FormatError("this export has little to do with its proof", rule="not_signed")

    def _same(self, number: int, line: MessageLine, signed: MessageLine) -> None:
        if line != signed:
            self._check._problem("message_changed", f"line {number}, {line.id}", differing(signed, line))

    def finish(self) -> None:
        for signed in self._expected:
            early = self._early.pop(signed.id, None)
            if early is not None:
                self._same(*early, signed)
            else:
                self._unmet[signed.id] = signed
        for number, line in self._early.values():
            id = message_id(line.id)
            there = rows.get_row(self._db, id) if id else None
            what, detail = ("message_unsigned", "nobody signed this")
            if there is not None and log.channel_by_n(self._db, there.channel).id.hex() == self.channel.key:
                what, detail = ("message_repeated", "it stands twice")
            self._check._problem(what, f"line {number}, {line.id[:60]}", detail)
        for name in self._unmet:
            self._check._problem("message_missing", name, f"it was signed in #{self.channel.name}")


def differing(signed: Any, line: Any) -> str:
    """The fields that differ, by name."""
    return ", ".join(
        name for name in signed.__struct_fields__ if getattr(signed, name) != getattr(line, name)
    )


def same_bytes(one: Path, other: Path) -> bool:
    """Do two files hold the same? Read in pieces."""
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            a, b = first.read(1 << 20), second.read(1 << 20)
            if a != b:
                return False
            if not a:
                return True


def _is_of(line: CommitLine) -> bool:
    """Is a commit of the channel that its line says? What is no commit is found out later."""
    try:
        return peek_commit(line.commit)[1].channel.hex() == line.channel
    except PeerError:
        return True


def _is_signed(encoded: bytes) -> bool:
    """Is a commit signed itself? A vault is content if a later one vouches for it; who shows a proof to others is not."""
    try:
        commit, head = peek_commit(encoded)
    except PeerError:
        return True  # the vault says what is wrong with it
    return verify(head.device, commit.signature, to_be_signed(commit.head))


def _named(encoded: bytes) -> str:
    """Which commit this is, as far as it can be read."""
    try:
        head = peek_commit(encoded)[1]
    except PeerError:
        return "a commit of no known form"
    return f"commit {head.seq} of device {head.device.hex()[:8]}"


def _not_signed(file: Path) -> FormatError:
    return FormatError(
        f"{file.name} is no signed export", rule="not_signed", hint="quire export --signed writes one"
    )
