"""Write docs/limits.md from core/limits.py: every bound, its value and its reason. `--check` only compares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from quire.core import limits

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "limits.md"
HEAD = """# Limits

Everything has a bound, so that no message, commit, query or file can cost more than this. Beyond a bound is an error
that names it, never a cut text (an import shortens names and titles, and says so in [import](import.md)).

This page is made from `core/limits.py` by `scripts/make_limits.py`.
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for line in Path(limits.__file__).read_text().splitlines():
        if group := re.match(r"# (.+)\.$", line):
            lines += ["", f"## {group[1]}", "", "| limit | value | why |", "|---|---|---|"]
        elif bound := re.match(r"([A-Z_]+) = .*?  # (.+)$", line):
            lines.append(f"| `{bound[1]}` | {getattr(limits, bound[1]):,} | {bound[2]} |")
        else:
            assert not re.match(r"[A-Z_]+ =", line), f"a limit without a reason: {line}"
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text() != page() and "docs/limits.md is not made from core/limits.py")
    PAGE.write_text(page())
