"""What the golden vectors are made of: fixed keys, one device, one channel.

`raw` writes plain MessagePack of plain values, so a wrong vector differs from a right one in one thing only.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from quire.core.commit import channel_id
from quire.core.control import Create, Device
from quire.core.crypto.keys import SigningKey, certify, consent_to
from quire.core.crypto.sealing import public_of
from quire.core.ids import DeviceId, IdentityId, Incarnation, log_prefix, message_id
from quire.core.operation_form import encode_operation

Case = tuple[Any, ...]  # name, bytes, expected, why, and perhaps facts
raw = msgspec.msgpack.encode


def fixed(what: str, size: int = 32) -> bytes:
    """Bytes that stand for random ones."""
    return hashlib.shake_256(b"quire vectors " + what.encode()).digest(size)


def certificate(issuer: SigningKey, device: SigningKey, *, consent: bytes = b"") -> bytes:
    """For a device of the identity, by it or by another device."""
    who = IdentityId(IDENTITY.public)
    consent = consent or consent_to(device, who, SEALING, CREATED_MS)
    return certify(issuer, who, DeviceId(device.public), SEALING, CREATED_MS, consent).encode()


IDENTITY = SigningKey(fixed("identity"))
DEVICE = SigningKey(fixed("device"))
CREATED_MS = 1_700_000_000_000
SEALING_SEED = fixed("sealing")
SEALING = public_of(SEALING_SEED)
CERTIFICATE = certificate(IDENTITY, DEVICE)
ENTRY = Device(CERTIFICATE, SEALING)
CREATE = encode_operation(Create("channel", "general", fixed("nonce", 16), ENTRY))
CHANNEL = channel_id(CREATE)
INCARNATION = Incarnation(fixed("incarnation", 16))
PREFIX = log_prefix(DeviceId(DEVICE.public), INCARNATION)
TARGET = message_id(PREFIX, 2, 0)
TIME = CREATED_MS << 16
