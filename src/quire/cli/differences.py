"""What changed between two versions of a message, word by word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from rich.text import Text

from quire.cli.render import FAINT, archived_text, author_text, faint, stamp
from quire.cli.text import block
from quire.core.views import Version

__all__ = ["changes", "history_lines"]

WORDS = re.compile(r"\s+|\w+|[^\w\s]")
COMPARED_WORDS_MAX = 5_000  # the comparison takes time by the square; longer texts stand one after the other


def history_lines(versions: list[Version], *, colour: bool) -> Iterator[Text]:
    """Every version, oldest first; from the second on as changes to the one before."""
    earlier: Version | None = None
    for version in versions:
        head = Text(f"version {version.number}  ", "bold", no_wrap=True)
        head.append_text(author_text(version.author))
        head.append(f"  {stamp(version.time_ms)}", FAINT)
        if version.concurrent:
            head.append("  written without knowing of another edit", FAINT)
        if version.shown:
            head.append("  this one stands", FAINT)
        if version.erased:
            head.append("  erased", FAINT)
            yield head
            continue
        if version.archived:
            head.append(f"  {archived_text(version.archived)}", FAINT)
            yield head
            continue
        yield head
        body = (
            Text(block(version.body))
            if earlier is None
            else changes(earlier.body, version.body, colour=colour)
        )
        yield body
        earlier = version
    if not versions:
        yield faint("no version is left of it: its bytes were destroyed")


def changes(old: str, new: str, *, colour: bool) -> Text:
    """`new`, with what is gone from `old` and what came marked."""
    old_words, new_words = WORDS.findall(block(old)), WORDS.findall(block(new))
    text = Text()
    if len(old_words) + len(new_words) > COMPARED_WORDS_MAX:
        text.append(block(new))
        return text
    matcher = difflib.SequenceMatcher(None, old_words, new_words, autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind == "equal":
            text.append("".join(new_words[new_from:new_to]))
            continue
        gone, come = "".join(old_words[old_from:old_to]), "".join(new_words[new_from:new_to])
        if gone:
            text.append(gone if colour else f"[-{gone}-]", "red strike")
        if come:
            text.append(come if colour else f"{{+{come}+}}", "green underline")
    return text
