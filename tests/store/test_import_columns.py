"""An import writes what names nothing else column by column, and the index by one statement: nothing gets lost or doubled."""

from __future__ import annotations

from typing import Any

import pytest

from quire.core.ids import message_id
from quire.core.operation import React
from quire.exchange import model
from quire.storage import log, search
from quire.store.importing import ImportRun
from quire.store.local import LocalStore
from quire.store.tally import Tally
from tests import oracle


def message(number: int, body: str = "", **more: Any) -> model.Message:
    return model.Message(
        "general", str(number), 1_600_000_000_000 + number, "ann", body or f"word n{number}", **more
    )


@pytest.fixture(autouse=True)
def straight_into_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "TAIL_MAX", 0)


def importing(store: LocalStore, *batches: list[model.Record]) -> Tally:
    tally = Tally(True)
    for _ in ImportRun(store, "test", tally).take_all(iter(batches)):
        pass
    assert store.verify().problems == ()
    oracle.check(store)
    return tally


def found(store: LocalStore, query: str) -> list[str]:
    return [hit.message.body for hit in store.search(query, limit=100).hits]


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ("before\0after", "after"),
        ("123 first\nc9 a9 \0\0 last", "last"),
        ("日本語の本", "本"),
        ("\U0001f600 smile", "smile"),
        ("see https://example.org `code`", "has:link"),
    ],
)
def test_any_text_is_found_as_it_was(store: LocalStore, body: str, query: str) -> None:
    importing(store, [message(1, body), message(2, "something else")])
    assert found(store, query) == [body]
    assert found(store, "something") == ["something else"]


def test_a_message_twice_in_one_batch_or_in_two_or_in_two_runs_is_one(store: LocalStore) -> None:
    reacted = message(1, reactions=(model.Reaction("+", ("bob",)),))
    tally = importing(store, [message(1), message(2), reacted], [message(2), message(3)])
    assert (tally.messages, tally.duplicates) == (3, 2)
    again = importing(store, [message(3), message(4), message(4)])
    assert (again.messages, again.duplicates) == (1, 2)
    third = importing(store, [message(4)])
    assert (third.messages, third.duplicates) == (0, 1)
    assert found(store, "word") == ["word n4", "word n3", "word n2", "word n1"]
    [first] = store.search("n1").hits
    assert [one.emoji for one in store.get_message(first.message.id).reactions] == ["+"]


def test_plain_messages_and_answers_to_them_in_one_batch(store: LocalStore) -> None:
    answers = [message(5, thread="1"), message(6, thread="5"), message(7, reply_to="2")]
    titled = message(4, title="a title")
    importing(store, [*answers, titled, message(1), message(2), message(3)])
    [root] = store.search("n1").hits
    replies = store.get_thread_replies(root.message.id).messages
    assert [reply.body for reply in replies] == ["word n5", "word n6"]
    assert found(store, "word") == [f"word n{number}" for number in range(7, 0, -1)]


def test_what_names_a_message_before_it_is_written_waits_for_it(store: LocalStore) -> None:
    """An id is a place in a log: others can tell the next one, and have it in what they write."""
    importing(store, [message(1)])
    db = store.database.reader
    channel = log.channels(db)[0]
    own = log.own_log(db, channel.n)
    assert own is not None
    target = message_id(own.prefix, log.newest_commit(db, own.n)[0] + 2, 0)
    store.ledger.write(channel.id, lambda db, row: [React(target, "👍")])
    importing(store, [message(2), message(3)])
    assert [one.emoji for one in store.get_message(target).reactions] == ["👍"]
    assert found(store, "n2") == ["word n2"]
