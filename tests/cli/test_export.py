"""`quire export`: what it says and leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess


@pytest.fixture(scope="module")
def talk(here: InProcess) -> InProcess:
    here("channel", "create", "papers")
    here("post", "papers", "Where is the **draft**?")
    return here


def test_export_and_import_elsewhere(talk: InProcess, tmp_path: Path) -> None:
    book = tmp_path / "book.jsonl"
    done = talk("export", "papers", "--to", str(book))
    assert "exported" in done.out
    assert f"quire import {book}" in done.out.replace("\n", "")
    lines = [json.loads(line) for line in book.read_text("utf-8").splitlines()]
    assert lines[0]["export"].startswith("quire ")
    assert lines[-1]["messages"] == len([line for line in lines if line["type"] == "message"]) > 0
    assert talk("export", "--to", str(book), "--json", code=2).error["rule"] == "export_exists"


def test_json_is_one_object(talk: InProcess, tmp_path: Path) -> None:
    for format in ("markdown", "csv"):
        found = talk("export", "--format", format, "--to", str(tmp_path / format), "--json").json
        assert (found["format"], found["path"]) == (format, str(tmp_path / format))
        assert found["messages"] > 0
        assert found["bytes"] > 0


def test_a_span_and_what_is_wrong(talk: InProcess, tmp_path: Path) -> None:
    to = ("--to", str(tmp_path / "out"))
    nothing = talk("export", "papers", *to, "--until", "1999-01-01", "--json").json
    assert nothing["messages"] == 0
    for arguments, rule in (
        ((), "command_line"),
        (("--to", str(tmp_path / "new"), "--since", "later"), "place_form"),
        (("--to", str(tmp_path / "new"), "--format", "pdf"), "export_format"),
        (("--to", str(tmp_path / "new"), "--since", "2024-03-05", "--until", "2024-03-05"), "export_span"),
    ):
        assert talk("export", *arguments, "--json", code=2).error["rule"] == rule
    assert not (tmp_path / "new").exists()


def test_the_digests(talk: InProcess) -> None:
    found = talk("verify", "--digest", "--json").json
    assert found["ok"]
    assert all(len(one["digest"]) == len(one["exact"]) == 64 for one in found["digests"])
    rows = talk("verify", "--digest").out.splitlines()
    assert [f"{one['digest']}  #{one['name']}" for one in found["digests"]] == rows[: len(found["digests"])]


def test_a_digest_stands_in_one_line_with_its_channel_however_long_the_name(talk: InProcess) -> None:
    name = "where-we-talk-about-long-names"
    talk("channel", "create", name)
    assert any(
        row.endswith("  #" + name) and len(row) > 80 for row in talk("verify", "--digest").out.splitlines()
    )


def test_check_needs_no_vault_and_names_what_is_wrong(talk: InProcess, tmp_path: Path) -> None:
    book = tmp_path / "book.jsonl"
    done = talk("export", "papers", "--signed", "--to", str(book))
    assert "quire check" in done.out
    nowhere = str(tmp_path / "nowhere")
    whole = talk("check", str(book), QUIRE_VAULT=nowhere)
    assert "as they were signed" in whole.out
    assert "Ada: 1 message" in whole.out
    book.write_text(book.read_text("utf-8").replace("the **draft**", "the **letter**", 1), "utf-8")
    found = talk("check", str(book), "--json", code=1, QUIRE_VAULT=nowhere).json
    assert (found["ok"], found["problems"][0]["what"], found["problems"][0]["detail"]) == (
        False,
        "message_changed",
        "body",
    )
    assert "message_changed" in talk("check", str(book), code=1, QUIRE_VAULT=nowhere).out
    book.write_text("nothing")
    assert talk("check", str(book), "--json", code=5, QUIRE_VAULT=nowhere).error["rule"] == "not_signed"
    assert (
        talk("check", str(tmp_path / "absent"), "--json", code=3, QUIRE_VAULT=nowhere).error["rule"]
        == "path_absent"
    )
