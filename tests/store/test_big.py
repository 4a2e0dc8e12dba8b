"""Large and odd: messages, threads, reactions and channels at and beyond what anyone writes; pages stay right."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quire.channels.manager import ChannelManager
from quire.core.ids import ChannelId, MessageId
from quire.core.limits import BODY_BYTES_MAX
from quire.core.operation import Origin, Post, React
from quire.core.views import Message, Page
from quire.errors import UsageError
from quire.store.local import LocalStore
from tests import vaults

READ_LIMIT_MIB = 150  # peak memory of reading, whatever the history (issue: "Speed and memory")
GROWTH_MIB = 12  # how much more it may be after twenty times the history

# Bodies.


ODD = {
    "empty": "",
    "a mebibyte": "a" * BODY_BYTES_MAX,
    "a mebibyte of emoji": "🎉" * (BODY_BYTES_MAX // 4),
    "one word": "w" * 100_000,
    "marks": "e" + "\u0301" * 4_000,
    "nul": "before\0after",
    "bidi": "\u202eright to left\u202c and \u2067isolated\u2069",
    "line ends": "one\r\ntwo\rthree\u2028four\x0bfive",
    "not normal": unicodedata.normalize("NFD", "Ångström é"),
    "private and unassigned": "\ue000\U0010ffff\ufffe\uffff",
    "markup": "<script>alert(1)</script> [x](javascript:1) \x1b[31mred",
    "quotes": "\"'; DROP TABLE message; -- % _ \\ * ^ NEAR( AND",
    "spaces": "   \t\n  ",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_bodies_are_kept_to_the_letter(store: LocalStore, manager: ChannelManager, name: str) -> None:
    body = ODD[name]
    manager.create_channel("general")
    sent = manager.send_message("general", body)
    assert sent.body == body
    edited = manager.edit_message(manager.send_message("general", "x").id, body)
    assert edited.body == body
    manager.create_channel("other")
    found = vaults.in_fresh_process(
        store.folder, "answer = [m.body for m in manager.get_stored_messages('general')]"
    )
    assert found == [body, body]
    words = body[:20].split()
    if words and words[0].isalnum() and len(body) < 1_000:
        assert sent.id in {hit.message.id for hit in manager.search(words[0]).hits}
    assert store.verify().ok
    manager.delete_message(sent.id)
    assert manager.get_message(sent.id).body == ""
    assert store.verify().ok


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("a" * (BODY_BYTES_MAX + 1), "body_too_large"),
        ("é" * (BODY_BYTES_MAX // 2) + "a", "body_too_large"),
        ("half \ud83d of a pair", "operation_lone_surrogate"),
        ("\udc00", "operation_lone_surrogate"),
    ],
)
def test_bodies_that_are_refused_leave_nothing(
    store: LocalStore, manager: ChannelManager, body: str, rule: str
) -> None:
    manager.create_channel("general")
    first = manager.send_message("general", "first")
    before = store.stats().commits
    attempts: list[Callable[[], Message]] = [
        lambda: manager.send_message("general", body),
        lambda: manager.edit_message(first.id, body),
    ]
    for attempt in attempts:
        with pytest.raises(UsageError) as refusal:
            attempt()
        assert refusal.value.rule == rule
        assert refusal.value.hint
    assert store.stats().commits == before
    assert vaults.bodies(store, "general") == ["first"]


# Many.


def post_many(
    store: LocalStore, channel: ChannelId, start: int, count: int, root: MessageId | None = None
) -> list[MessageId]:
    """Posts by imported authors, as an import writes them: many in one transaction."""
    made: list[MessageId] = []
    for at in range(start, start + count, 10_000):
        posts = [
            Post(f"word{n % 997} number {n}", root=root, origin=Origin("test", f"a{n % 50}", str(n), 1_600_000_000_000 + n * 700))
            for n in range(at, at + 10_000)
        ]  # fmt: skip

        def work(db: apsw.Connection, posts: list[Post] = posts) -> list[MessageId]:
            return store.ledger.append(db, store.channel_row(channel), posts)

        made += store.ledger.run(work)
    return made


def every_page(page: Page, more: str, ask: Callable[[str], Page]) -> list[Message]:
    """Follow a page's cursor to the end."""
    found = list(page.messages)
    while (cursor := getattr(page, more)) is not None:
        page = ask(cursor)
        assert page.messages
        found += page.messages
    return found


