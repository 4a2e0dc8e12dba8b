"""The search of an HTML export: words to pages, in shards that a page loads as it needs them.

The words of a page go into the shard of their first two characters, so that a search also finds words that begin with what
was typed. They are collected in temporary files, one a shard, so memory does not grow with history; at the end each shard is
read, grouped and written as a script. Beside it the texts of each page lie as a script of their own, from which hits are shown.
`html/search.js` folds and cuts words in the same way.
"""

from __future__ import annotations

import json
import re
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from quire.exchange.writing import Files

SHARDS = 1024
WORD_CHARS_MAX = 40
HELD_MAX = 200_000  # words of pages in memory: about 20 MB
WORD = re.compile(r"[^\W_]+")
ALONE = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")  # scripts that put no spaces

Text = tuple[str, str, str, str]  # id, author, when, text


class SearchIndex:
    """Takes pages, leaves a folder of scripts."""

    def __init__(self, folder: Path, files: Files) -> None:
        self._folder = folder
        self._files = files
        self._pages: list[tuple[str, str, int]] = []
        self._held: dict[int, list[str]] = {}
        self._count = 0
        for name in ("s", "t", "new"):
            (folder / name).mkdir(mode=0o700, parents=True)
        folder.chmod(0o700)

    def page(self, url: str, channel: str, time_ms: int, texts: Sequence[Text]) -> None:
        """One page of the export."""
        number = len(self._pages)
        self._pages.append((url, channel, time_ms))
        self._files.write(self._folder / "t" / f"{number}.js", script(f"t/{number}", texts))
        found: set[str] = set()
        for _, author, _, text in texts:
            found.update(words(f"{author} {text}"))
        for word in found:
            self._held.setdefault(shard(word), []).append(f"{word}\t{number}\n")
        self._count += len(found)
        if self._count > HELD_MAX:
            self._spill()

    def finish(self) -> None:
        """Write the shards."""
        self._spill()
        for number in range(SHARDS):
            held = self._folder / "new" / f"{number:x}"
            if held.exists():
                self._files.write(
                    self._folder / "s" / f"{number:x}.js", script(f"s/{number:x}", _grouped(held))
                )
        shutil.rmtree(self._folder / "new")
        self._files.write(self._folder / "pages.js", script("pages", self._pages))

    def _spill(self) -> None:
        for number, lines in self._held.items():
            with (self._folder / "new" / f"{number:x}").open("a", encoding="utf-8") as file:
                file.writelines(lines)
        self._held, self._count = {}, 0


def _grouped(path: Path) -> dict[str, str]:
    """Word -> its pages, as `3,7-12`."""
    pages: dict[str, list[list[int]]] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            word, _, number = line.rstrip("\n").partition("\t")
            page, ranges = int(number), pages.setdefault(word, [])
            if ranges and ranges[-1][1] == page - 1:
                ranges[-1][1] = page
            else:
                ranges.append([page, page])
    return {
        word: ",".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)
        for word, ranges in sorted(pages.items())
    }


def words(text: str) -> list[str]:
    """The words of a text as they are searched for."""
    folded = "".join(
        c for c in unicodedata.normalize("NFKD", text.lower()) if unicodedata.category(c) != "Mn"
    )
    found: list[str] = []
    for word in WORD.findall(folded):
        if ALONE.search(word):
            found += [part for part in re.split(f"({ALONE.pattern})", word) if part]
        else:
            found.append(word)
    return [word[:WORD_CHARS_MAX] for word in found]


def shard(word: str) -> int:
    return (ord(word[0]) * 31 + (ord(word[1]) if len(word) > 1 else 0)) % SHARDS


def script(name: str, value: object) -> str:
    """A script that hands over a value."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"Quire({json.dumps(name)},{data.replace(chr(0x2028), ' ').replace(chr(0x2029), ' ')});\n"
