"""Where the secret comes from that opens a vault, and that it comes from nowhere visible.

Never an argument: those stand in the process list and in the shell's history. In this order: what an
option names (`--key-file`, `--keyring`, `--recovery`, `--passphrase-fd`), what the environment holds
(`QUIRE_PASSPHRASE`, `QUIRE_KEY_FILE`), the keyring if the vault has a slot for one (session.py), a hidden
prompt. Without a terminal nothing is asked: a script that waits for input nobody will give is worse than an
error that lists the ways.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from quire.cli.settings import Settings
from quire.core.crypto.secrets import KeyFile, Keyring, Passphrase, RecoveryPhrase, Unlock
from quire.errors import UnlockError, UsageError

__all__ = [
    "can_ask",
    "first_unlock",
    "key_file",
    "new_key_file",
    "new_passphrase",
    "prompts",
    "recovery_phrase",
    "unlock",
]

SECRET_BYTES_MAX = 8_192  # over the longest passphrase, so that its own limit says what is wrong
WAYS = "without a terminal give it in QUIRE_PASSPHRASE, by --passphrase-fd N, --key-file PATH or --keyring"


def unlock(settings: Settings) -> Unlock:
    """What the settings, the environment or the person at the terminal give to open a vault with."""
    _at_most_one(settings)
    if settings.recovery:
        return recovery_phrase(settings)
    if settings.passphrase_fd is not None:
        return Passphrase(_read_fd(settings.passphrase_fd))
    if settings.key_file is not None:
        return key_file(settings.key_file)
    if settings.keyring:
        return Keyring()
    if passphrase := os.environ.get("QUIRE_PASSPHRASE"):
        return Passphrase(passphrase)
    if path := os.environ.get("QUIRE_KEY_FILE"):
        return key_file(Path(path))
    return Passphrase(_ask("Passphrase: "))


def prompts(settings: Settings) -> bool:
    """Would `unlock` ask the person at the terminal for a passphrase?"""
    chosen = settings.recovery or settings.keyring or settings.key_file or settings.passphrase_fd is not None
    return not (chosen or os.environ.get("QUIRE_PASSPHRASE") or os.environ.get("QUIRE_KEY_FILE"))


def new_passphrase(settings: Settings) -> Passphrase:
    """A passphrase to be set: `QUIRE_NEW_PASSPHRASE`, else asked for twice."""
    if passphrase := os.environ.get("QUIRE_NEW_PASSPHRASE"):
        return Passphrase(passphrase)
    first = Passphrase(_ask("New passphrase: ", ways="without a terminal give it in QUIRE_NEW_PASSPHRASE"))
    if Passphrase(_ask("The same again: ")) != first:
        raise UsageError("the two passphrases differ", rule="passphrases_differ", hint="nothing was changed")
    return first


def first_unlock(settings: Settings, *, words: bool = False) -> Unlock:
    """What is to open a new vault: a passphrase typed is typed twice, and a key file that is not there is made.

    words    the file descriptor is for the 24 words
    """
    if words:
        settings = msgspec.structs.replace(settings, passphrase_fd=None, recovery=False)
    if prompts(settings):
        return new_passphrase(settings)
    given = unlock(settings)
    return new_key_file(Path(given.path)) if isinstance(given, KeyFile) else given


def recovery_phrase(settings: Settings) -> RecoveryPhrase:
    """The 24 words, from `--passphrase-fd` or the person at the terminal."""
    if settings.passphrase_fd is not None:
        return RecoveryPhrase(_read_fd(settings.passphrase_fd))
    return RecoveryPhrase(
        _ask(
            "The 24 recovery words: ",
            ways="without a terminal give the words by --recovery --passphrase-fd N",
        )
    )


def key_file(path: Path) -> KeyFile:
    """The key file at `path`, which may begin with `~`."""
    return KeyFile(str(path.expanduser().absolute()))


def new_key_file(path: Path) -> KeyFile:
    """The key file at `path`, made if there is none yet."""
    from quire.storage.outside import create_key_file

    found = key_file(path)
    return found if Path(found.path).exists() else create_key_file(Path(found.path))


def can_ask() -> bool:
    """Is a person there to answer?"""
    return sys.stdin is not None and sys.stdin.isatty()


def _at_most_one(settings: Settings) -> None:
    ways = {
        "--key-file": settings.key_file is not None,
        "--keyring": settings.keyring,
        "--recovery": settings.recovery,
        "--passphrase-fd": settings.passphrase_fd is not None and not settings.recovery,
    }
    chosen = [name for name, given in ways.items() if given]
    if len(chosen) > 1:
        raise UsageError(
            f"{' and '.join(chosen)} are two ways to unlock: choose one", rule="two_ways_to_unlock"
        )


def _ask(prompt: str, *, ways: str = WAYS) -> str:
    if not can_ask():
        raise UnlockError("nobody is there to be asked", rule="no_terminal", hint=ways)
    return _getpass()(prompt)


def _getpass() -> Callable[[str], str]:
    import getpass

    return getpass.getpass


def _read_fd(number: int) -> str:
    """The text on that file descriptor, up to its end, without the line break that ends it."""
    data = b""
    try:
        while len(data) <= SECRET_BYTES_MAX and (part := os.read(number, SECRET_BYTES_MAX)):
            data += part
    except OSError:
        raise UsageError(
            f"file descriptor {number} is not open for reading",
            rule="bad_descriptor",
            hint="for example: quire --passphrase-fd 3 … 3< file",
        ) from None
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        failed = True  # raised below: the decoding error would carry the secret
    assert failed
    raise UsageError(f"what file descriptor {number} holds is not UTF-8 text", rule="passphrase_text")
