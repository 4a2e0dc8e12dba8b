"""What commands do and print."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from quire.cli.startup import MODULES, Lazy
from tests.cli.conftest import InProcess, Quire

HOSTILE = "\x1b[2J\x1b]0;x\x07[bold]b[/bold]\u202e\x9b1m"


def test_json_has_the_documented_shape(here: InProcess) -> None:
    made = here("channel", "create", "shapes", "--topic", "forms", "--json").json
    assert (made["name"], made["topic"], made["messages"]) == ("shapes", "forms", 0)
    first = here("post", "shapes", "one two", "--json").json
    assert first["author"] == {
        "id": first["author"]["id"], "name": "Ada", "bot": False, "imported": False, "own": True,
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    reply = here("--json", "post", "shapes", "three", "--thread", first["id"]).json
    assert reply["thread_root"] == first["id"]
    here("react", first["id"], "🎉", "--json")
    page = here("read", "shapes", "--json").json
    assert [one["body"] for one in page["messages"]] == ["three", "one two"]  # newest first
    assert (page["older"], page["newer"]) == (None, None)
    assert page == here("--json", "read", "shapes").json
    root = page["messages"][1]
    assert root["reactions"] == [{"emoji": "🎉", "count": 1, "own": True, "people": ["Ada"]}]
    assert (root["thread"]["replies"], root["thread"]["preview"]) == (1, "three")
    assert here("show", first["id"], "--json").json == root
    thread = here("thread", reply["id"], "--json").json
    assert (thread["root"]["id"], [one["id"] for one in thread["messages"]]) == (first["id"], [reply["id"]])
    assert here("threads", "shapes", "--json").json["threads"][0]["root"] == first["id"]


def test_pages_continue_by_cursor_message_and_date(here: InProcess) -> None:
    here("channel", "create", "pages")
    ids = [here.id_of("post", "pages", f"number {number}") for number in range(3)]
    page = here("read", "pages", "--limit", "1", "--json").json
    assert [one["id"] for one in page["messages"]] == [ids[2]]
    older = here("read", "pages", "--before", page["older"], "--json").json
    assert [one["id"] for one in older["messages"]] == [ids[1], ids[0]]
    around = here("read", "pages", "--around", ids[1], "--limit", "3", "--json").json
    assert [one["id"] for one in around["messages"]] == ids[::-1]
    assert here("read", "pages", "--before", "2001-01-01", "--json").json["messages"] == []
    assert len(here("read", "pages", "--after", "today", "--json").json["messages"]) == 3


def test_text_from_stdin_and_of_any_kind(here: InProcess) -> None:
    here("channel", "create", "texts")
    assert here("post", "texts", "-", "--json", stdin="from a pipe\nsecond line\n").json["body"] == (
        "from a pipe\nsecond line"
    )
    assert here("post", "texts", "--json", stdin="no dash needed").json["body"] == "no dash needed"
    assert here("post", "texts", "--json", "--", "--json").json["body"] == "--json"
    here("post", "texts", "-", stdin="x" * (1 << 20))
    done = here("post", "texts", "-", "--json", stdin="x" * ((1 << 20) + 1), code=2)
    assert done.error["rule"]


def test_no_text_of_others_is_obeyed(here: InProcess) -> None:
    here("channel", "create", "hostile", "--topic", HOSTILE)
    message = here.id_of("post", "hostile", HOSTILE)
    here("edit", message, HOSTILE + " edited needle")
    for command in (
        ["channels"], ["read", "hostile"], ["show", message], ["history", message], ["search", "needle"],
        ["--json", "read", "hostile"], ["--json", "channels"], ["read", HOSTILE], ["show", HOSTILE],
    ):  # fmt: skip
        done = here(*command, code={True: 0}.get(HOSTILE not in command, 3 if command[0] == "read" else 2))
        assert not set("\x1b\x07\x9b\u202e") & set(done.out + done.err), command
    assert "[bold]b[/bold]" in here("read", "hostile").out
    assert here("read", "hostile", "--json").json["messages"][0]["body"] == HOSTILE + " edited needle"


def test_delete_needs_a_yes(here: InProcess) -> None:
    here("channel", "create", "deletions")
    message = here.id_of("post", "deletions", "gone soon")
    assert here("delete", message, "--json", code=2).error["rule"] == "no_terminal"
    gone = here("delete", message, "--yes", "--reason", "test", "--json").json
    assert (gone["body"], gone["deleted"]["reason"]) == ("", "test")
    assert "gone soon" not in here("read", "deletions").out


def test_quiet_says_nothing_but_results(here: InProcess) -> None:
    here("channel", "create", "quiet", "-q")
    done = here("post", "quiet", "hush", "--quiet")
    assert (done.out, done.err) == ("", "")
    assert "hush" in here("read", "quiet", "--quiet").out


def test_marks(here: InProcess) -> None:
    here("channel", "create", "marks")
    message = here.id_of("post", "marks", "keep this")
    here("pin", message)
    here("bookmark", message)
    assert [one["id"] for one in here("pins", "marks", "--json").json["messages"]] == [message]
    assert message in here("bookmarks", "--json").out
    assert "(pinned)" in here("read", "marks").out
    here("unpin", message)
    here("unbookmark", message)
    assert here("pins", "marks").out == ""
    assert here("react", message, "👍").out.startswith("reacted 👍 to ")
    assert here("react", message, "👍", "--json", code=2).error["rule"] == "reaction_exists"
    assert here("mark-read", "marks", "--json").json["unread"] == 0


def test_care(own_here: InProcess, tmp_path: Path) -> None:
    own_here("channel", "create", "kept")
    own_here("post", "kept", "keep me")
    copy, again = tmp_path / "copy", tmp_path / "again"
    assert own_here("backup", str(copy), "--json").json["commits"] == 4
    assert own_here("backup", str(copy), "--json").json["commits"] == 0
    assert own_here("backup", "--check", str(copy), "--json").json["ok"]
    assert own_here("restore", str(copy), str(again), "--json").json["certified"] is False
    assert own_here("read", "kept", "--vault", str(again), "--json").json["messages"][0]["body"] == "keep me"
    assert own_here("restore", str(copy), str(again), "--json", code=2).error["rule"] == "vault_exists"
    refused = own_here("post", "kept", "no", "--vault", str(again), "--json", code=2)
    assert refused.error["rule"] == "device_uncertified"
    assert own_here("rekey", "--json").json == {"ok": True}
    assert own_here("compact", "--json").json["bytes_after"] > 0
    assert own_here("read", "kept", "--json").json["messages"][0]["body"] == "keep me"
    counts = own_here("stats", "--json").json
    assert (counts["channels"], counts["messages"]) == (1, 1)
    assert "messages         1\n" in own_here("stats").out
    assert own_here("name", "Grace", "--json").json["name"] == "Grace"
    assert own_here("name").out == "Grace\n"


def test_history_shows_changes(here: InProcess) -> None:
    here("channel", "create", "changes")
    message = here.id_of("post", "changes", "the red house")
    here("edit", message, "the blue house")
    assert "the [-red-]{+blue+} house" in here("history", message).out
    versions = here("history", message, "--json").json["versions"]
    assert [(one["number"], one["body"], one["shown"]) for one in versions] == [
        (1, "the red house", False),
        (2, "the blue house", True),
    ]


@pytest.mark.timeout(60)
def test_follow_shows_what_other_processes_write(quire: Quire, here: InProcess) -> None:
    here("channel", "create", "live")
    follower = subprocess.Popen(
        quire.command("read", "live", "--follow", "--json"),
        env=quire.environment_with(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert follower.stdout
    assert follower.stderr
    try:
        assert json.loads(follower.stdout.readline())["messages"] == []
        quire("post", "live", "news")
        assert json.loads(follower.stdout.readline())["body"] == "news"
    finally:
        follower.send_signal(signal.SIGINT)
    assert follower.wait(60) == 0  # how one leaves is no error
    assert follower.stderr.read() == b""
    follower.stdout.close()
    follower.stderr.close()


def test_edit_reads_stdin_where_no_editor_could_open(here: InProcess) -> None:
    here("channel", "create", "edits")
    message = here.id_of("post", "edits", "before")
    assert here("edit", message, "--json", stdin="after\n").json["body"] == "after"


def test_help_of_every_command_has_an_example() -> None:
    from quire.cli.main import main
    from quire.cli.startup import MODULES

    assert main(["--help"]) == 0
    groups = {
        "channel": ["create", "rename", "topic"],
        "passphrase": ["list", "add", "remove"],
        "bundle": ["out", "in"],
    }
    for name in MODULES:
        for words in [[name], *([name, child] for child in groups.get(name, []))]:
            if words in (["channel"], ["bundle"]):
                continue
            assert "Example" in _help(words), words
            assert f"  quire {' '.join(words)}" in _help(words).replace("quire --json ", "quire "), words


def test_the_list_of_commands_says_each_whole() -> None:
    lines = _help([]).splitlines()
    assert [one for one in lines if one.endswith("...") and "COMMAND" not in one] == []
    assert "Usage: quire post [OPTIONS] CHANNEL [TEXT]" in _help(["post"])


def test_what_is_out_of_bounds_or_nothing_is_the_callers_mistake(here: InProcess) -> None:
    for name in ("", "n" * 257):
        assert here("channel", "create", name, "--json", code=2).error["rule"] == "name_length"
    here("channel", "create", "bounds")
    assert here("post", "bounds", "", "--json", code=2).error["rule"] == "no_text"
    posted = here("post", "bounds", "kept", "--json").json["id"]
    assert here("edit", posted, "--json", code=2).error["rule"] == "no_text"  # nothing is piped in
    assert here("show", posted, "--json").json["body"] == "kept"
    error = here("read", "buonds", "--json", code=3).error
    assert (error["rule"], error["hint"]) == (
        "no_channel",
        "did you mean bounds? `quire channels` lists them",
    )


def test_the_list_of_channels_fits_a_narrow_terminal(here: InProcess) -> None:
    here("channel", "create", "a-name-that-is-longer-than-a-third-of-a-narrow-terminal")
    lines = here("channels", COLUMNS="36").out.splitlines()
    assert max(map(len, lines)) <= 36
    assert any(one.startswith("#a-name-") and "…" in one for one in lines)


def _help(words: list[str]) -> str:
    import contextlib
    import io

    from quire.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*words, "--help"]) == 0
    return out.getvalue()


def test_completion_of_channel_names(quire: Quire, here: InProcess) -> None:
    here("channel", "create", "completed")

    def complete(words: str, **environment: str) -> list[str]:
        place = str(len(words.split()) - 1)
        done = quire(_QUIRE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place, **environment)  # type: ignore[arg-type]  # mypy takes the environment for the other keywords
        return done.out.split()

    assert complete("quire read comple") == ["completed"]
    assert complete("quire read comple", QUIRE_KEY_FILE="") == []  # never asks
    assert complete("quire thr") == ["thread", "threads"]


def test_starting_imports_little(quire: Quire, here: InProcess) -> None:
    here("channel", "create", "start")
    here("post", "start", "hello")
    report = "import atexit, sys; atexit.register(lambda: print('\\n'.join(sys.modules), file=sys.stderr))"
    loaded = set(quire("read", "start", before=report).err.splitlines())
    assert "rich.console" in loaded  # the list is one
    slow = {
        "pydantic", "cryptography", "keyring", "mnemonic", "lxml", "ijson", "markdown_it", "pygments", "asyncio",
        "rich.progress", "rich.prompt", "rich.markdown", "rich.traceback", "typer.rich_utils", "difflib.HtmlDiff",
        "quire.cli.importing", "quire.cli.keys", "quire.exchange.slack", "json", "quire.core.membership", "quire.core.invite",
        "quire.core.words", "quire.core.segment", "quire.core.bundle_file", "quire.storage.search", "quire.store.ledger",
        "quire.store.pruning", "quire.store.archiving",
    }  # fmt: skip
    assert not loaded & (slow - {"cryptography"})  # a key file is opened with it; a raw key is not


def test_the_help_page_builds_each_family_of_commands_once(
    here: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    load = Lazy._load

    def counted(group: Lazy, module: str) -> None:
        built.append(module)
        load(group, module)

    monkeypatch.setattr(Lazy, "_load", counted)
    shown = here("--help").out
    assert all(f"\n  {name} " in shown for name in MODULES)
    assert len(built) > 20
    assert len(built) == len(set(built))


def test_space(own_here: InProcess) -> None:
    own_here("channel", "create", "roomy")
    own_here("post", "roomy", "x" * 2_000)
    found = own_here("storage", "--json").json
    assert found["channels"][0]["kinds"]["text"] > 2_000
    shown = own_here("storage").out
    assert "#roomy" in shown
    assert "█" in shown
    assert "under 30 days" in shown
    assert own_here("quota", "--soft", "1", "--hard", "1GB", "--json").json["state"] == "soft"
    assert "the soft quota is reached" in own_here("post", "roomy", "more").err
    assert own_here("quota", "--hard", "10", "--json").json["state"] == "hard"
    assert own_here("post", "roomy", "too much", "--json", code=6).error["rule"] == "quota_hard"
    assert own_here("quota", "--soft", "1GB", "--json", code=2).error["rule"] == "quota_order"
    assert own_here("quota", "--soft", "off", "--hard", "off", "--json").json["hard"] is None
    own_here("post", "roomy", "again")
    assert own_here("compact", "--json").json["freed"] >= 0
