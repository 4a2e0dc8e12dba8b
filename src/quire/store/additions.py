"""What hangs on imported messages: later texts, reactions, deletions and pins.

They stand with a new message, with one that was met before (the other copy may know more), or apart as
events. What is there already is not written again, so that importing twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any, TypeAlias

import apsw
import msgspec

from quire.core import clock, limits
from quire.core.ids import MessageId
from quire.core.operation import (
    KINDS,
    Delete,
    Edit,
    Operation,
    Origin,
    Pin,
    Post,
    React,
    Unpin,
    Unreact,
    stored_operation,
)
from quire.errors import MalformedError
from quire.exchange import model
from quire.storage import log
from quire.storage import timeline as rows
from quire.storage.cold import opened
from quire.store.draft import Draft
from quire.store.ledger import Ledger
from quire.store.origins import Origins
from quire.store.tally import Tally

EVENTS = (model.EditEvent, model.ReactionEvent, model.DeleteEvent, model.PinEvent)
Event: TypeAlias = model.EditEvent | model.ReactionEvent | model.DeleteEvent | model.PinEvent


class Additions:
    """Adds to one draft of one channel; knows what it has added, which no row shows before `finish`."""

    def __init__(
        self,
        ledger: Ledger,
        db: apsw.Connection,
        channel: log.ChannelRow,
        origins: Origins,
        tally: Tally,
        draft: Draft | None = None,
        *,
        marked: bool = True,
    ) -> None:
        """marked   does the format say which messages were edited? If not, another text is a later one"""
        self._applier = ledger.applier
        self._db = db
        self._origins = origins
        self._tally = tally
        self._draft = draft or ledger.draft(db, channel)
        self._added: set[tuple[bytes, str, str]] = set()
        self._marked = marked
        self._newest_edit: dict[bytes, bytes] = {}

    def finish(self) -> None:
        """Sign and apply."""
        self._draft.finish()

    def of_new(self, message: model.Message, id: MessageId) -> None:
        """All that stands with a message just added to the draft."""
        self._tally.additions(message)
        versions = [id]
        for edit in message.edits:
            origin = self._origin(edit.author or message.author, edit.time_ms, edit.id)
            previous = versions[edit.replaces - 1] if 0 < edit.replaces <= len(versions) else versions[-1]
            added = self._add(message.channel, message.id, Edit(id, previous, edit.body, origin))
            versions.append(added or versions[-1])
        source = self._origins.of(message.author)[0]
        for reaction in message.reactions:
            for author, time_ms in times_of(reaction, message.time_ms):
                react = React(id, reaction.emoji, 0, self._origin(author, time_ms))
                self._add(message.channel, message.id, react)
            if reaction.unknown:
                unknown = self._unknown(id, reaction, message.time_ms, source)
                self._add(message.channel, message.id, unknown)
        if message.deleted:
            self._draft.add(Delete(id, "", self._origin(message.author, message.time_ms)))
        if message.pinned:
            self._draft.add(Pin(id, self._origin(message.author, message.time_ms)))

    def of_repeated(self, message: model.Message, id: bytes) -> None:
        """What another copy of a message knows beyond the one that is here."""
        row = rows.get_row(self._db, id)
        if row is None or row.flags & rows.DELETED:
            return
        target = (message.channel, message.id)
        texts = list(message.edits)
        if not texts and message.edited_ms is not None:
            texts = [model.Edit(message.edited_ms, message.body)]
        elif not texts and not self._marked and _says_another(row, message):
            texts = [model.Edit(message.time_ms, message.body)]
        with self._skipping(*target):
            for reaction in message.reactions:
                self._react(row, reaction, message.time_ms)
            for edit in texts:
                self._edit(row, edit, message.author, target)
            if message.deleted:
                self._delete(row, message.author, message.time_ms, "", target)
            if message.pinned:
                self._pin(row, message.author, message.time_ms, removed=False)

    def event(self, row: rows.MessageRow, event: Event) -> None:
        """What an event that stands apart does to its message."""
        target = (event.channel, event.target)
        with self._skipping(*target):
            match event:
                case model.EditEvent(edit=edit):
                    key = rows.author(self._db, row.author)[0]
                    author = key if self._origins.whole else key.partition(":")[2]
                    if event.own and edit.author != author:
                        self._tally.note(model.NotCarried("edits of what somebody else wrote"))
                    else:
                        self._edit(row, edit, author, target)
                case model.ReactionEvent(reaction=reaction, time_ms=time_ms, removed=False):
                    self._react(row, reaction, time_ms)
                case model.ReactionEvent(reaction=reaction, time_ms=time_ms):
                    self._unreact(row, reaction, time_ms)
                case model.DeleteEvent(time_ms=time_ms, author=author, reason=reason):
                    self._delete(row, author, time_ms, reason, target)
                case model.PinEvent(time_ms=time_ms, author=author, removed=removed):
                    self._pin(row, author, time_ms, removed=removed)

    # One addition each, unless it is there

    def _edit(self, row: rows.MessageRow, edit: model.Edit, author: str, target: tuple[str, str]) -> None:
        """A later text is known again by its own id, or by what it says. A copy that was edited before the one that is
        here has nothing to add."""
        stored = rows.targeting(self._db, row.id, [KINDS[Edit]])
        versions: list[Any] = [
            rows.post_of(self._db, row), *(stored_operation(opened(self._db, one[4])) for one in stored)
        ]  # fmt: skip
        if edit.id:
            is_there = any(version.origin and version.origin.id == edit.id for version in versions)
        else:
            first = versions[0].origin
            later = first is not None and first.edited_ms is not None and first.edited_ms >= edit.time_ms
            is_there = later or any(version.body == edit.body for version in versions)
        if is_there or not self._is_new(row.id, "edit", edit.id or edit.body):
            return
        previous = self._newest_edit.get(row.id) or (bytes(stored[-1][0]) if stored else row.id)
        origin = self._origin(edit.author or author, edit.time_ms, edit.id)
        self._newest_edit[row.id] = self._draft.add(Edit(row.id, previous, edit.body, origin))
        self._tally.edited(target, 1)

    def _react(self, row: rows.MessageRow, reaction: model.Reaction, time_ms: int) -> None:
        added = 0
        for author, at_ms in times_of(reaction, time_ms):
            if not self._is_newer(row.id, reaction.emoji, author, at_ms):
                continue
            if self._is_new(row.id, reaction.emoji, author):
                self._draft.add(React(row.id, reaction.emoji, 0, self._origin(author, at_ms)))
                self._tally.reactions(1)
                added += 1
        if not self._origins.whole:
            self._recount(row, reaction, time_ms, added)
        elif reaction.unknown:
            source = str(rows.author(self._db, row.author)[0]).partition(":")[0]
            _, there = self._standing(row.id, reaction.emoji, f"{source}:")
            if reaction.unknown > there and self._is_new(row.id, reaction.emoji, ""):
                self._draft.add(self._unknown(row.id, reaction, time_ms, source))
                self._tally.reactions(reaction.unknown - there)

    def _recount(self, row: rows.MessageRow, reaction: model.Reaction, time_ms: int, added: int) -> None:
        """How many people are only counted, now that `added` are known by name: those who were may be among them."""
        time, there = self._standing(row.id, reaction.emoji, "")
        if not reaction.unknown and not there:
            return
        source = self._origins.of("")[0]
        named = added
        for emoji, author, _ in rows.reactions(self._db, row.id):
            key = str(rows.author(self._db, author)[0])
            named += emoji == reaction.emoji and key.startswith(f"{source}:") and key != f"{source}:"
        everybody = max(len(reaction.authors) + reaction.unknown, named - added + there)
        unknown = max(everybody - named, 0)
        if unknown == there or not self._is_new(row.id, reaction.emoji, ""):
            return
        at_ms = max(time_ms, (time >> 16) + 1)
        counted = msgspec.structs.replace(reaction, unknown=unknown, unknown_ms=at_ms)
        if unknown:
            self._draft.add(self._unknown(row.id, counted, at_ms, source))
        else:
            self._draft.add(Unreact(row.id, reaction.emoji, Origin(source, "", "", at_ms)))
        self._tally.reactions(unknown - there)

    def _unreact(self, row: rows.MessageRow, reaction: model.Reaction, time_ms: int) -> None:
        for author in reaction.authors:
            slot = (row.id, reaction.emoji, author)
            time, people = self._standing(*slot)
            if slot in self._added or (people and time <= clock.at(time_ms)):
                self._added.discard(slot)
                self._draft.add(Unreact(row.id, reaction.emoji, self._origin(author, time_ms)))
                self._tally.reactions(-1)

    def _delete(
        self, row: rows.MessageRow, author: str, time_ms: int, reason: str, target: tuple[str, str]
    ) -> None:
        if not row.flags & rows.DELETED and self._is_new(row.id, "delete", ""):
            self._draft.add(Delete(row.id, reason[: limits.TOPIC_CHARS_MAX], self._origin(author, time_ms)))
            self._tally.deleted(target)

    def _pin(self, row: rows.MessageRow, author: str, time_ms: int, *, removed: bool) -> None:
        kinds = [KINDS[Pin], KINDS[Unpin]]
        known = any(time >= clock.at(time_ms) for _, _, time, _, _ in rows.targeting(self._db, row.id, kinds))
        if not known and self._is_new(row.id, "unpin" if removed else "pin", str(time_ms)):
            self._draft.add((Unpin if removed else Pin)(row.id, self._origin(author, time_ms)))
            if not removed:
                self._tally.pinned()

    def _is_new(self, id: bytes, what: str, detail: str) -> bool:
        """Not added to this draft before; from here on it is."""
        slot = (id, what, detail)
        new = slot not in self._added
        self._added.add(slot)
        return new

    def _is_newer(self, id: bytes, emoji: str, author: str, time_ms: int) -> bool:
        """May a reaction of this time stand? Not where one stands, nor where a later one was taken back."""
        time, people = self._standing(id, emoji, author)
        return not people and time < clock.at(time_ms)

    def _standing(self, id: bytes, emoji: str, author: str) -> tuple[int, int]:
        """(hybrid time, people) of a person's newest react or unreact; (-1, 0) if there is none."""
        return rows.reaction(self._db, id, emoji, self._applier.author(self._db, self._origins.key(author)))

    def _unknown(self, id: bytes, reaction: model.Reaction, time_ms: int, source: str) -> React:
        """People whom a format only counts are of the source of the message."""
        unknown = min(reaction.unknown, limits.ORIGIN_PEOPLE_MAX)
        at_ms = time_ms if reaction.unknown_ms is None else reaction.unknown_ms
        return React(id, reaction.emoji, unknown, Origin(source, "", "", at_ms))

    def _origin(self, author: str, time_ms: int, id: str = "") -> Origin:
        source, there = self._origins.of(author)
        return Origin(source, there, id, time_ms)

    def _add(self, channel: str, message: str, operation: Operation) -> MessageId | None:
        """One that breaks a limit is reported, and costs no other."""
        with self._skipping(channel, message):
            return self._draft.add(operation)
        return None

    @contextmanager
    def _skipping(self, channel: str, message: str) -> Iterator[None]:
        try:
            yield
        except MalformedError as error:
            self._tally.skip(model.Skipped(channel[:80], f"message {message[:80]}", str(error)))


def _says_another(row: rows.MessageRow, message: model.Message) -> bool:
    post = stored_operation(row.op)
    return isinstance(post, Post) and post.body != message.body


def times_of(reaction: model.Reaction, time_ms: int) -> Iterator[tuple[str, int]]:
    """(author, when) of those who are known, with the message's time where no other is."""
    times = reaction.times_ms if len(reaction.times_ms) == len(reaction.authors) else repeat(time_ms)
    return zip(reaction.authors, times, strict=False)


def actors(event: Event) -> tuple[str, ...]:
    """The authors of what stands apart from its message."""
    match event:
        case model.EditEvent(edit=edit):
            return (edit.author,)
        case model.ReactionEvent(reaction=reaction):
            return reaction.authors
        case model.DeleteEvent(author=author) | model.PinEvent(author=author):
            return (author,)
