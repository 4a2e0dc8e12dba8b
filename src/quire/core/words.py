"""Words, in every script: how text is cut for the search index, and found again for highlighting.

The index's tokenizer (SQLite's `unicode61`) cuts at spaces and punctuation. Scripts without spaces
(Chinese, Japanese, Thai …) and emoji are therefore spaced out, one character a word, before they reach it,
and a query of several such characters becomes a phrase: so two of them inside a sentence are found.
Accents, Arabic and Hebrew points, width and case are folded alike in text and query (Unicode NFKD, UAX #15).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LOCATED_CHARS_MAX = 20_000  # of a text: hits are found in all of it, and marked in its beginning

# Characters that are a word by themselves.
_SINGLE = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff"  # radicals, kana, bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U00020000-\U0003ffff"  # Han, supplementary
)
_SYMBOLS = "\u00a9\u00ae\u2100-\u2bff\u3030-\u303d\u3200-\u33ff\U0001f000-\U0001faff"  # symbols, arrows, dingbats, emoji
_singles = re.compile(f"[{_SINGLE}{_SYMBOLS}]+")
# Marks that are written or left out at will: accents, Hebrew points, Arabic vowels and tatweel, joiners.
_optional = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed\u200b-\u200f\u2060\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]+"
)
_plain = re.compile("[\x00-\x7f]+(?![^\x00-\x7f])")  # ASCII that nothing after it can join
# A word as the index's tokenizer sees it after folding.
_MARKS = "\u0900-\u0dff\u0f00-\u0fff"  # Indic scripts and Tibetan, whose vowel signs are marks inside a word
_word = re.compile(
    f"[{_SINGLE}{_SYMBOLS}]|[^\\W_{_SINGLE}{_SYMBOLS}](?:[^\\W_{_SINGLE}{_SYMBOLS}]|[{_MARKS}])*"
)


def fold(text: str) -> str:
    """Text with case, width and optional marks folded away. ASCII comes back lower-cased."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", _optional.sub("", unicodedata.normalize("NFKD", text))).casefold()


def index_text(text: str) -> str:
    """What is given to the index's tokenizer for `text`."""
    if text.isascii():
        return text
    return _singles.sub(_spaced, fold(text))


def _spaced(run: re.Match[str]) -> str:
    return f" {' '.join(run.group())} "


def words(text: str) -> list[str]:
    """The folded words of a text, in order."""
    return [match.group() for match in _word.finditer(fold(text))]


def spans(text: str, phrases: list[tuple[list[str], bool]]) -> tuple[tuple[int, int], ...]:
    """Where any of the phrases stands in `text`, as [start, end) in characters, in order, merged.

    Only the first LOCATED_CHARS_MAX characters are looked at.

    phrases    each (folded words, is the last one a prefix?)
    """
    text = text[:LOCATED_CHARS_MAX]
    if text.isascii():
        lowered = text.lower()
        found = [
            m.span() for words_, prefix in phrases for m in _ascii(tuple(words_), prefix).finditer(lowered)
        ]
    else:
        found = _found(_located(text), phrases)
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


@lru_cache(256)
def _ascii(wanted: tuple[str, ...], prefix: bool) -> re.Pattern[str]:
    """A phrase in lower-cased ASCII text, where words are runs of letters and digits."""
    first, *others = [re.escape(word) for word in wanted]
    phrase = r"[\W_]+".join(
        [rf"{first}(?<![^\W_]{first})", *others]
    )  # a literal first is looked for ten times as fast
    return re.compile(phrase + ("[^\\W_]*" if prefix else "(?![^\\W_])"))


def _found(
    tokens: list[tuple[str, int, int]], phrases: list[tuple[list[str], bool]]
) -> list[tuple[int, int]]:
    found = []
    for wanted, prefix in phrases:
        size = len(wanted)
        for at in range(len(tokens) - size + 1):
            if _matches([t[0] for t in tokens[at : at + size]], wanted, prefix):
                found.append((tokens[at][1], tokens[at + size - 1][2]))  # noqa: PERF401
    return found


def _matches(words_here: list[str], wanted: list[str], prefix: bool) -> bool:
    if words_here[:-1] != wanted[:-1]:
        return False
    return words_here[-1].startswith(wanted[-1]) if prefix else words_here[-1] == wanted[-1]


def _located(text: str) -> list[tuple[str, int, int]]:
    """The folded words of a text with their places in the original."""
    folded: list[str] = []
    starts: list[int] = []  # for each folded character, where its original begins and ends
    ends: list[int] = []
    at = 0
    for plain in _plain.finditer(text):
        _fold_clusters(text, at, plain.start(), folded, starts, ends)
        at = plain.end()
        folded.append(plain.group().lower())
        starts.extend(range(plain.start(), at))
        ends.extend(range(plain.start() + 1, at + 1))
    _fold_clusters(text, at, len(text), folded, starts, ends)
    return [(m.group(), starts[m.start()], ends[m.end() - 1]) for m in _word.finditer("".join(folded))]


def _fold_clusters(
    text: str, first: int, last: int, folded: list[str], starts: list[int], ends: list[int]
) -> None:
    """Fold text[first:last], each character together with those that may join it."""
    start = first
    for at in range(first + 1, last + 1):
        if at == last or not _joins(text[at]):
            piece = fold(text[start:at])
            folded.append(piece)
            starts.extend([start] * len(piece))
            ends.extend([at] * len(piece))
            start = at


def _joins(character: str) -> bool:
    """May this one melt into the character before it when text is composed? Marks, and the later parts of Hangul."""
    if character.isascii():
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    return "\u1160" <= first <= "\u11ff" or unicodedata.category(first)[0] == "M" or not fold(character)
