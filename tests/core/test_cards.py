"""Key cards and safety numbers: what a card says is signed by those it speaks of, and any slip is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core import limits
from quire.core.control import Device
from quire.core.crypto.cards import (
    VERSION,
    Card,
    card_text,
    decode_card,
    encode_card,
    fingerprint,
    id_text,
    make_card,
    parse_card,
    parse_id,
    safety_number,
)
from quire.core.crypto.keys import SigningKey, certify, consent_to
from quire.core.crypto.sealing import public_of
from quire.core.encoding import encode
from quire.core.ids import DeviceId, IdentityId
from quire.errors import MalformedError

PERSON, LAPTOP, PHONE, TABLET, STRANGER = (SigningKey(bytes([n]) * 32) for n in range(1, 6))
WHO, OTHER = IdentityId(PERSON.public), IdentityId(STRANGER.public)
SEALING = public_of(b"s" * 32)


def entry(
    device: SigningKey, issuer: SigningKey = PERSON, who: IdentityId = WHO, sealing: bytes = SEALING
) -> Device:
    consent = consent_to(device, who, sealing, 5)
    return Device(certify(issuer, who, DeviceId(device.public), sealing, 5, consent).encode(), sealing)


CARD = make_card(WHO, [entry(LAPTOP), entry(PHONE, LAPTOP), entry(TABLET, PHONE)])


def rule_of(act: Callable[[], object]) -> str:
    with pytest.raises(MalformedError) as refused:
        act()
    return refused.value.rule


def test_a_card_goes_through_bytes_and_text() -> None:
    assert decode_card(encode_card(CARD)) == CARD
    text = card_text(CARD)
    assert text.startswith("quire:card:")
    assert parse_card(text) == CARD
    assert make_card(WHO, reversed(CARD.devices)) == CARD, "in one order, whoever makes it"


@given(st.integers(1, 200), st.sampled_from(["\n", "\r\n", " ", "\n> ", "\t\n"]))
def test_a_card_survives_a_mail(width: int, end: str) -> None:
    text = card_text(CARD)
    wrapped = end.replace(">", "").join(text[at : at + width] for at in range(0, len(text), width))
    if len(wrapped) < 3 * len(text):
        assert parse_card(f"  {wrapped}\n") == CARD


def test_a_text_that_lost_or_changed_something_is_damaged_never_something_else() -> None:
    text = card_text(CARD)
    for place in range(11, len(text), 13):
        other = "A" if text[place] != "A" else "B"
        for changed in (
            text[:place],
            text[:place] + other + text[place + 1 :],
            text[:place] + text[place + 1 :],
        ):
            assert rule_of(partial(parse_card, changed)) == "card_damaged"
    for changed in (text + "A", text + "=", text + "!", text + "é", text[:11], text + " x"):
        assert rule_of(partial(parse_card, changed)) == "card_damaged"
    for foreign in ("", "hello", id_text(WHO), text[1:], "x" * 10_000_000):
        assert rule_of(partial(parse_card, foreign)) == "card_form"


def test_every_changed_byte_of_a_card_is_refused() -> None:
    data = encode_card(make_card(WHO, [entry(LAPTOP)]))
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        assert rule_of(partial(decode_card, changed)).startswith(("card_", "certificate_"))


@given(st.binary(max_size=400))
def test_any_bytes_are_a_card_or_refused(data: bytes) -> None:
    assert rule_of(partial(decode_card, data)) == "card_structure"


def test_whoever_is_not_reached_from_the_identity_is_a_stranger() -> None:
    """Any key can sign a certificate for any identity: only the chain makes it that person's word."""
    for devices in (
        [entry(PHONE, STRANGER)],
        [entry(LAPTOP), entry(PHONE, STRANGER)],
        [entry(PHONE, PHONE)],
        [entry(PHONE, TABLET), entry(TABLET, PHONE)],
        [entry(TABLET, PHONE), entry(LAPTOP)],
    ):
        assert rule_of(partial(make_card, WHO, devices)) == "card_chain"


