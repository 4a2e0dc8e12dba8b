"""Arbitrary histories for property tests: real signed commits of several logs, with all that can go wrong in them.

Posts, replies to replies (in rings, too), edits by authors and strangers and of one version twice, deletions,
reactions, pins, names, topics, profiles, markers and bookmarks; by the signer and by imported authors; with
targets that come earlier, later or never; at equal times, and in the future.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import strategies as st

from quire.core import clock
from quire.core.commit import decode_commit
from quire.core.control import Role
from quire.core.ids import ChannelId, message_id
from quire.core.operation import (
    SALT_SIZE,
    Bookmark,
    Delete,
    Edit,
    Erase,
    Gone,
    Name,
    Operation,
    Origin,
    Pin,
    Post,
    Profile,
    React,
    ReadMarker,
    Remains,
    Topic,
    Unbookmark,
    Unpin,
    Unreact,
    is_control,
    stored_operation,
)
from quire.core.timeline import Placed
from quire.storage import log
from quire.store.local import LocalStore
from quire.testing.authors import START_MS, Author, Channel, Pen

NOW_MS = START_MS + 86_400_000
FUTURE_MS = NOW_MS + 3_600_000
LATER_MS = FUTURE_MS + 3_600_000
WORDS = ("alpha", "beta", "gamma", "delta", "東京", "café", "🙂")
NOWHERE = b"\x07" * 16
KINDS = (
    "post", "post", "reply", "reply", "edit", "edit", "delete", "react", "unreact", "pin", "unpin", "name", "topic",
    "profile", "marker", "bookmark", "unbookmark", "erase", "erase", "erase version",
)  # fmt: skip

operations = st.tuples(
    st.sampled_from(KINDS), st.integers(0, 40), st.integers(0, 40), st.sampled_from((None, "ada", "bob")),
    st.sampled_from(WORDS), st.integers(0, 3),
)  # fmt: skip
times = st.one_of(st.integers(0, 3), st.integers(0, 10_000), st.just(-1))  # -1: the future
commits = st.tuples(st.integers(0, 2), times, st.lists(operations, min_size=1, max_size=4))
histories = st.lists(commits, min_size=1, max_size=14)


class History(NamedTuple):
    """Commits to ingest, and who signed them."""

    author: Author
    channel: ChannelId
    commits: list[bytes]

    def placed(self, now_ms: int) -> list[Placed]:
        """The channel's operations that are not held at that time."""
        found = []
        for encoded in self.commits:
            commit, head = decode_commit(encoded)
            if head.channel != self.channel or clock.is_ahead(head.time, now_ms):
                continue
            for index, salted in enumerate(commit.operations):
                if is_control(salted[SALT_SIZE:]):
                    continue
                id = message_id(log_of(head), head.seq, index)
                found.append(Placed(id, head.time, self.author.key, stored_operation(salted)))
        return found


def log_of(head: Any) -> bytes:
    """The prefix of a commit's log."""
    from quire.core.ids import log_prefix

    return log_prefix(head.device, head.incarnation)


def made(script: list[Any], store: LocalStore) -> History:
    """The commits of a script: log 0 and 1 in a channel of someone else's, log 2 in the vault's self-channel."""
    author, own = Author(seed=5), Author.of(store, seed=6)
    channel = author.channel()
    row = log.self_channel(store.database.reader)
    myself = Channel(row.id, row.genesis, b"", message_id(bytes(10), 1, 0), Pen(own, row.id, (row.genesis,)))
    pens = [channel.pen, author.pen(channel), own.pen(myself)]
    ids = _ids(script, pens)
    encoded = [channel.founding]
    for number, time, spec in script:
        time_ms = FUTURE_MS if time < 0 else START_MS + time
        encoded.append(
            pens[number].write(*(_operation(one, ids, channel.id) for one in spec), time_ms=time_ms)
        )
    return History(author, channel.id, encoded)


def _ids(script: list[Any], pens: list[Pen]) -> list[bytes]:
    """What operations may target: all posts and edits to come, a reaction perhaps, and nothing."""
    seqs = [pen.seq for pen in pens]
    ids: list[bytes] = []
    for number, _, spec in script:
        seqs[number] += 1
        ids += [
            pens[number].id_of(seqs[number], index)
            for index, one in enumerate(spec)
            if one[0] in ("post", "reply", "edit", "react")
        ]
    return [*ids, NOWHERE]


