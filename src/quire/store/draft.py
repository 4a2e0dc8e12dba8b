"""Operations on their way into one log of ours, cut into commits of a bounded size, signed and applied."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import apsw

from quire.core import clock, commit
from quire.core.control import ControlOperation, kind_of
from quire.core.ids import MessageId
from quire.core.limits import OPERATIONS_PER_COMMIT_MAX
from quire.core.operation import Operation
from quire.core.operation_form import encode_operation
from quire.core.rights import MAY_ALL
from quire.storage import controls, log
from quire.storage.database import fault
from quire.store import quota, wallclock
from quire.store.apply import Item
from quire.store.columns import Posts

if TYPE_CHECKING:
    from quire.store.ledger import Ledger

COMMIT_BYTES_TARGET = 1 << 20  # an import's commits are cut here, so that one travels at once


class Draft:
    """Operations on their way into one log, cut into commits of a bounded size."""

    def __init__(
        self,
        ledger: Ledger,
        db: apsw.Connection,
        channel: log.ChannelRow,
        own: log.LogRow,
        seq: int,
        previous: bytes,
    ) -> None:
        self._ledger = ledger
        self._db = db
        self._channel = channel
        self._own = own
        self._seq, self._previous = seq, previous
        self._now = wallclock.now_ms()
        self._time = channel.clock
        self._size = 0
        self._open: list[bytes] = []  # the commitments of operations in the commit being filled
        self._unsigned: list[Item] = []  # those of them that are applied one by one
        self._items: list[Item] = []
        self._posts: list[tuple[list[MessageId], Posts]] = []  # those that are applied all at once

    def add(self, operation: Operation) -> MessageId:
        """Take one more operation; its id. Raises: MalformedError (a limit), with nothing added."""
        return self.extend([operation])[0]

    def extend(self, operations: Sequence[Operation]) -> list[MessageId]:
        """Take operations; their ids. Raises: MalformedError (a limit), with nothing added."""
        return self.extend_encoded(operations, [encode_operation(operation) for operation in operations])

    def extend_encoded(self, operations: Sequence[Operation], encoded: Sequence[bytes]) -> list[MessageId]:
        """The same for operations and their bytes, as `encode_operation` gave them."""
        self._ledger.require_room(self._db, operations)
        ids: list[MessageId] = []
        salted = commit.with_salts(encoded, os.urandom)
        signer, rights = self._own.signer, self._channel.rights
        for first, some in self._take(salted, commit.commitments_of(salted)):
            part = slice(first, first + len(some))
            self._unsigned += [
                Item(id, 0, signer, operation, bytes_, rights)
                for id, operation, bytes_ in zip(some, operations[part], salted[part], strict=True)
            ]
            ids += some
        return ids

    def extend_posts(self, posts: Posts, commitments: Sequence[bytes]) -> list[MessageId]:
        """The same for posts that are encoded and salted."""
        if self._ledger.is_over:
            raise quota.refusal(self._db)
        ids = [id for _, some in self._take(posts.salted, commitments) for id in some]
        self._posts.append((ids, posts))
        return ids

    def _take(
        self, salted: Sequence[bytes], commitments: Sequence[bytes]
    ) -> Iterator[tuple[int, list[MessageId]]]:
        """Fill commits; for as many as go into each, where they begin and their ids."""
        first = 0
        while first < len(salted):
            last = self._fitting(salted, first)
            if last == first:
                self._seal()
                continue
            at, place = len(self._open), self._own.prefix + (self._seq + 1).to_bytes(4, "big")
            self._open += commitments[first:last]
            yield first, [MessageId(place + i.to_bytes(2, "big")) for i in range(at, at + last - first)]
            first = last

    def _fitting(self, salted: Sequence[bytes], first: int) -> int:
        """Up to where operations fit into the open commit; one always fits an empty one."""
        some = salted[first : first + OPERATIONS_PER_COMMIT_MAX - len(self._open)]
        size = self._size + sum(map(len, some))
        if size <= COMMIT_BYTES_TARGET:  # nearly always
            self._size = size
            return first + len(some)
        size, last = self._size, first
        for bytes_ in some:
            size += len(bytes_)
            if size > COMMIT_BYTES_TARGET and (self._open or last > first):
                break
            self._size = size
            last += 1
        return last

    def finish(self) -> list[Item]:
        """Sign what is open and apply everything; what was applied one by one, in order."""
        self._seal()
        fault("after_commits")
        for ids, posts in self._posts:
            self._ledger.applier.place(self._db, self._channel, ids, posts, self._time)
        # An id is a place in our log: who knows that can have named it before there was anything in it.
        placed = [id for ids, _ in self._posts for id in ids]
        if self._items or placed:
            self._ledger.applier.apply(self._db, self._channel, self._items, self._now, self._time, placed)
        return self._items

    def _seal(self) -> None:
        if not self._open:
            return
        self._sign(self._open, self._channel.rights)
        for item in self._unsigned:
            item.time = self._time
        self._items += self._unsigned
        self._open, self._unsigned, self._size = [], [], 0

    def _sign(self, commitments: list[bytes], rights: int, least: int = 0) -> bytes:
        """The next commit of this log, of this time at least; its encoded head."""
        self._seq, self._time = self._seq + 1, max(clock.tick(self._now, self._time), least)
        head = commit.build_head(
            channel=self._channel.id,
            device=self._own.device,
            incarnation=self._own.incarnation,
            seq=self._seq,
            previous=self._previous,
            control_heads=self._ledger.heads_named(self._db, self._channel),
            time=self._time,
            commitments=commitments,
        )
        self._ledger.commit(self._db, self._own, self._seq, head, rights)
        self._previous = commit.commit_id(head)
        self._ledger.remember_end(self._channel.n, self._own, self._seq, self._previous)
        return head

    def control(self, operations: Sequence[ControlOperation], least: int) -> bytes:
        """Write one control commit, of this time at least; its encoded head. Its effects are for store/people.py."""
        salted = commit.with_salts([encode_operation(operation) for operation in operations], os.urandom)
        head = self._sign(commit.commitments_of(salted), MAY_ALL, least)
        place = self._own.prefix + self._seq.to_bytes(4, "big")
        controls.insert_control(
            self._db,
            [
                (place + index.to_bytes(2, "big"), self._channel.n, kind_of(operation), bytes_)
                for index, (operation, bytes_) in enumerate(zip(operations, salted, strict=True))
            ],
        )
        log.touch_channel(self._db, self._channel.n, clock=self._time)
        return head
