"""Operations: each kind goes through its bytes unchanged, and nothing that breaks a rule is written or read."""

from __future__ import annotations

from typing import get_args

import pytest

from quire.core.control import (
    CONTROL,
    CONTROL_KINDS,
    KIND_NAMES,
    LINK_SIZE,
    POLICIES,
    SEALED_KEY_SIZE,
    SEALING_PUBLIC_SIZE,
    AddDevice,
    Admit,
    Ask,
    ControlOperation,
    Create,
    Cut,
    Decline,
    Device,
    Invite,
    Link,
    Policy,
    Remove,
    Report,
    RevokeDevice,
    Rotate,
    Seal,
    SealedKey,
    SetRole,
    Unban,
    Uninvite,
    decode_control,
)
from quire.core.encoding import encode
from quire.core.operation import (
    KINDS,
    OWN_SOURCE,
    SELF_ONLY,
    Attachment,
    Bookmark,
    Contact,
    Delete,
    DeviceName,
    Edit,
    EpochKey,
    Erase,
    Gone,
    Name,
    Operation,
    Origin,
    Pin,
    Post,
    Profile,
    React,
    ReadMarker,
    Remains,
    Topic,
    Unbookmark,
    Unpin,
    Unreact,
    is_control,
    stored_operation,
)
from quire.core.operation_form import decode_operation, decode_operations, encode_operation
from quire.errors import MalformedError

