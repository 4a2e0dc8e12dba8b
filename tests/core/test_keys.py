"""Secrets, key schedule, signatures and certificates: against the RFCs' vectors, and against misuse."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core.crypto.keys import (
    CERTIFICATE_SIZE,
    DeviceCertificate,
    Label,
    SigningKey,
    certify,
    consent_to,
    decode_certificate,
    derive_key,
    hkdf_sha256,
    identity_key,
    recovery_public,
    recovery_seed,
    verify,
)
from quire.core.crypto.sealing import OVERHEAD, PUBLIC_SIZE, open_sealed, public_of, seal
from quire.core.crypto.secrets import (
    DatabaseKey,
    KeyFile,
    Keyring,
    Passphrase,
    RawKey,
    RecoveryPhrase,
    Secret,
)
from quire.core.ids import DeviceId, IdentityId
from quire.core.limits import TIME_MS_MAX
from quire.errors import MalformedError, UsageError

ZERO_PHRASE = "abandon " * 23 + "art"
FROZEN_IDENTITY = "6cd93dd5e9a09e357a54ebbc8cf0e6175066488cd14d834b6c5300e83acda8c1"
FROZEN_RECOVERY_SEED = "25bf29f5ac42283842f4268799d6a07365ab7e62b673bf400b396859629a4e78"
FROZEN_RECOVERY_SLOT = "7127058e2499f43e0938e7861b11d786875f148c45ca05973d00169bf1e7c3c5"


def seeded(fill: int) -> bytes:
    return bytes([fill]) * 32


# Known answers.


@pytest.mark.parametrize(
    ("secret", "salt", "info", "length", "expected"),
    [
        (
            b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)), bytes(range(0x60, 0xB0)), bytes(range(0xB0, 0x100)), 82,
            ("b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
        ),
        (
            b"\x0b" * 22, b"", b"", 42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
    ids=["RFC 5869 A.1", "RFC 5869 A.2", "RFC 5869 A.3"],
)  # fmt: skip
def test_hkdf_gives_the_answers_of_rfc_5869(
    secret: bytes, salt: bytes, info: bytes, length: int, expected: str
) -> None:
    assert hkdf_sha256(secret, salt=salt, info=info, length=length).hex() == expected


def test_hkdf_refuses_more_than_it_can_give() -> None:
    assert len(hkdf_sha256(b"s", salt=b"", info=b"", length=8160)) == 8160
    with pytest.raises(UsageError) as failure:
        hkdf_sha256(b"s", salt=b"", info=b"", length=8161)
    assert failure.value.rule == "derived_length"


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
                "d25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
                "387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            (
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
                "4a7c15e9716ed28dc027beceea1ec40a"
            ),
        ),
    ],
    ids=["RFC 8032 7.1 TEST 1", "RFC 8032 7.1 TEST 2", "RFC 8032 7.1 TEST 3"],
)
def test_signatures_are_those_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(bytes.fromhex(seed))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert verify(key.public, bytes.fromhex(signature), bytes.fromhex(message))
    assert not verify(key.public, bytes.fromhex(signature), bytes.fromhex(message) + b"!")
    assert not verify(seeded(1), bytes.fromhex(signature), bytes.fromhex(message))


@pytest.mark.parametrize(
    ("entropy", "words"),
    [
        ("00" * 32, ZERO_PHRASE),
        ("ff" * 32, "zoo " * 23 + "vote"),
        (
            "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
            (
                "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy "
                "gospel tennis maple dilemma loan word shrug inflict delay length"
            ),
        ),
    ],
)
def test_phrases_are_those_of_bip_39(entropy: str, words: str) -> None:
    assert RecoveryPhrase(words).reveal().hex() == entropy
    assert RecoveryPhrase.generate(lambda size: bytes.fromhex(entropy)).words() == words.strip()


def test_sealing_keys_are_those_of_x_wing() -> None:
    """The first vector of draft-connolly-cfrg-xwing-kem, its public key by its SHA-256."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public = public_of(seed)
    assert public.hex().startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5")
    assert public.hex().endswith("859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534")
    digest = hashlib.sha256(public).hexdigest()
    assert digest == "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb"


def test_derived_keys_stay_what_they_are() -> None:
    """Frozen from our own code: it catches change, not error."""
    phrase = RecoveryPhrase(ZERO_PHRASE)
    assert identity_key(phrase).public.hex() == FROZEN_IDENTITY
    assert derive_key(phrase.reveal(), Label.RECOVERY_SLOT, salt=bytes(16)).hex() == FROZEN_RECOVERY_SLOT
    assert recovery_seed(phrase).reveal().hex() == FROZEN_RECOVERY_SEED
    assert recovery_public(phrase) == public_of(bytes.fromhex(FROZEN_RECOVERY_SEED))


def test_no_two_purposes_share_a_key() -> None:
    derived = {derive_key(seeded(7), label) for label in Label}
    assert len(derived) == len(Label)


