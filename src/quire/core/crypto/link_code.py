"""The short code by which two devices find that they belong together: `3F9T-7K2Q-M9XD`.

Twelve characters of Crockford's base32 (no I, L, O, U). The first four say where the two meet, at a relay or on a local
network; whoever carries what they say may know them. Of the others seven are the secret, and one checks all before it, so
that a slip of the finger is told before it costs the attempt. 35 bits are plenty where SPAKE2 allows one guess in all
(core/crypto/linking.py): one in 34,000 million.
"""

from __future__ import annotations

from quire.core.crypto.secrets import RandomBytes, Secret
from quire.errors import UsageError

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PLACE_LETTERS = 4
CODE_LETTERS = 12
TYPED_CHARS_MAX = 64
LOOK_ALIKE = str.maketrans("ILO", "110", "-")


class LinkCode(Secret):
    """What a person reads from one screen and types at the other."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        """Raises: UsageError(rule="code_form"): mistyped. The attempt is not lost."""
        typed = text[:TYPED_CHARS_MAX].upper().translate(LOOK_ALIKE)
        letters = "".join(typed.split())
        if (
            len(letters) != CODE_LETTERS
            or set(letters) - set(ALPHABET)
            or _check_letter(letters) != letters[-1]
        ):
            raise UsageError("that is not the code: look once more", rule="code_form")
        super().__init__(letters.encode())

    @classmethod
    def generate(cls, random_bytes: RandomBytes) -> LinkCode:
        drawn = "".join(ALPHABET[byte % 32] for byte in random_bytes(CODE_LETTERS - 1))
        return cls(drawn + _check_letter(drawn))

    @property
    def place(self) -> bytes:
        """Where the two meet: the half that is no secret."""
        return self.reveal()[:PLACE_LETTERS]

    def text(self) -> str:
        """`3F9T-7K2Q-M9XD`, to be shown."""
        letters = self.reveal().decode()
        return "-".join(letters[at : at + 4] for at in range(0, CODE_LETTERS, 4))


def _check_letter(letters: str) -> str:
    """Odd weights: any single wrong letter shows, and nearly any two that changed places."""
    values = (
        ALPHABET.index(letter) * (2 * place + 1) for place, letter in enumerate(letters[: CODE_LETTERS - 1])
    )
    return ALPHABET[sum(values) % 32]
