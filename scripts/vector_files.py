"""The scenarios of the golden vectors about sealed files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors import VALID
from vector_parts import CHANNEL, Case, fixed, raw

from quire.core import sealed_file
from quire.core.bundle import bundle_tag
from quire.core.crypto import aead
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, derive_key
from quire.core.sealed_file import file_id, padded_size, piece_hash, seal_piece

KEY, OTHER = fixed("file key"), fixed("other file key")
TEXT = b"From the lighthouse\n"


def case(
    name: str, sealed: bytes, expect: str, why: str, *, size: int, plain: bytes = b"", key: bytes = KEY,
    id: bytes | None = None, outline: bytes = b"",
) -> Case:  # fmt: skip
    """A sealed file of one piece; its id is what its bytes say unless another is given."""
    named = file_id(size, piece_hash(sealed)) if id is None else id
    facts = {"id": named.hex(), "key": key.hex(), "size": size}
    facts |= {"outline": outline.hex()} if outline else {}
    return name, sealed, expect, why, facts | ({"plain": plain.hex()} if expect == VALID else {})


def files() -> Iterator[Case]:
    size = len(TEXT)
    right = seal_piece(KEY, size, 0, TEXT)
    id = file_id(size, piece_hash(right))
    longest = b"a" * padded_size(0)
    yield case("short", right, VALID, "a short file, padded to 4,096 bytes", size=size, plain=TEXT)
    yield case("empty", seal_piece(KEY, 0, 0, b""), VALID, "nothing, and as long as a short one", size=0)
    full = seal_piece(KEY, len(longest), 0, longest)
    yield case("full", full, VALID, "4,096 bytes take no padding", size=len(longest), plain=longest)

    flipped = right[:100] + bytes([right[100] ^ 1]) + right[101:]
    yield case("flipped", flipped, "file_outline", "a bit turned: another file", size=size, id=id)
    yield case(
        "flipped-piece", flipped, "file_piece", "its outline is known: this piece is wrong", size=size, id=id,
        outline=piece_hash(right),
    )  # fmt: skip
    yield case("flipped-named", flipped, "file_open", "named by its bytes, and sealed by nobody", size=size)
    yield case("cut", right[:-1], "file_piece", "the last byte is missing", size=size)
    yield case("longer", right + b"\0", "file_piece", "a byte more", size=size)
    yield case("pieces", right, "file_outline", "a file of this size has two pieces", size=1 << 20)
    yield case("size", right, "file_open", "the size is sealed with it", size=size + 1)
    yield case("renamed", right, "file_outline", "the size is in the name", size=size + 1, id=id)
    yield case("key", right, "file_open", "another file's key", size=size, key=OTHER)
    second = sealed_file.PIECE_PLAIN + 1
    other_number = seal_piece(KEY, second, 1, b"a")[: len(right)].ljust(len(right), b"\0")
    yield case("number", other_number, "file_open", "the second piece in the first's place", size=size)
    bound = sealed_file.LABEL + size.to_bytes(8, "big")
    plain = TEXT.ljust(padded_size(size), b"\0")
    open_ended = aead.encrypt(KEY, bytes(12), plain, bound)
    yield case("not-last", open_ended, "file_open", "sealed as if more came after it", size=size)
    unbound = aead.encrypt(KEY, bytes(11) + b"\1", plain, b"")
    yield case("unbound", unbound, "file_open", "sealed without label and size", size=size)
    short = aead.encrypt(KEY, bytes(11) + b"\1", TEXT, bound)
    yield case("unpadded", short, "file_piece", "its length would tell its size", size=size)


def file_records() -> Iterator[Case]:
    """Pieces of files as records. The bundle key's derivation is that of bundles, under another label."""
    channel_key, salt = EpochKey(fixed("epoch key")), fixed("bundle salt")
    header = b"\1" + bundle_tag(channel_key, CHANNEL) + salt
    size = len(TEXT)
    piece = seal_piece(KEY, size, 0, TEXT)
    outline = piece_hash(piece)
    id = file_id(size, outline)
    facts = {"key": channel_key.reveal().hex(), "channel": CHANNEL.hex(), "file": id.hex(), "number": 0}

    def sealed(plain: bytes, label: Label = Label.FILE_RECORD) -> bytes:
        key = derive_key(channel_key.reveal(), label, salt=salt + CHANNEL)
        return header + aead.encrypt(key, bytes(12), plain, header)

    right = [id, size, 0, outline, piece]
    whole = sealed(raw(right))
    yield "right", whole, VALID, "a file of one piece, with its outline", facts

    def but(**changes: Any) -> bytes:
        values = list(right)
        for field, value in changes.items():
            values[int(field[1:])] = value
        return sealed(raw(values))

    for name, data, rule, why in (
        ("short", whole[:64], "bundle_size", "shorter than an empty bundle"),
        ("version", b"\2" + whole[1:], "bundle_version", "a version of the future"),
        ("tag", whole[:16] + bytes([whole[16] ^ 1]) + whole[17:], "bundle_tag", "another epoch's"),
        ("flipped", whole[:60] + bytes([whole[60] ^ 1]) + whole[61:], "file_record_open", "one bit"),
        ("as-bundle", sealed(raw(right), Label.BUNDLE), "file_record_open", "sealed as a bundle is"),
        ("longer", sealed(raw([*right, 0])), "file_record_form_not_canonical", "a field more"),
        ("shorter", sealed(raw(right[:4])), "file_record_form", "a field less"),
        ("text", but(f4="text"), "file_record_form", "text where bytes belong"),
        ("id", but(f0=id[:31]), "file_record_values", "an id is 32 bytes"),
        ("size", but(f1=size + 5_000), "file_record_values", "a file of this size has a longer piece"),
        ("size-negative", but(f1=-1), "file_record_values", "below 0"),
        ("size-beyond", but(f1=1 << 40), "file_record_values", "larger than a file may be"),
        ("number", but(f2=1, f3=b""), "file_record_values", "it has one piece"),
        ("number-negative", but(f2=-1, f3=b""), "file_record_values", "below 0"),
        ("piece", but(f4=piece[:-1]), "file_record_values", "a byte less"),
        ("no-outline", but(f3=b""), "file_record_values", "the first piece has the outline with it"),
        ("outline", but(f3=bytes(32)), "file_outline", "another file's"),
    ):
        yield name, data, rule, why, facts


FILE_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {"file": files, "file_record": file_records}
