"""Erasing for good: one message, one version of it, or everything that somebody wrote.

What is written is an Erase (docs/spec/05-timeline.md, section 9); it destroys here at once, and wherever it comes. A
receipt says what was destroyed, by its commitments, and can be checked again later. `ChannelManager` has all of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import apsw

from quire.channels.naming import Naming
from quire.core.ids import ChannelId, MessageId
from quire.core.operation import (
    KINDS,
    Edit,
    Erase,
    Gone,
    Profile,
    React,
    Remains,
    Unreact,
    stored_operation,
)
from quire.core.rights import MAY_MODERATE
from quire.core.views import Event
from quire.errors import NotFoundError, UnauthorisedError, UnreachableError, UsageError
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.database import guarded, inconsistent
from quire.store.erase_entries import (
    Entry,
    Rights,
    edits_of,
    erase_of,
    in_erases,
    remains_of,
    unreadable,
    wish,
)

if TYPE_CHECKING:
    from quire.core.reports import Erased, ErasureReceipt, Scan
    from quire.store.care import Progress
    from quire.store.local import LocalStore

BATCH = 10_000  # messages erased in one transaction
EVENTS_MAX = 1_000  # messages named one by one to those who listen


class Eraser(Naming):
    """What `ChannelManager` does to erase."""

    def erase_message(self, id: MessageId, reason: str = "") -> ErasureReceipt:
        """Destroy a message of ours, or one that we imported, with all its versions; a moderator, anybody's. For good.

        Raises: NotFoundError, UnauthorisedError(rule="erase_not_author"), UsageError(rule="message_erased").
        """
        return self.erase_messages([id], reason)

    def erase_messages(self, ids: Sequence[MessageId], reason: str = "") -> ErasureReceipt:
        """The same for many; all of them, or an error and none of a batch. They may be of several channels."""
        from quire.core.reports import ErasureReceipt

        receipt = ErasureReceipt(reason=reason)
        for first in range(0, len(ids), BATCH):
            batch = list(dict.fromkeys(ids[first : first + BATCH]))
            channels: dict[ChannelId, list[MessageId]] = {}
            for id in batch:
                channels.setdefault(self._erasable(id), []).append(id)
            for channel, some in channels.items():
                receipt = self._erase(receipt, channel, some)
        return self._finish(receipt)

    def erase_version(self, id: MessageId, number: int, reason: str = "") -> ErasureReceipt:
        """Destroy one version of a message, as `get_edit_history` numbers them; the newest that is left shows.

        With the first, title, files and mentions go too; if none is left, erase the message.

        Raises: NotFoundError, UnauthorisedError(rule="erase_not_author"), UsageError with rule "no_version",
        "version_erased", "version_alone" or "message_deleted".
        """
        from quire.core.reports import ErasureReceipt

        channel = self._erasable(id)
        taken: list[Erased] = []

        def prepare(db: apsw.Connection, row: log.ChannelRow) -> list[Erase]:
            entry = _version(db, row, id, number, self._identity_key)
            taken.extend(_erased_all(db, channel, [entry]))
            return [erase_of([entry], reason)]

        ids = self.store.write(channel, prepare)
        self._hub.publish(Event("erase", channel, id))
        return self._finish(self._with(ErasureReceipt(reason=reason), ids, taken))

    def erase_author(
        self, author: str, *, channel: ChannelId | str | None = None, reason: str = ""
    ) -> ErasureReceipt:
        """Destroy everything that somebody wrote, in one channel or in all: messages with their versions, reactions, and,
        of an imported author, the names that we imported. Messages that are not ours to erase are left, and counted.

        author    an author key, as `Author.id` has it

        Raises: NotFoundError(rule="no_author").
        """
        from quire.core.reports import ErasureReceipt

        db = self.store.database.reader
        n = rows.authors_by_key(db, [author]).get(author)
        if n is None:
            raise NotFoundError(f"nobody here is called {author}", rule="no_author")
        only = None if channel is None else self.resolve(channel)
        receipt = ErasureReceipt(reason=reason)
        for row in log.channels(db):
            if only is None or row.id == only:
                for batch in _written_by(self.store, row.n, n):
                    receipt = self._erase(receipt, row.id, batch, all_of_them=False)
                receipt = self._erase_rest(receipt, row.id, author, n)
        if author != self._identity_key:
            self.store.ledger.run(lambda db: self._forget_author(db, n))
        return self._finish(receipt)

    def authors_named(self, name: str) -> list[str]:
        """The keys of the authors that a person means by a name or key."""
        if name == "me":
            return [self.store.own_key]
        found: Any = self.store.database.reader.execute(
            "SELECT key FROM author WHERE key = ?1 OR name = ?1 ORDER BY key LIMIT 20", (name,)
        ).fetchall()
        return [key for (key,) in found]

    @guarded
    def check_receipt(self, receipt: ErasureReceipt) -> list[MessageId]:
        """Those of a receipt's operations that are here again, or whose commitment is not what it was; none if all is well."""
        from quire.storage import erasures

        holes = erasures.holes_among(self.store.database.reader, [one.id for one in receipt.erased])
        wrong = []
        for one in receipt.erased:
            hole = holes.get(one.id)
            if hole is None or hole.commitment != one.commitment or hole.why != erasures.ERASED:
                wrong.append(one.id)
        return wrong

    @guarded
    def owed_erasures(self, ids: Iterable[MessageId]) -> set[MessageId]:
        """Those of these operations that are erased and could not be destroyed yet: archived, and not at hand."""
        from quire.store.owing import owed_among

        return {MessageId(id) for id in owed_among(self.store.database.reader, ids)}

    def scan(self, texts: Iterable[str], progress: Progress | None = None) -> Scan:
        """Look for texts in every byte of the vault's file, as it is before it is encrypted. Raises: StorageError."""
        from quire.store.scanning import scan

        return scan(self.store, list(texts), progress)

    @guarded
    def texts_of(self, id: MessageId) -> list[str]:
        """All that a message says and said, to look for it later."""
        from quire.store.versions import versions

        message = self.store.get_message(id)
        found = [version.body for version in versions(self.store.reader, id)]
        return [text for text in dict.fromkeys([*found, message.title]) if text]

    @guarded
    def texts_by(self, author: str, *, channel: ChannelId | str | None = None, limit: int = 300) -> list[str]:
        """The same of somebody's messages, to look for them once they are erased; of more than `limit`, of so many of them,
        from first to last.

        author    an author key, as `Author.id` has it
        """
        db = self.store.database.reader
        n = rows.authors_by_key(db, [author]).get(author)
        of = None if channel is None else self.store.channel_row(self.resolve(channel)).n
        ids = rows.spread(db, -1 if n is None else n, of, limit)
        texts: list[str] = []
        for id in ids:
            with suppress(UnreachableError):  # archived, and not at hand
                texts += self.texts_of(MessageId(id))
        return list(dict.fromkeys(texts))

    # The work

    @property
    def _identity_key(self) -> str:
        return self.store.own_key

    def _erasable(self, id: MessageId) -> ChannelId:
        """A message's channel. Raises: NotFoundError, UsageError(rule="message_erased")."""
        message = self.store.get_message(id)
        if message.deleted is not None and message.deleted.erased:
            raise UsageError("this message is erased already", rule="message_erased")
        return message.channel

    def _erase(
        self,
        receipt: ErasureReceipt,
        channel: ChannelId,
        ids: Sequence[MessageId],
        *,
        all_of_them: bool = True,
    ) -> ErasureReceipt:
        """Erase messages of one channel, in one transaction; the receipt with them on it."""
        taken: list[Erased] = []
        left: list[MessageId] = []
        later: list[MessageId] = []  # their file is not at hand

        def prepare(db: apsw.Connection, row: log.ChannelRow) -> list[Erase]:
            entries: list[Entry] = []
            here = {one.id: one for one in rows.get_rows(db, sorted(ids))}
            rights = Rights(db, row, self._identity_key)
            edits = edits_of(db, ids)
            waits = unreadable(db, here.values())
            for id in ids:
                found = here.get(id)
                if found is None:
                    raise NotFoundError("there is no such message here", rule="no_message")
                if not rights.may(id):
                    left.append(id)
                elif id in waits:
                    later.append(id)
                elif not found.flags & rows.ERASED:
                    entries.append(remains_of(db, row, found))
                    entries += [Gone(edit, id) for edit in edits.get(id, ()) if rights.may(edit)]
            if left and all_of_them:
                raise UnauthorisedError(
                    "only its author, or a moderator, may erase a message",
                    rule="erase_not_author",
                    hint="ask one of them",
                )
            taken.extend(_erased_all(db, channel, entries, {id: one.op for id, one in here.items()}))
            wish(db, row.n, later, receipt.reason)
            return list(in_erases(entries, receipt.reason))

        written = self.store.write(channel, prepare)
        for id in ids[:EVENTS_MAX] if written else ():
            self._hub.publish(Event("erase", channel, id))
        return self._with(receipt, written, taken, len(left), len(later))

    def _erase_rest(self, receipt: ErasureReceipt, channel: ChannelId, author: str, n: int) -> ErasureReceipt:
        """The reactions of an author, and what they were called."""
        taken: list[Erased] = []

        def prepare(db: apsw.Connection, row: log.ChannelRow) -> list[Erase]:
            found: Any = db.execute(
                "SELECT id, op, kind FROM operation WHERE channel = ?1 AND void = 0"
                " AND (kind = ?2 OR (author = ?3 AND kind IN (?4, ?5)))",
                (row.n, KINDS[Profile], n, KINDS[React], KINDS[Unreact]),
            ).fetchall()
            entries: list[Entry] = []
            rights = Rights(db, row, self._identity_key)
            for id, op, kind in found:
                profile = stored_operation(op) if kind == KINDS[Profile] else None
                is_theirs = profile is None or (
                    isinstance(profile, Profile) and f"{profile.source}:{profile.author}" == author
                )
                if is_theirs and rights.may(id):
                    entries.append(Gone(id))
            taken.extend(_erased_all(db, channel, entries))
            return list(in_erases(entries, receipt.reason))

        return self._with(receipt, self.store.write(channel, prepare), taken)

    def _forget_author(self, db: apsw.Connection, n: int) -> None:
        """Nobody who left nothing is listed by name."""
        tables = ("message", "operation", "reaction", "thread_author")
        if not any(
            db.execute(f"SELECT 1 FROM {one} WHERE author = ? LIMIT 1", (n,)).fetchone() for one in tables
        ):
            db.execute("DELETE FROM author WHERE n = ?", (n,))
            self.store.ledger.applier.forget()

    @staticmethod
    def _with(
        receipt: ErasureReceipt,
        written: Sequence[MessageId],
        taken: Sequence[Erased],
        left: int = 0,
        later: int = 0,
    ) -> ErasureReceipt:
        from quire.core.reports import ErasureReceipt

        return ErasureReceipt(
            (*receipt.erasures, *written),
            (*receipt.erased, *taken),
            receipt.reason,
            receipt.left + left,
            wished=receipt.wished + later,
        )

    def _finish(self, receipt: ErasureReceipt) -> ErasureReceipt:
        """Nothing of it is to stay in the WAL, nor in files of its own."""
        from quire.core.reports import ErasureReceipt
        from quire.store.attachments import sweep
        from quire.store.owing import owed_among

        sweep(self.store)
        is_empty = self.store.database.checkpoint()
        owed = owed_among(self.store.database.reader, [one.id for one in receipt.erased])
        return ErasureReceipt(
            receipt.erasures,
            receipt.erased,
            receipt.reason,
            receipt.left,
            len(owed),
            not is_empty,
            receipt.wished,
        )


