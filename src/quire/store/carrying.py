"""Self-channels that others carry: a vault that burnt comes back from anybody who shares a channel with its owner.

The parts are sealed to the owner's own devices and recovery key; the whole is signed by one of the devices, so that
nobody keeps junk in an owner's name. What a later note has replaced is left out: where one read a year ago says nothing.
docs/spec/08-bundles.md, section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from quire.core import limits
from quire.core.crypto.keys import Label, verify
from quire.core.encoding import Codec, encode
from quire.core.operation import (
    Bookmark,
    Contact,
    DeviceName,
    ReadMarker,
    Unbookmark,
    stored_operation,
)
from quire.errors import MalformedError


class Carried(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """One person's self-channel, sealed to themselves, as others keep it for them."""

    owner: bytes
    stamp_ms: Annotated[int, msgspec.Meta(ge=0, le=limits.TIME_MS_MAX)]  # the newest replaces
    device: bytes
    parts: Annotated[tuple[tuple[int, bytes], ...], msgspec.Meta(max_length=limits.CARRIED_PARTS_MAX)]


class _Signed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    carried: bytes
    signature: bytes


_carried_codec = Codec(Carried, "carried")
_signed_codec = Codec(_Signed, "carried")


REPLACED = (ReadMarker, Bookmark, Unbookmark, Contact, DeviceName)  # by the next about the same

Goes = Callable[
    [bytes, Sequence[bytes]], bool
]  # (place, salt || operation of each, or nothing for a hole) of a commit: is it to go?


def still_says(standing: set[bytes]) -> Goes:
    """Has a commit of the self-channel anything in it that no later one has replaced?"""

    def says(place: bytes, salted: Sequence[bytes]) -> bool:
        return any(
            place + index.to_bytes(2, "big") in standing or not isinstance(stored_operation(one), REPLACED)
            for index, one in enumerate(salted)
            if one
        )

    return says


def sign_carried(found: Carried, sign: Callable[[bytes], bytes]) -> bytes:
    """As it travels; `sign` is the device's."""
    encoded = encode(found)
    return encode(_Signed(encoded, sign(Label.CARRIED.encode() + encoded)))


def open_carried(data: bytes) -> Carried:
    """What somebody had others keep; its signature holds. Raises: MalformedError."""
    signed: _Signed = _signed_codec.decode(data)
    found: Carried = _carried_codec.decode(signed.carried)
    if not verify(found.device, signed.signature, Label.CARRIED.encode() + signed.carried):
        raise MalformedError("its device did not sign this", rule="carried_signature")
    return found
