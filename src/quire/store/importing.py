"""Imports: from the records of any format to operations, a batch a transaction, without duplicates.

A message is known again by its channel, original time and original id: all messages of that time in that
channel are one seek away, so no index by foreign id is kept. Messages of this run are remembered by a hash
of their id, up to `REMEMBERED_MAX`; by that also replies, edits and reactions find their target. What
refers to a message that is still to come (files may be newest first) waits until the end. Interrupted, an
import is simply begun again: what is there is skipped.

A message met again may know more than the first copy: further reactions, a later text, a deletion, a pin.
Those are added, as operations like any other.
"""

from __future__ import annotations

import itertools
import os
import time as wall
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from operator import attrgetter
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import apsw
import msgspec

from quire.core import commit, limits
from quire.core.ids import MessageId
from quire.core.operation import (
    ACTION,
    BROADCAST,
    NOTICES,
    OWN_SOURCE,
    Attachment,
    Origin,
    Post,
    Profile,
    Topic,
    encode_operation,
    stored_operation,
)
from quire.core.timeline import erased_mark
from quire.core.views import ImportSummary
from quire.errors import FormatError, MalformedError
from quire.exchange import model
from quire.exchange.detect import open_export
from quire.exchange.exported import IMPORTED_SOURCE
from quire.exchange.inside import Watched
from quire.storage import log, search
from quire.storage import timeline as rows
from quire.store.additions import EVENTS, Additions, Event, actors
from quire.store.attachments import sealing
from quire.store.columns import Posts
from quire.store.draft import Draft
from quire.store.import_files import ImportFiles, Spool, slot_of
from quire.store.origins import Origins
from quire.store.tally import Tally

if TYPE_CHECKING:
    from quire.store.local import LocalStore

BATCH = 10_000  # records in a transaction
REMEMBERED_MAX = 1_000_000  # messages of a run that are remembered: about 100 MB
_time = attrgetter("time_ms")
WAITING_MAX = 100_000  # records of a run that wait for their target
NOTICE_NUMBERS = {name: number for number, name in enumerate(NOTICES)}


class ImportProgress(msgspec.Struct, frozen=True):
    """How far an import is."""

    messages: int
    duplicates: int
    channel: str
    seconds: float


def import_export(
    store: LocalStore,
    path: str | PathLike[str],
    format: str,
    options: model.Options | None,
    dry_run: bool,
    progress: Callable[[ImportProgress], None] | None,
) -> ImportSummary:
    """See `ChannelManager.import_`."""
    began = wall.monotonic()
    with open_export(path, format) as (source, importer):
        tally = Tally(importer.NOTICES_ARE_MESSAGES)
        chosen = options or model.Options()
        with ExitStack() as held:
            files = _files(store, Watched(source), tally, dry_run, held) if chosen.files else None
            run = ImportRun(store, importer.NAME, tally, dry_run, files)
            if not dry_run:
                held.enter_context(store.database.bulk())
            records = importer.read(source if files is None else files.source, chosen)
            for _ in run.take_all(_batches(records if files is None else files.watched(records))):
                if progress:
                    seconds = wall.monotonic() - began
                    progress(ImportProgress(tally.messages, tally.duplicates, run.channel_name, seconds))
    return tally.summary(importer.NAME, str(path), dry_run, wall.monotonic() - began)


def _files(
    store: LocalStore, source: Watched, tally: Tally, dry_run: bool, held: ExitStack
) -> ImportFiles | None:
    """What takes the export's files in, if it has any that can be."""
    if len(source.file_sizes()) < 2:
        return None
    if dry_run:
        return ImportFiles(source, None, tally, source.open_file)
    seal, open_file = held.enter_context(sealing(store)), source.open_file
    if source.forwards_only:
        spool = Spool(store, source, tally)
        held.callback(spool.close)
        open_file = spool.open
    return ImportFiles(source, seal, tally, open_file)


