"""Exports as files: whole or not there, for their owner only, and harmless whatever stands in them."""

from __future__ import annotations

import csv
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from quire.channels.manager import ChannelManager
from quire.core.operation import Attachment
from quire.errors import QuireError, UsageError
from quire.exchange import exported
from quire.exchange.out_csv import harmless
from quire.exchange.out_markdown import quotable
from quire.exchange.writers import FORMATS
from quire.exchange.writing import safe_name
from quire.storage import files
from tests import vaults

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[x](javascript:alert(1))",
    "```\n</code></pre><script>alert(2)</script>\n```",
    "- a\n  ```\n<script>alert(3)</script>",
    '=HYPERLINK("http://evil")',
    "\t=1+1",
    "\u202egnp.exe",
    "line\r\nline\u2028line",
    "]]> --> {{ x }} ${y}",
]


@pytest.fixture
def chat(manager: ChannelManager) -> ChannelManager:
    """A channel whose every name is hostile."""
    manager.set_name("<b>Ada</b>")
    manager.create_channel("../../etc/<x>", topic="<i>topic</i>")
    for body in HOSTILE:
        manager.send_message(
            "../../etc/<x>",
            body,
            attachments=[Attachment("../../<a>.png", "javascript:alert(1)", "text/html")],
        )
    first = next(manager.get_stored_messages("../../etc/<x>"))
    manager.send_message("../../etc/<x>", "an answer", thread=first.id)
    return manager