# Secrets stay secret.


def every_secret() -> list[Secret]:
    return [
        DatabaseKey(seeded(0x41)),
        Passphrase("A" * 32),
        RecoveryPhrase.generate(lambda size: b"A" * size),
        SigningKey(seeded(0x41)),
    ]


@pytest.mark.parametrize("secret", every_secret(), ids=lambda secret: type(secret).__name__)
def test_secrets_do_not_show(secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("test").warning("%s %r", secret, secret)
    shown = [repr(secret), str(secret), f"{secret}", f"{[secret]}", caplog.text]
    if isinstance(secret, DatabaseKey):
        shown.append(repr(RawKey(secret)))
    for text in shown:
        assert "AAAA" not in text
        assert "41" * 4 not in text
        assert "hidden" in text


@pytest.mark.parametrize("secret", every_secret(), ids=lambda secret: type(secret).__name__)
def test_secrets_are_not_pickled_copied_or_hashed(secret: Secret) -> None:
    for forbidden in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError) as failure:
            forbidden(secret)
        assert "AAAA" not in str(failure.value)


def test_secrets_compare_by_kind_and_value() -> None:
    assert DatabaseKey(seeded(1)) == DatabaseKey(seeded(1))
    assert DatabaseKey(seeded(1)) != DatabaseKey(seeded(2))
    assert DatabaseKey(seeded(1)) != SigningKey(seeded(1))
    assert DatabaseKey(seeded(1)) != seeded(1)


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33), 32, "A" * 32, None])
def test_a_key_has_32_bytes(value: object) -> None:
    for kind in (DatabaseKey, SigningKey):
        with pytest.raises(UsageError) as failure:
            kind(value)  # type: ignore[arg-type]
        assert failure.value.rule == "key_length"


# What people type.


def test_one_passphrase_however_it_is_composed() -> None:
    assert Passphrase("caf\u00e9") == Passphrase("cafe\u0301")
    assert Passphrase(" two words ") != Passphrase("two words")


@pytest.mark.parametrize(
    ("text", "rule"),
    [("", "passphrase_empty"), ("secret\udc80", "passphrase_text"), ("x" * 4097, "passphrase_length")],
)
def test_impossible_passphrases(text: str, rule: str) -> None:
    with pytest.raises(UsageError) as failure:
        Passphrase(text)
    assert failure.value.rule == rule
    assert "secret" not in str(failure.value)
    assert failure.value.__context__ is None  # an encoding error would carry the text


@given(st.binary(min_size=32, max_size=32), st.randoms())
def test_a_phrase_survives_a_person(entropy: bytes, random: object) -> None:
    words = RecoveryPhrase.generate(lambda size: entropy).words().split()
    short = [word[:4].upper() if number % 2 else word.title() for number, word in enumerate(words)]
    assert RecoveryPhrase("\n ".join(short) + "\t").reveal() == entropy


@pytest.mark.parametrize(
    ("words", "rule", "named"),
    [
        ("", "phrase_length", "24"),
        ("abandon " * 23, "phrase_length", "24"),
        ("abandon " * 25, "phrase_length", "24"),
        ("abandon" * 400, "phrase_length", "24"),
        ("abandon " * 24, "phrase_checksum", "checksum"),
        ("abandon " * 11 + "abandom " + "abandon " * 11 + "art", "phrase_word", "word 12, 'abandom'"),
        ("aba " + "abandon " * 22 + "art", "phrase_word", "word 1, 'aba'"),  # three letters are not enough
        ("abandons " + "abandon " * 22 + "art", "phrase_word", "word 1, 'abandons'"),
        ("é" * 40 + " abandon" * 22 + " art", "phrase_word", "word 1, 'éééééééééééééééé'"),
    ],
)
def test_wrong_phrases(words: str, rule: str, named: str) -> None:
    with pytest.raises(UsageError) as failure:
        RecoveryPhrase(words)
    assert failure.value.rule == rule
    assert named in str(failure.value)


@given(st.text(max_size=200))
def test_any_text_is_a_phrase_or_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        RecoveryPhrase(text)


def test_where_secrets_are_is_no_secret() -> None:
    assert KeyFile(Path("a") / "b").path == KeyFile("a/b").path == "a/b"
    assert Keyring("work").name == "work"
    for name in ("x" * 65, "two\nlines"):
        with pytest.raises(UsageError) as failure:
            Keyring(name)
        assert failure.value.rule == "keyring_name"


# Signatures and certificates.


@given(st.binary(max_size=80), st.binary(max_size=63))
def test_verify_is_false_for_any_nonsense(public: bytes, signature: bytes) -> None:
    assert verify(public, signature, b"message") is False


IDENTITY, DEVICE, PHONE = SigningKey(seeded(1)), SigningKey(seeded(2)), SigningKey(seeded(5))
WHO, WHEN = IdentityId(IDENTITY.public), 1_700_000_000_000
SEALING = public_of(seeded(3))


