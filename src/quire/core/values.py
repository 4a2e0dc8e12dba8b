"""Frozen records that cost next to nothing to define: what a fresh process needs for its first page.

msgspec's structures are quicker to make, and are what every format is written with; but importing msgspec takes longer than
opening a vault and reading a page (docs/decisions/0019-reading-without-msgspec.md). So what a page is made of, and the rows
it comes from, are `Value`s, over a tuple: annotated fields in order, defaults last, compared by type and fields, never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing import dataclass_transform

    @dataclass_transform(frozen_default=True)
    class Value:
        """A frozen record."""

        def __hash__(self) -> int: ...

else:
    _make, _fields_of = tuple.__new__, tuple.__iter__

    class _Fields(type):
        """Makes a class of its annotations."""

        def __new__(meta, name, bases, namespace):
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = tuple(namespace[field] for field in fields if field in namespace)
            assert all(field in namespace for field in fields[len(fields) - len(defaults) :]), (
                "defaults come last"
            )
            namespace.update((field, property(itemgetter(n))) for n, field in enumerate(fields))
            namespace |= {
                "__slots__": (),
                "__match_args__": fields,
                "_defaults": defaults,
                "_count": len(fields),
            }
            return type.__new__(meta, name, bases, namespace)

    class Value(tuple, metaclass=_Fields):
        """A frozen record."""

        def __new__(cls, *values, **named):
            left = cls._count - len(values)
            if left or named:
                quick = not named and 0 < left <= len(cls._defaults)
                values = values + cls._defaults[-left:] if quick else _complete(cls, values, named)
            return _make(cls, values)

        def __eq__(self, other):
            return type(other) is type(self) and tuple.__eq__(self, other)

        def __ne__(self, other):
            return not self == other

        __hash__ = tuple.__hash__

        def __iter__(self):
            raise TypeError(f"a {type(self).__name__} is not a sequence: name the field that is meant")

        def __len__(self):
            raise TypeError(f"a {type(self).__name__} has no length: name the field that is meant")

        def __bool__(self):
            return True

        def __repr__(self):
            fields = zip(self.__match_args__, _fields_of(self), strict=True)
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in fields)})"

        def __reduce__(self):
            return type(self), tuple(_fields_of(self))

    def _complete(cls, values, named):
        """All the fields, of those given and the defaults. Raises: TypeError as a call of a function would."""
        fields, given = cls.__match_args__, len(values)
        if given > cls._count:
            raise TypeError(f"{cls.__name__}() takes {cls._count} values, and {given} were given")
        twice = [name for name in named if name not in fields[given:]]
        if twice:
            raise TypeError(f"{cls.__name__}() got an unexpected or repeated argument {twice[0]!r}")
        left = dict(zip(fields[cls._count - len(cls._defaults) :], cls._defaults, strict=True)) | named
        missing = [name for name in fields[given:] if name not in left]
        if missing:
            raise TypeError(f"{cls.__name__}() misses {', '.join(missing)}")
        return (*values, *[left[name] for name in fields[given:]])


V = TypeVar("V", bound=Value)


def maker(kind: type[V]) -> Callable[[tuple[Any, ...]], V]:
    """What makes values of tuples that have all of their fields, in order; nothing is checked, in a third of the time."""
    make: Any = tuple.__new__
    return partial(make, kind)


def fields(value: Value) -> dict[str, Any]:
    """A value's fields, by name and in order."""
    return {name: getattr(value, name) for name in type(value).__match_args__}  # type: ignore[attr-defined]


def replace(value: V, **changes: Any) -> V:
    """The same with other fields. Raises: TypeError."""
    return type(value)(**fields(value) | changes)
