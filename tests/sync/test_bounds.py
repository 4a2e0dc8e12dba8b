"""Bounds of a sync whose excess is too large for a golden vector: one step over each."""

from __future__ import annotations

import pytest

from quire.core.heights import LogHeight
from quire.core.ids import ChannelId, DeviceId
from quire.core.limits import CHANNELS_PER_SYNC_MAX, LOGS_PER_CHANNEL_MAX
from quire.errors import MalformedError
from quire.sync.messages import HEIGHTS_PER_FRAME_MAX, Have, Hello, channel_token, encode_message
from quire.sync.session import Session

CHANNEL, PEER = ChannelId(b"c" * 32), DeviceId(b"p" * 32)
NONCE = bytes(16)


def session() -> Session:
    found = Session(DeviceId(b"d" * 32), PEER, bytes)
    found.greet({CHANNEL: bytes(16)})
    return found


@pytest.mark.parametrize("more", [0, 1])
def test_channels_of_one_sync(more: int) -> None:
    offers = tuple((number.to_bytes(16, "big"), NONCE) for number in range(CHANNELS_PER_SYNC_MAX + more))
    hello = encode_message(Hello(1, NONCE, offers))
    if not more:
        session().receive(hello)
        return
    with pytest.raises(MalformedError) as refused:
        session().receive(hello)
    assert refused.value.rule == "too_many_channels"


def test_logs_of_one_channel() -> None:
    token = channel_token(CHANNEL, PEER, NONCE)
    hearing = session()
    hearing.receive(encode_message(Hello(1, NONCE, ((token, b"x" * 16),))))
    heights = tuple(LogHeight(bytes(32), bytes(16), b"", 1, bytes(32)) for _ in range(HEIGHTS_PER_FRAME_MAX))
    have = encode_message(Have(token, heights, ()))
    for _ in range(LOGS_PER_CHANNEL_MAX // HEIGHTS_PER_FRAME_MAX):
        hearing.receive(have)
    with pytest.raises(MalformedError) as refused:
        hearing.receive(have)
    assert refused.value.rule == "too_many_logs"
