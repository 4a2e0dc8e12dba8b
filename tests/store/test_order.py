"""The law: the same operations give the same timeline, in whatever order, grouping and repetition they come."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quire.core.limits import PAGE_MAX
from quire.core.timeline import Folded, fold
from quire.storage import log
from quire.store import creation, wallclock
from quire.store.local import LocalStore
from quire.store.versions import versions
from tests import oracle, vaults
from tests.store.histories import LATER_MS, NOW_MS, WORDS, History, groups, histories, made, peopled

TABLES = {
    "channel": "SELECT id, genesis, kind, creator, name, name_time, name_id, topic, topic_time, topic_id, clock,"
    " messages, threads, last_time, heads, role, rights, rotate_ms FROM channel ORDER BY id",
    "message": "SELECT m.id, c.id, m.time, a.key, m.flags, m.root, m.edit, m.op FROM message m"
    " JOIN author a ON a.n = m.author JOIN channel c ON c.n = m.channel ORDER BY m.id",
    "operation": "SELECT o.id, c.id, o.kind, o.target, o.time, a.key, o.void, o.previous, o.op FROM operation o"
    " JOIN author a ON a.n = o.author JOIN channel c ON c.n = o.channel ORDER BY o.id",
    "destroyed": "SELECT id, commitment, why FROM destroyed ORDER BY id",
    "erasure": "SELECT target, id, time, signer, rights, message, what FROM erasure ORDER BY target, id",
    "waiting": "SELECT id, target, due, time, signer, op FROM waiting ORDER BY id",
    "author": "SELECT key, name, bot, time, id FROM author WHERE id <> x'' ORDER BY key",
    "reaction": "SELECT r.target, r.emoji, a.key, r.time, r.id, r.people FROM reaction r"
    " JOIN author a ON a.n = r.author ORDER BY 1, 2, 3",
    "thread": "SELECT t.root, c.id, t.replies, t.participants, t.last_time, t.last_id FROM thread t"
    " JOIN channel c ON c.n = t.channel ORDER BY root",
    "thread_author": "SELECT t.root, a.key, t.replies FROM thread_author t JOIN author a ON a.n = t.author ORDER BY 1, 2",
    "contact": "SELECT identity, name, verified, time, id FROM contact ORDER BY identity",
    "device_name": "SELECT device, name, time, id FROM device_name ORDER BY device",
    "commits": "SELECT l.prefix, c.seq, c.rights, c.head FROM commits c JOIN log l ON l.n = c.log ORDER BY 1, 2",
    "control": "SELECT o.id, c.id, o.kind, o.op FROM control o JOIN channel c ON c.n = o.channel ORDER BY 1",
    "voided": "SELECT v.id, c.id, v.op FROM voided v JOIN channel c ON c.n = v.channel ORDER BY 1",
    "parked": "SELECT id, channel, device, reason, encoded FROM parked ORDER BY id",
    "log": "SELECT prefix, device, incarnation, signer, branch FROM log ORDER BY prefix",
    "epoch": "SELECT channel, id, key FROM epoch ORDER BY channel, id",
    "marker": "SELECT channel, read_time, message, time, id FROM marker ORDER BY channel",
    "bookmark": "SELECT message, channel, standing, time, id FROM bookmark ORDER BY message",
}


FAST, SAMPLE = 12, 50  # histories: of the fast suite, of CI


def sampled(examples: int) -> settings:
    """Some histories; a failure is not shrunk, which would take minutes."""
    return settings(
        max_examples=examples,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


class World:
    """Copies of one prepared vault, and a clock that the test sets."""

    def __init__(self, template: Path) -> None:
        self.template = template
        self.now_ms = NOW_MS
        self._made = 0

    def vault(self) -> LocalStore:
        self._made += 1
        folder = self.template.with_name(f"copy-{self._made}")
        shutil.copytree(self.template, folder)
        return self.open(folder)

    def open(self, folder: Path) -> LocalStore:
        return LocalStore.open(folder, vaults.key_of(self.template))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("order")
    world = World(folder / "template")
    with pytest.MonkeyPatch.context() as patch:
        for module in (wallclock, creation):
            patch.setattr(module, "now_ms", lambda: world.now_ms)
        vaults.fresh_store(folder, "template").close()
        yield world


def dump(store: LocalStore) -> dict[str, Any]:
    """All views, by ids; and what a search finds. Not what this copy wrote itself: each erases what came too late to be erased
    with its message, in a log of its own.
    """
    db = store.database.reader
    own = {row.prefix for row in log.logs(db) if row.own == log.OPEN}
    found: dict[str, Any] = {
        table: [row for row in db.execute(sql).fetchall() if own.isdisjoint(one[:10] for one in row if isinstance(one, bytes))]
        for table, sql in TABLES.items()
    }  # fmt: skip
    for word in (*WORDS, "edited", "1"):
        found[word] = sorted(hit.message.id for hit in store.search(word, limit=PAGE_MAX).hits)
    return found


def check_against_fold(store: LocalStore, history: History, now_ms: int) -> None:
    """The vault's rows of the channel are what the pure rules say."""
    folded = fold(history.placed(now_ms))
    channel = store.channel_row(history.channel)
    messages = list(store.get_channel_messages(history.channel))
    assert [(m.id, m.root) for m in messages] == [(placed.id, root) for placed, root in folded.messages]
    for message in messages:
        shown = folded.shown[message.id]
        assert message.pinned == shown.pinned
        assert message.concurrent_edits == shown.concurrent
        assert (message.deleted is not None) == (shown.deleted is not None)
        kept = [one for one in versions(store.reader, message.id) if one.number == 1 or not one.erased]
        assert len(kept) == (0 if shown.deleted else shown.edits + 1)
        assert (message.deleted is not None and message.deleted.erased) == (shown.erased is not None)
        assert _edit_shown(store, message.id) == shown.edit
    check_counters(store, folded, channel)
    waiting = store.database.reader.execute(
        "SELECT id FROM waiting WHERE due IS NULL AND channel = ?", (channel.n,)
    )
    assert {id for (id,) in waiting} == folded.waiting
    assert channel.topic == folded.topic
    assert channel.name in (folded.name, "general")


