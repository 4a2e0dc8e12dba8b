"""Real commands in fresh processes, on real vaults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

TIMEOUT_SECONDS = 60


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout; fails if anything else is there."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error object on stderr, its last line."""
        return json.loads(self.err.splitlines()[-1])["error"]


class Quire:
    """The command line, one new process a call, unlocked by a key file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = folder / "vault"
        self.key = folder / "vault.key"
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPYCACHEPREFIX") if name in os.environ}
        self.environment = kept | {
            "HOME": str(folder),
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            "QUIRE_VAULT": str(self.vault),
            "QUIRE_KEY_FILE": str(self.key),
            "PYTHONWARNINGS": "error",
        }

    def __call__(self, *arguments: str, code: int = 0, stdin: str | bytes = b"", **environment: str) -> Done:
        """Run a command; it must end with that exit code, and never with a traceback."""
        done = subprocess.run(
            [sys.executable, "-m", "quire", *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env={name: value for name, value in (self.environment | environment).items() if value},
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        result = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in result.err, result.err
        assert result.code == code, f"{arguments}: {result}"
        return result

    def id_of(self, *arguments: str) -> str:
        """The id of the message a command wrote."""
        return str(self(*arguments, "--json").json["id"])


@pytest.fixture(scope="session")
def quire(tmp_path_factory: pytest.TempPathFactory) -> Quire:
    """One vault for all tests that only need some vault; each makes channels of its own."""
    run = Quire(tmp_path_factory.mktemp("cli"))
    run("init", "--key-file", str(run.key), "--name", "Ada")
    return run
