"""What retention lets go, as it goes: out of every view and every byte, in steps, for good."""

from __future__ import annotations

import pytest

from quire import ChannelManager, Keeping, LocalStore
from quire.core.ids import ChannelId
from tests import oracle
from tests.clocks import Clock

DAY = 86_400_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def chat(store: LocalStore) -> ChannelManager:
    return ChannelManager(store)


@pytest.fixture
def channel(chat: ChannelManager) -> ChannelId:
    return chat.create_channel("general").id


def texts(chat: ChannelManager, channel: ChannelId) -> list[str]:
    return [message.body for message in chat.get_stored_messages(channel)]


def sound(store: LocalStore) -> None:
    report = store.verify()
    assert report.ok, report.problems[:5]
    oracle.check(store)
    before = store.verify().messages
    assert store.repair().ok
    assert store.verify().messages == before


def test_what_is_too_old_goes_with_all_that_is_on_it(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock
) -> None:
    old = chat.send_message(channel, "an olden word").id
    chat.edit_message(old, "an oldish word")
    chat.add_reaction(old, "👍")
    pinned = chat.send_message(channel, "a pinned word").id
    chat.pin(pinned)
    gone = chat.send_message(channel, "a deleted word").id
    chat.delete_message(gone)
    clock.ahead_ms = 40 * DAY
    chat.send_message(channel, "a new word")
    chat.add_reaction(pinned, "🎉")
    chat.set_retention(channel, Keeping(30 * DAY))
    done = chat.enforce_retention()
    assert (done.messages, done.operations) == (2, 5)
    assert texts(chat, channel) == ["a pinned word", "a new word"]
    assert [hit.message.body for hit in chat.search("word").hits] == ["a new word", "a pinned word"]
    assert chat.search("olden").hits == chat.search("oldish").hits == ()
    assert chat.get_channel(channel).messages == 2
    assert chat.enforce_retention().messages == 0
    sound(store)
    assert texts(chat, channel) == ["a pinned word", "a new word"]
    chat.unpin(pinned)
    assert chat.enforce_retention(channel).messages == 1
    sound(store)
