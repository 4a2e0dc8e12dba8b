"""Commits of several people: by what right they count, and what becomes of them when that right goes or comes back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.core.commit import Commit, decode_commit, encode_commit
from quire.core.control import Policy, Report, Role
from quire.core.limits import AHEAD_MS_MAX
from quire.core.operation import Edit, Name, Pin, Post, Profile, React
from quire.storage import backlog, log
from quire.storage.meta import get_meta
from quire.storage.pending import PARKED_DUE
from quire.store import parking, wallclock
from quire.store.ingest import IngestReport
from quire.store.local import LocalStore
from quire.testing.authors import Author, Channel, Pen
from quire.testing.people import Person
from tests import oracle, vaults
from tests.store.test_order import dump


@pytest.fixture
def ada() -> Author:
    return Author(seed=1)


@pytest.fixture
def bob() -> Author:
    return Author(seed=2)


@pytest.fixture
def channel(ada: Author) -> Channel:
    return ada.channel()


@pytest.fixture
def second(tmp_path: Path) -> Iterator[LocalStore]:
    """Another vault, of somebody else."""
    with vaults.fresh_store(tmp_path, "second") as store:
        yield store


def rules(report: IngestReport) -> list[str]:
    return [refused.error.rule for refused in report.refused]


def bodies(store: LocalStore, channel: Channel) -> list[str]:
    return [message.body for message in store.get_channel_messages(channel.id)]


def rights(store: LocalStore) -> list[tuple[bytes, int, int]]:
    """(prefix, seq, rights) of all commits."""
    sql = "SELECT l.prefix, c.seq, c.rights FROM commits c JOIN log l ON l.n = c.log ORDER BY 1, 2"
    found: Any = store.database.reader.execute(sql).fetchall()
    return list(found)


def timeline(store: LocalStore, channel: Channel) -> object:
    """What readers of the channel see, and by what right."""
    own = store.channel_row(channel.id)
    prefixes = {row.prefix for row in log.logs_of(store.database.reader, own.n)}
    seen = [one for one in rights(store) if one[0] in prefixes]
    return list(store.get_channel_messages(channel.id)), seen, own.heads, own.messages, own.name, own.clock


def check_whole(store: LocalStore) -> None:
    """It verifies, an independent look agrees, and made anew it is the same."""
    report = store.verify()
    assert report.ok, report.problems
    oracle.check(store)
    before = dump(store)
    repaired = store.repair()
    assert repaired.ok, repaired.problems
    assert dump(store) == before


# Rights


def test_a_member_writes_with_what_the_role_may(
    store: LocalStore, ada: Author, bob: Author, channel: Channel
) -> None:
    commits = [channel.founding, channel.pen.admit(bob)]
    theirs = bob.pen(channel)
    said = theirs.next_id()
    commits += [theirs.write(Post("hello")), theirs.write(Pin(said), Name("mine now"))]
    assert rules(store.ingest(commits)) == []
    message = store.get_message(said)
    assert (message.body, message.author.id, message.pinned) == ("hello", bob.key, True)
    assert store.channel_row(channel.id).name == "general"  # naming is for moderators
    check_whole(store)


@pytest.mark.parametrize("when", ["never", "removed", "removed and let in again"])
def test_who_is_no_member_may_not_write(when: str, store: LocalStore, bob: Author, channel: Channel) -> None:
    pen = channel.pen
    commits = [channel.founding]
    if when != "never":
        commits += [pen.admit(bob), pen.remove(bob)]
    report = store.ingest(commits)
    assert report.refused == ()
    late = bob.pen(channel)
    rule = "device_unknown" if when == "never" else "author_not_member"
    assert rules(store.ingest([late.write(Post("let me in"))])) == [rule]
    if when == "removed and let in again":
        store.ingest([pen.admit(bob)])
        assert store.ingest([bob.pen(channel).write(Post("here again"))]).new == 1
        assert bodies(store, channel) == ["here again"]
    else:
        assert bodies(store, channel) == []
    check_whole(store)


# Removal


def full_of(theirs: Pen, ours: Pen) -> list[bytes]:
    """Something of everything by one person on the words of another, and the other way round."""
    hers = ours.next_id()
    first = [ours.write(Post("root"), Post("plain zebra"))]
    plain = ours.id_of(ours.seq, 1)
    mine = theirs.next_id()
    return [
        *first,
        theirs.write(Post("my root"), Profile("", "", "Bob the second")),
        theirs.write(Post("reply by bob giraffe", hers), React(plain, "👍"), Pin(hers)),
        ours.write(Post("reply to bob", mine), React(mine, "🎉"), React(theirs.id_of(theirs.seq, 0), "👍")),
        ours.write(Edit(hers, hers, "root, edited"), React(plain, "👍")),
    ]  # fmt: skip


def test_a_late_removal_takes_everything_out_of_every_view(
    store: LocalStore, second: LocalStore, bob: Author, channel: Channel
) -> None:
    commits = [channel.founding, channel.pen.admit(bob)]
    ours, theirs = channel.pen.fork(), bob.pen(channel)
    commits += full_of(theirs, channel.pen)
    removal = channel.pen.remove(bob)
    assert rules(store.ingest(commits)) == []
    assert sorted(bodies(store, channel)) == sorted(
        ["root, edited", "plain zebra", "my root", "reply by bob giraffe", "reply to bob"]
    )
    check_whole(store)
    assert store.ingest([removal]).new == 1
    assert sorted(bodies(store, channel)) == ["plain zebra", "root, edited"]
    [plain] = store.search("zebra").hits
    assert [(r.emoji, r.count) for r in plain.message.reactions] == [("👍", 1)]
    assert not store.search("giraffe").hits
    messages = {m.body: m for m in store.get_channel_messages(channel.id)}
    assert not messages["root, edited"].pinned
    assert messages["root, edited"].thread is None
    names = [name for (name,) in store.database.reader.execute("SELECT name FROM author")]
    assert "Bob the second" not in names
    check_whole(store)
    second.ingest([channel.founding])
    second.ingest([*reversed(commits), removal])
    second.ingest(commits)
    assert timeline(second, channel) == timeline(store, channel)
    check_whole(second)
    del ours


def test_a_removal_spares_what_its_author_had_seen(store: LocalStore, bob: Author, channel: Channel) -> None:
    store.ingest([channel.founding, channel.pen.admit(bob)])
    theirs = bob.pen(channel)
    written = [theirs.write(Post(str(n))) for n in range(4)]
    store.ingest(written[:3])
    assert store.ingest([channel.pen.remove(bob, theirs.cut(2))]).new == 1
    assert bodies(store, channel) == ["0", "1"]
    report = store.ingest([written[3]])  # kept aside: the removal may turn out void
    assert (report.new, report.refused) == (1, ())
    assert bodies(store, channel) == ["0", "1"]
    assert [r for p, _, r in rights(store) if p == theirs.prefix] == [1 | 2, 1 | 2, 0, 0]
    check_whole(store)


def test_what_a_void_removal_took_comes_back(
    store: LocalStore, second: LocalStore, ada: Author, bob: Author, channel: Channel
) -> None:
    """A junior admin removes somebody; the senior had removed the admin, not knowing it."""
    eve = Author(seed=3)
    pen = channel.pen
    commits = [channel.founding, pen.admit(bob), pen.admit(eve, Role.ADMIN)]
    theirs, hers = bob.pen(channel), eve.pen(channel)
    commits += full_of(theirs, hers)
    coup = hers.remove(bob)
    store.ingest([*commits, coup])
    assert "my root" not in bodies(store, channel)
    late = theirs.write(Post("said later"))
    store.ingest([late])
    check_whole(store)
    justice = pen.remove(eve, hers.cut(3))
    store.ingest([justice])
    assert {"my root", "reply by bob giraffe", "said later"} <= set(bodies(store, channel))
    assert store.search("giraffe").hits
    check_whole(store)
    second.ingest([channel.founding])
    second.ingest([late, justice, coup, *reversed(commits)])
    assert timeline(second, channel) == timeline(store, channel)
    check_whole(second)


def test_a_lowered_role_takes_only_what_it_may_not_do(
    store: LocalStore, bob: Author, channel: Channel
) -> None:
    store.ingest([channel.founding, channel.pen.admit(bob, Role.MODERATOR)])
    theirs = bob.pen(channel)
    hers = channel.pen.next_id()
    store.ingest([channel.pen.write(Post("by the owner"))])
    store.ingest([theirs.write(Name("renamed"), Post("words"), React(hers, "👍"))])
    assert store.channel_row(channel.id).name == "renamed"
    store.ingest([channel.pen.set_role(bob, Role.MEMBER)])
    assert store.channel_row(channel.id).name == "general"
    assert sorted(bodies(store, channel)) == ["by the owner", "words"]
    check_whole(store)


# Control commits that come out of order


@pytest.mark.parametrize("order", list(itertools.permutations(range(1, 5))))
def test_commits_wait_for_the_control_commits_that_they_name(
    order: Sequence[int], store: LocalStore, bob: Author, channel: Channel
) -> None:
    pen = channel.pen
    admitted = pen.admit(bob, Role.ADMIN)
    theirs = bob.pen(channel)
    carol = Author(seed=4)
    commits = [
        channel.founding,
        admitted,
        theirs.admit(carol),
        carol_writes(carol, theirs),
        theirs.write(Post("b")),
    ]
    store.ingest(commits[:1])
    new = [store.ingest([commits[n]]) for n in order]
    assert all(not report.refused for report in new)
    assert sum(report.parked for report in new) <= 3
    assert bodies(store, channel) == ["b", "c"]
    assert backlog.parked_counts(store.database.reader, bob.device.public, channel.id) == (0, 0, 0)
    check_whole(store)


def carol_writes(carol: Author, inviter: Pen) -> bytes:
    pen = Pen(carol, inviter.channel, inviter.control_heads, time=inviter.time + 1, pasts=inviter.pasts)
    return pen.write(Post("c"))


def test_what_is_parked_survives_a_restart_and_is_here_already(
    store: LocalStore, bob: Author, channel: Channel
) -> None:
    admitted = channel.pen.admit(bob)
    said = bob.pen(channel).write(Post("early"))
    assert store.ingest([channel.founding, said]).parked == 1
    assert store.ingest([said]).repeated == 1
    check_whole(store)
    store = vaults.reopened(store)
    report = store.ingest([admitted])
    assert (report.new, report.parked) == (1, 0)
    assert bodies(store, channel) == ["early"]
    check_whole(store)
    store.close()


def test_what_is_parked_is_bounded(
    store: LocalStore, bob: Author, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "PARKED_PER_DEVICE_MAX", 2)
    monkeypatch.setattr(parking, "PARKED_PER_CHANNEL_MAX", 3)
    admitted = channel.pen.admit(bob)
    theirs = bob.pen(channel)
    early = [theirs.write(Post(str(n))) for n in range(3)]
    report = store.ingest([channel.founding, *early])
    assert (report.parked, rules(report)) == (2, ["too_many_waiting"])
    others = [Pen(Author(seed=n), channel.id, (bytes(32),)).write(Post("x")) for n in (7, 8)]
    report = store.ingest(others)  # whose devices cost nothing
    assert (report.parked, rules(report)) == (1, ["too_many_waiting"])
    assert store.ingest([admitted]).new == 1
    assert bodies(store, channel) == ["1", "2"]
    assert store.ingest(early).new == 1
    monkeypatch.setattr(parking, "PARKED_BYTES_MAX", 1_000)
    report = store.ingest([Pen(ada_like(bob), channel.id, (bytes(32),)).write(Post("y" * 900))])
    assert rules(report) == ["too_many_waiting"]


def ada_like(author: Author) -> Author:
    return Author(seed=12, device=author.device)


def test_a_control_commit_from_the_future_waits_for_its_time(
    store: LocalStore, bob: Author, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    future_ms = wallclock.now_ms() + 86_400_000
    store.ingest([channel.founding])
    others = channel.pen.fork()
    assert store.ingest([channel.pen.control(Report(bytes(32)), time_ms=future_ms)]).parked == 1
    assert store.channel_row(channel.id).clock < future_ms << 16
    check_whole(store)
    store.ingest([others.fork().admit(bob)])  # it stays where it is
    assert len(backlog.parked_ids(store.database.reader, channel.id)) == 1
    monkeypatch.setattr(wallclock, "now_ms", lambda: future_ms)
    said = bob.pen(channel)
    store.ingest([Pen(bob, channel.id, (channel.genesis,)).write(Post("whatever comes"))])
    assert backlog.parked_ids(store.database.reader, channel.id) == []
    del said
    check_whole(store)


def test_what_waited_for_its_time_is_taken_without_anybody_sending_anything(
    store: LocalStore, bob: Author, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next start of the program; or at the next write, wherever it goes."""
    future_ms = wallclock.now_ms() + 86_400_000
    store.ingest([channel.founding])
    pen = channel.pen
    first = pen.control(Policy("rotation", 3_600_000), time_ms=future_ms)
    after_first = pen.previous
    second = pen.control(Policy("rotation", 7_200_000), time_ms=future_ms + 3_600_000)
    assert store.ingest([second]).parked == 1  # first for the one that it names, then for its time
    assert store.ingest([first]).parked == 1
    monkeypatch.setattr(wallclock, "now_ms", lambda: future_ms - AHEAD_MS_MAX + 1)
    store = vaults.reopened(store)
    assert len(backlog.parked_ids(store.database.reader, channel.id)) == 1
    assert store.channel_row(channel.id).heads == after_first
    check_whole(store)
    monkeypatch.setattr(wallclock, "now_ms", lambda: future_ms + 3_600_000)
    ChannelManager(store).create_channel("elsewhere")
    assert backlog.parked_ids(store.database.reader, channel.id) == []
    assert store.channel_row(channel.id).heads == pen.previous
    assert get_meta(store.database.reader, PARKED_DUE) is None
    check_whole(store)
    store.close()


