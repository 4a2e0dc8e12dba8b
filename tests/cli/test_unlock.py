"""What opens a vault, and that no secret shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quire.storage import unlocking
from tests.cli.conftest import InProcess, Quire

PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def cheap_passphrases() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unlocking, "CALIBRATE_MS", 1)
        yield


@pytest.fixture(scope="module")
def locked(
    tmp_path_factory: pytest.TempPathFactory, compiled: Path, cheap_passphrases: None
) -> tuple[Quire, str]:
    """A vault that a passphrase opens, and its 24 words."""
    run = InProcess(tmp_path_factory.mktemp("locked"), compiled)
    run.environment.pop("QUIRE_KEY_FILE")
    made = run("init", "--json", QUIRE_PASSPHRASE=PASSPHRASE).json
    assert made["vault"] == str(run.vault)
    words = str(made["recovery_phrase"])
    assert len(words.split()) == 24
    return run, words


def pipe_with(content: bytes) -> int:
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return reader


def test_the_environment_and_a_descriptor(locked: tuple[Quire, str]) -> None:
    quire, words = locked
    assert quire("channels", "--json", QUIRE_PASSPHRASE=PASSPHRASE).json == {"channels": []}
    for arguments, content in (
        (["--passphrase-fd"], PASSPHRASE + "\n"),
        (["--recovery", "--passphrase-fd"], words.upper()),
    ):
        reader = pipe_with(content.encode())
        done = quire("channels", "--json", *arguments, str(reader), fds=(reader,))
        os.close(reader)
        assert done.json == {"channels": []}


def test_init_looks_at_the_folder_before_it_asks_for_anything(locked: tuple[Quire, str]) -> None:
    """Nothing that would unlock is given: where a passphrase was wanted first, that would be the complaint."""
    quire, _ = locked
    assert quire("init", "--json", code=2).error["rule"] == "vault_exists"


def test_wrong_ones(locked: tuple[Quire, str]) -> None:
    quire, _ = locked
    done = quire("channels", "--json", QUIRE_PASSPHRASE="wrong horse", code=4)
    assert done.error["rule"] == "wrong_passphrase"
    assert "horse" not in done.err
    reader = pipe_with(" ".join(["legal"] * 24).encode())  # their last one would have to be another
    done = quire("channels", "--recovery", "--passphrase-fd", str(reader), fds=(reader,), code=2)
    os.close(reader)
    assert "legal" not in done.err
    reader = pipe_with(b"\xff\xfe")
    done = quire("channels", "--json", "--passphrase-fd", str(reader), fds=(reader,), code=2)
    os.close(reader)
    assert done.error["rule"] == "passphrase_text"


def test_slots_are_added_changed_and_removed(locked: tuple[Quire, str], tmp_path: Path) -> None:
    quire, _ = locked
    key = tmp_path / "new.key"
    added = quire(
        "passphrase", "add", "key-file", str(key), "--label", "script", "--json", QUIRE_PASSPHRASE=PASSPHRASE
    ).json
    assert (added["kind"], added["label"]) == ("key_file", "script")
    assert key.stat().st_mode & 0o077 == 0
    changed = quire(
        "passphrase", "--json", QUIRE_KEY_FILE=str(key), QUIRE_NEW_PASSPHRASE="battery staple"
    ).json
    quire("channels", QUIRE_PASSPHRASE=PASSPHRASE, code=4)
    quire("channels", QUIRE_PASSPHRASE="battery staple")
    quire("passphrase", "remove", str(changed["slot"]), QUIRE_KEY_FILE=str(key))
    assert quire("passphrase", "--json", code=3, QUIRE_KEY_FILE=str(key)).error["rule"] == "slot_absent"
    again = quire(
        "passphrase",
        "add",
        "passphrase",
        "--json",
        QUIRE_KEY_FILE=str(key),
        QUIRE_NEW_PASSPHRASE=PASSPHRASE,
    ).json
    listed = quire("passphrase", "list", "--json", QUIRE_KEY_FILE=str(key)).json["slots"]
    assert again["slot"] in {one["slot"] for one in listed}
    assert {one["kind"] for one in listed} == {"passphrase", "key_file", "recovery_phrase"}


def test_a_secret_is_never_an_argument(locked: tuple[Quire, str]) -> None:
    quire, _ = locked
    assert quire("channels", "--passphrase", PASSPHRASE, code=2).out == ""


FILE_KEYRING = """
import json, pathlib
import keyring.backend

class Kept(keyring.backend.KeyringBackend):
    priority = 1
    file = pathlib.Path(__file__).with_suffix(".json")

    def _all(self):
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def get_password(self, service, name):
        return self._all().get(f"{service} {name}")

    def set_password(self, service, name, secret):
        self.file.write_text(json.dumps({**self._all(), f"{service} {name}": secret}))
"""


def test_a_vault_that_the_keyring_opens_asks_for_nothing(empty: Quire, tmp_path: Path) -> None:
    """Until the keyring loses its key, or there is none on this machine: then somebody is asked as ever."""
    run = empty.copy(tmp_path / "copy")
    (tmp_path / "kept.py").write_text(FILE_KEYRING)
    path = os.pathsep.join(filter(None, [str(tmp_path), run.environment.get("PYTHONPATH")]))
    run.environment |= {"PYTHON_KEYRING_BACKEND": "kept.Kept", "PYTHONPATH": path}
    run("passphrase", "add", "keyring")
    assert run("channels", "--json", QUIRE_KEY_FILE="").json == {"channels": []}
    (tmp_path / "kept.json").unlink()
    assert run("channels", "--json", QUIRE_KEY_FILE="", code=4).error["rule"] == "no_terminal"
    run.environment["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    assert run("channels", "--json", QUIRE_KEY_FILE="", code=4).error["rule"] == "no_terminal"
