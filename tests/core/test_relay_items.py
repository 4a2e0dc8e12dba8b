"""Items of a relay's mailboxes: what is large goes in parts, what is lacking is asked for, and junk is refused by rule."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from quire.core.bundle_file import Kind, Record
from quire.core.crypto.epochs import EpochKey
from quire.core.heights import LogHeight
from quire.core.ids import ChannelId
from quire.core.limits import BUNDLE_BYTES_MAX, NEED_HEIGHTS_MAX
from quire.core.relay_frames import ITEM_BYTES_MAX
from quire.core.relay_items import (
    MARK,
    PART,
    PARTS_MAX,
    Need,
    assembled,
    items_of,
    mark_of,
    name_of_mark,
    need_tag,
    open_need,
    part_of,
    record_of,
    seal_need,
)
from quire.errors import MalformedError

KEY, CHANNEL = EpochKey(bytes(range(32))), ChannelId(bytes(32))
NEED = Need(b"d" * 32, (LogHeight(b"d" * 32, b"i" * 16, b"", 9, b"c" * 32, ((2, 3),)),))


def rule(call: object, *arguments: object) -> str:
    with pytest.raises(MalformedError) as failure:
        call(*arguments)  # type: ignore[operator]
    return failure.value.rule


@pytest.mark.parametrize("size", [0, 1, ITEM_BYTES_MAX - 1, ITEM_BYTES_MAX, BUNDLE_BYTES_MAX])
def test_a_record_of_any_size_comes_whole_in_any_order_of_parts(size: int) -> None:
    record = Record(Kind.BUNDLE, random.Random(size).randbytes(size))
    items = list(items_of(record))
    assert all(0 < len(item) <= ITEM_BYTES_MAX for item in items)
    if size < ITEM_BYTES_MAX:
        assert [record_of(item) for item in items] == [record]
        return
    assert len(items) <= PARTS_MAX
    parts = [part_of(item) for item in reversed(items)]
    assert {part.parts for part in parts} == {len(items)}
    assert assembled(parts[0].whole, {part.number: part.data for part in parts}) == record


def test_what_is_no_part_or_not_of_one_record() -> None:
    head = bytes([PART]) + b"w" * 16
    for junk in (
        b"",
        b"\2" + head,
        head,
        head + b"\0\0\0\1",
        head + b"\0\1\0\1x",
        head + (PARTS_MAX).to_bytes(2, "big") + (PARTS_MAX + 1).to_bytes(2, "big") + b"x",
    ):
        assert rule(part_of, junk) == "item_part"
    assert rule(assembled, b"w" * 16, {0: b"\2x"}) == "item_parts"
    unknown = b"\xc8x"
    assert rule(assembled, hashlib.sha256(unknown).digest()[:16], {0: unknown}) == "item_parts"
    assert record_of(b"") is record_of(b"\xc8x") is None


def test_a_need_is_for_who_has_the_key() -> None:
    item = seal_need(NEED, KEY, CHANNEL, os.urandom)
    assert open_need(item, KEY, CHANNEL) == NEED
    assert need_tag(item) == need_tag(seal_need(NEED, KEY, CHANNEL, os.urandom))
    assert b"d" * 32 not in item
    assert rule(open_need, item, EpochKey(bytes(32)), CHANNEL) == "need_open"
    assert rule(open_need, item, KEY, ChannelId(b"x" * 32)) == "need_open"
    assert rule(open_need, item[:-1] + bytes([item[-1] ^ 1]), KEY, CHANNEL) == "need_open"
    for junk in (b"", item[:50], item[:1] + b"\2" + item[2:], b"\1" + item[1:]):
        assert rule(need_tag, junk) == "need_form"
    for wrong in (
        Need(b"d", NEED.heights),
        Need(NEED.device, NEED.heights * (NEED_HEIGHTS_MAX + 1)),
        Need(NEED.device, (LogHeight(b"", b"", b"", 0, b""),)),
    ):
        assert rule(open_need, seal_need(wrong, KEY, CHANNEL, os.urandom), KEY, CHANNEL) == "need_heights"


def test_a_mark_is_a_name() -> None:
    assert name_of_mark(mark_of(b"n" * 32)) == b"n" * 32
    for junk in (b"", bytes([MARK]), bytes([MARK]) + b"n" * 31, b"\1" + b"n" * 32):
        assert rule(name_of_mark, junk) == "mark_form"
