"""Attached files on the command line."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


@pytest.fixture(autouse=True)
def channel(here: InProcess, request: pytest.FixtureRequest) -> str:
    """A channel for each test: they share a vault."""
    name = f"files-{zlib.crc32(request.node.name.encode()):x}"
    here("channel", "create", name)
    return name


@pytest.fixture
def plan(here: InProcess) -> Path:
    path = here.folder / "plan.txt"
    path.write_text("up the stairs\n")
    return path


@pytest.fixture
def opener(here: InProcess) -> Path:
    """Stands for the system's opener: says what it was given."""
    script = here.folder / "opener"
    seen = here.folder / "seen"
    script.write_text(
        f'#!/bin/sh\necho "$1" > {seen}; cat "$1" > {seen}.content; ls -ld "$1" "$(dirname "$1")" > {seen}.modes\n'
    )
    script.chmod(0o700)
    for old in here.folder.glob("seen*"):
        old.unlink()
    return script


def test_a_file_is_attached_shown_and_saved(here: InProcess, channel: str, plan: Path) -> None:
    said = here("attach", channel, str(plan), "--text", "the plan")
    assert said.out.endswith("with 1 file, 14 bytes\n")
    shown = here("read", channel).out
    assert "📎 plan.txt (text/plain, 14 bytes)" in shown
    message = here("read", channel, "--json").json["messages"][0]
    assert message["body"] == "the plan"
    [one] = message["attachments"]
    assert (one["name"], one["media_type"], one["size_bytes"], len(one["file"])) == (
        "plan.txt",
        "text/plain",
        14,
        64,
    )
    assert "key" not in one
    out = here.folder / "out"
    out.mkdir()
    saved = here("save", message["id"], "--to", str(out), "--json").json["saved"]
    assert saved == [{"number": 1, "path": str(out / "plan.txt"), "size_bytes": 14}]
    assert here("save", message["id"], "--to", str(out)).out == f"saved {out / 'plan (2).txt'}\n"
    assert (out / "plan (2).txt").read_text() == "up the stairs\n"


def test_post_takes_files_too_and_what_is_none_is_said(here: InProcess, channel: str, plan: Path) -> None:
    both = here("post", channel, "two", "--attach", str(plan), "-a", str(plan), "--json").json
    assert [one["name"] for one in both["attachments"]] == ["plan.txt", "plan.txt"]
    missing = here("post", channel, "none", "--attach", str(plan) + ".no", code=2)
    assert missing.err.startswith("quire: there is no file")
    which = here("open", both["id"], code=2)
    assert "--number 1 to 2" in which.err
    here("save", both["id"], "--number", "3", code=3)
    here("save", both["id"], "--to", str(here.folder / "nowhere"), code=2)


def test_open_gives_a_private_copy_named_by_what_it_is(here: InProcess, channel: str, opener: Path) -> None:
    evil = here.folder / "holiday.exe"
    evil.write_bytes(PNG)
    id = here.id_of("attach", channel, str(evil))
    here("open", id, QUIRE_OPENER=str(opener))
    path = Path((here.folder / "seen").read_text().strip())
    assert path.name == "attachment.png"
    assert (here.folder / "seen.content").read_bytes() == PNG
    modes = [line.split()[0] for line in (here.folder / "seen.modes").read_text().splitlines()]
    assert {mode[:10] for mode in modes} == {"-r--------", "drwx------"}
    if path.parent.exists():
        path.unlink()
        path.parent.rmdir()


@pytest.mark.parametrize(
    "content",
    [b"#!/bin/sh\nrm -rf ~\n", b"MZ" + bytes(100), b"<html><script>", b"PK\x03\x04" + bytes(50), b"\0" * 9],
)
def test_what_may_be_a_program_is_not_opened(
    here: InProcess, channel: str, opener: Path, content: bytes
) -> None:
    evil = here.folder / "photo.png"
    evil.write_bytes(content)
    id = here.id_of("attach", channel, str(evil))
    refused = here("open", id, "--json", code=2, QUIRE_OPENER=str(opener))
    assert refused.error["rule"] == "attachment_dangerous"
    assert not (here.folder / "seen").exists()
    forced = here("open", id, "--force", "--json", QUIRE_OPENER=str(opener)).json
    assert forced["opened"]["type"] != "image/png"
    path = Path((here.folder / "seen").read_text().strip())
    assert not os.access(path, os.X_OK) or os.getuid() == 0
    path.unlink()
    path.parent.rmdir()


def test_fetch_asks_and_keeps_the_limit(here: InProcess, channel: str, plan: Path) -> None:
    id = here.id_of("attach", channel, str(plan))
    assert here("fetch", id).out == "all of it is here\n"
    assert here("fetch", channel, "--json").json == {
        "asked": 0,
        "attachments": [],
        "by_itself_bytes": 16 << 20,
    }
    assert here("fetch", "--by-itself", "1", "--json").json["by_itself_bytes"] == 1 << 20
    assert here("fetch", id, "--json").json["by_itself_bytes"] == 1 << 20
    assert json.loads(here("fetch", "--json", code=2).err)["error"]["rule"] == "fetch_nothing"
    here("fetch", "nowhere", code=3)
