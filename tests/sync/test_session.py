"""The table of what a peer may say when: every pair in it, and every pair that is not."""

from __future__ import annotations

import pytest

from quire.core.ids import ChannelId, DeviceId
from quire.errors import MalformedError
from quire.sync.messages import (
    Asked,
    Bye,
    Have,
    Hello,
    Message,
    Part,
    Rest,
    Sent,
    channel_token,
    encode_message,
)
from quire.sync.session import ANY_TIME, TRANSITIONS, Parted, Session, State

CHANNEL, PEER = ChannelId(b"c" * 32), DeviceId(b"p" * 32)
NONCE, OTHERS = bytes(16), b"x" * 16  # what we have is another digest than theirs
TOKEN = channel_token(CHANNEL, PEER, NONCE)
SAID: dict[type[Message], Message] = {
    Hello: Hello(1, NONCE, ((TOKEN, OTHERS),)), Have: Have(TOKEN, (), ()), Asked: Asked(), Part: Part(1, 2, True, b"x"),
    Sent: Sent(), Rest: Rest(False),
}  # fmt: skip
WAY: dict[State, tuple[type[Message], ...]] = {  # there
    State.NEW: (), State.ASKING: (Hello,), State.SENDING: (Hello, Asked), State.SETTLING: (Hello, Asked, Sent),
    State.RESTING: (Hello, Asked, Sent, Rest),
}  # fmt: skip
PAIRS = [(state, kind) for state in WAY for kind in SAID]


def at(state: State) -> Session:
    session = Session(DeviceId(b"d" * 32), PEER, bytes)
    session.greet({CHANNEL: bytes(16)})
    for kind in WAY[state]:
        session.receive(encode_message(SAID[kind]))
    assert session.state is state
    return session


@pytest.mark.parametrize(
    ("state", "kind"), PAIRS, ids=lambda one: getattr(one, "name", getattr(one, "__name__", ""))
)
def test_what_is_in_the_table_may_be_said_then_and_nothing_else(state: State, kind: type[Message]) -> None:
    session = at(state)
    if (state, kind) in TRANSITIONS:
        session.receive(encode_message(SAID[kind]))
        assert session.state is TRANSITIONS[state, kind]
        return
    with pytest.raises(MalformedError) as refused:
        session.receive(encode_message(SAID[kind]))
    assert refused.value.rule == "out_of_turn"
    assert session.state is state


@pytest.mark.parametrize("state", WAY)
def test_a_peer_may_part_at_any_time_and_says_nothing_more(state: State) -> None:
    session = at(state)
    [effect] = session.receive(encode_message(Bye("enough")))
    assert effect == Parted("enough")
    for kind in SAID:
        with pytest.raises(MalformedError) as refused:
            session.receive(encode_message(SAID[kind]))
        assert refused.value.rule == "out_of_turn"


def test_the_table_names_every_message_that_has_a_time() -> None:
    assert {kind for _, kind in TRANSITIONS} == set(SAID)
    assert not set(SAID) & set(ANY_TIME)
    assert {state for state, _ in TRANSITIONS} == set(WAY)