# Forks


def sides(channel: Channel, author: Author, words: Sequence[str] = ("here", "there")) -> list[list[bytes]]:
    """Two copies of one log that each go on by themselves after a common beginning."""
    here = author.pen(channel)
    common = here.write(Post("common"), Name("a name"))
    there = here.fork()
    return [[common]] + [
        [pen.write(Post(word)), pen.write(Post(f"{word} more", pen.id_of(pen.seq, 0)), Post(f"{word} last"))]
        for pen, word in zip((here, there), words, strict=True)
    ]


@pytest.mark.parametrize("words", [("here", "there"), ("one", "two"), ("x", "y")])
def test_a_fork_keeps_both_sides_whichever_came_first(
    words: tuple[str, str], store: LocalStore, second: LocalStore, ada: Author, channel: Channel
) -> None:
    common, here, there = sides(channel, ada, words)
    store.ingest([channel.founding, *common, *here])
    second.ingest([channel.founding, *common, *there])
    assert store.ingest(there).new == 2
    assert second.ingest(here).new == 2
    assert sorted(bodies(store, channel)) == sorted(
        ["common", *(f"{word}{end}" for word in words for end in ("", " more", " last"))]
    )
    assert timeline(store, channel) == timeline(second, channel)
    for vault in (store, second):
        check_whole(vault)
        db = vault.database.reader
        stored = {log.get_commit(db, row.n, 2) for row in log.logs(db) if row.device == ada.device.public}
        proof = [decode_commit(side[0])[0] for side in (here, there)]
        assert stored >= {(one.head, one.signature) for one in proof}
        assert vault.ingest([*common, *here, *there]).repeated == 5