def certificate_of(device: SigningKey, issuer: SigningKey) -> DeviceCertificate:
    consent = consent_to(device, WHO, SEALING, WHEN)
    return certify(issuer, WHO, DeviceId(device.public), SEALING, WHEN, consent)


CERTIFICATE = certificate_of(DEVICE, IDENTITY)


def test_a_certificate_travels() -> None:
    encoded = CERTIFICATE.encode()
    decoded = decode_certificate(encoded)
    decoded.verify()
    assert decoded == CERTIFICATE
    assert decoded.encode() == encoded
    assert (decoded.identity, decoded.device) == (IDENTITY.public, DEVICE.public)
    fields = WHO + DEVICE.public + hashlib.sha256(SEALING).digest() + WHEN.to_bytes(8, "big")
    assert verify(
        IDENTITY.public, encoded[137:201], b"quire/v1 device certificate" + fields
    )  # as the spec says
    assert verify(DEVICE.public, encoded[201:], b"quire/v1 device consent" + fields)


def test_a_device_may_vouch_for_another_one() -> None:
    """Both signatures hold; whether the issuer was a device of that identity is for membership to say."""
    linked = decode_certificate(certificate_of(PHONE, DEVICE).encode())
    linked.verify()
    assert linked.issuer == DEVICE.public
    assert (linked.by_identity, CERTIFICATE.by_identity) == (False, True)


@pytest.mark.parametrize("forger", [IDENTITY, PHONE], ids=["the identity", "another device"])
def test_nobody_takes_a_device_that_did_not_agree(forger: SigningKey) -> None:
    forged = consent_to(forger, WHO, SEALING, WHEN)
    with pytest.raises(MalformedError) as failure:
        certify(IDENTITY, WHO, DeviceId(DEVICE.public), SEALING, WHEN, forged).verify()
    assert failure.value.rule == "certificate_consent"
    other = consent_to(
        DEVICE, IdentityId(PHONE.public), SEALING, WHEN
    )  # it agreed to belong to somebody else
    with pytest.raises(MalformedError) as failure:
        certify(IDENTITY, WHO, DeviceId(DEVICE.public), SEALING, WHEN, other).verify()
    assert failure.value.rule == "certificate_consent"


@given(st.integers(0, CERTIFICATE_SIZE - 1), st.integers(1, 255))
def test_no_byte_of_a_certificate_can_change(place: int, flip: int) -> None:
    changed = bytearray(CERTIFICATE.encode())
    changed[place] ^= flip
    with pytest.raises(MalformedError) as failure:
        decode_certificate(bytes(changed)).verify()
    assert failure.value.rule in {
        "certificate_version", "certificate_time", "certificate_signature", "certificate_consent",
    }  # fmt: skip


@given(st.binary(max_size=300) | st.binary(min_size=CERTIFICATE_SIZE, max_size=CERTIFICATE_SIZE))
def test_decoding_a_certificate_is_strict(encoded: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert decode_certificate(encoded).encode() == encoded


def test_each_clause_of_a_certificate_has_its_rule() -> None:
    good = CERTIFICATE.encode()
    far = (TIME_MS_MAX + 1).to_bytes(8, "big")
    for encoded, rule in [
        (good[:-1], "certificate_length"),
        (good + b"\0", "certificate_length"),
        (b"\2" + good[1:], "certificate_version"),
        (good[:129] + far + good[137:], "certificate_time"),
    ]:
        with pytest.raises(MalformedError) as failure:
            decode_certificate(encoded)
        assert failure.value.rule == rule
    with pytest.raises(UsageError) as misuse:
        certify(IDENTITY, WHO, DeviceId(b"short"), SEALING, 0, bytes(64))
    assert misuse.value.rule == "certificate_fields"


# Sealing.


def test_what_is_sealed_opens_for_one_key_and_one_purpose() -> None:
    public = public_of(seeded(3))
    sealed = seal(b"the message", public, b"info")
    assert len(public) == PUBLIC_SIZE
    assert len(sealed) == len(b"the message") + OVERHEAD
    assert open_sealed(sealed, seeded(3), b"info") == b"the message"
    for other in [
        (sealed, seeded(4), b"info"),
        (sealed, seeded(3), b"other"),
        (sealed[:-1], seeded(3), b"info"),
        (sealed + b"!", seeded(3), b"info"),
        (b"", seeded(3), b"info"),
    ]:
        with pytest.raises(MalformedError) as failure:
            open_sealed(*other)
        assert failure.value.rule == "sealing_open"


@given(st.binary(max_size=PUBLIC_SIZE + 1))
def test_sealing_to_nonsense_is_refused(public: bytes) -> None:
    if len(public) != PUBLIC_SIZE:
        with pytest.raises(MalformedError) as failure:
            seal(b"x", public, b"")
        assert failure.value.rule == "sealing_public"
