"""Shortcodes and code points as characters."""

from __future__ import annotations

from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.exchange.emoji import emoji, from_code, replace_shortcodes


@pytest.mark.parametrize(
    ("name", "character"),
    [
        ("+1", "👍"),
        (":tada:", "🎉"),
        ("heart", "❤️"),
        ("thinking_face", "🤔"),
        ("thinking", "🤔"),  # Discord's name
        ("thumbs_up", "👍"),  # Zulip's
        ("Tada", "🎉"),
        ("100", "💯"),
        ("flag-jp", "🇯🇵"),
        ("flag_jp", "🇯🇵"),
        ("regional_indicator_b", "🇧"),
        ("wave::skin-tone-2", "👋🏻"),
        (":wave::skin-tone-6:", "👋🏿"),
        ("thumbsup_tone1", "👍🏻"),  # Discord counts tones from 1
        ("point_up::skin-tone-4", "☝🏽"),  # the variation selector gives way to the tone
        ("man-farmer::skin-tone-3", "👨🏼‍🌾"),
        ("people_holding_hands::skin-tone-2-4", "🧑🏻‍🤝‍🧑🏽"),
        ("man-woman-boy::skin-tone-2", "👨‍👩‍👦"),
        ("party-parrot", ":party-parrot:"),
        ("party-parrot::skin-tone-2", ":party-parrot::skin-tone-2:"),
        ("flag-zz", ":flag-zz:"),
    ],
)
def test_names(name: str, character: str) -> None:
    assert emoji(name) == character


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":smile::tada: x", "😄🎉 x"),
        ("あ:smile:い", "あ😄い"),
        ("(:+1::skin-tone-4:)", "(👍🏽)"),
        (":unknown_one: :+1:", ":unknown_one: 👍"),
        (":nope::+1:", ":nope:👍"),
        ("at 10:100:45", "at 10:100:45"),
        ("std::key::x", "std::key::x"),
        ("no colons", "no colons"),
    ],
)
def test_text(text: str, expected: str) -> None:
    assert replace_shortcodes(text) == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [("1f44d", "👍"), ("1F468-200D-1F4BB", "👨‍💻"), ("d800", ""), ("zz", ""), ("", ""), ("110000", ""),
     ("f" * 400, ""), ("0041-0000", "")],
)  # fmt: skip
def test_code_points(code: str, expected: str) -> None:
    assert from_code(code) == expected


def test_no_name_means_two_things() -> None:
    names: dict[str, str] = {}
    for line in resources.files("quire.exchange").joinpath("emoji.txt").read_text("utf-8").splitlines():
        character, *called = line.split() if not line.startswith("# ") else [""]
        for name in called:
            assert names.setdefault(name, character) == character, name
    assert len(names) > 2500


@given(st.text(":a1+_-skintone2456'", max_size=40))
def test_any_text_is_taken(text: str) -> None:
    replace_shortcodes(text)
    emoji(text)
    from_code(text)