def test_both_sides_of_a_fork_in_one_batch(
    store: LocalStore, second: LocalStore, ada: Author, channel: Channel
) -> None:
    common, here, there = sides(channel, ada)
    assert store.ingest([channel.founding, *common, *here, *there]).new == 6
    assert second.ingest([channel.founding, *common, *there, *here]).new == 6
    assert timeline(store, channel) == timeline(second, channel)
    check_whole(store)


def test_a_log_that_forks_thrice(
    store: LocalStore, second: LocalStore, ada: Author, channel: Channel
) -> None:
    pen = ada.pen(channel)
    copies = [pen, pen.fork(), pen.fork()]
    commits = [[copy.write(Post(f"{n}")), copy.write(Post(f"{n} on"))] for n, copy in enumerate(copies)]
    store.ingest([channel.founding])
    second.ingest([channel.founding])
    for one in commits:
        assert store.ingest(one).refused == ()
    for one in reversed(commits):
        assert second.ingest(one).refused == ()
    assert sorted(bodies(store, channel)) == ["0", "0 on", "1", "1 on", "2", "2 on"]
    assert timeline(store, channel) == timeline(second, channel)
    check_whole(store)


def test_a_fork_that_is_not_signed_is_none(store: LocalStore, ada: Author, channel: Channel) -> None:
    """What came by a run's signature is no proof; and nobody makes another's log fork."""
    common, here, there = sides(channel, ada)
    store.ingest([channel.founding, *common, *here])
    original, _ = decode_commit(there[0])
    forged = encode_commit(Commit(original.head, bytes(64), original.operations))
    assert rules(store.ingest([forged])) == ["commit_signature"]
    assert len(bodies(store, channel)) == 4


