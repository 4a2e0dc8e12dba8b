"""What each operation other than a post changes in the rows of the message, channel or person that it is on.

One function for each kind, called by `Applier` once the target is known to be here and the author may do it. Each gives
the same in whatever order operations come: it takes a maximum by (time, id), or looks at all that target one message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import apsw
import msgspec

from quire.core.operation import (
    KINDS,
    Bookmark,
    Contact,
    Delete,
    DeviceName,
    Edit,
    EpochKey,
    Erase,
    Name,
    Operation,
    Pin,
    Post,
    Profile,
    React,
    ReadMarker,
    Topic,
    Unbookmark,
    Unpin,
    Unreact,
    stored_operation,
)
from quire.storage import erasures, keychain, log, search
from quire.storage import timeline as rows
from quire.storage.timeline import MessageRow
from quire.store.epochs import is_key

if TYPE_CHECKING:
    from quire.store.apply import Applier, Item


class Change(msgspec.Struct, gc=False):
    """An operation that counts, and what it is on."""

    channel: int
    item: Item
    operation: Any  # of a kind that its function below is for
    row: Any  # of the message that it targets; None if it targets none
    author: int
    time: int  # of the operation: an import's is that of long ago


def _edit(applier: Applier, db: apsw.Connection, change: Change) -> None:
    edit: Edit = change.operation
    row: MessageRow = change.row
    id = change.item.id
    flags = row.flags | rows.EDITED
    if rows.edits_of_version(db, row.id, edit.previous) > 1:
        flags |= rows.CONCURRENT
    shows = row.edit is None or (change.time, id) > (rows.operation_time(db, row.edit), row.edit)
    if shows and not row.flags & rows.DELETED:
        applier.flush(db)
        post = rows.post_of(db, row)
        old, new = indexed(post, shown_body(db, row, post), row), indexed(post, edit.body, row)
        search.replace(db, row.doc, old, new)
    rows.set_flags(db, row, flags, id if shows else row.edit)


def _delete(applier: Applier, db: apsw.Connection, change: Change) -> None:
    row: MessageRow = change.row
    if row.flags & rows.DELETED:
        return
    applier.flush(db)
    post = rows.post_of(db, row)
    search.remove(db, row.doc, indexed(post, shown_body(db, row, post), row))
    rows.set_flags(db, row, row.flags | rows.DELETED, row.edit)
    if row.root is not None:
        rows.drop_reply(db, row.root, rows.count_author(db, row.root, row.author, -1))
    log.touch_channel(db, change.channel, messages=-1)


def _react(applier: Applier, db: apsw.Connection, change: Change) -> None:
    operation: React | Unreact = change.operation
    row: MessageRow = change.row
    people = (operation.unknown or 1) if isinstance(operation, React) else 0
    rows.put_reactions(db, [(row.id, operation.emoji, change.author, change.time, change.item.id, people)])
    if not row.flags & rows.REACTED:
        rows.set_flags(db, row, row.flags | rows.REACTED, row.edit)


def _pin(applier: Applier, db: apsw.Connection, change: Change) -> None:
    row: MessageRow = change.row
    pinned = rows.newest_pin(db, row.id, KINDS[Pin], KINDS[Unpin]) == KINDS[Pin]
    flags = row.flags | rows.PINNED if pinned else row.flags & ~rows.PINNED
    rows.set_flags(db, row, flags, row.edit)


def _name(applier: Applier, db: apsw.Connection, change: Change) -> None:
    name: Name = change.operation
    log.set_newest_text(db, change.channel, "name", name.name, change.time, change.item.id)


def _topic(applier: Applier, db: apsw.Connection, change: Change) -> None:
    topic: Topic = change.operation
    log.set_newest_text(db, change.channel, "topic", topic.topic, change.time, change.item.id)


def _profile(applier: Applier, db: apsw.Connection, change: Change) -> None:
    profile: Profile = change.operation
    key = f"{profile.source}:{profile.author}" if profile.source else change.item.signer
    rows.set_profile(db, applier.author(db, key), profile.name, profile.bot, change.time, change.item.id)


def _mark(applier: Applier, db: apsw.Connection, change: Change) -> None:
    mark(db, change.operation, change.time, change.item.id)


def _erase(applier: Applier, db: apsw.Connection, change: Change) -> None:
    item = change.item
    erasures.put_erasures(
        db, change.channel, change.operation, item.id, change.time, item.signer, item.rights
    )


APPLY: dict[type, Callable[[Applier, apsw.Connection, Change], None]] = {
    Edit: _edit, Delete: _delete, React: _react, Unreact: _react, Pin: _pin, Unpin: _pin, Name: _name,
    Topic: _topic, Profile: _profile, ReadMarker: _mark, Bookmark: _mark, Unbookmark: _mark, EpochKey: _mark,
    Contact: _mark, DeviceName: _mark, Erase: _erase,
}  # fmt: skip


def mark(db: apsw.Connection, operation: Operation, time: int, id: bytes) -> None:
    """Apply an operation of the self-channel."""
    if isinstance(operation, ReadMarker):
        rows.put_marker(db, operation.channel, operation.time, operation.message, time, id)
    elif isinstance(operation, Bookmark | Unbookmark):
        standing = isinstance(operation, Bookmark)
        rows.put_bookmark(db, operation.message, operation.channel, standing, time, id)
    elif isinstance(operation, EpochKey):
        if is_key(operation.channel, operation.epoch, operation.key):
            keychain.put_epoch(db, operation.channel, operation.epoch, operation.key)
    elif isinstance(operation, Contact):
        rows.put_contact(db, operation.identity, operation.name, operation.verified, time, id)
    elif isinstance(operation, DeviceName):
        rows.put_device_name(db, operation.device, operation.name, time, id)


def indexed(post: Post, body: str, row: MessageRow) -> tuple[str, str]:
    """What the search index holds of a message that shows `body`."""
    return search.text_of(post, body), search.tags_of(post, body, row.channel, row.author, row.doc)


def shown_body(db: apsw.Connection, row: MessageRow, post: Post) -> str:
    """The text that stands, before any deletion."""
    if row.edit is None:
        return post.body
    edit = stored_operation(rows.operation_bytes(db, row.edit))
    assert isinstance(edit, Edit)
    return edit.body
