"""Text and times of foreign files."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.exchange.text import clean, iso_ms, millis, string, time_ms

WILD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())
)


@pytest.mark.parametrize(
    ("given_text", "cleaned"),
    [
        ("plain", "plain"),
        ("héllo 👍🏽", "héllo 👍🏽"),
        ("a\ud83db", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude00", "😀"),  # two halves that belong together
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("nul\0stays", "nul\0stays"),
    ],
)
def test_clean(given_text: str, cleaned: str) -> None:
    assert clean(given_text) == cleaned


@given(st.text(st.characters()))
def test_clean_text_can_always_be_encoded(text: str) -> None:
    clean(text).encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1742511304.974599", 1742511304974),
        ("1742511304", 1742511304000),
        ("0000000001.000100", 1000),
        ("7258118399.999999", 7258118399999),
        ("7258118400.000000", None),
        ("9999999999.000000", None),
        ("17425113x4.974599", None),
        ("174251130-.-74599", None),
        (" 1742511304.5\n", 1742511304500),
        ("1742511304.", 1742511304000),
        (1742511304, 1742511304000),
        (1742511304.001, 1742511304001),
        (0, 0),
        (-1, None),
        (True, None),
        ("-5", None),
        ("١٢٣", None),
        ("", None),
        (None, None),
        ([1], None),
        (7258118400, None),
        (10**400, None),
        ("9" * 5000, None),
        (float("inf"), None),
        (float("nan"), None),
        (1.7e308, None),
    ],
)
def test_seconds(value: object, expected: int | None) -> None:
    assert time_ms(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1742511304974, 1742511304974), ("1742511304974", 1742511304974), (1742511304974.9, 1742511304974),
     (-1, None), (10**18, None), (False, None), ("x", None), (None, None)],
)  # fmt: skip
def test_milliseconds(value: object, expected: int | None) -> None:
    assert millis(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01.25+00:00", 1250),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1970-01-01 00:00:01", 1000),
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00.123456789Z", 123),
        ("1969-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59-23:00", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("yesterday", None),
        ("\ud800", None),
        ("", None),
    ],
)
def test_iso(text: str, expected: int | None) -> None:
    assert iso_ms(text) == expected


def test_iso_without_a_zone_takes_the_callers() -> None:
    assert iso_ms("1970-01-01T09:00:00", timezone(timedelta(hours=9))) == 0
    assert iso_ms("1970-01-01T09:00:00Z", timezone(timedelta(hours=9))) == 9 * 3_600_000


@given(WILD)
def test_no_value_raises(value: object) -> None:
    assert time_ms(value) is None or isinstance(time_ms(value), int)
    assert millis(value) is None or isinstance(millis(value), int)
    assert isinstance(string(value), str)


def test_string() -> None:
    values: tuple[object, ...] = ("a", 5, 1.5, None, True, [], {}, 10**5000)
    assert [string(value) for value in values] == ["a", "5", "1.5"] + [""] * 5
