"""A relay in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

START = "from quire.cli.main import run; run()"


@contextlib.contextmanager
def relaying(folder: Path, *arguments: str, before: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """It runs, and is killed at the end; its process, and where it is.

    before    Python that the process runs first: to lower a limit
    """
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{before}\n{START}",
            "relay",
            str(folder),
            "--listen",
            "127.0.0.1:0",
            "--json",
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HOME": str(folder.parent)},
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["url"]
    finally:
        process.kill()
        process.communicate()
