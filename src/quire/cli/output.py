"""Where output goes: results to stdout, everything said beside them to stderr.

With `--json` stdout holds one JSON object and nothing else (`read --follow` is the exception: one object
a line). Rich is imported only when something is rendered, so that scripts do not wait for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from quire.cli import text
from quire.cli.settings import Settings, child_environment

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Output", "error_text", "json_text"]

# What JSON may hold raw but a terminal would obey; always inside a string, so an escape is the same value.
UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Output:
    """Prints for one command, as its settings ask."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def console(self) -> Console:
        return _console(stderr=False)

    @cached_property
    def errors(self) -> Console:
        return _console(stderr=True)

    @property
    def json(self) -> bool:
        return self.settings.json

    def emit(self, value: object) -> None:
        """One JSON value on a line of stdout."""
        sys.stdout.write(json_text(value) + "\n")
        sys.stdout.flush()

    def show(self, *parts: RenderableType) -> None:
        """For people, on stdout."""
        if parts:
            self.console.print(*parts, sep="\n")  # at once: each call of print costs half a millisecond

    def done(self, value: object, *parts: RenderableType) -> None:
        """What a command changed: JSON if asked for, else a line for people unless --quiet."""
        if self.json:
            self.emit(value)
        elif not self.settings.quiet:
            self.show(*parts)

    def note(self, words: str) -> None:
        """Something said beside the result, on stderr; silent with --quiet and --json."""
        if not (self.settings.quiet or self.json):
            sys.stdout.flush()  # what was said first is read first
            sys.stderr.write(text.block(words) + "\n")
            sys.stderr.flush()

    def paged(self, parts: Iterable[RenderableType], *, at_end: bool = False) -> None:
        """For people, on stdout, through the pager if a terminal's screen does not hold it."""
        if not self.console.is_terminal or not sys.stdin.isatty():
            self.show(*parts)
            return
        with self.console.capture() as captured:
            self.show(*parts)
        rendered = captured.get()
        if rendered.count("\n") < self.console.height or not _page(rendered, at_end=at_end):
            sys.stdout.write(rendered)


def json_text(value: object) -> str:
    """`value` as JSON on one line, safe to show on a terminal."""
    import json

    return UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def error_text(message: str, *, rule: str, hint: str, as_json: bool) -> str:
    """An error as stderr shows it."""
    if as_json:
        return json_text({"error": {"rule": rule, "message": message, "hint": hint}}) + "\n"
    lines = [f"quire: {text.block(message)}"]
    if hint:
        lines.append(f"  hint: {text.block(hint)}")
    return "\n".join(lines) + "\n"


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _page(rendered: str, *, at_end: bool) -> bool:
    """Show it with the user's pager; False if there is none."""
    command = shlex.split(os.environ.get("PAGER") or "less")
    if not command or shutil.which(command[0]) is None:
        return False
    environment = child_environment() | {"LESSCHARSET": "utf-8"}
    if os.path.basename(command[0]) == "less":
        command.append("-R")  # colours only; anything else in the text was made visible by text.py
        if at_end:
            command.append("+G")
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        subprocess.run(command, input=rendered.encode("utf-8", "replace"), env=environment, check=False)
    return True
