"""docs/threat-model.md promises only what a test shows."""

from __future__ import annotations

import ast
import re

from tests.vaults import ROOT

MODEL = ROOT / "docs" / "threat-model.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[list[str]]:
    """The cells of every line that says what someone can or cannot do."""
    lines = [line for line in MODEL.read_text().splitlines() if line.startswith(("| cannot |", "| can |"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_whatever_an_adversary_cannot_do_has_its_test() -> None:
    assert len(rows()) > 30
    for kind, what, shown in rows():
        if kind == "cannot":
            assert NAMED.search(shown), what


def test_every_test_named_is_there() -> None:
    names = [name for row in rows() for name in NAMED.findall(row[2])]
    assert len(names) > 25
    for path in {path for path, _ in names}:
        tree = ast.parse((ROOT / path).read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        missing = {test for of, test in names if of == path} - defined
        assert not missing, f"{path}: {missing}"
