"""Room in the write-ahead log before it is needed, so that a small commit makes no file longer.

To make a file longer and durable, the file system writes its own journal too, and that takes as long again as the message.
SQLite lets the log grow by what each commit adds, until a checkpoint lets it begin anew at its start: a program's first
hundred messages are its slowest. Zeros behind the end of the log are no frame to SQLite, whoever reads or repairs it.
"""

from __future__ import annotations

import os
from contextlib import suppress

FIRST_BYTES = 256 << 10  # then as much again as there is, up to STEP_BYTES
STEP_BYTES = 1 << 20


class Reserve:
    """Keeps the log of one database ahead of its writer."""

    def __init__(self, database: str, enough_bytes: int) -> None:
        self._file = database + "-wal"
        self._enough = enough_bytes  # beyond it a checkpoint comes
        self._size: int | None = None  # of the file, when we last looked

    def keep(self) -> None:
        """Call it in every write transaction, just before its end: as long as it lasts, nobody else writes in the log.

        A process that writes once gets nothing ready. If there is no space for it, the commit itself will say so.
        """
        with suppress(OSError):
            size = os.stat(self._file).st_size
            if self._size is not None and self._size < size < self._enough:
                with open(self._file, "r+b", buffering=0) as file:
                    file.seek(size)
                    size += file.write(bytes(min(max(size, FIRST_BYTES), STEP_BYTES)))
            self._size = size
