"""Bytes as text that people copy: `quire:join:AbC…`.

After the prefix stands base64url without padding, of the bytes and the first four of SHA-256(prefix || bytes).
So what a mail wrapped, indented or cut short is either what it was, or known to be damaged: never something
else that then is "wrong". docs/spec/08-bundles.md, section 5.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from quire.errors import MalformedError

CHECK_SIZE = 4


def as_text(prefix: str, data: bytes) -> str:
    """One line, without white space."""
    checked = data + _check(prefix, data)
    return prefix + base64.urlsafe_b64encode(checked).rstrip(b"=").decode()


def from_text(prefix: str, text: str, *, chars_max: int, what: str) -> bytes:
    """The bytes, wherever lines were broken.

    what    begins the rule: "card" gives "card_form" (something else altogether) and "card_damaged"
    """
    if len(text) > 4 * chars_max:  # generous white space
        raise MalformedError("the text is far too long for this", rule=f"{what}_form")
    joined = "".join(text.split())
    if not joined.lower().startswith(prefix):
        raise MalformedError(f"this does not begin with {prefix}", rule=f"{what}_form")
    encoded = joined[len(prefix) :]
    try:
        checked = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        checked = b""
    data = checked[:-CHECK_SIZE]
    if len(joined) > chars_max or joined[len(prefix) :] != as_text(prefix, data)[len(prefix) :]:
        raise MalformedError(
            "part of the text is missing or changed",
            rule=f"{what}_damaged",
            hint="copy the whole of it once more",
        )
    return data


def _check(prefix: str, data: bytes) -> bytes:
    return hashlib.sha256(prefix.encode() + data).digest()[:CHECK_SIZE]
