"""Epochs: one key under one name, for its readers only, and the way back from key to key."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core.control import LINK_SIZE, SEALED_KEY_SIZE
from quire.core.crypto import aead, epochs
from quire.core.crypto.epochs import EpochKey, epoch_id, open_from, open_link, seal_link, seal_to
from quire.core.crypto.keys import Label, derive_key
from quire.core.crypto.sealing import public_of, seal
from quire.core.ids import ChannelId
from quire.errors import MalformedError, UsageError

CHANNEL, OTHER = ChannelId(b"c" * 32), ChannelId(b"d" * 32)
KEY, PARENT = EpochKey(b"k" * 32), EpochKey(b"p" * 32)
READER, SEED = b"r" * 32, b"s" * 32
EPOCH = epoch_id(KEY, CHANNEL)
SEALED = seal_to(KEY, CHANNEL, READER, public_of(SEED))
LINK = seal_link(KEY, PARENT, CHANNEL, random.Random(1).randbytes)


def rule_of(refused: pytest.ExceptionInfo[MalformedError]) -> str:
    return refused.value.rule


def test_a_key_has_32_bytes_and_hides_itself() -> None:
    for wrong in (b"", bytes(31), bytes(33)):
        with pytest.raises(UsageError) as refused:
            EpochKey(wrong)
        assert refused.value.rule == "key_length"
    assert "hidden" in repr(KEY)
    assert EpochKey.generate(lambda size: b"k" * size) == KEY


def test_a_name_is_of_one_key_in_one_channel() -> None:
    names = {epoch_id(key, channel) for key in (KEY, PARENT) for channel in (CHANNEL, OTHER)}
    assert len(names) == 4
    assert all(len(name) == 32 for name in names)
    assert KEY.reveal() not in names


def test_sizes_are_those_that_operations_demand() -> None:
    assert (len(SEALED), len(LINK), len(EPOCH)) == (SEALED_KEY_SIZE, LINK_SIZE, 32)


@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)
def test_what_is_sealed_and_linked_comes_back(key: bytes, parent: bytes, channel: bytes) -> None:
    child, before, where = EpochKey(key), EpochKey(parent), ChannelId(channel)
    sealed = seal_to(child, where, READER, public_of(SEED))
    assert open_from(sealed, SEED, where, epoch_id(child, where), READER) == child
    link = seal_link(child, before, where, random.Random(2).randbytes)
    assert open_link(link, child, where, epoch_id(before, where)) == before


@pytest.mark.parametrize(
    ("seed", "channel", "epoch", "recipient"),
    [
        (b"x" * 32, CHANNEL, EPOCH, READER),
        (SEED, OTHER, EPOCH, READER),
        (SEED, CHANNEL, epoch_id(PARENT, CHANNEL), READER),
        (SEED, CHANNEL, EPOCH, b"x" * 32),
    ],
    ids=["seed", "channel", "epoch", "recipient"],
)
def test_a_seal_is_for_one_reader_channel_and_epoch(
    seed: bytes, channel: ChannelId, epoch: bytes, recipient: bytes
) -> None:
    with pytest.raises(MalformedError) as refused:
        open_from(SEALED, seed, channel, epoch, recipient)
    assert rule_of(refused) == "sealing_open"


def test_every_changed_byte_of_a_seal_is_refused() -> None:
    for place in range(0, len(SEALED), 7):
        changed = SEALED[:place] + bytes([SEALED[place] ^ 1]) + SEALED[place + 1 :]
        with pytest.raises(MalformedError) as refused:
            open_from(changed, SEED, CHANNEL, EPOCH, READER)
        assert rule_of(refused) == "sealing_open"


def test_another_key_under_the_epoch_s_name_is_caught() -> None:
    """A member seals to one reader a key of their own: they would write where nobody else can read."""
    info = Label.EPOCH_SEAL.encode() + CHANNEL + EPOCH + READER
    for other in (PARENT.reveal(), b"short", b""):
        with pytest.raises(MalformedError) as refused:
            open_from(seal(other, public_of(SEED), info), SEED, CHANNEL, EPOCH, READER)
        assert rule_of(refused) == "epoch_key_differs"


def test_a_link_leads_from_one_epoch_to_one() -> None:
    parent = epoch_id(PARENT, CHANNEL)
    assert open_link(LINK, KEY, CHANNEL, parent) == PARENT
    for link, child, channel, before in [
        (LINK, PARENT, CHANNEL, parent), (LINK, KEY, OTHER, parent), (LINK, KEY, CHANNEL, EPOCH),
        (LINK[:-1], KEY, CHANNEL, parent), (LINK + b"x", KEY, CHANNEL, parent), (b"", KEY, CHANNEL, parent),
    ]:  # fmt: skip
        with pytest.raises(MalformedError) as refused:
            open_link(link, child, channel, before)
        assert rule_of(refused) == "link_open"
    for place in range(len(LINK)):
        changed = LINK[:place] + bytes([LINK[place] ^ 1]) + LINK[place + 1 :]
        with pytest.raises(MalformedError) as refused:
            open_link(changed, KEY, CHANNEL, parent)
        assert rule_of(refused) == "link_open"


def test_a_link_to_another_key_than_it_says_is_caught() -> None:
    claimed = epoch_id(EpochKey(b"q" * 32), CHANNEL)
    nonce = bytes(12)
    key = derive_key(KEY.reveal(), Label.EPOCH_LINK, salt=CHANNEL)
    forged = nonce + aead.encrypt(key, nonce, PARENT.reveal(), CHANNEL + EPOCH + claimed)
    with pytest.raises(MalformedError) as refused:
        open_link(forged, KEY, CHANNEL, claimed)
    assert rule_of(refused) == "epoch_key_differs"


def test_sealing_to_nonsense_is_refused() -> None:
    with pytest.raises(MalformedError) as refused:
        seal_to(KEY, CHANNEL, READER, b"no key")
    assert rule_of(refused) == "sealing_public"


def test_no_error_holds_a_key() -> None:
    with pytest.raises(MalformedError) as refused:
        epochs.open_from(SEALED, b"x" * 32, CHANNEL, EPOCH, READER)
    assert "kkkk" not in f"{refused.value!r} {refused.value.details}"
