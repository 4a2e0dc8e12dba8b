"""Joining a channel that has a history: the newest first, in bounded steps, one signature a log, and resumable."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from quire.core.bundle_file import Kind, write_bundle_file
from quire.core.crypto import keys
from quire.core.ids import ChannelId, log_prefix
from quire.core.operation import Post
from quire.storage import controls, log
from quire.store import arrivals, bundling, parking, placing, unbundling
from quire.store import ingest as ingest_module
from quire.testing.authors import Author, Pen
from quire.testing.people import Person, in_file, meet
from tests.people.conftest import Make, agree, sound, team_of

SAID = 16


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history of a few messages fills many bundles, and each is a transaction."""
    monkeypatch.setattr(bundling, "PART_BYTES", 1_000)
    monkeypatch.setattr(bundling, "WINDOW_COMMITS", 3)
    monkeypatch.setattr(unbundling, "BATCH_BYTES", 500)


def talked(people: Make) -> tuple[Person, Person, Person, ChannelId, bytes]:
    """Ada and Bob talked in turns, Carol was let in since, and here is the file that brings her everything."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob)
    for number in range(SAID):
        (ada, bob)[number % 2].say(team, f"{number:02}")
    meet(ada, bob)
    carol.chat.join_channel(ada.chat.create_invite(team).text())
    ada.take(carol.give())
    return ada, bob, carol, team, ada.give()


def watched(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The times of what each transaction of content is given."""
    steps: list[list[int]] = []
    really = ingest_module.take

    def take(store: Any, given: arrivals.Prepared, meanwhile: Any = None) -> Any:
        if given.is_content and given.arrivals:
            steps.append([one.head.time for one in given.arrivals])
        return really(store, given, meanwhile)

    monkeypatch.setattr(unbundling, "take", take)
    return steps


def test_the_newest_come_first_whoever_wrote_them(people: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob, carol, team, data = talked(people)
    steps = watched(monkeypatch)
    assert carol.take(data).ok
    times = [time for step in steps for time in step]
    assert len(steps) > 5
    assert times == sorted(times, reverse=True)
    assert carol.reads(team) == ada.reads(team)
    meet(ada, bob, carol)
    agree(team, ada, bob, carol)


def test_a_log_costs_one_signature_check_however_many_bundles_it_fills(
    people: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, carol, team, data = talked(people)
    checked: list[bytes] = []

    def verify(public: bytes, signature: bytes, message: bytes) -> bool:
        checked.append(signature)
        return keys.verify(public, signature, message)

    monkeypatch.setattr(placing, "verify", verify)
    carol.take(data)
    db = carol.store.database.reader
    row = carol.store.channel_row(team)
    runs = breaks = content = 0
    for of in log.logs_of(db, row.n):
        seqs = [seq for seq, _, _ in log.content_commits(db, of)]
        content += len(seqs)
        runs += bool(seqs)
        breaks += sum(second - first > 1 for first, second in itertools.pairwise(seqs))
    acts = len(controls.control_places(db, row.n))
    assert content > SAID
    assert len(checked) >= runs > 1  # each log's own among them
    assert len(checked) - acts <= runs + breaks  # a control commit between two runs may come later than both


def test_a_file_that_was_read_halfway_is_taken_up_where_it_ended(
    people: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, _, carol, team, data = talked(people)
    records = in_file(data)
    some = next(n for n, record in enumerate(records) if record.kind == Kind.KEPT) - 3
    half = carol.take(b"".join(write_bundle_file(records[:some]))[:-40])
    assert [error.rule for error in half.damaged] == ["file_truncated"]
    seen = carol.reads(team)
    assert 0 < len(seen) < SAID
    assert seen == ada.reads(team)[-len(seen) :]  # no gap in what is there
    carol.reopen()
    looked_at: list[bytes] = []
    really = arrivals._checked

    def checked(position: int, received: Any, head: Any) -> arrivals.Arrival:
        looked_at.append(received.head)
        return really(position, received, head)

    monkeypatch.setattr(arrivals, "_checked", checked)
    report = carol.take(data)
    assert (report.ok, report.new) == (True, len(looked_at))  # what was there cost no operation's decoding
    assert report.repeated > 0
    assert carol.reads(team) == ada.reads(team)
    before = carol.fingerprint()
    assert carol.take(data).new == 0
    assert carol.fingerprint() == before
    sound(carol)


def test_answers_that_come_before_what_they_answer_find_room_in_the_end(
    people: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest come first, so a long thread waits for its root, and only so much may wait."""
    ada, carol = people("ada", "carol")
    team = ada.chat.create_channel("team").id
    root = ada.say(team, "root")
    for number in range(SAID):
        ada.chat.send_message(team, f"answer {number}", thread=root)
    carol.chat.join_channel(ada.chat.create_invite(team).text())
    ada.take(carol.give())
    monkeypatch.setattr(parking, "WAITING_PER_DEVICE_MAX", 5)
    report = carol.take(ada.give())
    assert (report.ok, report.refused) == (True, [])
    assert len(carol.reads(team)) == SAID + 1
    sound(carol)


def test_how_often_a_file_is_read_is_bounded(people: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written backwards, each pass opens one epoch more; whoever wrote it so is not served for ever."""
    ada, bob = people("ada", "bob")
    team = team_of(ada, bob)
    for number in range(8):
        ada.chat.rotate_key(team)
        ada.say(team, str(number))
    backwards = list(reversed(ada.records(team)))
    monkeypatch.setattr(unbundling, "PASSES_MAX", 3)
    assert bob.take(backwards).closed > 0
    monkeypatch.setattr(unbundling, "PASSES_MAX", 16)
    assert bob.take(backwards).ok
    assert bob.reads(team)[-8:] == [str(number) for number in range(8)]
    sound(ada, bob)


def test_a_log_full_of_gaps_costs_what_is_there(people: Make) -> None:
    """A member may number their commits as they like."""
    ada, bob, carol = people("ada", "bob", "carol")
    team = team_of(ada, bob, carol)
    author = Author.of(bob.store, seed=3)
    pen = Pen(author, team, bob.graph(team).heads, time=bob.store.channel_row(team).clock)
    commits = [pen.write(Post("first"))]
    pen.seq, pen.previous = (1 << 32) - 2, bytes(32)
    commits.append(pen.write(Post("last there can be")))
    assert ada.store.ingest(commits).new == 2
    assert log.log_by_prefix(ada.store.database.reader, log_prefix(author.device.public, pen.incarnation))  # type: ignore[arg-type]
    carol.take(ada.give())
    assert carol.reads(team)[-2:] == ["first", "last there can be"]
    sound(ada, carol)
