"""Emoji as characters: shortcodes (`:tada:`), code points (`1f389`) and skin tones resolved.

Chat services store an emoji by a name of their own. A reader wants the character, and two exports of
one community should agree on it, so importers resolve what is well known and leave the rest (a
workspace's own emoji) as `:name:`. The names are data, in `emoji.txt`, not taken from `unicodedata`:
what a name means must not change with the Python that runs the import.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

__all__ = ["emoji", "from_code", "replace_shortcodes"]

TONES = {str(n): chr(0x1F3FB + n - 2) for n in range(2, 7)}  # skin-tone-2 .. skin-tone-6
TONE = re.compile(r"::?skin-tone-([2-6])(?:-([2-6]))?$")
DISCORD_TONE = re.compile(r"_tone([1-5])$")  # counts from 1
PEOPLE = re.compile("[\U0001f468\U0001f469\U0001f9d1]")
CHILDREN = re.compile("[\U0001f466\U0001f467\U0001f46a\U0001f9d2]\\Z")  # families have no skin tones
LETTER = re.compile(r"regional_indicator_([a-z])")
FLAG = re.compile(r"flag[-_]([a-z]{2})")
VARIATION = "\ufe0f"

# A colon after a letter or digit is punctuation (10:30:45, std::key::x), not the start of a name. Names may
# stand close together (:a::b:), so a whole run is taken at once.
RUN = re.compile(r":(?<![A-Za-z0-9:]:)[A-Za-z0-9_+'\-]{1,64}:(?::[A-Za-z0-9_+'\-]{1,64}:)*")
NAME = re.compile(r":([^:]+(?:::skin-tone-[2-6](?:-[2-6])?)?):")


def emoji(name: str) -> str:
    """The character(s) called `name`, colons or none, skin tone or none; `:name:` if it is unknown."""
    plain = name.strip(":")
    return _lookup(plain) or f":{plain}:"


def from_code(code: str) -> str:
    """The character(s) of hex code points joined by `-` ("1f468-200d-1f4bb"); "" if it is no such thing."""
    try:
        points = [int(part, 16) for part in code.split("-")]
        text = "".join(map(chr, points))
    except (ValueError, OverflowError):
        return ""
    return "" if any(0xD800 <= point < 0xE000 or point < 0x20 for point in points) else text


def replace_shortcodes(text: str) -> str:
    """`text` with the `:names:` that are known as characters; unknown ones stay as written."""
    return RUN.sub(lambda run: NAME.sub(_replaced, run[0]), text) if ":" in text else text


def _replaced(match: re.Match[str]) -> str:
    return _lookup(match[1]) or match[0]


@cache
def _table() -> dict[str, str]:
    lines = resources.files(__package__).joinpath("emoji.txt").read_text("utf-8").splitlines()
    rows = (line.split() for line in lines if not line.startswith("# "))
    return {name: row[0] for row in rows for name in row[1:]}


def _lookup(name: str) -> str:
    """The character(s), or ""."""
    table = _table()
    found = table.get(name)
    if found is not None:
        return found
    if (toned := TONE.search(name)) is not None:
        base = _lookup(name[: toned.start()])
        return _with_tone(base, toned[1], toned[2]) if base else ""
    if (toned := DISCORD_TONE.search(name)) is not None:
        base = _lookup(name[: toned.start()])
        return _with_tone(base, str(int(toned[1]) + 1), None) if base else ""
    lower = name.lower()
    if lower in table:
        return table[lower]
    if (flag := FLAG.fullmatch(lower)) is not None:
        return table.get("flag-" + flag[1], "")
    if (letter := LETTER.fullmatch(lower)) is not None:
        return chr(0x1F1E6 + ord(letter[1]) - ord("a"))
    return table.get(lower.replace("-", "_"), "")


def _with_tone(base: str, tone: str, second: str | None) -> str:
    """`base` in one or, for two people, two skin tones."""
    if CHILDREN.search(base):
        return base
    if not PEOPLE.search(base):
        return base[0] + TONES[tone] + base[1:].removeprefix(VARIATION)
    tones = iter((TONES[tone], TONES[second or tone]))
    return PEOPLE.sub(lambda person: person[0] + next(tones, TONES[tone]), base)