def _batches(records: Iterable[model.Record]) -> Iterator[list[model.Record]]:
    """Records in lists; a file that breaks off ends the stream with a report, and keeps what came before."""
    iterator = iter(records)
    first = True
    while True:
        batch: list[model.Record] = []
        try:
            batch.extend(itertools.islice(iterator, BATCH))
        except FormatError as error:
            if first and not batch:
                raise
            yield [*batch, model.Skipped(str(error.details.get("file", "")), "the rest", str(error))]
            return
        if not batch:
            return
        first = False
        yield batch


class Place(msgspec.Struct, gc=False):
    """A channel of this run."""

    row: log.ChannelRow
    name: str
    fresh: bool  # it was empty when the run began, so nothing in it is of an earlier run


# A message on its way: (hash of its name, itself, its operation and those bytes once they are known).
Ready: TypeAlias = tuple[int, model.Message, Post | None, bytes]


class Plain(msgspec.Struct, gc=False):
    """Messages that name no other and have no title: nearly all. Ready but for their ids, column by column."""

    slots: list[int]
    messages: list[model.Message]
    commitments: list[bytes]
    posts: Posts
    people: list[str]  # who wrote or reacted, each once
    hung: list[int]  # where those are that something hangs on


def _is_mark(place: Place, post: object, original: str) -> bool:
    origin = post.origin if isinstance(post, Post) else None
    return origin is not None and origin.id == erased_mark(place.row.id, origin.source, original)


class Group(msgspec.Struct, gc=False):
    """What a batch has of one channel, in order of time."""

    plain: Plain | None
    others: list[Ready]


class Prepared(msgspec.Struct, gc=False):
    """A batch, by channel."""

    messages: dict[str, Group]
    events: dict[str, list[Event]]


