"""The error tree: its picture is true, every error names a rule, and rules for strangers stand in the spec."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

from quire import errors
from quire.errors import QuireError
from tests import vectors
from tests.sources import FILES, SOURCE, nodes

ROOT = Path(__file__).parent.parent
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, QuireError)
}
STRANGERS = ("PeerError", "MalformedError", "UnauthorisedError")
# Not of bytes from elsewhere, though of their class: what our own caller may not do.
OF_CALLERS = {"edit_not_author", "delete_not_author", "erase_not_author"}


@cache
def raised() -> list[tuple[Path, int, str, str | None]]:
    """(file, line, class, rule or None if it is no constant) of every error made in the source."""
    found = []
    for path in FILES:
        for node in nodes(path):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CLASSES:
                rules = [keyword.value for keyword in node.keywords if keyword.arg == "rule"]
                rule = rules[0].value if rules and isinstance(rules[0], ast.Constant) else None
                name = str(rule) if rule else None if rules else ""
                found.append((path, node.lineno, node.func.id, name))
    return found


def test_there_are_errors_to_look_at() -> None:
    assert len(raised()) > 100
    assert set(errors.__all__) == set(CLASSES)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in errors.__doc__.splitlines():
        if (match := re.match(r"([ │├└─]*)(\w+Error)\b", line)) and line.startswith("    "):
            depth, name = len(match[1]), match[2]
            while above and above[-1][0] >= depth:
                above.pop()
            drawn[name] = above[-1][1] if above else None
            above.append((depth, name))
    real = {
        name: kind.__bases__[0].__name__ if kind is not QuireError else None for name, kind in CLASSES.items()
    }
    assert drawn == real


def test_every_error_names_a_rule() -> None:
    """A constant in snake_case; where it is handed on, a variable."""
    for path, line, kind, rule in raised():
        where = f"{path.relative_to(SOURCE)}:{line}: {kind}"
        assert rule != "", f"{where} has no rule"
        assert rule is None or re.fullmatch(r"[a-z][a-z0-9_]*", rule), where


def branch(kind: type[QuireError]) -> str:
    """The class right below QuireError."""
    return next(above.__name__ for above in kind.__mro__ if QuireError in above.__bases__)


def test_one_rule_is_one_kind_of_fault() -> None:
    """Scripts go by the rule: it may be said by a parent and a child, not by two branches."""
    kinds: dict[str, set[str]] = {}
    for _, _, kind, rule in raised():
        if rule:
            kinds.setdefault(rule, set()).add(branch(CLASSES[kind]))
    several = {rule: found for rule, found in kinds.items() if len(found) > 1}
    assert not several


def test_rules_for_bytes_from_elsewhere_stand_in_the_spec() -> None:
    spec = "\n".join(path.read_text() for path in (ROOT / "docs" / "spec").glob("*.md"))
    rules = {rule for _, _, kind, rule in raised() if kind in STRANGERS and rule} - OF_CALLERS
    assert len(rules) > 20
    assert {rule for rule in rules if f"`{rule}`" not in spec} <= {
        "operation_lone_surrogate",  # cannot be written as bytes at all
        "sealing_public", "sealing_open",  # inside 04-keys: reported as slots_forged
        "slots_link",
    }  # fmt: skip


def test_rules_that_the_decoders_name_stand_in_the_spec() -> None:
    spec = "\n".join(path.read_text() for path in (ROOT / "docs" / "spec").glob("*.md"))
    reached = {vectors.load(path).expect for path in vectors.FOLDER.glob("*/*.json")} - {vectors.VALID}
    assert len(reached) > 50
    assert not {rule for rule in reached if f"`{rule}`" not in spec}


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"QuireError"}))
def test_every_class_is_in_the_readme(name: str) -> None:
    kind = CLASSES[name]
    row = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| `{name}` |")
    )
    above = kind.__bases__[0].__name__
    assert above == "QuireError" or f"a `{above}`" in row


def test_an_error_shows_its_facts_and_nothing_else() -> None:
    error = errors.NotFoundError("there is no such channel", rule="no_channel", hint="look", channel="x")
    assert (str(error), error.rule, error.hint, error.details) == (
        "there is no such channel", "no_channel", "look", {"channel": "x"},
    )  # fmt: skip
