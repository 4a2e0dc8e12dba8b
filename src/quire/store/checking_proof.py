"""The proof in a signed export: its commits, and the seals, which say that there were no more.

The commits are taken into a vault that is new and will be thrown away, as a peer's would be: no rule stands twice.
"""

from __future__ import annotations

import hashlib

import apsw
import msgspec

from quire.core.commit import peek_commit, to_be_signed
from quire.core.crypto.cards import fingerprint
from quire.core.crypto.keys import verify
from quire.core.export_seal import Statement, open_seal
from quire.core.ids import IdentityId
from quire.errors import MalformedError, PeerError
from quire.exchange.exported import ChannelLine, CommitLine, EndLine, HeaderLine, Line, SealLine
from quire.storage import erasures, heights, keychain, log, retention
from quire.storage.pending import waiting_exists
from quire.store.checking_export import Export, not_signed

BATCH_BYTES = 4 << 20


class Proof:
    """Takes the commits of an export, and opens its seals."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._seals: dict[str, Statement] = {}
        self._placed: dict[bytes, bool] = {}  # heads of content whose epoch is known
        self.commits = 0
        self.exporter = ""  # the fingerprint of whose device sealed it

    def take(self) -> None:
        batch: list[tuple[int, bytes]] = []
        size, ended = 0, False
        for number, line in self._export.lines():
            if number == 1:
                self._begin(line)
            elif isinstance(line, CommitLine):
                if not _is_of(line):
                    self._export.problem("line_broken", f"line {number}", "its commit is of another channel")
                batch.append((number, line.commit))
                size += len(line.commit)
                if size > BATCH_BYTES:
                    self._take(batch)
                    batch, size = [], 0
            elif isinstance(line, SealLine):
                self._open_seal(number, line)
            elif isinstance(line, ChannelLine):
                self._export.channels.append(line)
            ended = isinstance(line, EndLine)
        self._take(batch)
        self._mind_holes()
        if not ended:
            self._export.problem("cut_short", self._export.file.name, "the last line is missing")

    def _begin(self, line: Line) -> None:
        if not isinstance(line, HeaderLine) or not line.signed:
            raise not_signed(self._export.file)
        self._export.header = line

    def _take(self, batch: list[tuple[int, bytes]]) -> None:
        """Give commits to the vault, control commits before content: it needs no key where it is only to be read."""
        if not batch:
            return
        control: list[tuple[int, bytes]] = []
        content: list[tuple[int, bytes]] = []
        for number, encoded in batch:
            if not _is_signed(encoded):
                self._export.problem("commit_refused", f"line {number}, {_named(encoded)}", "signature")
                continue
            (control if self._is_control(encoded) else content).append((number, encoded))
        for some in (control, content):
            self._make_ready([encoded for _, encoded in some])
            report = self._export.store.ingest([encoded for _, encoded in some])
            self.commits += report.new
            for refused in report.refused:
                number, encoded = some[refused.position]
                self._export.problem(
                    "commit_refused", f"line {number}, {_named(encoded)}", refused.error.rule
                )
            if report.repeated:
                self._export.notes.append(f"{report.repeated} commits stand twice in the export")
            if report.parked:
                self._export.problem(
                    "commit_missing", f"line {some[0][0]} and after", "control commits that others name"
                )
        self._export.tell("signatures", self.commits, 0)

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
        db = self._export.store.database.reader
        for one in encoded:
            try:
                head = peek_commit(one)[1]
            except PeerError:
                continue
            place = b"".join(head.control_heads)
            row = log.channel_by_id(db, head.channel)
            if place in self._placed or row is None:
                continue
            graph = self._export.store.ledger.people.graph(db, row)
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
            self._export.store.ledger.run(work)

    def _mind_holes(self) -> None:
        """What the exporter had let go, this vault need not wait for."""

        def work(db: apsw.Connection) -> bool:
            db.execute("UPDATE destroyed SET why = ? WHERE why = ?", (erasures.LOCAL, erasures.MISSING))
            return db.changes() > 0 and waiting_exists(db)

        if self._export.store.ledger.run(work):
            self._export.store.repair()

    def _open_seal(self, number: int, line: SealLine) -> None:
        try:
            self._seals[line.channel] = open_seal(line.statement, line.signature)
        except MalformedError as error:
            self._export.problem("seal_broken", f"line {number}", error.rule)

    def check_seals(self) -> None:
        db = self._export.store.database.reader
        for channel in self._export.channels:
            row, seal = self._export.row(channel.key), self._seals.get(channel.key)
            if row is None:
                self._export.problem(
                    "commit_missing", f"#{channel.name}", "the commit that founds the channel"
                )
                continue
            if seal is None or seal.channel != row.id:
                self._export.problem(
                    "seal_missing", f"#{channel.name}", "nobody says that this is all there was"
                )
                continue
            owner = self._export.store.ledger.people.graph(db, row).state.owner_of(seal.device)
            if not owner:
                self._export.problem(
                    "seal_broken", f"#{channel.name}", "its device is nobody's in this channel"
                )
                continue
            if seal.header != hashlib.sha256(msgspec.json.encode(self._export.header)).digest():
                self._export.problem("seal_broken", f"#{channel.name}", "it is of another export")
            if seal.messages != row.messages:
                told = f"the exporter counted {seal.messages:,} messages, here they are {row.messages:,}"
                self._export.notes.append(f"#{channel.name}: {told}")
            self.exporter = fingerprint(IdentityId(owner))
            here = {height.log: height for of in log.logs_of(db, row.n) if (height := heights.height(db, of))}
            for said in seal.logs:
                there = here.get(said.log)
                if there is None or (there.last, there.id, there.gaps) != (said.last, said.id, said.gaps):
                    last = there.last if there else 0
                    detail = f"the log of device {said.device.hex()[:8]} had {said.last} commits; here it ends at {last}"
                    self._export.problem("commit_missing", f"#{channel.name}", detail)
                elif said.gaps:
                    self._export.notes.append(f"#{channel.name}: the exporter did not have all of one log")


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
