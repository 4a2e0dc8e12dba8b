"""Rows in columns: as wide as what they hold, cut at the edge of the screen, with nothing behind the last word.

The first column gives way where the screen is too narrow for all. Where that does not do, each row is its first cell and,
below it, the others by name, wrapped: nothing is cut.
`beside` is the other form: a narrow column, and words that wrap next to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["beside", "table"]

GAP = "  "
FIRST_MIN = 12  # cells that the first column keeps


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console, *, bold: Sequence[bool] = ()
) -> Iterator[Text]:
    """A line for the headings and one for each row; `bold` says which rows stand out."""
    widths = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    over = sum(widths) + len(GAP) * (len(widths) - 1) - console.width
    least = min(widths[0], FIRST_MIN)
    if widths[0] - over < least:
        yield from _stacked(headings, rows, console, bold)
        return
    widths[0] -= max(over, 0)
    for number, row in enumerate([headings, *rows]):
        cells = [fitted(cell, width) for cell, width in zip(row, widths, strict=True)]
        stands_out = number == 0 or (len(bold) >= number and bold[number - 1])
        yield Text(GAP.join(cells).rstrip(), "bold" if stands_out else "", no_wrap=True)


def fitted(cell: str, width: int) -> str:
    """So wide: filled up with spaces, or cut with an ellipsis."""
    return set_cell_size(cell, width - 1) + "…" if cell_len(cell) > width else set_cell_size(cell, width)


def _stacked(
    headings: Sequence[str], rows: Sequence[Sequence[str]], console: Console, bold: Sequence[bool]
) -> Iterator[Text]:
    for number, row in enumerate(rows):
        yield Text(row[0], "bold" if len(bold) > number and bold[number] else "")
        named = (f"{name} {cell}" for name, cell in zip(headings[1:], row[1:], strict=True) if cell)
        yield from beside("", Text(", ".join(named)), console, "")


def beside(left: str, words: Text, console: Console, style: str) -> Iterator[Text]:
    """`words`, wrapped, in a column of their own to the right of `left`."""
    room = console.width - cell_len(left) - len(GAP)
    if room < FIRST_MIN:  # no room for two columns
        yield from (Text(left, style), words)
        return
    for number, part in enumerate(words.wrap(console, room, overflow="fold", tab_size=4)):
        part.rstrip()
        whole = Text((left if number == 0 else " " * cell_len(left)) + GAP, style, no_wrap=True, end="")
        whole.append_text(part)
        whole.end = "\n"
        yield whole
