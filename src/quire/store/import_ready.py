"""A batch of records is made ready, outside any transaction, while the disk takes the one before: sorted by channel and
time, files sealed, operations encoded as far as they can be before ids are known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from quire.core import commit, limits
from quire.core.operation import ACTION, BROADCAST, NOTICES, Attachment, Origin, Post
from quire.core.operation_form import encode_operation
from quire.errors import MalformedError
from quire.exchange import model
from quire.storage import log, search
from quire.storage import timeline as rows
from quire.store.additions import EVENTS, Event
from quire.store.columns import Posts
from quire.store.import_files import ImportFiles, slot_of
from quire.store.import_known import Known
from quire.store.import_places import Place, Places
from quire.store.origins import Origins
from quire.store.tally import Tally

if TYPE_CHECKING:
    from quire.store.local import LocalStore

NOTICE_NUMBERS = {name: number for number, name in enumerate(NOTICES)}
_time = attrgetter("time_ms")
_origin: Callable[[tuple[str, str, str, int, int | None]], Origin] = partial(
    tuple.__new__, Origin
)  # in half the time

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
    are_new: bool  # each is here once, and this run has brought none of them yet


class Group(msgspec.Struct, gc=False):
    """What a batch has of one channel, in order of time."""

    plain: Plain | None
    others: list[Ready]


class Prepared(msgspec.Struct, gc=False):
    """A batch, by channel."""

    messages: dict[str, Group]
    events: dict[str, list[Event]]


class Preparing:
    """Makes batches of one run ready.

    store    read from only
    """

    def __init__(
        self,
        store: LocalStore,
        places: Places,
        known: Known,
        origins: Origins,
        tally: Tally,
        files: ImportFiles | None,
    ) -> None:
        self._store = store
        self._places = places
        self._known = known
        self._origins = origins
        self._tally = tally
        self._files = files

    def prepare(self, batch: list[model.Record]) -> Prepared:
        """Sort a batch out and encode what can be encoded before ids are known. Touches no database."""
        groups: dict[str, list[model.Message]] = {}
        events: dict[str, list[Event]] = {}
        for record in batch:
            kind = type(record)
            if kind is model.Message:
                groups.setdefault(record.channel, []).append(record)  # type: ignore[union-attr, arg-type]
            elif kind is model.Author:
                self._places.authors[record.key] = record  # type: ignore[union-attr, assignment]
            elif kind is model.Channel:
                self._places.channels[record.key] = record  # type: ignore[union-attr, assignment]
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
            post = self.post(message, None, None, slot)
            apart = crowded and message.time_ms in crowded
            try:
                (others if apart else plain).append((slot, message, post, encode_operation(post)))
            except MalformedError as error:
                skip(self._tally, message, error)
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
        row = log.channel_by_origin(db, *self._places.origin(key, self._places.channels.get(key)))
        if slot in self._known.ids or (
            row is not None
            and (
                self._known.stored(db, Place(row, "", fresh=False), message, slot) is not None
                or self._places.lets_go(db, row, message.time_ms)
            )
        ):
            self._files.passed(slot)
        else:
            self._files.take(slot, key, -1 if row is None else row.n, message)

    def _plain(self, ready: list[tuple[int, model.Message, Post, bytes]]) -> Plain:
        slots, messages, posts, encoded = (list(column) for column in zip(*ready, strict=True))
        key, known = self._origins.key, self._known.ids
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
            people_of(messages),
            [at for at, message in enumerate(messages) if hangs(message)],
            len(set(slots)) == len(slots) and known.keys().isdisjoint(slots),
        )

    def post(self, message: model.Message, root: bytes | None, reply_to: bytes | None, slot: int) -> Post:
        """A message as an operation, with the ids of what it answers."""
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
            _origin((source, author, message.id, message.time_ms, edited_ms)),
        )


def skip(tally: Tally, message: model.Message, error: MalformedError) -> None:
    """Report a message that cannot be taken."""
    tally.skip(model.Skipped(message.channel[:80], f"message {message.id[:80]}", str(error)))


def some_of(plain: Plain, places: list[int]) -> Plain:
    """Those of plain messages that stand at these places."""

    def take(column: list[Any]) -> list[Any]:
        return [column[at] for at in places]

    hung = set(plain.hung)
    return Plain(
        take(plain.slots), take(plain.messages), take(plain.commitments), plain.posts.some(places), plain.people,
        [now for now, at in enumerate(places) if at in hung], plain.are_new,
    )  # fmt: skip


def people_of(messages: Sequence[model.Message]) -> list[str]:
    """Who wrote these, or reacted, each once."""
    found = dict.fromkeys([message.author for message in messages])
    for message in messages:
        if message.reactions:
            for reaction in message.reactions:
                found |= dict.fromkeys(reaction.authors)
    return list(found)


def hangs(message: model.Message) -> bool:
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
