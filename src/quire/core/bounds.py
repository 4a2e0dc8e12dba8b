"""What a value of an operation must be: a bound that is broken is an error that names its rule."""

from __future__ import annotations

from quire.core import limits
from quire.core.operation import OWN_SOURCE
from quire.errors import MalformedError


def check_source(source: str) -> None:
    """An author key is `source:author`: "quire:…" would speak for a person here, and ':' for another source."""
    if not 0 < len(source) <= limits.NAME_CHARS_MAX:
        raise broken("origin_too_long")
    if source == OWN_SOURCE or ":" in source:
        raise broken("origin_source")


def require(holds: bool, rule: str) -> None:
    """Raises: MalformedError(rule) unless it holds."""
    if not holds:
        raise broken(rule)


def broken(rule: str) -> MalformedError:
    """A value outside its bounds."""
    return MalformedError(f"operation: {rule.replace('_', ' ')}", rule=rule)
