"""What is said to be here of each log is what is here, whatever came in whatever order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from quire.channels.syncing import Syncing
from quire.core.heights import spans_of
from quire.storage import heights, log
from quire.testing.people import Person, meet


def commits_of(person: Person, channel: bytes) -> list[bytes]:
    from quire.store.bundling import _encoded

    db = person.store.database.reader
    row = log.channel_by_id(db, channel)
    assert row is not None
    return [
        _encoded(db, of.prefix + seq.to_bytes(4, "big"))
        for of in log.logs_of(db, row.n)
        for seq, *_ in log.commits(db, of.n)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_gaps_are_those_of_the_commits_after_every_batch(tmp_path: Path, seed: int) -> None:
    ada, bob = Person.create(tmp_path, "ada"), Person.create(tmp_path, "bob")
    team = ada.chat.create_channel("team").id
    bob.chat.join_channel(ada.chat.create_invite(team).text())
    meet(ada, bob)
    for number in range(24):
        ada.chat.send_message(team, f"message {number}")
    commits, rng = commits_of(ada, team), random.Random(seed)
    rng.shuffle(commits)
    seen_gaps = False
    while commits:
        some = [commits.pop() for _ in range(min(len(commits), rng.randint(1, 5)))]
        bob.store.ingest(some + some[:1])
        bob.reopen()
        db = bob.store.database.reader
        for of in log.logs(db):
            assert heights.gaps(db, of.n) == heights.counted_gaps(db, of.n)
            assert heights.here(db, of.n) == spans_of(seq for seq, *_ in log.commits(db, of.n))
            seen_gaps = seen_gaps or bool(heights.gaps(db, of.n))
    assert seen_gaps
    assert Syncing(bob.chat).offers()[team] == Syncing(ada.chat).offers()[team]
    assert bob.store.verify().ok


def test_verify_names_gaps_that_are_none_and_repair_counts_them_anew(tmp_path: Path) -> None:
    ada = Person.create(tmp_path, "ada")
    team = ada.chat.create_channel("team").id
    ada.chat.send_message(team, "hello")
    with ada.store.database.transaction() as db:
        of = log.logs_of(db, ada.store.channel_row(team).n)[0]
        db.execute("INSERT INTO gap(log, first, last) VALUES(?, 1, 1)", (of.n,))
    assert "gaps" in {one.what for one in ada.store.verify().problems}
    assert ada.store.repair().ok
