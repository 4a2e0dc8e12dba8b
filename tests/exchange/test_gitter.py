"""Gitter: rooms as TSV and as API pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.exchange import gitter
from quire.exchange.model import Author, Channel, Options, Skipped
from tests.corpora import corpus, expected
from tests.exchange.counting import tally
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

ROOM = "5" * 24
ANN, BOB = "a" * 24, "b" * 24
START = f"{ROOM}\tOrg/python\t2016-12"
ROWS = (
    f"{START}-24T11:21:22.947Z\t{ANN}\tann\t{'1' * 24}\tplain @bob and @nobody\r\n"
    f'{START}-23T22:04:44.171Z\t{BOB}\tBob\t{"2" * 24}\t"two\nlines with ""quotes"" and\ta tab"\r\n'
    f'{START}-22T22:04:44.171Z\t{ANN}\tann\t{"3" * 24}\t"\r\n'
    f"{START}-21T22:04:44.171Z\t{ANN}\tann2\t{'4' * 24}\tafter a stray quote\r\n"
)
API = [
    {
        "id": "m1", "text": "hi **there** @bob", "sent": "2020-01-02T03:04:05.678Z",
        "editedAt": "2020-01-02T03:05:00Z", "fromUser": {"id": ANN, "username": "ann", "displayName": "Ann"},
        "mentions": [{"screenName": "bob", "userId": BOB}],
    },
    {"id": "m2", "text": "in a thread", "sent": "2020-01-02T03:06:05Z",
     "fromUser": {"id": BOB, "username": "bob"}, "parentId": "m1"},
    {"id": "m3", "text": "no time", "sent": None, "fromUser": None},
]  # fmt: skip


@pytest.mark.parametrize("how", PACKINGS)
def test_a_room_as_tsv(tmp_path: Path, how: str) -> None:
    path = pack(
        tmp_path,
        {"top/python.tsv": ROWS, "top/Empty.tsv": b"", "top/README.md": "x", "top/LICENSE.txt": "y"},
        how,
    )
    assert certainty(gitter, path) == 3
    found = records(gitter, path)
    assert [(m.id, m.time_ms, m.author, m.body) for m in messages(found)] == [
        ("1" * 24, 1482578482947, ANN, "plain @bob and @nobody"),
        ("2" * 24, 1482530684171, BOB, 'two\nlines with "quotes" and\ta tab'),
        ("3" * 24, 1482444284171, ANN, '"'),
        ("4" * 24, 1482357884171, ANN, "after a stray quote"),
    ]
    assert only(found, Channel) == [Channel("Org/python", "Org/python")]
    assert only(found, Author) == [Author(ANN, "ann"), Author(BOB, "Bob"), Author(ANN, "ann2")]
    assert messages(found)[0].mentions == (BOB,), "known from a later row, in another case"
    assert not only(found, Skipped)


def test_a_header_may_name_the_columns_in_any_order(tmp_path: Path) -> None:
    text = "message_id\tsent\tusername\ttext\nx1\t2016-12-24T11:21:22Z\tann\thello\nx2\tnever\tann\tlost\n"
    found = records(gitter, pack(tmp_path, {"room.tsv": text}, "file"))
    (message,) = messages(found)
    assert (message.channel, message.id, message.author) == ("room", "x1", "ann")
    assert message.body.startswith("hello"), "a row without a time belongs to the row before"


def test_a_broken_row_is_reported_and_passed_over(tmp_path: Path) -> None:
    text = ROWS + f"{ROOM}\tOrg/python\t2016-99-22T22:04:44.171Z\t{ANN}\tann\t{'5' * 24}\tbad date\n"
    text += f"{ROOM}\tOrg/python\t2016-12-20T22:04:44.171Z\t{ANN}\n"
    found = records(gitter, pack(tmp_path, {"a.tsv": text, "b.tsv": "not a room\n"}))
    assert [(s.file, s.position, s.reason) for s in only(found, Skipped)] == [  # type: ignore[attr-defined]
        ("a.tsv", "line 6", "no time"),
        ("a.tsv", "line 7", "too few columns"),
        ("b.tsv", "line 1", "this is not a table of Gitter messages"),
    ]
    assert len(messages(found)) == 4


@pytest.mark.parametrize("how", PACKINGS)
def test_api_pages(tmp_path: Path, how: str) -> None:
    path = pack(tmp_path, {"lobby/messages-1.json": API, "lobby/rooms.json": [{"name": "other"}]}, how)
    assert certainty(gitter, path) == 3
    found = records(gitter, path)
    first, second = messages(found)
    assert (first.channel, first.author, first.mentions, first.edited_ms) == (
        "lobby",
        ANN,
        (BOB,),
        1577934300000,
    )
    assert (second.thread, second.author) == ("m1", BOB)
    assert len(only(found, Skipped)) == 1


def test_the_room_of_pages_may_be_said(tmp_path: Path) -> None:
    path = pack(tmp_path, {"x.json": API}, "file")
    assert only(records(gitter, path, Options(channel="Lobby")), Channel) == [Channel("Lobby", "Lobby")]


def test_foreign_files_are_not_taken_for_gitter(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.tsv": "id\tname\n1\tx\n", "b.json": [{"type": "message", "text": "x"}]})
    assert certainty(gitter, path) == 0
    assert not messages(records(gitter, path))


@pytest.mark.slow
@pytest.mark.bounded
def test_the_corpus_counts_as_it_should() -> None:
    counts = expected("gitter-freecodecamp")
    path = corpus("gitter-freecodecamp/rooms.tar.xz")
    assert certainty(gitter, path) == 3
    found = tally(records(gitter, path), gitter.NOTICES_ARE_MESSAGES)
    for name in ("records", "messages", "channels", "authors", "messages_per_channel"):
        assert found[name] == counts[name], name
    assert found["duplicates"] == counts["duplicate_ids"]
    assert found["first_ms"] == 1418075322154
    assert found["last_ms"] == 1482578482947
    assert (found["skipped"], found["warnings"], found["not_carried"]) == (0, 0, {})


test_spoiled_tables = fuzz(gitter, ROWS.encode(), "room.tsv")
test_spoiled_pages = fuzz(gitter, str(API).replace("'", '"').replace("None", "null").encode(), "room.json")
