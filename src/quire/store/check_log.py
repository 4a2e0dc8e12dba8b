"""The log against itself: chains, signatures, and the commitments against the operations' bytes.

The bytes are spread over five tables. Their rows are read as one stream in order of id, which is also the
order of logs (by prefix), of commits and of operations in them, so one pass sees everything once: what is
missing, what belongs to no commit, and each operation with the commit around it, which `views` then checks.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from typing import Any

import apsw

from quire.core import commit
from quire.core.commit import Head, commit_id
from quire.core.control import AddDevice, ControlOperation, Create, kind_of
from quire.core.crypto.keys import decode_certificate, verify
from quire.core.ids import channel_id_text, log_prefix, message_id
from quire.core.operation import SALT_SIZE, Operation, Post
from quire.core.operation_form import decode_operation, encode_operation
from quire.core.segment import decode_reference
from quire.errors import CorruptError, MalformedError, UnreachableError
from quire.storage import heights, log
from quire.storage.cold import commitment_of, is_reference, opened, whole_or_reference
from quire.storage.erasures import counted_kept_away, kept_away
from quire.storage.timeline import DOC_SHIFT
from quire.store.check_holes import HoleCheck
from quire.store.check_people import PeopleCheck
from quire.store.check_views import Views
from quire.store.findings import TICK, Run, named
from quire.store.forks import Node, branch_prefix, nodes_of, placement

STORED = {
    "message": f"SELECT 'message', m.id, {whole_or_reference('m.op')}, m.channel, m.time, a.key, m.flags, m.root, m.edit,"
    " m.spill, m.author, d.channel, d.spill FROM message m INDEXED BY message_id LEFT JOIN author a ON a.n = m.author"
    f" LEFT JOIN doc d ON d.n = (m.time >> {DOC_SHIFT}) + m.spill ORDER BY m.id",
    "operation": f"SELECT 'operation', o.id, {whole_or_reference('o.op')}, o.channel, o.time, a.key, o.kind, o.target,"
    " o.previous, o.void"
    " FROM operation o LEFT JOIN author a ON a.n = o.author ORDER BY o.id",
    "control": "SELECT 'control', id, op, channel, kind FROM control ORDER BY id",
    "waiting": f"SELECT 'waiting', id, {whole_or_reference('op')}, channel, time, signer, target, due, rights"
    " FROM waiting ORDER BY id",
    "voided": f"SELECT 'voided', id, {whole_or_reference('op')}, channel FROM voided ORDER BY id",
    "destroyed": "SELECT 'destroyed', id, commitment, channel, why FROM destroyed ORDER BY id",
}


Placed = tuple[dict[bytes, list[Node]], dict[bytes, bytes]]  # commits by branch; where each is to be


class LogCheck:
    """One pass over all commits and all operations."""

    def __init__(self, run: Run, views: Views, people: PeopleCheck) -> None:
        self._run = run
        self._views = views
        self._holes = HoleCheck(run, views)
        self._people = people
        self._add = run.findings.add
        self._stored: Iterator[Any] = heapq.merge(
            *(run.db.execute(sql) for sql in STORED.values()), key=itemgetter(1)
        )
        self._next: Any = next(self._stored, None)
        self._begun: set[int] = set()  # channels whose genesis was seen
        self._placed: dict[tuple[bytes, bytes], Placed] = {}  # of the logs that branch
        self._total = _count_operations(run.db)

    def check(self) -> None:
        run = self._run
        for row in sorted(run.logs.values(), key=lambda row: row.prefix):
            self._check_log(row)
        self._take(b"\xff" * 17)
        self._holes.finish()
        self._views.finish_messages()
        for n, channel in run.channels.items():
            if n not in self._begun:
                self._add("genesis", channel_id_text(channel.id), "the commit that founded it is not here")
        lost: Any = run.db.execute(
            "SELECT count(*) FROM commits WHERE log NOT IN (SELECT n FROM log)"
        ).fetchone()
        if lost[0]:
            self._add("log_misplaced", "commits", f"{lost[0]} commits belong to no log")

    # Logs

    def _check_log(self, row: log.LogRow) -> None:
        channel = self._run.channels.get(row.channel)
        where = f"log {row.n}"
        prefix = log_prefix(row.device, row.incarnation)
        if row.branch:
            prefix = branch_prefix(row.device, row.incarnation, row.branch)
        if channel is None or prefix != row.prefix:
            self._add("log_misplaced", where, "no such channel" if channel is None else "the prefix differs")
            return
        last, previous = self._beginning(row, where) if row.branch else (0, b"")
        unsigned = ""  # content that is not signed itself, so that the next commit is to name it
        for seq, encoded, signature, rights in log.commits_with_rights(self._run.db, row.n):
            self._run.commits += 1
            stored = self._take(row.prefix + seq.to_bytes(4, "big"))
            here = f"{named(message_id(row.prefix, seq, 0))[:-2]}"
            head = self._head(here, encoded)
            id = commit_id(encoded)
            if head is not None:
                if (head.channel, head.device, head.incarnation, head.seq) != (
                    channel.id, row.device, row.incarnation, seq,
                ):  # fmt: skip
                    self._add("head_misplaced", here)
                if unsigned and (seq, head.previous) != (last + 1, previous):
                    self._add("commit_signature", unsigned)
                is_control = any(one[0] == "control" for one in stored)
                unsigned = ""
                if not verify(row.device, signature, commit.to_be_signed(encoded)):
                    if is_control:
                        self._add("commit_signature", here)
                    else:
                        unsigned = here
                if seq != last + 1 and row.own in (log.OPEN, log.CLOSED):  # others' logs may have gaps
                    self._add("commit_missing", here, f"{seq - last - 1} commits before it are not here")
                elif seq == last + 1 and head.previous != previous:
                    self._add("chain_broken", here)
                operations = self._operations(here, head, stored)
                if id == channel.genesis:
                    self._check_genesis(channel, row, head, operations)
                self._people.commit(channel, row, here, id, head, rights, is_control)
                self._check_rows(channel, row, head, rights, stored, operations)
            last, previous = seq, id
        if unsigned:
            self._add("commit_signature", unsigned)
        if heights.gaps(self._run.db, row.n) != heights.counted_gaps(self._run.db, row.n):
            self._add("gaps", where, "what is said not to be here is not what is not here")
        if kept_away(self._run.db, row.n) != counted_kept_away(self._run.db, row.prefix):
            self._add("gaps", where, "what is said to be kept away is not what was destroyed")

    def _beginning(self, row: log.LogRow, where: str) -> tuple[int, bytes]:
        """(seq, id) of what a branch goes on from. Each commit of its log is to be where the rules say."""
        of = (row.device, row.incarnation)
        try:
            if of not in self._placed:
                rows = log.branches(self._run.db, *of)
                nodes = {one.branch: nodes_of(self._run.db, one) for one in rows}
                self._placed[of] = nodes, placement(node for some in nodes.values() for node in some)
        except MalformedError:
            return 0, b""  # which is named where that head is read
        nodes, right = self._placed[of]
        own = nodes[row.branch]
        if not own or own[0].id != row.branch:
            self._add("log_misplaced", where, "it branches off nothing")
        elif any(right[node.id] != row.branch for node in own):
            self._add("log_misplaced", where, "its commits are another branch's")
        return (own[0].seq - 1, own[0].previous) if own else (0, b"")

    def _head(self, where: str, encoded: bytes) -> Head | None:
        try:
            return commit.decode_head(encoded)
        except MalformedError as error:
            self._add("head_malformed", where, error.rule)
            return None

    def _check_genesis(
        self,
        channel: log.ChannelRow,
        row: log.LogRow,
        head: Head,
        operations: list[Operation | ControlOperation | None],
    ) -> None:
        self._begun.add(channel.n)
        create = operations[0] if operations else None
        where = channel_id_text(channel.id)
        if not isinstance(create, Create):
            self._add("genesis", where, "it does not begin with a Create")
            return
        self._views.founded(channel, create, head.time, message_id(row.prefix, head.seq, 0))
        try:
            founders = [one.device for one in operations if isinstance(one, Create | AddDevice)]
            certificates = [decode_certificate(one.certificate) for one in founders]
            for certificate in certificates:
                certificate.verify()
        except MalformedError as error:
            self._add("certificate", where, error.rule)
            return
        is_founder = any(certificate.device == row.device for certificate in certificates)
        if not is_founder or channel.creator != f"quire:{certificates[0].identity.hex()}":
            self._add("certificate", where, "it is another's")
        if commit.channel_id(encode_operation(create)) != channel.id:
            self._add("genesis", where, "its Create founds another channel")

    # Operations

    def _take(self, place: bytes) -> list[Any]:
        """The stored operations of the commit at this place; what comes before it belongs to none."""
        taken: list[Any] = []
        while self._next is not None and self._next[1][:14] <= place:
            if self._next[1][:14] == place:
                taken.append(self._next)
            else:
                self._add("operation_unsigned", named(self._next[1]), f"in {self._next[0]}")
            self._next = next(self._stored, None)
        return taken

    def _operations(
        self, where: str, head: Head, stored: list[Any]
    ) -> list[Operation | ControlOperation | None]:
        """Decode a commit's operations, each once, and compare them with its content root."""
        run = self._run
        before = run.operations
        run.operations += len(stored)
        if before // TICK != run.operations // TICK:
            run.step("reading the log", run.operations, self._total)
        places: dict[int, Any] = {}
        gone = {row[1] for row in stored if row[0] == "destroyed"}
        for row in stored:
            index = int.from_bytes(row[1][14:], "big")
            if row[1] in gone and row[0] != "destroyed":
                continue  # what is left of it
            if index >= head.count or index in places:
                self._add("operation_unsigned", named(row[1]), f"in {row[0]}")
            else:
                places[index] = row
        if len(places) == head.count:
            found = [
                row[2] if row[0] == "destroyed" else commitment_of(row[2])
                for row in (places[index] for index in range(head.count))
            ]
            if commit.root_of(found) != head.content_root:
                self._add("content_root", where)
        else:
            for index in range(head.count):
                if index not in places:
                    self._add("operation_missing", f"{where}.{index}")
        return [None if row[1] in gone else self._decoded(row) for row in stored]

    def _decoded(self, row: Any) -> Operation | ControlOperation | None:
        if is_reference(row[2]):
            self._unread(row)
            return None
        try:
            return decode_operation(row[2][SALT_SIZE:])
        except MalformedError as error:
            self._add("operation_malformed", named(row[1]), error.rule)
            return None

    def _unread(self, row: Any) -> None:
        """What is archived out of reach is counted, what is there and damaged is named."""
        self._run.unread[decode_reference(row[2]).segment] += 1
        try:
            opened(self._run.db, row[2])
        except UnreachableError:
            pass
        except CorruptError as error:
            self._add("segment_damaged", named(row[1]), str(error))

    def _check_rows(
        self,
        channel: log.ChannelRow,
        row: log.LogRow,
        head: Head,
        rights: int,
        stored: list[Any],
        operations: list[Operation | ControlOperation | None],
    ) -> None:
        """Hand each operation to the checks of its table."""
        views = self._views
        if not any(one[0] == "waiting" and one[7] is not None for one in stored):
            views.clock(channel, head.time, counts=not any(one[0] == "voided" for one in stored))
        holes = {one[1] for one in stored if one[0] == "destroyed"}
        for one, operation in zip(stored, operations, strict=True):
            table = one[0]
            if table == "destroyed":
                left = [other for other in stored if other[1] == one[1] and other is not one]
                self._holes.check(channel, row, head, rights, one, left)
            if one[1] in holes:
                continue
            self._holes.kept(channel, row, head.time, one[1], operation)
            if operation is None and table == "message" and is_reference(one[2]) and rights:
                views.unread(channel, one)
            elif operation is None:
                views.skip(one[1])
            elif not isinstance(operation, Operation):
                views.skip(one[1])
                if table != "control" or one[3:] != (channel.n, kind_of(operation)):
                    self._add("operation_misplaced", named(one[1]), f"in {table}")
            elif table == "voided" or not rights:
                views.skip(one[1])
                if rights or table != "voided" or one[3] != channel.n:
                    self._add("void_view", named(one[1]), f"in {table}")
            elif table == "waiting":
                if one[8] != rights:
                    self._add("waiting_view", named(one[1]), "rights")
                views.waiting(channel, row, head.time, operation, one)
            elif table != ("message" if isinstance(operation, Post) else "operation"):
                self._add("operation_misplaced", named(one[1]), f"in {table}")
            elif isinstance(operation, Post):
                views.message(channel, row, head.time, operation, one)
            else:
                views.operation(channel, row, head.time, operation, one)


def _count_operations(db: apsw.Connection) -> int:
    counts: Any = chain.from_iterable(db.execute(f"SELECT count(*) FROM {table}") for table in STORED)
    return sum(count for (count,) in counts)
