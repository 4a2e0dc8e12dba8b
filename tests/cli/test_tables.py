"""Rows in columns: on a wide screen, on one where the first column gives way, and on a telephone's."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.console import Console

from quire.cli.qr import qr
from quire.cli.space import chart
from quire.cli.tables import table

HEADINGS = ("member", "role", "id", "since", "devices", "reads")
ROW = (
    "Ada Lovelace of Ockham Park (you)",
    "moderator",
    "1f2e3d4c",
    "5 Mar 2024 09:14",
    "12",
    "since joining",
)


def shown(width: int) -> list[str]:
    return [text.plain for text in table(HEADINGS, [ROW], Console(width=width), bold=[True])]


def test_a_wide_screen_shows_all_and_a_narrower_one_shortens_the_first_column() -> None:
    headings, row = shown(120)
    assert headings.startswith("member")
    assert all(cell in row for cell in ROW)
    _, row = shown(80)
    assert row.startswith("Ada Lovelace")
    assert "…" in row
    assert all(cell in row for cell in ROW[1:])


@pytest.mark.parametrize("width", [20, 40, 60])
def test_on_a_narrow_screen_nothing_is_cut(width: int) -> None:
    lines = shown(width)
    assert lines[0] == ROW[0]  # which the terminal wraps
    assert all(len(line.rstrip("\n")) <= width for line in lines[1:])
    words = " ".join(" ".join(lines[1:]).split())
    for name, cell in zip(HEADINGS[1:], ROW[1:], strict=True):
        assert f"{name} {cell}" in words


def test_a_chart_keeps_to_its_lines_and_the_most_has_the_longest_bar() -> None:
    rows = [
        ("#" + "long-name-of-a-channel" + "…", 267_500_000, "501,841 messages"),
        ("older", 8_000, "1 message"),
    ]
    for width in (80, 120):
        most, least = (text.plain for text in chart(rows, width))
        assert cell_len(least) < cell_len(most) <= width
        assert "267.5 MB  100 %  501,841 messages  █" in most
    narrow, _ = (text.plain for text in chart(rows, 20))
    assert "501,841 messages" in narrow  # no room for a bar; nothing is lost


def test_a_code_has_the_quiet_zone_that_readers_need() -> None:
    rows = qr("quire:join:" + "x" * 189).plain.split("\n")
    assert len(rows[0]) <= 65  # a link of any length
    assert set(rows[0]) == set(rows[1]) == {"█"}  # two modules a line
    assert all(row.startswith("████") and row.endswith("████") for row in rows)
    assert rows[2][4] != "█"
