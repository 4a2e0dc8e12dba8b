"""What the operations of a channel add up to: the rules, and a fold that applies them (docs/spec/05-timeline.md).

Everything here is a pure function of a *set* of operations, so order of arrival, repetition and
interleaving cannot matter. Storage keeps the same answers incrementally; `verify` and the property
tests compare the two.

    T1  Messages are ordered by (time, id); an imported one by its original time.
    T2  A reply belongs to its root's thread; a reply to a reply joins the root. A reply whose root is
        unknown waits for it.
    T3  Only a message's author edits it. The edit greatest by (time, id) shows. Two edits of one version
        are concurrent, and marked.
    T4  A deletion by the author or by whoever may moderate takes the message back for good.
    T5  For each message, person and emoji the newest react or unreact by (time, id) stands.
    T6  For each message the newest pin or unpin stands; for each channel the newest name and topic; for
        each author the newest profile.
    T7  An operation whose target is not here waits. One that its author had no right to is void.
    T8  An erasure of an older operation by its signer, or by who may moderate, takes it out for good: of a
        message its place is left, as the first of the strongest erasures says, and its edits go with it; of
        anything else nothing. What is decided needs the signer and the time of the erased, never its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from quire.core.clock import at
from quire.core.operation import (
    Delete,
    Edit,
    Erase,
    Gone,
    Name,
    Operation,
    Pin,
    Post,
    Profile,
    React,
    Remains,
    Topic,
    Unpin,
    Unreact,
)
from quire.core.rights import MAY_MODERATE, MAY_NAME, MAY_PIN, MAY_POST

MARK_LABEL = b"quire/v1 erased\x00"

Key = tuple[int, bytes]  # (time, id): the one order there is


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An operation in its place."""

    id: bytes
    time: int  # hybrid logical time of its commit
    author: str  # author key of whoever signed: "quire:<identity, hex>"
    operation: Operation
    rights: int = MAY_POST | MAY_PIN | MAY_NAME

    @property
    def by(self) -> str:
        """Author key of whoever wrote: an imported author, or the signer."""
        return author_of(self.operation, self.author)

    @property
    def key(self) -> Key:
        return order_time(self.operation, self.time), self.id


def order_time(operation: Operation, commit_time: int) -> int:
    """The time that orders an operation: the original one for what is imported (T1)."""
    origin = getattr(operation, "origin", None)
    return commit_time if origin is None else at(origin.time_ms)


def author_of(operation: Operation, signer: str) -> str:
    """The author key an operation speaks for: `<source>:<original author>` for what is imported."""
    origin = getattr(operation, "origin", None)
    return signer if origin is None else f"{origin.source}:{origin.author}"


class Shown(msgspec.Struct, frozen=True):
    """A message as edits, deletions and pins leave it."""

    edit: bytes | None = None  # id of the edit that shows
    edits: int = 0
    concurrent: bool = False
    deleted: bytes | None = None  # id of the deletion
    erased: bytes | None = None  # id of the erasure
    pinned: bool = False


def may_edit(post_by: str, post_signer: str, edit_by: str, edit_signer: str) -> bool:
    """T3: the author. An import speaks for its authors, but only in what it brought itself."""
    return post_by == edit_by and post_signer == edit_signer


def may_delete(post_signer: str, delete_signer: str, rights: int) -> bool:
    """T4: the author, the one who brought the message in, and moderators."""
    return post_signer == delete_signer or bool(rights & MAY_MODERATE)


class Erasure(msgspec.Struct, frozen=True, gc=False):
    """What one erasure says of one operation."""

    id: bytes  # of the erasure
    time: int
    signer: str
    rights: int
    what: Remains | Gone

    @property
    def leaves_place(self) -> bool:
        """Is a message left in its place, empty?"""
        return isinstance(self.what, Remains) and not self.what.stands


def may_erase(signer: str, time: int, erasure: Erasure) -> bool:
    """T8: of the commit that an operation is in, its signer and time are enough."""
    return erasure.time > time and (erasure.signer == signer or bool(erasure.rights & MAY_MODERATE))


def standing_erasure(signer: str, time: int, erasures: Iterable[Erasure]) -> Erasure | None:
    """T8: the erasure by which an operation is gone, if any: a whole message before a first text, that before a part.

    The first text of a message that stands is only its signer's to erase: a moderator's takes out the whole.
    """
    found = [_whole_unless_own(signer, one) for one in erasures if may_erase(signer, time, one)]
    return min(found, key=_strength, default=None)


