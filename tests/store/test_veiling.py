"""What a policy says is gone shows nowhere from that moment on, before anybody let go of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from quire import ChannelManager, Keeping, LocalStore
from quire.core.ids import ChannelId, MessageId
from quire.errors import NotFoundError
from quire.storage import retention as policies
from quire.storage.timeline import DELETED, THREADED
from quire.store import retention as deciding
from quire.store import wallclock
from quire.store.pruning import enforce
from quire.store.veiling import Veil
from tests import vaults
from tests.clocks import Clock

DAY = 86_400_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def chat(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> ChannelManager:
    monkeypatch.setattr(
        LocalStore, "let_go_a_little", lambda self, budget_ms: None
    )  # nobody lets go meanwhile
    return ChannelManager(store)


@pytest.fixture
def channel(chat: ChannelManager) -> ChannelId:
    return chat.create_channel("general").id


def shown(chat: ChannelManager, channel: ChannelId) -> dict[str, object]:
    """All that a person sees of a channel, the words of its messages for what they are called."""
    info = chat.get_channel(channel)
    threads, _ = chat.get_channel_threads(channel)
    return {
        "page": [m.body for m in chat.get_stored_messages(channel)],
        "oldest": [m.body for m in chat.store.get_channel_messages(channel)],
        "small": [m.body for m in chat.store.get_channel_messages_paginated(channel, limit=1).messages],
        "skipped": [m.body for m in chat.store.get_channel_messages_paginated(channel, limit=9, offset=1).messages],
        "around": [m.body for m in chat.store.get_channel_messages_paginated(channel, around=1 << 40).messages],
        "found": [hit.message.body for hit in chat.search("word").hits],
        "pinned": [m.body for m in chat.pinned(channel)],
        "marked": [m.body for m in chat.bookmarks()],
        "threads": [(t.root, t.replies, t.participants, t.preview) for t in threads],
        "roots": [m.root for m in chat.get_stored_messages(channel)],
        "info": (info.messages, info.threads, info.last_ms, info.unread, info.mentions),
    }  # fmt: skip


def test_what_disappears_is_seen_nowhere_when_its_time_has_come(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock, tmp_path: Path
) -> None:
    stays = chat.send_message(channel, "a word that stays").id
    chat.send_message(channel, "a word in its thread", thread=stays)
    chat.set_disappearing(channel, timedelta(days=1))
    gone = chat.send_message(channel, "a word that goes").id
    chat.pin(gone)
    chat.bookmark(gone)
    chat.send_message(channel, "a word that goes from the thread", thread=stays)
    clock.ahead_ms = DAY // 2
    chat.send_message(channel, "a word in a thread that ends", thread=gone)
    before = shown(chat, channel)
    assert len(before["oldest"]) == 5  # type: ignore[arg-type]
    clock.ahead_ms = DAY + 1_000
    after = shown(chat, channel)
    assert after["oldest"] == ["a word that stays", "a word in its thread", "a word in a thread that ends"]
    assert after["pinned"] == after["marked"] == []
    with pytest.raises(NotFoundError):
        chat.get_message(gone)
    with pytest.raises(NotFoundError):
        chat.get_edit_history(gone)
    assert [m.body for m in chat.get_stored_thread_replies(stays).messages] == ["a word in its thread"]
    assert store.stats().messages == 5  # all of it is still in the vault
    reading = LocalStore.open(
        store.folder, vaults.key_of(store.folder), read_only=True
    )  # nor can this one let go
    file = tmp_path / "read.jsonl"
    ChannelManager(reading).export(file, [channel])
    lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    reading.close()
    assert sorted(one["body"] for one in lines if one["type"] == "message") == sorted(after["oldest"])
    enforce(store)
    assert store.stats().messages == 3
    assert shown(chat, channel) == after  # it was all gone before


def test_what_is_too_old_is_seen_nowhere_but_for_what_is_spared(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock
) -> None:
    old = [chat.send_message(channel, f"an old word {n}").id for n in range(5)]
    chat.pin(old[0])
    chat.bookmark(old[1])
    clock.ahead_ms = 25 * DAY
    chat.send_message(channel, "a late word in a thread", thread=old[2])
    chat.set_retention(channel, Keeping(30 * DAY))
    clock.ahead_ms = 31 * DAY
    after = shown(chat, channel)
    assert after["oldest"] == ["an old word 0", "an old word 1", "an old word 2", "a late word in a thread"]
    assert chat.store.get_channel_messages_paginated(channel, limit=2).older is not None
    assert chat.store.get_channel_messages_paginated(channel, limit=4).older is None
    enforce(store)
    assert shown(chat, channel) == after
    chat.set_retention(channel, Keeping(3 * DAY, exempt=0), here=True)
    assert shown(chat, channel)["oldest"] == []
    enforce(store)
    assert shown(chat, channel)["info"] == (0, 0, None, 0, 0)


def test_a_clock_set_back_shows_again_what_nobody_destroyed(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock
) -> None:
    chat.send_message(channel, "a word")
    chat.set_retention(channel, Keeping(DAY, exempt=0))
    clock.ahead_ms = 2 * DAY
    assert shown(chat, channel)["oldest"] == []
    clock.ahead_ms = 0
    assert shown(chat, channel)["oldest"] == ["a word"]
    clock.ahead_ms = -5 * DAY  # before it was posted: it is there all the same
    assert shown(chat, channel)["oldest"] == ["a word"]
    assert policies.is_bounded(store.database.reader, store.channel_row(channel).n)


@pytest.mark.parametrize("exempt", range(8))
@pytest.mark.parametrize("timer", [0, 20 * DAY])
def test_what_is_counted_at_once_is_what_is_found_one_by_one(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock, exempt: int, timer: int
) -> None:
    """Counters, weights and pages, with everything on some message that may spare it, and threads that ended and go on."""
    if timer:
        chat.set_disappearing(channel, timedelta(milliseconds=timer))
    ids: list[MessageId] = []
    for number in range(24):
        clock.ahead_ms = number * DAY
        thread = ids[number - 5] if number % 4 == 1 and number > 5 else None
        ids.append(chat.send_message(channel, f"a word {number}", thread=thread).id)
        if number % 3 == 0:
            chat.pin(ids[-1])
        if number % 5 == 0:
            chat.bookmark(ids[-1])
        if number % 4 == 3:
            chat.edit_message(ids[-1], "another word")
            chat.add_reaction(ids[-1], "x")
        if number % 7 == 6:
            chat.delete_message(ids[-1])
    chat.set_retention(channel, Keeping(14 * DAY, exempt=exempt))
    chat.set_retention(channel, Keeping(9 * DAY, exempt=exempt & 5), here=True)
    clock.ahead_ms = 25 * DAY
    db, now = store.database.reader, wallclock.now_ms()
    row = chat.store.channel_row(channel)
    bounds = deciding.bounds_apart(db, row, now)[1]
    gone = [one for one, _ in deciding.expired(db, row, bounds)]
    assert 0 < len(gone) < 24
    counts = Veil(db, row.n, now).counts((0, b""))
    assert counts.messages == sum(not one.flags & DELETED for one in gone)
    assert counts.threads == sum(bool(one.flags & THREADED) for one in gone)
    preview = deciding.preview(db, row, bounds)
    assert deciding.weigh(db, row, bounds) == (preview.messages, preview.size_bytes)
    left = [one.id for one in store.get_channel_messages(channel)]
    assert left == [id for id in ids if id not in {one.id for one in gone}]
    pages, cursor = list[bytes](), None
    while True:
        page = store.get_channel_messages_paginated(channel, limit=2, before=cursor)
        pages += [one.id for one in page.messages]
        if (cursor := page.older) is None:
            break
    assert pages == left[::-1]
    assert [hit.message.id for hit in chat.search("word", limit=50).hits] == [
        one.id for one in store.get_channel_messages(channel, newest_first=True) if one.body
    ]


def test_what_has_plainly_expired_is_not_looked_at_one_by_one(
    store: LocalStore,
    chat: ChannelManager,
    channel: ChannelId,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(30):
        chat.send_message(channel, f"a word {number}")
    chat.pin(chat.send_message(channel, "a pinned word").id)
    chat.set_retention(channel, Keeping(DAY))
    clock.ahead_ms = 2 * DAY
    looked: list[object] = []
    goes = deciding.Looking.goes

    def counted(self: deciding.Looking, one: policies.Candidate) -> str:
        looked.append(one)
        return goes(self, one)

    monkeypatch.setattr(deciding.Looking, "goes", counted)
    assert chat.get_channel(channel).messages == 1
    assert store.space().in_force[0].messages == 30
    assert [hit.message.body for hit in chat.search("word").hits] == ["a pinned word"]
    assert len(looked) < 8
