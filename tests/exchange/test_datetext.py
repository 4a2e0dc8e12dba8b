"""Printed dates: the orders and clocks exporters use."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.exchange.datetext import date_ms
from quire.exchange.text import iso_ms


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("09 December 2022 12:35", "2022-12-09T12:35"),
        ("9 Dec 2022 00:05:07", "2022-12-09T00:05:07"),
        ("Friday, December 9, 2022 12:35 PM", "2022-12-09T12:35"),
        ("Friday, December 9, 2022 12:05 AM", "2022-12-09T00:05"),
        ("17-Sep-18 03:04 AM", "2018-09-17T03:04"),
        ("09/12/2022 12:35", "2022-12-09T12:35"),
        ("12/31/2022 1:35 PM", "2022-12-31T13:35"),
        ("2022-12-09 12:35:01", "2022-12-09T12:35:01"),
        ("04:30 PM, 05 Jul 2019", "2019-07-05T16:30"),
        ("05.07.2019 16:55:32", "2019-07-05T16:55:32"),
        ("05.07.2019 16:55:32 UTC+02:00", "2019-07-05T14:55:32"),
        ("05.07.2019 16:55:32 UTC-03:30", "2019-07-05T20:25:32"),
        ("05.07.2019 16:55:32 UTC", "2019-07-05T16:55:32"),
        ("3 May 2020", "2020-05-03T00:00"),
        ("Friday, 9 December 2022 12:35", "2022-12-09T12:35"),
        ("Fri, 16 Apr 2021, 17:20:00", "2021-04-16T17:20"),
        ("Sat 1 May 2021 at 9:05 am", "2021-05-01T09:05"),
    ],
)
def test_printed_dates(text: str, iso: str) -> None:
    assert date_ms(text) == iso_ms(iso)


def test_the_order_decides_where_the_text_does_not() -> None:
    assert date_ms("09/12/2022 12:35", "mdy") == iso_ms("2022-09-12T12:35")
    assert date_ms("13/12/2022 12:35", "mdy") == iso_ms("2022-12-13T12:35")


@pytest.mark.parametrize(
    "text", ["", "12:35", "December", "40/40/2022 1:00", "31 February 2020 1:00", "1/2/3 99:99"]
)
def test_what_is_no_date(text: str) -> None:
    assert date_ms(text) is None


@settings(deadline=None)  # shared machines stall
@given(st.text("0123456789/-.:, APMDecJulUTC+", max_size=40))
def test_any_text_is_a_date_or_none(text: str) -> None:
    assert isinstance(date_ms(text), int | None)