def test_a_thread_of_50_000_replies(store: LocalStore, manager: ChannelManager) -> None:
    channel = manager.create_channel("general").id
    root = manager.send_message(channel, "root")
    ids = post_many(store, channel, 0, 50_000, root.id)
    thread = manager.get_thread_info(root.id)
    assert (thread.replies, thread.participants, thread.last_reply) == (50_000, 50, ids[-1])
    start = manager.get_stored_thread_replies(root.id, limit=1_000)
    found = every_page(
        start, "newer", lambda cursor: manager.get_stored_thread_replies(root.id, limit=1_000, after=cursor)
    )
    assert [message.id for message in found] == ids
    middle = manager.get_stored_thread_replies(root.id, limit=10, before=ids[25_000])
    assert [message.id for message in middle.messages] == ids[24_990:25_000]
    last = manager.send_message(channel, "and one more", thread=ids[40_000])
    assert last.root == root.id
    assert manager.get_thread_info(root.id).replies == 50_001
    # Replies by imported authors stand at their own, older times: the root is the newest message but one.
    assert [m.id for m in manager.get_stored_messages_paginated(channel, limit=2).messages] == [
        last.id,
        root.id,
    ]


def test_10_000_reactions_on_one_message(store: LocalStore, manager: ChannelManager) -> None:
    channel = manager.create_channel("general").id
    message = manager.send_message(channel, "popular")
    reacts = [
        React(message.id, "👍" if n % 4 else f":e{n % 100}:", origin=Origin("test", f"a{n}", "", 1_600_000_000_000 + n))
        for n in range(10_000)
    ]  # fmt: skip
    store.write_operations(channel, *reacts)
    manager.add_reaction(message.id, "👍")
    reactions = manager.get_reactions(message.id)
    assert (reactions[0].emoji, reactions[0].count, reactions[0].own) == ("👍", 7_501, True)
    assert sum(reaction.count for reaction in reactions) == 10_001
    assert [r.count for r in reactions] == sorted((r.count for r in reactions), reverse=True)
    assert manager.get_message(message.id).reactions == reactions
    assert len(reactions[0].people) == 20
    assert len(manager.remove_reaction(message.id, "👍")) == len(reactions)


READER = """
from tests import vaults
manager.get_stored_messages_paginated("general")
count = sum(1 for _ in manager.get_stored_messages("general"))
assert count == arguments[0]
newest = manager.get_stored_messages_paginated("general", limit=50)
page = newest
for _ in range(200):
    if page.older is None:
        break
    page = manager.get_stored_messages_paginated("general", limit=50, before=page.older)
deep = manager.get_stored_messages_paginated("general", limit=50, offset=count - 50)
for word in ("word7", "word*", "number"):
    manager.search(word, limit=50)
answer = [vaults.peak_memory_mib(), deep.messages[-1].body]
"""


def memory_of_reading(store: LocalStore, count: int) -> int:
    mib, oldest = vaults.in_fresh_process(store.folder, READER, count, timeout_seconds=300)
    assert oldest == "word0 number 0"
    return int(mib)


@pytest.mark.slow
@pytest.mark.bounded
def test_the_memory_of_reading_does_not_grow_with_history(store: LocalStore, manager: ChannelManager) -> None:
    channel = manager.create_channel("general").id
    post_many(store, channel, 0, 10_000)
    before = memory_of_reading(store, 10_000)
    post_many(store, channel, 10_000, 40_000)
    after = memory_of_reading(store, 50_000)
    assert after <= READ_LIMIT_MIB
    assert after - before < GROWTH_MIB


@pytest.mark.slow
def test_a_channel_of_a_million(tmp_path: Path) -> None:
    store = vaults.fresh_store(tmp_path)
    manager = ChannelManager(store)
    channel = manager.create_channel("general").id
    post_many(store, channel, 0, 200_000)
    smaller = memory_of_reading(store, 200_000)
    post_many(store, channel, 200_000, 800_000)
    assert manager.get_channel("general").messages == 1_000_000
    assert memory_of_reading(store, 1_000_000) - smaller < GROWTH_MIB
    place = manager.get_stored_messages_paginated(channel, around=1_600_000_000_000 + 500_000 * 700)
    assert any(message.body.endswith("number 500000") for message in place.messages)
    assert manager.search('"number 123456"').hits[0].message.body == f"word{123_456 % 997} number 123456"
    assert store.verify().ok
    store.close()


# Pages, against a model.


class Model:
    """A channel as a plain list, oldest first."""

    def __init__(self, manager: ChannelManager, name: str) -> None:
        self.manager = manager
        self.channel = manager.create_channel(name).id
        self.messages: list[Message] = []

    def order(self) -> list[MessageId]:
        return [m.id for m in sorted(self.messages, key=lambda m: (m.time, m.id))]

    def insert(self, time_ms: int | None) -> None:
        """A new message; or one that comes late and belongs before others."""
        number = str(len(self.messages))
        if time_ms is None:
            self.messages.append(self.manager.send_message(self.channel, number))
            return
        post = Post(number, origin=Origin("test", "late", number, time_ms))
        [id] = self.manager.store.write_operations(self.channel, post)
        self.messages.append(self.manager.get_message(id))

    def change(self, at: int) -> None:
        """Edit, delete or pin one: none of which moves it."""
        message = self.manager.get_message(self.messages[at % len(self.messages)].id)
        if message.deleted is None:
            if message.author.own and at % 3 == 0:
                self.manager.edit_message(message.id, message.body + "!")
            elif at % 3 == 1:
                self.manager.delete_message(message.id)
            elif not message.pinned:
                self.manager.pin(message.id)


