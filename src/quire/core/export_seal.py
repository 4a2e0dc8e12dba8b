"""The seal of a signed export: its exporter's device says what it had of a channel, log by log.

Commits prove what they hold, and their chain that nothing between two of them is missing. That none is missing at the end
only somebody can say who had them: the exporter, by this signature. docs/spec/15-signed-exports.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from quire.core.crypto.keys import Label, verify
from quire.core.encoding import Codec, encode
from quire.core.heights import LogHeight, is_well_formed
from quire.errors import MalformedError

VERSION = 1


class Statement(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is signed."""

    version: int
    channel: bytes
    device: bytes  # the exporter's
    header: bytes  # SHA-256 of the first line
    messages: int
    logs: tuple[LogHeight, ...]


_codec = Codec(Statement, "export_seal")


def seal_export(
    channel: bytes,
    device: bytes,
    header: bytes,
    messages: int,
    logs: Sequence[LogHeight],
    sign: Callable[[bytes], bytes],
) -> tuple[bytes, bytes]:
    """(statement, signature).

    header    the first line, without its end
    sign      the device's
    """
    ordered = tuple(sorted(logs, key=lambda height: height.log))
    statement = encode(
        Statement(VERSION, channel, device, hashlib.sha256(header).digest(), messages, ordered)
    )
    return statement, sign(Label.EXPORT.encode() + statement)


def open_seal(statement: bytes, signature: bytes) -> Statement:
    """What was said, signed by the device that it names. Raises: MalformedError."""
    found: Statement = _codec.decode(statement)
    if found.version != VERSION or not all(map(is_well_formed, found.logs)):
        raise MalformedError("a seal of another form", rule="export_seal")
    if not verify(found.device, signature, Label.EXPORT.encode() + statement):
        raise MalformedError("its device did not sign this seal", rule="export_seal_signature")
    return found
