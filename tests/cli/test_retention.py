"""`quire retention` and `quire disappear`: what they show, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess as Quire

DAY = 86_400_000


def test_shapes(own_here: Quire) -> None:
    own_here("channel", "create", "plans")
    found = own_here(
        "retention", "plans", "--keep", "2y", "--keep-count", "100,000", "--keep-bytes", "1.5GB", "--attachments", "90d",
        "--exempt", "pins,bookmarks", "--json",
    ).json  # fmt: skip
    assert found["policy"] == {
        "keep_ms": 730 * DAY, "keep_count": 100_000, "keep_bytes": 1_500_000_000, "keep_attachments_ms": 90 * DAY,
        "exempt": ["pins", "bookmarks"],
    }  # fmt: skip
    assert (found["here"], found["disappear_ms"]) == (None, 0)
    shown = own_here("retention", "plans", "--keep-count", "forever", "--keep-bytes", "forever").out
    assert shown == "#plans: keeps 2 years, files 90 days; spares pins, bookmarks\n"
    assert "on this device keeps 30 days" in own_here("retention", "plans", "--here", "--keep", "30d").out
    assert (
        own_here("disappear", "plans", "7d", "--from", "read", "--json").json["disappear_read_ms"] == 7 * DAY
    )
    assert "disappear 7 days after reading" in own_here("retention").out
    assert own_here("disappear", "plans", "off", "--json").json["disappear_read_ms"] == 0
    every = {
        one["name"]: one["policy"]["keep_ms"] for one in own_here("retention", "--json").json["channels"]
    }
    assert every["plans"] == 730 * DAY
    assert "set the policy keep to 730 days" in own_here("log", "plans").out


def test_a_dry_run_says_what_would_go(own_here: Quire) -> None:
    own_here("channel", "create", "plans")
    for word in ("one", "two", "three"):
        own_here("post", "plans", word)
    found = own_here("retention", "plans", "--keep-count", "1", "--dry-run", "--json").json
    assert (found["messages"], found["rules"]) == (2, {"too_many": 2})
    assert "2 messages would go" in own_here("retention", "plans", "--keep-count", "1", "--dry-run").out
    assert own_here("retention", "plans", "--dry-run").out == "#plans: nothing would go\n"
    assert own_here("retention", "plans", "--json").json["policy"]["keep_count"] == 0
    done = own_here("retention", "plans", "--keep-count", "1", "--run", "--json").json
    assert (done["messages"], len(done["channels"])) == (2, 1)
    assert [one["body"] for one in own_here("read", "plans", "--json").json["messages"]] == ["three"]
    assert own_here("retention", "--run").out == "0 messages let go\n"
    own_here("post", "plans", "four")
    assert "1 message to go: little by little" in own_here("retention", "plans", "--keep-count", "1").err


def test_an_import_says_what_will_not_stay(own_here: Quire, tmp_path: Path) -> None:
    export = tmp_path / "old.jsonl"
    lines = [
        {"type": "channel", "key": "old", "name": "old-days"},
        {
            "type": "message",
            "channel": "old",
            "id": "1",
            "time": 1_500_000_000_000,
            "author": "u1",
            "body": "first",
        },
    ]
    export.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert "keeps" not in own_here("import", str(export)).err
    own_here("retention", "old-days", "--keep", "1y", "--run")
    assert own_here("read", "old-days", "--json").json["messages"] == []
    assert "#old-days keeps 1 year: older messages" in own_here("import", str(export)).err


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (("plans", "--keep", "soon"), "duration_form"),
        (("plans", "--keep-count", "many"), "count_form"),
        (("plans", "--keep-bytes", "5XB"), "size_form"),
        (("plans", "--exempt", "pins,cats"), "exemption_unknown"),
        (("plans", "--keep", "999999y"), "policy_range"),
        (("plans", "--keep", "99y", "--here"), "retention_looser"),
        (("--keep", "2y"), "channel_missing"),
    ],
)
def test_what_is_refused(own_here: Quire, arguments: tuple[str, ...], rule: str) -> None:
    own_here("channel", "create", "plans")
    own_here("retention", "plans", "--keep", "1y")
    assert own_here("retention", *arguments, "--json", code=2).error["rule"] == rule


def test_timers_are_refused_with_their_rule(own_here: Quire) -> None:
    own_here("channel", "create", "plans")
    assert own_here("disappear", "plans", "soon", "--json", code=2).error["rule"] == "duration_form"
    assert (
        own_here("disappear", "plans", "1d", "--from", "x", "--json", code=2).error["rule"]
        == "timer_start_unknown"
    )
    assert own_here("policy", "plans", "keep", "1", "--json", code=2).error["rule"] == "policy_unknown"