Step = st.one_of(
    st.tuples(st.just("insert"), st.none() | st.integers(0, 2_000_000_000_000)),
    st.tuples(st.just("change"), st.integers(0, 1_000)),
)
_made = iter(range(1 << 30))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> ChannelManager:
    return ChannelManager(vaults.fresh_store(tmp_path_factory.mktemp("pages")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    first=st.integers(1, 25),
    limit=st.integers(1, 9),
    steps=st.lists(Step, max_size=12),
    forward=st.booleans(),
)
def test_pages_by_cursor_are_stable_while_others_write(
    shared: ChannelManager, first: int, limit: int, steps: list[tuple[str, int | None]], forward: bool
) -> None:
    """Walk a channel page by page, with a change before each: what was there at the start is seen once, in order."""
    model = Model(shared, f"c{next(_made)}")
    for _ in range(first):
        model.insert(None)
    start = model.order()
    seen: list[MessageId] = []
    pages = iter(steps)
    cursor: str | None = f"{0:x}." if forward else None
    while True:
        if forward:
            page = shared.get_stored_messages_paginated(model.channel, after=cursor, limit=limit)
            assert [m.id for m in page.messages] == [
                m.id for m in sorted(page.messages, key=_place, reverse=True)
            ]
            seen += [message.id for message in reversed(page.messages)]
            cursor = page.newer
        else:
            page = shared.get_stored_messages_paginated(model.channel, before=cursor, limit=limit)
            seen += [message.id for message in page.messages]
            cursor = page.older
        if cursor is None:
            break
        kind, value = next(pages, ("", None))
        if kind == "insert":
            model.insert(value)
        elif kind == "change":
            model.change(value or 0)
    assert len(seen) == len(set(seen))
    assert [id for id in seen if id in set(start)] == (start if forward else start[::-1])
    order = model.order() if forward else model.order()[::-1]
    assert seen == [id for id in order if id in set(seen)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    inserts=st.lists(st.none() | st.integers(0, 2_000_000_000_000), min_size=1, max_size=20),
    limit=st.integers(1, 9),
    at=st.integers(0, 40),
)
def test_offset_and_around_pages_are_slices(
    shared: ChannelManager, inserts: list[int | None], limit: int, at: int
) -> None:
    model = Model(shared, f"c{next(_made)}")
    for time in inserts:
        model.insert(time)
    newest_first = model.order()[::-1]
    page = shared.get_stored_messages_paginated(model.channel, limit=limit, offset=at)
    assert [message.id for message in page.messages] == newest_first[at : at + limit]
    assert (page.older is None) == (at + limit >= len(newest_first) or not page.messages)
    centre = newest_first[at % len(newest_first)]
    around = shared.get_stored_messages_paginated(model.channel, limit=limit, around=centre)
    place = newest_first.index(centre)
    low = max(0, place - limit // 2)
    assert [message.id for message in around.messages] == newest_first[low : place + limit - limit // 2]
    if around.older:
        older = shared.get_stored_messages_paginated(model.channel, limit=limit, before=around.older)
        after = newest_first.index(around.messages[-1].id) + 1
        assert [message.id for message in older.messages] == newest_first[after : after + limit]
    if around.newer:
        newer = shared.get_stored_messages_paginated(model.channel, limit=limit, after=around.newer)
        before = newest_first.index(around.messages[0].id)
        assert [message.id for message in newer.messages] == newest_first[max(0, before - limit) : before]


def _place(message: Message) -> tuple[int, bytes]:
    return message.time, message.id


def test_no_page_is_too_large_and_no_cursor_too_odd(manager: ChannelManager) -> None:
    manager.create_channel("general")
    for limit in (0, -1, 1_001):
        with pytest.raises(UsageError) as refusal:
            manager.get_stored_messages_paginated("general", limit=limit)
        assert refusal.value.rule == "page_size"
    for cursor in ("", ".", "x", "-1.", "zz.00", "1.0", "1." + "00" * 15, "f" * 40 + ".", json.dumps([1])):
        with pytest.raises(UsageError) as refusal:
            manager.get_stored_messages_paginated("general", before=cursor)
        assert refusal.value.rule == "cursor_form"
