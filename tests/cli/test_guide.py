"""The guide is true: its commands run in order, in fresh processes, and print what it shows.

Ids differ in every vault, so an id of the guide stands for the one that came out in its place, in
later commands too. Times, dates, sizes, rules of `─` and runs of spaces are compared as such. `…`
on a line stands for anything on it; alone on a line, for any lines.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from quire.cli.exits import EXITS
from quire.cli.settings import ENVIRONMENT
from quire.cli.startup import MODULES
from tests.cli.conftest import CHEAP, in_this_process

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "guide.md").read_text()
IN_PROCESS = re.compile(r"quire [^|<>&;$`~*]*")
ID = re.compile(r"[a-z2-7]{4,16}-\d+\.\d+")
LOOSE = (
    (re.compile(r"── \w+ \d+ \w+ \d{4} ─+"), "DAY"),
    (re.compile(r"\d{1,2} [A-Z][a-z]{2}( \d{4})? \d\d:\d\d"), "WHEN"),
    (re.compile(r"\d\d:\d\d"), "TIME"),
    (re.compile(r"\d[\d,.]* (bytes|[kMG]B)"), "SIZE"),
    (re.compile(r"( ?\d?\d  [a-z]+ *){4}"), "WORDS"),
    (re.compile(r"New vault: .*"), "New vault: FOLDER"),
    (re.compile(r"read [\d,]+ commits?, [\d,]+ operations?, [\d,]+ messages?, \d+ logs?"), "READ"),
    (re.compile(r" +"), " "),
)


class Step(NamedTuple):
    """A command of the guide and what it shows."""

    command: str
    output: list[str]


def steps() -> list[Step]:
    found: list[Step] = []
    for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:], []))
            elif not line.startswith(("New passphrase:", "The same again:")):  # only at a terminal
                found[-1].output.append(line)
    return found


def loose(line: str) -> str:
    for pattern, name in LOOSE:
        line = pattern.sub(name, line)
    return line.strip()


def matches(shown: list[str], printed: list[str], ids: dict[str, str]) -> bool:
    """Is this output what the guide shows? Learns which id stands for which."""
    if not shown:
        return not printed
    if shown[0] == "…":
        return any(matches(shown[1:], printed[skip:], ids) for skip in range(len(printed) + 1))
    if not printed:
        return False
    for ours, theirs in zip(ID.findall(shown[0]), ID.findall(printed[0]), strict=False):
        ids.setdefault(ours, theirs)
    expected = ID.sub(lambda match: ids.get(match[0], "no such id"), shown[0])
    pattern = ".*".join(re.escape(part) for part in loose(expected).split("…"))
    return re.fullmatch(pattern, loose(printed[0])) is not None and matches(shown[1:], printed[1:], ids)


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.bounded])])
def test_the_guide(tmp_path: Path, compiled: Path, fresh: bool) -> None:
    """In fresh processes; the fast suite runs in this one what needs no shell."""
    found = steps()
    assert len(found) > 20  # a changed fence must not look like success
    (tmp_path / "demo").symlink_to(ROOT / "demo")  # where the reader stands
    commands = tmp_path / "bin"
    commands.mkdir()
    code = f"{CHEAP}\nfrom quire.cli.main import run\nrun()"
    (commands / "quire").write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"\n'
    )
    (commands / "quire").chmod(0o755)
    environment = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPYCACHEPREFIX": str(compiled),
        "HOME": str(tmp_path),
        "TZ": "UTC",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "COLUMNS": "80",
        "QUIRE_PASSPHRASE": "correct horse",
        "QUIRE_NEW_PASSPHRASE": "correct horse",
    }
    ids: dict[str, str] = {}
    for step in found:
        command = ID.sub(lambda match: ids.get(match[0], match[0]), step.command)
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environment[name] = value.replace("~", str(tmp_path))
            environment.pop("QUIRE_PASSPHRASE", None)  # nobody types it from here on
            continue
        run = in_a_shell if fresh or not IN_PROCESS.fullmatch(command) else in_this_process
        printed = run(command, environment).splitlines()
        assert matches(step.output, printed, ids), f"$ {command}\n" + "\n".join(printed)


def in_a_shell(command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        ["sh", "-c", command], cwd=environment["HOME"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=60, check=False,
    )  # fmt: skip
    return done.stdout.decode()


def test_the_tables_are_those_of_the_code() -> None:
    for row in EXITS:
        assert f"| {row.code} | {row.meaning} |" in GUIDE
    for name, meaning in ENVIRONMENT:
        assert f"| `{name}` | {meaning} |" in GUIDE


@pytest.mark.parametrize("command", sorted(set(MODULES) - {"help", "init", "name", "unpin", "unbookmark"}))
def test_every_command_is_in_the_guide(command: str) -> None:
    assert f"quire {command}" in GUIDE
