"""The scenarios of the golden vectors about backups: packs and manifests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors import VALID
from vector_parts import Case, fixed, raw

from quire.core.crypto import aead
from quire.core.crypto.keys import Label, derive_key
from quire.core.packing import packed

TIME = (1_700_000_000_000 << 16) + 3
SPAN = [b"p" * 10, 1, 7, b"i" * 32]
BODY: list[Any] = [3, TIME, b"", [SPAN], [b"one", b"two"], []]
PACK = [b"n" * 32, 1000, 3, TIME, b"", 2, b"d" * 32, [SPAN]]
MANIFEST: list[Any] = [
    b"v" * 16, 1_700_000_000_000, 1, [PACK], [], [[b"p" * 10, b"c" * 32]], [[b"c" * 32, "general", 12]],
]  # fmt: skip
FACTS = {"database_key": fixed("database key").hex()}


def sealed(what: str, body: Any, *, version: bytes = b"\x00\x01", key: str = "database key") -> bytes:
    """A pack, or a manifest without its SHA-256."""
    magic, label = (
        (b"\x89QBPACK\n", Label.BACKUP_PACK) if what == "pack" else (b"\x89QBMANI\n", Label.BACKUP_MANIFEST)
    )
    header = magic + version + fixed("salt")
    backup_key = derive_key(fixed(key), Label.BACKUP)
    plain = body if isinstance(body, bytes) else raw(body)
    derived = derive_key(backup_key, label, salt=fixed("salt"))
    return header + aead.encrypt(derived, bytes(12), packed(plain), header)


def manifest(body: Any, **how: Any) -> bytes:
    whole = sealed("manifest", body, **how)
    return whole + hashlib.sha256(whole).digest()


def _shared(what: str, make: Callable[..., bytes], right: list[Any]) -> Iterator[Case]:
    good = make(right)
    yield "magic", b"\x88" + good[1:], f"{what}_magic", "another file", FACTS
    yield "version", make(right, version=b"\x00\x02"), f"{what}_version", "written by a newer Quire", FACTS
    yield "other-key", make(right, key="another key"), f"{what}_open", "of another vault", FACTS
    yield "longer", make([*right, 0]), f"{what}_form", "one field more", FACTS
    yield "shorter", make(right[:-2]), f"{what}_form", "two fields less", FACTS
    yield "trailing", make(raw(right) + b"\0"), f"{what}_form", "one byte too many", FACTS
    wide = b"\xdc\x00" + bytes([len(right)]) + raw(right)[1:]
    yield "wide", make(wide), f"{what}_form_not_canonical", "the array's length in two bytes", FACTS


def packs() -> Iterator[Case]:
    good = sealed("pack", BODY)
    yield (
        "right",
        good,
        VALID,
        "two commits of one log",
        {**FACTS, "items": 2, "address": hashlib.sha256(good).hexdigest()},
    )
    yield from _shared("pack", lambda body, **how: sealed("pack", body, **how), BODY)
    yield "flipped", good[:60] + bytes([good[60] ^ 1]) + good[61:], "pack_open", "one bit", FACTS
    yield "cut", good[:-1], "pack_open", "the last byte is missing", FACTS
    yield "cut-in-header", good[:50], "pack_size", "less than a tag", FACTS
    yield "kind-0", sealed("pack", [0, *BODY[1:]]), "pack_form", "kinds count from 1", FACTS
    yield (
        "seq-0",
        sealed("pack", [*BODY[:3], [[b"p" * 10, 0, 7, b"i" * 32]], [], []]),
        "pack_form",
        "seqs count from 1",
        FACTS,
    )
    yield (
        "prefix-short",
        sealed("pack", [*BODY[:3], [[b"p" * 9, 1, 7, b"i" * 32]], [], []]),
        "pack_form",
        "ten bytes",
        FACTS,
    )


def manifests() -> Iterator[Case]:
    good = manifest(MANIFEST)
    yield "right", good, VALID, "one pack of one log of one channel", {**FACTS, "packs": 1}
    yield from _shared("manifest", manifest, MANIFEST)
    yield "flipped", good[:60] + bytes([good[60] ^ 1]) + good[61:], "manifest_checksum", "one bit", FACTS
    yield "cut", good[:-1], "manifest_checksum", "the last byte is missing", FACTS
    yield "empty", b"", "manifest_size", "no bytes", FACTS
    short = [PACK[0][:31], *PACK[1:]]
    yield (
        "name-short",
        manifest([*MANIFEST[:3], [short], *MANIFEST[4:]]),
        "manifest_form",
        "a SHA-256 has 32 bytes",
        FACTS,
    )


BACKUP_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {"pack": packs, "manifest": manifests}
