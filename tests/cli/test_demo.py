"""`make demo` shows what it promises, and removes only what is its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def demo(folder: Path, compiled: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PYTHONPYCACHEPREFIX": str(compiled),
        "TZ": "UTC",
        "LANG": "C.UTF-8",
        "COLUMNS": "80",
    }
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo.py"), str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.bounded
def test_the_demo(tmp_path: Path, compiled: Path) -> None:
    done = demo(tmp_path / "demo", compiled)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    for shown in (
        "imported 199 messages",
        "#pyscript-ltk",
        "2 replies by 1 person",
        "🎉 1  👍 1",
        "Is it searchable, [-to-]{+too+}?",
        "#tutorial",
        "all as it was written",
        "laptop: reads: Hello, all of you.",
        "laptop: reads: Still there?",
        "show the same history",
        "export QUIRE_VAULT=",
    ):
        assert shown in done.stdout


def test_it_leaves_other_vaults_alone(tmp_path: Path, compiled: Path) -> None:
    precious = tmp_path / "vault" / "vault.db"
    precious.parent.mkdir()
    precious.write_text("precious")
    done = demo(tmp_path, compiled)
    assert done.returncode != 0
    assert precious.read_text() == "precious"
