"""Real commands in fresh processes, on real vaults."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quire.cli.main import main
from quire.storage import unlocking

TIMEOUT_SECONDS = 60
CHEAP = "import quire.storage.unlocking as u; u.CALIBRATE_MS = 1"  # new passphrases cost the least allowed


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

    def __init__(self, folder: Path, compiled: Path | None = None) -> None:
        self.folder = folder
        self.vault = folder / "vault"
        self.key = folder / "vault.key"
        self.environment = {
            name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ
        } | {
            # The first process compiles for all; a folder of a test's own would cost each a second.
            "PYTHONPYCACHEPREFIX": str(compiled or os.environ["PYTHONPYCACHEPREFIX"]),
            "HOME": str(folder),
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            "QUIRE_VAULT": str(self.vault),
            "QUIRE_KEY_FILE": str(self.key),
            "PYTHONWARNINGS": "error",
        }

    def __call__(
        self,
        *arguments: str,
        code: int = 0,
        stdin: str | bytes = b"",
        before: str = "",
        fds: tuple[int, ...] = (),
        **environment: str,
    ) -> Done:
        """Run a command; it must end with that exit code, and never with a traceback.

        before         Python that the process runs first: to lower a limit, or to break something
        fds            file descriptors it inherits
        environment    "" takes a variable away
        """
        done = subprocess.run(
            self.command(*arguments, before=before),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            env=self.environment_with(**environment),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            pass_fds=fds,
            check=False,
        )
        result = Done(done.returncode, done.stdout.decode(), done.stderr.decode())
        assert "Traceback" not in result.err or environment.get("QUIRE_DEBUG"), result.err
        assert result.code == code, f"{arguments}: {result}"
        return result

    def command(self, *arguments: str, before: str = "") -> list[str]:
        if not before:
            return [sys.executable, "-m", "quire", *arguments]
        return [sys.executable, "-c", f"{before}\nfrom quire.cli.main import run\nrun()", *arguments]

    def environment_with(self, **environment: str) -> dict[str, str]:
        return {name: value for name, value in (self.environment | environment).items() if value}

    def copy(self, folder: Path) -> Quire:
        """The same vault and key, in another folder."""
        run = Quire(folder, Path(self.environment["PYTHONPYCACHEPREFIX"]))
        shutil.copytree(self.vault, run.vault)
        shutil.copyfile(self.key, run.key)
        return run

    @property
    def here(self) -> InProcess:
        """The same, its commands run in this process."""
        return InProcess(self.folder, Path(self.environment["PYTHONPYCACHEPREFIX"]))

    def id_of(self, *arguments: str) -> str:
        """The id of the message a command wrote."""
        return str(self(*arguments, "--json").json["id"])


class InProcess(Quire):
    """The same commands run in this process: for the many that differ only in what they print."""

    def __call__(
        self,
        *arguments: str,
        code: int = 0,
        stdin: str | bytes = b"",
        before: str = "",
        fds: tuple[int, ...] = (),
        **environment: str,
    ) -> Done:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.environment | environment).items():
                patch.setenv(name, value)
            patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8"))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                ended = main(arguments)
        done = Done(ended, *(stream.buffer.getvalue().decode() for stream in (out, err)))
        assert done.code == code, f"{arguments}: {done}"
        return done


def in_this_process(command: str, environment: dict[str, str]) -> str:
    """What `quire` and words print in this process, under this environment."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("QUIRE_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(environment["HOME"])
        patch.setattr(unlocking, "CALIBRATE_MS", 1)
        patch.setattr("sys.stdin", io.StringIO())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main(shlex.split(command)[1:])
    return out.buffer.getvalue().decode()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Quire:
    """A new vault, never written to: the others are copies of it."""
    run = Quire(tmp_path_factory.mktemp("empty"), compiled)
    run("init", "--name", "Ada")
    return run


@pytest.fixture(scope="session")
def quire(empty: Quire, tmp_path_factory: pytest.TempPathFactory) -> Quire:
    """One vault for all tests that only need some vault; each makes channels of its own."""
    return empty.copy(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def here(quire: Quire) -> InProcess:
    """The vault of `quire`, its commands run in this process."""
    return quire.here


@pytest.fixture
def own_here(own: Quire) -> InProcess:
    """The vault of `own`, its commands run in this process."""
    return own.here


@pytest.fixture
def own(empty: Quire, tmp_path: Path) -> Quire:
    """A vault of the test's own, to count in, to damage or to lock."""
    return empty.copy(tmp_path)
