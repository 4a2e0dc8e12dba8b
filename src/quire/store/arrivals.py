"""Commits as they arrive: their form, before any right or place is asked about.

What is here already is known by its head alone, so who reads a file again, or goes on where a kill interrupted, pays
for no operation twice. Nothing here writes; looking is done outside the transaction, since a commit that is here stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from quire.core.commit import (
    AnyCommit,
    Commit,
    Head,
    check_content,
    commit_id,
    decode_head,
    holes_of,
    peek_commit,
)
from quire.core.control import Create
from quire.core.ids import CommitId, DeviceId, Incarnation, log_prefix, message_id
from quire.core.operation import KINDS, SALT_SIZE, Post
from quire.core.operation_form import decode_operation, decode_operations
from quire.errors import MalformedError, PeerError
from quire.storage import backlog, log
from quire.storage.erasures import is_missing_any, missing_places
from quire.store.columns import Posts, split

PARKED = -1  # the position of a commit that was parked before and is tried again


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A commit of right form."""

    position: int
    commit: AnyCommit
    head: Head
    id: CommitId
    operations: list[Any]  # Operation, or ControlOperation; None where its bytes are gone
    posts: Posts | None = None  # those that are applied all at once, if that is worth it
    places: Sequence[int] = ()  # where in the commit they are
    others: Sequence[int] = ()  # where the rest is

    @property
    def log(self) -> tuple[bytes, bytes]:
        return self.head.device, self.head.incarnation

    @property
    def is_control(self) -> bool:
        return self.operations[0] is not None and type(self.operations[0]) not in KINDS

    @property
    def holes(self) -> dict[int, bytes]:
        """Place -> commitment of each operation whose bytes are gone."""
        return holes_of(self.commit)

    @property
    def founds(self) -> bool:
        return type(self.operations[0]) is Create


class Prepared(msgspec.Struct):
    """Commits as they were given, looked at: of right form, here already, or refused by position."""

    count: int
    arrivals: list[Arrival]
    repeated: int
    refused: dict[int, PeerError]

    @property
    def is_content(self) -> bool:
        """Can taking it make no key known and nobody a member?"""
        return not any(one.is_control for one in self.arrivals)

    def add(self, other: Prepared) -> None:
        """These as well; their positions come after."""
        for one in other.arrivals:
            self.arrivals.append(msgspec.structs.replace(one, position=one.position + self.count))
        self.refused.update({position + self.count: error for position, error in other.refused.items()})
        self.count += other.count
        self.repeated += other.repeated


def prepare(
    db: apsw.Connection, encoded_commits: Sequence[bytes], *, channel: bytes | None = None
) -> Prepared:
    """Look at commits before taking them.

    channel    that all must be of. Raises: MalformedError(rule="bundle_channel")
    """
    refused: dict[int, PeerError] = {}
    seen: list[tuple[int, AnyCommit, Head]] = []
    for position, encoded in enumerate(encoded_commits):
        try:
            received, head = peek_commit(encoded)
        except PeerError as error:
            refused[position] = error
            continue
        if channel is not None and head.channel != channel:
            raise MalformedError("a commit of another channel was put in", rule="bundle_channel")
        seen.append((position, received, head))
    here = _heads_here(db, [head for _, _, head in seen])
    if here and is_missing_any(db):  # what has holes that nobody justifies may be filled
        here = {one for one in here if not _is_partial(db, one)}
    arrivals: list[Arrival] = []
    repeated = 0
    for position, received, head in seen:
        if received.head in here:
            repeated += 1
            continue
        try:
            arrivals.append(_checked(position, received, head))
        except PeerError as error:
            refused[position] = error
    return Prepared(len(encoded_commits), arrivals, repeated, refused)


def parked(db: apsw.Connection, channel: bytes, reason: str = "") -> list[Arrival]:
    """What waits whole in a channel, to be tried again: for the archive (`backlog.AWAY`), or for all else."""
    return [_checked(PARKED, *peek_commit(encoded)) for encoded in backlog.parked_for(db, channel, reason)]


def targets(arrival: Arrival) -> Iterable[bytes]:
    """The messages that its operations are about, or reply to."""
    for operation in filter(None, arrival.operations):
        target = operation.root if isinstance(operation, Post) else getattr(operation, "target", None)
        if target is not None:
            yield target


def posts_of(arrival: Arrival) -> list[tuple[bytes, bytes]]:
    """(channel, message id) of its posts, as they are named unless the log was continued twice."""
    prefix = log_prefix(DeviceId(arrival.head.device), Incarnation(arrival.head.incarnation))
    return [
        (arrival.head.channel, message_id(prefix, arrival.head.seq, index))
        for index, operation in enumerate(arrival.operations)
        if type(operation) is Post
    ]


def _heads_here(db: apsw.Connection, heads: Iterable[Head]) -> set[bytes]:
    """Of the places that these heads name, the encoded heads that are stored."""
    places: dict[tuple[bytes, bytes], list[int]] = {}
    for head in heads:
        places.setdefault((head.device, head.incarnation), []).append(head.seq)
    found: set[bytes] = set()
    for (device, incarnation), seqs in places.items():
        rows = [row.n for row in log.branches(db, device, incarnation)]
        found.update(head for _, _, head in log.heads_at(db, rows, seqs))
    return found


def _is_partial(db: apsw.Connection, encoded: bytes) -> bool:
    head = decode_head(encoded)
    rows = log.branches(db, head.device, head.incarnation)
    return any(row.n and head.seq in missing_places(db, row.prefix, head.seq) for row in rows)


def _checked(position: int, received: AnyCommit, head: Head) -> Arrival:
    """A commit whose form, content root and every operation hold. Raises: MalformedError."""
    check_content(received, head)
    if isinstance(received, Commit):
        operations: list[Any] = list(
            decode_operations([salted[SALT_SIZE:] for salted in received.operations])
        )
    else:
        operations = [decode_operation(one[SALT_SIZE:]) if one else None for one in received.operations]
    kinds = set(map(type, operations)) - {type(None)}
    if not isinstance(received, Commit) and any(kind not in KINDS for kind in kinds):
        raise MalformedError("a control commit is whole", rule="control_hole")
    if Create in kinds and any(type(operation) is Create for operation in operations[1:]):
        raise MalformedError("only a commit's first operation founds a channel", rule="create_misplaced")
    if len({kind in KINDS for kind in kinds}) > 1:
        raise MalformedError("a control commit holds control operations only", rule="control_mixed")
    arrival = Arrival(position, received, head, commit_id(received.head), operations)
    if position == PARKED or arrival.is_control or not isinstance(received, Commit):
        return arrival
    posts, places, others = split(operations, received.operations, head.time)
    return msgspec.structs.replace(arrival, posts=posts, places=places, others=others) if places else arrival
