"""The views against the log: what core/timeline.py says of the operations, and what the rows say.

Messages come in order of id, and so do, by their target, the operations and the reactions on them: each
message is seen together with all that targets it. What is the newest of its kind (profiles, markers, names)
is checked from both sides instead: no operation is newer than the row, and the row's operation says the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from quire.core.control import Create
from quire.core.ids import channel_id_text
from quire.core.limits import AHEAD_MS_MAX
from quire.core.operation import (
    KINDS,
    SELF_ONLY,
    Bookmark,
    Contact,
    Delete,
    DeviceName,
    Edit,
    EpochKey,
    Name,
    Operation,
    Post,
    Profile,
    React,
    ReadMarker,
    Topic,
    Unbookmark,
    Unreact,
)
from quire.core.timeline import (
    Erasure,
    Key,
    Placed,
    Shown,
    author_of,
    lacks_right,
    may_delete,
    may_edit,
    newest_reactions,
    order_time,
    shown,
)
from quire.storage import keychain, log
from quire.storage import timeline as rows
from quire.storage.attachments import Use
from quire.storage.cold import is_reference, whole_or_reference
from quire.store.attachments import uses_of
from quire.store.check_search import SearchCheck
from quire.store.epochs import is_key
from quire.store.erasing import is_let_go
from quire.store.findings import Groups, Run, named, readable
from quire.store.owing import out_of_reach

TARGETING = (
    f"SELECT target, id, {whole_or_reference('op')}, channel, time, void FROM operation INDEXED BY operation_target"
    " WHERE target IS NOT NULL ORDER BY target"
)
REACTIONS = (
    "SELECT r.target, r.emoji, a.key, r.time, r.id, r.people FROM reaction r LEFT JOIN author a ON a.n = r.author"
    " ORDER BY r.target"
)
ATTACHMENTS = "SELECT message, n, channel, file, bytes FROM attachment ORDER BY message, n"
COLUMNS = (
    "name", "name_time", "name_id", "topic", "topic_time", "topic_id", "clock", "messages", "threads", "last_time",
)  # fmt: skip


class Views:
    """What the log says, collected operation by operation and compared with the rows."""

    def __init__(self, run: Run, search: SearchCheck) -> None:
        self._run = run
        self._db = run.db
        self._add = run.findings.add
        self._search = search
        self._targeting = Groups(self._db.execute(TARGETING), self._lost_target)
        self._reactions = Groups(self._db.execute(REACTIONS), self._lost_reaction)
        self._attachments = Groups(self._db.execute(ATTACHMENTS), self._lost_attachment)
        self._clock: Counter[int] = Counter()
        self._clock_with_void: Counter[int] = Counter()
        self._messages: Counter[int] = Counter()
        self._last: Counter[int] = Counter()
        self.threads: Counter[int] = Counter()
        self._is_unread = False  # is something on the message that is looked at archived out of reach?
        self._names: dict[int, tuple[Key, str]] = {}
        self._topics: dict[int, tuple[Key, str]] = {}

    # What the log's pass hands over, in order of id

    def clock(self, channel: log.ChannelRow, time: int, *, counts: bool = True) -> None:
        """A commit that is not held. One that does not count moves the clock only if its time had come when it came."""
        for clock in (self._clock, self._clock_with_void)[not counts :]:
            clock[channel.n] = max(clock[channel.n], time)

    def founded(self, channel: log.ChannelRow, create: Create, time: int, id: bytes) -> None:
        """The operation that a channel began with."""
        self.clock(channel, time)
        self._newest(self._names, channel, (time, id), create.name)
        if (create.kind, create.source, create.key) != (channel.kind, channel.source, channel.key):
            self._add("channel_view", channel_id_text(channel.id), "it was created otherwise")

    def skip(self, id: bytes) -> None:
        """An operation whose bytes say nothing: what targets it is no further problem."""
        for _ in self._targeting.take(id):
            pass
        for _ in self._reactions.take(id):
            pass
        for row in self._attachments.take(id):
            self._lost_attachment(row)

    def unread(self, channel: log.ChannelRow, row: Any) -> None:
        """A message that is archived out of reach, or an edit of it is: what its row says is believed."""
        _, id, _, _, time, _, flags, _, _, spill, *_ = row
        self._run.messages += 1
        for group in (self._targeting, self._reactions, self._attachments):
            for _ in group.take(id):
                pass
        if flags & rows.THREADED and not self._is_replied(id):
            self.threads[channel.n] += 1
        self._last[channel.n] = max(self._last[channel.n], time)
        if not flags & rows.DELETED:
            self._messages[channel.n] += 1
            self._search.unread((time >> rows.DOC_SHIFT) + spill)

    def message(
        self,
        channel: log.ChannelRow,
        of: log.LogRow,
        time: int,
        post: Post,
        row: Any,
        erased: Erasure | None = None,
    ) -> None:
        """A post, or what is left of one, with everything on it."""
        _, id, _, channel_n, row_time, key, flags, root, edit, spill, author_n, doc_channel, doc_spill = row
        run = self._run
        run.messages += 1
        by, when = author_of(post, of.signer), order_time(post, time)
        self._is_unread = False
        others = list(self._others(id, channel.n, by, of.signer))
        if self._is_unread:
            self.unread(channel, row)
            return
        view = shown(Placed(id, time, of.signer, post), others)
        expected = self._flags(post, of, others) | _view_flags(view)
        if erased is not None:
            expected |= rows.HOLLOW | (rows.ERASED | rows.DELETED if erased.leaves_place else 0)
        if post.title or flags & rows.THREADED:
            expected |= self._threaded(channel, id, post)
        differs = [
            name
            for name, found, right in (
                ("channel", channel_n, channel.n), ("time", row_time, when), ("author", key, by),
                ("flags", flags, expected), ("root", root, self._root(channel, post)), ("edit", edit, view.edit),
                ("doc", (doc_channel, doc_spill), (channel_n, spill)),
            )
            if found != right
        ]  # fmt: skip
        if differs or spill < 0:
            self._add("message_view", named(id), ", ".join(differs) or "doc")
        self._check_reactions(id, others)
        if [Use(*found) for found in self._attachments.take(id)] != uses_of(id, channel.n, post):
            self._add("attachment_view", named(id), "files")
        self._last[channel.n] = max(self._last[channel.n], when)
        if view.deleted is None and not (erased and erased.leaves_place):
            self._messages[channel.n] += 1
            body = post.body if view.edit is None else self._body(view.edit)
            self._search.expect((when >> rows.DOC_SHIFT) + spill, post, body, channel.n, author_n)

    def operation(
        self, channel: log.ChannelRow, of: log.LogRow, time: int, operation: Operation, row: Any
    ) -> None:
        """Any other operation that was applied. Whether it is void its target's message knows."""
        _, id, _, channel_n, row_time, key, kind, target, previous, void = row
        when = order_time(operation, time)
        wrong = [
            name
            for name, found, right in (
                ("channel", channel_n, channel.n), ("time", row_time, when),
                ("author", key, author_of(operation, of.signer)), ("kind", kind, KINDS[type(operation)]),
                ("target", target, getattr(operation, "target", None)),
                ("previous", previous, getattr(operation, "previous", None)),
            )
            if found != right
        ]  # fmt: skip
        mark = isinstance(operation, SELF_ONLY)
        misplaced = mark and channel.kind != "self"
        if target is None and bool(void) != (misplaced or lacks_right(operation, self._run.rights(id))):
            wrong.append("void")
        if wrong:
            self._add("operation_view", named(id), ", ".join(wrong))
        if void:
            return
        if isinstance(operation, Name):
            self._newest(self._names, channel, (when, id), operation.name)
        elif isinstance(operation, Topic):
            self._newest(self._topics, channel, (when, id), operation.topic)
        elif isinstance(operation, Profile):
            author = f"{operation.source}:{operation.author}" if operation.source else of.signer
            self._not_newer("author", "key", author, (when, id))
        elif isinstance(operation, ReadMarker) and channel.kind == "self":
            self._not_newer("marker", "channel", operation.channel, (when, id))
        elif isinstance(operation, Bookmark | Unbookmark) and channel.kind == "self":
            self._not_newer("bookmark", "message", operation.message, (when, id))
        elif isinstance(operation, Contact) and channel.kind == "self":
            self._not_newer("contact", "identity", operation.identity, (when, id))
        elif isinstance(operation, DeviceName) and channel.kind == "self":
            self._not_newer("device_name", "device", operation.device, (when, id))
        elif isinstance(operation, EpochKey) and channel.kind == "self":
            key = keychain.epoch_keys(self._db, operation.channel).get(operation.epoch)
            if key != operation.key and is_key(operation.channel, operation.epoch, operation.key):
                self._add("epoch_view", named(id), "not kept")

    def waiting(
        self, channel: log.ChannelRow, of: log.LogRow, time: int, operation: Operation, row: Any
    ) -> None:
        """An operation that could not be applied when it came."""
        _, id, _, channel_n, row_time, signer, target, due, _ = row
        wanted = operation.root if isinstance(operation, Post) else getattr(operation, "target", None)
        right = (channel.n, time, of.signer)
        right_due = (time >> 16) - AHEAD_MS_MAX
        if (channel_n, row_time, signer) != right or (target, due) not in ((wanted, None), (None, right_due)):
            self._add("waiting_view", named(id))
        elif due is None and wanted is None:
            self._add("waiting_in_vain", named(id), "it refers to nothing")
        elif due is None and self._is_here(channel.n, wanted or b""):
            self._add("waiting_in_vain", named(id), "what it refers to is here")
        elif due is not None and self._run.released_ms is not None and due <= self._run.released_ms:
            self._add("waiting_in_vain", named(id), "its time has come")

    def _is_here(self, channel: int, wanted: bytes) -> bool:
        """Is the message that something waits for here, and can it be read?"""
        return rows.root_of(self._db, channel, wanted) is not None and not out_of_reach(self._db, [wanted])

    def finish_messages(self) -> None:
        """After the last message: nothing may be left that targets one."""
        self._targeting.finish()
        self._reactions.finish()
        self._attachments.finish()

    # One message

    def _others(self, target: bytes, channel: int, post_by: str, post_signer: str) -> Iterator[Placed]:
        """The operations on a message, without the long texts of edits."""
        for _, id, op, channel_n, time, void in self._targeting.take(target):
            operation = readable(op)
            if operation is None:
                self._is_unread |= is_reference(op)
                continue
            if isinstance(operation, Edit):
                operation = msgspec.structs.replace(operation, body="")
            placed = Placed(id, time, self._run.signer(id), operation, self._run.rights(id))
            lacks = lacks_right(operation, placed.rights)
            is_void = lacks
            if isinstance(operation, Edit):
                is_void |= not may_edit(post_by, post_signer, placed.by, placed.author)
            elif isinstance(operation, Delete):
                is_void |= not may_delete(post_signer, placed.author, placed.rights)
            if bool(void) != is_void:
                self._add("operation_view", named(id), "void")
            if channel_n != channel:
                self._add("target_missing", named(id), "its target is in another channel")
            elif not lacks:
                yield placed

    def _flags(self, post: Post, of: log.LogRow, others: list[Placed]) -> int:
        flags = post.notice
        if post.origin is not None:
            flags |= rows.IMPORTED
        elif of.signer == self._run.own_key:
            flags |= rows.OURS
        if self._run.own_key in post.mentions:
            flags |= rows.MENTIONS_US
        if post.reply_to:
            flags |= rows.REPLY
        if any(isinstance(other.operation, React | Unreact) for other in others):
            flags |= rows.REACTED
        return flags

    def _threaded(self, channel: log.ChannelRow, id: bytes, post: Post) -> int:
        """Whether a message has a thread: a title, or replies."""
        replied = self._is_replied(id)
        if post.title and not replied:
            self.threads[channel.n] += 1
            if not rows.thread_exists(self._db, id):
                self._add("thread_view", named(id), "missing")
        return rows.THREADED if post.title or replied else 0

    def _is_replied(self, id: bytes) -> bool:
        found = self._db.execute("SELECT 1 FROM message WHERE root = ? LIMIT 1", (id,)).fetchone()
        return found is not None

    def _root(self, channel: log.ChannelRow, post: Post) -> bytes | None:
        if post.root is None:
            return None
        root = rows.root_of(self._db, channel.n, post.root)
        if root is None and is_let_go(self._db, post.root):
            return None
        return root or b"?"  # it should still wait

    def _body(self, edit: bytes) -> str:
        operation = readable(rows.operation_bytes(self._db, edit))
        return operation.body if isinstance(operation, Edit) else ""

    def _check_reactions(self, id: bytes, others: list[Placed]) -> None:
        expected = {
            slot: (*placed.key, (placed.operation.unknown or 1) if isinstance(placed.operation, React) else 0)
            for slot, placed in newest_reactions(others).items()
        }
        found = {(emoji, key): place for _, emoji, key, *place in self._reactions.take(id)}
        wrong = {
            slot
            for slot in expected.keys() | found.keys()
            if tuple(found.get(slot, ())) != expected.get(slot)
        }
        if wrong:
            self._add("reaction_view", named(id), f"{len(wrong)} differ")

    def _lost_target(self, row: Any) -> None:
        self._add("target_missing", named(row[1]))

    def _lost_reaction(self, row: Any) -> None:
        self._add("reaction_view", named(row[0]), "on a message that is not here")

    def _lost_attachment(self, row: Any) -> None:
        self._add("attachment_view", named(row[0]), "of a message that is not here")

    # The newest of their kind

    def _newest(self, kept: dict[int, tuple[Key, str]], channel: log.ChannelRow, key: Key, text: str) -> None:
        if channel.n not in kept or kept[channel.n][0] < key:
            kept[channel.n] = (key, text)

    def _not_newer(self, table: str, column: str, value: str | bytes, key: Key) -> None:
        row: Any = self._db.execute(f"SELECT time, id FROM {table} WHERE {column} = ?", (value,)).fetchone()
        if row is None or tuple(row) < key:
            self._add(f"{table}_view", named(key[1]), "not applied")

    def check_channels(self) -> None:
        """Names, topics, clocks and counters. After `check_threads`."""
        for n, channel in self._run.channels.items():
            sql = f"SELECT {', '.join(COLUMNS)} FROM channel WHERE n = ?"
            found: Any = self._db.execute(sql, (n,)).fetchone()
            (name_time, name_id), name = self._names.get(n, ((0, b""), ""))
            (topic_time, topic_id), topic = self._topics.get(n, ((-1, b""), ""))
            at = COLUMNS.index("clock")
            clock = min(max(found[at], self._clock[n]), self._clock_with_void[n])
            right = (
                name, name_time, name_id, topic, topic_time, topic_id, clock,
                self._messages[n], self.threads[n], self._last[n],
            )  # fmt: skip
            wrong = [c for c, is_, should in zip(COLUMNS, found, right, strict=True) if is_ != should]
            if wrong:
                self._add("channel_view", channel_id_text(channel.id), ", ".join(wrong))


def _view_flags(view: Shown) -> int:
    """The flags that edits, deletions and pins set."""
    flags = rows.EDITED if view.edits else 0
    if view.concurrent:
        flags |= rows.CONCURRENT
    if view.deleted is not None:
        flags |= rows.DELETED
    return flags | rows.PINNED if view.pinned else flags
