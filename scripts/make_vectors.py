"""Write the golden vectors: `python scripts/make_vectors.py`, or with `--check` only compare.

Each scenario becomes one file, vectors/KIND/NAME.json (vectors/README.md says how to read it). Everything
is made from fixed keys, so the same code gives the same files; wrong ones are built by hand out of
MessagePack values, never by the encoder that they test. A scenario whose outcome is not what it says stops
the script: a vector is never written to agree with whatever the code does.

The scenarios stand in scripts/vector_cases.py.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.vectors import FOLDER, outcome
from vector_cases import cases

LONG_RUN = re.compile(rb"(.{1,2}?)\1{511,}", re.DOTALL)


def compact(data: bytes) -> str | list[list[object]]:
    """Hex, or [[hex, times], ...] where one or two bytes are repeated hundreds of times."""
    parts: list[list[object]] = []
    at = 0
    for match in LONG_RUN.finditer(data):
        if match.start() > at:
            parts.append([data[at : match.start()].hex(), 1])
        parts.append([match[1].hex(), len(match[0]) // len(match[1])])
        at = match.end()
    if not parts:
        return data.hex()
    if at < len(data):
        parts.append([data[at:].hex(), 1])
    return parts


def texts() -> dict[Path, str]:
    """File -> contents, of every scenario."""
    files: dict[Path, str] = {}
    for vector in cases():
        found = outcome(vector)
        if found != vector.expect:
            sys.exit(f"{vector.kind}/{vector.name}: expected {vector.expect}, but it is {found}")
        fields = {"name": vector.name, "kind": vector.kind, "bytes": compact(vector.data)}
        fields |= {"expect": vector.expect, "why": vector.why}
        assert not fields.keys() & vector.facts.keys(), (
            f"{vector.kind}/{vector.name}: a fact is called like a field"
        )
        fields |= vector.facts
        path = FOLDER / vector.kind / f"{vector.name}.json"
        if path in files:
            sys.exit(f"two scenarios are called {vector.kind}/{vector.name}")
        files[path] = json.dumps(fields, indent=1, ensure_ascii=False) + "\n"
    return files


def main(check: bool) -> None:
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state  # the witness of the vault that chains are given to
        files = texts()
    there = set(FOLDER.glob("*/*.json"))
    if check:
        differing = sorted(p for p in {*files, *there} if p not in there or files.get(p) != p.read_text())
        sys.exit("\n".join(f"differs: {path.relative_to(FOLDER)}" for path in differing) or 0)
    for path in there - set(files):
        path.unlink()
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"{len(files)} vectors")


if __name__ == "__main__":
    main("--check" in sys.argv)
