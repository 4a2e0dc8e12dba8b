"""Quire's own JSONL, as docs/import-jsonl.md describes it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.errors import FormatError
from quire.exchange import jsonl
from quire.exchange.jsonl import FIELDS
from quire.exchange.model import (
    Attachment,
    Author,
    Channel,
    DeleteEvent,
    Edit,
    EditEvent,
    Message,
    NotCarried,
    Options,
    PinEvent,
    Reaction,
    ReactionEvent,
    Record,
    Skipped,
    Warn,
)
from quire.exchange.sources import open_source
from tests.exchange.counting import tally

PAGE = Path(__file__).parents[2] / "docs" / "import-jsonl.md"
MAY = 1714555800000  # 2024-05-01T09:30:00Z


def example() -> str:
    found = re.search(r"```jsonl\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def records(tmp_path: Path, *lines: Any, options: Options | None = None) -> list[Record]:
    path = tmp_path / "chat.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return list(jsonl.read(open_source(path), options or Options()))


def messages(found: list[Record]) -> list[Message]:
    return [record for record in found if isinstance(record, Message)]


def test_the_example_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "garden.jsonl"
    path.write_text(example(), "utf-8")
    source = open_source(path)
    assert jsonl.recognise(source) == 3
    found = list(jsonl.read(source, Options()))
    assert found[:3] == [
        Channel("garden", "Garden", "What grows where"),
        Author("ana", "Ana"),
        Author("waterbot", "Water bot", bot=True),
    ]
    first, second, third, fourth = messages(found)
    assert first == Message(
        "garden", "1", MAY, "ana", "The **beans** are up", reactions=(Reaction("🌱", ("bo", "waterbot")),)
    )
    assert (second.thread, second.time_ms) == ("1", MAY + 300_000)
    assert third.attachments == (Attachment("beans.jpg", "", "image/jpeg", 48213),)
    assert third.time_ms == MAY + 360_500
    assert (fourth.notice, fourth.time_ms) == ("join", MAY - 30 * 60_000)
    assert found[-4:] == [
        EditEvent("garden", "3", Edit(MAY + 600_000, "Here it is")),
        ReactionEvent("garden", "3", Reaction("👍", ("bo",)), MAY + 660_000),
        PinEvent("garden", "1", MAY + 720_000, "ana"),
        DeleteEvent("garden", "2", MAY + 780_000, "bo"),
    ]
    counts = tally(found)
    assert (counts["messages"], counts["threads"], counts["replies"], counts["skipped"]) == (4, 1, 2, 0)


def test_the_page_names_every_field() -> None:
    text = PAGE.read_text("utf-8") + PAGE.with_name("export-jsonl.md").read_text("utf-8")
    for fields in FIELDS.values():
        for field in fields:
            assert re.search(rf"[`\"]{field.removesuffix('_ms')}(_ms)?\b", text), field


@pytest.mark.parametrize(
    "time",
    ["2024-05-01T09:30:00Z", "2024-05-01 09:30", 1714555800, 1714555800.0, "1714555800", 1714555800000,
     "1714555800000", "1714555800.0004", 1714555800000.7],
)  # fmt: skip
def test_times(tmp_path: Path, time: object) -> None:
    assert messages(records(tmp_path, {"time": time, "body": "x"}))[0].time_ms == MAY


def test_a_field_in_ms_is_ms_whatever_its_size(tmp_path: Path) -> None:
    assert messages(records(tmp_path, {"time_ms": 5, "body": "x"}))[0].time_ms == 5


@pytest.mark.parametrize(
    "time", [None, True, "", "soon", -1, [], {}, 1e300, 10**400, "9" * 5000, float("nan")]
)
def test_a_message_without_a_time_is_skipped_and_the_rest_goes_on(tmp_path: Path, time: object) -> None:
    found = records(tmp_path, {"time": time, "body": "a"}, {"time": 1, "body": "b"})
    assert [m.body for m in messages(found)] == ["b"]
    assert [r for r in found if isinstance(r, Skipped)] == [
        Skipped("chat.jsonl", "line 1", "a message without a valid time")
    ]


def test_little_is_asked_for(tmp_path: Path) -> None:
    found = records(tmp_path, {"time": 1, "body": "x"}, options=Options(channel="attic"))
    assert found[0] == Channel("attic", "attic")
    assert found[1] == Author("unknown", "unknown")
    assert messages(found)[0].channel == "attic"


def test_messages_without_ids_get_the_same_ones_again(tmp_path: Path) -> None:
    lines = [{"time": 1, "body": "x"}, {"time": 1, "body": "x"}, {"time": 1, "body": "y"}]
    ids = [m.id for m in messages(records(tmp_path, *lines))]
    assert len(set(ids)) == 3
    assert [m.id for m in messages(records(tmp_path, *lines[1:]))] == [ids[0], ids[2]]


def test_everything_a_message_can_have(tmp_path: Path) -> None:
    (message,) = messages(
        records(
            tmp_path,
            {
                "channel": "c", "id": "9", "time": 10, "author": "a", "body": "old", "thread": "9",
                "thread_time": 9, "title": "T", "reply_to": "8", "reply_to_time": 8,
                "mentions": ["b", 5, "c"],
                "edits": [{"time": 11, "body": "new", "author": "b", "id": "e1"}, {"body": "no time"}, 7],
                "edited": True, "deleted": True, "pinned": True, "broadcast": True, "action": True,
                "notice": "party", "reactions": [{"emoji": "x", "unknown": 3}, {"emoji": ""}, None],
                "attachments": [{"url": "http://h/p/f.txt", "size": -1}],
            },
        )
    )  # fmt: skip
    assert message == Message(
        "c", "9", 10_000, "a", "old", notice="other", thread="", thread_time_ms=9000, title="T", reply_to="8",
        reply_to_time_ms=8000, mentions=("b", "c"), edits=(Edit(11_000, "new", "b", "e1"),), edited_ms=10_000,
        deleted=True, pinned=True, broadcast=True, action=True, reactions=(Reaction("x", (), 3),),
        attachments=(Attachment("f.txt", "http://h/p/f.txt"),),
    )  # fmt: skip


def test_events_without_what_they_need(tmp_path: Path) -> None:
    good = {"time": 1, "body": "x"}
    bad = [
        {"type": "edit", "target": "1", "time": 2},
        {"type": "edit", "time": 2, "body": "x"},
        {"type": "reaction", "target": "1", "time": 2, "emoji": "x"},
        {"type": "reaction", "target": "1", "author": "a", "emoji": "x"},
        {"type": "delete", "target": "1"},
        {"type": "pin", "time": 5},
        {"type": "channel"},
        {"type": "author", "name": "x"},
        {"type": "poem"},
        {"type": ["message"]},
        [],
        "{broken",
    ]
    found = records(tmp_path, good, *bad)
    assert [r.position for r in found if isinstance(r, Skipped)] == [f"line {n}" for n in range(2, 14)]


def test_a_kind_that_is_none(tmp_path: Path) -> None:
    kinds: list[object] = [[], {}, "den", None, "direct"]
    found = records(tmp_path, *({"type": "channel", "key": "c", "kind": kind} for kind in kinds))
    assert [r.kind for r in found if isinstance(r, Channel)] == ["channel"] * 4 + ["direct"]


def test_unknown_fields_are_counted_and_a_newer_version_is_said(tmp_path: Path) -> None:
    found = records(tmp_path, {"type": "quire", "version": 2}, {"time": 1, "body": "x", "mood": 1, "hat": 2})
    assert NotCarried("fields that this format does not have", 2) in found
    assert any(isinstance(record, Warn) for record in found)


def test_odd_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"time":1,"body":"bom"}\r\n\r\n{"time":2,"body":"lone \\ud83d"}\r\n'
        b'{"time":3,"body":"latin \xe9"}\n{"time":4,"body":"nul\\u0000"}'
    )
    found = list(jsonl.read(open_source(path), Options()))
    assert [m.body for m in messages(found)] == ["bom", "lone \ufffd", "latin \ufffd", "nul\0"]


def test_zip_tar_and_folder(tmp_path: Path) -> None:
    data = example().encode()
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "chat.jsonl").write_bytes(data)
    (tmp_path / "folder" / "README.md").write_text("not it")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("top/chat.ndjson", data)
        archive.writestr("top/notes.txt", "not it")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        for name, content in (("a/b/chat.jsonl", data), ("a/LICENSE", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    counts = []
    for name in ("folder", "x.zip", "x.tar.gz"):
        source = open_source(tmp_path / name)
        assert jsonl.recognise(source) == 3
        counts.append(tally(jsonl.read(source, Options())))
    assert counts[0]["messages"] == 4
    assert counts[0] == counts[1] == counts[2]


def test_foreign_files_are_not_recognised(tmp_path: Path) -> None:
    for content in (
        b"",
        b"hello\n",
        b"[]",
        b'{"type":"message","ts":"1.0","text":"x"}',
        b'{"type":"team"}',
        b"\x00\xff",
    ):
        path = tmp_path / "x.jsonl"
        path.write_bytes(content)
        assert jsonl.recognise(open_source(path)) == 0
    path.write_bytes(b"hello\n")
    with pytest.raises(FormatError):
        list(jsonl.read(open_source(path), Options()))


VALUE = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from([1, "1"])
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["emoji", "time"]), inner),
    max_leaves=5,
)
LINE = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(sorted(FIELDS)),
    st.dictionaries(
        st.sampled_from(sorted(frozenset().union(*FIELDS.values()) - {"type"})), VALUE, max_size=8
    ),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(LINE, max_size=4), st.binary(max_size=40), st.integers(0, 200))
def test_anything_gives_records_or_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, lines: list[object], noise: bytes, at: int
) -> None:
    data = b"\n".join(json.dumps(line).encode() for line in lines)
    path = tmp_path_factory.mktemp("fuzz") / "x.jsonl"
    path.write_bytes(data[:at] + noise + data[at:])
    with contextlib.suppress(FormatError):
        source = open_source(path)
        jsonl.recognise(source)
        tally(jsonl.read(source, Options()))
