"""JSON that is exact and safe to show; errors of one shape."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from quire.cli.output import error_text, json_text


@given(st.text())
def test_json_is_exact_and_holds_nothing_a_terminal_obeys(text: str) -> None:
    shown = json_text({"body": text})
    assert json.loads(shown) == {"body": text}
    assert not any(char < " " or "\x7f" <= char <= "\x9f" or "\u202a" <= char <= "\u202e" for char in shown)


def test_errors() -> None:
    assert (
        error_text("no\x1b[1m such", rule="r", hint="do", as_json=False) == "quire: no␛[1m such\n  hint: do\n"
    )
    assert error_text("no such", rule="r", hint="", as_json=False) == "quire: no such\n"
    assert json.loads(error_text("no", rule="r", hint="do", as_json=True)) == {
        "error": {"rule": "r", "message": "no", "hint": "do"}
    }
