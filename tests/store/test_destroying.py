"""What retention lets go on one device: out of every view, its bytes gone, its commits still whole to verify and to sync."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from quire.channels.manager import ChannelManager
from quire.core.ids import MessageId
from quire.errors import NotFoundError
from quire.storage import heights, log
from quire.storage.erasures import LOCAL, POLICY
from quire.store.erasing import destroy
from quire.store.local import LocalStore
from quire.store.wallclock import now_ms
from tests import oracle

NEEDLE = "zanzibarquux"


def let_go(store: LocalStore, ids: Sequence[MessageId], why: int = POLICY) -> int:
    def work(db: object) -> int:
        channel = log.channels(store.database.reader)[0]
        return destroy(store.database.writer, store.ledger.applier, channel, ids, why, now_ms())

    freed = store.ledger.run(work)
    store.database.checkpoint()
    return freed


def raw(store: LocalStore) -> bytes:
    """All pages of the file as they are before they are encrypted, unused ones too."""
    return store.database.reader.serialize("main")


@pytest.mark.parametrize("why", [POLICY, LOCAL])
def test_what_is_let_go_leaves_nothing_but_commitments(
    store: LocalStore, manager: ChannelManager, why: int
) -> None:
    manager.create_channel("general")
    gone = manager.send_message("general", f"{NEEDLE} one")
    manager.edit_message(gone.id, f"{NEEDLE} two")
    manager.add_reaction(gone.id, "👍")
    manager.pin(gone.id)
    stays = manager.send_message("general", "stays")
    assert NEEDLE.encode() in raw(store)
    before = [heights.height(store.database.reader, of) for of in log.logs(store.database.reader)]
    assert let_go(store, [gone.id], why) > len(NEEDLE) * 2
    assert [one.id for one in manager.get_stored_messages("general")] == [stays.id]
    assert manager.search(NEEDLE).hits == ()
    assert NEEDLE.encode() not in raw(store)
    assert [heights.height(store.database.reader, of) for of in log.logs(store.database.reader)] == before
    assert store.verify().problems == ()
    oracle.check(store)
    assert store.repair().problems == ()
    assert [one.id for one in manager.get_stored_messages("general")] == [stays.id]
    with pytest.raises(NotFoundError):
        manager.get_message(gone.id)


def test_a_thread_whose_root_is_let_go_stands_as_messages(store: LocalStore, manager: ChannelManager) -> None:
    manager.create_channel("general")
    root = manager.send_message("general", "root")
    reply = manager.send_message("general", "reply", thread=root.id)
    other = manager.send_message("general", "other", thread=root.id)
    let_go(store, [root.id, other.id])
    left = manager.get_message(reply.id)
    assert (left.root, left.body) == (None, "reply")
    assert manager.get_channel("general").threads == 0
    assert store.verify().problems == ()
    assert store.repair().problems == ()
    assert manager.get_message(reply.id) == left


def test_a_reply_that_is_let_go_is_counted_no_more(store: LocalStore, manager: ChannelManager) -> None:
    manager.create_channel("general")
    root = manager.send_message("general", "root")
    first = manager.send_message("general", "first", thread=root.id)
    second = manager.send_message("general", "second", thread=root.id)
    let_go(store, [second.id])
    thread = manager.get_thread_info(root.id)
    assert (thread.replies, thread.last_reply) == (1, first.id)
    let_go(store, [first.id])
    assert manager.get_message(root.id).thread is None
    assert store.verify().problems == ()
