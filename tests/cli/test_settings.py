"""Global options may stand anywhere before `--`."""

from __future__ import annotations

from pathlib import Path

import pytest

from quire.cli.settings import default_vault, hoist, wants_json
from quire.errors import UsageError


@pytest.mark.parametrize(
    ("given", "hoisted"),
    [
        (["read", "general", "--json"], ["--json", "read", "general"]),
        (["--json", "read", "general"], ["--json", "read", "general"]),
        (["read", "--vault", "v", "general", "-q"], ["--vault", "v", "-q", "read", "general"]),
        (["read", "--vault=v", "general"], ["--vault=v", "read", "general"]),
        (["search", "--", "--json"], ["search", "--", "--json"]),
        (["post", "general", "-"], ["post", "general", "-"]),
        ([], []),
    ],
)
def test_hoist(given: list[str], hoisted: list[str]) -> None:
    assert hoist(given) == hoisted


def test_an_option_without_its_value_is_not_given_the_command() -> None:
    with pytest.raises(UsageError) as failure:
        hoist(["read", "general", "--vault"])
    assert failure.value.rule == "command_line"


def test_json_is_asked_for_only_by_an_option() -> None:
    assert wants_json(["read", "--json"])
    assert not wants_json(["search", "--", "--json"])


def test_where_the_vault_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUIRE_VAULT", "/somewhere")
    assert default_vault() == Path("/somewhere")
    monkeypatch.delenv("QUIRE_VAULT")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_vault() == Path("/data/quire")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert default_vault() == Path("/home/ada/.local/share/quire")
