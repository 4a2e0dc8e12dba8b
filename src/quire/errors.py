"""The one error hierarchy: whose fault it is, and what to do next.

    QuireError
    ├── UsageError           our caller asked for the impossible     fix the call
    │   ├── NotFoundError        no such channel, message, reaction
    │   └── UnlockError          this key, phrase or passphrase opens nothing here
    ├── PeerError            bytes from outside broke a rule         keep our state, drop theirs
    │   ├── MalformedError       not canonical, or not allowed in this form
    │   └── UnauthorisedError    well formed, but not the author's right
    ├── TransportError       the link or the relay went away         connect again, later
    ├── FormatError          an import file is not what it says      name the file, skip or stop
    └── StorageError         disk or database; nothing half-written
        ├── BusyError            another process is writing          try again
        ├── FullError            no space, or the disk is read-only  make room, try again
        ├── SchemaError          written by a newer Quire            upgrade
        ├── UnreachableError     archived bytes are not at hand      connect the disk
        └── CorruptError         the bytes are not what was written  stop, `quire doctor`

Every error has a `rule` (a stable snake_case name, for tests and scripts) and a `hint` (what the
user can do next, or ""). Further facts are keyword fields in `details`. No error text ever contains a
key, a passphrase or a message body.
"""

from __future__ import annotations

__all__ = [
    "BusyError", "CorruptError", "FormatError", "FullError", "MalformedError", "NotFoundError",
    "PeerError", "QuireError", "SchemaError", "StorageError", "TransportError", "UnauthorisedError",
    "UnlockError", "UnreachableError", "UsageError",
]  # fmt: skip


class QuireError(Exception):
    """Any error Quire raises on purpose."""

    def __init__(self, message: str, *, rule: str, hint: str = "", **details: object) -> None:
        super().__init__(message)
        self.rule = rule
        self.hint = hint
        self.details = details


class UsageError(QuireError):
    """The caller asked for something impossible; nothing was changed."""


class NotFoundError(UsageError):
    """There is no such channel, message, thread or reaction here."""


class UnlockError(UsageError):
    """No key slot of this vault opens with what was given."""


class PeerError(QuireError):
    """Bytes from outside broke a rule; our state is unchanged."""


class MalformedError(PeerError):
    """Not canonical, or a value outside its limits. `rule` names the clause of docs/spec."""


class UnauthorisedError(PeerError):
    """Well formed and signed, but not its author's right."""


class TransportError(QuireError):
    """The link went away, or nobody answers there. Nothing is lost: connect again."""


class FormatError(QuireError):
    """An import file is unreadable, or of no known format."""


class StorageError(QuireError):
    """The disk or the database failed; no transaction was half-applied."""


class BusyError(StorageError):
    """Another process held the vault's write lock for too long. Try again."""


class FullError(StorageError):
    """The disk is full or read-only. What was acknowledged before is safe."""


class SchemaError(StorageError):
    """The vault was written by a newer Quire."""


class UnreachableError(StorageError):
    """What was archived is not where it should be. Connect its disk; nothing else is affected."""


class CorruptError(StorageError):
    """Bytes on disk are not what was written, or the file is no vault."""


def callers_mistake(error: MalformedError) -> UsageError:
    """A value beyond its bounds that was not a stranger's, but our caller's."""
    return UsageError(
        f"beyond a limit: {error.rule.replace('_', ' ')}",
        rule=error.rule,
        hint="docs/limits.md has the bounds",
    )
