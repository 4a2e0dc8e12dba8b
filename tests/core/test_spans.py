"""Where hits are marked: the quick way for ASCII says what the way for every script says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core.words import spans, words

ASCII = st.text(alphabet="aAbB1_-. \n", max_size=30)
# Not ASCII, a mark of its own, and apart from all that phrases can hold: it changes the way, and nothing else.
OTHER_WAY = " … é"


@given(ASCII, ASCII, st.booleans())
def test_both_ways_agree(text: str, wanted: str, prefix: bool) -> None:
    phrase = words(wanted)[:3]
    overlaps = any(n != m and a.startswith(b) for n, a in enumerate(phrase) for m, b in enumerate(phrase))
    if phrase and not overlaps:
        assert spans(text, [(phrase, prefix)]) == spans(text + OTHER_WAY, [(phrase, prefix)])


@pytest.mark.parametrize(
    ("text", "phrase", "prefix", "found"),
    [
        ("deploy", ["deploy"], False, ((0, 6),)),  # the text begins and ends with it
        ("a deploy, redeploy, deployed", ["deploy"], False, ((2, 8),)),
        ("a deploy, redeploy, deployed", ["deploy"], True, ((2, 8), (20, 28))),
        ("ab_ab", ["ab"], False, ((0, 2), (3, 5))),
        ("a-b c", ["a", "b"], False, ((0, 3),)),
        ("a redeploy deploy", ["deploy"], False, ((11, 17),)),
    ],
)
def test_words_are_whole(
    text: str, phrase: list[str], prefix: bool, found: tuple[tuple[int, int], ...]
) -> None:
    assert spans(text, [(phrase, prefix)]) == found
