"""Imports: from the records of any format to operations, a batch a transaction, without duplicates.

A batch is made ready (store/import_ready.py) while the disk takes the one before it. A message is known again by its
channel, original time and original id (store/import_known.py): all messages of that time in that channel are one seek
away, so no index by foreign id is kept. Messages of this run are remembered by a hash of their id; by that also
replies, edits and reactions find their target. What refers to a message that is still to come (files may be newest
first) waits until the end. Interrupted, an import is simply begun again: what is there is skipped.

A message met again may know more than the first copy: further reactions, a later text, a deletion, a pin.
Those are added, as operations like any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import apsw

from quire.core.ids import MessageId
from quire.core.operation_form import encode_operation
from quire.errors import MalformedError
from quire.exchange import model
from quire.storage import log
from quire.storage import timeline as rows
from quire.store.additions import Additions, Event, actors
from quire.store.draft import Draft
from quire.store.import_absent import unfound, with_stand_ins
from quire.store.import_files import ImportFiles
from quire.store.import_known import Known
from quire.store.import_places import Place, Places
from quire.store.import_ready import Group, Plain, Prepared, Preparing, Ready, hangs, people_of, skip, some_of
from quire.store.origins import Origins
from quire.store.tally import Tally

if TYPE_CHECKING:
    from quire.store.local import LocalStore

WAITING_MAX = 100_000  # records of a run that wait for their target


class ImportRun:
    """One import: takes records, writes operations."""

    def __init__(
        self,
        store: LocalStore,
        source: str,
        tally: Tally,
        dry_run: bool = False,
        files: ImportFiles | None = None,
        edits_are_marked: bool = True,
        known: dict[int, bytes] | None = None,
    ) -> None:
        """known   see `Known.ids`; runs of one import, of one format, share it"""
        self._store = store
        self._edits_are_marked = edits_are_marked
        self._origins = Origins(source)
        self._tally = tally
        self._dry_run = dry_run
        self._files = files
        self._places = Places(store, self._origins, tally, source)
        self._known = Known(self._origins, known)
        self._preparing = Preparing(store, self._places, self._known, self._origins, tally, files)
        self._waiting: list[model.Message | Event] = []
        self.channel_name = ""

    def take_all(self, batches: Iterator[list[model.Record]]) -> Iterator[None]:
        """Write batches, each in a transaction; steps when one is durable. The next batch is parsed and made
        ready while the disk takes this one."""
        prepared: Prepared | None = self._preparing.prepare(next(batches, []))
        while prepared is not None:
            following: list[Prepared | None] = [None]

            def read_on(following: list[Prepared | None] = following) -> None:
                batch = next(batches, None)
                following[0] = None if batch is None else self._preparing.prepare(batch)

            if prepared.messages or prepared.events:
                self._write(prepared, last=False, meanwhile=read_on)
            else:
                read_on()
            yield
            prepared = following[0]
        self._finish()

    def take(self, batch: list[model.Record]) -> None:
        """Write one batch of records durably; `take_all` is faster for many."""
        for _ in self.take_all(iter([batch])):
            pass

    def _finish(self) -> None:
        """Write what waited for its target until the end, with or without it."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._find_by_name(waiting)
            waiting = with_stand_ins(waiting, self._known.ids)
            self._write(self._preparing.prepare(list(waiting)), last=True, meanwhile=None)
        if not self._places.named:
            self._store.ledger.run(self._places.name_anew)

    def _find_by_name(self, waiting: list[model.Message | Event]) -> None:
        """What an earlier run brought and is named without its time is looked for through its whole channel, once."""
        if self._dry_run:
            return
        db = self._store.database.reader
        for key, names in unfound(waiting, self._known.ids).items():
            row = log.channel_by_origin(db, *self._places.origin(key, self._places.channels.get(key)))
            if row is not None:
                self._known.search(db, row, key, names)

    def _write(self, prepared: Prepared, *, last: bool, meanwhile: Callable[[], None] | None) -> None:
        if self._dry_run:
            self._count(prepared, last)
            if meanwhile:
                meanwhile()
            return
        written: list[tuple[list[model.Message], str]] = []  # and the names of their channels

        def work(db: apsw.Connection) -> None:
            for key, group in prepared.messages.items():
                if place := self._places.place(db, key):
                    written.append((self._write_messages(db, place, key, group, last), place.name))
                else:
                    self._tally.duplicates += len(group.others) + (
                        len(group.plain.slots) if group.plain else 0
                    )
            for key, events in prepared.events.items():
                if place := self._places.place(db, key):
                    self._write_events(db, place, key, events, last)

        def beside() -> None:
            for messages, name in written:
                self._tally.messages_written(messages, name)
            if meanwhile:
                meanwhile()

        self._store.ledger.run(work, beside)

    def _count(self, prepared: Prepared, last: bool) -> None:
        """A dry run: what would be written to an empty vault."""
        for key, group in prepared.messages.items():
            self.channel_name = self._places.name(key)
            plain = zip(group.plain.slots, group.plain.messages, strict=True) if group.plain else ()
            for slot, message in [*plain, *((other[0], other[1]) for other in group.others)]:
                if slot in self._known.ids:
                    self._tally.duplicates += 1
                    continue
                self._known.ids[slot] = b""
                self._tally.messages_written([message], self.channel_name)
                self._tally.additions(message)
        for event in itertools.chain.from_iterable(prepared.events.values()):
            if hash((event.channel, event.target)) not in self._known.ids:
                if not last and len(self._waiting) < WAITING_MAX:
                    self._waiting.append(event)
                else:
                    self._tally.unresolved += 1
                continue
            match event:
                case model.EditEvent(channel, target):
                    self._tally.edited((channel, target), 1)
                case model.ReactionEvent(reaction=reaction, removed=removed):
                    self._tally.reactions(-1 if removed else len(reaction.authors) + reaction.unknown)
                case model.DeleteEvent(channel, target):
                    self._tally.deleted((channel, target))
                case model.PinEvent(removed=False):
                    self._tally.pinned()

    # Messages

    def _write_messages(
        self, db: apsw.Connection, place: Place, key: str, group: Group, last: bool
    ) -> list[model.Message]:
        """Those that are new."""
        self.channel_name = place.name
        group = self._without_expired(db, place, group)
        draft = self._store.ledger.draft(db, place.row)
        plain = group.plain
        everybody = dict.fromkeys(plain.people if plain else ())
        everybody |= dict.fromkeys(people_of([ready[1] for ready in group.others]))
        self._places.introduce(draft, everybody)
        again: list[tuple[model.Message, bytes]] = []
        written: list[model.Message] = []
        hung: list[tuple[model.Message, MessageId]] = []
        if plain:
            self._put_plain(db, draft, place, plain, written, hung, again)
        if group.others:
            self._put_others(db, draft, place, key, group.others, last, written, hung, again)
        additions = Additions(self._store.ledger, db, place.row, self._origins, self._tally, draft)
        for message, id in hung:
            additions.of_new(message, id)
        additions.finish()
        if again:
            self._tally.duplicates += len(again)
            row = log.channel_by_n(db, place.row.n)
            news = Additions(
                self._store.ledger, db, row, self._origins, self._tally, marked=self._edits_are_marked
            )
            for message, known_id in again:
                news.of_repeated(message, known_id)
            news.finish()
        return written

    def _without_expired(self, db: apsw.Connection, place: Place, group: Group) -> Group:
        """Without what the channel's retention let go: the same export brings none of it again."""
        if self._places.keeps_all(db, place.row):
            return group

        def goes(slot: int, message: model.Message) -> bool:
            return (
                self._places.lets_go(db, place.row, message.time_ms)
                and slot not in self._known.ids
                and self._known.stored(db, place, message, slot) is None
            )

        plain, others = group.plain, [one for one in group.others if not goes(one[0], one[1])]
        count = len(group.others) - len(others)
        if plain:
            pairs = enumerate(zip(plain.slots, plain.messages, strict=True))
            left = [at for at, (slot, message) in pairs if not goes(slot, message)]
            if len(left) < len(plain.slots):
                count += len(plain.slots) - len(left)
                plain = some_of(plain, left) if left else None
        if not count:
            return group
        self._tally.let_go(count)
        return Group(plain, others)

    def _put_plain(
        self, db: apsw.Connection, draft: Draft, place: Place, plain: Plain,
        written: list[model.Message], hung: list[tuple[model.Message, MessageId]],
        again: list[tuple[model.Message, bytes]],
    ) -> None:  # fmt: skip
        """Give a channel's plain messages to the draft, but for those that are here."""
        known, slots = self._known.ids, plain.slots
        if not place.fresh or not plain.are_new:
            fresh: dict[int, int] = {}  # slot -> where it stands
            twice: list[int] = []
            for at, (slot, message) in enumerate(zip(slots, plain.messages, strict=True)):
                there = known.get(slot)
                if there is None and not place.fresh:
                    there = self._known.stored(db, place, message, slot)
                if there is not None:
                    again.append((message, there))
                elif fresh.setdefault(slot, at) != at:
                    twice.append(at)
            repeated = [(plain.messages[at], slots[at]) for at in twice]
            if fresh:
                self._put_columns(draft, some_of(plain, list(fresh.values())), written, hung)
            again += [(message, known[slot]) for message, slot in repeated]
        else:
            self._put_columns(draft, plain, written, hung)

    def _put_columns(
        self,
        draft: Draft,
        plain: Plain,
        written: list[model.Message],
        hung: list[tuple[model.Message, MessageId]],
    ) -> None:
        ids = draft.extend_posts(plain.posts, plain.commitments)
        self._known.ids.update(zip(plain.slots, ids, strict=True))
        written += plain.messages
        hung += [(plain.messages[at], ids[at]) for at in plain.hung]
        self._known.forget_oldest()

    def _put_others(
        self, db: apsw.Connection, draft: Draft, place: Place, key: str, group: list[Ready], last: bool,
        written: list[model.Message], hung: list[tuple[model.Message, MessageId]],
        again: list[tuple[model.Message, bytes]],
    ) -> None:  # fmt: skip
        """Give messages to the draft that name others, each after what it names."""
        present = {slot for slot, _, _, _ in group} if not last else set()
        fresh: list[Ready] = []  # not yet in the draft
        known, pending, is_fresh = self._known.ids, set[int](), place.fresh
        for ready in group:
            slot = ready[0]
            if slot in pending:  # the same message twice in one batch
                self._put(db, draft, fresh, written, hung)
                pending.clear()
            there = known.get(slot)
            if there is None and not is_fresh:
                there = self._known.stored(db, place, ready[1], slot)
            if there is not None:
                again.append((ready[1], there))
                continue
            if ready[2] is None:
                message = ready[1]
                if not last and self._must_wait(key, message, present):
                    self._waiting.append(message)
                    continue
                if hash((key, message.thread)) in pending or hash((key, message.reply_to)) in pending:
                    self._put(db, draft, fresh, written, hung)
                    pending.clear()
                try:
                    ready = self._resolved(db, place, key, slot, message)
                except MalformedError as error:
                    skip(self._tally, message, error)
                    continue
            fresh.append(ready)
            pending.add(slot)
        self._put(db, draft, fresh, written, hung)

    def _put(
        self,
        db: apsw.Connection,
        draft: Draft,
        fresh: list[Ready],
        written: list[model.Message],
        hung: list[tuple[model.Message, MessageId]],
    ) -> None:
        """Give messages to the draft."""
        posts: list[Any] = [post for _, _, post, _ in fresh]
        ids = draft.extend_encoded(posts, [encoded for _, _, _, encoded in fresh])
        for (slot, message, post, _), id in zip(fresh, ids, strict=True):
            if message.attachments and self._files is not None and post is not None:
                self._files.written(db, slot, post)
            self._known.ids[slot] = id
            written.append(message)
            if hangs(message):
                hung.append((message, id))
        fresh.clear()
        self._known.forget_oldest()

    def _resolved(
        self, db: apsw.Connection, place: Place, key: str, slot: int, message: model.Message
    ) -> Ready:
        """A message that names others, with their ids. Raises: MalformedError."""
        root = reply_to = None
        if message.thread:
            root = self._known.target(db, place, key, message.thread, message.thread_time_ms)
            self._tally.unresolved += root is None
        if message.reply_to not in ("", model.GONE):
            reply_to = self._known.target(db, place, key, message.reply_to, message.reply_to_time_ms)
            self._tally.unresolved += reply_to is None
        post = self._preparing.post(message, root, reply_to, slot)
        return (slot, message, post, encode_operation(post))

    def _must_wait(self, key: str, message: model.Message, present: set[int]) -> bool:
        """Does a message refer to one that is still to come?"""
        for target, time_ms in (
            (message.thread, message.thread_time_ms),
            (message.reply_to, message.reply_to_time_ms),
        ):
            slot = hash((key, target))
            if target not in ("", model.GONE) and slot not in self._known.ids:
                later = slot not in present or (time_ms is not None and time_ms > message.time_ms)
                if later and len(self._waiting) < WAITING_MAX:
                    return True
        return False

    def _write_events(
        self, db: apsw.Connection, place: Place, key: str, events: list[Event], last: bool
    ) -> None:
        draft = self._store.ledger.draft(db, place.row)
        self._places.introduce(draft, dict.fromkeys(key for event in events for key in actors(event)))
        additions = Additions(self._store.ledger, db, place.row, self._origins, self._tally, draft)
        for event in events:
            id = self._known.target(db, place, key, event.target, event.target_time_ms)
            row = rows.get_row(db, id) if id else None
            if row is not None:
                additions.event(row, event)
            elif not last and len(self._waiting) < WAITING_MAX:
                self._waiting.append(event)
            else:
                self._tally.unresolved += 1
        additions.finish()
