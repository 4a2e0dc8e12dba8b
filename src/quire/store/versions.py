"""The versions of a message's text: all that were kept, and those that were erased alone."""

from __future__ import annotations

from typing import Any

import apsw

from quire.core.ids import MessageId
from quire.core.operation import KINDS, Edit, stored_operation
from quire.core.values import replace
from quire.core.views import Archived, Version
from quire.errors import NotFoundError
from quire.storage import erasures
from quire.storage import timeline as rows
from quire.store import erasing
from quire.store.messages import Messages


def versions(reader: Messages, id: MessageId) -> list[Version]:
    """Every version of a message's text, oldest first. Raises: NotFoundError; gone when deleted."""
    db = reader.connection()
    row = rows.get_row(db, id)
    if row is None or reader.hides(id):
        raise NotFoundError("there is no such message here", rule="no_message")
    if row.flags & rows.DELETED:
        return []
    post, away = _read(reader, db, row.op)
    edits = rows.targeting(db, id, [KINDS[Edit]])
    read = [_read(reader, db, edit[4]) for edit in edits]
    replaced = [edit.previous for edit, _ in read if edit is not None]
    hollow = bool(row.flags & rows.HOLLOW)
    first = Version(
        1, post.body if post else "", row.time >> 16, reader.author(db, row.author), row.edit is None, False,
        hollow, away,
    )  # fmt: skip
    later: list[tuple[int, bytes, Version]] = []
    for (edit_id, _, time, author, _), (edit, away) in zip(edits, read, strict=True):
        concurrent = edit is not None and replaced.count(edit.previous) > 1
        shown, body = edit_id == row.edit, edit.body if edit else ""
        version = Version(0, body, time >> 16, reader.author(db, author), shown, concurrent, archived=away)
        later.append((time, edit_id, version))
    for erased in erasures.erased_versions(db, id):
        of = erasing.signed(db, row.channel, erased)
        if of is not None:
            version = Version(0, "", of.time >> 16, first.author, False, False, erased=True)
            later.append((of.time, erased, version))
    later.sort(key=lambda one: one[:2])
    return [first] + [
        replace(version, number=number) for number, (_, _, version) in enumerate(later, start=2)
    ]


def _read(reader: Messages, db: apsw.Connection, stored: bytes) -> tuple[Any, Archived | None]:
    """An operation; None if it cannot be read, and where it should be."""
    op, away = reader.stored(db, stored)
    return None if op is None else stored_operation(op), away
