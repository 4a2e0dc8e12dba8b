"""Which file of an export a message means."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.exchange.inside import Watched
from quire.exchange.model import Attachment, Message
from quire.exchange.sources import open_source

NAMES = [
    "chats/ann/chat.md", "chats/ann/media/a.png", "chats/bob/chat.md", "chats/bob/media/a.png", "IMG-1.jpg",
    "your_activity/messages/inbox/zoe/photos/1.jpg", "data/20200913/teams/x/pear.png", "uploads/1/ab/a b.png",
    "chat.json_Files/y-AB.png", "once/only.pdf",
]  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Watched:
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return Watched(open_source(tmp_path))


@pytest.mark.parametrize(
    ("url", "near", "found"),
    [
        ("./media/a.png", "chats/ann/chat.md", "chats/ann/media/a.png"),
        ("./media/a.png", "chats/bob/chat.md", "chats/bob/media/a.png"),
        ("media/a.png", "elsewhere.md", ""),  # one of two
        ("IMG-1.jpg", "chat.txt", "IMG-1.jpg"),
        ("messages/inbox/zoe/photos/1.jpg", "x", "your_activity/messages/inbox/zoe/photos/1.jpg"),
        ("20200913/teams/x/pear.png", "export.jsonl", "data/20200913/teams/x/pear.png"),
        ("/user_uploads/1/ab/a%20b.png", "messages-1.json", "uploads/1/ab/a b.png"),
        ("chat.json_Files\\y-AB.png", "chat.json", "chat.json_Files/y-AB.png"),
        ("other/only.pdf", "x", ""),  # only its name is the same
        ("https://example.org/IMG-1.jpg", "x", ""), ("mxc://x/IMG-1.jpg", "x", ""), ("data:IMG-1.jpg", "x", ""),
        ("../IMG-1.jpg", "chats/ann/chat.md", ""), ("../../../etc/passwd", "chats/ann/chat.md", ""), ("/etc/passwd", "x", ""),
        ("", "x", ""), (".", "x", ""), ("chat.md", "chats/ann/chat.md", ""),
    ],
)  # fmt: skip
def test_a_path_means_one_file_or_none(source: Watched, url: str, near: str, found: str) -> None:
    message = Message("c", "1", 0, "a", "", attachments=(Attachment("n", url), Attachment("plain")))
    assert source.files_of(message, near) == (found, "")
