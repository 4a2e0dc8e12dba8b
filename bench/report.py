"""From measurements to what people read: text on a terminal, and the tables of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import apsw

from bench.measuring import CONTENDERS, OURS, Row
from bench.targets import verdicts, with_growth

BEGIN = "<!-- measured: begin; written by `make bench` -->"
END = "<!-- measured: end -->"
PACKAGES = ("apsw-sqlite3mc", "cryptography", "msgspec", "sqlcipher3")
TITLES = {
    "import": "Bulk import and disk", "send": "Durable sends", "read": "Reading and searching",
    "open": "Opening", "memory": "Peak memory", "people": "People", "sync": "Sync",
    "export": "Export", "backup": "Backup and restore", "retention": "Letting go",
    "archive": "Archiving",
}  # fmt: skip


def tables(rows: Iterable[Row]) -> str:
    """Markdown: the targets, then every measurement."""
    every = with_growth(rows)
    parts = [f"### Targets\n\n{_targets(every)}"]
    parts += [
        f"### {title}\n\n{_measurements([row for row in every if row.part == part])}"
        for part, title in TITLES.items()
        if any(row.part == part for row in every)
    ]
    return "\n\n".join(parts)


def _targets(rows: Sequence[Row]) -> str:
    lines = [
        [
            verdict.row.what, f"{verdict.row.size:,}", _figure(verdict.measured),
            f"{verdict.target.bound} {_bound(verdict.target.limit, verdict.target.of, verdict.row.unit)}",
            "met" if verdict.met else "**missed**",
        ]
        for verdict in verdicts(rows)
    ]  # fmt: skip
    return _table(["what", "messages", "measured", "target", ""], lines)


def _bound(limit: float, of: str, unit: str) -> str:
    return f"{limit:g} x {of}" if of else f"{limit:,g} {unit}"


def _measurements(rows: Sequence[Row]) -> str:
    """A line for each row; the last columns say how many times as good Quire is."""
    names = [name for name in CONTENDERS if any(name in row.values for row in rows)]
    others = names[1:]
    lines = []
    for row in sorted(rows, key=lambda row: (_first(row, rows), row.size)):
        values = row.values if OURS in row.values else {OURS: row.values.get("", 0.0)}
        ratios = [row.times_as_good(than) for than in others]
        lines.append(
            [row.what, f"{row.size:,}", row.unit]
            + [_figure(values[name]) if name in values else "" for name in names]
            + [f"{ratio:.2f}" if ratio else "" for ratio in ratios]
        )
    return _table(["what", "messages", "unit", *names, *(f"x {name}" for name in others)], lines)


def _first(row: Row, rows: Sequence[Row]) -> int:
    """Where a kind of row first stands: sizes of one thing stay together."""
    return next(number for number, other in enumerate(rows) if other.what == row.what)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    left = {"what", "unit", "target", ""}
    shown = [
        " | ".join(
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        )
        for line in (head, *lines)
    ]
    rule = " | ".join(
        "-" * width if name in left else "-" * (width - 1) + ":"
        for name, width in zip(head, widths, strict=True)
    )
    return "\n".join(f"| {line} |" for line in (shown[0], rule, *shown[1:]))


def _figure(value: float) -> str:
    """Three significant digits, at least."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def circumstances(scratch: Path, source: str, command: str) -> str:
    """What was measured where, without naming the machine."""
    packages = ", ".join(f"{name} {number}" for name in PACKAGES if (number := _version(name)))
    return (
        f"Command `{command}`; {source}. {_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"{_file_system(scratch)}; Python {platform.python_version()}, "
        f"SQLite {apsw.sqlite_lib_version()}, {packages}."
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _file_system(folder: Path) -> str:
    """Its kind: on one in memory, durable writes cost nothing and mean nothing."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown file system"
    holding = [(len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(holding)[1] if holding else "unknown file system"


def rewrite(page: Path, text: str) -> None:
    """Put `text` between the page's markers."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page.name} has no place for the tables")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