def _whole_unless_own(signer: str, erasure: Erasure) -> Erasure:
    what = erasure.what
    if isinstance(what, Remains) and what.stands and erasure.signer != signer:
        return msgspec.structs.replace(erasure, what=msgspec.structs.replace(what, stands=False))
    return erasure


def _strength(erasure: Erasure) -> tuple[bool, bool, int, bytes]:
    return isinstance(erasure.what, Gone), not erasure.leaves_place, erasure.time, erasure.id


def erased_mark(channel: bytes, source: str, id: str) -> str:
    """What is left of the original id of an imported message that was erased: enough to know it when it is imported again."""
    told = hashlib.sha256(MARK_LABEL + channel + f"{source}\0{id}".encode())
    return f"erased:{told.hexdigest()[:32]}"


def remaining_post(remains: Remains) -> Post:
    """The message that is left of an erased one."""
    return Post("", remains.root, origin=remains.origin)


def goes_with(operation: Operation, signer: str, message_signer: str) -> bool:
    """T8: is this operation on an erased message a version of it?"""
    return isinstance(operation, Edit) and signer == message_signer


def lacks_right(operation: Operation, rights: int) -> bool:
    """Does its author lack the right to an operation of this kind, whatever it is on?"""
    if isinstance(operation, Erase):
        return not rights & (MAY_POST | MAY_MODERATE)
    if isinstance(operation, Pin | Unpin):
        return not rights & MAY_PIN
    if isinstance(operation, Name | Topic):
        return not rights & MAY_NAME
    return not rights & MAY_POST


def shown(post: Placed, others: Iterable[Placed]) -> Shown:
    """Fold the edits, deletions and pins that target `post` (T3, T4, T6)."""
    edits = [
        o for o in others if isinstance(o.operation, Edit) and may_edit(post.by, post.author, o.by, o.author)
    ]
    deletions = [
        o for o in others if isinstance(o.operation, Delete) and may_delete(post.author, o.author, o.rights)
    ]
    pins = [o for o in others if isinstance(o.operation, Pin | Unpin)]
    newest_edit = max(edits, key=lambda o: o.key, default=None)
    first_delete = min(deletions, key=lambda o: o.key, default=None)
    newest_pin = max(pins, key=lambda o: o.key, default=None)
    replaced = [o.operation.previous for o in edits if isinstance(o.operation, Edit)]
    return Shown(
        edit=newest_edit.id if newest_edit else None,
        edits=len(edits),
        concurrent=len(set(replaced)) < len(replaced),
        deleted=first_delete.id if first_delete else None,
        pinned=newest_pin is not None and isinstance(newest_pin.operation, Pin),
    )


def newest_reactions(others: Iterable[Placed]) -> dict[tuple[str, str], Placed]:
    """(emoji, author key) -> the newest react or unreact (T5)."""
    newest: dict[tuple[str, str], Placed] = {}
    for other in others:
        operation = other.operation
        if isinstance(operation, React | Unreact):
            slot = (operation.emoji, other.by)
            if slot not in newest or newest[slot].key < other.key:
                newest[slot] = other
    return newest


def standing_reactions(others: Iterable[Placed]) -> dict[tuple[str, str], Placed]:
    """(emoji, author key) -> the react that stands (T5)."""
    newest = newest_reactions(others)
    return {slot: placed for slot, placed in newest.items() if isinstance(placed.operation, React)}


class Folded(msgspec.Struct):
    """A whole channel, folded: for tests and for small channels."""

    messages: list[tuple[Placed, bytes | None]]  # in order, each with its thread's root
    shown: dict[bytes, Shown]
    reactions: dict[bytes, dict[tuple[str, str], Placed]]
    threads: dict[bytes, list[bytes]]  # root -> standing replies in order
    profiles: dict[str, Profile]
    name: str
    topic: str
    waiting: set[bytes]


