"""Write requirements/*.lock: the exact versions installed in .venv, by the groups of pyproject.toml."""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def closure(requirements: list[str]) -> set[str]:
    """Names of these distributions and of all they need here."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting.extend(Requirement(text) for text in distribution(name).requires or ())
    return found


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = {"runtime": project["project"]["dependencies"], **project["dependency-groups"]}
    for group, requirements in groups.items():
        names = sorted(closure(requirements))
        lines = [
            f"# Written by `make lock` for the group {group!r} of pyproject.toml.",
            *(f"{n}=={version(n)}" for n in names),
        ]
        (ROOT / "requirements" / f"{group}.lock").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
