"""The people of the stories are the victims of the attacks."""

from __future__ import annotations

from tests.people.conftest import people, trio

__all__ = ["people", "trio"]