def check_counters(store: LocalStore, folded: Folded, channel: log.ChannelRow) -> None:
    """Counts, threads and reactions of the channel."""
    assert channel.messages == sum(shown.deleted is None for shown in folded.shown.values())
    for placed, _ in folded.messages:
        message = store.get_message(placed.id)  # type: ignore[arg-type]
        standing: dict[str, int] = {}
        for (emoji, _), react in folded.reactions.get(placed.id, {}).items():
            standing[emoji] = standing.get(emoji, 0) + (getattr(react.operation, "unknown", 0) or 1)
        assert {reaction.emoji: reaction.count for reaction in message.reactions} == standing
        replies = folded.threads.get(placed.id, [])
        if message.thread is None:
            assert not replies
        else:
            assert (message.thread.replies, message.thread.last_reply) == (
                len(replies),
                replies[-1] if replies else None,
            )


def _edit_shown(store: LocalStore, id: bytes) -> bytes | None:
    row: Any = store.database.reader.execute("SELECT edit FROM message WHERE id = ?", (id,)).fetchone()
    return row[0]  # type: ignore[no-any-return]


def deliver(store: LocalStore, commits: list[bytes], random: random.Random) -> None:
    """All commits, shuffled, some twice, in groups of any size; what comes before its channel is sent again."""
    order = commits + random.sample(commits, random.randint(0, len(commits)))
    random.shuffle(order)
    while order:
        size = random.randint(1, len(order))
        group, order = order[:size], order[size:]
        report = store.ingest(group)
        assert {refused.error.rule for refused in report.refused} <= {"channel_unknown"}
        again = [group[refused.position] for refused in report.refused]
        if again:
            order.insert(random.randint(0, len(order)), commits[0])
            order += again


def check_any_order(world: World, script: list[Any], random: random.Random) -> None:
    world.now_ms = NOW_MS
    first, second = world.vault(), world.vault()
    history = made(script, first)
    report = first.ingest(history.commits)
    assert (report.new, report.refused) == (len(history.commits), ())
    deliver(second, history.commits, random)
    assert dump(first) == dump(second)
    check_against_fold(second, history, NOW_MS)
    for store in (first, second):
        found = store.verify()
        assert found.ok, found.problems
    world.now_ms = LATER_MS  # what was held is released: at the next write, and at the next opening
    first.ingest(history.commits[:1])
    second.close()
    second = world.open(second.folder)
    assert not dump(second)["waiting"] or all(due is None for _, _, due, *_ in dump(second)["waiting"])
    assert dump(first) == dump(second)
    check_against_fold(first, history, LATER_MS)
    before = dump(second)
    found = second.repair()
    assert found.ok, found.problems
    assert dump(second) == before
    first.close()
    second.close()
    shutil.rmtree(first.folder)
    shutil.rmtree(second.folder)


@sampled(FAST)
@given(script=histories, random=st.randoms(use_true_random=False))
def test_any_order_grouping_and_repetition_gives_one_timeline(
    world: World, script: list[Any], random: random.Random
) -> None:
    check_any_order(world, script, random)


@pytest.mark.slow
@pytest.mark.bounded
@sampled(SAMPLE)
@given(script=histories, random=st.randoms(use_true_random=False))
def test_the_same_in_a_sample(world: World, script: list[Any], random: random.Random) -> None:
    check_any_order(world, script, random)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=histories, random=st.randoms(use_true_random=False))
def test_the_same_at_length(world: World, script: list[Any], random: random.Random) -> None:
    check_any_order(world, script, random)


def check_any_order_of_people(world: World, script: list[Any], random: random.Random) -> None:
    world.now_ms = NOW_MS
    commits = peopled(script)
    first, second = world.vault(), world.vault()
    while first.ingest(commits).new:
        pass
    order = commits + random.sample(commits, random.randint(0, len(commits)))
    random.shuffle(order)
    while order:
        size = random.randint(1, len(order))
        second.ingest(order[:size])
        order = order[size:]
    while second.ingest(commits).new:  # what came before its channel, or before what it continues
        pass
    assert dump(first) == dump(second)
    for store in (first, second):
        oracle.check(store)
        found = store.verify()
        assert found.ok, found.problems
    before = dump(second)
    found = second.repair()
    assert found.ok, found.problems
    assert dump(second) == before
    for store in (first, second):
        store.close()
        shutil.rmtree(store.folder)


@sampled(FAST)
@given(script=groups, random=st.randoms(use_true_random=False))
def test_people_in_any_order_give_one_timeline_and_the_same_rights(
    world: World, script: list[Any], random: random.Random
) -> None:
    check_any_order_of_people(world, script, random)


@pytest.mark.slow
@pytest.mark.bounded
@sampled(SAMPLE)
@given(script=groups, random=st.randoms(use_true_random=False))
def test_people_in_a_sample(world: World, script: list[Any], random: random.Random) -> None:
    check_any_order_of_people(world, script, random)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=groups, random=st.randoms(use_true_random=False))
def test_people_at_length(world: World, script: list[Any], random: random.Random) -> None:
    check_any_order_of_people(world, script, random)
