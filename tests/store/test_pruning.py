"""What retention lets go, as it goes: out of every view and every byte, in steps, for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire import ChannelManager, Keeping, LocalStore
from quire.core.ids import ChannelId, MessageId
from quire.core.operation import Edit, Erase, Origin, Post, Remains
from quire.errors import NotFoundError
from quire.storage import erasures
from quire.storage.database import CHECKPOINT_PAGES
from quire.storage.erasures import LOCAL, POLICY
from quire.store import pruning, wallclock
from quire.store.scanning import scan
from tests import oracle, vaults
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


def test_files_are_let_go_apart_from_their_messages(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock, tmp_path: Path
) -> None:
    def file(name: str) -> Path:
        (tmp_path / name).write_text(f"the bytes of {name}")
        return tmp_path / name

    old = chat.send_message(channel, "with a plan", files=[file("plan.txt"), file("both.txt")]).id
    pinned = chat.send_message(channel, "with a map", files=[file("map.txt")]).id
    chat.pin(pinned)
    clock.ahead_ms = 100 * DAY
    shared = chat.send_message(channel, "with a plan again", files=[file("both.txt")]).id
    chat.set_retention(channel, Keeping(attachments_ms=90 * DAY))
    assert store.stats().files == 3
    chat.enforce_retention()
    assert store.stats().files == 2
    assert len(texts(chat, channel)) == 3
    with pytest.raises(NotFoundError):
        chat.open_attachment(old, 1)
    for id, number in ((pinned, 1), (shared, 1), (old, 2)):  # a newer message has it, too
        with chat.open_attachment(id, number) as stream:
            assert stream.read().startswith(b"the bytes of")
    chat.set_retention(channel, Keeping(90 * DAY, attachments_ms=90 * DAY, exempt=0))
    chat.enforce_retention()
    assert (store.stats().files, texts(chat, channel)) == (1, ["with a plan again"])
    sound(store)


def test_what_waits_or_does_not_count_goes_when_it_is_too_old(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock
) -> None:
    nowhere = MessageId(bytes(16))
    store.write_operations(
        channel, Edit(nowhere, nowhere, "of what never came"), Post("a reply to nothing", nowhere)
    )
    assert chat.get_channel(channel).waiting == 2
    clock.ahead_ms = 40 * DAY
    chat.set_retention(channel, Keeping(30 * DAY))
    chat.enforce_retention()
    assert chat.get_channel(channel).waiting == 0
    assert scan(store, ["of what never came", "a reply to nothing"]).ok
    sound(store)


@pytest.mark.parametrize("erased_first", [True, False])
@pytest.mark.parametrize(("here", "why"), [(False, POLICY), (True, LOCAL)])
def test_the_place_of_an_erased_message_is_let_go_like_any(
    store: LocalStore,
    chat: ChannelManager,
    channel: ChannelId,
    clock: Clock,
    erased_first: bool,
    here: bool,
    why: int,
) -> None:
    """Alone, as a reply and as a root: the reason of its hole is then that it was let go, and no place is missed."""
    alone = chat.send_message(channel, "alone").id
    root = chat.send_message(channel, "a root").id
    reply = chat.send_message(channel, "a reply", thread=root).id
    other = chat.send_message(channel, "another root").id
    chat.send_message(channel, "an answer", thread=other)
    gone = [alone, reply, other]
    erase = Erase((Remains(alone), Remains(reply, root), Remains(other)))
    clock.ahead_ms = 40 * DAY
    if erased_first:
        store.write_operations(channel, erase)
        assert texts(chat, channel).count("") == 3
    chat.set_retention(channel, Keeping(30 * DAY, exempt=0), here=here)
    chat.enforce_retention()
    if not erased_first:
        store.write_operations(channel, erase)
    assert texts(chat, channel) == []
    sound(store)
    assert {hole.why for hole in erasures.holes_among(store.database.reader, gone).values()} == {why}
    look = "answer = [store.verify().ok, len(list(manager.get_stored_messages('general')))]"
    assert vaults.in_fresh_process(store.folder, look) == [True, 0]


def test_a_program_that_only_writes_and_opens_lets_go_too(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock
) -> None:
    for n in range(5):
        chat.send_message(channel, f"old {n}")
    chat.set_retention(channel, Keeping(30 * DAY))
    clock.ahead_ms = 31 * DAY
    chat.send_message(channel, "new")
    assert texts(chat, channel) == ["new"]
    chat.set_retention(channel, Keeping(1 * DAY))
    clock.ahead_ms = 40 * DAY
    again = vaults.reopened(store)
    assert texts(ChannelManager(again), channel) == []
    again.close()


def test_in_fresh_processes_what_went_is_in_no_byte(
    store: LocalStore, chat: ChannelManager, channel: ChannelId
) -> None:
    """Hundreds at once: their words leave the index in steps, and the file gets smaller."""
    now = wallclock.now_ms()
    posts = [
        Post(f"secretword{n} {'x' * 200}", origin=Origin("old", "a", str(n), now - (500 - n) * DAY))
        for n in range(400)
    ]
    store.write_operations(channel, *posts)
    store.database.checkpoint()
    before = store.database.path.stat().st_size
    code = (
        "from quire import Keeping\n"
        "manager.set_retention('general', Keeping(365 * 86_400_000))\n"
        "done = manager.enforce_retention()\n"
        "answer = [done.messages, done.freed_bytes > 0]"
    )
    freeing_all = "from quire.storage import freeing\nfreeing.KEPT_PAGES = 0\n"
    assert vaults.in_fresh_process(store.folder, freeing_all + code) == [136, True]
    look = (
        "from quire.store.scanning import scan\n"
        "found = scan(store, [f'secretword{n} ' for n in range(136)])\n"
        "left = [m.body.split()[0] for m in manager.get_stored_messages('general')]\n"
        "answer = [found.ok, found.looked_for > 100, left[0], len(left), manager.search('secretword7').hits == (),"
        " store.verify().ok]"
    )
    assert vaults.in_fresh_process(store.folder, look) == [True, True, "secretword136", 264, True, True]
    assert store.database.path.stat().st_size < before


def test_while_one_process_lets_go_no_other_does_a_step_of_it_within_a_post(
    store: LocalStore, chat: ChannelManager, channel: ChannelId, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEP_FEW", 1)
    for n in range(4):
        chat.send_message(channel, f"old {n}")
    chat.set_retention(channel, Keeping(30 * DAY))
    clock.ahead_ms = 31 * DAY
    going = pruning.steps(store, None, pruning.Pruned())
    next(going)
    left = store.stats().messages
    assert 0 < left < 4
    other = ChannelManager(vaults.opened(store.folder))
    clock.ahead_ms += 2_000
    other.send_message(channel, "new")
    assert store.stats().messages == left + 1
    clock.ahead_ms += pruning.HELD_MS  # whoever was at it was killed
    other.send_message(channel, "newer")
    assert store.stats().messages == left + 1  # one came, and one of the old is gone
    assert len(list(going)) >= left - 1
    assert texts(chat, channel) == ["new", "newer"]
    assert not pruning.is_due(store)
    other.store.close()


def test_the_journal_goes_into_the_file_beside_a_writer(store: LocalStore, channel: ChannelId) -> None:
    database = store.database
    with database.checkpointing():
        store.write_operations(channel, *(Post(f"number {n} {'x' * 4_000}") for n in range(3_000)))
        _, written, moved = database._checkpoint(database.reader, "NOOP")
        assert written > CHECKPOINT_PAGES > moved  # no commit did it
        writing = database.connect()
        writing.execute("BEGIN IMMEDIATE")  # another process is in the midst of a transaction
        database.checkpoint_beside()
        _, written, moved = database._checkpoint(database.reader, "NOOP")
        assert moved == written
        writing.execute("ROLLBACK")
        writing.close()
        store.write_operations(channel, Post("one more"))
        assert database._checkpoint(database.reader, "NOOP")[1] < 50  # the journal began anew
    assert database.writer.pragma("wal_autocheckpoint") == CHECKPOINT_PAGES
    assert store.verify().ok
