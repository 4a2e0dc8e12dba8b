"""`Value`: what a frozen record promises."""

from __future__ import annotations

import copy
import pickle

import pytest

from quire.core.values import Value, fields, replace


class Point(Value):
    """For these tests."""

    x: int
    y: int
    name: str = ""

    @property
    def sum(self) -> int:
        return self.x + self.y


class Other(Value):
    x: int
    y: int
    name: str = ""


HERE = Point(1, 2)


def test_fields_come_by_place_by_name_and_by_default() -> None:
    assert Point(1, y=2, name="here") == Point(1, 2, "here") == replace(HERE, name="here")
    assert (HERE.x, HERE.y, HERE.name, HERE.sum) == (1, 2, "", 3)
    assert fields(HERE) == {"x": 1, "y": 2, "name": ""}
    assert repr(HERE) == "Point(x=1, y=2, name='')"
    match HERE:
        case Point(x, 2):
            assert x == 1
        case _:
            raise AssertionError


@pytest.mark.parametrize(
    ("values", "named"),
    [((1,), {}), ((1, 2, "", 4), {}), ((1, 2), {"x": 3}), ((1, 2), {"z": 3}), ((), {"x": 1})],
)
def test_a_wrong_call_is_refused(values: tuple[object, ...], named: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=r"Point\(\)"):
        Point(*values, **named)  # type: ignore[arg-type]


def test_it_is_compared_by_its_type_too() -> None:
    values: list[object] = [(1, 2, ""), Other(1, 2)]
    assert HERE not in values
    assert hash(HERE) == hash(Point(1, 2))
    assert {HERE, Point(1, 2), Point(2, 1)} == {HERE, Point(2, 1)}


def test_it_never_changes_and_is_no_sequence() -> None:
    with pytest.raises(AttributeError):
        HERE.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        HERE.more = 2  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="not a sequence"):
        list(HERE)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="no length"):
        len(HERE)  # type: ignore[arg-type]
    assert HERE


def test_copies_are_equal() -> None:
    assert copy.copy(HERE) == copy.deepcopy(HERE) == pickle.loads(pickle.dumps(HERE)) == HERE
