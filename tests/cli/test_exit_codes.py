"""Every exit code, by a real process that has a real reason for it."""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from quire import KeyFile, LocalStore
from tests.cli.conftest import InProcess, Quire

BREAK_STATS = "import quire.store.local as s\ndef broken(self): {}\ns.LocalStore.stats = broken"


@pytest.fixture(scope="session", autouse=True)
def _channel(here: InProcess) -> None:
    here("channel", "create", "codes")


def test_done(quire: Quire) -> None:
    assert quire("help", "exits").out.startswith("   0  done\n")


def test_1_something_found_and_repaired(own: Quire, own_here: InProcess) -> None:
    own_here("channel", "create", "counted")
    own_here("post", "counted", "one")
    with LocalStore.open(own.vault, KeyFile(own.key)) as store:
        store.database.writer.execute("UPDATE channel SET messages = 77 WHERE name = 'counted'")
    report = own("verify", "--json", code=1).json
    assert (report["ok"], report["problem_count"]) == (False, len(report["problems"]))
    assert "channel_view" in {one["what"] for one in report["problems"]}
    assert "channel_view: " in own_here("verify", code=1).out
    assert own("doctor", "--repair", "--json").json["ok"]
    assert own_here("verify", "--json").json["ok"]


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["raed"], "command_line"),
        (["read"], "command_line"),
        (["read", "codes", "--limit", "many"], "command_line"),
        (["read", "codes", "--vault"], "command_line"),
        (["read", "codes", "--before", "soon"], "place_form"),
        (["read", "codes", "--before", "today", "--after", "yesterday"], "options_exclude"),
        (["read", "codes", "--keyring", "--recovery"], "two_ways_to_unlock"),
        (["read", "codes", "--passphrase-fd", "987654"], "bad_descriptor"),
        (["show", "???"], "message_id_form"),
        (["channel", "create", "codes"], "channel_exists"),
        (["import", "x", "--timezone", "Mars/Olympus"], "timezone"),
        (["import", "x", "--date", "yesterday"], "date"),
        (["import", "x", "--date-order", "xyz"], "date_order"),
        (["passphrase", "add", "smell"], "slot_kind"),
        (["init"], "vault_exists"),
    ],
)
def test_2_usage(here: InProcess, arguments: list[str], rule: str) -> None:
    done = here(*arguments, "--json", code=2)
    assert done.error["rule"] == rule
    assert done.error["message"]
    assert done.out == ""


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["read", "nowhere"], "no_channel"),
        (["show", "aaaa-1.0"], "no_message"),
        (["import", "no/such/file.zip"], "path_absent"),
        (["help", "raed"], "no_such_command"),
        (["read", "codes", "--vault", "no/such/vault"], "no_vault"),
    ],
)
def test_3_not_found(here: InProcess, arguments: list[str], rule: str) -> None:
    assert here(*arguments, "--json", code=3).error["rule"] == rule


def test_2_and_3_by_a_real_process(quire: Quire) -> None:
    assert quire("raed", code=2).err.startswith("quire: No such command 'raed'. Did you mean 'read'")
    assert quire("read", "nowhere", code=3).err == (
        "quire: there is no channel nowhere\n  hint: `quire channels` lists them\n"
    )


def test_4_cannot_unlock(quire: Quire, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_bytes(bytes(32))
    done = quire("channels", "--json", "--key-file", str(other), code=4)
    assert done.error["rule"] == "wrong_key_file"
    done = quire("channels", QUIRE_KEY_FILE="", code=4)  # nobody is there to ask
    assert "QUIRE_PASSPHRASE" in done.err
    assert done.out == ""


def test_5_input_of_no_known_form(quire: Quire, tmp_path: Path) -> None:
    path = tmp_path / "noise.bin"
    path.write_bytes(bytes(range(256)) * 16)
    assert quire("import", str(path), "--json", code=5).error["rule"] == "unknown_format"
    done = quire("post", "codes", "-", "--json", stdin=b"caf\xe9", code=5)
    assert done.error["rule"] == "not_utf8"
    assert done.error["message"].endswith("at byte 3")


def test_6_the_disk(own: Quire) -> None:
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))"  # as a quota would
    own("channel", "create", "room", before=full, code=6)
    assert "room" not in own("channels", "--json").out


def test_7_another_process_is_writing(own: Quire) -> None:
    with LocalStore.open(own.vault, KeyFile(own.key)) as store, store.database.transaction():
        impatient = "import quire.storage.database as d; d.BUSY_MS = 50"
        assert own("channel", "create", "late", "--json", before=impatient, code=7).error["rule"] == "busy"
    with (own.vault / "slots.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        impatient = "import quire.storage.files as f; f.LOCK_WAIT_S = 0.05"
        done = own("passphrase", "remove", "1", "--json", before=impatient, code=7)
        assert done.error["rule"] == "locked"


def test_8_damage(own: Quire) -> None:
    slots = own.vault / "slots"
    content = bytearray(slots.read_bytes())
    content[len(content) // 2] ^= 1
    slots.write_bytes(content)
    assert own("channels", "--json", code=8).error["rule"] == "slots_damaged"


def test_8_damage_in_the_database(own: Quire) -> None:
    file = own.vault / "vault.db"
    content = bytearray(file.read_bytes())
    for page in range(8192, len(content), 8192):
        content[page + 100] ^= 1
    file.write_bytes(content)
    assert own("channels", code=8).err.startswith("quire: ")


def test_9_a_newer_vault(own: Quire) -> None:
    with LocalStore.open(own.vault, KeyFile(own.key)) as store:
        store.database.writer.execute("PRAGMA user_version=9999")
    assert "upgrade" in own("channels", code=9).err.lower()


def test_70_a_bug_of_ours(quire: Quire) -> None:
    broken = BREAK_STATS.format("secret = 'rosebud'; 1 / 0")
    done = quire("stats", before=broken, code=70)
    assert done.err.startswith("quire: a bug in Quire: ZeroDivisionError\n")
    assert len(done.err.splitlines()) == 2
    assert "rosebud" not in done.err
    assert "Traceback" in quire("stats", before=broken, code=70, QUIRE_DEBUG="1").err


def test_130_interrupted(quire: Quire) -> None:
    interrupt = BREAK_STATS.format("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    assert quire("stats", before=interrupt, code=130).err == ""


def test_closed_streams_are_silent(quire: Quire) -> None:
    command = shlex.join(quire.command("channels"))
    for closed in (">&-", "2>&-", "<&-"):
        done = subprocess.run(
            ["sh", "-c", f"{command} {closed}"],
            env=quire.environment_with(),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done


def test_141_nobody_reads(quire: Quire) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        quire.command("help", "exits"),
        env=quire.environment_with(),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
