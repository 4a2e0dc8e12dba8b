"""Starting fast: commands load when they are named, and plain values need no validation library.

Two things make a Typer program with forty commands slow to start. It builds all of them to run one: `Lazy`
imports only the family that holds the command named. And recent versions of Typer turn every
argument into its type through pydantic, whose import takes longer than everything else `quire read`
does: `plain` gives text and numbers a coercion of our own. Should Typer change inside, it
falls back to its own way, slower and just as right; tests/cli/test_commands.py (`test_starting_imports_little`) would tell.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

__all__ = ["SECTIONS", "Lazy", "plain"]

# Heading of the help page -> {command: module of this package that has it}.
SECTIONS: dict[str, dict[str, str]] = {
    "Vault": {
        "init": "vault", "import": "importing", "export": "exporting", "check": "exporting", "stats": "vault",
        "verify": "vault", "doctor": "vault", "rekey": "vault", "passphrase": "keys", "name": "vault",
    },
    "Keeping": {
        "backup": "backups", "restore": "backups", "storage": "space", "quota": "space", "compact": "space",
        "archive": "archiving", "unarchive": "archiving",
    },
    "Channels": {"channels": "channels", "channel": "channels", "mark-read": "channels"},
    "Reading": {
        "read": "reading", "thread": "reading", "threads": "reading", "show": "reading", "history": "reading",
        "search": "searching", "pins": "searching", "bookmarks": "searching", "open": "attaching", "save": "attaching",
        "fetch": "attaching",
    },
    "Writing": {
        "post": "writing", "attach": "attaching", "edit": "writing", "delete": "writing",
        "react": "writing", "unreact": "writing", "pin": "marking", "unpin": "marking", "bookmark": "marking",
        "unbookmark": "marking",
    },
    "People": {
        "members": "people", "invite": "invites", "invites": "invites", "uninvite": "invites", "add": "invites",
        "join": "invites", "requests": "invites", "role": "people", "remove": "people", "ban": "people",
        "unban": "people", "leave": "people", "contact": "people", "policy": "policies", "rotate": "policies",
        "log": "policies",
    },
    "Letting go": {"erase": "erasing", "retention": "retention", "disappear": "retention"},
    "Yourself": {"id": "identity", "devices": "identity", "revoke": "identity", "link": "linking", "recover": "linking"},
    "Carrying": {"sync": "syncing", "up": "syncing", "peers": "standing", "status": "standing",
        "relay": "relay", "bundle": "bundles"},
    "Help": {"help": "helping"},
}  # fmt: skip
MODULES = {name: module for commands in SECTIONS.values() for name, module in commands.items()}
EPILOG = "The global options (--vault, --json, --quiet, …; see quire --help) may stand here too."


class Lazy(TyperGroup):
    """The root group: knows the names of all commands, imports a family when one of its own is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands:
            return self.commands[cmd_name]  # a family is built once, not for each of its commands
        if cmd_name in MODULES:
            self._load(MODULES[cmd_name])
        else:
            for module in dict.fromkeys(MODULES.values()):
                self._load(module)  # so that Typer can suggest what was meant
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for heading, names in SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name, command.get_short_help_str(64)) for name, command in commands]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def _load(self, module: str) -> None:
        app: typer.Typer = importlib.import_module(f"quire.cli.{module}").app
        for name, command in typer.main.get_group(app).commands.items():
            if name not in self.commands:
                command.epilog = command.epilog or EPILOG
                plain(command)
                self.commands[name] = command


class _Plain:
    """Stands in for Typer's coercion of text, numbers and paths."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        try:
            return (
                [self.kind(item) for item in value] if isinstance(value, list | tuple) else self.kind(value)
            )
        except ValueError:
            raise typer.BadParameter(f"{value!r} is not a whole number", ctx=ctx, param=param) from None


def plain(command: Any) -> None:
    """Spare the parameters of `command`, and of the commands in it, the import of pydantic; and show arguments as we
    name them, in brackets where they may be left out, without the name of a type."""
    for param in command.get_params(typer.Context(command)):  # with --help, which is not in .params
        kind = getattr(getattr(param, "type_descriptor", None), "annotation", None)
        inner = getattr(kind, "__args__", (kind,))[0]
        if getattr(param, "param_type_name", "") == "argument" and param.metavar:
            _show_as_written(param)
        if inner in (str, int, bool, Path) and getattr(param, "_runtime_param", 0) is None:
            param._runtime_param = _Plain(inner)
    for child in getattr(command, "commands", {}).values():
        plain(child)


def _show_as_written(param: Any) -> None:
    shown = param.metavar if param.required else f"[{param.metavar}]"
    param.get_usage_pieces = lambda ctx: [shown]
    param.display_type_rich = lambda ctx: None
