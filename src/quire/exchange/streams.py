"""Streams of files in an export that may be damaged: what stands before the damage is read, then a FormatError says where."""

from __future__ import annotations

import contextlib
import io
import lzma
import tarfile
import zipfile
import zlib
from typing import Any, BinaryIO, cast

from quire.errors import FormatError

BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    EOFError,
    zlib.error,
    OSError,
    NotImplementedError,
)


class Reading(io.RawIOBase):
    """A stream that is all in its `read`."""

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True


class _Guarded(Reading):
    """A member's stream whose low-level errors come out as FormatError, after what stands before the damage."""

    def __init__(self, inner: object, name: str) -> None:
        self._inner = cast(Any, inner)
        self._name = name
        self._error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Less than `size` only at the end, or before damage: then the next call raises."""
        found: list[bytes] = []
        left = size
        while left and self._error is None:
            try:
                piece: bytes = self._inner.read1(left)
            except (FormatError, *BROKEN) as error:
                self._error = error
                break
            if not piece:
                break
            found.append(piece)
            left = left - len(piece) if size >= 0 else size
        if self._error is not None and not found:
            if isinstance(self._error, FormatError):
                raise self._error
            raise FormatError(
                f"{self._name}: {self._error}", rule="broken_archive", file=self._name
            ) from self._error
        return found[0] if len(found) == 1 else b"".join(found)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._inner.close()
        super().close()


def guarded_stream(inner: object, name: str) -> BinaryIO:
    """`inner`, a buffered stream, with every low-level error a FormatError that names the file."""
    return cast(BinaryIO, _Guarded(inner, name))


def whole(stream: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, or all there are. Raises FormatError if damage is why there are no more."""
    data = stream.read(size)
    if len(data) < size:
        stream.read(1)
    return data


class Unreadable(Reading):
    """Stands for a file that could not be opened."""

    def __init__(self, name: str, reason: str) -> None:
        self._name = name
        self._reason = reason

    def read(self, size: int = -1) -> bytes:
        raise FormatError(f"{self._name}: {self._reason}", rule="unreadable", file=self._name)
