"""The scenarios of the golden vectors about sealed files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.vectors import VALID
from vector_parts import Case, fixed

from quire.core import sealed_file
from quire.core.crypto import aead
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


FILE_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {"file": files}
