"""Taking a history out: each format, a check of a signed one, and the peak memory of a process that exports."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.building import Built
from bench.measuring import OURS, Row, peak_mb, python, run_child
from quire.channels.manager import ChannelManager
from quire.core.crypto.secrets import KeyFile
from quire.store.checking import check_export
from quire.store.local import LocalStore

PART = "export"
FORMATS = ("jsonl", "csv", "markdown", "html")
CODE = "import sys; from bench import exporting; exporting.export(*sys.argv[1:])"


def measure(built: Built, scratch: Path) -> list[Row]:
    """Messages a second of each format, of one after the other; `built` is closed."""
    size, ours = built.size, built.ours
    out = scratch / "export"
    found: list[Row] = []
    with LocalStore.open(ours.folder, KeyFile(ours.key_file)) as store:
        manager = ChannelManager(store)
        for format in FORMATS:
            seconds = timed(lambda format=format: manager.export(out, format=format))  # type: ignore[misc]
            found.append(Row(PART, size, f"export, {format}", "messages/s", {OURS: size / seconds}))
            remove(out)
        manager.export(out, signed=True)
    seconds = timed(lambda: check_export(out))
    found.append(Row(PART, size, "check of a signed export", "messages/s", {OURS: size / seconds}))
    remove(out)
    command = python(CODE, ours.folder, ours.key_file, out)
    found.append(Row(PART, size, "exporting", "MB", {OURS: float(run_child(command, scratch))}))
    remove(out)
    return found


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def export(folder: str, key_file: str, out: str) -> None:
    """In the child: everything, losslessly."""
    with LocalStore.open(folder, KeyFile(key_file)) as store:
        ChannelManager(store).export(out)
    sys.stdout.write(f"{peak_mb()}\n")
