"""`repair` makes every view anew from the log, whatever they look like, and never at the cost of the log."""

from __future__ import annotations

from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.storage import database
from quire.storage.schema import VIEWS
from quire.store import rebuild as rebuild_module
from quire.store.local import LocalStore
from tests import oracle, vaults
from tests.store.test_order import dump
from tests.store.test_verify import furnish

RUIN = [
    "UPDATE message SET flags = 0, edit = NULL, root = NULL",
    "UPDATE message SET author = 99, time = time + 5",
    "UPDATE operation SET void = 1 - void, author = 1, target = NULL, previous = NULL, kind = 3",
    "DELETE FROM author",
    "DELETE FROM reaction",
    "DELETE FROM thread",
    "DELETE FROM thread_author",
    "UPDATE thread SET replies = 7, participants = 0, last_id = NULL",
    "DELETE FROM doc",
    "INSERT INTO search(search) VALUES('delete-all')",
    "INSERT INTO search(rowid, body, tags) VALUES(5, 'stray', 'c1')",
    "DROP TABLE search",
    "DELETE FROM tail",
    "INSERT INTO tail VALUES(1, zeroblob(16), 0)",
    "DROP TABLE thread",
    "UPDATE channel SET name = 'x', topic = 'y', clock = 0, messages = -1, threads = 9 WHERE kind <> 'self'",
    "UPDATE channel SET last_time = 3, name_time = 1 << 60, topic_id = zeroblob(16)",
    "UPDATE channel SET kind = 'group', source = 'slack', key = 'C' WHERE kind <> 'self'",
    "DELETE FROM marker; DELETE FROM bookmark; DELETE FROM contact; DELETE FROM device_name",
    "UPDATE channel SET heads = zeroblob(32), role = 3, rights = 2, rotate_ms = 7",
    "UPDATE commits SET rights = 15",
    "UPDATE commits SET rights = 0",
    "UPDATE epoch SET key = zeroblob(32)",
    "DELETE FROM epoch",
    "UPDATE contact SET name = 'x'; UPDATE device_name SET name = 'x'",
    "INSERT INTO waiting SELECT id, channel, NULL, NULL, 0, '', 15, op FROM voided; DELETE FROM voided",
    "UPDATE waiting SET target = zeroblob(16), due = NULL",
]


@pytest.fixture
def furnished(store: LocalStore) -> LocalStore:
    furnish(store)
    return store


@pytest.mark.parametrize("sql", RUIN)
def test_ruined_views_are_as_before(sql: str, furnished: LocalStore) -> None:
    before = dump(furnished)
    furnished.database.writer.execute(sql)
    report = furnished.repair()
    assert report.ok, report.problems
    assert dump(furnished) == before
    assert furnished.database.reader.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_all_ruined_at_once_and_life_goes_on(furnished: LocalStore) -> None:
    before = dump(furnished)
    for sql in RUIN:
        if not sql.startswith("DROP"):
            furnished.database.writer.execute(sql)
    assert not furnished.verify().ok
    assert furnished.repair().ok
    assert dump(furnished) == before
    manager = ChannelManager(furnished)
    said = manager.send_message("talk", "afterwards")
    manager.add_reaction(said.id, "👍")
    assert furnished.verify().ok
    store = vaults.reopened(furnished)
    assert [hit.message.id for hit in store.search("afterwards").hits] == [said.id]
    assert store.verify().ok
    store.close()


def test_a_whole_vault_stays_as_it_is(furnished: LocalStore) -> None:
    before = dump(furnished)
    told: list[tuple[int, int]] = []
    assert furnished.repair(lambda what, done, total: told.append((done, total))).ok
    assert dump(furnished) == before
    assert told[0] == (0, 1)


def test_small_batches_give_the_same(furnished: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(furnished)
    monkeypatch.setattr(rebuild_module, "BATCH", 1)
    assert furnished.repair().ok
    assert dump(furnished) == before


@pytest.mark.parametrize(
    "point", ["rebuild_aside", "before_posts", "after_posts", "rebuild_views", "before_commit"]
)
def test_interrupted_it_changes_nothing(
    point: str, furnished: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnished.database.writer.execute("UPDATE message SET flags = 0")
    ruined = dump(furnished)

    class Interrupted(BaseException):
        pass

    def interrupt(here: str) -> None:
        if here == point:
            raise Interrupted

    monkeypatch.setattr(database, "fault_hook", interrupt)
    with pytest.raises(Interrupted):
        furnished.repair()
    monkeypatch.setattr(database, "fault_hook", None)
    assert dump(furnished) == ruined
    assert furnished.repair().ok


def test_a_missing_operation_is_reported_and_the_rest_rebuilt(furnished: LocalStore) -> None:
    db = furnished.database.writer
    db.execute("DELETE FROM operation WHERE kind = 2")  # the edits' bytes, gone from the log
    report = furnished.repair()
    assert {problem.what for problem in report.problems} == {"operation_missing"}
    [channel] = [info for info in ChannelManager(furnished).list_channels() if info.name == "talk"]
    texts = [message.body for message in furnished.get_channel_messages(channel.id)]
    assert "two `code` https://example.org" in texts  # the first version shows again, and is found
    assert furnished.search("code").hits


def test_bytes_that_say_nothing_are_kept_and_named(furnished: LocalStore) -> None:
    db = furnished.database.writer
    db.execute("UPDATE message SET op = zeroblob(40) WHERE root IS NOT NULL")
    db.execute("INSERT INTO operation SELECT zeroblob(16), channel, kind, target, time, author, void, previous, op"
               " FROM operation LIMIT 1")  # fmt: skip
    report = furnished.repair()
    assert {problem.what for problem in report.problems} == {
        "operation_malformed", "operation_unsigned", "content_root",
    }  # fmt: skip
    kept: Any = db.execute("SELECT count(*) FROM waiting WHERE op = zeroblob(40)").fetchone()
    assert kept == (3,)
    count = report.operations
    assert furnished.repair().operations == count  # nothing is lost the second time either


def test_every_view_is_remade() -> None:
    """A table that the schema adds to the views is not forgotten here."""
    made = {line.split("(")[0].split()[-1] for line in VIEWS.splitlines() if line.startswith("CREATE TABLE")}
    assert made | {"search"} == set(rebuild_module.VIEWS)


def test_the_oracle_agrees(store: LocalStore) -> None:
    manager = ChannelManager(store)
    channel = manager.create_channel("talk")
    root = manager.send_message(channel.id, "root")
    for n in range(5):
        manager.send_message(channel.id, f"reply {n}", thread=root.id)
    manager.edit_message(root.id, "edited")
    store.database.writer.execute("UPDATE message SET flags = 8; DELETE FROM thread")
    store.repair()
    oracle.check(store)


@pytest.mark.parametrize("text", ["`code`", "see `code`.", "code^2", "^code", "``code``", "Code´s"])
def test_words_are_found_within_the_marks_that_people_write_around_them(text: str, store: LocalStore) -> None:
    manager = ChannelManager(store)
    manager.create_channel("talk")
    said = manager.send_message("talk", text)
    assert [hit.message.id for hit in store.search("code").hits] == [said.id]
