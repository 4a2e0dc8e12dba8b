"""Secrets as types, and the ways to unlock a vault.

A secret is never a bare `bytes` or `str`: it is wrapped, so that printing, logging or formatting it
shows its kind and nothing else, and pickling or copying it fails. The only way to the bytes is
`.reveal()`, which is easy to look for in a review. (Python cannot wipe memory: a secret lives until the
interpreter reuses its place. The threat model says so.)

What a user holds is checked here, once: a `Passphrase` is text in one normal form, a `RecoveryPhrase`
has 24 words with a right checksum. `KeyFile` and `Keyring` only say where a secret is; the storage
layer goes and gets it. docs/spec/04-keys.md, section 2.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, NoReturn, Protocol

from quire.core.values import Value
from quire.errors import UsageError

__all__ = [
    "DatabaseKey", "KeyFile", "Keyring", "Passphrase", "RandomBytes", "RawKey", "RecoveryPhrase", "Secret",
    "Unlock",
]  # fmt: skip

RandomBytes = Callable[[int], bytes]

KEY_SIZE = 32
PASSPHRASE_BYTES_MAX = 4_096  # more was pasted by mistake; a file is a key file
PHRASE_WORDS = 24  # 256 bits: as strong as the keys derived from it, also against Grover's search
PHRASE_CHARS_MAX = 1_024  # 24 words of at most 8 letters, and generous white space
PREFIX_LETTERS = 4  # the first four letters of a word of the list are unique (BIP-39)
KEYRING_NAME_CHARS_MAX = 64


class Secret:
    """Bytes nobody sees by accident."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves: for a key schedule or a cipher, never for a message or a log."""
        return self._value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: hidden>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a key of a dict outlives its use

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled or copied")


class DatabaseKey(Secret):
    """The 32 random bytes that encrypt one vault's database."""

    __slots__ = ()

    def __init__(self, value: bytes) -> None:
        if not isinstance(value, bytes) or len(value) != KEY_SIZE:
            raise UsageError(f"a database key is {KEY_SIZE} bytes", rule="key_length")
        super().__init__(value)

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> DatabaseKey:
        return cls(random_bytes(KEY_SIZE))


class Passphrase(Secret):
    """What a person types. One text, however the keyboard composes it (NFC), has one encoding."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if not text:
            raise UsageError("an empty passphrase protects nothing", rule="passphrase_empty")
        if any("\ud800" <= char <= "\udfff" for char in text):
            # Tested beforehand: a UnicodeEncodeError would carry the passphrase in its fields.
            raise UsageError("the passphrase is not valid text", rule="passphrase_text")
        encoded = unicodedata.normalize("NFC", text).encode()
        if len(encoded) > PASSPHRASE_BYTES_MAX:
            raise UsageError(
                f"a passphrase has at most {PASSPHRASE_BYTES_MAX} bytes",
                rule="passphrase_length",
                hint="use a key file for something so long",
            )
        super().__init__(encoded)


class RecoveryPhrase(Secret):
    """24 words of the BIP-39 English list; `reveal()` gives their 32 bytes of entropy.

    words    in any case, with any white space between; four letters of a longer word are enough

    Raises: UsageError with rule "phrase_length", "phrase_word" (naming the word) or "phrase_checksum".
    """

    __slots__ = ()

    def __init__(self, words: str) -> None:
        given = words[: PHRASE_CHARS_MAX + 1].lower().split()
        if len(words) > PHRASE_CHARS_MAX or len(given) != PHRASE_WORDS:
            raise UsageError(f"a recovery phrase has {PHRASE_WORDS} words", rule="phrase_length")
        super().__init__(_entropy([_listed(word, place) for place, word in enumerate(given, start=1)]))

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> RecoveryPhrase:
        phrase = cls.__new__(cls)
        Secret.__init__(phrase, random_bytes(KEY_SIZE))
        return phrase

    def words(self) -> str:
        """The phrase itself, to be shown once and written on paper."""
        return _mnemonic().to_mnemonic(self._value)


class KeyFile(Value):
    """A file whose bytes are the secret; it belongs somewhere else than the vault."""

    path: str

    if TYPE_CHECKING:

        def __init__(self, path: str | _PathLike) -> None: ...

    else:

        def __new__(cls, path: str | _PathLike) -> KeyFile:
            return super().__new__(cls, path if isinstance(path, str) else path.__fspath__())


class Keyring(Value):
    """The operating system's keyring holds the secret; `name` tells several of one vault apart."""

    name: str = ""

    if not TYPE_CHECKING:

        def __new__(cls, name: str = "") -> Keyring:
            if len(name) > KEYRING_NAME_CHARS_MAX or not all(char.isprintable() for char in name):
                raise UsageError("a keyring name is a short line of text", rule="keyring_name")
            return super().__new__(cls, name)


class RawKey(Value):
    """The database key itself: for programs that keep it in a place of their own."""

    key: DatabaseKey


Unlock = Passphrase | RecoveryPhrase | KeyFile | Keyring | RawKey


class _PathLike(Protocol):
    def __fspath__(self) -> str: ...


class _Mnemonic(Protocol):
    """What we use of `mnemonic.Mnemonic`, which has no types of its own."""

    wordlist: list[str]

    def to_entropy(self, words: list[str]) -> bytearray: ...
    def to_mnemonic(self, data: bytes) -> str: ...


@cache
def _mnemonic() -> _Mnemonic:
    from mnemonic import Mnemonic  # 40 ms, for those who use a phrase

    english: _Mnemonic = Mnemonic("english")
    return english


def _listed(word: str, place: int) -> str:
    """The word of the list that is meant."""
    listed = _mnemonic().wordlist
    matches = [one for one in listed if one == word]
    if not matches and len(word) >= PREFIX_LETTERS:
        matches = [one for one in listed if one.startswith(word)]
    if len(matches) != 1:
        raise UsageError(
            f"word {place}, {word[:16]!r}, is not in the list of recovery words",
            rule="phrase_word",
            hint="look for a misspelling; the words are those of the BIP-39 English list",
            place=place,
        )
    return matches[0]


def _entropy(words: list[str]) -> bytes:
    try:
        return bytes(_mnemonic().to_entropy(words))
    except ValueError:
        failed = True  # raised below, so that the library's error and its locals stay behind
    assert failed
    raise UsageError(
        "the recovery phrase's checksum is wrong",
        rule="phrase_checksum",
        hint="each word is in the list, but one of them is not yours, or two changed places",
    )
