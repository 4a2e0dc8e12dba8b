"""The chart of docs/benchmarks.md: rate, latency and size against history."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.measuring import CONTENDERS, FLOOR, OURS, SQLCIPHER, SQLITE, Row

COLOURS = {OURS: "#0b6e4f", FLOOR: "#8a8a8a", SQLITE: "#c98a1b", SQLCIPHER: "#4a6fa5"}
PANELS = (
    ("bulk import", "bulk import, messages/s"),
    ("one durable send at a time", "durable sends/s, one writer"),
    ("newest 50", "newest 50, us"),
    ("search, newest 20: word", "search, newest 20 hits, us"),
    ("open and newest 50, in process", "open to newest page, ms"),
    ("disk, all included", "disk, bytes/message"),
)


def draw(rows: Sequence[Row], file: Path) -> bool:
    """Draw the chart; False where matplotlib is not installed."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "quire", "font.size": 9, "svg.fonttype": "none"})
    plot: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = plot.subplots(2, 3, figsize=(11, 6), layout="constrained")
    for axis, (what, title) in zip(axes.flat, PANELS, strict=True):
        _panel(axis, [row for row in rows if row.what == what], title)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    plot.close(figure)
    return True


def _panel(axis: Any, rows: list[Row], title: str) -> None:
    """One measurement against history, on a logarithmic scale of messages."""
    axis.set_title(title, fontsize=10)
    axis.set_xscale("log")
    for name in CONTENDERS:
        points = sorted((row.size, row.values[name]) for row in rows if name in row.values)
        if points:
            style = {"linewidth": 2.2 if name == OURS else 1.2, "linestyle": "--" if name == FLOOR else "-"}
            axis.plot(*zip(*points, strict=True), marker="o", color=COLOURS[name], label=name, **style)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("messages in the history", fontsize=8)
    axis.grid(alpha=0.25)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