A, B, CHANNEL = b"a" * 16, b"b" * 16, b"c" * 32
ORIGIN = Origin("slack", "U1", "1.2", 1_600_000_000_000, 1_600_000_000_001)
KEY, SIGNATURE = b"k" * 32, b"s" * 64
DEVICE = Device(b"certificate", b"p" * SEALING_PUBLIC_SIZE)
CUT, OTHER = Cut(b"a" * 10, 1), Cut(b"b" * 10, 7)
EXAMPLES: list[Operation] = [
    Post("", None), Post("text", None, A, 1, 3, "title", (Attachment("n", "u", "t", 0),), ("quire:x",), ORIGIN),
    Post("reply", A), Edit(A, B, "later", ORIGIN), Delete(A, "why", ORIGIN), React(A, "👍", 5, ORIGIN), Unreact(A, "👍"),
    Pin(A), Unpin(A), Name("general"), Topic(""), Profile("slack", "U1", "Ada", True), Profile("", "", ""),
    ReadMarker(CHANNEL, 1 << 40, A), Bookmark(CHANNEL, A), Unbookmark(CHANNEL, A), EpochKey(CHANNEL, KEY, KEY),
    Contact(KEY, "Bob", True), Contact(KEY), DeviceName(KEY, "laptop"),
    Erase((Remains(A), Remains(B, A, ORIGIN, True))), Erase((), (Gone(A), Gone(B, A)), "why"),
]  # fmt: skip
CONTROLS: list[ControlOperation] = [
    Create("self", "self", A, DEVICE, b"r" * SEALING_PUBLIC_SIZE), Create("channel", "x", A, DEVICE, b"", "slack", "C1"),
    Admit((DEVICE,), 2), Admit((DEVICE, DEVICE), 5, 1, KEY, SIGNATURE), SetRole(KEY, 1, (CUT, OTHER)), Remove(KEY),
    Remove(KEY, (CUT,), True, "spam"), Unban(KEY), AddDevice(DEVICE), RevokeDevice(KEY, (CUT,)),
    Policy("post", 5), Invite(KEY, 2, 0, 0), Invite(KEY, 1, 5, 1 << 40, 1 << 40, KEY, True), Uninvite(KEY),
    Ask((DEVICE,), KEY, SIGNATURE), Decline(KEY), Rotate(KEY), Seal(KEY, (SealedKey(KEY, bytes(SEALED_KEY_SIZE)),)),
    Link(KEY, CHANNEL, bytes(LINK_SIZE)), Report(KEY),
]  # fmt: skip
BROKEN: list[tuple[str, Operation | ControlOperation]] = [
    ("message_id_size", Post("", b"short")), ("message_id_size", Post("", None, b"")), ("message_id_size", Edit(A, b"", "")),
    ("message_id_size", Delete(b"")), ("message_id_size", React(b"", "x")), ("message_id_size", Pin(A + b"x")),
    ("notice_range", Post("", notice=7)), ("notice_range", Post("", notice=-1)), ("flags_range", Post("", flags=4)),
    ("flags_range", Post("", flags=-1)), ("emoji_size", React(A, "")), ("emoji_size", Unreact(A, "")),
    ("unknown_people_not_imported", React(A, "x", 2)), ("unknown_people_range", React(A, "x", -1, ORIGIN)),
    ("name_length", Name("")), ("channel_id_size", Bookmark(b"", A)), ("time_range", ReadMarker(CHANNEL, -1, A)),
    ("attachment_size_range", Post("", attachments=(Attachment("", "", "", -1),))),
    ("attachment_size_range", Post("", attachments=(Attachment("", "", "", 1 << 63),))),
    ("channel_kind", Create("public", "x", A, DEVICE)), ("nonce_size", Create("channel", "x", b"", DEVICE)),
    ("certificate_size", Create("channel", "x", A, Device(bytes(513), b""))), ("name_length", Create("channel", "", A, DEVICE)),
    ("sealing_size", Create("channel", "x", A, Device(b"", b""))), ("recovery_size", Create("self", "x", A, DEVICE)),
    ("recovery_size", Create("channel", "x", A, DEVICE, DEVICE.sealing)),
    ("key_size", EpochKey(CHANNEL, KEY, b"")), ("epoch_size", EpochKey(CHANNEL, b"", KEY)),
    ("channel_id_size", EpochKey(b"", KEY, KEY)), ("identity_size", Contact(b"")), ("device_id_size", DeviceName(A, "x")),
    ("device_count", Admit((), 2)), ("role_range", Admit((DEVICE,), 0)), ("role_range", Admit((DEVICE,), 6)),
    ("history_range", Admit((DEVICE,), 2, -1)), ("invite_key_size", Admit((DEVICE,), 2, 0, A, SIGNATURE)),
    ("invite_proof_size", Admit((DEVICE,), 2, 0, KEY)), ("invite_proof_size", Admit((DEVICE,), 2, 0, b"", SIGNATURE)),
    ("identity_size", SetRole(A, 2)), ("role_range", SetRole(KEY, 0)), ("cuts_order", SetRole(KEY, 2, (OTHER, CUT))),
    ("cuts_order", SetRole(KEY, 2, (CUT, CUT))), ("cut_form", Remove(KEY, (Cut(A, 1),))),
    ("cut_form", Remove(KEY, (Cut(CUT.prefix, 0),))),
    ("identity_size", Unban(b"")), ("identity_size", Decline(A)), ("sealing_size", AddDevice(Device(b"", A))),
    ("device_id_size", RevokeDevice(A)), ("cut_form", RevokeDevice(KEY, (Cut(b"", 1),))),
    ("policy_unknown", Policy("", 1)), ("policy_range", Policy("post", 1)), ("policy_range", Policy("rotation", 0)),
    ("invite_key_size", Invite(A, 2, 1, 0)), ("role_range", Invite(KEY, 6, 1, 0)), ("invite_uses_range", Invite(KEY, 2, -1, 0)),
    ("time_range", Invite(KEY, 2, 1, -1)), ("history_range", Invite(KEY, 2, 1, 0, -1)),
    ("identity_size", Invite(KEY, 2, 1, 0, 0, A)),
    ("invite_key_size", Uninvite(A)), ("invite_key_size", Ask((DEVICE,), b"", SIGNATURE)),
    ("invite_proof_size", Ask((DEVICE,), KEY, b"")),
    ("epoch_size", Rotate(A)), ("epoch_size", Report(A)), ("seal_count", Seal(KEY, ())), ("epoch_size", Seal(A, ())),
    ("recipient_size", Seal(KEY, (SealedKey(A, bytes(SEALED_KEY_SIZE)),))), ("sealed_size", Seal(KEY, (SealedKey(KEY, A),))),
    ("link_size", Link(KEY, CHANNEL, A)), ("link_to_itself", Link(KEY, KEY, bytes(LINK_SIZE))),
    ("epoch_size", Link(KEY, A, bytes(LINK_SIZE))),
    ("origin_too_long", Post("", origin=Origin("", "", "", 0))), ("time_range", Post("", origin=Origin("x", "", "", -1))),
    ("time_range", Post("", origin=Origin("x", "", "", 0, -1))),
    ("origin_source", Post("", origin=Origin(OWN_SOURCE, "", "", 0))),
    ("origin_source", Edit(A, A, "", Origin("a:b", "", "", 0))),
    ("origin_source", Profile(OWN_SOURCE, "", "")), ("origin_source", Create("channel", "x", A, DEVICE, b"", OWN_SOURCE, "")),
]  # fmt: skip


