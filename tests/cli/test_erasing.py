"""`quire erase`: what it prints, what it refuses, and that a later process finds nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess, Quire

NEEDLE = "zanzibarquux marmalade"


@pytest.fixture
def said(own_here: InProcess) -> str:
    """A message that is to go, by id."""
    own_here("channel", "create", "general")
    return own_here.id_of("post", "general", NEEDLE)


def test_a_message_is_erased_looked_for_and_shown_as_erased(
    own_here: InProcess, said: str, tmp_path: Path
) -> None:
    run, receipt = own_here, tmp_path / "gone.json"
    assert "1 operation that stand say the same" in run("erase", "--verify", "--text", NEEDLE).out
    told = run("erase", said, "--reason", "a secret", "--yes", "--verify", "--receipt", str(receipt)).out
    assert "erased 1 message, 1 operation in all" in told
    assert ": 0 found" in told
    assert "erased: a secret" in run("read", "general").out
    assert "zanzibarquux" not in run("search", "zanzibarquux", "--json").out
    assert ": 0 found" in run("erase", "--verify", "--text", NEEDLE).out
    assert "1 operation destroyed" in run("erase", "--verify", "--receipt", str(receipt)).out
    run("verify")
    run("doctor", "--repair")
    assert "erased: a secret" in run("read", "general").out
    assert "erased already" in run("erase", said, "--yes", code=2).err


def test_another_process_finds_nothing(own: Quire, said: str) -> None:
    own("erase", said, "--yes")
    record = own("erase", "--verify", "--text", NEEDLE, "--json").json
    assert (record["ok"], record["scan"]["found"], record["scan"]["said_elsewhere"]) == (True, 0, 0)
    own("verify")


def test_a_version_is_erased_and_history_says_so(own_here: InProcess, said: str) -> None:
    own_here("edit", said, "better so")
    own_here("erase", said, "--version", "1", "--yes")
    told = own_here("history", said).out
    assert "erased" in told
    assert "zanzibar" not in told
    assert "better so" in told
    assert [one["erased"] for one in own_here("history", said, "--json").json["versions"]] == [True, False]
    assert "better so" in own_here("read", "general").out


def test_an_author_is_erased_with_a_record_for_scripts(own_here: InProcess, said: str) -> None:
    record = own_here("erase", "--author", "me", "--yes", "--verify", "--json").json
    scan = record["scan"]
    assert scan["found"] == 0
    assert scan["looked_for"] >= 2, "what they wrote, though it is gone by then"
    assert [one["operation"] for one in record["receipt"]["erased"]] == [said]
    assert (record["left"], record["scan"]["found"]) == (0, 0)
    shown = own_here("read", "general", "--json").json["messages"]
    assert [one["deleted"]["erased"] for one in shown] == [True]


def test_what_makes_no_sense_is_refused(own_here: InProcess, said: str) -> None:
    for arguments, code in (
        (["erase"], 2), (["erase", "--verify"], 2), (["erase", "--author", "nobody", "--yes"], 3),
        (["erase", "mzxw-9.0", "--yes"], 3), (["erase", "--version", "2", "--author", "me"], 2),
        (["erase", "--verify", "--receipt", "no-such-file"], 2), (["erase", said, "--version", "2", "--yes"], 2),
    ):  # fmt: skip
        own_here(*arguments, code=code)
    assert NEEDLE in own_here("read", "general").out


def test_a_receipt_of_what_is_not_erased_here_is_found_wanting(
    own_here: InProcess, said: str, tmp_path: Path
) -> None:
    receipt = tmp_path / "gone.json"
    line = {"operation": said, "message": said, "channel": "00" * 32, "commitment": "00" * 32}
    receipt.write_text(json.dumps({"quire_receipt": 1, "erasures": [], "erased": [line]}))
    assert "is not destroyed here" in own_here("erase", "--verify", "--receipt", str(receipt), code=1).out
    receipt.write_text("{}")
    own_here("erase", "--verify", "--receipt", str(receipt), code=2)
