"""Signal's conversations as JSON, of three tools, and what signal-export's Markdown says of files and calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quire.exchange import signal
from quire.exchange.detect import open_export
from quire.exchange.model import (
    Attachment,
    Author,
    Channel,
    DeleteEvent,
    Edit,
    EditEvent,
    Reaction,
    ReactionEvent,
    Skipped,
)
from tests.exchange.mutating import fuzz
from tests.exchange.packing import PACKINGS, certainty, messages, only, pack, records

T = 1_600_000_000_000


def row(number: int, body: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"id{number}", "type": "incoming", "conversationId": "c1", "sent_at": T + number, "received_at": 5,
            "timestamp": T + number, "source": "+4912345", "body": body, "schemaVersion": 10,
            "attachments": [], "hasAttachments": 0, **fields}  # fmt: skip


ROWS = [
    row(1, "hi", reactions=[{"emoji": "👍", "fromId": "u2", "targetTimestamp": T + 1, "timestamp": T + 9}]),
    row(2, "an answer", type="outgoing", source=None, quote={"id": T + 1, "authorAci": "u1", "text": "hi"}),
    row(3, "third", editHistory=[
        {"body": "third", "timestamp": T + 30}, {"body": "second", "timestamp": T + 20}, {"body": "first", "timestamp": T + 3}]),
    row(4, "", attachments=[{"fileName": "a.png", "contentType": "image/png", "size": 5, "path": "ab\\\\cd"}]),
    row(5, "", deletedForEveryone=True),
    row(6, "", type="keychange"),
    row(1, "of the same moment", id="other"),
]  # fmt: skip


@pytest.mark.parametrize("how", PACKINGS)
def test_rows_of_signals_database(tmp_path: Path, how: str) -> None:
    path = pack(tmp_path, {"Ana (+4912345).json": ROWS}, how)
    with open_export(path) as (_, importer):
        assert importer.NAME == "signal"
    found = records(signal, path)
    assert only(found, Channel) == [Channel("c1", "Ana", kind="direct")]
    assert {Author("+4912345", "Ana"), Author("You", "You")} <= set(only(found, Author))
    hi, answer, edited, picture, gone, key, same = messages(found)
    assert (hi.id, hi.author, hi.time_ms) == (str(T + 1), "+4912345", T + 1)
    assert hi.reactions == (Reaction("👍", ("u2",), times_ms=(T + 9,)),)
    assert (answer.author, answer.reply_to, answer.reply_to_time_ms) == ("You", hi.id, T + 1)
    assert (edited.body, edited.edits) == ("first", (Edit(T + 20, "second"), Edit(T + 30, "third")))
    assert picture.attachments[0].name == "a.png"
    assert (gone.deleted, key.notice, key.body) == (True, "other", "keychange")
    assert same.id != hi.id


def envelope(number: int, who: str = "+1", **data: Any) -> dict[str, Any]:
    inner = {
        "timestamp": T + number,
        "message": None,
        "groupInfo": {"groupId": "G=", "groupName": "Trip", "type": "DELIVER"},
        **data,
    }
    letter = {
        "source": who,
        "sourceNumber": who,
        "sourceName": f"N{who}",
        "timestamp": T + number,
        "dataMessage": inner,
    }
    return {"envelope": letter, "account": "+9"}


LINES = [
    envelope(1, message="hi"),
    envelope(2, "+2", message="an answer", quote={"id": T + 1, "author": "+1", "text": "hi"}),
    envelope(3, "+2", reaction={"emoji": "👍", "targetAuthor": "+1", "targetSentTimestamp": T + 1, "isRemove": False}),
    {"envelope": {"sourceNumber": "+1", "timestamp": T + 4, "editMessage": {
        "targetSentTimestamp": T + 1, "dataMessage": {"timestamp": T + 4, "message": "hello", "groupInfo": {"groupId": "G="}}}}},
    envelope(5, "+2", remoteDelete={"timestamp": T + 2}),
    {"envelope": {"sourceNumber": "+2", "timestamp": T + 6, "receiptMessage": {"when": T}}},
    {"envelope": {"sourceNumber": "+9", "timestamp": T + 7, "syncMessage": {"sentMessage": {
        "destination": "+2", "destinationNumber": "+2", "timestamp": T + 7, "message": "to you alone"}}}},
    {"envelope": {"sourceNumber": "+9", "dataMessage": {"message": "when?"}}},
]  # fmt: skip


def test_envelopes_that_signal_cli_received(tmp_path: Path) -> None:
    path = pack(tmp_path, {"received.jsonl": "\n".join(map(json.dumps, LINES))}, "file")
    assert certainty(signal, path) == 3
    found = records(signal, path)
    assert only(found, Channel) == [Channel("G=", "Trip", kind="group"), Channel("+2", "+2", kind="direct")]
    hi, answer, alone = messages(found)
    assert (hi.body, answer.reply_to, alone.channel, alone.author) == ("hi", hi.id, "+2", "+9")
    assert only(found, ReactionEvent) == [
        ReactionEvent("G=", hi.id, Reaction("👍", ("+2",)), T + 3, target_time_ms=T + 1)
    ]
    assert only(found, EditEvent) == [
        EditEvent("G=", hi.id, Edit(T + 4, "hello", "+1", str(T + 4)), T + 1, own=True)
    ]
    assert only(found, DeleteEvent) == [DeleteEvent("G=", answer.id, T + 5, "+2", target_time_ms=T + 2)]
    assert only(found, Skipped) == [Skipped("received.jsonl", "line 8", "no time")]


def test_signal_exports_lines_where_their_markdown_is_not(tmp_path: Path) -> None:
    lines = [
        {"date": "2020-01-02T10:00:00", "sender": "Ana", "body": "hi  ", "quote": "", "sticker": None,
         "reactions": [["Bo", "👍"]], "attachments": [{"name": "a.png", "path": "media/a.png", "missing_kind": None}]},
        {"date": "2020-01-02T10:01:00", "sender": "Me", "body": "Missed voice call", "quote": "", "sticker": None,
         "reactions": [], "attachments": [], "deleted": False, "call": True},
        {"date": "2020-01-02T10:02:00", "sender": "Ana", "body": "", "quote": "", "sticker": None, "reactions": [],
         "attachments": [], "deleted": True},
    ]  # fmt: skip
    text = "\n".join(map(json.dumps, lines)) + "\n"
    alone = pack(tmp_path, {"Ana/data.json": text}, name="alone")
    hi, call, gone = messages(records(signal, alone))
    assert (hi.channel, hi.author, hi.body, hi.time_ms) == ("Ana", "Ana", "hi", 1577959200000)
    assert (hi.reactions, hi.attachments) == (
        (Reaction("👍", ("Bo",)),),
        (Attachment("a.png", "media/a.png"),),
    )
    assert (call.notice, gone.deleted) == ("other", True)
    both = pack(
        tmp_path, {"Ana/data.json": text, "Ana/chat.md": "[2020-01-02 10:00:00] Ana: hi\n"}, name="both"
    )
    assert [message.body for message in messages(records(signal, both))] == ["hi"]


def test_files_left_out_and_calls_of_markdown(tmp_path: Path) -> None:
    text = (
        "[2020-01-02 10:00:00] Ana: look  (media not exported)  \n"
        "[2020-01-02 10:01:00] Me: Outgoing voice call (accepted, 1m 2s)  \n"
        "[2020-01-02 10:02:00] Ana: Missed call me?  \n"
    )
    look, call, said = messages(records(signal, pack(tmp_path, {"Ana/chat.md": text})))
    assert (look.body, look.attachments) == ("look", (Attachment("media"),))
    assert (call.notice, said.notice) == ("other", "")


test_any_rows_give_records_or_a_format_error = fuzz(
    signal, json.dumps(ROWS).encode(), "Ana (+4912345).json", 30
)
test_any_envelopes_give_records_or_a_format_error = fuzz(
    signal, "\n".join(map(json.dumps, LINES)).encode(), "received.jsonl", 30
)
