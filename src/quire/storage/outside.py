"""Secrets that live outside the vault: in a key file, or in the operating system's keyring.

Both are somebody else's ground. The file may be missing, empty, a folder or a pipe; the keyring may
have no backend (normal on a server), be locked, refuse, or be a third party's with errors of its own.
Each becomes one error that says what to do, and none of them repeats a secret.
docs/spec/04-keys.md, section 2.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from quire.core.crypto.secrets import KEY_SIZE, KeyFile, Keyring, RandomBytes
from quire.errors import UnlockError, UsageError
from quire.storage.files import create_file

KEY_FILE_BYTES_MIN = 32  # a key file is not stretched like a passphrase: it must be hard to guess
KEY_FILE_HASHED_BYTES = 1 << 20  # any file may serve, also a film: its first MiB counts
SERVICE = "quire"
_NO_KEYRING_HINT = "use a passphrase, a key file or a recovery phrase on this machine"


def create_key_file(path: str | os.PathLike[str], random_bytes: RandomBytes = os.urandom) -> KeyFile:
    """Write 32 random bytes to a new file that only its owner can read.

    Raises: UsageError(rule="key_file_exists"), StorageError.
    """
    try:
        create_file(Path(path), random_bytes(KEY_SIZE))
    except FileExistsError:
        raise UsageError("there is a file of that name", rule="key_file_exists", path=str(path)) from None
    return KeyFile(str(path))


def key_file_secret(key_file: KeyFile) -> bytes:
    """SHA-256 of the file's first MiB, or of all of it if it is shorter.

    Raises: UsageError with rule "key_file_missing", "key_file_unreadable", "key_file_empty" or
    "key_file_short".
    """
    try:
        content = _start_of_file(key_file.path)
    except FileNotFoundError:
        raise _bad_key_file(key_file, "missing", "there is no key file at this path") from None
    except (OSError, ValueError):  # ValueError: a path with NUL
        raise _bad_key_file(key_file, "unreadable", "the key file cannot be read") from None
    if not content:
        raise _bad_key_file(key_file, "empty", "the key file is empty")
    if len(content) < KEY_FILE_BYTES_MIN:
        raise _bad_key_file(key_file, "short", f"a key file has at least {KEY_FILE_BYTES_MIN} bytes")
    return hashlib.sha256(content).digest()


def _start_of_file(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # O_NONBLOCK: a pipe must not hang us
    with open(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError("not a regular file")
        return opened.read(KEY_FILE_HASHED_BYTES)


def _bad_key_file(key_file: KeyFile, what: str, message: str) -> UsageError:
    hint = "name the file that was used when this key was added"
    return UsageError(message, rule=f"key_file_{what}", hint=hint, path=key_file.path)


def keyring_secret(keyring: Keyring, vault_id: bytes) -> bytes:
    """The secret kept in the keyring for this vault.

    Raises: UnlockError(rule="keyring_empty"), UsageError(rule="keyring_unavailable").
    """
    secret = _decoded(_read_entry(_account(keyring, vault_id)))
    if secret is None:
        raise UnlockError(
            "the keyring holds no key of this vault",
            rule="keyring_empty",
            hint="unlock with another key, then add this keyring",
        )
    return secret


def ensure_keyring_secret(keyring: Keyring, vault_id: bytes, random_bytes: RandomBytes) -> bytes:
    """The secret in the keyring, put there if it is not. An entry already there is never overwritten
    (it may be what opens a slot). Raises: UsageError(rule="keyring_unavailable")."""
    account = _account(keyring, vault_id)
    found = _decoded(_read_entry(account))
    if found is not None:
        return found
    secret = random_bytes(KEY_SIZE)
    with _keyring_errors():
        import keyring as system  # 150 ms and the desktop's services: only for those who ask

        system.set_password(SERVICE, account, secret.hex())
    if _decoded(_read_entry(account)) != secret:  # some backends take everything and keep nothing
        raise _unavailable("it does not keep what it is given")
    return secret


def _account(keyring: Keyring, vault_id: bytes) -> str:
    return vault_id.hex() + (f"/{keyring.name}" if keyring.name else "")


def _read_entry(account: str) -> str | None:
    with _keyring_errors():
        import keyring as system

        return system.get_password(SERVICE, account)


def _decoded(entry: str | None) -> bytes | None:
    """The secret in an entry, None if it is not one of ours."""
    try:
        secret = bytes.fromhex(entry or "")
    except ValueError:
        return None
    return secret if len(secret) == KEY_SIZE else None


@contextlib.contextmanager
def _keyring_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Backends are third parties' (D-Bus, dialogs, plug-ins): what they raise is not to be foreseen,
        # nor what their errors quote, so only the kind of it goes on.
        raise _unavailable(type(error).__name__) from None


def _unavailable(reason: str) -> UsageError:
    message = f"no usable keyring here ({reason})"
    return UsageError(message, rule="keyring_unavailable", hint=_NO_KEYRING_HINT)
