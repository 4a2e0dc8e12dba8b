"""Policies of what is let go: set, seen by all alike, and what they would take."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from quire import ChannelManager, Keeping, LocalStore
from quire.core.control import EXEMPT_ALL, EXEMPT_PINS
from quire.core.ids import ChannelId, MessageId
from quire.core.operation import Attachment, Origin, Post, React
from quire.core.retention import Facts, goes, written_since
from quire.errors import UsageError
from quire.storage import log
from quire.storage.timeline import get_row
from quire.store import retention as deciding
from quire.store import wallclock

DAY = 86_400_000


def old_posts(store: LocalStore, channel: ChannelId, ages_ms: list[int], **more: object) -> list[MessageId]:
    """Imported messages of these ages, in this order."""
    now = wallclock.now_ms()
    posts = [
        Post(f"message {n} of long ago", origin=Origin("old", f"person {n % 3}", str(n), now - age), **more)  # type: ignore[arg-type]
        for n, age in enumerate(ages_ms)
    ]
    return store.write_operations(channel, *posts)


def test_a_policy_is_signed_and_shows_what_was_set(store: LocalStore) -> None:
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    assert chat.get_retention(channel).channel == Keeping(exempt=EXEMPT_ALL)
    wanted = Keeping(730 * DAY, 100_000, 5_000_000_000, 90 * DAY, EXEMPT_PINS)
    chat.set_retention(channel, wanted)
    chat.set_retention(channel, wanted)  # no second commit
    chat.set_disappearing(channel, timedelta(days=7), from_read=True)
    found = chat.get_retention(channel)
    assert (found.channel, found.here, found.disappear_ms, found.disappear_read_ms) == (
        wanted,
        None,
        0,
        7 * DAY,
    )
    told = [one.text for one in chat.story(channel)]
    assert len(told) == 3
    assert "set the policy keep to 730 days" in told[1]
    assert "set the policy exempt to pins" in told[1]
    assert store.verify().ok
    store.repair()
    assert chat.get_retention(channel) == found


def test_a_device_s_own_policy_is_never_looser(store: LocalStore) -> None:
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    chat.set_retention(channel, Keeping(30 * DAY))
    with pytest.raises(UsageError) as refused:
        chat.set_retention(channel, Keeping(60 * DAY), here=True)
    assert refused.value.rule == "retention_looser"
    chat.set_retention(channel, Keeping(7 * DAY), here=True)
    assert chat.get_retention(channel).here == Keeping(7 * DAY)
    chat.set_retention(channel, Keeping(), here=True)
    assert chat.get_retention(channel).here is None


@pytest.mark.parametrize("bad", [Keeping(-1), Keeping(1 << 44), Keeping(exempt=8)])
def test_what_is_out_of_range_is_refused(store: LocalStore, bad: Keeping) -> None:
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    for here in (False, True):
        with pytest.raises(UsageError) as refused:
            chat.set_retention(channel, bad, here=here)
        assert refused.value.rule == "policy_range"


def test_a_preview_counts_and_changes_nothing(store: LocalStore) -> None:
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    ids = old_posts(
        store, channel, [800 * DAY, 750 * DAY, 700 * DAY, 10], attachments=(Attachment("plan.pdf"),)
    )
    now = wallclock.now_ms()
    store.write_operations(channel, React(ids[0], "👍"), React(ids[0], "🎉"), React(ids[3], "🎉"))
    chat.pin(ids[1])
    seen = chat.preview_retention(channel, Keeping(730 * DAY))
    assert (seen.messages, seen.reactions, seen.attachments, seen.operations) == (1, 2, 1, 3)
    assert seen.rules == {"too_old": 1}
    assert sum(seen.years.values()) == 1
    assert seen.oldest_ms is not None
    assert abs(seen.oldest_ms - (now - 800 * DAY)) < DAY
    assert seen.size_bytes > 100
    assert chat.preview_retention(channel, Keeping(730 * DAY, exempt=0)).messages == 2
    assert chat.preview_retention(channel, Keeping(count=1)).messages == 2  # the pin holds one of three
    assert chat.preview_retention(channel, Keeping(count=1), here=True).messages == 2
    assert chat.preview_retention(channel).messages == 0
    assert len(list(chat.get_stored_messages(channel))) == 4


@pytest.mark.parametrize("seed", range(5))
def test_what_is_found_in_rows_is_what_the_rules_say(store: LocalStore, seed: int) -> None:
    """The rows that are read for a channel, against the pure decision for each of its messages."""
    draw = random.Random(seed)
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    ids = old_posts(store, channel, [draw.randrange(100 * DAY) for _ in range(40)])
    for id in draw.sample(ids, 5):
        chat.pin(id)
    for id in draw.sample(ids, 5):
        chat.bookmark(id)
    for id in draw.sample(ids, 5):
        chat.delete_message(id)
    roots = draw.sample(ids, 4)
    replies = old_posts(store, channel, [draw.randrange(60 * DAY) for _ in range(4)], root=roots[0])
    for root in roots[1:]:
        replies += old_posts(store, channel, [draw.randrange(60 * DAY) for _ in range(2)], root=root)
    every = {one.id: one for one in chat.get_stored_messages(channel)}  # before anything of it is hidden
    marked, expected = {one.id for one in chat.bookmarks()}, set()
    chat.set_retention(channel, Keeping(draw.randrange(30, 90) * DAY, exempt=draw.randrange(8)), here=True)
    chat.set_retention(
        channel, Keeping(draw.randrange(90) * DAY, draw.randrange(40), 0, 0, draw.randrange(8))
    )
    db, row = store.database.reader, store.channel_row(channel)
    bounds = deciding.bounds(db, row, wallclock.now_ms())
    found = {one.id for one, _ in deciding.expired(db, row, bounds)}
    for id in [*ids, *replies]:
        message, stored = every[id], get_row(db, id)
        assert stored is not None
        root = message.root or id
        replied = [one.time for one in every.values() if one.root == root and one.deleted is None]
        thread = sorted(replied, reverse=True)
        since = {cut.pause: written_since(thread, cut.pause) for cut in bounds.cuts if thread}
        facts = Facts(
            stored.time, False, message.pinned, id in marked, message.deleted is not None,
            thread[0] if thread else -1, since,
        )  # fmt: skip
        if goes(bounds, facts):
            expected.add(id)
    assert found == expected
    assert set(deciding.expired_of(db, bounds, [*ids, *replies])) == expected
    assert log.channel_by_n(db, row.n).messages == 40 + 10 - 5


@pytest.mark.parametrize("count", [1, 3, 4, 9, 10, 11, 50])
def test_the_newest_so_many_are_found_from_either_end(store: LocalStore, count: int) -> None:
    chat = ChannelManager(store)
    channel = chat.create_channel("general").id
    ids = old_posts(store, channel, [n // 2 * DAY for n in range(12)])  # two of each time
    for id in ids[4:6]:
        chat.delete_message(id)
    row = store.channel_row(channel)
    assert row.messages == 10
    standing = sorted((m.time for m in chat.get_stored_messages(channel) if not m.deleted), reverse=True)
    found = deciding.here_bounds(store.database.reader, row, Keeping(count=count), wallclock.now_ms())
    assert found.floor == (standing[count - 1] if count <= 10 else 0)
