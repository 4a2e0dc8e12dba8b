"""What strangers wrote must never command the terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.cli.text import LINE_CHARS_MAX, block, bytes_text, line, plural


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b[31mred", "␛[2J␛[31mred"),  # clears the screen, colours
        ("\x1b]0;title\x07", "␛]0;title␇"),  # sets the window's title
        ("\x9b31m", "�31m"),  # CSI as one C1 character
        ("a\rb\x08c\x7f", "a␍b␈c␡"),  # overwrites what stands there
        ("safe\u202egnp.exe\u202c", "safe�gnp.exe�"),  # reads backwards
        ("\u2066x\u2069", "�x�"),
        ("\ud800", "�"),  # an undecodable byte of a file name
    ],
)
def test_controls_become_visible(hostile: str, shown: str) -> None:
    assert block(hostile) == shown
    assert line(hostile) == shown.replace("␍", " ")


def test_lines_stay_lines_in_a_block_and_vanish_in_a_line() -> None:
    assert block("a\r\nb\u2028c\td") == "a\nb\nc\td"
    assert line("a\r\nb\u2028c\td") == "a b c d"


def test_marks_are_bounded_and_real_scripts_are_not_touched() -> None:
    assert len(block("e" + "\u0301" * 4_000)) == 9
    for text in ("naïve e\u0301\u0323", "שָׁלוֹם", "مرحبًا", "日本語", "👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "ไม่"):
        assert block(text) == text


@given(st.text(st.characters(codec=None)))
def test_no_text_commands_a_terminal(text: str) -> None:
    for cleaned in (block(text), line(text)):
        for char in cleaned:
            assert char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"), f"{char!r} in {text!r}"
            assert unicodedata.bidirectional(char) not in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI"}
    assert "\n" not in line(text)
    assert "\t" not in line(text)


def test_a_line_is_bounded() -> None:
    assert len(line("x" * 10_000)) == LINE_CHARS_MAX
    assert line("x" * 10, 5) == "xxxx…"


def test_sizes_and_counts() -> None:
    assert [bytes_text(n) for n in (0, 999, 1_000, 999_949, 999_950, 12_300_000, 10**12)] == [
        "0 bytes", "999 bytes", "1.0 kB", "999.9 kB", "1.0 MB", "12.3 MB", "1,000.0 GB",
    ]  # fmt: skip
    assert plural(1, "reply", "replies") == "1 reply"
    assert plural(1_042, "reply", "replies") == "1,042 replies"
    assert plural(0, "hit") == "0 hits"
