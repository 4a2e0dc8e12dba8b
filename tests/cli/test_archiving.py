"""`quire archive` and `quire unarchive`: what they show, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import InProcess as Quire

LONG = "a text that is long enough to be worth a reference, and says nothing else. " * 3
AFTER = "2100-01-01"


def test_out_and_back(own_here: Quire, tmp_path: Path) -> None:
    own_here("channel", "create", "plans")
    for number in range(3):
        own_here("post", "plans", f"zanzibarquux {number} {LONG}")
    assert own_here("archive", "plans", "--before", "1y").out.startswith("#plans: nothing so old")
    seen = own_here("archive", "plans", "--before", AFTER, "--dry-run", "--json").json
    assert (seen["dry_run"], seen["messages"], seen["segments"]) == (True, 3, 0)
    (tmp_path / "disk").mkdir()
    done = own_here("archive", "plans", "--before", AFTER, "--to", str(tmp_path / "disk"), "--json").json
    assert (done["messages"], done["segments"]) == (3, 1)
    assert (done["freed_bytes"], done["free_bytes"]) == (0, 0)
    (segment,) = own_here("archive", "--list", "--json").json["segments"]
    assert (segment["state"], segment["place"]) == ("here", str(tmp_path / "disk"))
    assert ": here\n" in own_here("archive", "--check").out
    assert "archived " in own_here("storage").out
    (tmp_path / "disk").rename(tmp_path / "drawer")
    assert ": not there\n" in own_here("archive", "--list").out
    (message, *_) = own_here("read", "plans", "--json").json["messages"]
    assert (message["body"], message["archived"]) == (
        "",
        {"segment": segment["name"], "place": str(tmp_path / "disk"), "damaged": False},
    )
    assert "archived in" in own_here("read", "plans").out
    assert len(own_here("search", "zanzibarquux", "--json").json["hits"]) == 3
    report = own_here("verify", "--json").json
    assert (report["ok"], report["unread"]) == (True, 3)
    assert "3 operations" in own_here("verify").out
    assert own_here("storage", "--json").json["archived_away"] == segment["size_bytes"]
    assert own_here("unarchive", "plans", "--json", code=11).error["rule"] == "archive_unreachable"
    assert (
        own_here("archive", "--at", str(tmp_path / "drawer"), "--json").json["segments"][0]["state"] == "here"
    )
    assert "zanzibarquux 2" in own_here("read", "plans").out
    assert own_here("unarchive", "plans").out == "#plans: 3 messages brought back into the vault\n"
    assert list((tmp_path / "drawer").iterdir()) == []


def test_an_erasure_that_waits_is_said(own_here: Quire, tmp_path: Path) -> None:
    own_here("channel", "create", "plans")
    id = own_here("post", "plans", LONG, "--json").json["id"]
    (tmp_path / "disk").mkdir()
    own_here("archive", "plans", "--before", AFTER, "--to", str(tmp_path / "disk"))
    (tmp_path / "disk").rename(tmp_path / "drawer")
    assert own_here("erase", id, "--yes", "--json").json["owed"] == 1
    assert own_here("storage", "--json").json["owed"] == 1
    assert "1 erasure waiting" in own_here("storage").out
    assert "erased" in own_here("read", "plans").out
    (tmp_path / "drawer").rename(tmp_path / "disk")
    assert own_here("archive", "--check", "--json").json["segments"] == []  # it held nothing else
    assert own_here("storage", "--json").json["owed"] == 0


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((), "archive_what"),
        (("plans",), "archive_before_missing"),
        (("plans", "--list"), "archive_what"),
        (("--list", "--check"), "archive_what"),
        (("--list", "--dry-run"), "archive_what"),
        (("plans", "--before", "soon"), "place_form"),
    ],
)
def test_what_is_refused(own_here: Quire, arguments: tuple[str, ...], rule: str) -> None:
    own_here("channel", "create", "plans")
    assert own_here("archive", *arguments, "--json", code=2).error["rule"] == rule


def test_a_disk_that_is_not_there(own_here: Quire, tmp_path: Path) -> None:
    own_here("channel", "create", "plans")
    refused = own_here(
        "archive", "plans", "--before", AFTER, "--to", str(tmp_path / "unplugged"), "--json", code=3
    )
    assert refused.error["rule"] == "archive_folder_absent"


def test_a_backup_says_what_it_could_not_read(own_here: Quire, tmp_path: Path) -> None:
    own_here("channel", "create", "plans")
    for number in range(3):
        own_here("post", "plans", f"{number} {LONG}")
    disk, backup = tmp_path / "disk", str(tmp_path / "backup")
    disk.mkdir()
    own_here("archive", "plans", "--before", AFTER, "--to", str(disk))
    disk.rename(tmp_path / "drawer")
    said = own_here("backup", backup, code=1)
    assert (
        f"not in it: 3 commits, archived and not readable now (quire archive --check); connect {disk}"
        in said.err
    )
    found = own_here("backup", backup, "--json", code=1).json
    assert (found["ok"], found["away"], found["places"]) == (False, 3, [str(disk)])
    (tmp_path / "drawer").rename(disk)
    found = own_here("backup", backup, "--json").json
    assert (found["ok"], found["away"], found["commits"]) == (True, 0, 3)
    disk.rename(tmp_path / "drawer")
    id = own_here("post", "plans", "of today", "--json").json["id"]
    own_here("backup", backup)
    own_here("erase", id, "--yes")
    assert own_here("backup", backup, "--json").json["ok"]
    assert own_here("backup", "--check", backup, "--json").json["ok"]


@pytest.mark.parametrize(
    ("count", "said"),
    [(3, "less in the vault, too little yet to free whole pages"), (60, "free in the vault's file")],
)
def test_a_small_archive_says_where_the_room_is(
    own_here: Quire, tmp_path: Path, count: int, said: str
) -> None:
    lines = [
        f'{{"channel": "plans", "id": "{n}", "time_ms": {1_500_000_000_000 + n}, "author": "u",'
        f' "body": "{n} {LONG * 4}"}}\n'
        for n in range(count)
    ]
    (tmp_path / "old.jsonl").write_text("".join(lines))
    own_here("import", str(tmp_path / "old.jsonl"))
    shown = " ".join(own_here("archive", "plans", "--before", AFTER).out.split())
    assert said in shown
    assert " 0 bytes" not in shown
