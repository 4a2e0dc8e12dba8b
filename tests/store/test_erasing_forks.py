"""An erasure and a fork at what it names: everybody agrees, in whatever order things come. What it costs is said, too."""

from __future__ import annotations

from itertools import permutations

import pytest

from quire.core.commit import commit_id, decode_commit
from quire.core.operation import Erase, Post, Remains
from quire.testing.authors import Author, Pen
from tests import oracle, vaults

ERASED, OTHER = "what a moderator erased", "what stands on the other side"


def id_of(encoded: bytes) -> bytes:
    return commit_id(decode_commit(encoded)[0].head)


@pytest.mark.parametrize("moves", [False, True])
def test_a_fork_at_what_is_erased_comes_to_the_same_everywhere(
    tmp_path_factory: pytest.TempPathFactory, moves: bool
) -> None:
    """The message that is erased keeps its place, or has to make room for that of the other side."""
    ada, bob = Author(seed=1), Author(seed=2)
    channel = ada.channel()
    admitted = channel.pen.admit(bob)
    begins = bob.pen(channel)
    common = begins.write(Post("common"))
    sides: list[tuple[Pen, bytes]] = []
    for word in (ERASED, OTHER):
        pen = begins.fork()
        said = pen.write(Post(word))
        while word == OTHER and (id_of(said) < id_of(sides[0][1])) is not moves:
            pen = begins.fork()
            said = pen.write(Post(word))  # another salt
        sides.append((pen, said))
    (pen, first), (_, second) = sides
    eraser = Pen(ada, channel.id, channel.pen.control_heads)
    eraser.time = pen.time + 10
    erasure = eraser.write(Erase((Remains(pen.id_of(pen.seq, 0)),)))
    found = set()
    for order in permutations([first, second, erasure]):
        store = vaults.fresh_store(tmp_path_factory.mktemp("vault"))
        store.ingest([channel.founding, admitted, common])
        for one in (*order, first, second):
            assert not store.ingest([one]).refused
        assert store.verify().problems == ()
        oracle.check(store)
        found.add(tuple(sorted(m.body for m in store.get_channel_messages(channel.id))))
        store.close()
    # An erasure names a place, and which side has it a fork decides (docs/decisions/0012-erasure.md, Not done).
    assert found == {tuple(sorted(["", "common", ERASED if moves else OTHER]))}