def _operation(spec: Any, ids: list[bytes], channel: ChannelId) -> Operation:
    kind, at, other, who, word, when = spec
    target, previous = ids[at % len(ids)], ids[other % len(ids)]
    origin = Origin("slack", who, "", START_MS + when) if who else None
    name = who or ""
    place = Origin("slack", "", "", START_MS + when) if who else None
    made: dict[str, Operation] = {
        "erase": Erase((Remains(target, previous if at % 3 == 0 else None, place, at % 4 == 0),), (), word),
        "erase version": Erase((), (Gone(target, previous),)),
        "post": Post(f"{word} {other}", title=word if at == 0 else "", origin=origin),
        "reply": Post(word, target, mentions=("quire:x",), origin=origin),
        "edit": Edit(target, previous, f"{word} edited", origin),
        "delete": Delete(target, "", origin),
        "react": React(target, "👍" if other % 2 else word, 3 if origin and other % 3 == 0 else 0, origin),
        "unreact": Unreact(target, "👍" if other % 2 else word, origin),
        "pin": Pin(target, origin),
        "unpin": Unpin(target, origin),
        "name": Name(word),
        "topic": Topic(word),
        "profile": Profile("slack" if who else "", name, word, other % 2 == 0),
        "marker": ReadMarker(channel, at, target),
        "bookmark": Bookmark(channel, target),
        "unbookmark": Unbookmark(channel, target),
    }
    return made[kind]


# Several people, who let each other in, promote, remove and cut off, and whose logs fork

ROLES = (Role.GUEST, Role.MEMBER, Role.MODERATOR, Role.ADMIN, Role.OWNER)
DEEDS = (
    "say", "say", "say", "reply", "react", "edit", "delete", "erase", "name", "profile", "pin", "admit", "admit", "remove",
    "role", "see", "see", "see", "fork",
)  # fmt: skip
deeds = st.tuples(
    st.integers(0, 3), st.sampled_from(DEEDS), st.integers(0, 3), st.sampled_from(ROLES), st.integers(0, 12),
)  # fmt: skip
groups = st.lists(deeds, min_size=4, max_size=30)


def peopled(script: list[Any]) -> list[bytes]:
    """The commits of a script: four people, of whom the first founded the channel and the second is an admin."""
    people = [Author(seed=10 + number) for number in range(4)]
    channel = people[0].channel()
    pens = [channel.pen]
    encoded = [channel.founding, pens[0].admit(people[1], Role.ADMIN)]
    pens += [author.pen(channel) for author in people[1:]]
    said = [NOWHERE]
    for who, deed, whom, role, number in script:
        pen, target = pens[who], said[number % len(said)]
        if deed == "see":
            pen.see(pens[whom])
        elif deed == "fork":  # the next commit has a twin
            twin = pen.fork()
            said.append(twin.next_id())
            encoded.append(twin.write(Post(f"twin {number}"), React(target, "twin")))
        elif deed == "admit":
            encoded.append(pen.admit(people[whom], role))
        elif deed == "remove":
            cuts = [pens[whom].cut(number)] if 0 < number <= pens[whom].seq else []
            encoded.append(pen.remove(people[whom], *cuts))
        elif deed == "role":
            encoded.append(pen.set_role(people[whom], role))
        else:
            made: dict[str, Operation] = {
                "say": Post(f"{WORDS[number % len(WORDS)]} {who}"),
                "reply": Post("reply", target),
                "react": React(target, "👍"),
                "edit": Edit(target, target, f"edited {number}"),
                "delete": Delete(target),
                "erase": Erase((Remains(target),)) if number % 3 else Erase((), (Gone(target),)),
                "name": Name(f"name {number}"),
                "profile": Profile("", "", f"person {number}"),
                "pin": Pin(target),
            }
            if deed in ("say", "reply"):
                said.append(pen.next_id())
            encoded.append(pen.write(made[deed]))
    return encoded
