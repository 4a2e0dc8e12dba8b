"""What `--before`, `--after` and `--around` take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from quire.cli.places import only_one, parse_place, time_ms
from quire.errors import UsageError


class _Finder:
    def find_message(self, text: str) -> str:
        return f"found {text}"


MANAGER: Any = _Finder()


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


def test_cursors_and_messages() -> None:
    cursor = "18e0a5c.00" + "ab" * 15
    assert parse_place(cursor, MANAGER) == cursor
    assert parse_place("mzxw-1042.17", MANAGER) == "found mzxw-1042.17"


def test_times_are_local_unless_they_say_otherwise() -> None:
    assert parse_place("2024-03-05", MANAGER) == 1_709_593_200_000  # midnight in Berlin, 23:00 UTC
    assert parse_place("2024-03-05 14:30", MANAGER) == 1_709_645_400_000
    assert parse_place("2024-03-05T14:30Z", MANAGER) == 1_709_649_000_000
    assert parse_place("1900-01-01", MANAGER) == 0
    assert time_ms("today") - time_ms("yesterday") in (82_800_000, 86_400_000, 90_000_000)


@pytest.mark.parametrize("text", ["", "soon", "2024-13-01", "05.03.2024", "mzxw-1042"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as failure:
        parse_place(text, MANAGER)
    assert failure.value.rule == "place_form"
    assert failure.value.hint


def test_only_one_place() -> None:
    only_one(before="x", after=None)
    with pytest.raises(UsageError, match="--before and --around"):
        only_one(before="x", after=None, around="y")