def fold(operations: Iterable[Placed], gone: AbstractSet[bytes] = frozenset()) -> Folded:
    """The timeline of a set of operations.

    gone    messages that were let go: of an erased one no place is left, and a reply in the thread of one of
            them stands by itself
    """
    every, erased = _without_erased({placed.id: placed for placed in operations})
    every = {
        id: placed
        for id, placed in every.items()
        if id not in gone and not lacks_right(placed.operation, placed.rights)
    }
    posts = {i: p for i, p in every.items() if isinstance(p.operation, Post)}
    roots = {i: _root(i, posts, gone) for i in posts}
    placed_posts = {i: p for i, p in posts.items() if roots[i] != ()}
    targeting: dict[bytes, list[Placed]] = {}
    waiting = {i for i, root in roots.items() if root == ()}
    for placed in every.values():
        target = getattr(placed.operation, "target", None)
        if target is not None:
            targeting.setdefault(target, []).append(placed)
            if target not in placed_posts:
                waiting.add(placed.id)
    views = {i: shown(p, targeting.get(i, ())) for i, p in placed_posts.items()}
    for id in erased.keys() & views.keys():
        by = erased[id].id
        views[id] = msgspec.structs.replace(views[id], deleted=views[id].deleted or by, erased=by)
    ordered = sorted(placed_posts.values(), key=lambda p: p.key)
    threads: dict[bytes, list[bytes]] = {}
    for placed in ordered:
        root = roots[placed.id]
        if isinstance(root, bytes) and views[placed.id].deleted is None:
            threads.setdefault(root, []).append(placed.id)
    return Folded(
        messages=[(p, r if isinstance(r := roots[p.id], bytes) else None) for p in ordered],
        shown=views,
        reactions={i: s for i in placed_posts if (s := standing_reactions(targeting.get(i, ())))},
        threads=threads,
        profiles=_profiles(every.values()),
        name=_newest_text(every.values(), Name),
        topic=_newest_text(every.values(), Topic),
        waiting=waiting,
    )


def _without_erased(every: dict[bytes, Placed]) -> tuple[dict[bytes, Placed], dict[bytes, Erasure]]:
    """The operations as erasures leave them, and by which each erased message that keeps its place is gone (T8)."""
    on: dict[bytes, list[Erasure]] = {}
    for placed in every.values():
        erase = placed.operation
        if isinstance(erase, Erase) and not lacks_right(erase, placed.rights):
            for what in erase.entries:
                erasure = Erasure(placed.id, placed.time, placed.author, placed.rights, what)
                on.setdefault(what.id, []).append(erasure)
    left, places = dict(every), {}
    for id in on.keys() & every.keys():
        placed = every[id]
        standing = standing_erasure(placed.author, placed.time, on[id])
        if standing is None or isinstance(placed.operation, Erase):
            continue
        del left[id]
        if isinstance(standing.what, Remains):
            left[id] = msgspec.structs.replace(placed, operation=remaining_post(standing.what))
            if standing.leaves_place:
                places[id] = standing
    for id, placed in list(left.items()):
        message = left.get(getattr(placed.operation, "target", None) or b"")
        if message and message.id in places and goes_with(placed.operation, placed.author, message.author):
            del left[id]
    return left, places


def _root(post: bytes, posts: dict[bytes, Placed], gone: AbstractSet[bytes]) -> bytes | tuple[()] | None:
    """The thread's root of a post (T2): an id, None for a root, () while it is unknown."""
    seen = {post}
    root = posts[post].operation.root  # type: ignore[union-attr]
    if root is None or root in gone:
        return None
    while True:
        if root in seen or root not in posts:
            return ()
        seen.add(root)
        above = posts[root].operation.root  # type: ignore[union-attr]
        if above is None or above in gone:
            return root
        root = above


def _profiles(operations: Iterable[Placed]) -> dict[str, Profile]:
    newest: dict[str, tuple[Key, Profile]] = {}
    for placed in operations:
        if isinstance(placed.operation, Profile):
            profile = placed.operation
            who = f"{profile.source}:{profile.author}" if profile.source else placed.author
            if who not in newest or newest[who][0] < placed.key:
                newest[who] = (placed.key, profile)
    return {who: profile for who, (_, profile) in newest.items()}


def _newest_text(operations: Iterable[Placed], kind: type[Name] | type[Topic]) -> str:
    found: Sequence[Placed] = [p for p in operations if isinstance(p.operation, kind)]
    if not found:
        return ""
    operation = max(found, key=lambda p: p.key).operation
    return operation.name if isinstance(operation, Name) else operation.topic  # type: ignore[union-attr]
