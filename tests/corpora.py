"""Where the real chat exports are, if this machine has them: `QUIRE_CORPORA`, or `../shared/corpora`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(os.environ.get("QUIRE_CORPORA", Path(__file__).parent.parent.parent / "shared" / "corpora"))


def corpus(relative: str) -> Path:
    """The file or folder of that name; skips the test where the corpora are absent."""
    path = ROOT / relative
    if not path.exists():
        pytest.skip(f"no corpus {relative}: set QUIRE_CORPORA")
    return path


def expected(name: str) -> dict[str, Any]:
    """That corpus's part of counts.json."""
    counts: dict[str, dict[str, Any]] = json.loads(corpus("counts.json").read_text())
    return counts[name]