def test_a_fork_voids_the_control_commits_from_there_on(
    store: LocalStore, second: LocalStore, ada: Author, bob: Author, channel: Channel
) -> None:
    carol, dave = Author(seed=4), Author(seed=5)
    start = [channel.founding, channel.pen.admit(bob, Role.ADMIN)]
    theirs = bob.pen(channel)
    start.append(theirs.write(Post("before")))
    other = theirs.fork()
    here, there = theirs.admit(carol), other.admit(dave)
    hers = Pen(carol, channel.id, theirs.control_heads, time=theirs.time).write(Post("carol was let in"))
    store.ingest([*start, here, hers])
    assert bodies(store, channel) == ["before", "carol was let in"]
    assert store.ingest([there]).new == 1
    assert bodies(store, channel) == ["before"]
    check_whole(store)
    second.ingest([*start, there])
    second.ingest([hers, here])
    assert timeline(store, channel) == timeline(second, channel)
    check_whole(second)


def test_a_content_fork_that_another_process_saw_counts_here_too(
    store: LocalStore, ada: Author, bob: Author, channel: Channel
) -> None:
    carol = Author(seed=4)
    store.ingest([channel.founding, channel.pen.admit(bob, Role.ADMIN)])
    theirs = bob.pen(channel)
    twin = theirs.fork()
    store.ingest([theirs.write(Post("here"))])
    other = vaults.opened(store.folder)
    other.ingest([twin.write(Post("there"))])
    other.close()
    store.ingest([theirs.admit(carol)])
    hers = Pen(carol, channel.id, theirs.control_heads, time=theirs.time)
    store.ingest([hers.write(Post("by a void grant"))])
    assert sorted(bodies(store, channel)) == ["here", "there"]
    check_whole(store)


