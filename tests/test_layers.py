"""Imports point inwards, and the inside is pure. docs/architecture.md explains the table."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from tests.sources import FILES, SOURCE, nodes

MAY_IMPORT = {
    "errors": "",
    "core": "errors",
    "storage": "errors core",  # reads and writes; decides nothing
    "exchange": "errors",  # foreign files become records, and lines become files; it knows neither vault nor operation
    "sync": "errors core",  # the protocol, without I/O
    "store": "errors core storage exchange.model exchange.detect exchange.exported exchange.inside"
    " exchange.writers exchange.writing exchange.out_jsonl",  # where the layers meet
    "channels": "errors core storage store exchange.model exchange.exported",
    "transports": "errors core",  # they move frames
    "relay": "errors core.relay_frames",  # holds no keys, and knows of no members
    "node": "errors core sync store channels transports",
    "cli": "errors core channels store node relay transports.interface storage.outside storage.keyslots exchange.model"
    " exchange.detect exchange.exported",
    "testing": "errors core storage store channels exchange sync transports node relay.backend",
    "": "errors core channels store node",  # the package's own two files: what `import quire` offers
    "__main__": "cli",
}
# What would let the core read, wait, guess or remember.
IMPURE = {
    "asyncio", "glob", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets", "shutil",
    "socket", "sqlite3", "apsw", "subprocess", "sys", "tempfile", "threading", "time",
}  # fmt: skip
# `datetime` parses dates there; these would read the clock.
CLOCKS = {"now", "utcnow", "today"}


def layer_of(path: Path) -> str:
    inner = path.relative_to(SOURCE).with_suffix("").parts
    return "" if inner == ("__init__",) else inner[0]


@cache
def imports_of(path: Path) -> list[str]:
    """Full names of what a file imports, wherever in it; `from a import b` counts as a.b."""
    found: list[str] = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they point"
            found += (f"{node.module}.{alias.name}" for alias in node.names)
    return found


def is_within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def test_imports_point_inwards() -> None:
    assert len(FILES) > 50  # an empty glob must not look like success
    wrong = []
    for path in FILES:
        layer = layer_of(path)
        allowed = [layer, *MAY_IMPORT[layer].split()]
        for name in imports_of(path):
            inner = name.removeprefix("quire.")
            if inner != name and not any(is_within(inner, one) for one in allowed if one):
                wrong.append(f"{path.relative_to(SOURCE)} imports {name}")
    assert not wrong


def test_every_arrow_of_the_table_is_used() -> None:
    used = {(layer_of(path), name.removeprefix("quire.")) for path in FILES for name in imports_of(path)}
    idle = [
        f"{layer} -> {one}"
        for layer, allowed in MAY_IMPORT.items()
        for one in allowed.split()
        if layer not in ("", "testing") and not any(of == layer and is_within(name, one) for of, name in used)
    ]
    assert not idle  # an arrow that nobody needs is a door left open


def test_the_core_is_pure() -> None:
    core = [path for path in FILES if layer_of(path) in ("core", "sync")]
    assert len(core) > 10
    for path in core:
        for name in imports_of(path):
            assert name.split(".")[0] not in IMPURE, f"{path.relative_to(SOURCE)} imports {name}"
        for node in nodes(path):
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await), f"{path.name} awaits"
            if isinstance(node, ast.Attribute):
                assert node.attr not in CLOCKS, f"{path.name} reads the clock"
            if isinstance(node, ast.Name):
                assert node.id not in ("open", "print", "input"), f"{path.name} does I/O"


def test_only_the_database_layer_knows_the_engine_by_name() -> None:
    """SQL stays in storage and store: surfaces and use cases never open a file themselves."""
    for path in FILES:
        if layer_of(path) in ("cli", "exchange", "errors", "core"):
            assert not any(name.split(".")[0] in ("apsw", "sqlite3") for name in imports_of(path)), path.name


def test_every_layer_is_in_the_architecture_page() -> None:
    page = (SOURCE.parent.parent / "docs" / "architecture.md").read_text()
    for layer, allowed in MAY_IMPORT.items():
        if layer and layer != "__main__":
            assert f"| `{layer}` |" in page, f"docs/architecture.md does not name {layer}"
            row = next(line for line in page.splitlines() if line.startswith(f"| `{layer}` |"))
            for one in allowed.split():
                assert f"`{one}`" in row, f"docs/architecture.md: {layer} may import {one}"
