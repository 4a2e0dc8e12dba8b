"""What a check finds: every problem counted, the first ones listed; and what all checks of one run share.

`Problem.what` is one of these names, for scripts; where and detail never hold text of a message.

    page_damaged           a page of the file is not what was written; what else it held is not known
    database               SQLite's own check of its trees and indexes failed
    log_misplaced          a log's row does not fit its channel, its device or its prefix
    device_unknown         a log's device is none that may write in the channel
    genesis                a channel has not the commit it began with, or its Create does not fit
    certificate            the certificate of a channel's creator, or our own, does not verify
    control_missing        a control commit that others name is not here, or does not read
    rights_view            a commit's rights are not those that membership gives its author
    void_view              an operation is kept among those that do not count, and counts; or the other way round
    epoch_view             a key is not the one that its epoch is named by, or one that the self-channel has is not kept
    parked_view            a commit that waits whole does not read, is not what its row says, or is in the log already
    head_malformed         a commit's head is not canonical
    head_misplaced         a head names another place than the one it is kept in
    chain_broken           a commit does not name the one before it
    commit_missing         a log that this vault wrote has a gap
    commit_signature       a device did not sign its commit
    operation_missing      bytes of an operation that a commit counts are not here
    operation_unsigned     an operation that belongs to no commit
    operation_malformed    an operation's bytes do not decode
    operation_misplaced    an operation is kept in the table of another kind
    content_root           operations are not those that their commit commits to
    erasure_view           what an erasure says, or what is left of what it erased, is not what the log says; or it is here
    destroyed_view         a destroyed operation has no reason, or another than it is given
    gaps                   what is said to be here of a log is not what is here
    message_view, operation_view, reaction_view, thread_view, channel_view, author_view, marker_view,
    bookmark_view, contact_view, device_name_view
                           a view differs from what the log says
    search_view            the search index differs from what the messages say
    waiting_view           an operation's reason to wait is not what the log says
    waiting_in_vain        an operation or a commit waits for what is here, or for a time that has come
    target_missing         an operation was applied to a message that is not here
    segment_damaged        a file of the archive is there, and is not what was written
    slots_damaged          the slots file does not read
    permissions            others on this machine may enter the vault's folder, or read a file in it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import apsw
import msgspec

from quire.core.ids import MessageId, message_id_text
from quire.core.operation import Operation, stored_operation
from quire.core.reports import Problem
from quire.errors import CorruptError
from quire.storage import log
from quire.storage.database import translate
from quire.store.owing import owed

PROBLEMS_MAX = 100
TICK = 1_000  # operations between two reports of progress

Progress = Callable[[str, int, int], None]


class Findings:
    """Problems, counted; the first of them kept."""

    def __init__(self, most: int = PROBLEMS_MAX) -> None:
        self._most = most
        self.listed: list[Problem] = []
        self.count = 0

    def add(self, what: str, where: str, detail: str = "") -> None:
        self.count += 1
        if len(self.listed) < self._most:
            self.listed.append(Problem(what, where, detail))

    def attempt(self, where: str, work: Callable[[], None]) -> None:
        """Do a part of the work; damaged pages end the part, not the whole."""
        try:
            work()
        except (apsw.Error, CorruptError) as error:
            failure = translate(error) if isinstance(error, apsw.Error) else error
            if not isinstance(failure, CorruptError):
                raise failure from error
            self.add("page_damaged", where, "the rest of this part could not be read")


class Run:
    """One run of all checks, in one snapshot."""

    def __init__(
        self,
        db: apsw.Connection,
        findings: Findings,
        own_key: str,
        device: bytes,
        released_ms: int | None,
        progress: Progress | None,
    ) -> None:
        self.db = db
        self.findings = findings
        self.own_key = own_key
        self.device = device
        self.released_ms = released_ms  # what was due then has been released; None: nobody could
        self.logs: dict[bytes, log.LogRow] = {}
        self.channels: dict[int, log.ChannelRow] = {}
        self.is_laid_out = False  # without these two nothing can be said of the rest
        findings.attempt("logs and channels", self._lay_out)
        self.commits = self.operations = self.messages = 0
        self.unread: Counter[int] = Counter()  # segment -> operations in it that are out of reach
        self._place = b"", 0
        self._progress = progress or (lambda what, done, total: None)

    def _lay_out(self) -> None:
        self.logs = {row.prefix: row for row in log.logs(self.db)}
        self.channels = {row.n: row for row in log.all_channels(self.db)}
        self.is_laid_out = True

    @cached_property
    def owed(self) -> dict[int, list[bytes]]:
        """What cannot be done before a file of the archive is at hand (store/owing.py)."""
        return owed(self.db)

    def step(self, what: str, done: int, total: int) -> None:
        self._progress(what, done, total)

    def rights(self, id: bytes) -> int:
        """What the author of an operation might do in its commit."""
        if id[:14] != self._place[0]:  # they come in order, many to a commit
            self._place = id[:14], log.rights_at(self.db, id)
        return self._place[1]

    def signer(self, id: bytes) -> str:
        """Who signed the operation with this id."""
        row = self.logs.get(id[:10])
        return row.signer if row else ""


class Groups:
    """Rows that come ordered by their first column, taken key by key in the same order."""

    def __init__(self, rows: Iterator[Any], skipped: Callable[[Any], None]) -> None:
        self._rows = rows
        self._skipped = skipped
        self._next: Any = next(rows, None)

    def take(self, key: bytes) -> Iterator[Any]:
        """The rows of this key; those of keys before it that nobody took are skipped."""
        while self._next is not None and self._next[0] < key:
            self._skipped(self._next)
            self._next = next(self._rows, None)
        while self._next is not None and self._next[0] == key:
            yield self._next
            self._next = next(self._rows, None)

    def finish(self) -> None:
        """Skip all that is left."""
        while self._next is not None:
            self._skipped(self._next)
            self._next = next(self._rows, None)


def readable(op: bytes) -> Operation | None:
    """The operation in stored bytes, or None where they say nothing: that is reported where the log is read."""
    try:
        return stored_operation(op)
    except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError):
        return None


def named(id: bytes) -> str:
    """A message or operation, as people write it."""
    return message_id_text(MessageId(id)) if len(id) == 16 else id.hex()
