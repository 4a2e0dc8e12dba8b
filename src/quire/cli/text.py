"""Text that others wrote, made fit for a terminal.

Names, bodies, titles and file names come from strangers and from files. A terminal obeys what it is
shown: an escape sequence in a message could move the cursor, change the title or rewrite what stands
above it, and a bidirectional override can make a line read as something it is not. So everything that
is printed goes through `block` (bodies: lines stay lines) or `line` (names, titles: one line). Both
replace control characters by visible stand-ins, so that what was there can still be seen. Markup
is no danger, because the renderers never parse any: they build `rich.text.Text` from plain strings.
"""

from __future__ import annotations

import re

__all__ = ["block", "bytes_text", "line", "plural"]

MARKS_MAX = 8  # combining marks on one letter; more than any script needs spills over the lines above
LINE_CHARS_MAX = 300  # of a name or title: beyond it nobody reads on

# C0 but tab and newline, DEL, C1, lone surrogates (undecodable bytes of a file name), bidi embeddings,
# overrides and isolates. The marks U+200E/F stay: they only place neutral characters.
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
BREAKS = re.compile("\r\n|[\u2028\u2029\x85]")
MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
MARKS = re.compile(f"({MARK}{{{MARKS_MAX}}}){MARK}+")
SPACES = re.compile(r"\s+")


def block(text: str) -> str:
    """`text` of any number of lines, safe to print."""
    if text.isascii() and text.isprintable():
        return text
    text = BREAKS.sub("\n", text)
    return MARKS.sub(r"\1", UNSAFE.sub(_stand_in, text))


def line(text: str, chars_max: int = LINE_CHARS_MAX) -> str:
    """`text` on one line, safe to print, cut with an ellipsis after `chars_max` characters."""
    text = block(SPACES.sub(" ", text[: chars_max * 4]).strip()).replace("\n", " ")
    return text if len(text) <= chars_max else text[: chars_max - 1].rstrip() + "…"


def bytes_text(size: int) -> str:
    """`12.3 MB`: a size for people."""
    if size < 1000:
        return f"{size} bytes"
    value, units = size / 1000, ["kB", "MB", "GB"]
    while value >= 999.95 and len(units) > 1:
        value /= 1000
        del units[0]
    return f"{value:,.1f} {units[0]}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 reply`, `1,042 replies`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _stand_in(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures: ␛ for ESC
    return "␡" if code == 0x7F else "�"


def a_role(role: str) -> str:
    """`a member`, `an admin`."""
    return f"an {role}" if role[0] in "ao" else f"a {role}"
