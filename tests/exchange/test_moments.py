"""Times in another unit than the format's: told by their size, read in it, and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quire.exchange import jsonl, matrix, mattermost, messenger, telegram_json
from quire.exchange.detect import Importer
from quire.exchange.model import Warn
from quire.exchange.moments import Moments, unit_of
from tests.exchange.packing import messages, only, pack, records

T = 1_600_000_000_123


@pytest.mark.parametrize(
    ("unit", "value", "found"),
    [
        ("ms", T, T), ("ms", str(T), T), ("ms", float(T), T), ("ms", 1_600_000_000, 1_600_000_000_000),
        ("ms", 1_600_000_000.123, T), ("ms", T * 1000, T), ("ms", T * 1_000_000, T), ("ms", str(T * 1000), T),
        ("s", 1_600_000_000, 1_600_000_000_000), ("s", "1600000000.123", T), ("s", T, T), ("s", T * 1000, T),
        ("ms", 0, 0), ("ms", 5000, 5000), ("s", 86_400, 86_400_000), ("ms", None, None), ("ms", "x", None),
        ("ms", True, None), ("ms", 10**30, None), ("ms", float("nan"), None), ("ms", float("inf"), None), ("ms", -T, None),
        ("s", [T], None), ("s", "9" * 400, None),
    ],
)  # fmt: skip
def test_a_number_tells_its_unit(unit: str, value: Any, found: int | None) -> None:
    assert Moments(unit).ms(value) == found


def test_no_number_lies_in_two_units() -> None:
    assert [unit_of(number) for number in (631_152_000, 4_102_444_799, 4_102_444_800)] == ["s", "s", ""]
    assert [unit_of(number * 1000) for number in (631_152_000, 4_102_444_799)] == ["ms", "ms"]


def matrix_export(time: Any) -> dict[str, Any]:
    event = {
        "type": "m.room.message",
        "event_id": "$1",
        "sender": "@a:x",
        "content": {"body": "hi", "msgtype": "m.text"},
    }
    return {"room.json": {"messages": [{**event, "origin_server_ts": time}]}}


def mattermost_export(time: Any) -> dict[str, Any]:
    post = {"team": "t", "channel": "c", "user": "ann", "message": "hi", "create_at": time}
    lines = [{"type": "version", "version": 1}, {"type": "post", "post": post}]
    return {"bulk.jsonl": "\n".join(map(json.dumps, lines))}


def messenger_export(time: Any) -> dict[str, Any]:
    message = {"sender_name": "Ann", "timestamp_ms": time, "content": "hi"}
    return {"ann_1/message_1.json": {"participants": [], "messages": [message]}}


def telegram_export(time: Any) -> dict[str, Any]:
    message = {
        "id": 1,
        "type": "message",
        "date_unixtime": time,
        "from": "Ann",
        "from_id": "user1",
        "text": "hi",
    }
    return {"result.json": {"name": "x", "type": "private_group", "id": 1, "messages": [message]}}


@pytest.mark.parametrize(
    ("importer", "export", "own"),
    [(matrix, matrix_export, 1000), (mattermost, mattermost_export, 1000), (messenger, messenger_export, 1000),
     (telegram_json, telegram_export, 1)],
    ids=["matrix", "mattermost", "messenger", "telegram"],
)  # fmt: skip
def test_an_export_in_another_unit_is_read_and_said(
    tmp_path: Path, importer: Importer, export: Any, own: int
) -> None:
    for number, scale in enumerate((1, 1000, 1_000_000, 1_000_000_000)):
        found = records(importer, pack(tmp_path, export(1_600_000_000 * scale), name=str(number)))
        assert [message.time_ms for message in messages(found)] == [1_600_000_000_000]
        told = [warning for warning in found if isinstance(warning, Warn) and "were read so" in warning.text]
        assert len(told) == (scale != own)


def test_numbers_of_jsonl_tell_their_unit_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    lines = [
        {"id": str(scale), "body": "x", "author": "a", "time": 1_600_000_000 * 1000**scale}
        for scale in range(4)
    ]
    found = records(jsonl, pack(tmp_path, {"a.jsonl": "\n".join(map(json.dumps, lines))}, "file"))
    assert {message.time_ms for message in messages(found)} == {1_600_000_000_000}
    assert not only(found, Warn)
    line = json.dumps({"body": "x", "author": "a", "time_ms": 1_600_000_000})
    assert len(only(records(jsonl, pack(tmp_path, {"b.jsonl": line}, "file")), Warn)) == 1
