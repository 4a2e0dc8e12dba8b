"""Archives that are cut, damaged, misnamed or of the wrong kind: what is there comes in, and the rest is said."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.errors import FormatError
from quire.exchange import slack
from quire.exchange.detect import open_export
from quire.exchange.model import Message, Options, Skipped
from quire.exchange.sources import open_source
from tests.exchange.mutating import fuzz
from tests.exchange.packing import messages, pack, records


def day(number: int, count: int = 40) -> str:
    """One day's file: messages whose texts do not compress to nothing."""
    rows = [
        {
            "type": "message",
            "user": "U1",
            "ts": f"16000{number:02}{at:03}.000100",
            "text": os.urandom(30).hex(),
        }
        for at in range(count)
    ]
    return json.dumps(rows, indent=1)


def export() -> dict[str, object]:
    tables = {
        "channels.json": [{"id": "C00000001", "name": "garden"}],
        "users.json": [{"id": "U1", "name": "ana"}],
    }
    return {**tables, **{f"garden/2020-09-{number:02}.json": day(number) for number in range(10, 20)}}


def cut(path: Path, part: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


@pytest.mark.parametrize("how", ["zip", "tar", "tar.gz"])
def test_a_cut_archive_gives_what_it_has_and_says_so(tmp_path: Path, how: str) -> None:
    path = cut(pack(tmp_path, export(), how), 0.6)
    with open_export(path) as (source, importer):
        assert importer.NAME == "slack"
        found = list(importer.read(source, Options()))
        assert source.damage
    assert 160 <= len(messages(found)) <= 280
    assert {message.channel for message in messages(found)} == {"C00000001"}


def test_a_zip_without_its_last_bytes_is_whole_otherwise(tmp_path: Path) -> None:
    path = pack(tmp_path, export(), "zip")
    path.write_bytes(path.read_bytes()[:-12])
    assert len(messages(records(slack, path))) == 400


def test_a_streamed_zip_is_salvaged_too(tmp_path: Path) -> None:
    """One whose headers do not know the sizes, as servers send them."""

    class Unseekable(io.RawIOBase):
        def __init__(self, file: io.BufferedWriter) -> None:
            self.file = file

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            return self.file.write(data)  # type: ignore[arg-type]

    path = tmp_path / "streamed.zip"
    with path.open("wb") as file, zipfile.ZipFile(Unseekable(file), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in export().items():
            archive.writestr(name, content if isinstance(content, str) else json.dumps(content))
    whole = len(messages(records(slack, path)))
    cut(path, 0.7)
    with open_source(path) as source:
        found = list(slack.read(source, Options()))
        assert source.damage
    assert whole == 400
    assert 200 <= len(messages(found)) < 400
    (broken,) = [
        one
        for one in found
        if isinstance(one, Skipped) and "ends early" in one.reason and one.position == "the rest of the file"
    ]
    assert broken.file.startswith("garden/")


def test_the_summary_counts_the_damage_once(tmp_path: Path, manager: ChannelManager) -> None:
    summary = manager.import_(cut(pack(tmp_path, export(), "zip"), 0.6))
    assert summary.messages >= 160
    assert sum("rest of the archive" in problem for problem in summary.problems) == 1
    assert summary.skipped == len(summary.problems)
    again = manager.import_(tmp_path / "export.zip")
    assert (again.messages, again.duplicates) == (0, summary.messages)


def test_a_tar_that_lost_its_end_at_a_member_is_noticed(tmp_path: Path) -> None:
    path = pack(tmp_path, {"garden/2020-09-10.json": day(10)}, "tar")
    with tarfile.open(path) as tar:
        (member,) = tar.getmembers()
    size = (member.offset_data + member.size + 511) // 512 * 512
    path.write_bytes(path.read_bytes()[:size])
    with open_source(path) as source:
        assert len(messages(list(slack.read(source, Options())))) == 40
        assert source.damage == "the archive is cut short"


def test_one_unreadable_file_does_not_hide_the_format(tmp_path: Path) -> None:
    path = pack(
        tmp_path,
        {"_.bin": "", "a.txt": os.urandom(500), "zz.txt": "[01.02.20, 10:00:00] Ana: hi\n" * 9},
        "zip",
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"a.txt")
    data[at - 30 : at - 26] = b"XXXX"
    path.write_bytes(bytes(data))
    with open_export(path) as (source, importer):
        assert importer.NAME == "whatsapp"
        found = list(importer.read(source, Options()))
    assert len(messages(found)) == 9
    assert any(isinstance(one, Skipped) and one.file == "a.txt" for one in found)


@pytest.mark.parametrize(
    ("head", "word"),
    [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\x00", "RAR"), (b"<!DOCTYPE html>", "sign in"), (b"", "empty"),
     (b"\x1f\x8b\x08", "damaged"), (b"%PDF-1.7", "PDF"), (b"\x28\xb5\x2f\xfd", "Zstandard")],
)  # fmt: skip
def test_what_is_no_export_says_what_it_is(tmp_path: Path, head: bytes, word: str) -> None:
    path = tmp_path / "slack.zip"
    path.write_bytes(head + (b"\x01" * 400 if head else b""))
    with pytest.raises(FormatError) as raised, open_export(path):
        pass
    assert word in raised.value.hint


def test_an_archive_in_an_archive_and_an_encrypted_one(tmp_path: Path) -> None:
    inner = pack(tmp_path, export(), "zip", "inner").read_bytes()
    with (
        pytest.raises(FormatError) as raised,
        open_export(pack(tmp_path, {"in/slack.zip": inner}, "zip", "outer")),
    ):
        pass
    assert "in/slack.zip" in raised.value.hint
    locked = tmp_path / "locked.zip"
    data = bytearray(inner)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    locked.write_bytes(bytes(data))
    with pytest.raises(FormatError) as raised, open_export(locked):
        pass
    assert "password" in raised.value.hint


def test_folders_of_windows_and_names_that_lead_out(tmp_path: Path) -> None:
    found = records(
        slack,
        pack(tmp_path, {"garden\\2020-09-10.json": day(10, 2), "../../etc/2020-09-11.json": day(11, 2),
                        "/root/2020-09-12.json": day(12, 2)}, "zip"),
    )  # fmt: skip
    assert {message.channel for message in messages(found)} == {"garden", "etc", "root"}


def test_a_second_copy_of_a_file_is_no_second_channel(tmp_path: Path) -> None:
    one = day(10, 3)
    found = records(slack, pack(tmp_path, {"garden/2020-09-10.json": one, "garden/2020-09-10 (1).json": one}))
    assert {(message.channel, message.id) for message in messages(found)} == {
        ("garden", f"1600010{at:03}.000100") for at in range(3)
    }


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = pack(tmp_path, {"garden/2020-09-10.json": day(10, 2)})
    os.rename(folder / "garden", os.fsencode(folder) + b"/caf\xe9")
    (message, _) = messages(records(slack, folder))
    assert message.channel == "caf\ufffd"


def test_a_text_that_is_compressed_without_saying_so(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "messages.json"
    path.write_bytes(gzip.compress(day(10).encode()))
    with open_export(path) as (source, importer):
        assert sum(isinstance(one, Message) for one in importer.read(source, Options())) == 40


@pytest.mark.parametrize(
    ("spoil", "left", "reason"),
    [
        (lambda text: text[: len(text) // 2], 20, "ends early"),
        (lambda text: text + "\n}{ what", 40, "after the end"),
        (lambda text: text.replace("[\n", "[" * 3000 + "\n", 1), 0, "too deeply"),
    ],
)
def test_a_broken_document_gives_what_is_whole_and_one_report(
    tmp_path: Path, spoil: object, left: int, reason: str
) -> None:
    found = records(slack, pack(tmp_path, {"garden/2020-09-10.json": spoil(day(10))}))  # type: ignore[operator]
    assert abs(len(messages(found)) - left) <= 1
    (broken,) = [one for one in found if isinstance(one, Skipped)]
    assert broken.file == "garden/2020-09-10.json"
    assert reason in broken.reason


def test_what_else_a_folder_holds_is_said(tmp_path: Path, manager: ChannelManager) -> None:
    chat = {"name": "Ana", "type": "personal_chat", "id": 1, "messages": [
        {"id": 1, "type": "message", "date": "2020-01-01T00:00:00", "from": "Ana", "from_id": "user1",
         "text": "hi"}]}  # fmt: skip
    folder = pack(tmp_path, {**export(), "result.json": chat})
    inner = pack(tmp_path, {"WhatsApp Chat with Bo.txt": "[01.02.20, 10:00:00] Ana: hi\n" * 9}, "zip", "bo")
    inner.rename(folder / "bo.zip")
    summary = manager.import_(folder)
    assert (summary.format, summary.messages) == ("slack", 400)
    assert any("--format telegram" in text for text in summary.warnings)
    assert any(text.startswith("bo.zip") for text in summary.warnings)
    assert manager.import_(folder, format="telegram").messages == 1


def test_a_zip_whose_names_are_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    path = pack(
        tmp_path, {"caf\u00e9/2020-09-10.json": day(10, 2), "garden/2020-09-11.json": day(11, 2)}, "zip"
    )
    path.write_bytes(path.read_bytes().replace("caf\u00e9".encode(), b"caf\xc3("))
    found = records(slack, path)
    assert {message.channel for message in messages(found)} == {"caf\ufffd(", "garden"}


def test_a_pipe_is_no_export(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError), open_export(tmp_path / "pipe"):
        pass


def zipped(files: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, str) else json.dumps(content))
    return buffer.getvalue()


test_any_spoiled_zip_gives_sound_records_or_a_format_error = fuzz(
    slack, zipped({**export(), "garden/2020-10-01.json": day(21, 3)}), "export.zip", examples=25
)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.9, 0.999])
def test_wherever_a_zip_is_cut_nothing_is_made_up(tmp_path: Path, part: float) -> None:
    path = pack(tmp_path, export(), "zip")
    whole = {(one.channel, one.id, one.body) for one in messages(records(slack, path))}
    found = {(one.channel, one.id, one.body) for one in messages(records(slack, cut(path, part)))}
    assert found <= whole
    assert len(found) >= (part - 0.15) * 400
