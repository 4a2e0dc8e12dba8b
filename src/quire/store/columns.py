"""Posts, column by column: nearly all that comes in bulk, ready but for what only the database knows.

Of an import and of a bundle's commits alike, the next batch is made ready while index and disk take the one before: so what
can be said of a post from its own bytes is said here, outside the transaction. Posts in threads, with a title or a file of
their own, or that mention a person are few, and are applied one by one (store/apply.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from quire.core.operation import OWN_SOURCE, Post
from quire.storage import search
from quire.storage import timeline as rows

_PEOPLE = f"{OWN_SOURCE}:"  # how keys of people here begin


class Posts(msgspec.Struct, gc=False):
    """Posts that name no thread and have no title, column by column."""

    times: list[int]
    by: list[str]  # author keys; "" for who signed
    flags: list[int]  # as far as the post says them
    salted: list[bytes]
    entries: list[str]  # search.entry_of

    def add(self, other: Posts, signer: str, flags: int) -> None:
        """These as well.

        signer, flags    of those that are not imported: who signed, and what that adds
        """
        self.times += other.times
        self.by += [by or signer for by in other.by]
        self.flags += (
            [of if by else of | flags for of, by in zip(other.flags, other.by, strict=True)]
            if flags
            else other.flags
        )
        self.salted += other.salted
        self.entries += other.entries

    def sorted_by_time(self, ids: list[bytes]) -> tuple[list[bytes], Posts]:
        """Ids and posts, in order of time."""
        times = self.times
        order = sorted(range(len(times)), key=times.__getitem__)
        if times == [times[at] for at in order]:
            return ids, self
        return [ids[at] for at in order], self.some(order)

    def some(self, places: Sequence[int]) -> Posts:
        """Those that stand at these places."""
        columns = (getattr(self, name) for name in self.__struct_fields__)
        return Posts(*([column[at] for at in places] for column in columns))


def empty() -> Posts:
    """None yet."""
    return Posts([], [], [], [], [])


def split(
    operations: Sequence[Any], salted: Sequence[bytes], time: int
) -> tuple[Posts, list[int], list[int]]:
    """Posts of a commit, where in it they are, and where what is to be applied one by one.

    time    of the commit, which is that of posts that are not imported
    """
    posts = empty()
    times, by, flags, kept, entries = posts.times, posts.by, posts.flags, posts.salted, posts.entries
    places: list[int] = []
    others: list[int] = []
    entry_of, imported, reply = search.entry_of, rows.IMPORTED, rows.REPLY
    for at, post in enumerate(operations):
        if type(post) is not Post or post.root is not None or post.title or _is_more(post):
            others.append(at)
            continue
        origin, flag = post.origin, post.notice
        if post.reply_to is not None:
            flag |= reply
        if origin is None:
            times.append(time)
            by.append("")
            flags.append(flag)
        else:
            times.append(origin.time_ms << 16)
            by.append(f"{origin.source}:{origin.author}")
            flags.append(flag | imported)
        kept.append(salted[at])
        entries.append(entry_of(post, post.body))
        places.append(at)
    return posts, places, others


def _is_more(post: Post) -> bool:
    """Does it mention a person, or have a file of its own?"""
    return (bool(post.mentions) and any(key.startswith(_PEOPLE) for key in post.mentions)) or (
        bool(post.attachments) and any(one.file is not None for one in post.attachments)
    )
