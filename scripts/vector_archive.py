"""The scenarios of the golden vectors about archives: segments, read by one reference."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import zstandard
from tests.vectors import VALID
from vector_parts import Case, fixed

from quire.core.commit import commitment
from quire.core.crypto import aead
from quire.core.crypto.keys import Label, derive_key
from quire.core.operation import Post
from quire.core.operation_form import encode_operation
from quire.core.segment import Sealer, header

KEY, ID, SECRET = fixed("segment key"), fixed("segment id")[:16], fixed("segment secret")[:16]
SHORT = fixed("salt")[:16] + encode_operation(Post("What is old and short"))
LONG = fixed("salt")[:16] + encode_operation(Post("What is old, and said again and again. " * 40))
OTHER = fixed("salt")[:16] + encode_operation(Post("What is old and shore"))
AT = 25  # where the first record begins


def reference(
    salted: bytes,
    sealed: bytes,
    *,
    offset: int = AT,
    secret: bytes = SECRET,
    length: int | None = None,
    of: bytes | None = None,
) -> bytes:
    size = len(salted) if length is None else length
    return secret + b"\xc1" + struct.pack(">IIII", 1, offset, len(sealed), size) + commitment(of or salted)


def record(plain: bytes) -> bytes:
    """A record of what no sealer writes."""
    key = derive_key(KEY, Label.SEGMENT_RECORD, salt=SECRET + AT.to_bytes(4, "big"))
    return aead.encrypt(key, bytes(12), plain, header(ID))


def segments() -> Iterator[Case]:
    def case(
        name: str,
        why: str,
        rule: str,
        salted: bytes,
        sealed: bytes,
        *,
        begin: bytes | None = None,
        **how: object,
    ) -> Case:
        facts = {
            "key": KEY.hex(), "segment": ID.hex(), "reference": reference(salted, sealed, **how).hex(),  # type: ignore[arg-type]
        }  # fmt: skip
        if rule == VALID:
            facts["salted"] = salted.hex()
        return name, (header(ID) if begin is None else begin) + sealed + b"padding", rule, why, facts

    sealer = Sealer(KEY, ID)
    short, long = sealer.seal(SECRET, AT, SHORT), sealer.seal(SECRET, AT, LONG)
    assert len(short) == len(SHORT) + 17
    assert len(long) < len(LONG)
    yield case("right", "one operation, as it is", VALID, SHORT, short)
    yield case("right-compressed", "one that compresses", VALID, LONG, long)
    good = header(ID)
    yield case("cut", "the file ends in its header", "segment_cut", SHORT, b"", begin=good[:10])
    yield case("magic", "another file", "segment_magic", SHORT, short, begin=b"\x88" + good[1:])
    yield case(
        "version",
        "written by a newer Quire",
        "segment_version",
        SHORT,
        short,
        begin=good[:8] + b"\2" + good[9:],
    )
    yield case("other", "another segment", "segment_other", SHORT, short, begin=header(ID[::-1]))
    yield case("flipped", "one bit", "segment_record", SHORT, bytes([short[0] ^ 1]) + short[1:])
    yield case("record-cut", "the last byte is missing", "segment_record", SHORT, short[:-1])
    yield case("secret", "the secret was destroyed", "segment_record", SHORT, short, secret=bytes(16))
    moved = sealer.seal(SECRET, AT + 1, SHORT)
    yield case("moved", "sealed for another place", "segment_record", SHORT, moved)
    yield case("commitment", "of another operation", "segment_record", SHORT, short, of=OTHER)
    yield case(
        "length", "longer than the reference says", "segment_packing", SHORT, short, length=len(SHORT) - 1
    )
    yield case("packing", "packed in no known way", "segment_packing", SHORT, record(b"\2" + SHORT))
    yield case("packing-empty", "not even that is said", "segment_packing", SHORT, record(b""))
    yield case(
        "packing-no-frame", "nothing that was compressed", "segment_packing", SHORT, record(b"\1" + SHORT)
    )
    bomb = zstandard.ZstdCompressor().compress(bytes(2 << 20))
    yield case(
        "packing-bomb", "refused by the size it states", "segment_packing", SHORT, record(b"\1" + bomb)
    )
    twice = zstandard.ZstdCompressor().compress(SHORT) * 2
    yield case(
        "packing-two-frames", "something after the frame", "segment_packing", SHORT, record(b"\1" + twice)
    )
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(SHORT)
    yield case("packing-unsized", "it states no size", "segment_packing", SHORT, record(b"\1" + unsized))
    facts = {"key": KEY.hex(), "segment": ID.hex(), "reference": SHORT.hex()}
    yield (
        "reference",
        header(ID) + short,
        "reference_form",
        "an operation, where a reference should be",
        facts,
    )


ARCHIVE_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {"segment": segments}
