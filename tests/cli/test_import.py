"""`quire import`: what it says before, during and after."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import InProcess, Quire

ROOT = Path(__file__).parent.parent.parent
DEMO = str(ROOT / "demo" / "pyscript-discord.zip")
LOG = """\
[2024-03-05 09:14:00] <ada> hello there
[2024-03-05 09:15:00] <bob> hello \x1b[2Jada
this line is no part of any log
"""
NUMBERS = (
    "channels", "messages", "notices", "threads", "replies", "reactions", "edited", "edit_events", "deleted",
    "attachments", "authors", "duplicates", "skipped",
)  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "#deck.log"
    path.write_text(LOG)
    return str(path)


def test_json_is_one_object_of_numbers(here: InProcess) -> None:
    summary = here("import", DEMO, "--dry-run", "--json").json
    assert summary["format"] == "discord-html"
    assert all(type(summary[name]) is int for name in NUMBERS)
    assert isinstance(summary["warnings"], list)
    assert (summary["dry_run"], summary["messages"], summary["channels"]) == (True, 199, 3)
    assert "tutorial" not in here("channels").out  # a dry run writes nothing


def test_import_twice_and_read(own: Quire) -> None:
    first = own("--json", "import", DEMO).json
    assert (first["messages"], first["duplicates"]) == (199, 0)
    again = own("import", DEMO)
    assert again.out.startswith("imported 0 messages")
    assert "already there: 199 records" in again.out
    names = {one["name"]: one["messages"] for one in own("channels", "--json").json["channels"]}
    assert sorted(names.values()) == [9, 65, 125]
    newest = own("read", "tutorial", "--json").json["messages"]
    assert len(newest) == 9
    assert all(one["author"]["imported"] and one["origin"]["id"] for one in newest)
    assert all(list(one["origin"]) == ["source", "author", "id"] for one in newest)


def test_a_log_for_people(own_here: InProcess, log: str) -> None:
    before = own_here("import", log, "--timezone", "Europe/Berlin", "--channel", "deck", "--dry-run")
    assert "#deck.log: " in before.err
    assert "would import 2 messages" in before.out
    assert f"nothing was written; to import: quire import '{log}'" in before.out.replace("\n", "")
    after = own_here("import", log, "--timezone", "Europe/Berlin", "--channel", "deck")
    assert "skipped as broken: 1 record" in after.out
    assert "#deck.log" in after.out
    assert "line 3" in after.out
    page = own_here("read", "deck", "--json").json["messages"]
    assert [one["time"] for one in page] == ["2024-03-05T08:15:00.000Z", "2024-03-05T08:14:00.000Z"]
    assert "\x1b" not in own_here("read", "deck").out


def test_formats_are_listed(here: InProcess) -> None:
    listed = here("import", "--formats", "--json").json["formats"]
    assert {"slack", "zulip", "discord-html", "jsonl"} <= {one["name"] for one in listed}
    assert all(one["title"] in here("import", "--formats").out for one in listed[:2])
    assert here("import", DEMO, "--format", "morse", "--json", code=5).error["rule"] == "unknown_format"
