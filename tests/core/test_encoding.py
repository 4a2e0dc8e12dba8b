"""One encoding per value: what msgspec would read but not write is malformed, and random bytes never surprise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core.commit import decode_commit, decode_head
from quire.core.encoding import Codec, encode
from quire.core.operation import Post
from quire.core.operation_form import decode_operation, encode_operation
from quire.errors import MalformedError

codec = Codec(tuple[int, str], "pair")


@pytest.mark.parametrize(
    "data",
    [
        b"\x92\xcc\x01\xa1x",  # the integer 1 in two bytes
        b"\x92\xcd\x00\x01\xa1x",  # in three
        b"\x92\x01\xd9\x01x",  # a text with a wide length
        b"\xdc\x00\x02\x01\xa1x",  # an array with a wide length
    ],
)
def test_a_wider_encoding_of_the_same_value_is_refused(data: bytes) -> None:
    assert codec.decode(b"\x92\x01\xa1x") == (1, "x")
    with pytest.raises(MalformedError) as refusal:
        codec.decode(data)
    assert refusal.value.rule == "pair_not_canonical"


@pytest.mark.parametrize(
    "data", [b"", b"\x92\x01", b"\x92\x01\xa1x\x00", b"\x92\x01\xa1\xff", b"\x93\x01\xa1x\x01"]
)
def test_what_is_no_such_value_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError) as refusal:
        codec.decode(data)
    assert refusal.value.rule.startswith("pair")


def test_a_deep_nesting_is_refused_not_followed() -> None:
    for decode in (decode_operation, decode_head, decode_commit):
        with pytest.raises(MalformedError):
            decode(b"\x91" * 100_000 + b"\x00")


@given(st.binary(max_size=200))
def test_random_bytes_are_a_value_or_malformed(data: bytes) -> None:
    for decode in (decode_operation, decode_head, decode_commit):
        try:
            value = decode(data)
        except MalformedError:
            continue
        assert isinstance(value, object)
        if decode is decode_operation:
            assert encode_operation(value) == data  # type: ignore[arg-type]


@given(st.text(max_size=50), st.integers(0, 60), st.integers(0, 255))
def test_a_changed_byte_never_gives_two_encodings_of_one_value(text: str, place: int, byte: int) -> None:
    original = encode(Post(text)) if not _has_surrogate(text) else encode(Post(""))
    changed = bytearray(original)
    changed[place % len(changed)] = byte
    try:
        value = decode_operation(bytes(changed))
    except MalformedError:
        return
    assert encode_operation(value) == bytes(changed)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
