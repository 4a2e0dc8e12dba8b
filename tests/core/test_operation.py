"""Operations: each kind goes through its bytes unchanged, and nothing that breaks a rule is written or read."""

from __future__ import annotations

from typing import get_args

import pytest

from quire.core.encoding import encode
from quire.core.operation import (
    CONTROL,
    KINDS,
    OWN_SOURCE,
    SELF_ONLY,
    Attachment,
    Bookmark,
    Create,
    Delete,
    Edit,
    Name,
    Operation,
    Origin,
    Pin,
    Post,
    Profile,
    React,
    ReadMarker,
    Topic,
    Unbookmark,
    Unpin,
    Unreact,
    decode_operation,
    encode_operation,
    stored_operation,
)
from quire.errors import MalformedError

A, B, CHANNEL = b"a" * 16, b"b" * 16, b"c" * 32
ORIGIN = Origin("slack", "U1", "1.2", 1_600_000_000_000, 1_600_000_000_001)
EXAMPLES: list[Operation] = [
    Post("", None), Post("text", None, A, 1, 3, "title", (Attachment("n", "u", "t", 0),), ("quire:x",), ORIGIN),
    Post("reply", A), Edit(A, B, "later", ORIGIN), Delete(A, "why", ORIGIN), React(A, "👍", 5, ORIGIN), Unreact(A, "👍"),
    Pin(A), Unpin(A), Name("general"), Topic(""), Profile("slack", "U1", "Ada", True), Profile("", "", ""),
    ReadMarker(CHANNEL, 1 << 40, A), Bookmark(CHANNEL, A), Unbookmark(CHANNEL, A), Create("self", "self", A, b"", "", ""),
]  # fmt: skip
BROKEN: list[tuple[str, Operation]] = [
    ("message_id_size", Post("", b"short")), ("message_id_size", Post("", None, b"")), ("message_id_size", Edit(A, b"", "")),
    ("message_id_size", Delete(b"")), ("message_id_size", React(b"", "x")), ("message_id_size", Pin(A + b"x")),
    ("notice_range", Post("", notice=7)), ("notice_range", Post("", notice=-1)), ("flags_range", Post("", flags=4)),
    ("flags_range", Post("", flags=-1)), ("emoji_size", React(A, "")), ("emoji_size", Unreact(A, "")),
    ("unknown_people_not_imported", React(A, "x", 2)), ("unknown_people_range", React(A, "x", -1, ORIGIN)),
    ("name_length", Name("")), ("channel_id_size", Bookmark(b"", A)), ("time_range", ReadMarker(CHANNEL, -1, A)),
    ("attachment_size_range", Post("", attachments=(Attachment("", "", "", -1),))),
    ("attachment_size_range", Post("", attachments=(Attachment("", "", "", 1 << 63),))),
    ("channel_kind", Create("public", "x", A, b"")), ("nonce_size", Create("self", "x", b"", b"")),
    ("certificate_size", Create("self", "x", A, bytes(513))), ("name_length", Create("self", "", A, b"")),
    ("origin_too_long", Post("", origin=Origin("", "", "", 0))), ("time_range", Post("", origin=Origin("x", "", "", -1))),
    ("time_range", Post("", origin=Origin("x", "", "", 0, -1))),
    ("origin_source", Post("", origin=Origin(OWN_SOURCE, "", "", 0))),
    ("origin_source", Edit(A, A, "", Origin("a:b", "", "", 0))),
    ("origin_source", Profile(OWN_SOURCE, "", "")), ("origin_source", Create("channel", "x", A, b"", OWN_SOURCE, "")),
]  # fmt: skip


@pytest.mark.parametrize("operation", EXAMPLES, ids=lambda one: type(one).__name__)
def test_an_operation_goes_through_its_bytes(operation: Operation) -> None:
    encoded = encode_operation(operation)
    assert decode_operation(encoded) == operation
    assert stored_operation(bytes(16) + encoded) == operation


def test_every_kind_has_an_example_and_its_own_number() -> None:
    kinds = set(get_args(Operation))
    assert {type(operation) for operation in EXAMPLES} == kinds == set(KINDS)
    assert len(set(KINDS.values())) == len(KINDS)
    assert {*CONTROL, *SELF_ONLY} < kinds
    for operation in EXAMPLES:  # the number on disk is the tag in the bytes
        assert encode_operation(operation)[1] == KINDS[type(operation)]


@pytest.mark.parametrize(
    ("rule", "operation"), BROKEN, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_is_named_when_written_and_when_read(rule: str, operation: Operation) -> None:
    with pytest.raises(MalformedError) as written:
        encode_operation(operation)
    assert written.value.rule == rule
    with pytest.raises(MalformedError) as read:
        decode_operation(encode(operation))
    assert read.value.rule == rule


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", "\udc00\ud800"])
def test_half_a_surrogate_pair_is_refused_not_a_traceback(text: str) -> None:
    for operation in (Post(text), Name(text), React(A, text), Post("", origin=Origin("x", text, "", 0))):
        with pytest.raises(MalformedError) as refusal:
            encode_operation(operation)
        assert refusal.value.rule == "operation_lone_surrogate"


@pytest.mark.parametrize("text", ["", "\0", "a\0b", "e" + "\u0301" * 4_000, "\u202e", "🏳️‍🌈", "\ufffe"])
def test_any_other_text_is_kept_to_the_letter(text: str) -> None:
    found = decode_operation(encode_operation(Post(text)))
    assert isinstance(found, Post)
    assert found.body == text


def test_no_error_holds_the_text() -> None:
    with pytest.raises(MalformedError) as refusal:
        encode_operation(Topic("secret " * 1_000))
    assert "secret" not in f"{refusal.value} {refusal.value.details}"