@pytest.mark.parametrize("operation", EXAMPLES, ids=lambda one: type(one).__name__)
def test_an_operation_goes_through_its_bytes(operation: Operation) -> None:
    encoded = encode_operation(operation)
    assert decode_operation(encoded) == operation
    assert stored_operation(bytes(16) + encoded) == operation


@pytest.mark.parametrize("operation", CONTROLS, ids=lambda one: type(one).__name__)
def test_a_control_operation_goes_through_its_bytes(operation: ControlOperation) -> None:
    encoded = encode_operation(operation)
    assert decode_operation(encoded) == decode_control(encoded) == operation
    assert is_control(encoded)


def test_every_kind_has_an_example_and_its_own_number() -> None:
    kinds = set(get_args(Operation))
    assert {type(operation) for operation in EXAMPLES} == kinds == set(KINDS)
    assert {type(operation) for operation in CONTROLS} == set(get_args(ControlOperation)) == set(CONTROL)
    numbers = KINDS | CONTROL_KINDS
    assert len(set(numbers.values())) == len(numbers) == len(KINDS) + len(CONTROL)
    assert set(SELF_ONLY) < kinds
    for operation in [*EXAMPLES, *CONTROLS]:  # the number on disk is the tag in the bytes
        encoded = encode_operation(operation)
        assert encoded[1] == numbers[type(operation)]
        assert is_control(encoded) == (type(operation) in CONTROL_KINDS)


def test_every_kind_of_channel_and_every_policy_is_known() -> None:
    for kind in KIND_NAMES:
        create = Create(kind, "x", A, DEVICE, DEVICE.sealing if kind == "self" else b"")
        assert decode_operation(encode_operation(create)) == create
    for name, (default, least, greatest) in POLICIES.items():
        assert least <= default <= greatest
        for value in (least, default, greatest):
            assert decode_operation(encode_operation(Policy(name, value))) == Policy(name, value)


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


def test_many_are_read_as_each_alone() -> None:
    imported = [Post(f"body {n}", origin=Origin(f"s{n // 3}", "U1", str(n), n)) for n in range(9)]
    written = list(map(encode_operation, [*imported, *EXAMPLES, *CONTROLS]))
    assert decode_operations(written) == list(map(decode_operation, written))
    assert decode_operations([]) == []


@pytest.mark.parametrize(
    "origin",
    [
        Origin("quire", "U", "1", 0), Origin("s", "U" * 2_000, "1", 0), Origin("s", "U", "1" * 2_000, 0),
        Origin("s", "U", "1", -1), Origin("s", "U", "1", 1 << 60), Origin("s", "U", "1", 0, -1),
    ],
)  # fmt: skip
def test_no_origin_passes_among_good_ones_of_its_source(origin: Origin) -> None:
    good, bad = encode(Post("x", origin=Origin("s", "U", "1", 0))), encode(Post("x", origin=origin))
    with pytest.raises(MalformedError) as alone:
        decode_operation(bad)
    for many in ([good, good, bad], [bad, good], [good, bad, good]):
        with pytest.raises(MalformedError) as among:
            decode_operations(many)
        assert among.value.rule == alone.value.rule


@pytest.mark.parametrize("bad", [rule_and_broken[1] for rule_and_broken in BROKEN])
def test_what_is_broken_is_found_among_good_ones(bad: Operation) -> None:
    good = encode_operation(Post("x", origin=Origin("s", "U", "1", 0)))
    with pytest.raises(MalformedError) as alone:
        decode_operation(encode(bad))
    with pytest.raises(MalformedError) as among:
        decode_operations([good, encode(bad), good])
    assert among.value.rule == alone.value.rule


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_operations_that_are_whole_only_together_are_none(cut: int) -> None:
    one, two = encode_operation(Post("first")), encode_operation(Post("second"))
    both = one + two
    for parts in ([both[: len(one) - cut], both[len(one) - cut :]], [both, b""], [one + b"\xc0", two]):
        with pytest.raises(MalformedError):
            decode_operations(parts)
