"""Sealed files: they open as they were, and nothing else opens."""

from __future__ import annotations

import pytest

from quire.core import sealed_file as sealed
from quire.core.sealed_file import HASH_SIZE, PADDED_LEAST, PIECE_PLAIN, PIECE_SIZE
from quire.errors import MalformedError

KEY = bytes(range(32))
SIZES = [
    0,
    1,
    PADDED_LEAST,
    PADDED_LEAST + 1,
    PIECE_PLAIN - 1,
    PIECE_PLAIN,
    PIECE_PLAIN + 1,
    3 * PIECE_PLAIN + 5,
]


def made(size: int, chunk: int = 70_001) -> tuple[bytes, list[bytes]]:
    plain = bytes(n * 7 % 251 for n in range(1_000)) * (size // 1_000 + 1)
    plain = plain[:size]
    chunks = [plain[at : at + chunk] for at in range(0, size, chunk)]
    return plain, list(sealed.seal_pieces(KEY, size, chunks))


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_padded_cut_and_comes_back(size: int) -> None:
    plain, pieces = made(size)
    assert made(size, PIECE_PLAIN) == made(size, PIECE_SIZE) == (plain, pieces)  # however it was cut
    assert [len(one) for one in pieces] == [
        sealed.piece_size(size, n) for n in range(sealed.piece_count(size))
    ]
    assert sum(map(len, pieces)) == sealed.sealed_size(size)
    assert all(len(one) == PIECE_SIZE for one in pieces[:-1])
    outline = b"".join(map(sealed.piece_hash, pieces))
    sealed.check_outline(sealed.file_id(size, outline), size, outline)
    for number, piece in enumerate(pieces):
        sealed.check_piece(outline, size, number, piece)
    assert b"".join(sealed.open_piece(KEY, size, n, piece) for n, piece in enumerate(pieces)) == plain


def test_sizes_say_little() -> None:
    assert len({sealed.sealed_size(size) for size in range(PADDED_LEAST)}) == 1
    million = {sealed.sealed_size(size) for size in range(1_000_000, 2_000_000, 997)}
    assert len(million) < 40
    assert all(
        sealed.sealed_size(size) <= size * 1.12 + 20 for size in range(PADDED_LEAST, 10_000_000, 9_973)
    )


def refused(rule: str, number: int, piece: bytes, size: int, key: bytes = KEY) -> None:
    with pytest.raises(MalformedError) as error:
        sealed.open_piece(key, size, number, piece)
    assert error.value.rule == rule


def test_pieces_stand_where_they_were_sealed() -> None:
    size = 3 * PIECE_PLAIN + 5
    _, pieces = made(size)
    refused("file_open", 0, pieces[1], size)  # reordered
    refused("file_open", 2, pieces[1], size)  # repeated
    refused("file_open", 1, pieces[1], size + 1)  # of another size
    refused("file_open", 1, pieces[1], size, bytes(32))
    shorter = 2 * PIECE_PLAIN  # cut off after two: the second would be the last one then
    refused("file_open", 1, pieces[1], shorter)


@pytest.mark.parametrize("more", [-1, 1, 100_000])
def test_a_file_that_changes_while_it_is_sealed_is_refused(more: int) -> None:
    with pytest.raises(MalformedError) as error:
        list(sealed.seal_pieces(KEY, 5_000, [bytes(5_000 + more)]))
    assert error.value.rule == "file_size"


def test_an_outline_and_its_pieces_are_those_of_the_id() -> None:
    size = PIECE_PLAIN + 1
    _, pieces = made(size)
    outline = b"".join(map(sealed.piece_hash, pieces))
    id = sealed.file_id(size, outline)
    for wrong in (outline[:-1], outline[HASH_SIZE:], outline + bytes(HASH_SIZE), outline[::-1], b""):
        with pytest.raises(MalformedError) as error:
            sealed.check_outline(id, size, wrong)
        assert error.value.rule == "file_outline"
    flipped = bytes([pieces[0][0] ^ 1]) + pieces[0][1:]
    for number, piece in ((0, flipped), (0, pieces[1]), (1, pieces[0]), (2, b""), (0, pieces[0][:-1])):
        with pytest.raises(MalformedError) as error:
            sealed.check_piece(outline, size, number, piece)
        assert error.value.rule == "file_piece"
