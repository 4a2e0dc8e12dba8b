"""An erasure reaches what waits whole for a control commit, whichever of the two comes first."""

from __future__ import annotations

import pytest

from quire.core.operation import Erase, Post, Remains
from quire.store.local import LocalStore
from quire.store.scanning import scan
from quire.testing.authors import Author, Pen
from tests import oracle, vaults

SECRET = "a zanzibarquux that nobody is to read"


@pytest.mark.parametrize("first", ["erasure", "commit"])
@pytest.mark.parametrize("own", [False, True])
def test_what_waits_whole_is_erased_where_it_waits(store: LocalStore, first: str, own: bool) -> None:
    """By a moderator, or by its author, whose device is known by another log."""
    ada, bob = Author(seed=1), Author(seed=2)
    channel = ada.channel()
    admitted = channel.pen.admit(bob)
    eraser = bob.pen(channel) if own else Pen(ada, channel.id, channel.pen.control_heads)
    promise = channel.pen.admit(Author(seed=3))  # what bob's commit names, and is not here
    later = bob.pen(channel)
    said = later.write(Post("a text that stays"), Post(SECRET))
    eraser.time = later.time + 10
    erased = eraser.write(Erase((Remains(later.id_of(1, 1), None, None),), ()))
    waiting = [said, erased] if first == "commit" else [erased, said]
    store.ingest([channel.founding, admitted])
    for one in waiting:
        assert not store.ingest([one]).refused
    assert scan(store, [SECRET]).ok
    again = vaults.reopened(store)
    assert not again.ingest([promise]).refused
    assert [m.body for m in again.get_channel_messages(channel.id)][-2:] == ["a text that stays", ""]
    assert again.ingest([said]).repeated == 1  # whole, from whom it did not reach: it is not taken again
    assert scan(again, [SECRET]).ok
    assert again.verify().problems == ()
    oracle.check(again)
    again.close()
