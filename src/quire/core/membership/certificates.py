"""Certificates and proofs inside control operations (docs/spec/06-membership.md, section 4).

Verifying costs a few hundred microseconds, and the same certificate comes in every channel of its person: answers
are remembered, by the bytes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from quire.core.control import Device
from quire.core.crypto.keys import DeviceCertificate, Label, decode_certificate, verify
from quire.core.membership.index import Binding, Record
from quire.core.membership.model import DeviceInfo, Key
from quire.errors import MalformedError

REMEMBERED = 4_096


@lru_cache(REMEMBERED)
def read_certificate(encoded: bytes) -> DeviceCertificate | str:
    """The verified certificate, or the rule it breaks."""
    try:
        certificate = decode_certificate(encoded)
        certificate.verify()
    except MalformedError as error:
        return error.rule
    return certificate


def join_message(channel: bytes, identity: bytes) -> bytes:
    """What an invite's key signs, for one person and one channel."""
    return Label.JOIN.encode() + channel + identity


@lru_cache(REMEMBERED)
def proves(invite: bytes, proof: bytes, channel: bytes, identity: bytes) -> bool:
    """Did the holder of the invite let this person have it?"""
    return verify(invite, proof, join_message(channel, identity))


def read_devices(
    devices: tuple[Device, ...], record: Record, operation: int, standing: dict[bytes, Binding]
) -> list[Binding] | str:
    """The bindings that these certificates make, or the rule that one breaks.

    operation   their operation's place in the commit of `record`
    standing    the devices the same identity has already, any of which may be an issuer
    """
    known = dict(standing)
    found: list[Binding] = []
    for number, device in enumerate(devices):
        certificate = read_certificate(device.certificate)
        if isinstance(certificate, str):
            return certificate
        if hashlib.sha256(device.sealing).digest() != certificate.sealing_hash:
            return "certificate_sealing"
        if found and certificate.identity != found[0].identity:
            return "certificate_identity"
        if any(one.device == certificate.device for one in found):
            return "device_twice"
        issued_by = None if certificate.by_identity else known.get(certificate.issuer)
        if issued_by is None and not certificate.by_identity:
            return "certificate_chain"
        place = (operation, number)
        binding = Binding(
            record, certificate.device, certificate.identity, certificate.created_ms, certificate.sealing_hash,
            place, certificate.issuer, issued_by, _key(certificate, record, place),
        )  # fmt: skip
        found.append(binding)
        known[certificate.device] = binding
    return found


def info_of(binding: Binding) -> DeviceInfo:
    """What others see of it."""
    return DeviceInfo(
        binding.device, binding.identity, binding.created_ms, binding.issued_by is None,
        binding.sealing_hash, binding.record.id, binding.place, binding.key,
    )  # fmt: skip


def _key(certificate: DeviceCertificate, record: Record, place: tuple[int, int]) -> Key:
    """Certified by the identity: the latest first, since whoever has the phrase made it last. Others in order of adding."""
    if certificate.by_identity:
        return (0, -certificate.created_ms, certificate.device)
    return (1, record.time, record.id, place)
