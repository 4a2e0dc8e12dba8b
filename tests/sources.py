"""The source as syntax trees, parsed once for all tests that look at it."""

from __future__ import annotations

import ast
import gc
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "quire"
FILES = sorted(SOURCE.rglob("*.py"))


@cache
def _every() -> dict[Path, tuple[ast.AST, ...]]:
    gc.disable()  # none of it goes again: looking for what does would take longer than all the rest
    try:
        return {path: tuple(ast.walk(ast.parse(path.read_text()))) for path in FILES}
    finally:
        gc.freeze()
        gc.enable()


def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file."""
    return _every()[path]
