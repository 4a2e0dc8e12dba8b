"""Which exit code means what. The one table; `quire help exits` prints it, the guide copies it.

The first row whose classes match an error decides, so subclasses stand above their base classes.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from quire.errors import (
    BusyError,
    CorruptError,
    FormatError,
    FullError,
    MalformedError,
    NotFoundError,
    QuireError,
    SchemaError,
    StorageError,
    TransportError,
    UnauthorisedError,
    UnlockError,
    UnreachableError,
    UsageError,
)

__all__ = [
    "BUG",
    "EXITS",
    "FOUND",
    "INTERRUPTED",
    "OK",
    "PIPE",
    "USAGE",
    "Exit",
    "exit_code",
    "from_os_error",
]

OK, FOUND, USAGE, BUG, INTERRUPTED, PIPE = 0, 1, 2, 70, 130, 141


class Exit(NamedTuple):
    """One row: the code, what it tells a script, and the errors that end in it."""

    code: int
    meaning: str
    classes: tuple[type[BaseException], ...] = ()


EXITS = (
    Exit(OK, "done"),
    Exit(FOUND, "verify, doctor or check found something, bundle in refused something, backup left something out"),
    Exit(3, "no such vault, channel, message, thread, reaction or file", (NotFoundError,)),
    Exit(4, "the vault does not open with what was given", (UnlockError,)),
    Exit(USAGE, "the command is wrong; nothing was changed", (UsageError, UnauthorisedError)),
    Exit(5, "the input is not in a form Quire can read", (FormatError, MalformedError)),
    Exit(10, "nobody answers there, or the link broke: try again", (TransportError,)),
    Exit(7, "another process is writing: try again", (BusyError,)),
    Exit(8, "the vault is damaged: quire doctor", (CorruptError,)),
    Exit(11, "what is archived is not at hand: connect its disk", (UnreachableError,)),
    Exit(9, "the vault was written by a newer Quire: upgrade", (SchemaError,)),
    Exit(6, "the disk is full, read-only or failing, or the quota is reached", (FullError, StorageError, OSError)),
    Exit(BUG, "a bug in Quire", (QuireError, Exception)),
    Exit(INTERRUPTED, "interrupted (Ctrl-C)", (KeyboardInterrupt,)),
    Exit(PIPE, "whoever read our output went away", (BrokenPipeError,)),
)  # fmt: skip


def exit_code(error: BaseException) -> int:
    """The code an error ends in."""
    if isinstance(error, BrokenPipeError):  # an OSError, but no disk is to blame
        return PIPE
    return next((row.code for row in EXITS if isinstance(error, row.classes)), BUG)


def from_os_error(error: OSError) -> QuireError:
    """What the operating system said about a file, as one of our errors."""
    what = f"{error.filename}: {error.strerror}" if error.filename else (error.strerror or str(error))
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFoundError(what, rule="path_absent")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FullError(what, rule="disk_full", hint="make room and run the command again")
    if error.errno == errno.EROFS:
        return FullError(what, rule="disk_read_only", hint="mount it writable and run the command again")
    return StorageError(what, rule="os_error")