def whole(path: Path) -> list[Path]:
    """All files of an export."""
    return sorted(inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else [path]


@pytest.mark.parametrize("format", FORMATS)
def test_only_its_owner_may_read_it(chat: ChannelManager, tmp_path: Path, format: str) -> None:
    summary = chat.export(tmp_path / "out", format=format)
    found = whole(tmp_path / "out")
    assert (summary.files, summary.messages) == (len(found), len(HOSTILE) + 1)
    assert summary.bytes == sum(path.stat().st_size for path in found) > 0
    for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        assert path.resolve().is_relative_to(tmp_path / "out")


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_replaced_and_nothing_half_written_stays(
    chat: ChannelManager, tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "exports" / "out"
    place.parent.mkdir()
    place.write_text("mine")
    with pytest.raises(UsageError) as refused:
        chat.export(place, format=format)
    assert refused.value.rule == "export_exists"
    assert place.read_text() == "mine"
    place.unlink()

    def fail(what: str, done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(QuireError) as full:
        chat.export(place, format=format, progress=fail)
    assert full.value.rule == "disk_full"
    assert list(place.parent.iterdir()) == []
    chat.export(place, format=format)
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize(
    "where",
    [
        'manager.export("{path}", format="markdown", progress=die)',
        'os.rename = die; manager.export("{path}", format="html")',
        'os.rename = die; manager.export("{path}")',
    ],
)
def test_a_killed_export_leaves_nothing_under_its_name(
    chat: ChannelManager, tmp_path: Path, where: str
) -> None:
    """What it left is taken away by the next."""
    place = tmp_path / "exports" / "out"
    place.parent.mkdir()
    code = f"""
import os, signal
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
{where.format(path=str(place))}
"""
    with pytest.raises(AssertionError):  # it gave no answer
        vaults.in_fresh_process(chat.store.folder, code)
    left = list(place.parent.iterdir())
    assert left
    assert place not in left
    chat.export(place, format="markdown")
    assert list(place.parent.iterdir()) == [place]


def test_jsonl_is_of_the_schema_that_is_shipped(chat: ChannelManager, tmp_path: Path) -> None:
    chat.export(tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
    schema = json.loads(Path(exported.__file__).with_name("export.schema.json").read_text())
    allowed = {
        part["properties"]["type"]["enum"][0]: part
        for name, part in schema["$defs"].items()
        if name.endswith("Line")
    }
    for line in lines:
        value = json.loads(line)
        part = allowed[value["type"]]
        assert set(part["required"]) <= value.keys() <= part["properties"].keys()
        msgspec.json.decode(line, type=exported.Line, strict=True)
    assert json.loads(lines[-1]) == {"type": "end", "messages": len(HOSTILE) + 1}


def test_csv_is_one_table_that_runs_nothing(chat: ChannelManager, tmp_path: Path) -> None:
    chat.export(tmp_path / "out.csv", format="csv")
    data = (tmp_path / "out.csv").read_bytes()
    assert data.startswith(b"channel,id,time,")
    assert data.endswith(b"\r\n")
    rows = list(csv.DictReader(data.decode().splitlines(keepends=True)))
    assert [row["text"] for row in rows] == [harmless(body) for body in [*HOSTILE, "an answer"]]
    for row in rows:
        for cell in row.values():
            assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert rows[-1]["thread"] == rows[0]["id"]


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", " \t=1", "\uff1d1", "|x"])
def test_a_cell_that_a_spreadsheet_would_run_is_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"
    assert harmless("1" + cell) == "1" + cell


def test_markdown_keeps_each_message_within_its_quotation(chat: ChannelManager, tmp_path: Path) -> None:
    chat.export(tmp_path / "out", format="markdown")
    [folder] = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert folder.name == "etc-x"
    [month] = folder.iterdir()
    text = month.read_text("utf-8")
    bodies = text.partition("\n## ")[2]
    assert "&lt;img src=x" in bodies
    assert "](javascript:" not in bodies.replace("\\(", "")
    for line in bodies.split("\n")[1:]:
        assert line.startswith((">", "**", "Attached:")) or not line, line
    assert "> **\\<b\\>Ada\\</b\\>**" in text  # the answer, under its root


def test_raw_html_is_shown_only_in_what_every_reader_takes_for_code() -> None:
    fenced = list(quotable("```html\n<b>\n```\n<b>"))
    assert fenced == ["```html", "<b>", "```", "&lt;b>"]
    assert list(quotable("~~~\n<b>\n ~~~\n<b>"))[-1] == "&lt;b>"
    assert list(quotable("~~~\n<b>\n\t~~~\n<b>"))[-1] == "<b>"  # four columns in: still code
    assert list(quotable("- a\n  ```\n<b>"))[-1] == "&lt;b>"  # the list ends, and its code with it
    assert list(quotable("[x]: javascript:alert(1)")) == ["\\[x]: javascript:alert(1)"]


def test_names_of_strangers_make_safe_files() -> None:
    taken: set[str] = set()
    names = [
        "general",
        "General",
        "../../etc/passwd",
        "",
        "...",
        "con",
        "a\x00b",
        "日本語",
        "x" * 500,
        ".hidden",
        "a/b\\c",
    ]
    made = [safe_name(name, taken) for name in names]
    assert made[:4] == ["general", "General-2", "etc-passwd", "channel"]
    assert len({name.casefold() for name in made}) == len(made)
    for name in made:
        assert name == os.path.basename(name)
        assert not name.startswith((".", "-"))
        assert 0 < len(name.encode()) <= 220


def test_a_span_of_time_and_some_channels(manager: ChannelManager, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    lines = [
        {"channel": channel, "id": str(day), "time": f"2024-03-{day:02}", "author": "ana", "body": f"{channel} {day}",
         **({"thread": "1"} if day == 3 else {})}
        for channel in "ab" for day in (1, 2, 3, 4)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    manager.import_(path)
    march = datetime(2024, 3, 2)
    manager.export(tmp_path / "out.jsonl", ["b"], since=march, until=datetime(2024, 3, 4, tzinfo=UTC))
    told = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["body"] for line in told if line["type"] == "message"] == ["b 2", "b 3"]
    assert told[0]["since_ms"] == 1709337600000
    manager.export(tmp_path / "out", ["b", "b"], format="markdown", since=march)
    text = (tmp_path / "out" / "b" / "2024-03.md").read_text()
    assert "in a thread begun earlier" in text
    for wrong, rule in (
        ({"since": march, "until": march}, "export_span"),
        ({"format": "pdf"}, "export_format"),
    ):
        with pytest.raises(UsageError) as refused:
            manager.export(tmp_path / "no", **wrong)
        assert refused.value.rule == rule
    assert not (tmp_path / "no").exists()


def test_long_threads_come_whole_after_their_root(
    manager: ChannelManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quire.store.telling.BATCH", 4)
    lines = [{"id": "r", "time_ms": 1000, "body": "root"}, {"id": "q", "time_ms": 1001, "body": "other"}]
    lines += [
        {"id": str(n), "time_ms": 2000 + n, "body": f"reply {n}", "thread": "r" if n % 2 else "q"}
        for n in range(30)
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"channel": "x", **line}) + "\n" for line in lines))
    manager.import_(path)
    manager.export(tmp_path / "out", format="markdown")
    text = (tmp_path / "out" / "x" / "1970-01.md").read_text()
    told = [
        line.lstrip("> ")
        for line in text.splitlines()
        if line.lstrip("> ").startswith(("root", "other", "reply"))
    ]
    odd, even = ([f"reply {n}" for n in range(start, 30, 2)] for start in (1, 0))
    assert told == ["root", *odd, "other", *even]


def test_who_may_not_read_a_channel_exports_nothing_of_it(manager: ChannelManager, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as nothing:
        manager.export(tmp_path / "out.jsonl")
    assert nothing.value.rule == "export_nothing"
    with pytest.raises(UsageError) as absent:
        manager.export(tmp_path / "out.jsonl", ["nowhere"])
    assert absent.value.rule == "no_channel"


def test_files_are_new(tmp_path: Path) -> None:
    """No link that somebody put in the way is followed."""
    (tmp_path / "target").write_text("mine")
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "target")
    assert os.path.lexists(tmp_path / "out.jsonl")
    with pytest.raises(FileExistsError):
        files.create_file(tmp_path / "out.jsonl", b"")


def test_an_export_is_of_one_moment(manager: ChannelManager, tmp_path: Path) -> None:
    """Others write while it goes on; what they write is in it nowhere, or in all of it."""
    for name in ("a", "b"):
        manager.create_channel(name)
        manager.send_message(name, "before")

    def write(what: str, done: int, total: int) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(manager.send_message, "b", "meanwhile").result()

    manager.export(tmp_path / "out.jsonl", progress=write)
    assert "meanwhile" not in (tmp_path / "out.jsonl").read_text()
    assert sum(message.body == "meanwhile" for message in manager.get_stored_messages("b")) == 2
