"""The documents are true: examples run and print what they show, links lead somewhere, tables are the code's."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import apsw
import pytest

from quire.core import limits
from quire.core.words import index_text
from quire.exchange.detect import importers
from quire.exchange.exported import (
    AuthorLine,
    ChannelLine,
    CommitLine,
    EndLine,
    HeaderLine,
    MessageLine,
    SealLine,
)
from quire.storage.schema import TOKENIZER
from tests.cli.conftest import CHEAP, in_this_process

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "vectors" / "README.md",
]
ID = re.compile(r"[a-z2-7]{4,16}-\d+\.\d+")
EXAMPLES = re.findall(r"```python\n(.*?)```\n.*?```text\n(.*?)```", README, re.DOTALL)


def test_the_readme_s_examples_in_fresh_processes(tmp_path: Path) -> None:
    """One after the other in one folder: the later ones open what the first made."""
    assert len(EXAMPLES) == README.count("```python") == 3
    assert len([line for line in EXAMPLES[0][0].splitlines() if line.strip()]) <= 10
    for code, shown in EXAMPLES:
        environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [sys.executable, "-c", f"{CHEAP}\n{code}"], cwd=tmp_path, env=environment, capture_output=True, text=True,
            encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == (shown, "")


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.bounded])])
def test_the_readme_s_transcript(tmp_path: Path, fresh: bool) -> None:
    """Commands run in order, in fresh processes; lines shown between `…` come out, ids and dates aside."""
    [block] = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    steps = [
        (command, shown.splitlines())
        for command, _, shown in (part.partition("\n") for part in re.split(r"^\$ ", block, flags=re.M)[1:])
    ]
    assert len(steps) > 7
    (tmp_path / "demo").symlink_to(ROOT / "demo")  # where the reader stands
    environment = {
        **os.environ, "HOME": str(tmp_path), "COLUMNS": "80", "LANG": "C.UTF-8",
        "QUIRE_PASSPHRASE": "correct horse", "QUIRE_NEW_PASSPHRASE": "correct horse",
    }  # fmt: skip
    ids: dict[str, str] = {}
    for command, shown in steps:
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            environment[name] = value.replace("~", str(tmp_path))
            continue
        known = ID.sub(lambda match: ids[match[0]], command)
        arguments = shlex.split(known)
        assert arguments[0] == "quire"
        if fresh:
            done = subprocess.run(
                [sys.executable, "-m", "quire", *arguments[1:]], cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout
        out = done.stdout if fresh else in_this_process(known, environment)
        printed = [loose(line) for line in out.splitlines()]
        for line in shown:
            if line != "…":
                assert loose(line) in printed, f"$ {known}\n{out}"
        for ours, theirs in zip(ID.findall("\n".join(shown)), ID.findall(out), strict=False):
            ids.setdefault(ours, theirs)


def loose(line: str) -> str:
    return " ".join(re.sub(r"\d{1,2} [A-Z][a-z]{2}( \d{4})? \d\d:\d\d", "WHEN", ID.sub("ID", line)).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_no_heading_stands_empty(page: Path) -> None:
    text = re.sub(r"```.*?```", "```", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), flags=re.M)
            assert anchor in {
                re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
            }
    headings = re.split(r"^(#+) .*$", text, flags=re.M)[1:]
    for level, body, following in zip(headings[::2], headings[1::2], [*headings[2::2], ""], strict=False):
        assert body.strip() or len(following) > len(level), f"{page.name}: an empty heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    """`core/limits.py`, `docs/spec/`, `tests/store`: in code quotes, from the root or the package."""
    for name in re.findall(
        r"`((?:src|docs|tests|vectors|scripts|fuzz|core|storage|store|exchange|channels|cli|testing)/[\w/.*-]+)`",
        page.read_text(),
    ):
        found = [*ROOT.glob(name), *(ROOT / "src" / "quire").glob(name), *(ROOT / "tests").glob(name)]
        assert found or name.startswith("fuzz/found"), f"{page.name}: there is no {name}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            links = re.findall(r"\]\(([^)\s#]+)", page.read_text())
            todo += [(page.parent / link).resolve() for link in links if not link.startswith("http")]
    assert not {page.name for page in PAGES if page.resolve() not in seen}


def test_limits_are_those_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_limits.py"), "--check"], cwd=ROOT, check=False
    )
    assert done.returncode == 0, "run scripts/make_limits.py"
    page = (ROOT / "docs" / "limits.md").read_text()
    names = [name for name in vars(limits) if name.isupper()]
    assert len(names) >= 20
    assert all(f"`{name}`" in page for name in names)


def test_the_schema_of_exports_is_that_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_schema.py"), "--check"], cwd=ROOT, check=False
    )
    assert done.returncode == 0, "run scripts/make_schema.py"


def test_every_field_of_an_export_is_described() -> None:
    page = (ROOT / "docs" / "export-jsonl.md").read_text()
    for line in (HeaderLine, ChannelLine, AuthorLine, MessageLine, CommitLine, SealLine, EndLine):
        assert f"### `{line.__struct_config__.tag}`" in page
        for field in line.__struct_fields__:
            assert f"`{field}`" in page, field


def test_every_format_has_its_line() -> None:
    page = (ROOT / "docs" / "import.md").read_text()
    assert re.findall(r"^\| `([\w-]+)` \| [^|]+\|[^|]+\|[^|]*\|$", page, flags=re.M) == sorted(
        (importer.NAME for importer in importers()), key=lambda name: page.index(f"| `{name}` |")
    )


def test_every_dependency_has_its_line_and_its_use() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    page = (ROOT / "docs" / "dependencies.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    groups = project["dependency-groups"]
    runtime = [re.split(r"[<>=\[]", line)[0] for line in project["project"]["dependencies"]]
    named = runtime + [
        re.split(r"[<>=\[]", line)[0] for group in groups.values() for line in group if isinstance(line, str)
    ]
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, flags=re.M)) == set(named)
    for name in set(runtime) - {"tzdata"}:  # data for `zoneinfo`
        module = name.removesuffix("-sqlite3mc").replace("-", "_")
        assert re.search(rf"^\s*(import|from) {module}\b", source, flags=re.M), f"{name} is not used"


def test_the_table_of_scripts_is_what_search_finds() -> None:
    """docs/decisions/0004: the last column."""
    page = (ROOT / "docs" / "decisions" / "0004-text-for-search.md").read_text()
    cases = re.findall(r"^\| (\S+) \| ([^|]+) \| (?:yes|no) \| (?:yes|no) \| yes \|$", page, flags=re.M)
    assert len(cases) == 8
    index = apsw.Connection(":memory:")
    index.execute(f'CREATE VIRTUAL TABLE s USING fts5(body, tokenize="{TOKENIZER}")')
    for query, text in cases:
        index.execute("DELETE FROM s")
        index.execute("INSERT INTO s VALUES(?)", (index_text(text.strip()),))
        assert index.execute(
            "SELECT 1 FROM s WHERE s MATCH ?", (f'"{index_text(query).strip()}"',)
        ).fetchall(), query


def test_the_changelog_knows_the_version() -> None:
    assert importlib.util.find_spec("quire") is not None
    from quire import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
