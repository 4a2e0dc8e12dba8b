"""Files of an export: made for their owner only, written in large pieces, flushed together at the end; names made safe."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from pathlib import Path

BUFFER_BYTES = 1 << 20
NAME_CHARS_MAX = 60
RESERVED = frozenset(  # names that some systems keep for devices
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))]
)


class File:
    """A new file, readable by its owner only. Raises: OSError."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        number = os.open(path, flags, 0o600)
        os.fchmod(number, 0o600)
        self._file = os.fdopen(number, "wb", BUFFER_BYTES)

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def close(self) -> None:
        """Handed to the system; on disk when `Files.flush` returns."""
        self._file.close()

    def abandon(self) -> None:
        """Closed, if it was not; what becomes of it is no matter."""
        with contextlib.suppress(OSError):
            self._file.close()


class Files:
    """The files of one export: those still open when it fails are closed."""

    def __init__(self) -> None:
        self._files: list[File] = []

    def new(self, path: Path) -> File:
        """Raises: OSError."""
        self._files = [file for file in self._files if not file._file.closed]
        self._files.append(File(path))
        return self._files[-1]

    def write(self, path: Path, data: bytes | str) -> None:
        """A whole small file."""
        file = self.new(path)
        file.write(data.encode("utf-8", "replace") if isinstance(data, str) else data)
        file.close()

    def flush(self, path: Path) -> None:
        """All that was written at `path` is on disk: the first of many files brings most of the others along."""
        for inner in [path, *path.rglob("*")] if path.is_dir() else [path]:
            file = os.open(inner, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.fsync(file)
            finally:
                os.close(file)

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.abandon()


def safe_name(name: str, taken: set[str]) -> str:
    """A file name for what strangers named: letters, digits, `-`, `_` and `.` inside, never one that is taken.

    It is no path, is hidden nowhere, and differs from the others on file systems that know no case.
    """
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in unicodedata.normalize("NFC", name))
    base = "-".join(part for part in kept.split("-") if part)[:NAME_CHARS_MAX].strip(".-_ ") or "channel"
    while len(base.encode()) > 200:  # file systems count bytes
        base = base[:-1]
    if base.partition(".")[0].lower() in RESERVED:
        base = f"channel-{base}"
    chosen, number = base, 1
    while chosen.casefold() in taken:
        number += 1
        chosen = f"{base}-{number}"
    taken.add(chosen.casefold())
    return chosen
