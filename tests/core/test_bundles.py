"""Bundles and the files they travel in: what goes in comes out, and everything else is refused by its rule."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from quire.core import bundle, limits, packing
from quire.core.bundle import HEADER_SIZE, bundle_tag, in_parts, open_bundle, seal_bundle, tag_of
from quire.core.bundle_file import (
    END,
    START,
    Kind,
    Record,
    _framed,
    read_bundle_file,
    write_bundle_file,
)
from quire.core.crypto import aead
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, derive_key
from quire.core.encoding import encode
from quire.core.ids import ChannelId
from quire.core.packing import packed, padme, unpacked
from quire.errors import MalformedError, UsageError

KEY, CHANNEL = EpochKey(b"k" * 32), ChannelId(b"c" * 32)
COMMITS = [b"first commit", b"", b"second commit" * 20]
BUNDLE = seal_bundle(COMMITS, KEY, CHANNEL, random.Random(1).randbytes)


def rule_of(act: Callable[[], object]) -> str:
    with pytest.raises(MalformedError) as refused:
        act()
    return refused.value.rule


def sealed(packing: bytes) -> bytes:
    """A bundle by a member whose program does what it likes."""
    salt = bytes(32)
    header = b"\1" + bundle_tag(KEY, CHANNEL) + salt
    key = derive_key(KEY.reveal(), Label.BUNDLE, salt=salt + CHANNEL)
    return header + aead.encrypt(key, aead.ZERO_NONCE, packing, header)


# Padding


def test_padding_is_padme() -> None:
    """Source: the paper's own examples, and its bound of 12 %."""
    assert [padme(n) for n in (0, 1, 8, 9, 10, 15, 16, 17, 200, 1_000)] == [
        0,
        1,
        8,
        10,
        10,
        16,
        16,
        18,
        208,
        1024,
    ]
    sizes = [padme(n) for n in range(1, 100_000)]
    assert all(n <= size <= n * 1.12 + 1 for n, size in enumerate(sizes, start=1))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) < 300
    assert all(padme(size) == size for size in set(sizes))


@given(st.binary(max_size=5_000))
def test_what_is_packed_comes_back(plain: bytes) -> None:
    assert unpacked(packed(plain), bytes_max=5_000, what="x") == plain


@pytest.mark.parametrize("size", [0, 1, 3])
def test_less_than_a_length_is_no_packing(size: int) -> None:
    assert rule_of(lambda: unpacked(bytes(size), bytes_max=9, what="x")) == "x_packing"


def whole(frame: bytes, fill: bytes = b"\0") -> bytes:
    data = len(frame).to_bytes(4, "big") + frame
    return data + fill * (padme(len(data)) - len(data))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    frame = zstandard.ZstdCompressor().compress(bytes(300 << 20))
    assert len(frame) < 40_000
    assert rule_of(lambda: open_bundle(sealed(whole(frame)), KEY, CHANNEL)) == "bundle_too_large"
    claims_little = bytearray(frame)  # the header's content size, 4 bytes behind magic, descriptor and window
    at = frame.index((300 << 20).to_bytes(4, "little"))
    claims_little[at : at + 4] = (1000).to_bytes(4, "little")
    assert rule_of(lambda: open_bundle(sealed(whole(bytes(claims_little))), KEY, CHANNEL)) == "bundle_packing"
    claims_much = bytearray(zstandard.ZstdCompressor().compress(bytes(300)))
    assert rule_of(lambda: unpacked(whole(bytes(claims_much)), bytes_max=299, what="x")) == "x_too_large"


def test_packing_has_one_form() -> None:
    frame = zstandard.ZstdCompressor().compress(bytes(1000) + b"abc")
    assert unpacked(whole(frame), bytes_max=2_000, what="x") == bytes(1000) + b"abc"
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"abc")
    padded = whole(frame)
    for wrong in (
        padded + b"\0", padded[:-1], whole(frame + b"x"), whole(frame + frame), whole(frame[:-1]), whole(unsized),
        whole(b""), whole(b"no frame"), whole(bytes(frame) + b"12", b"\1"),
    ):  # fmt: skip
        assert rule_of(partial(unpacked, wrong, bytes_max=2_000, what="x")) == "x_packing"