def test_our_own_log_forked_by_a_copy_of_this_vault(store: LocalStore) -> None:
    manager = ChannelManager(store)
    info = manager.create_channel("talk")
    manager.send_message(info.id, "one")
    row = store.channel_row(info.id)
    own = log.own_log(store.database.reader, row.n)
    assert own is not None
    for number in range(4):  # the lesser id decides whose side stays
        twin = Author.of(store, seed=number)
        pen = Pen(twin, info.id, (row.genesis,), seq=1, previous=row.genesis)
        pen.incarnation, pen.prefix = own.incarnation, own.prefix
        assert store.ingest([pen.write(Post(f"copy {number}"))]).new == 1
        said = manager.send_message(info.id, f"after {number}")
        assert said.id[:10] != own.prefix
    assert len(list(manager.get_stored_messages(info.id))) == 9
    check_whole(store)


def test_a_row_that_was_read_before_somebody_else_wrote_is_no_damage(tmp_path: Path) -> None:
    """One thread reads a channel's row, another changes who is in it, the first goes on: two syncs at once did."""
    ada = Person.create(tmp_path, "ada")
    team = ada.chat.create_channel("team").id
    before = ada.store.channel_row(team)
    ada.chat.rotate_key(team)
    people, db = ada.store.ledger.people, ada.store.database.reader
    assert people.graph(db, before).heads == ada.graph(team).heads
    people.forget()
    assert people.graph(db, before).heads == ada.graph(team).heads != before.control_heads
    assert not db.in_transaction
