"""QR codes in the terminal: two rows of modules a line, by half blocks.

Light modules are drawn, on black, so that the code is right on every terminal that has colours, and on a dark one
that has none. The quiet zone is the four modules of ISO/IEC 18004; an invite link fits into 65 columns.
"""

from __future__ import annotations

from rich.text import Text

__all__ = ["columns", "qr"]

QUIET = 4
BLOCKS = {
    (False, False): "█",
    (False, True): "▀",
    (True, False): "▄",
    (True, True): " ",
}  # (dark, dark): upper, lower


def qr(data: str) -> Text:
    """`data` as a code."""
    import segno

    code = segno.make_qr(data, error="l")
    rows = [tuple(map(bool, row)) for row in code.matrix_iter(border=QUIET)]
    if len(rows) % 2:
        rows.append((False,) * len(rows[0]))
    lines = (
        "".join(BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )
    return Text("\n".join(lines), "bright_white on black", no_wrap=True, overflow="crop")


def columns(code: Text) -> int:
    """How wide a terminal it needs."""
    return len(code.plain.partition("\n")[0])