# Bundles


@given(st.lists(st.binary(max_size=300), max_size=20), st.binary(min_size=32, max_size=32), st.integers())
def test_commits_come_back_as_they_were(commits: list[bytes], key: bytes, seed: int) -> None:
    made = seal_bundle(commits, EpochKey(key), CHANNEL, random.Random(seed).randbytes)
    assert open_bundle(made, EpochKey(key), CHANNEL) == commits
    assert tag_of(made) == bundle_tag(EpochKey(key), CHANNEL)


def test_every_changed_byte_is_refused() -> None:
    for place in range(len(BUNDLE)):
        changed = BUNDLE[:place] + bytes([BUNDLE[place] ^ 1]) + BUNDLE[place + 1 :]
        expected = "bundle_version" if place == 0 else "bundle_tag" if place <= 16 else "bundle_open"
        assert rule_of(partial(open_bundle, changed, KEY, CHANNEL)) == expected


def test_a_bundle_is_of_one_epoch_and_channel() -> None:
    other = ChannelId(b"d" * 32)
    assert rule_of(lambda: open_bundle(BUNDLE, EpochKey(b"x" * 32), CHANNEL)) == "bundle_tag"
    assert rule_of(lambda: open_bundle(BUNDLE, KEY, other)) == "bundle_tag"
    moved = BUNDLE[:1] + bundle_tag(KEY, other) + BUNDLE[17:]
    assert rule_of(lambda: open_bundle(moved, KEY, other)) == "bundle_open"
    for size in (0, 1, HEADER_SIZE + 15):
        assert rule_of(partial(tag_of, BUNDLE[:size])) == "bundle_size"
    assert rule_of(lambda: tag_of(b"\1" + bytes(limits.BUNDLE_BYTES_MAX))) == "bundle_size"


def test_no_two_bundles_share_a_key_or_look_alike() -> None:
    again = seal_bundle(COMMITS, KEY, CHANNEL, random.Random(2).randbytes)
    assert again[:17] == BUNDLE[:17], "the epoch's readers find it"
    assert again[17:49] != BUNDLE[17:49]
    assert again[49:] != BUNDLE[49:]
    assert len(again) == len(BUNDLE)
    assert b"commit" not in BUNDLE


def test_what_is_inside_is_a_list_of_byte_strings() -> None:
    for plain in (b"", encode(["text"]), encode(None), b"\xc1", encode([b"a"]) + b"x", b"\x91" * 5_000):
        assert rule_of(partial(open_bundle, sealed(packed(plain)), KEY, CHANNEL)) == "bundle_commits"
    wide = b"\xdc\x00\x01" + encode(b"a")
    assert rule_of(lambda: open_bundle(sealed(packed(wide)), KEY, CHANNEL)) == "bundle_commits_not_canonical"
    many = encode([b""] * (limits.BUNDLE_COMMITS_MAX + 1))
    assert rule_of(lambda: open_bundle(sealed(packed(many)), KEY, CHANNEL)) == "bundle_commits"


def test_the_largest_bundle_can_be_read_and_no_larger_one_is_written() -> None:
    noise = random.Random(3).randbytes(limits.BUNDLE_PLAIN_BYTES_MAX - 6)
    made = seal_bundle([noise], KEY, CHANNEL, random.Random(4).randbytes)
    assert len(made) <= limits.BUNDLE_BYTES_MAX
    assert open_bundle(made, KEY, CHANNEL) == [noise]
    for commits in ([noise + b"x"], [b""] * (limits.BUNDLE_COMMITS_MAX + 1)):
        with pytest.raises(UsageError) as refused:
            seal_bundle(commits, KEY, CHANNEL, random.Random(4).randbytes)
        assert refused.value.rule == "bundle_too_large"


@given(st.lists(st.binary(max_size=60), max_size=40), st.integers(10, 200))
def test_parts_are_all_of_it_in_order_and_fit(commits: list[bytes], bytes_max: int) -> None:
    parts = list(in_parts(commits, bytes_max))
    assert [commit for part in parts for commit in part] == commits
    assert all(len(part) == 1 or len(encode(part)) <= bytes_max for part in parts)
    assert all(parts)


# Files