def _written_by(store: LocalStore, channel: int, author: int) -> Iterator[list[MessageId]]:
    """The messages of an author in a channel that are not erased, in batches."""
    place = (-1, b"")
    while True:
        found: Any = store.database.reader.execute(
            "SELECT time, id FROM message WHERE channel = ? AND author = ? AND (time, id) > (?, ?)"
            f" AND flags & {rows.ERASED} = 0 ORDER BY time, id LIMIT {BATCH}",
            (channel, author, *place),
        ).fetchall()
        if not found:
            return
        place = found[-1]
        yield [MessageId(id) for _, id in found]
        if len(found) < BATCH:
            return


def _version(db: apsw.Connection, channel: log.ChannelRow, id: bytes, number: int, own: str) -> Entry:
    """What there is to say of one version."""
    from quire.storage import erasures

    row = rows.get_row(db, id)
    if row is None:
        raise NotFoundError("there is no such message here", rule="no_message")
    if row.flags & rows.DELETED:
        raise UsageError(
            "this message is deleted: its versions are not told apart any more",
            rule="message_deleted",
            hint="erase the message",
        )
    edits = rows.targeting(db, id, [KINDS[Edit]])
    gone = erasures.erased_versions(db, id)
    places = sorted(
        [(time, edit, False) for edit, _, time, *_ in edits] + [_gone_place(db, one) for one in gone]
    )
    if not 1 <= number <= len(places) + 1:
        raise UsageError(f"there is no version {number}", rule="no_version", hint="quire history lists them")
    is_gone = bool(row.flags & rows.HOLLOW) if number == 1 else places[number - 2][2]
    if is_gone:
        raise UsageError("this version is erased already", rule="version_erased")
    standing = len(edits) + (not row.flags & rows.HOLLOW)
    if standing == 1:
        raise UsageError(
            "it is the only version that is left", rule="version_alone", hint="erase the message itself"
        )
    target = id if number == 1 else places[number - 2][1]
    of = log.log_by_prefix(db, target[:10])
    if of is None:
        raise inconsistent("the log of an operation")
    if of.signer != own and (number == 1 or not channel.rights & MAY_MODERATE):
        raise UnauthorisedError(
            "only its author may erase a first version alone"
            if number == 1
            else "only its author, or a moderator, may erase a version",
            rule="erase_not_author",
            hint="ask one of them",
        )
    if number > 1:
        return Gone(target, id)
    post = rows.post_of(db, row)
    return Remains(id, row.root, post.origin, stands=True)


