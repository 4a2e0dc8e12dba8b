"""What every test gets: its own place for state, and vaults that cost nothing."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quire.channels.manager import ChannelManager
from quire.store.local import LocalStore
from tests import vaults

SHOWING = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PAGER", "EDITOR", "VISUAL")

MEMORY = Path("/dev/shm")  # a disk in memory, where there is one
MEMORY_BYTES = 4 << 30  # what must be free there: a run takes less than one


def pytest_configure(config: pytest.Config) -> None:
    """Vaults of fast tests lie in memory, if nobody says where: files like any, and no flush waits for a disk.

    What a kill leaves is the same there, and what a power cut leaves only faults of a made-up disk can show.
    """
    if config.option.markexpr == "not slow" and _is_roomy(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is there before the first test stays: nobody need look through thousands of tests for what is no longer used."""
    gc.collect()
    gc.freeze()


def _is_roomy(folder: Path) -> bool:
    """May a run's files lie there, and programs among them be run?"""
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return False
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC and shutil.disk_usage(folder).free > MEMORY_BYTES


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Witnesses of test vaults go to a folder of their own, never to the user's home."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def unset() -> Iterator[None]:
    """What a user's shell says of their own vault, and of how things are shown, is not for tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if (name.startswith("QUIRE_") and name != "QUIRE_CORPORA") or name in SHOWING:
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell that runs tests in the background has them, and what they start, ignore SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the processes of all tests keep compiled modules: the first compiles for all, whatever the environment says."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "compiled"
    if sys.pycache_prefix and not sys.dont_write_bytecode:
        folder = Path(sys.pycache_prefix)  # as `make test` says: kept for the next time
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPYCACHEPREFIX", str(folder))
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    """A new, empty vault in `tmp_path / "vault"`, opened."""
    store = vaults.fresh_store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def manager(store: LocalStore) -> ChannelManager:
    """The same vault's channels."""
    return ChannelManager(store)