RECORDS = [
    Record(Kind.WELCOME, b"w" * 40),
    Record(Kind.BUNDLE, b""),
    Record(Kind.REQUEST, b"r" * 9),
    Record(Kind.KEPT, b"k"),
]
FILE = b"".join(write_bundle_file(RECORDS))


def read(data: bytes, piece: int = 1 << 16) -> tuple[list[Record], list[str]]:
    """The records, and the rules of what is wrong, in order."""
    found = list(read_bundle_file(data[at : at + piece] for at in range(0, len(data), piece)))
    records = [one for one in found if isinstance(one, Record)]
    return records, [one.rule for one in found if isinstance(one, MalformedError)]


@given(
    st.lists(st.builds(Record, st.sampled_from(Kind), st.binary(max_size=200)), max_size=8),
    st.integers(1, 300),
)
def test_a_file_comes_back_whatever_pieces_it_is_read_in(records: list[Record], piece: int) -> None:
    assert read(b"".join(write_bundle_file(records)), piece) == (records, [])


def test_a_file_cut_anywhere_gives_the_records_before_and_says_so() -> None:
    for end in range(len(FILE)):
        records, rules = read(FILE[:end])
        assert records == RECORDS[: len(records)]
        assert rules == (["file_magic"] if end < 8 else ["file_truncated"])
    ends = [len(START)]
    for record in RECORDS:
        ends.append(ends[-1] + 9 + len(record.data) + 8)
    for count, end in enumerate(ends):
        assert read(FILE[:end]) == (RECORDS[:count], ["file_truncated"])


def test_every_changed_byte_costs_one_record_or_what_is_behind_it() -> None:
    for place in range(len(FILE)):
        changed = FILE[:place] + bytes([FILE[place] ^ 0x40]) + FILE[place + 1 :]
        records, rules = read(changed)
        assert len(rules) == 1, place
        if rules == ["record_damaged"]:
            assert len(records) == len(RECORDS) - 1
            assert all(record in RECORDS for record in records)
        else:
            assert rules[0] in ("file_magic", "file_version", "file_framing", "file_count")
            assert records == RECORDS[: len(records)]


def file_of(framed: Sequence[tuple[int, bytes]]) -> bytes:
    return START + b"".join(piece for kind, data in framed for piece in _framed(kind, data))


@pytest.mark.parametrize(
    ("data", "records", "rules"),
    [
        (b"", 0, ["file_magic"]),
        (b"PK\3\4" + bytes(30), 0, ["file_magic"]),
        (START[:-1] + b"\2", 0, ["file_version"]),
        (file_of([(2, b"a"), (9, b"new"), (2, b"b"), (END, bytes([0, 0, 0, 3]))]), 2, ["record_kind"]),
        (file_of([(2, b"a"), (END, bytes([0, 0, 0, 2]))]), 1, ["file_count"]),
        (file_of([(2, b"a"), (END, b"\1")]), 1, ["file_count"]),
        (FILE + b"x", 4, ["file_longer"]),
        (FILE + FILE, 4, ["file_longer"]),
    ],
)
def test_what_is_wrong_with_a_file_has_its_rule(data: bytes, records: int, rules: list[str]) -> None:
    found, wrong = read(data)
    assert (len(found), wrong) == (records, rules)


def test_a_record_is_bounded_when_written_and_when_read() -> None:
    with pytest.raises(UsageError) as refused:
        list(write_bundle_file([Record(Kind.BUNDLE, bytes(limits.BUNDLE_BYTES_MAX + 1))]))
    assert refused.value.rule == "record_too_large"
    frame = next(_framed(2, b""))[:1] + b"\xff\xff\xff\xff"
    promised = START + frame + zlib.crc32(frame).to_bytes(4, "big")

    def endless() -> Iterable[bytes]:
        yield promised
        raise AssertionError("read on for a length that is only promised")

    assert [one.rule for one in read_bundle_file(endless()) if isinstance(one, MalformedError)] == [
        "file_framing"
    ]


def test_modules_agree_on_their_sizes() -> None:
    assert bundle.HEADER_SIZE == 49
    assert packing.padme(limits.BUNDLE_PLAIN_BYTES_MAX + (1 << 17)) + 100 < limits.BUNDLE_BYTES_MAX
