"""Commits from elsewhere are put into their logs: the log or branch that each belongs to, found or begun."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from quire.core import clock, commit
from quire.core.control import kind_of
from quire.core.ids import DeviceId, Incarnation, log_prefix, message_id
from quire.errors import PeerError
from quire.storage import controls, heights, log
from quire.store.arrivals import Arrival
from quire.store.forks import begin_branch
from quire.store.ledger import Ledger
from quire.store.parking import unpark
from quire.store.placing import Chain


class Keeper:
    """The logs of one batch, as far as it touches them."""

    def __init__(self, pen: Ledger, device: DeviceId, db: apsw.Connection, now_ms: int) -> None:
        self._pen = pen
        self._own_device = device
        self._db = db
        self._now = now_ms
        self.chains: dict[tuple[bytes, bytes], Chain] = {}  # by device and incarnation
        self.tangled: dict[bytes, set[tuple[bytes, bytes]]] = {}  # by channel: logs with branches that grew
        self.forked: set[bytes] = set()  # channels in which a log proved to have been continued twice

    def row_for(self, n: int, arrival: Arrival, signer: str) -> log.LogRow:
        """The log, or the branch of it, that a commit continues. Raises: PeerError if that is not of this channel."""
        head, chain = arrival.head, self.chains[arrival.log]
        chain.require_channel(n)
        row = chain.row_for(arrival)
        if row is None and not chain.rows:
            row = self.new_log(n, head, self.free_prefix(head), signer)
            chain.rows.append(row)
        elif row is None:
            if chain.contradicts(arrival):
                self.forked.add(head.channel)
            row = begin_branch(self._db, chain.rows[0], arrival.id)
            if head.device == self._own_device:  # a copy of this vault wrote in it: whichever side it was,
                for one in chain.rows:
                    log.close_log(self._db, one.n)
                self._pen.forget_end(n)  # we begin another
            chain.rows.append(row)
        if len(chain.rows) > 1:
            self.tangled.setdefault(head.channel, set()).add(arrival.log)
        return row

    def free_prefix(self, head: commit.Head) -> bytes:
        """The prefix of a log that is new here."""
        prefix = log_prefix(DeviceId(head.device), Incarnation(head.incarnation))
        row = log.log_by_prefix(self._db, prefix)
        if row is not None:
            same = (row.device, row.incarnation) == (head.device, head.incarnation)
            if not same:
                raise PeerError("another log has the same prefix", rule="prefix_taken")
            raise PeerError("this log is here already, in another channel", rule="log_of_another_channel")
        return prefix

    def new_log(self, channel: int, head: commit.Head, prefix: bytes, signer: str) -> log.LogRow:
        device, incarnation = DeviceId(head.device), Incarnation(head.incarnation)
        row = log.insert_log(self._db, channel, device, incarnation, prefix, signer, own=False)
        if device == self._own_device:
            log.close_log(self._db, row.n)  # a log of ours that a copy of this vault wrote, or wrote on
        return row

    def keep(self, arrival: Arrival, row: log.LogRow, rights: int) -> None:
        """Put one in.

        rights    what its author may do in it
        """
        received = arrival.commit
        heights.note_kept(self._db, row.n, [arrival.head.seq])
        log.insert_commit(self._db, row.n, arrival.head.seq, received.head, received.signature, rights)
        self.kept(arrival, row)

    def keep_all(self, commits: Sequence[tuple[int, int, bytes, bytes, int]]) -> None:
        """Put many in at once: (log, seq, head, signature, rights) each. Each is `kept` by the caller."""
        places: dict[int, list[int]] = {}
        for n, seq, *_ in commits:
            places.setdefault(n, []).append(seq)
        for n, seqs in places.items():
            heights.note_kept(self._db, n, seqs)
        log.insert_commits(self._db, commits)

    def kept(self, arrival: Arrival, row: log.LogRow) -> None:
        """What follows from a commit's being kept in its log."""
        if chain := self.chains.get(arrival.log):
            chain.keep(row, arrival)
        unpark(self._db, arrival)
        if row.own:
            log.close_log(self._db, row.n)
            self._pen.forget_end(row.channel)

    def keep_control(self, arrival: Arrival, row: log.LogRow) -> None:
        places = enumerate(zip(arrival.operations, arrival.commit.operations, strict=True))
        controls.insert_control(
            self._db,
            [
                (message_id(row.prefix, arrival.head.seq, index), row.channel, kind_of(operation), salted)
                for index, (operation, salted) in places
            ],
        )
        time = arrival.head.time
        if not clock.is_ahead(time, self._now):
            log.touch_channel(self._db, row.channel, clock=time)
