"""Exports with the files of messages: each once, found again by an import, and none that a click would run."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from quire.channels.manager import ChannelManager
from quire.errors import UsageError
from quire.store.local import LocalStore
from quire.store.taking import harmless_name
from tests import vaults
from tests.store.test_round_trip import contents

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000"
    "050001a5f645400000000049454e44ae426082"
)
PAGE = b"<html><script>alert(1)</script></html>"


@pytest.fixture
def chat(manager: ChannelManager, tmp_path: Path) -> ChannelManager:
    """Two messages with one picture, and one with a page that calls itself one, and a link."""
    (tmp_path / "pic.png").write_bytes(PNG)
    (tmp_path / "evil.png").write_bytes(PAGE)
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 20_000)
    manager.create_channel("general")
    manager.send_message("general", "first", files=[tmp_path / "pic.png"])
    manager.send_message("general", "again", files=[tmp_path / "pic.png", tmp_path / "big.bin"])
    manager.send_message("general", "page", files=[tmp_path / "evil.png"])
    return manager


def test_files_come_back_with_their_messages(store: LocalStore, chat: ChannelManager, tmp_path: Path) -> None:
    summary = chat.export(tmp_path / "out", files=True)
    assert (summary.attachments, summary.attachments_absent, summary.files) == (3, 0, 4)
    for path in (tmp_path / "out").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    with vaults.fresh_store(tmp_path, "other") as other:
        there = ChannelManager(other)
        summary_there = there.import_(tmp_path / "out")
        assert (summary_there.messages, summary_there.warnings) == (3, ())
        assert contents(other) == contents(store)
        for mine, theirs in zip(
            chat.get_stored_messages("general"), there.get_stored_messages("general"), strict=True
        ):
            for number in range(1, len(mine.attachments) + 1):
                with (
                    chat.open_attachment(mine.id, number) as a,
                    there.open_attachment(theirs.id, number) as b,
                ):
                    assert a.read() == b.read()


def test_a_file_is_there_once_and_named_by_each_message(chat: ChannelManager, tmp_path: Path) -> None:
    chat.export(tmp_path / "out", files=True)
    lines = [json.loads(line) for line in (tmp_path / "out" / "messages.jsonl").read_text().splitlines()]
    first, again, page = (line["attachments"] for line in lines if line["type"] == "message")
    assert first[0]["file"] == again[0]["file"]
    assert (tmp_path / "out" / again[0]["file"]).read_bytes() == PNG
    assert (tmp_path / "out" / again[1]["file"]).read_bytes() == bytes(range(256)) * 20_000
    assert page[0]["file"].endswith("/evil.png.txt")


@pytest.mark.parametrize("format", ["html", "markdown"])
def test_pages_show_pictures_and_link_the_rest(chat: ChannelManager, tmp_path: Path, format: str) -> None:
    chat.export(tmp_path / "out", format=format, files=True)
    if format == "markdown":
        [month] = (tmp_path / "out" / "general").iterdir()
        assert "Attached: [pic.png](../files/" in month.read_text()
        return
    page: Any = html.fromstring((tmp_path / "out" / "general" / "1.html").read_bytes())
    pictures = page.xpath("//main//img/@src")
    assert len(pictures) == 2
    for href in [*pictures, *page.xpath("//main//a[@download]/@href")]:
        assert (tmp_path / "out" / "general" / href).resolve().is_file()
    assert not page.xpath("//img[contains(@src, 'evil')]")


def test_what_is_not_here_is_counted(store: LocalStore, chat: ChannelManager, tmp_path: Path) -> None:
    for path in (store.folder / "attachments").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    summary = chat.export(tmp_path / "out", files=True)
    assert (summary.attachments, summary.attachments_absent) == (0, 4)
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["messages.jsonl"]


def test_a_table_and_a_signed_export_hold_no_files(chat: ChannelManager, tmp_path: Path) -> None:
    for arguments, rule in (({"format": "csv"}, "export_files"), ({"signed": True}, "export_signed")):
        with pytest.raises(UsageError) as refused:
            chat.export(tmp_path / "out", files=True, **arguments)
        assert refused.value.rule == rule


@pytest.mark.parametrize("name", ["a.html", "a.SVG", "a.xhtml", "../a.mht", "a.js", "a.hta"])
def test_no_name_makes_a_browser_run_it(name: str) -> None:
    assert harmless_name(name, b"plain").endswith(".txt")
    assert harmless_name("photo.png", PAGE).endswith(".txt")
    assert harmless_name("photo.png", PNG) == "photo.png"
