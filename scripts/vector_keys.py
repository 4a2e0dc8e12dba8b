"""The scenarios of the golden vectors about keys: certificates and the slots file."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors import VALID
from vector_parts import CERTIFICATE, CREATED_MS, DEVICE, IDENTITY, Case, certificate, fixed, raw

from quire.core.crypto.keys import Label, SigningKey, derive_key
from quire.core.crypto.slots_file import HEADER


def certificates() -> Iterator[Case]:
    def but(at: int, value: bytes) -> bytes:
        return CERTIFICATE[:at] + value + CERTIFICATE[at + len(value) :]

    facts = {
        "identity": IDENTITY.public.hex(),
        "device": DEVICE.public.hex(),
        "issuer": IDENTITY.public.hex(),
    }
    phone, stranger = SigningKey(fixed("phone")), SigningKey(fixed("stranger"))
    yield "right", CERTIFICATE, VALID, "an identity vouches for a device", facts
    by_device = {
        "identity": IDENTITY.public.hex(),
        "device": phone.public.hex(),
        "issuer": DEVICE.public.hex(),
    }
    yield "by-device", certificate(DEVICE, phone), VALID, "a device vouches for another", by_device
    yield "by-itself", certificate(phone, phone), VALID, "in form; it gives no right, see 04-keys, 4.5"
    yield "short", CERTIFICATE[:-1], "certificate_length", "a byte less"
    yield "long", CERTIFICATE + b"\0", "certificate_length", "a byte more"
    yield "empty", b"", "certificate_length", "no bytes"
    yield "version-0", but(0, b"\0"), "certificate_version", "no such version"
    yield "version-2", but(0, b"\2"), "certificate_version", "a version of the future"
    yield "time-too-late", but(129, (1 << 43).to_bytes(8, "big")), "certificate_time", "beyond 2248"
    signature = "certificate_signature"
    yield "time-changed", but(129, (CREATED_MS - 1).to_bytes(8, "big")), signature, "the time is signed"
    yield "identity-changed", but(1, stranger.public), signature, "the identity is signed"
    yield "device-changed", but(33, stranger.public), signature, "the device is signed"
    yield "sealing-changed", but(65, fixed("another sealing key")), signature, "the sealing key is signed"
    yield "issuer-changed", but(97, DEVICE.public), signature, "another issuer has not signed"
    yield "signature-flipped", but(137, bytes([CERTIFICATE[137] ^ 1])), signature, "one bit"
    fields = CERTIFICATE[1:97] + CERTIFICATE[129:137]
    yield "signature-without-label", but(137, IDENTITY.sign(fields)), signature, "of something else"
    consent = "certificate_consent"
    yield "consent-flipped", but(264, bytes([CERTIFICATE[264] ^ 1])), consent, "one bit"
    by_identity = IDENTITY.sign(Label.DEVICE_CONSENT.encode() + fields)
    yield "consent-forged", but(201, by_identity), consent, "the identity takes a device that did not agree"
    as_issuer = DEVICE.sign(Label.DEVICE_CERTIFICATE.encode() + fields)
    yield "consent-of-an-issuer", but(201, as_issuer), consent, "the other label"


# The slots file

SLOT = [1, "key_file", "", CREATED_MS, bytes(16), None, bytes(1216), bytes(1168), b""]
PASSPHRASE = [2, "passphrase", "typed", CREATED_MS, bytes(16), [65536, 3, 4], bytes(1216), bytes(1168), b""]
BODY = [fixed("vault", 16), 1, 3, [SLOT, PASSPHRASE], b""]


def slots_file(
    body: Any, mac_next: bytes = b"", *, extra: tuple[Any, ...] = (), header: bytes = HEADER
) -> bytes:
    encoded = body if isinstance(body, bytes) else raw(body)
    mac = hmac.digest(derive_key(fixed("database key"), Label.SLOTS_MAC), header + encoded, "sha256")
    whole = header + raw([encoded, mac, mac_next, *extra])
    return whole + hashlib.sha256(whole).digest()


def slot_but(slot: list[Any], at: int, value: Any) -> bytes:
    changed = [*slot[:at], value, *slot[at + 1 :]]
    return slots_file([*BODY[:3], [changed] if slot is SLOT else [SLOT, changed], b""])


def slots() -> Iterator[Case]:
    right = slots_file(BODY)
    yield "right", right, VALID, "a key file and a passphrase; sealed keys of zeros", {"slots": 2}
    yield (
        "none",
        slots_file([BODY[0], 1, 1, [], b""]),
        VALID,
        "well formed; that one must stay is a rule of writers",
    )
    yield "empty", b"", "slots_length", "no bytes"
    yield "too-long", right + bytes((256 << 10) + 1 - len(right)), "slots_length", "by one"
    yield "magic", b"\x88" + right[1:], "slots_magic", "another file"
    yield "newlines-mangled", right.replace(b"\n", b"\r\n"), "slots_magic", "a copy in text mode"
    yield "flipped", right[:50] + bytes([right[50] ^ 1]) + right[51:], "slots_checksum", "one bit"
    yield "truncated", right[:-1], "slots_checksum", "the last byte is missing"
    yield (
        "version",
        slots_file(BODY, header=HEADER[:-1] + b"\x02"),
        "slots_version",
        "written by a newer Quire",
    )
    yield "envelope-longer", slots_file(BODY, extra=(0,)), "slots_form", "one field more"
    yield "body-longer", slots_file([*BODY, 0]), "slots_form", "one field more"
    yield "body-no-msgpack", slots_file(b"\xc1"), "slots_form", "nothing that can be read"
    yield "body-trailing", slots_file(raw(BODY) + b"\0"), "slots_form", "one byte too many"
    yield (
        "body-wide",
        slots_file(b"\xdc\x00\x05" + raw(BODY)[1:]),
        "slots_form",
        "the array's length in two bytes",
    )
    yield "ids-unordered", slots_file([*BODY[:3], [PASSPHRASE, SLOT], b""]), "slots_form", "ascending"
    yield "ids-repeated", slots_file([*BODY[:3], [SLOT, SLOT], b""]), "slots_form", "each once"
    yield "next-id-taken", slots_file([BODY[0], 1, 2, [SLOT, PASSPHRASE], b""]), "slots_form", "above all ids"
    yield "generation-0", slots_file([BODY[0], 0, *BODY[2:]]), "slots_form", "counts from 1"
    yield "vault-id-empty", slots_file([b"", *BODY[1:]]), "slots_form", "1 to 64 bytes"
    many = [[i, *SLOT[1:]] for i in range(1, 34)]
    yield "too-many", slots_file([BODY[0], 1, 40, many, b""]), "slots_form", "at most 32"
    yield "kind-unknown", slot_but(SLOT, 1, "fingerprint"), "slots_form", "four kinds are known"
    yield "salt-short", slot_but(SLOT, 4, bytes(15)), "slots_form", "16 bytes"
    yield "public-short", slot_but(SLOT, 6, bytes(1215)), "slots_form", "1,216 bytes"
    yield "sealed-long", slot_but(SLOT, 7, bytes(1169)), "slots_form", "1,168 bytes"
    yield (
        "next-without-rekey",
        slot_but(SLOT, 8, bytes(1168)),
        "slots_form",
        "empty unless a rekey is under way",
    )
    yield "passphrase-without-cost", slot_but(PASSPHRASE, 5, None), "slots_form", "a passphrase has a cost"
    yield "key-file-with-cost", slot_but(SLOT, 5, [65536, 3, 4]), "slots_form", "only a passphrase has"
    yield "memory-too-low", slot_but(PASSPHRASE, 5, [65535, 3, 4]), "slots_form", "a downgrade"
    yield (
        "memory-too-high",
        slot_but(PASSPHRASE, 5, [(4 << 20) + 1, 3, 4]),
        "slots_form",
        "an attack on the reader",
    )
    yield "passes-too-few", slot_but(PASSPHRASE, 5, [65536, 2, 4]), "slots_form", "a downgrade"
    yield "work-too-high", slot_but(PASSPHRASE, 5, [4 << 20, 5, 4]), "slots_form", "memory times passes"
    yield (
        "link-without-rekey",
        slots_file([*BODY[:4], bytes(60)]),
        "slots_form",
        "empty unless a rekey is under way",
    )
    yield "rekey-without-link", slots_file(BODY, bytes(32)), "slots_form", "a rekey has a link"


KEY_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {
    "certificate": certificates,
    "slots": slots,
}