class ImportRun:
    """One import: takes records, writes operations."""

    def __init__(
        self,
        store: LocalStore,
        source: str,
        tally: Tally,
        dry_run: bool = False,
        files: ImportFiles | None = None,
    ) -> None:
        self._store = store
        self._source = source
        self._origins = Origins(source)
        self._tally = tally
        self._dry_run = dry_run
        self._files = files
        self._places: dict[str, Place | None] = {}
        self._channels: dict[str, model.Channel] = {}
        self._authors: dict[str, model.Author] = {}
        self._introduced: dict[str, tuple[str, bool]] = {}
        self._known: dict[int, bytes] = {}  # hash of (channel key, original id) -> message id
        self._waiting: list[model.Message | Event] = []
        self.channel_name = ""

    def take_all(self, batches: Iterator[list[model.Record]]) -> Iterator[None]:
        """Write batches, each in a transaction; steps when one is durable. The next batch is parsed and made
        ready while the disk takes this one."""
        prepared: Prepared | None = self._prepare(next(batches, []))
        while prepared is not None:
            following: list[Prepared | None] = [None]

            def read_on(following: list[Prepared | None] = following) -> None:
                batch = next(batches, None)
                following[0] = None if batch is None else self._prepare(batch)

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
            self._write(self._prepare(list(waiting)), last=True, meanwhile=None)

    def _prepare(self, batch: list[model.Record]) -> Prepared:
        """Sort a batch out and encode what can be encoded before ids are known. Touches no database."""
        groups: dict[str, list[model.Message]] = {}
        events: dict[str, list[Event]] = {}
        for record in batch:
            kind = type(record)
            if kind is model.Message:
                groups.setdefault(record.channel, []).append(record)  # type: ignore[union-attr, arg-type]
            elif kind is model.Author:
                self._authors[record.key] = record  # type: ignore[union-attr, assignment]
            elif kind is model.Channel:
                self._channels[record.key] = record  # type: ignore[union-attr, assignment]
            elif isinstance(record, EVENTS):
                events.setdefault(record.channel, []).append(record)
            elif kind is model.WholeKeys:
                self._origins.whole = True
            else:
                self._tally.note(record)
        return Prepared({key: self._ready(key, group) for key, group in groups.items()}, events)

    def _ready(self, key: str, group: list[model.Message]) -> Group:
        group.sort(key=_time)  # an answer comes after what it answers
        others: list[Ready] = []
        plain: list[tuple[int, model.Message, Post, bytes]] = []
        # Of one moment the first stays the first: beside a message that names another, none goes the quick way.
        crowded = {
            message.time_ms
            for message in group
            if message.thread
            or message.reply_to
            or message.title
            or (message.attachments and self._has_files(key, message))
        }
        for message in group:
            slot = slot_of(key, message)
            if message.attachments and self._has_files(key, message):
                self._take_files(slot, key, message)
            if message.thread or message.reply_to:
                others.append((slot, message, None, b""))
                continue
            post = self._post(message, None, None, slot)
            apart = crowded and message.time_ms in crowded
            try:
                (others if apart else plain).append((slot, message, post, encode_operation(post)))
            except MalformedError as error:
                self._skip(message, error)
        return Group(self._plain(plain) if plain else None, others)

    def _has_files(self, key: str, message: model.Message) -> bool:
        """Do files of a message lie in the export?"""
        return (
            bool(message.attachments)
            and self._files is not None
            and self._files.has_any(slot_of(key, message))
        )

    def _take_files(self, slot: int, key: str, message: model.Message) -> None:
        """Seal the files of a message, unless it is here. Not in the transaction: it may take long."""
        assert self._files is not None
        db = self._store.database.reader
        row = log.channel_by_origin(db, *self._channel_origin(key, self._channels.get(key)))
        if slot in self._known or (
            row is not None and self._stored(db, Place(row, "", fresh=False), message, slot) is not None
        ):
            self._files.passed(slot)
        else:
            self._files.take(slot, key, -1 if row is None else row.n, message)

    def _plain(self, ready: list[tuple[int, model.Message, Post, bytes]]) -> Plain:
        slots, messages, posts, encoded = (list(column) for column in zip(*ready, strict=True))
        key = self._origins.key
        salted = commit.with_salts(encoded, os.urandom)
        return Plain(
            slots,
            messages,
            commit.commitments_of(salted),
            Posts(
                [message.time_ms << 16 for message in messages],
                [key(message.author) for message in messages],
                [post.notice | rows.IMPORTED for post in posts],
                salted,
                [search.entry_of(post, post.body) for post in posts],
            ),
            _people(messages),
            [at for at, message in enumerate(messages) if _hangs(message)],
        )

    def _skip(self, message: model.Message, error: MalformedError) -> None:
        self._tally.skip(model.Skipped(message.channel[:80], f"message {message.id[:80]}", str(error)))

    def _write(self, prepared: Prepared, *, last: bool, meanwhile: Callable[[], None] | None) -> None:
        if self._dry_run:
            self._count(prepared, last)
            if meanwhile:
                meanwhile()
            return

        def work(db: apsw.Connection) -> None:
            for key, group in prepared.messages.items():
                if place := self._place(db, key):
                    self._write_messages(db, place, key, group, last)
                else:
                    self._tally.duplicates += len(group.others) + (
                        len(group.plain.slots) if group.plain else 0
                    )
            for key, events in prepared.events.items():
                if place := self._place(db, key):
                    self._write_events(db, place, key, events, last)

        self._store.ledger.run(work, meanwhile)

    def _count(self, prepared: Prepared, last: bool) -> None:
        """A dry run: what would be written to an empty vault."""
        for key, group in prepared.messages.items():
            self.channel_name = self._name(key)
            plain = zip(group.plain.slots, group.plain.messages, strict=True) if group.plain else ()
            for slot, message in [*plain, *((other[0], other[1]) for other in group.others)]:
                if slot in self._known:
                    self._tally.duplicates += 1
                    continue
                self._known[slot] = b""
                self._tally.messages_written([message], self.channel_name)
                self._tally.additions(message)
        for event in itertools.chain.from_iterable(prepared.events.values()):
            if hash((event.channel, event.target)) not in self._known:
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

    # Channels and authors

    def _place(self, db: apsw.Connection, key: str) -> Place | None:
        """The channel of a key, made if it is not there; None if it is here itself, and not to be written to."""
        if key in self._places:
            place = self._places[key]
            if place is not None:
                place.row = log.channel_by_n(db, place.row.n)  # its clock has moved
            return place
        facts = self._channels.get(key)
        name = self._name(key)
        source, stored_key = self._channel_origin(key, facts)
        if self._origins.whole and source == IMPORTED_SOURCE and _is_here(db, stored_key):
            self._tally.warn(
                f"#{name} is in this vault itself: what it lacks of it comes by sync, not by import"
            )
            self._places[key] = None
            return None
        row = log.channel_by_origin(db, source, stored_key)
        if row is None:
            kind = facts.kind if facts and facts.kind in ("private", "group", "direct") else "channel"
            row = self._store.ledger.create_channel(db, kind=kind, name=name, source=source, key=stored_key)
            about = (facts.topic or facts.purpose) if facts else ""
            if about:
                self._store.ledger.append(db, row, [Topic(about[: limits.TOPIC_CHARS_MAX])])
                row = log.channel_by_n(db, row.n)
        self._places[key] = place = Place(row, name, fresh=row.messages == 0)
        return place

    def _channel_origin(self, key: str, facts: model.Channel | None) -> tuple[str, str]:
        """(source, key there) of a channel; two of one file stay two."""
        if not (self._origins.whole and facts and facts.source):
            return self._source, key[: limits.ORIGIN_CHARS_MAX]
        source, there = facts.source[: limits.NAME_CHARS_MAX], facts.origin[: limits.ORIGIN_CHARS_MAX]
        known = (place.row for place in self._places.values() if place is not None)
        taken = any((row.source, row.key) == (source, there) for row in known)
        refused = taken or source == OWN_SOURCE or ":" in source
        return (self._source, key[: limits.ORIGIN_CHARS_MAX]) if refused else (source, there)

    def _name(self, key: str) -> str:
        facts = self._channels.get(key)
        return ((facts.name if facts else "") or key or self._source)[: limits.NAME_CHARS_MAX]

    def _introduce(self, draft: Draft, keys: Iterable[str]) -> None:
        """Give each author's name once, and again when it changed."""
        for key in keys:
            author = self._authors.get(key)
            if author is None:
                continue
            facts = (author.name[: limits.NAME_CHARS_MAX], author.bot)
            if self._introduced.get(key) != facts:
                self._introduced[key] = facts
                source, there = self._origins.of(key)
                if facts != (there, False):  # its own key is its name already
                    draft.add(Profile(source, there[: limits.ORIGIN_CHARS_MAX], *facts))

    # Messages

    def _write_messages(self, db: apsw.Connection, place: Place, key: str, group: Group, last: bool) -> None:
        self.channel_name = place.name
        draft = self._store.ledger.draft(db, place.row)
        plain = group.plain
        everybody = dict.fromkeys(plain.people if plain else ())
        everybody |= dict.fromkeys(_people([ready[1] for ready in group.others]))
        self._introduce(draft, everybody)
        again: list[tuple[model.Message, bytes]] = []
        written: list[model.Message] = []
        hung: list[tuple[model.Message, MessageId]] = []
        if plain:
            self._put_plain(db, draft, place, plain, written, hung, again)
        if group.others:
            self._put_others(db, draft, place, key, group.others, last, written, hung, again)
        self._tally.messages_written(written, place.name)
        additions = Additions(self._store.ledger, db, place.row, self._origins, self._tally, draft)
        for message, id in hung:
            additions.of_new(message, id)
        additions.finish()
        if again:
            self._tally.duplicates += len(again)
            row = log.channel_by_n(db, place.row.n)
            news = Additions(self._store.ledger, db, row, self._origins, self._tally)
            for message, known_id in again:
                news.of_repeated(message, known_id)
            news.finish()

    def _put_plain(
        self, db: apsw.Connection, draft: Draft, place: Place, plain: Plain,
        written: list[model.Message], hung: list[tuple[model.Message, MessageId]],
        again: list[tuple[model.Message, bytes]],
    ) -> None:  # fmt: skip
        """Give a channel's plain messages to the draft, but for those that are here."""
        known, slots = self._known, plain.slots
        if not place.fresh or len(set(slots)) < len(slots) or not known.keys().isdisjoint(slots):
            fresh: dict[int, int] = {}  # slot -> where it stands
            twice: list[int] = []
            for at, (slot, message) in enumerate(zip(slots, plain.messages, strict=True)):
                there = known.get(slot)
                if there is None and not place.fresh:
                    there = self._stored(db, place, message, slot)
                if there is not None:
                    again.append((message, there))
                elif fresh.setdefault(slot, at) != at:
                    twice.append(at)
            repeated = [(plain.messages[at], slots[at]) for at in twice]
            if fresh:
                self._put_columns(draft, _some(plain, list(fresh.values())), written, hung)
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
        self._known.update(zip(plain.slots, ids, strict=True))
        written += plain.messages
        hung += [(plain.messages[at], ids[at]) for at in plain.hung]
        self._forget_oldest()

    def _put_others(
        self, db: apsw.Connection, draft: Draft, place: Place, key: str, group: list[Ready], last: bool,
        written: list[model.Message], hung: list[tuple[model.Message, MessageId]],
        again: list[tuple[model.Message, bytes]],
    ) -> None:  # fmt: skip
        """Give messages to the draft that name others, each after what it names."""
        present = {slot for slot, _, _, _ in group} if not last else set()
        fresh: list[Ready] = []  # not yet in the draft
        known, pending, is_fresh = self._known, set[int](), place.fresh
        for ready in group:
            slot = ready[0]
            if slot in pending:  # the same message twice in one batch
                self._put(db, draft, fresh, written, hung)
                pending.clear()
            there = known.get(slot)
            if there is None and not is_fresh:
                there = self._stored(db, place, ready[1], slot)
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
                    self._skip(message, error)
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
            self._known[slot] = id
            written.append(message)
            if _hangs(message):
                hung.append((message, id))
        fresh.clear()
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        if len(self._known) > REMEMBERED_MAX:  # the oldest half goes: a dict keeps its order
            for old in list(itertools.islice(self._known, REMEMBERED_MAX // 2)):
                del self._known[old]

    def _resolved(
        self, db: apsw.Connection, place: Place, key: str, slot: int, message: model.Message
    ) -> Ready:
        """A message that names others, with their ids. Raises: MalformedError."""
        root = reply_to = None
        if message.thread:
            root = self._target(db, place, key, message.thread, message.thread_time_ms)
            self._tally.unresolved += root is None
        if message.reply_to:
            reply_to = self._target(db, place, key, message.reply_to, message.reply_to_time_ms)
            self._tally.unresolved += reply_to is None
        post = self._post(message, root, reply_to, slot)
        return (slot, message, post, encode_operation(post))

    def _must_wait(self, key: str, message: model.Message, present: set[int]) -> bool:
        """Does a message refer to one that is still to come?"""
        for target, time_ms in (
            (message.thread, message.thread_time_ms),
            (message.reply_to, message.reply_to_time_ms),
        ):
            slot = hash((key, target))
            if target and slot not in self._known:
                later = slot not in present or (time_ms is not None and time_ms > message.time_ms)
                if later and len(self._waiting) < WAITING_MAX:
                    return True
        return False

    def _stored(self, db: apsw.Connection, place: Place, message: model.Message, slot: int) -> bytes | None:
        """The id of a message that an earlier run brought."""
        id = self._find(db, place, message.id, message.time_ms, None if message.id else message)
        if id is not None:
            self._known[slot] = id
        return id

    def _find(
        self,
        db: apsw.Connection,
        place: Place,
        original: str,
        time_ms: int,
        like: model.Message | None = None,
    ) -> bytes | None:
        """A message of this original id and time; without an id, one that says what `like` says."""
        found: Any = db.execute(
            "SELECT id, op, flags FROM message WHERE channel = ? AND time = ?", (place.row.n, time_ms << 16)
        )
        for id, op, flags in found:
            post = stored_operation(op)
            if flags & rows.ERASED:  # it came before, and was erased: it does not come again
                if original and _is_mark(place, post, original):
                    return bytes(id)
            elif isinstance(post, Post) and post.origin and post.origin.id == original:
                says = (post.body, post.origin.author)
                if like is None or says == (like.body, self._origins.of(like.author)[1]):
                    return bytes(id)
        return None

    def _target(
        self, db: apsw.Connection, place: Place, key: str, original: str, time_ms: int | None
    ) -> bytes | None:
        """The id of a message that another record names."""
        known = self._known.get(hash((key, original)))
        if known is None and time_ms is not None and time_ms >= 0:
            known = self._find(db, place, original, time_ms)
        return known

    def _post(self, message: model.Message, root: bytes | None, reply_to: bytes | None, slot: int) -> Post:
        attachments: tuple[Attachment, ...] = ()
        if message.attachments:
            attachments = tuple([_attachment(a) for a in message.attachments[: limits.ATTACHMENTS_MAX]])
            if self._files is not None:
                attachments = self._files.fill(slot, attachments)
        edited_ms = message.edited_ms if not message.edits else None
        source, author = self._origins.of(message.author)
        return Post(
            message.body,
            root,
            reply_to,
            NOTICE_NUMBERS.get(message.notice, NOTICE_NUMBERS["other"]),
            (ACTION if message.action else 0) | (BROADCAST if message.broadcast else 0),
            message.title[: limits.NAME_CHARS_MAX] if root is None else "",
            attachments,
            tuple([self._origins.key(m) for m in message.mentions[: limits.MENTIONS_MAX]])
            if message.mentions
            else (),
            Origin(source, author, message.id, message.time_ms, edited_ms),
        )

    def _write_events(
        self, db: apsw.Connection, place: Place, key: str, events: list[Event], last: bool
    ) -> None:
        draft = self._store.ledger.draft(db, place.row)
        self._introduce(draft, dict.fromkeys(key for event in events for key in actors(event)))
        additions = Additions(self._store.ledger, db, place.row, self._origins, self._tally, draft)
        for event in events:
            id = self._target(db, place, key, event.target, event.target_time_ms)
            row = rows.get_row(db, id) if id else None
            if row is not None:
                additions.event(row, event)
            elif not last and len(self._waiting) < WAITING_MAX:
                self._waiting.append(event)
            else:
                self._tally.unresolved += 1
        additions.finish()


def _is_here(db: apsw.Connection, key: str) -> bool:
    """Is this the id of a channel of this vault?"""
    try:
        return log.channel_by_id(db, bytes.fromhex(key)) is not None
    except ValueError:
        return False


def _some(plain: Plain, places: list[int]) -> Plain:
    """Those of plain messages that stand at these places."""

    def take(column: list[Any]) -> list[Any]:
        return [column[at] for at in places]

    hung = set(plain.hung)
    return Plain(
        take(plain.slots), take(plain.messages), take(plain.commitments), plain.posts.some(places), plain.people,
        [now for now, at in enumerate(places) if at in hung],
    )  # fmt: skip


def _people(messages: Sequence[model.Message]) -> list[str]:
    """Who wrote these, or reacted, each once."""
    found = dict.fromkeys([message.author for message in messages])
    for message in messages:
        if message.reactions:
            for reaction in message.reactions:
                found |= dict.fromkeys(reaction.authors)
    return list(found)


def _hangs(message: model.Message) -> bool:
    """Does anything hang on a message that makes an operation of its own?"""
    return bool(
        message.reactions
        or message.edits
        or message.deleted
        or message.pinned
        or message.edited_ms is not None
    )


def _attachment(attachment: model.Attachment) -> Attachment:
    longest = limits.ATTACHMENT_TEXT_MAX
    size = attachment.size_bytes
    return Attachment(
        attachment.name[:longest],
        attachment.url[:longest],
        attachment.media_type[:longest],
        size if size is not None and 0 <= size < 1 << 63 else None,
    )
