"""Linking: with the right code two devices agree; with anything else nobody learns or gains anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core.crypto.keys import SigningKey, certify, consent_to
from quire.core.crypto.link_code import ALPHABET, LinkCode
from quire.core.crypto.linking import NewDevice, OldDevice
from quire.core.crypto.sealing import public_of
from quire.core.ids import DeviceId, IdentityId
from quire.core.welcome import open_welcome, seal_welcome
from quire.errors import MalformedError, QuireError, UnauthorisedError, UsageError

PERSON, LAPTOP, PHONE = (SigningKey(bytes([n]) * 32) for n in (1, 2, 3))
WHO, WHEN = IdentityId(PERSON.public), 1_700_000_000_000
SEED = b"s" * 32
SEALING = public_of(SEED)
CODE, WRONG = LinkCode.generate(random.Random(1).randbytes), LinkCode.generate(random.Random(2).randbytes)


def new(code: LinkCode = CODE, seed: int = 3) -> NewDevice:
    return NewDevice(code, PHONE, SEALING, random.Random(seed).randbytes)


def old(code: LinkCode = CODE, seed: int = 4) -> OldDevice:
    return OldDevice(code, WHO, WHEN, random.Random(seed).randbytes)


def rule_of(act: Callable[[], object], kind: type[QuireError] = MalformedError) -> str:
    with pytest.raises(kind) as refused:
        act()
    return refused.value.rule


def certificate(device: bytes = PHONE.public, sealing: bytes = SEALING, consent: bytes = b"") -> bytes:
    consent = consent or consent_to(PHONE, WHO, SEALING, WHEN)
    return certify(LAPTOP, WHO, DeviceId(device), sealing, WHEN, consent).encode()


def test_the_whole_conversation() -> None:
    phone, laptop = new(), old()
    one = phone.start()
    two = laptop.answer(one)
    three = phone.offer(two)
    offer = laptop.receive(three)
    assert (offer.device, offer.sealing) == (PHONE.public, SEALING)
    made = certify(LAPTOP, WHO, DeviceId(offer.device), offer.sealing, WHEN, offer.consent)
    welcome = seal_welcome(b"c" * 32, [b"commit"], [offer.sealing], random.Random(5).randbytes)  # type: ignore[arg-type]
    four = laptop.grant(made.encode(), welcome)
    grant = phone.finish(four)
    assert grant.certificate == made.encode()
    assert open_welcome(grant.welcome, SEED).commits == [b"commit"]
    for message in (one, two, three, four):
        assert all(secret not in message for secret in (PERSON.public, PHONE.public, CODE.reveal()))
    for again in (partial(phone.finish, four), partial(laptop.answer, one), partial(laptop.grant, b"", b"")):
        assert rule_of(again, UsageError) == "code_spent"


def test_a_wrong_code_ends_the_attempt_at_either_side() -> None:
    phone, laptop = new(WRONG), old()
    two = laptop.answer(phone.start())
    assert rule_of(partial(phone.offer, two), UnauthorisedError) == "code_wrong"
    assert rule_of(partial(phone.offer, two), UsageError) == "code_spent"
    # Somebody who goes on all the same, with a conversation of their own under another code.
    other, stranger = old(WRONG), new(WRONG)
    three = stranger.offer(other.answer(stranger.start()))
    assert rule_of(partial(laptop.receive, three), UnauthorisedError) == "code_wrong"
    assert rule_of(partial(laptop.receive, three), UsageError) == "code_spent"


def test_messages_of_another_conversation_with_the_same_code_are_no_use() -> None:
    phone, laptop = new(), old()
    earlier_phone, earlier_laptop = new(seed=7), old(seed=8)
    recorded = earlier_laptop.answer(earlier_phone.start())
    assert rule_of(partial(phone.offer, recorded), UnauthorisedError) == "code_wrong"
    laptop.answer(new(seed=9).start())
    assert rule_of(partial(laptop.receive, earlier_phone.offer(recorded)), UnauthorisedError) == "code_wrong"


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.bounded])])
def test_every_changed_byte_is_noticed(every: int) -> None:
    """In each message, each at its own rule, and never another error. The fast suite looks at every third of them."""
    one = new().start()
    two = old().answer(one)
    whole_phone = new()
    three = whole_phone.offer(two)
    listening = old()
    listening.answer(one)
    listening.receive(three)
    four = listening.grant(certificate(), b"welcome")

    def late_phone() -> NewDevice:
        phone = new()
        phone.offer(two)
        return phone

    def waiting_laptop() -> OldDevice:
        laptop = old()
        laptop.answer(one)
        return laptop

    flow: list[tuple[bytes, Callable[[bytes], object], int]] = [
        (two, lambda changed: new().offer(changed), 1),
        (three, lambda changed: waiting_laptop().receive(changed), 37),
        (four, lambda changed: late_phone().finish(changed), 11),
    ]
    for message, receive, step in flow:
        for place in [*range(4), *range(4, len(message), every * step)]:
            changed = message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :]
            with pytest.raises(QuireError) as refused:
                receive(changed)
            assert refused.value.rule in {
                "linking_version", "linking_out_of_turn", "linking_message", "code_wrong", "linking_open",
            }, place  # fmt: skip
    for place in range(2, len(one), every):  # another element is as good as any: the code does not fit it
        changed = one[:place] + bytes([one[place] ^ 1]) + one[place + 1 :]
        with pytest.raises(QuireError) as refused:
            new().offer(old().answer(changed))
        assert refused.value.rule in ("linking_message", "code_wrong")


def test_a_message_out_of_turn_changes_nothing() -> None:
    phone, laptop = new(), old()
    one = phone.start()
    assert rule_of(partial(phone.offer, one)) == "linking_out_of_turn", "our own message, reflected"
    two = laptop.answer(one)
    assert rule_of(partial(laptop.receive, one)) == "linking_out_of_turn", "replayed"
    assert rule_of(partial(laptop.answer, two)) == "linking_out_of_turn"
    three = phone.offer(two)
    assert rule_of(partial(phone.finish, two)) == "linking_out_of_turn"
    assert rule_of(lambda: laptop.grant(b"", b""), UsageError) == "linking_grant_early"
    laptop.receive(three)
    assert phone.finish(laptop.grant(certificate(), b"w")).welcome == b"w"


@pytest.mark.parametrize(
    "message", [b"", b"\1", b"\2\2" + bytes(40), b"\1\2", b"\1\2" + bytes(33), b"\1\2A" + bytes(90)]
)
def test_nonsense_is_no_message(message: bytes) -> None:
    assert rule_of(partial(new().offer, message)) in ("linking_message", "linking_version")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    phone, laptop = new(), old()
    for receive in (phone.offer, laptop.answer):
        with pytest.raises(QuireError):
            receive(data)


def test_an_element_that_says_nothing_is_refused() -> None:
    """The neutral element, one of small order, one too long: whoever sends it would know the key."""
    for element in (
        b"\1" + bytes(31),
        bytes(32),
        b"\xec" + b"\xff" * 30 + b"\x7f",
        new().start()[3:] + b"\0",
    ):
        assert rule_of(partial(old().answer, b"\1\1A" + element)) == "linking_message"
    assert rule_of(partial(old().answer, b"\1\1B" + new().start()[3:])) == "linking_message"


def test_the_certificate_is_for_the_device_that_asked() -> None:
    other = SigningKey(b"o" * 32)
    foreign = certify(
        LAPTOP, WHO, DeviceId(other.public), SEALING, WHEN, consent_to(other, WHO, SEALING, WHEN)
    )
    for given_, rule in [
        (foreign.encode(), "linking_certificate"),
        (certificate(consent=bytes(64)), "certificate_consent"),
    ]:
        phone, laptop = new(), old()
        laptop.receive(phone.offer(laptop.answer(phone.start())))
        four = laptop.grant(given_, b"")
        assert rule_of(partial(phone.finish, four)) == rule


# Codes


@given(st.binary(min_size=11, max_size=11))
def test_a_code_survives_a_person(drawn: bytes) -> None:
    code = LinkCode.generate(lambda size: drawn[:size])
    shown = code.text()
    assert len(shown) == 14
    assert LinkCode(f" {shown.lower().replace('1', 'l').replace('0', 'o')} ") == code
    assert LinkCode(shown.replace("-", " ")) == code
    assert shown not in repr(code)


@given(st.binary(min_size=11, max_size=11), st.integers(0, 11), st.sampled_from(ALPHABET))
def test_a_single_wrong_letter_is_told_before_it_costs_the_attempt(
    drawn: bytes, place: int, letter: str
) -> None:
    letters = LinkCode.generate(lambda size: drawn).text().replace("-", "")
    typed = letters[:place] + letter + letters[place + 1 :]
    if typed != letters:
        assert rule_of(partial(LinkCode, typed), UsageError) == "code_form"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7K2Q",
        "7K2Q-M9XD",
        "3F9T-7K2Q-M9XDD",
        "UUUU-UUUU-UUUU",
        "3F9T-7K2Q-M9X\u0663",
        "\0" * 12,
        "x" * 5_000,
    ],
)
def test_what_is_no_code(text: str) -> None:
    assert rule_of(partial(LinkCode, text), UsageError) == "code_form"
