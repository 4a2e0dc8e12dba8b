"""Every bound holds at its value and refuses one step beyond, by its named rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from quire.core import limits
from quire.core.commit import build_head, decode_commit, decode_head
from quire.core.control import (
    SEALED_KEY_SIZE,
    SEALING_PUBLIC_SIZE,
    Ask,
    ControlOperation,
    Create,
    Cut,
    Device,
    Invite,
    Remove,
    Seal,
    SealedKey,
)
from quire.core.encoding import encode
from quire.core.ids import ChannelId, DeviceId, Incarnation
from quire.core.operation import (
    Attachment,
    Contact,
    Delete,
    DeviceName,
    Edit,
    Name,
    Operation,
    Origin,
    Post,
    Profile,
    React,
    ReadMarker,
    Topic,
)
from quire.core.operation_form import decode_operation, encode_operation
from quire.core.query import parse_query
from quire.errors import MalformedError, QuireError

ID, KEY = bytes(16), bytes(32)
DEVICE, SEALED = Device(b"", bytes(SEALING_PUBLIC_SIZE)), SealedKey(KEY, bytes(SEALED_KEY_SIZE))
BOUNDS: list[tuple[str, int, Callable[[int], Operation | ControlOperation]]] = [
    ("body_too_large", limits.BODY_BYTES_MAX, lambda n: Post("x" * n)),
    ("body_too_large", limits.BODY_BYTES_MAX, lambda n: Post("é" * (n // 2) + "x" * (n % 2))),
    ("body_too_large", limits.BODY_BYTES_MAX, lambda n: Edit(ID, ID, "x" * n)),
    ("title_too_long", limits.NAME_CHARS_MAX, lambda n: Post("", title="x" * n)),
    ("reason_too_long", limits.TOPIC_CHARS_MAX, lambda n: Delete(ID, "x" * n)),
    ("topic_too_long", limits.TOPIC_CHARS_MAX, lambda n: Topic("x" * n)),
    ("name_length", limits.NAME_CHARS_MAX, lambda n: Name("é" * n)),
    ("name_length", limits.NAME_CHARS_MAX, lambda n: Profile("", "", "x" * n)),
    ("name_length", limits.NAME_CHARS_MAX, lambda n: Create("channel", "x" * n, ID, DEVICE)),
    ("name_length", limits.NAME_CHARS_MAX, lambda n: Contact(KEY, "x" * n)),
    ("name_length", limits.NAME_CHARS_MAX, lambda n: DeviceName(KEY, "x" * n)),
    ("emoji_size", limits.EMOJI_BYTES_MAX, lambda n: React(ID, "x" * n)),
    ("unknown_people_range", limits.ORIGIN_PEOPLE_MAX, lambda n: React(ID, "x", n, _origin())),
    ("too_many_attachments", limits.ATTACHMENTS_MAX, lambda n: Post("", attachments=(Attachment("x"),) * n)),
    ("attachment_text_too_long", limits.ATTACHMENT_TEXT_MAX, lambda n: Post("", attachments=(Attachment("x" * n),))),
    ("attachment_text_too_long", limits.ATTACHMENT_TEXT_MAX, lambda n: Post("", attachments=(Attachment("", "x" * n),))),
    ("too_many_mentions", limits.MENTIONS_MAX, lambda n: Post("", mentions=("x",) * n)),
    ("origin_too_long", limits.ORIGIN_CHARS_MAX, lambda n: Post("", mentions=("x" * n,))),
    ("origin_too_long", limits.ORIGIN_CHARS_MAX, lambda n: Post("", origin=_origin(author="x" * n))),
    ("origin_too_long", limits.ORIGIN_CHARS_MAX, lambda n: Post("", origin=_origin(id="x" * n))),
    ("origin_too_long", limits.NAME_CHARS_MAX, lambda n: Post("", origin=_origin(source="x" * n))),
    ("time_range", limits.TIME_MS_MAX, lambda n: Post("", origin=_origin(time_ms=n))),
    ("time_range", limits.TIME_MS_MAX, lambda n: ReadMarker(bytes(32), n << 16, ID)),
    ("reason_too_long", limits.TOPIC_CHARS_MAX, lambda n: Remove(KEY, reason="x" * n)),
    ("device_count", limits.DEVICES_PER_MEMBER_MAX, lambda n: Ask((DEVICE,) * n, KEY, bytes(64))),
    ("too_many_cuts", limits.CUTS_MAX, lambda n: Remove(KEY, tuple(_cut(i) for i in range(n)))),
    ("cut_form", limits.SEQ_MAX, lambda n: Remove(KEY, (Cut(bytes(10), n),))),
    ("invite_uses_range", limits.INVITE_USES_MAX, lambda n: Invite(KEY, 2, n, 0)),
    ("seal_count", limits.SEALS_PER_OPERATION_MAX, lambda n: Seal(KEY, (SEALED,) * n)),
]  # fmt: skip


def _cut(number: int) -> Cut:
    return Cut(number.to_bytes(10, "big"), 1)


def _origin(source: str = "slack", author: str = "", id: str = "", time_ms: int = 0) -> Origin:
    return Origin(source, author, id, time_ms)


@pytest.mark.parametrize(("rule", "most", "build"), BOUNDS, ids=[f"{b[0]}-{n}" for n, b in enumerate(BOUNDS)])
def test_an_operation_at_its_bound_and_one_beyond(
    rule: str, most: int, build: Callable[[int], Operation | ControlOperation]
) -> None:
    assert decode_operation(encode_operation(build(most))) == build(most)
    with pytest.raises(MalformedError) as written:
        encode_operation(build(most + 1))
    with pytest.raises(MalformedError) as read:
        decode_operation(encode(build(most + 1)))
    assert written.value.rule == read.value.rule == rule


def test_an_operation_of_many_fields_at_their_bounds_is_too_large() -> None:
    attachments = (Attachment("x" * limits.ATTACHMENT_TEXT_MAX, "x" * limits.ATTACHMENT_TEXT_MAX),) * 100
    for act in (encode_operation, lambda post: decode_operation(encode(post))):
        with pytest.raises(MalformedError) as refusal:
            act(Post("x" * limits.BODY_BYTES_MAX, attachments=attachments))
        assert refusal.value.rule == "operation_too_large"


def _heads(count: int) -> list[bytes]:
    return [bytes(31) + bytes([number]) for number in range(count)]


def _head(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "channel": ChannelId(bytes(32)), "device": DeviceId(bytes(32)), "incarnation": Incarnation(bytes(16)),
        "seq": 2, "previous": bytes(32), "control_heads": [], "time": 0, "salted": [b""],
    }  # fmt: skip
    return build_head(**(fields | changes))


HEADS: list[tuple[str, int, Callable[[int], bytes]]] = [
    ("seq_range", limits.SEQ_MAX, lambda n: _head(seq=n)),
    ("time_range", (limits.TIME_MS_MAX << 16) + 0xFFFF, lambda n: _head(time=n)),
    ("count_range", limits.OPERATIONS_PER_COMMIT_MAX, lambda n: _head(salted=[b""] * n)),
    ("too_many_control_heads", limits.CONTROL_HEADS_MAX, lambda n: _head(control_heads=_heads(n))),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "most", "build"), HEADS, ids=[rule for rule, _, _ in HEADS])
def test_a_head_at_its_bound_and_one_beyond(rule: str, most: int, build: Callable[[int], bytes]) -> None:
    decode_head(build(most))
    with pytest.raises(MalformedError) as refusal:
        decode_head(build(most + 1))
    assert refusal.value.rule == rule


def test_a_commit_too_large_is_not_even_decoded() -> None:
    with pytest.raises(MalformedError) as refusal:
        decode_commit(bytes(limits.COMMIT_BYTES_MAX + 1))
    assert refusal.value.rule == "commit_too_large"
    with pytest.raises(MalformedError) as refusal:
        decode_commit(bytes(limits.COMMIT_BYTES_MAX))
    assert refusal.value.rule != "commit_too_large"


@pytest.mark.parametrize(
    ("most", "query"),
    [(limits.QUERY_CHARS_MAX, lambda n: "x" * n), (limits.QUERY_TERMS_MAX, lambda n: " ".join("x" * n))],
)
def test_a_query_at_its_bound_and_one_beyond(most: int, query: Callable[[int], str]) -> None:
    parse_query(query(most))
    with pytest.raises(QuireError):
        parse_query(query(most + 1))


def test_bounds_fit_each_other() -> None:
    """A largest operation fits a commit, and an index key its 64 bits."""
    assert limits.OPERATION_BYTES_MAX + 1_024 < limits.COMMIT_BYTES_MAX
    assert limits.OPERATIONS_PER_COMMIT_MAX == 1 << 16
    assert limits.SEQ_MAX == (1 << 32) - 1
    assert (limits.TIME_MS_MAX << 16 | 0xFFFF) < 1 << 63
