"""The benchmarks, tiny: every part measures, and all contenders hold and find the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench import __main__ as bench
from bench import building, data, memory, opening, people, reading, report, sending, syncing, targets
from bench.measuring import FLOOR, OURS, SQLITE, Row
from bench.ours import KINDS

SIZE = 3_000


@pytest.fixture
def history(tmp_path: Path) -> data.History:
    return data.prepare(tmp_path, real=False)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch, state_home: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(state_home))
    for module, name in (
        (reading, "ROUNDS"), (reading, "SEARCH_ROUNDS"), (sending, "ROUNDS"), (opening, "ROUNDS"),
        (opening, "PROCESS_ROUNDS"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 1)
    for name, small in (
        ("DEVICES", 10),
        ("CONTROLS", 30),
        ("MEMBERS", 10),
        ("RESOLVED", 5),
        ("ROTATIONS", 1),
    ):
        monkeypatch.setattr(people, name, small)
    for name, small in (
        ("CHANNELS", 3), ("ROUNDS", 1), ("MESSAGES", 3), ("PUTS", 64), ("SUBSCRIBERS", 3), ("HEARD", 2),
    ):  # fmt: skip
        monkeypatch.setattr(syncing, name, small)
    monkeypatch.setattr(sending, "SENDS", 5)
    monkeypatch.setattr(sending, "SENDS_EACH", 2)
    monkeypatch.setattr(opening, "_quire", lambda: "true")  # the command has tests of its own, and is slow


def called(call: Callable[[], Any]) -> Any:
    return call()


def test_history_is_the_same_every_time_at_any_length(history: data.History) -> None:
    once, again = list(history.messages(SIZE)), list(history.messages(SIZE))
    assert once == again
    assert len(once) == SIZE
    assert [message.time_ms for message in once] == sorted(message.time_ms for message in once)
    longer = list(history.messages(history.lines + 100))
    assert longer[history.lines].body == longer[0].body
    assert longer[history.lines].time_ms > longer[history.lines - 1].time_ms
    threads = [message.thread for message in longer if message.thread]
    assert threads.count(threads[0]) == data.THREAD_REPLIES


def test_all_contenders_hold_and_find_the_same(history: data.History, tmp_path: Path) -> None:
    built, rows = building.build(history, SIZE, tmp_path)
    columns = "channel, time, id, spill, author, root, op"
    ours: Any = built.ours.store.database.reader.execute(f"SELECT {columns} FROM message")
    assert ours.fetchall() == built.floor.db.execute(f"SELECT {columns} FROM message").fetchall()
    assert all(peer.db.execute("SELECT count(*) FROM message").fetchone() == (SIZE,) for peer in built.peers)
    places = reading.Places(built)
    [root, *_], [spot, *_] = places.roots(), places.at_depth(0.5)
    for kind in KINDS:
        found = called(built.ours.search(history.wanted, kind, spot)).hits
        bare = called(built.floor.search(history.wanted, kind, spot, places.author()))
        assert [hit.message.id for hit in found] == [row[3] for row in bare]
        assert all(len(called(peer.search(history.wanted, kind, spot))) == len(bare) for peer in built.peers)
        assert found or kind in KINDS[1:3]  # so rare a pair may be in no tiny history
    messages = called(built.ours.page(spot)).messages
    assert [message.id for message in messages] == [row[2] for row in called(built.floor.page(spot))]
    assert [message.body for message in messages] == [row[4] for row in called(built.peers[0].page(spot))]
    replies = called(built.ours.thread(root))[1].messages
    assert len(replies) == len(called(built.peers[0].thread(root))[1]) == data.THREAD_REPLIES
    assert {row.what for row in rows} == {"bulk import", "disk, all included", "mean body"}
    built.remove()


@pytest.mark.slow
@pytest.mark.bounded
def test_every_part_measures_and_every_target_is_judged(tmp_path: Path) -> None:
    kept, file = bench.Kept(), tmp_path / "figures.json"
    bench.run([SIZE], bench.PARTS, kept, file, "a test", real=False)
    assert all(value > 0 for row in kept.rows for value in row.values.values())
    judged = {verdict.target.what for verdict in targets.verdicts(kept.rows)}
    everywhere = {target.what for target in targets.TARGETS if not target.size_min}
    assert judged == everywhere - {"opening, over the smallest history"}  # which takes two sizes
    text = report.tables(kept.rows)
    assert all(f"### {title}" in text for title in report.TITLES.values())
    assert msgspec.json.decode(file.read_bytes(), type=bench.Kept).rows == kept.rows


def test_ratios_say_how_many_times_as_good() -> None:
    rate = Row("import", 100_000, "bulk import", "messages/s", {OURS: 50, FLOOR: 100})
    time = Row("read", 1, "get_message", "us", {OURS: 30, SQLITE: 60})
    assert (rate.times_as_good(FLOOR), rate.times_as_good(SQLITE)) == (0.5, None)
    assert time.times_as_good(SQLITE) == 2
    verdicts = {verdict.row.what: verdict.met for verdict in targets.verdicts([rate, time])}
    assert verdicts == {"bulk import": False, "get_message": False}


def test_opening_is_judged_against_the_smallest_history() -> None:
    what = "open and newest 50, in process"
    rows = [Row("open", size, what, "ms", {OURS: ms}) for size, ms in ((1_000, 10), (10, 5), (100, 6))]
    growth = {v.row.size: v for v in targets.verdicts(targets.with_growth(rows)) if "over" in v.target.what}
    assert {size: (verdict.measured, verdict.met) for size, verdict in growth.items()} == {
        100: (1.2, True), 1_000: (2.0, False),
    }  # fmt: skip


def test_new_figures_replace_old_ones_of_the_same_name() -> None:
    kept = bench.Kept()
    kept.add([Row("read", 1, "a", "us", {OURS: 1}), Row("read", 1, "b", "us", {OURS: 2})])
    kept.add([Row("read", 1, "a", "us", {OURS: 3})])
    assert {row.what: row.values[OURS] for row in kept.rows} == {"a": 3, "b": 2}
    assert all(row.when for row in kept.rows)


def test_tables_go_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.rewrite(page, "new")
    assert page.read_text() == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.BEGIN in bench.PAGE.read_text()
    page.write_text("no markers")
    with pytest.raises(ValueError, match="no place"):
        report.rewrite(page, "new")


@pytest.mark.slow
@pytest.mark.bounded
def test_memory_of_a_child_is_its_own(history: data.History, tmp_path: Path) -> None:
    built, _ = building.build(history, 500, tmp_path)
    built.close()
    ballast = bytearray(300 << 20)
    peaks = {row.what: row.values[OURS] for row in memory.measure(built, tmp_path)}
    assert all(10 < peak < 200 for peak in peaks.values())
    assert len(ballast) > 0
