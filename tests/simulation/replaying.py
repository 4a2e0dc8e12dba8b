"""A world in another process: what is drawn from a seed is the same there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LIVE = """
import sys
from pathlib import Path
from quire.testing.{kind} as Drawn
with Drawn(Path(sys.argv[1]), int(sys.argv[2]), devices=6, liars=1, channels=1) as world:
    world.run(int(sys.argv[3]))
    print(world.fingerprint, *world.trace, sep="\\n")
"""


def elsewhere(kind: str, folder: Path, seed: int, steps: int, hash_seed: str) -> list[str]:
    """Its fingerprint and its trace.

    kind         as it is imported: "world import World"
    hash_seed    the order of sets depends on it; nothing else may
    """
    folder.mkdir()
    told = subprocess.run(
        [sys.executable, "-c", LIVE.format(kind=kind), str(folder), str(seed), str(steps)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return told.stdout.splitlines()
