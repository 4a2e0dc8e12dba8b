"""Exports bring their files along: from a folder or a zip, once, and none that is broken stops the rest."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.core.views import Message
from quire.exchange.model import Options
from quire.storage import sealed_files
from quire.store.local import LocalStore
from tests.oracle import check

T = 1_600_000_000_000


def export(folder: Path, files: dict[str, bytes], *messages: dict[str, Any]) -> Path:
    """A folder of Quire JSONL with files beside it."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    lines = [
        {"channel": "old", "id": str(n), "time_ms": T + n, "author": "a", "body": f"message {n}", **one}
        for n, one in enumerate(messages)
    ]
    (folder / "export.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


def tarred(folder: Path) -> Path:
    path = folder.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=".")
    return path


def with_files(manager: ChannelManager, channel: str = "old") -> list[Message]:
    return [one for one in manager.get_stored_messages(channel) if one.attachments]


def contents(manager: ChannelManager, channel: str = "old") -> list[bytes | None]:
    """The bytes of every attachment, None for those by name only."""
    found: list[bytes | None] = []
    for message in with_files(manager, channel):
        for view in manager.get_attachments(message.id):
            if view.state == "here":
                with manager.open_attachment(message.id, view.number) as stream:
                    found.append(stream.read())
            else:
                found.append(None)
    return found


def on_disk(store: LocalStore) -> int:
    return len(list(store.files.whole()))


FILES = {"files/x.tar.gz": b"\x1f\x8b as it is", "files/a.txt": b"alpha", "files/b.bin": bytes(2_000_000)}
MESSAGES: tuple[dict[str, Any], ...] = (
    {"attachments": [{"name": "a.txt", "url": "files/a.txt"}]},
    {},
    {
        "attachments": [{"name": "b.bin", "url": "files/b.bin"}, {"name": "gone", "url": "files/gone"}],
        "thread": "0",
    },
    {"attachments": [{"name": "again.txt", "url": "files/a.txt"}]},
    {"attachments": [{"name": "x.tar.gz", "url": "files/x.tar.gz"}]},
    {"attachments": [{"name": "link", "url": "https://example.org/files/a.txt"}]},
)


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped, tarred], ids=["folder", "zip", "tar"])
def test_files_come_along_once(store: LocalStore, manager: ChannelManager, tmp_path: Path, pack: Any) -> None:
    (tmp_path / "export").mkdir()
    path = pack(export(tmp_path / "export", FILES, *MESSAGES))
    dry = manager.import_(path, dry_run=True)
    assert (dry.files, on_disk(store)) == (4, 0)
    summary = manager.import_(path)
    assert (summary.messages, summary.attachments, summary.files) == (6, 6, 4)
    assert contents(manager) == [b"alpha", bytes(2_000_000), None, b"alpha", b"\x1f\x8b as it is", None]
    assert on_disk(store) == 3
    first = with_files(manager)[0].attachments[0]
    assert (first.name, first.url, first.media_type, first.size_bytes) == (
        "a.txt",
        "files/a.txt",
        "text/plain",
        5,
    )
    check(store)
    assert store.verify().ok
    again = manager.import_(path)
    assert (again.messages, again.files, on_disk(store)) == (0, 0, 3)
    assert os.listdir(Path(store.files.folder, "new")) == []


def test_files_may_be_left(store: LocalStore, manager: ChannelManager, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    summary = manager.import_(export(tmp_path / "export", FILES, *MESSAGES), options=Options(files=False))
    assert (summary.messages, summary.attachments, summary.files) == (6, 6, 0)
    assert contents(manager) == [None] * 6
    assert on_disk(store) == 0


def test_a_broken_file_stops_nothing(store: LocalStore, manager: ChannelManager, tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    path = zipped(export(tmp_path / "export", {"a.jpg": b"alpha" * 99, "b.txt": b"beta"}, *(
        {"attachments": [{"name": name, "url": name}]} for name in ("a.jpg", "b.txt")
    )))  # fmt: skip
    data = bytearray(path.read_bytes())
    at = data.index(b"alphaalpha")
    data[at + 3] ^= 1  # the zip's own check of this member fails
    path.write_bytes(data)
    summary = manager.import_(path)
    assert (summary.messages, summary.files, summary.skipped) == (2, 1, 1)
    assert summary.problems[0].startswith("a.jpg: file: ")
    assert contents(manager) == [None, b"beta"]
    assert on_disk(store) == 1
    assert store.verify().ok


def test_without_room_the_messages_still_come(
    store: LocalStore, manager: ChannelManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "export").mkdir()
    path = export(tmp_path / "export", FILES, *MESSAGES)

    def full(file: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sealed_files, "write_all", full)
        summary = manager.import_(path)
    assert (summary.messages, summary.files, on_disk(store)) == (6, 0, 0)
    assert any("no room" in warning for warning in summary.warnings)
    assert store.verify().ok


def test_a_link_in_a_folder_is_no_file(store: LocalStore, manager: ChannelManager, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("not of the export")
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "a.txt").symlink_to(secret)
    (tmp_path / "export" / "b.txt").write_text("beta")
    one, other = ({"attachments": [{"name": name, "url": name}]} for name in ("a.txt", "b.txt"))
    manager.import_(export(tmp_path / "export", {}, one, other))
    assert contents(manager) == [None, b"beta"]


CHAT = (
    "12/01/2020, 10:00 - Messages and calls are end-to-end encrypted.\n12/01/2020, 10:02 - Ann: hello\n"
    "13/01/2020, 10:03 - Ann: IMG-20200113-WA0001.jpg (file attached)\n"
)
TELEGRAM = {
    "name": "Ann", "type": "personal_chat", "id": 1,
    "messages": [
        {"id": 1, "type": "message", "date": "2020-09-13T12:26:40", "date_unixtime": "1600000000", "from": "Ann",
         "from_id": "user1", "text": "look", "text_entities": [], "photo": "photos/p@1.jpg", "width": 1, "height": 1},
    ],
}  # fmt: skip
SIGNAL = "[2020-09-13 12:26:40] {who}: hello\n\n[2020-09-13 12:27:40] {who}: see ![a.png](./media/a.png)\n"


@pytest.mark.parametrize(
    ("format", "files", "channel", "data"),
    [
        ("whatsapp", {"WhatsApp Chat with Ann.txt": CHAT.encode(), "IMG-20200113-WA0001.jpg": b"jpg"}, "Ann", [b"jpg"]),
        ("telegram", {"result.json": json.dumps(TELEGRAM).encode(), "photos/p@1.jpg": b"photo"}, "Ann", [b"photo"]),
        ("signal", {
            "out/Ann/chat.md": SIGNAL.format(who="Ann").encode(), "out/Ann/media/a.png": b"of ann",
            "out/Bob/chat.md": SIGNAL.format(who="Bob").encode(), "out/Bob/media/a.png": b"of bob",
        }, "Bob", [b"of bob"]),
    ],
    ids=["whatsapp", "telegram", "signal"],
)  # fmt: skip
def test_other_formats_bring_theirs(
    manager: ChannelManager,
    tmp_path: Path,
    format: str,
    files: dict[str, bytes],
    channel: str,
    data: list[bytes],
) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    export(folder, files)
    (folder / "export.jsonl").unlink()
    path = zipped(folder)
    shutil.rmtree(folder)
    summary = manager.import_(path)
    assert summary.format.startswith(format)
    assert summary.files == sum(not name.endswith((".json", ".txt", ".md")) for name in files)
    assert contents(manager, channel) == data
