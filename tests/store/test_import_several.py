"""A folder of several archives: each of them in turn, and one summary of all."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.errors import FormatError
from quire.store.local import LocalStore
from tests.exchange.packing import Files, pack


def chat(*lines: str) -> Files:
    return {"_chat.txt": "".join(f"[25.02.20, 10:0{at}:00] {text}\n" for at, text in enumerate(lines))}


def slack(day: str, ts: str, text: str) -> Files:
    user = {"id": "U1", "name": "ana", "profile": {}}
    return {
        "users.json": [user],
        f"garden/{day}.json": [{"type": "message", "user": "U1", "ts": ts, "text": text}],
    }


def test_each_archive_of_a_folder_is_imported(
    tmp_path: Path, store: LocalStore, manager: ChannelManager
) -> None:
    folder = tmp_path / "old chats"
    folder.mkdir()
    pack(folder, chat("Ana: hi", "Bob: ho"), "zip", "WhatsApp Chat - Ana")
    pack(folder, chat("Ana: hi", "Cy: he"), "zip", "WhatsApp Chat - Cy")
    pack(folder, slack("2020-09-13", "1600000000.000100", "beans"), "zip", "slack-2020")
    pack(folder, slack("2020-09-13", "1600000000.000100", "beans"), "tar.gz", "slack-2021")  # overlaps
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    pack(folder, {"photo.jpg": "no export"}, "zip", "photos")
    found = manager.import_(folder, dry_run=True)
    assert manager.list_channels() == []
    summary = manager.import_(folder)
    assert {c.name: c.messages for c in manager.list_channels()} == {"Ana": 2, "Cy": 2, "garden": 1}
    assert summary.format == "whatsapp, slack"
    assert (summary.messages, summary.channels, summary.duplicates) == (5, 3, 1)
    assert summary.authors == 3 + 1  # Ana of two chats is one, and Slack's is another
    assert summary.channel_messages == {"Ana": 2, "Cy": 2, "garden": 1}
    assert (found.messages, found.duplicates, found.authors) == (5, 1, 4)
    again = manager.import_(folder)
    assert (again.messages, again.duplicates) == (0, 6)
    assert store.verify().problems == ()


def test_one_archive_that_breaks_costs_the_others_nothing(
    tmp_path: Path, store: LocalStore, manager: ChannelManager
) -> None:
    folder = tmp_path / "chats"
    folder.mkdir()
    pack(folder, chat("Ana: hi", "Bob: ho"), "zip", "WhatsApp Chat - Ana")
    cut = pack(folder, chat(*[f"Cy: {number**9}" for number in range(9)]), "zip", "WhatsApp Chat - Cy")
    cut.write_bytes(cut.read_bytes()[:160])
    summary = manager.import_(folder)
    assert {c.name: c.messages for c in manager.list_channels()}["Ana"] == 2
    assert summary.skipped >= 1
    assert any("Cy.zip" in problem for problem in summary.problems)


def test_a_format_that_is_asked_for_is_looked_for_in_all(tmp_path: Path, manager: ChannelManager) -> None:
    folder = tmp_path / "chats"
    folder.mkdir()
    pack(folder, slack("2020-09-13", "1600000000.000100", "beans"), "zip", "a")
    pack(folder, slack("2020-09-14", "1600090000.000100", "peas"), "zip", "b")
    pack(folder, chat("Ana: hi", "Bob: ho"), "zip", "c")
    assert manager.import_(folder, format="slack").messages == 2
    assert manager.import_(folder, format="whatsapp").messages == 2  # one of three
    with pytest.raises(FormatError):
        manager.import_(folder, format="telegram")
