"""Compressed single files, and folders that merely hold an export's archive, whatever the format."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from quire.errors import FormatError
from quire.exchange import irc, jsonl
from quire.exchange.detect import Importer, detect, importers, open_export
from quire.exchange.model import Message, Options, Skipped
from quire.exchange.sources import open_source
from tests.exchange.packing import PACKINGS, messages, only, pack, records

IRC = "".join(f"2024-03-05T12:{n:02}:00 <ada> line {n}\n" for n in range(60)).encode()
JSONL = b"".join(
    b'{"type":"message","channel":"a","id":"%d","author":"ada","time_ms":1700000000000,"body":"hi"}\n' % n
    for n in range(500)
)
PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
SLACK = {
    "users.json": [{"id": "U1", "name": "ada"}],
    "channels.json": [{"id": "C1", "name": "general", "is_general": True}],
    "general/2024-03-05.json": [{"type": "message", "user": "U1", "text": "hi", "ts": "1709640000.000100"}],
}


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("how", [*PACKINGS, "file"])
def test_a_compressed_log_is_read_as_the_log(tmp_path: Path, how: str, ending: str) -> None:
    path = pack(tmp_path, {f"#python.2024-03-05.log.{ending}": PACK[ending](IRC)}, how)
    with open_source(path) as source:
        assert source.names() == ["#python.2024-03-05.log"]
        assert detect(source) is irc
    found = messages(records(irc, path))
    assert [one.body for one in found] == [f"line {n}" for n in range(60)]
    assert {one.channel for one in found} == {"#python"}


def test_a_file_without_an_ending_or_with_a_false_one_is_what_it_holds(tmp_path: Path) -> None:
    plain = pack(tmp_path, {"chat.jsonl.gz": JSONL}, "file")
    assert len(messages(records(jsonl, plain))) == 500
    parts = gzip.compress(JSONL[:1000]) + gzip.compress(JSONL[1000:])  # as `cat a.gz b.gz` makes
    assert len(messages(records(jsonl, pack(tmp_path, {"two.jsonl.gz": parts}, "file")))) == 500


def test_one_that_stands_there_unpacked_too_keeps_its_name(tmp_path: Path) -> None:
    path = pack(tmp_path, {"a.log": IRC, "a.log.gz": gzip.compress(IRC)})
    with open_source(path) as source:
        assert source.names() == ["a.log", "a.log.gz"]
        assert source.read("a.log") == IRC


def test_a_damaged_one_is_reported_and_what_came_before_kept(tmp_path: Path) -> None:
    packed = gzip.compress(JSONL, 0)
    path = pack(tmp_path, {"chat.jsonl.gz": packed[: len(packed) // 2]}, "file")
    found = records(jsonl, path)
    assert "chat.jsonl" in {str(getattr(one, "file", "")) for one in only(found, Skipped)}
    assert 200 < len(only(found, Message)) < 300


@pytest.mark.parametrize("how", ["zip", "tar.gz"])
def test_a_folder_with_one_archive_is_that_export(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    pack(folder, SLACK, how)
    (folder / "README.txt").write_text("from the workspace's owner")
    shutil.copy(
        pack(tmp_path, {"channels.json": SLACK["channels.json"]}, "file"), folder
    )  # as some tools leave it
    with open_export(folder) as (source, importer):
        assert importer.NAME == "slack"
        assert len([one for one in importer.read(source, Options()) if isinstance(one, Message)]) == 1


def test_a_folder_of_several_archives_says_what_to_do(tmp_path: Path) -> None:
    for name in ("one", "two"):
        pack(tmp_path, SLACK, "zip", name)
    with pytest.raises(FormatError) as failure, open_export(tmp_path):
        pass
    assert failure.value.rule == "unknown_format"
    assert "one.zip" in failure.value.hint


def test_an_export_in_a_folder_is_preferred_to_an_archive_beside_it(tmp_path: Path) -> None:
    folder = pack(tmp_path, SLACK)
    pack(folder, {"other/2024-03-05.json": SLACK["general/2024-03-05.json"]}, "zip", "old")
    with open_export(folder) as (source, _):
        assert source.path == folder


TELEGRAM = json.dumps({"name": "Ana", "type": "personal_chat", "id": 1, "messages": [
    {"id": 1, "type": "message", "date": "2020-01-01T00:00:00", "from": "Ana", "from_id": "user1", "text": "hi"}]})  # fmt: skip
EVENT = {"type": "message", "user": "U1", "ts": "1600000000.000100", "text": "hi", "channel": "C00000001"}
EVENTS = json.dumps(EVENT) + "\n" + json.dumps({**EVENT, "ts": "1600000001.000100"}) + "\n"
CHAT = "[01.02.20, 10:00:00] Ana: hi\n[01.02.20, 10:01:00] Bo: ho\n"


@pytest.mark.parametrize(
    ("name", "content", "format"),
    [("result.txt", TELEGRAM, "telegram"), ("result.json.txt", TELEGRAM, "telegram"), ("result", TELEGRAM, "telegram"),
     ("result.html", TELEGRAM, "telegram"), ("result.JSON", TELEGRAM, "telegram"), ("result.txt.gz", TELEGRAM, "telegram"),
     ("events.json", EVENTS, "slack"), ("events.log", EVENTS, "slack"), ("events", EVENTS, "slack"),
     ("events.jsonl", json.dumps([EVENT], indent=1), "slack"),
     ("_chat.json", CHAT, "whatsapp"), ("WhatsApp Chat.html", CHAT, "whatsapp")],
)  # fmt: skip
def test_a_file_is_what_it_holds_whatever_it_is_called(
    tmp_path: Path, name: str, content: str, format: str
) -> None:
    path = tmp_path / name
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with open_export(path) as (source, importer):
        assert format == importer.NAME
        found = list(importer.read(source, Options()))
    assert messages(found)
    assert not [one for one in found if isinstance(one, Skipped)]


@pytest.mark.parametrize("importer", importers(), ids=lambda importer: importer.NAME)
@pytest.mark.parametrize("name", ["", "a.txt", "a.html"])
def test_a_format_that_is_asked_for_and_is_not_there_is_an_error(
    tmp_path: Path, importer: Importer, name: str
) -> None:
    path = pack(tmp_path, {name: "nothing here\n"} if name else {})
    with open_source(path) as source, pytest.raises(FormatError):
        list(importer.read(source, Options()))


ROOM_EVENT = {"type": "m.room.message", "event_id": "$1", "sender": "@a:x", "origin_server_ts": 1600000000000,
              "content": {"msgtype": "m.text", "body": "grün"}}  # fmt: skip


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("how", ["file", *PACKINGS])
@pytest.mark.parametrize(
    ("name", "content", "format"),
    [("result.json", TELEGRAM, "telegram"), ("events.jsonl", EVENTS, "slack"), ("_chat.txt", CHAT, "whatsapp"),
     ("room.json", json.dumps({"messages": [ROOM_EVENT]}), "matrix")],
)  # fmt: skip
def test_a_text_in_utf_16_is_what_it_is_in_utf_8(
    tmp_path: Path, name: str, content: str, format: str, how: str, encoding: str
) -> None:
    plain, wide = tmp_path / "plain", tmp_path / "wide"
    plain.mkdir()
    wide.mkdir()
    pack(plain, {name: content}, how)
    path = pack(wide, {name: content.encode(encoding)}, how)
    with open_export(next(plain.iterdir())) as (_, importer), open_export(path) as (_, other):
        assert importer.NAME == other.NAME == format
    assert messages(records(importer, path)) == messages(records(importer, next(plain.iterdir()))) != []
