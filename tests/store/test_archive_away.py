"""Commits that change what is archived, while its disk is away: they wait, stop no other, and are taken when it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.core.commit import HoledCommit, commit_id, commitment, decode_commit, encode_commit
from quire.core.control import Role
from quire.core.operation import Edit, Post, React
from quire.storage import backlog
from quire.store import owing
from quire.store.digest import timeline_digest
from quire.store.local import LocalStore
from quire.testing.authors import Author, Channel, Pen
from tests import oracle, vaults

LONG = "a text that is long enough to be worth a reference, and says nothing else. " * 2
AFTER = 1 << 42  # later than anything here


@pytest.fixture
def author() -> Author:
    return Author(seed=1)


@pytest.fixture
def channel(author: Author, store: LocalStore) -> Channel:
    """A channel of someone else's that the vault's owner was let into."""
    channel = author.channel()
    assert store.ingest([channel.founding, channel.pen.admit(Author.of(store))]).new == 2
    return channel


def cool(store: LocalStore, channel: Channel, disk: Path) -> None:
    """Archive everything to a disk, and take it away."""
    disk.mkdir()
    assert ChannelManager(store).archive(channel.id, AFTER, to=disk).operations
    disk.rename(disk.with_name("drawer"))
    store.database.blocks.forget()


def bodies(store: LocalStore, channel: Channel) -> list[str]:
    return [message.body for message in store.get_channel_messages(channel.id)]


def waiting(store: LocalStore, channel: Channel) -> dict[str, int]:
    return backlog.parked_reasons(store.database.reader, channel.id)


def twin_that_displaces(pen: Pen, other: bytes) -> tuple[Pen, bytes]:
    """A commit in the place of another, which then is on a branch: of two that go on from one, the lesser goes on there."""
    for number in range(64):
        twin = pen.fork()
        encoded = twin.write(Post(f"twin {number} {LONG}"))
        if commit_id(decode_commit(encoded)[0].head) < commit_id(decode_commit(other)[0].head):
            return twin, encoded
    raise AssertionError("no luck")


def test_a_fork_that_moves_what_is_archived_waits_for_its_disk(
    store: LocalStore, channel: Channel, author: Author, tmp_path: Path
) -> None:
    other = author.pen(channel)  # a log that has nothing to do with it
    before = channel.pen.fork()
    first = channel.pen.write(Post(f"first {LONG}"))
    given = [first, channel.pen.write(Post(f"second {LONG}"))]
    assert store.ingest(given).new == 2
    cool(store, channel, tmp_path / "disk")
    twin, moves = twin_that_displaces(before, first)
    said = [other.write(Post(f"of another log {n}")) for n in range(3)]
    more = [twin.write(Post(f"more of the twin {LONG}"))]
    report = store.ingest([said[0], moves, *said[1:]])
    assert (report.new, report.parked, report.refused) == (3, 1, ())
    assert waiting(store, channel) == {backlog.AWAY: 1}
    assert {f"of another log {n}" for n in range(3)} < set(bodies(store, channel))
    again = store.ingest([moves, other.write(Post("and on"))])  # a peer offers it again
    assert (again.new, again.repeated) == (1, 1)
    assert store.ingest([other.set_role(Author.of(store), Role.ADMIN)]).new == 1  # control commits pass it by
    assert store.verify().problems == ()
    store = vaults.reopened(store)  # the disk is still away
    assert waiting(store, channel) == {backlog.AWAY: 1}
    store.ingest(more)
    store.close()
    (tmp_path / "drawer").rename(tmp_path / "disk")
    store = vaults.opened(store.folder)  # the next start, with the disk
    assert waiting(store, channel) == {}
    assert len(bodies(store, channel)) == 8
    assert {f"first {LONG}", f"more of the twin {LONG}"} < set(bodies(store, channel))
    assert store.verify().problems == ()
    oracle.check(store)
    digest = timeline_digest(store, channel.id)
    store.repair()
    assert timeline_digest(store, channel.id) == digest
    store.close()


def test_bytes_that_were_missing_of_what_is_archived_are_taken(
    store: LocalStore, channel: Channel, tmp_path: Path
) -> None:
    root = channel.pen.next_id()
    assert store.ingest([channel.pen.write(Post(f"root {LONG}"))]).new == 1
    edit = channel.pen.write(
        Post(f"reply {LONG}", root=root), Edit(root, root, f"edited {LONG}"), React(root, "👍")
    )
    whole, _ = decode_commit(edit)
    holed = HoledCommit(
        whole.head,
        whole.signature,
        (b"", b"", whole.operations[2]),
        tuple(map(commitment, whole.operations[:2])),
    )
    assert store.ingest([encode_commit(holed)]).new == 1
    cool(store, channel, tmp_path / "disk")
    other = channel.pen.write(Post("of today"))
    report = store.ingest([edit, other])
    assert report.refused == ()
    assert bodies(store, channel)[-1] == "of today"
    assert store.verify().problems == ()
    (tmp_path / "drawer").rename(tmp_path / "disk")
    owing.settle(store)
    assert waiting(store, channel) == {}
    assert bodies(store, channel) == [f"edited {LONG}", f"reply {LONG}", "of today"]
    assert store.verify().problems == ()
    digest = timeline_digest(store, channel.id)
    store.repair()
    assert timeline_digest(store, channel.id) == digest
    oracle.check(store)


def test_an_imported_message_that_is_away_is_erased_when_its_file_is_there(
    manager: ChannelManager, tmp_path: Path
) -> None:
    export = tmp_path / "old.jsonl"
    export.write_text(
        "".join(
            f'{{"type": "message", "channel": "old", "id": "{n}", "time": {1_500_000_000_000 + n}, "author": "u{n // 4}",'
            f' "body": "{n} {LONG}"}}\n'
            for n in range(5)
        )
    )
    manager.import_(export)
    [info] = manager.list_channels()
    ids = [one.id for one in manager.get_stored_messages(info.id)]
    manager.store.backup(tmp_path / "backup")
    (tmp_path / "disk").mkdir()
    assert manager.archive(info.id, AFTER, to=tmp_path / "disk").operations == 5
    (tmp_path / "disk").rename(tmp_path / "drawer")
    manager.store.database.blocks.forget()
    receipt = manager.erase_messages(ids[:2], "no more")
    assert (receipt.erased, receipt.owed, receipt.wished) == ((), 0, 2)
    again = manager.erase_author("jsonl:u0", reason="nor the others")
    assert (again.erased, again.wished) == ((), 4)
    assert manager.store.space().owed == 4
    assert manager.store.verify().problems == ()
    words = manager.store.recovery_phrase
    assert words is not None
    with vaults.reopened(manager.store) as store:
        assert store.space().owed == 4  # it is remembered, also by the backup
        assert store.backup(tmp_path / "backup").ok
        key = vaults.key_of(store.folder)
        LocalStore.restore(tmp_path / "backup", tmp_path / "restored", key)
        for phrase in (None, words):  # a device that is nobody's yet writes nothing
            if phrase is not None:
                LocalStore.restore(tmp_path / "backup", tmp_path / "restored", key, phrase=phrase)
            with LocalStore.open(tmp_path / "restored", key) as back:
                assert sum(not one.deleted for one in ChannelManager(back).get_stored_messages("old")) == (
                    5 if phrase is None else 1
                )
    (tmp_path / "drawer").rename(tmp_path / "disk")
    code = (
        "found = list(manager.get_stored_messages(arguments[0]))\n"
        "answer = [[one.body, one.deleted.erased, one.deleted.reason] for one in found if one.deleted]"
    )
    shown = vaults.in_forked_process(manager.store.folder, code, "old")
    assert shown == [["", True, "no more"]] * 2 + [["", True, "nor the others"]] * 2
    with vaults.opened(manager.store.folder) as store:
        late = ChannelManager(store)
        assert store.space().owed == 0
        summary = late.import_(export)
        assert (summary.messages, summary.duplicates) == (0, 5)  # nothing comes back
        assert store.verify().problems == ()
        oracle.check(store)