def _gone_place(db: apsw.Connection, id: bytes) -> tuple[int, bytes, bool]:
    return log.time_of(db, id), id, True


def _erased_all(
    db: apsw.Connection,
    channel: ChannelId,
    entries: Sequence[Entry],
    known: Mapping[bytes, bytes] | None = None,
) -> Iterator[Erased]:
    """What is to be destroyed, by its commitments.

    known    what the rows of some of them hold
    """
    from quire.core.reports import Erased
    from quire.storage import erasures
    from quire.storage.cold import commitment_of

    if not entries:
        return
    ids = [one.id for one in entries]
    holes = erasures.holes_among(db, ids)
    here = dict(known or {})
    others = tuple(id for id in ids if id not in here)
    if others:
        found: Any = db.execute(
            "SELECT id, op FROM message WHERE id IN carray(?1) UNION ALL SELECT id, op FROM operation WHERE id IN carray(?1)",
            (apsw.carray(others),),
        ).fetchall()
        here.update(found)
    for one in entries:
        message = one.message or one.id if isinstance(one, Gone) else one.id
        hole = holes.get(one.id)  # a first text that was erased before
        if hole is None and one.id not in here:
            raise inconsistent("an operation")
        made = commitment_of(here[one.id]) if hole is None else hole.commitment
        kind = "message" if isinstance(one, Remains) else "version" if one.message else "other"
        yield Erased(MessageId(one.id), MessageId(message), channel, made, kind)
