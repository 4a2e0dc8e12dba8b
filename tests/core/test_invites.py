"""Invites, requests to join and welcomes: for whom they are, and for nobody else."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from quire.core import limits
from quire.core.control import Device
from quire.core.crypto import aead
from quire.core.crypto.cards import make_card
from quire.core.crypto.keys import Label, SigningKey, certify, consent_to, derive_key
from quire.core.crypto.sealing import public_of, seal
from quire.core.encoding import encode
from quire.core.ids import ChannelId, DeviceId, IdentityId
from quire.core.invite import (
    InviteLink,
    InviteSecret,
    JoinRequest,
    join_proof,
    open_request,
    parse_link,
    request_tag,
    seal_request,
    tag_of_request,
    verify_join_proof,
)
from quire.core.packing import packed
from quire.core.texts import as_text
from quire.core.welcome import (
    ENTRY_SIZE,
    RECIPIENTS_MAX,
    open_welcome,
    recipient_tag,
    recipients,
    seal_welcome,
)
from quire.errors import MalformedError, QuireError, UsageError

CHANNEL, ELSEWHERE = ChannelId(b"c" * 32), ChannelId(b"d" * 32)
PERSON, LAPTOP, PHONE, STRANGER = (SigningKey(bytes([n]) * 32) for n in range(1, 5))
WHO, OTHER = IdentityId(PERSON.public), IdentityId(STRANGER.public)
SEED = b"s" * 32
SEALING = public_of(SEED)
SECRET = InviteSecret(b"i" * 16)
KEY = SECRET.key(CHANNEL)


def entry(device: SigningKey, issuer: SigningKey = PERSON) -> Device:
    consent = consent_to(device, WHO, SEALING, 5)
    return Device(certify(issuer, WHO, DeviceId(device.public), SEALING, 5, consent).encode(), SEALING)


def rule_of(act: Callable[[], object], kind: type[QuireError] = MalformedError) -> str:
    with pytest.raises(kind) as refused:
        act()
    return refused.value.rule


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


# Links

LINK = InviteLink(SECRET, CHANNEL, WHO, 1_800_000_000_000, "Garden 🌱")


@given(
    st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32), st.integers(0, limits.TIME_MS_MAX), st.text(),
)  # fmt: skip
def test_a_link_goes_through_its_text(secret: bytes, channel: bytes, expires_ms: int, name: str) -> None:
    link = InviteLink(InviteSecret(secret), ChannelId(channel), WHO, expires_ms, name)
    text = link.text()
    assert len(text) <= limits.INVITE_LINK_CHARS_MAX
    found = parse_link(f" {text[:70]}\n  {text[70:]}")
    assert replace(found, name="") == replace(link, name="")
    assert "".join(char for char in name if char.isprintable()).startswith(found.name)
    assert len(found.name.encode()) <= limits.INVITE_NAME_BYTES_MAX


def test_a_name_is_cut_at_a_character() -> None:
    assert parse_link(replace(LINK, name="é" * 300).text()).name == "é" * 24
    assert parse_link(replace(LINK, name="x" + "🌱" * 300).text()).name == "x" + "🌱" * 11
    assert len(replace(LINK, name="x" * 300).text()) <= limits.INVITE_LINK_CHARS_MAX
    assert parse_link(replace(LINK, name="a\nb\u202e\ud800").text()).name == "ab"


def test_a_link_that_lost_something_is_damaged_never_wrong() -> None:
    text = LINK.text()
    assert SECRET.reveal().decode() not in repr(LINK)
    for place in range(11, len(text)):
        other = "A" if text[place] != "A" else "B"
        for changed in (
            text[:place],
            text[:place] + other + text[place + 1 :],
            text[:place] + text[place + 1 :],
        ):
            assert rule_of(partial(parse_link, changed)) == "invite_link_damaged"
    assert rule_of(partial(parse_link, text + "AAAA" * 40)) == "invite_link_damaged"
    for foreign in ("", "https://example.org/", text[1:], "quire:card:" + text[11:]):
        assert rule_of(partial(parse_link, foreign)) == "invite_link_form"


def test_each_clause_of_a_link_has_its_rule() -> None:
    fields = SECRET.reveal() + CHANNEL + WHO
    for data, rule in [
        (b"", "invite_link_version"),
        (b"\2" + fields + bytes(8), "invite_link_version"),
        (b"\1" + fields + bytes(7), "invite_link_fields"),
        (b"\1" + fields + (limits.TIME_MS_MAX + 1).to_bytes(8, "big"), "invite_link_fields"),
        (b"\1" + fields + bytes(8) + b"\xff", "invite_link_fields"),
        (b"\1" + fields + bytes(8) + b"a\nb", "invite_link_fields"),
        (b"\1" + fields + bytes(8) + "a\u202eb".encode(), "invite_link_fields"),
    ]:
        assert rule_of(partial(parse_link, as_text("quire:join:", data))) == rule


def test_a_link_expires_when_it_says() -> None:
    assert not LINK.is_expired(LINK.expires_ms - 1)
    assert LINK.is_expired(LINK.expires_ms)
    assert not replace(LINK, expires_ms=0).is_expired(limits.TIME_MS_MAX)


def test_a_secret_is_a_secret() -> None:
    assert "iiii" not in repr(SECRET)
    assert InviteSecret.generate(lambda size: b"i" * size) == SECRET
    assert rule_of(partial(InviteSecret, bytes(15)), UsageError) == "key_length"
    assert SECRET.key(CHANNEL).public != SECRET.key(ELSEWHERE).public


# Proofs


def test_a_proof_is_for_one_person_channel_and_invite() -> None:
    proof = join_proof(KEY, CHANNEL, WHO)
    assert verify_join_proof(KEY.public, proof, CHANNEL, WHO)
    assert not verify_join_proof(KEY.public, proof, CHANNEL, OTHER), "forwarded"
    assert not verify_join_proof(KEY.public, proof, ELSEWHERE, WHO)
    assert not verify_join_proof(STRANGER.public, proof, CHANNEL, WHO)
    assert not verify_join_proof(KEY.public, KEY.sign(CHANNEL + WHO), CHANNEL, WHO), "without the label"
    assert not any(verify_join_proof(KEY.public, flipped(proof, place), CHANNEL, WHO) for place in range(64))


# Requests

CARD = make_card(WHO, [entry(LAPTOP), entry(PHONE, LAPTOP)])
REQUEST = JoinRequest(CHANNEL, CARD, KEY.public, join_proof(KEY, CHANNEL, WHO), "Ada", 1_700_000_000_000)
SEALED = seal_request(REQUEST, PHONE, random.Random(1).randbytes)


def test_a_request_reaches_whoever_knows_the_invite() -> None:
    assert tag_of_request(SEALED) == request_tag(KEY.public, CHANNEL)
    assert open_request(SEALED, KEY.public, CHANNEL) == REQUEST
    assert all(part not in SEALED for part in (b"Ada", WHO, CHANNEL, KEY.public, LAPTOP.public))


def test_a_request_is_for_one_invite_and_channel() -> None:
    assert rule_of(partial(open_request, SEALED, STRANGER.public, CHANNEL)) == "request_tag"
    assert rule_of(partial(open_request, SEALED, KEY.public, ELSEWHERE)) == "request_tag"
    for size in (0, 1, 17, 44):
        assert rule_of(partial(open_request, SEALED[:size], KEY.public, CHANNEL)) == "request_size"
    too_long = b"\1" + bytes(limits.REQUEST_BYTES_MAX)
    assert rule_of(partial(open_request, too_long, KEY.public, CHANNEL)) == "request_size"


def test_every_changed_byte_of_a_request_is_refused() -> None:
    for place in [*range(60), *range(60, len(SEALED), 17)]:
        expected = "request_version" if place == 0 else "request_tag" if place <= 16 else "request_open"
        assert rule_of(partial(open_request, flipped(SEALED, place), KEY.public, CHANNEL)) == expected


def forged(request: Any, *, device: SigningKey = PHONE, plain: bytes | None = None, label: str = "") -> bytes:
    """A request by someone whose program checks nothing."""
    encoded = encode(request)
    signature = device.sign((label or Label.REQUEST_SIGNATURE).encode() + encoded)
    header = b"\1" + request_tag(KEY.public, CHANNEL)
    body = packed(encode([encoded, device.public, signature]) if plain is None else plain)
    return (
        header
        + bytes(12)
        + aead.encrypt(derive_key(KEY.public, Label.REQUEST, salt=CHANNEL), bytes(12), body, header)
    )


def test_what_holders_of_the_invite_can_forge_is_refused() -> None:
    stolen = make_card(WHO, [entry(LAPTOP)])
    encoded = encode(REQUEST)
    for sealed, rule in [
        (forged(replace(REQUEST, proof=join_proof(KEY, CHANNEL, OTHER))), "request_proof"),
        (forged(replace(REQUEST, proof=b"")), "request_proof"),
        (forged(replace(REQUEST, card=stolen)), "request_device"),
        (forged(REQUEST, device=STRANGER), "request_device"),
        (forged(REQUEST, label="quire/v1 commit"), "request_signature"),
        (forged(REQUEST, plain=encode([encoded, PHONE.public, LAPTOP.sign(encoded)])), "request_signature"),
        (forged(replace(REQUEST, channel=ELSEWHERE)), "request_tag"),
        (forged(replace(REQUEST, invite=STRANGER.public)), "request_tag"),
        (forged(replace(REQUEST, name="x" * 257)), "request_structure"),
        (forged(replace(REQUEST, created_ms=-1)), "request_structure"),
        (forged(replace(REQUEST, card=replace(CARD, devices=CARD.devices[:1] * 2))), "card_devices"),
        (forged(REQUEST, plain=b""), "request_structure"),
        (forged(REQUEST, plain=encode([encoded, PHONE.public])), "request_structure"),
        (
            forged(REQUEST, plain=b"\xdc\x00\x03" + encode([encoded, b"", b""])[1:]),
            "request_structure_not_canonical",
        ),
        (forged(REQUEST, plain=bytes(limits.REQUEST_BYTES_MAX + 1)), "request_too_large"),
    ]:
        assert rule_of(partial(open_request, sealed, KEY.public, CHANNEL)) == rule


def test_a_request_that_would_be_refused_is_not_written() -> None:
    assert (
        rule_of(partial(seal_request, replace(REQUEST, proof=b""), PHONE, random.randbytes))
        == "request_proof"
    )


# Welcomes

COMMITS = [b"create", b"admit" * 100]
SEEDS = [bytes([n]) * 32 for n in (20, 21, 22)]
WELCOME = seal_welcome(CHANNEL, COMMITS, [public_of(seed) for seed in SEEDS], random.Random(2).randbytes)


def test_every_recipient_opens_a_welcome_and_nobody_else() -> None:
    for seed in SEEDS:
        assert open_welcome(WELCOME, seed) == (CHANNEL, COMMITS)
    assert recipients(WELCOME) == [recipient_tag(public_of(seed)) for seed in SEEDS]
    assert rule_of(partial(open_welcome, WELCOME, SEED)) == "welcome_not_ours"
    assert all(part not in WELCOME for part in (bytes(CHANNEL), b"create"))


def test_the_content_stands_once() -> None:
    one = seal_welcome(CHANNEL, COMMITS, [SEALING], random.Random(3).randbytes)
    assert len(WELCOME) - len(one) == 2 * ENTRY_SIZE


def test_every_changed_byte_of_a_welcome_is_refused() -> None:
    """Also in the entries of the others: the whole header is bound to the content."""
    rules = set()
    for place in [0, 1, *range(2, 20), *range(20, len(WELCOME), 97), *range(len(WELCOME) - 40, len(WELCOME))]:
        rules.add(rule_of(partial(open_welcome, flipped(WELCOME, place), SEEDS[1])))
    assert rules == {"welcome_version", "welcome_open", "sealing_open"}
    assert rule_of(partial(open_welcome, flipped(WELCOME, 2 + ENTRY_SIZE), SEEDS[1])) == "welcome_not_ours"


def welcome_of(packing: bytes, key: bytes = b"k" * 32) -> bytes:
    tag = recipient_tag(SEALING)
    header = bytes([1, 1]) + tag + seal(key, SEALING, Label.WELCOME.encode() + tag)
    return header + aead.encrypt(b"k" * 32, bytes(12), packing, header)


def test_each_clause_of_a_welcome_has_its_rule() -> None:
    body = encode([CHANNEL, COMMITS])
    assert open_welcome(welcome_of(packed(body)), SEED).commits == COMMITS
    for sealed, rule in [
        (b"", "welcome_size"), (WELCOME[:1], "welcome_size"), (WELCOME[: 2 + 3 * ENTRY_SIZE + 15], "welcome_size"),
        (b"\1" + bytes(limits.BUNDLE_BYTES_MAX), "welcome_size"), (b"\2" + WELCOME[1:], "welcome_version"),
        (b"\1\0" + WELCOME[2:], "welcome_recipients"), (b"\1\xff" + WELCOME[2:], "welcome_recipients"),
        (welcome_of(body), "welcome_packing"), (welcome_of(packed(bytes(17 << 20))), "welcome_too_large"),
        (welcome_of(packed(encode([CHANNEL]))), "welcome_structure"),
        (welcome_of(packed(encode([b"short", COMMITS]))), "welcome_structure"),
        (welcome_of(packed(b"\xdc\x00\x02" + body[1:])), "welcome_structure_not_canonical"),
        (welcome_of(packed(body), key=b"x" * 32), "welcome_open"),
    ]:  # fmt: skip
        assert rule_of(partial(open_welcome, sealed, SEED)) == rule


def test_a_welcome_is_bounded_when_written() -> None:
    for publics in ([], [SEALING] * (RECIPIENTS_MAX + 1)):
        assert (
            rule_of(partial(seal_welcome, CHANNEL, COMMITS, publics, random.randbytes), UsageError)
            == "recipients_range"
        )
    large = [bytes(limits.BUNDLE_PLAIN_BYTES_MAX)]
    assert (
        rule_of(partial(seal_welcome, CHANNEL, large, [SEALING], random.randbytes), UsageError)
        == "welcome_too_large"
    )
    assert rule_of(partial(seal_welcome, CHANNEL, COMMITS, [b"x"], random.randbytes)) == "sealing_public"


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    assert rule_of(partial(open_welcome, data, SEED)).startswith("welcome_")
    assert rule_of(partial(open_request, data, KEY.public, CHANNEL)).startswith("request_")
