"""The global options: what they are, and that they may stand anywhere.

`quire --json read general` and `quire read general --json` are the same command. A parser with
subcommands takes an option only where it was declared, so `hoist` moves the global ones to the front
before parsing; what follows `--` is left alone. Values come from the option, else from the
environment, else the default.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from quire.errors import UsageError

__all__ = ["ENVIRONMENT", "Settings", "child_environment", "default_vault", "hoist", "wants_json"]

FLAGS = frozenset({"--json", "--quiet", "-q", "--keyring", "--recovery"})
VALUED = frozenset({"--vault", "--key-file", "--passphrase-fd"})

SECRETS = frozenset({"QUIRE_PASSPHRASE", "QUIRE_NEW_PASSPHRASE"})

ENVIRONMENT = (
    ("QUIRE_VAULT", "the vault's folder, as --vault"),
    ("QUIRE_PASSPHRASE", "the passphrase"),
    ("QUIRE_KEY_FILE", "a key file, as --key-file"),
    ("QUIRE_NEW_PASSPHRASE", "the new passphrase of `init` and `passphrase`"),
    ("QUIRE_DEBUG", "1 = show the traceback of a bug"),
    ("PAGER", "the pager of long output; cat = none"),
    ("VISUAL, EDITOR", "the editor of `edit`"),
    ("QUIRE_OPENER", "the program that `open` gives files to"),
    ("NO_COLOR", "anything = no colour"),
)


def wants_json(arguments: Sequence[str]) -> bool:
    """Is `--json` among the options? Asked before parsing, for the errors of parsing itself."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


class Settings(msgspec.Struct, frozen=True):
    """What the global options said."""

    vault: Path
    json: bool = False
    quiet: bool = False
    key_file: Path | None = None
    passphrase_fd: int | None = None
    keyring: bool = False
    recovery: bool = False


def child_environment() -> dict[str, str]:
    """The environment for a pager or an editor: ours without the secrets."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def default_vault() -> Path:
    """`$QUIRE_VAULT`, else `quire` in the user's data folder."""
    if named := os.environ.get("QUIRE_VAULT"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "quire"


def hoist(arguments: Sequence[str]) -> list[str]:
    """The same command with the global options first. Raises: UsageError if one lacks its value."""
    front: list[str] = []
    rest: list[str] = []
    following = iter(arguments)
    for argument in following:
        if argument == "--":
            rest += [argument, *following]
        elif argument in FLAGS or argument.partition("=")[0] in VALUED:
            front.append(argument)
            if argument in VALUED:
                value = next(following, None)
                if value is None or value.startswith("--"):  # --vault=--odd says that it is meant
                    raise UsageError(f"option {argument} needs a value", rule="command_line")
                front.append(value)
        else:
            rest.append(argument)
    return front + rest
