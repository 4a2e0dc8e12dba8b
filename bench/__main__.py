"""`python -m bench`: measure Quire beside a bare-SQLite floor, plain SQLite and SQLCipher, in one run.

For each size of history it is built once in every contender, measured part by part, and removed. A full run
(10,000, 100,000 and 1,000,000 messages) keeps its figures in docs/benchmarks/measured.json, which the tables of
docs/benchmarks.md and the chart are made from. After every part they are kept, so that a run can be taken up
with `--only` and `--size`, and the rows of other parts stand as they were.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import (
    archiving,
    backing,
    building,
    chart,
    data,
    erasing,
    exporting,
    letting,
    memory,
    opening,
    people,
    reading,
    report,
    sending,
    syncing,
)
from bench.measuring import ROOT, Row

PARTS = (
    building.PART,
    sending.PART,
    reading.PART,
    opening.PART,
    memory.PART,
    people.PART,
    syncing.PART,
    backing.PART,
    letting.PART,
    archiving.PART,
    exporting.PART,
    erasing.PART,
)
SIZES = (10_000, 100_000, 1_000_000)
QUICK = 10_000
PAGE = ROOT / "docs" / "benchmarks.md"
KEPT = ROOT / "docs" / "benchmarks" / "measured.json"
CHART = ROOT / "docs" / "benchmarks" / "history.svg"


class Kept(msgspec.Struct):
    """What was measured, and where."""

    circumstances: str = ""
    rows: list[Row] = []

    def add(self, new: Sequence[Row]) -> None:
        """Rows of today, in place of those of the same name."""
        today = datetime.now(UTC).date().isoformat()
        for row in new:
            row.when = today
        replaced = {row.key for row in new}
        self.rows = [row for row in self.rows if row.key not in replaced] + list(new)


def run(
    sizes: Sequence[int], parts: Sequence[str], kept: Kept, file: Path | None, command: str, *, real: bool
) -> None:
    """Measure the parts at each size; the figures go into `kept`, and to its file after each."""
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as folder:
        scratch = Path(folder)
        os.environ["XDG_STATE_HOME"] = str(scratch / "state")  # no witness of these vaults stays behind
        say("reading the messages")
        history = data.prepare(scratch, real=real)
        kept.circumstances = report.circumstances(scratch, history.source, command)

        def keep(rows: list[Row]) -> None:
            kept.add(rows)
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")

        if people.PART in parts:
            say("people")
            keep(people.groups(scratch))
        if syncing.PART in parts:
            say("a relay")
            keep(syncing.relayed(scratch))
        for size in sizes:
            if people.PART in parts:
                say(f"{size:,} messages: joining")
                keep(people.join(history, size, scratch))
            if syncing.PART in parts:
                say(f"{size:,} messages: syncing")
                keep(syncing.measure(history, size, scratch))
            if erasing.PART in parts:
                say(f"{size:,} messages: erasing")
                keep(erasing.measure(history, size, scratch))
            if letting.PART in parts:
                say(f"{size:,} messages: letting go")
                keep(letting.measure(history, size, scratch))
            if archiving.PART in parts:
                say(f"{size:,} messages: archiving")
                keep(archiving.measure(history, size, scratch))
            if not set(parts) - {people.PART, syncing.PART, erasing.PART, letting.PART, archiving.PART}:
                continue
            say(f"{size:,} messages: building")
            built, rows = building.build(history, size, scratch)
            if building.PART in parts:
                keep(rows + building.by_channel(history, size, scratch))
            if reading.PART in parts:
                say(f"{size:,} messages: reading")
                keep(reading.measure(built))
            if sending.PART in parts:
                say(f"{size:,} messages: sending")
                keep(sending.measure(built))
            [spot, *_], raw_key = reading.Places(built).newest(), built.ours.raw_key
            built.close()
            if opening.PART in parts:
                say(f"{size:,} messages: opening")
                keep(opening.measure(built, spot, raw_key, scratch))
            if memory.PART in parts:
                say(f"{size:,} messages: memory")
                keep(memory.measure(built, scratch))
            if backing.PART in parts:
                say(f"{size:,} messages: backing up")
                keep(backing.measure(built, scratch))
            if exporting.PART in parts:
                say(f"{size:,} messages: exporting")
                keep(exporting.measure(built, scratch))
            built.remove()


def say(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Quire beside a bare-SQLite floor.")
    parser.add_argument("--size", type=int, action="append", help="messages in the history; may be repeated")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)}")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK:,} messages of the demo, and the docs left alone"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures here, not in the docs")
    options = parser.parse_args(arguments)
    parts = options.only.split(",")
    sizes = sorted(options.size or ([QUICK] if options.quick else SIZES))
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    if sizes[0] < 1:
        parser.error("a history has at least one message")
    documented = not options.quick and options.json is None and set(sizes) <= set(SIZES)
    file = KEPT if documented else options.json
    kept = msgspec.json.decode(file.read_bytes(), type=Kept) if file and file.exists() else Kept()
    command = "make bench" if not arguments else " ".join(["python -m bench", *arguments])
    run(sizes, parts, kept, file, command, real=not options.quick)
    tables = report.tables(kept.rows)
    sys.stdout.write(f"{kept.circumstances}\n\n{tables}\n")
    if documented:
        days = sorted({row.when for row in kept.rows})
        measured = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        report.rewrite(PAGE, f"Measured {measured}. {kept.circumstances}\n\n{tables}")
        chart.draw(kept.rows, CHART)


if __name__ == "__main__":
    main(sys.argv[1:])
