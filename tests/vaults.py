"""Vaults for tests: cheap to make, and looked at from fresh processes.

A key file unlocks them, because Argon2id would cost half a second a vault. It lies beside the folder, so
whoever has the folder's path can open it: also a child process, which gets nothing else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import KeyFile
from quire.storage.outside import create_key_file
from quire.store.local import LocalStore

ROOT = Path(__file__).parent.parent
TIMEOUT_SECONDS = 60
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload([
    "tests.crash.session", "tests.crash.flows", "tests.crash.kept", "quire.store.verify", "quire.store.check_people",
    "quire.store.attachment_care",
])  # fmt: skip
PREAMBLE = """
import json, sys
from pathlib import Path
from tests.vaults import opened
from quire.channels.manager import ChannelManager
store = opened(Path(sys.argv[1]))
manager = ChannelManager(store)
arguments = json.loads(sys.argv[2])
answer = None
"""
EPILOGUE = """
store.close()
print(json.dumps(answer))
"""


def key_of(folder: Path) -> KeyFile:
    """The key file of the test vault in `folder`."""
    return KeyFile(str(folder.with_name(folder.name + ".key")))


def fresh_store(folder: Path, name: str = "vault") -> LocalStore:
    """A new vault `folder/name`, opened."""
    path = folder / name
    create_key_file(Path(key_of(path).path))
    return LocalStore.create(path, key_of(path))


def opened(folder: Path, *, read_only: bool = False, vfs: str | None = None) -> LocalStore:
    """The test vault in `folder`, opened once more."""
    return LocalStore.open(folder, key_of(folder), read_only=read_only, vfs=vfs)


def reopened(store: LocalStore) -> LocalStore:
    """Close a test vault and open it again."""
    store.close()
    return opened(store.folder)


def bodies(store: LocalStore, channel: str) -> list[str]:
    """The texts of a channel as they stand, oldest first."""
    return [message.body for message in ChannelManager(store).get_stored_messages(channel)]


def peak_memory_mib() -> int:
    """The most memory this process ever held. (`getrusage` would count its parent's, before the exec.)"""
    [peak] = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) // 1024


def environment() -> dict[str, str]:
    """What a child process is given: this process's environment, and where `tests` is."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}


def in_fresh_process(
    folder: Path, code: str, *arguments: Any, timeout_seconds: float = TIMEOUT_SECONDS
) -> Any:
    """Run `code` in a new process, with `store`, `manager` and `arguments`; what it assigned to `answer`."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code + EPILOGUE, str(folder), json.dumps(arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_forked_process(folder: Path, code: str, *arguments: Any) -> Any:
    """The same in a new process that shares only imported modules with others, and so starts twenty times as fast."""
    answer = folder.with_name(folder.name + ".answer")
    process = FORKS.Process(target=_answer, args=(str(folder), code, arguments, str(answer)))
    process.start()
    process.join(TIMEOUT_SECONDS)
    assert process.exitcode == 0, code
    process.close()
    return json.loads(answer.read_text())


def _answer(folder: str, code: str, arguments: tuple[Any, ...], answer: str) -> None:
    warnings.simplefilter("error")
    with opened(Path(folder)) as store:
        names = {"store": store, "manager": ChannelManager(store), "arguments": arguments, "answer": None}
        exec(code, names)
        Path(answer).write_text(json.dumps(names["answer"]))