def test_each_clause_of_a_card_has_its_rule() -> None:
    laptop, phone = CARD.devices[:2]
    one, two = sorted([entry(LAPTOP).certificate, entry(LAPTOP, who=OTHER, issuer=STRANGER).certificate])
    for card, rule in [
        (Card(2, WHO, (laptop,)), "card_version"),
        (Card(VERSION, WHO[1:], (laptop,)), "card_identity"),
        (Card(VERSION, OTHER, (laptop,)), "card_identity"),
        (Card(VERSION, WHO, ()), "card_devices"),
        (Card(VERSION, WHO, (phone, laptop)), "card_devices"),
        (Card(VERSION, WHO, (laptop, laptop)), "card_devices"),
        (Card(VERSION, WHO, (Device(one, SEALING), Device(two, SEALING))), "card_devices"),
        (Card(VERSION, WHO, (Device(laptop.certificate, public_of(b"x" * 32)),)), "card_sealing"),
        (Card(VERSION, WHO, (Device(laptop.certificate[:-1] + b"x", SEALING),)), "certificate_consent"),
        (Card(VERSION, WHO, (Device(b"", SEALING),)), "certificate_length"),
    ]:
        assert rule_of(partial(decode_card, encode(card))) == rule
    data = encode_card(CARD)
    assert rule_of(partial(decode_card, b"\xdc\x00\x03" + data[1:])) == "card_structure_not_canonical"
    assert rule_of(partial(decode_card, bytes(limits.CARD_BYTES_MAX + 1))) == "card_size"


def test_the_largest_card_can_be_read_and_pasted() -> None:
    keys = [SigningKey(hashlib.sha256(bytes([n])).digest()) for n in range(limits.DEVICES_PER_MEMBER_MAX + 1)]
    card = make_card(WHO, map(entry, keys[1:]))
    assert parse_card(card_text(card)) == card
    assert 45_000 < len(encode_card(card)) <= limits.CARD_BYTES_MAX
    more = Card(VERSION, WHO, tuple(sorted(map(entry, keys), key=lambda one: one.certificate)))
    assert rule_of(partial(decode_card, encode(more))) == "card_structure"


# Identities and safety numbers


def test_an_identity_fits_a_qr_code() -> None:
    text = id_text(WHO)
    assert len(text) == 57
    assert parse_id(f" {text[:20]}\n{text[20:]} ") == WHO
    assert rule_of(partial(parse_id, text[:-1])) == "id_damaged"
    assert rule_of(partial(parse_id, card_text(CARD))) == "id_form"
    assert rule_of(partial(parse_id, id_text(IdentityId(b"short")))) == "id_form"


def test_both_sides_see_one_number() -> None:
    number = safety_number(WHO, OTHER)
    assert number == safety_number(OTHER, WHO)
    assert len(number.split()) == 12
    assert all(len(group) == 5 and group.isdigit() for group in number.split())
    assert fingerprint(WHO) in number


def test_a_fingerprint_is_what_the_spec_says_and_stays_so() -> None:
    hashed = b"quire/v1 fingerprint" + WHO
    for _ in range(5_200):
        hashed = hashlib.sha512(hashed + WHO).digest()
    places = list(pairwise(range(0, 31, 5)))
    assert fingerprint(WHO) == " ".join(
        f"{int.from_bytes(hashed[a:b], 'big') % 100_000:05}" for a, b in places
    )
    assert fingerprint(WHO) == "54945 12199 12434 18039 46233 07601"


def test_one_bit_of_an_identity_is_another_number() -> None:
    near = IdentityId(bytes([WHO[0] ^ 1]) + WHO[1:])
    same = [a for a, b in zip(fingerprint(WHO).split(), fingerprint(near).split(), strict=True) if a == b]
    assert len(same) <= 1
