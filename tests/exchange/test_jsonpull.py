"""Large JSON, item by item: whole documents, broken ones, and any bytes at all."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.exchange import jsonpull
from quire.exchange.jsonpull import Broken, JsonPull


class Dripping(io.RawIOBase):
    """A stream that gives little at a time, as sockets and archives may."""

    def __init__(self, data: bytes, step: int) -> None:
        self.inner = io.BytesIO(data)
        self.step = step

    def read(self, size: int = -1) -> bytes:
        return self.inner.read(self.step)


def document(stream: Any) -> Any:
    """The value, taken apart through every way the reader offers."""
    pull = JsonPull(stream)
    found: dict[Any, Any] = {}
    for key in pull.keys():  # noqa: SIM118 - no dict
        assert isinstance(key, str)
        if key == "skip":
            continue
        found[key] = list(pull.items()) if pull.kind() == "[" else pull.value()
    return found


def test_items_come_whole_across_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonpull, "WINDOW_CHARS", 7)
    value = {
        "a": 1.5,
        "skip": {"x": [1, {"y": []}, {}]},
        "list": [{"n": n, "t": "žluť \U0001f419" * n} for n in range(30)],
    }
    for step in (1, 3, 1000):
        for indent in (None, 2):
            text = json.dumps(value, indent=indent, ensure_ascii=False).encode()
            found = document(Dripping(text, step))
            assert found == {"a": 1.5, "list": value["list"]}


def test_entries_are_entered_taken_or_passed_over() -> None:
    pull = JsonPull(io.BytesIO(b'[{"id": 1, "m": [1, 2]}, [3], 4, {"id": 5, "m": [6]}]'))
    found: list[Any] = []
    for number, entry in enumerate(pull.entries()):
        assert entry is None
        if number == 0:
            for key in pull.keys():  # noqa: SIM118 - no dict
                found += [list(pull.items()) if key == "m" else pull.value()]
        elif number == 2:
            found.append(pull.value())
    assert found == [1, [1, 2], 4]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_marks_and_encodings(encoding: str) -> None:
    assert document(io.BytesIO('{"k": ["é"]}'.encode(encoding))) == {"k": ["é"]}


def test_a_broken_item_does_not_stop_the_next() -> None:
    items = [{"id": n, "inner": [{"id": 1}, {"id": 2}]} for n in range(4)]
    for indent in (None, 1):
        text = json.dumps(items, indent=indent).replace('"id": 1,', '"id": one,', 1)
        found = list(JsonPull(io.BytesIO(text.encode())).items())
        good = [item for item in found if not isinstance(item, Broken)]
        assert items[0] in good
        assert items[3] in good
        assert any(isinstance(item, Broken) and not item.final for item in found)


def test_a_document_that_ends_early_gives_what_came_before() -> None:
    found = list(JsonPull(io.BytesIO(b'[{"id": 1}, {"id": 2}, {"id": 3')).items())
    assert found[:2] == [{"id": 1}, {"id": 2}]
    assert len(found) == 3
    assert isinstance(found[2], Broken)
    assert found[2].final


def test_huge_numbers_and_deep_nesting_are_no_failure() -> None:
    found = list(JsonPull(io.BytesIO(b"[" + b"9" * 5000 + b", 7]")).items())
    assert found == [float("inf"), 7]
    deep = list(JsonPull(io.BytesIO(b"[" * 100_000)).items())
    assert [type(item) for item in deep] == [Broken]


@settings(deadline=None)  # shared machines stall
@given(st.binary(max_size=80) | st.text('[]{}",:1 \\uabn\n', max_size=60).map(str.encode))
def test_any_bytes_end(data: bytes) -> None:
    for way in ("items", "keys", "entries"):
        for _, item in zip(range(1000), getattr(JsonPull(io.BytesIO(data)), way)(), strict=False):
            if isinstance(item, Broken):
                assert item.reason
    JsonPull(io.BytesIO(data)).value()
