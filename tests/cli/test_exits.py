"""Every error class has its exit code, and the table is complete."""

from __future__ import annotations

import errno

import pytest

from quire import errors
from quire.cli.exits import EXITS, exit_code, from_os_error
from quire.errors import QuireError

CODES = {
    "BusyError": 7, "TransportError": 10, "CorruptError": 8, "FormatError": 5, "FullError": 6, "MalformedError": 5,
    "NotFoundError": 3, "PeerError": 70, "QuireError": 70, "SchemaError": 9, "StorageError": 6,
    "UnauthorisedError": 2, "UnlockError": 4, "UnreachableError": 11, "UsageError": 2,
}  # fmt: skip


def test_every_error_class_has_the_code_the_guide_names() -> None:
    for name in errors.__all__:  # a new class must be given a code here
        error: QuireError = getattr(errors, name)("words", rule="rule")
        assert exit_code(error) == CODES[name], name


def test_errors_that_are_not_ours() -> None:
    assert exit_code(KeyboardInterrupt()) == 130
    assert exit_code(BrokenPipeError()) == 141
    assert exit_code(PermissionError()) == 6
    assert exit_code(ZeroDivisionError()) == 70


def test_no_code_is_used_twice() -> None:
    codes = [row.code for row in EXITS]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOENT, 3), (errno.ENOSPC, 6), (errno.EROFS, 6), (errno.EIO, 6), (errno.EACCES, 6)],
)
def test_what_the_system_says_about_a_file(number: int, code: int) -> None:
    error = from_os_error(OSError(number, "words", "name"))
    assert str(error) == "name: words"
    assert exit_code(error) == code
