"""The scenarios of the golden vectors about channel keys and what is carried: epochs to bundle files.

Zstandard frames are put together by hand, stored and not compressed, so that another version of the compressor
changes no vector. HPKE draws its own randomness: what was sealed once is kept in scripts/sealed_once.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.vectors import VALID, fixed_entropy
from vector_parts import (
    CERTIFICATE,
    CHANNEL,
    DEVICE,
    ENTRY,
    IDENTITY,
    SEALING,
    SEALING_SEED,
    Case,
    certificate,
    fixed,
    raw,
)

from quire.core import bundle_file, limits
from quire.core.bundle import bundle_tag
from quire.core.bundle_file import Kind, Record, write_bundle_file
from quire.core.crypto import aead
from quire.core.crypto.cards import Card, encode_card, fingerprint, id_text
from quire.core.crypto.epochs import EpochKey, epoch_id, seal_link
from quire.core.crypto.keys import Label, SigningKey, derive_key
from quire.core.crypto.link_code import LinkCode
from quire.core.crypto.linking import NewDevice, OldDevice
from quire.core.crypto.sealing import seal
from quire.core.ids import IdentityId
from quire.core.invite import InviteLink, InviteSecret, JoinRequest, join_proof, request_tag
from quire.core.packing import padme
from quire.core.texts import as_text
from quire.core.welcome import recipient_tag

SEALED_ONCE = Path(__file__).parent / "sealed_once.json"
KEY, PARENT, OTHER = (EpochKey(fixed(name)) for name in ("epoch key", "parent key", "other key"))
EPOCH, BEFORE = epoch_id(KEY, CHANNEL), epoch_id(PARENT, CHANNEL)
WHO = IdentityId(IDENTITY.public)


def sealed_once(name: str, plain: bytes, info: bytes) -> bytes:
    """The same bytes each time, sealed to the one sealing key of all vectors."""
    kept: dict[str, str] = json.loads(SEALED_ONCE.read_text()) if SEALED_ONCE.exists() else {}
    if name not in kept:
        kept[name] = seal(plain, SEALING, info).hex()
        SEALED_ONCE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return bytes.fromhex(kept[name])


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def frame(plain: bytes, *, size: int | None = None) -> bytes:
    """A Zstandard frame of one stored block that states its size. RFC 8878, section 3.1.1."""
    assert len(plain) < 128 << 10
    stated = (len(plain) if size is None else size).to_bytes(4, "little")
    return b"\x28\xb5\x2f\xfd\xa0" + stated + (len(plain) << 3 | 1).to_bytes(3, "little") + plain


def packed(frame: bytes, fill: bytes = b"\0") -> bytes:
    whole = len(frame).to_bytes(4, "big") + frame
    return whole + fill * (padme(len(whole)) - len(whole))


def packings(
    sealed: Callable[[bytes], bytes], what: str, body: bytes, facts: dict[str, Any]
) -> Iterator[Case]:
    """What section 2 of 08-bundles refuses, inside something that opens."""
    rule, right = f"{what}_packing", packed(frame(body))
    yield "packing-none", sealed(b""), rule, "not even a length", facts
    yield "packing-length", sealed(b"\xff" * 4 + right[4:]), rule, "a length that is not there", facts
    yield (
        "packing-unpadded",
        sealed(right[: 4 + len(frame(body))]),
        rule,
        "Padmé permits no such length",
        facts,
    )
    yield "packing-padded-twice", sealed(right + bytes(len(right))), rule, "nor one this large", facts
    yield "packing-padding", sealed(packed(frame(body), b"\1")), rule, "padding is zeros", facts
    yield "packing-no-frame", sealed(packed(b"no frame")), rule, "nothing that was compressed", facts
    yield "packing-cut", sealed(packed(frame(body)[:-1])), rule, "the frame ends early", facts
    yield "packing-two-frames", sealed(packed(frame(body) * 2)), rule, "something after the frame", facts
    yield (
        "packing-size-wrong",
        sealed(packed(frame(body, size=len(body) + 1))),
        rule,
        "it states another size",
        facts,
    )
    unsized = b"\x28\xb5\x2f\xfd\x00\x58" + frame(body)[9:]
    yield "packing-size-unknown", sealed(packed(unsized)), rule, "it states no size", facts
    bomb = frame(body, size=limits.BUNDLE_PLAIN_BYTES_MAX + 1)
    yield "packing-bomb", sealed(packed(bomb)), f"{what}_too_large", "refused by the size it states", facts


def epochs() -> Iterator[Case]:
    info = Label.EPOCH_SEAL.encode() + CHANNEL + EPOCH + DEVICE.public
    facts = {
        "seed": SEALING_SEED.hex(), "channel": CHANNEL.hex(), "epoch": EPOCH.hex(), "recipient": DEVICE.public.hex(),
        "key": KEY.reveal().hex(),
    }  # fmt: skip
    sealed = sealed_once("epoch", KEY.reveal(), info)
    yield "right", sealed, VALID, "an epoch's key, sealed to a device", facts
    other = sealed_once("epoch-other-key", OTHER.reveal(), info)
    yield "other-key", other, "epoch_key_differs", "another key than the epoch is named after", facts
    yield "short-key", sealed_once("epoch-short", b"short", info), "epoch_key_differs", "no key at all", facts
    rule = "sealing_open"
    yield "flipped", flipped(sealed, 1167), rule, "one bit", facts
    yield "encapsulation-flipped", flipped(sealed, 5), rule, "one bit of the encapsulated key", facts
    yield "empty", b"", rule, "no bytes", facts
    yield "other-recipient", sealed, rule, "sealed to another", facts | {"recipient": WHO.hex()}
    yield "other-channel", sealed, rule, "of another channel", facts | {"channel": fixed("x").hex()}
    yield "other-epoch", sealed, rule, "of another epoch", facts | {"epoch": BEFORE.hex()}


def links() -> Iterator[Case]:
    link = seal_link(KEY, PARENT, CHANNEL, fixed_entropy("link"))
    facts = {
        "channel": CHANNEL.hex(), "child": KEY.reveal().hex(), "parent": BEFORE.hex(), "key": PARENT.reveal().hex(),
    }  # fmt: skip
    yield "right", link, VALID, "the key before, under the key after", facts
    nonce, claimed = fixed("nonce", 12), epoch_id(OTHER, CHANNEL)
    key = derive_key(KEY.reveal(), Label.EPOCH_LINK, salt=CHANNEL)
    forged = nonce + aead.encrypt(key, nonce, PARENT.reveal(), CHANNEL + EPOCH + claimed)
    yield "other-key", forged, "epoch_key_differs", "not what it says", facts | {"parent": claimed.hex()}
    yield "flipped", flipped(link, 20), "link_open", "one bit", facts
    yield "empty", b"", "link_open", "no bytes", facts
    yield "other-parent", link, "link_open", "to another epoch", facts | {"parent": claimed.hex()}
    yield "other-child", link, "link_open", "under another key", facts | {"child": OTHER.reveal().hex()}


PHONE, STRANGER = SigningKey(fixed("phone")), SigningKey(fixed("stranger"))
ENTRIES = sorted([[CERTIFICATE, SEALING], [certificate(DEVICE, PHONE), SEALING]])
CARD = [1, IDENTITY.public, ENTRIES]


def cards() -> Iterator[Case]:
    facts = {"identity": WHO.hex(), "devices": 2, "fingerprint": fingerprint(WHO)}
    yield "right", raw(CARD), VALID, "a person with two devices, one certified by the other", facts
    foreign = [certificate(STRANGER, PHONE), SEALING]
    for name, value, rule, why in (
        ("version", [2, *CARD[1:]], "card_version", "a version of the future"),
        ("identity-short", [1, WHO[1:], ENTRIES], "card_identity", "a public key is 32 bytes"),
        ("identity-other", [1, STRANGER.public, ENTRIES], "card_identity", "certificates of somebody else"),
        ("no-device", [1, WHO, []], "card_devices", "a person has a device"),
        ("order", [1, WHO, ENTRIES[::-1]], "card_devices", "ascending"),
        ("twice", [1, WHO, ENTRIES[:1] * 2], "card_devices", "each once"),
        ("too-many", [1, WHO, ENTRIES[:1] * 33], "card_structure", "at most 32"),
        ("sealing-other", [1, WHO, [[CERTIFICATE, bytes(1216)]]], "card_sealing", "not the certified key"),
        ("chain", [1, WHO, [foreign]], "card_chain", "certified by a stranger"),
        (
            "chain-broken",
            [1, WHO, [[certificate(DEVICE, PHONE), SEALING]]],
            "card_chain",
            "the issuer is missing",
        ),
        ("chain-itself", [1, WHO, [[certificate(PHONE, PHONE), SEALING]]], "card_chain", "by itself"),
        (
            "consent",
            [1, WHO, [[flipped(CERTIFICATE, 264), SEALING]]],
            "certificate_consent",
            "nobody asked it",
        ),
        ("shorter", CARD[:2], "card_structure", "no field may be missing"),
        ("longer", [*CARD, 0], "card_structure", "a field more"),
        ("text", "card", "card_structure", "a card is an array"),
    ):
        yield name, raw(value), rule, why
    yield (
        "array16",
        b"\xdc\x00\x03" + raw(CARD)[1:],
        "card_structure_not_canonical",
        "the length in two bytes",
    )
    yield "too-large", bytes(limits.CARD_BYTES_MAX + 1), "card_size", "refused before it is looked at"


def ids() -> Iterator[Case]:
    text = id_text(WHO)
    facts = {"identity": WHO.hex()}
    yield "right", text.encode(), VALID, "an identity", facts
    yield "wrapped", f" {text[:30]}\n\t{text[30:]}\r\n".encode(), VALID, "white space does not matter", facts
    yield "prefix-upper", ("QUIRE:ID:" + text[9:]).encode(), VALID, "nor does the prefix's case", facts
    yield "cut", text[:-1].encode(), "id_damaged", "a character less"
    yield "case", (text[:20] + text[20:].swapcase()).encode(), "id_damaged", "base64 has case"
    yield "padded", (text + "=").encode(), "id_damaged", "no padding"
    yield "card", as_text("quire:card:", raw(CARD)).encode(), "id_form", "a card is no identity"
    yield "short", as_text("quire:id:", WHO[1:]).encode(), "id_form", "31 bytes"


SECRET = InviteSecret(fixed("invite secret", 16))
INVITE = SECRET.key(CHANNEL)


def invites() -> Iterator[Case]:
    text = InviteLink(SECRET, CHANNEL, WHO, 1_800_000_000_000, "Garden 🌱").text()
    facts = {
        "channel": CHANNEL.hex(), "inviter": WHO.hex(), "expires_ms": 1_800_000_000_000, "channel_name": "Garden 🌱",
        "public": INVITE.public.hex(),
    }  # fmt: skip
    yield "right", text.encode(), VALID, "a link", facts
    bare = InviteLink(SECRET, CHANNEL, WHO).text()
    yield "bare", bare.encode(), VALID, "for ever, and no name", {"expires_ms": 0, "channel_name": ""}
    longest = InviteLink(SECRET, CHANNEL, WHO, 0, "n" * 60).text()
    yield "longest", longest.encode(), VALID, "its name is cut: 200 characters", {"channel_name": "n" * 48}
    yield "wrapped", f"{text[:76]}\n{text[76:]}".encode(), VALID, "a mail wrapped it", facts
    yield "cut", text[:-1].encode(), "invite_link_damaged", "a character less"
    yield "cut-half", text[:90].encode(), "invite_link_damaged", "half of it"
    yield "mistyped", text.replace(text[40], "_").encode(), "invite_link_damaged", "one letter"
    yield "address", b"https://example.org/join", "invite_link_form", "something else"
    fields = SECRET.reveal() + CHANNEL + WHO
    for name, data, rule, why in (
        ("version", b"\2" + fields + bytes(8), "invite_link_version", "a version of the future"),
        ("short", b"\1" + fields + bytes(7), "invite_link_fields", "a byte less"),
        ("expires", b"\1" + fields + b"\xff" * 8, "invite_link_fields", "beyond 2248"),
        ("name-latin-1", b"\1" + fields + bytes(8) + b"\xe9", "invite_link_fields", "no UTF-8"),
        ("name-newline", b"\1" + fields + bytes(8) + b"\n", "invite_link_fields", "not printable"),
    ):
        yield name, as_text("quire:join:", data).encode(), rule, why


def requests() -> Iterator[Case]:
    card = Card(1, WHO, (ENTRY,))
    right = JoinRequest(
        CHANNEL, card, INVITE.public, join_proof(INVITE, CHANNEL, WHO), "Ada", 1_700_000_000_000
    )
    request = [
        CHANNEL,
        [1, WHO, [[CERTIFICATE, SEALING]]],
        INVITE.public,
        right.proof,
        "Ada",
        right.created_ms,
    ]
    facts = {"invite": INVITE.public.hex(), "channel": CHANNEL.hex(), "called": "Ada", "identity": WHO.hex()}
    assert raw(request[1]) == encode_card(card)
    header = b"\1" + request_tag(INVITE.public, CHANNEL)

    def encrypted(plain: bytes) -> bytes:
        key, nonce = derive_key(INVITE.public, Label.REQUEST, salt=CHANNEL), fixed("nonce", 12)
        return header + nonce + aead.encrypt(key, nonce, plain, header)

    def signed(values: list[Any], device: SigningKey = DEVICE, label: str = Label.REQUEST_SIGNATURE) -> bytes:
        encoded = raw(values)
        return raw([encoded, device.public, device.sign(label.encode() + encoded)])

    def sealed(values: list[Any], **how: Any) -> bytes:
        return encrypted(packed(frame(signed(values, **how))))

    def but(at: int, value: Any) -> bytes:
        return sealed([*request[:at], value, *request[at + 1 :]])

    whole = sealed(request)
    yield "right", whole, VALID, "a person with one device asks", facts
    yield (
        "other-invite",
        whole,
        "request_tag",
        "it answers another",
        facts | {"invite": STRANGER.public.hex()},
    )
    yield "other-channel", whole, "request_tag", "in another channel", facts | {"channel": fixed("x").hex()}
    for name, data, rule, why in (
        ("empty", b"", "request_size", "no bytes"),
        ("too-large", b"\1" + bytes(limits.REQUEST_BYTES_MAX), "request_size", "by one"),
        ("version", b"\2" + whole[1:], "request_version", "a version of the future"),
        ("tag", flipped(whole, 1), "request_tag", "one bit of the tag"),
        ("nonce", flipped(whole, 17), "request_open", "one bit of the nonce"),
        ("flipped", flipped(whole, 400), "request_open", "one bit"),
        ("channel-inside", but(0, fixed("x")), "request_tag", "inside, another channel"),
        ("invite-inside", but(2, STRANGER.public), "request_tag", "inside, another invite"),
        ("proof", but(3, join_proof(INVITE, CHANNEL, IdentityId(STRANGER.public))), "request_proof", "of another"),
        ("proof-empty", but(3, b""), "request_proof", "no proof"),
        ("card", but(1, [2, *request[1][1:]]), "card_version", "the card's rules hold here too"),
        ("name-too-long", but(4, "n" * 257), "request_structure", "by one"),
        ("time", but(5, 1 << 43), "request_structure", "beyond 2248"),
        ("shorter", sealed(request[:-1]), "request_structure", "no field may be missing"),
        ("device", sealed(request, device=STRANGER), "request_device", "signed by a device not on the card"),
        ("label", sealed(request, label=Label.JOIN), "request_signature", "a signature of something else"),
        ("array16", encrypted(packed(frame(b"\xdc\x00\x03" + signed(request)[1:]))),
         "request_structure_not_canonical", "the length in two bytes"),
    ):  # fmt: skip
        yield name, data, rule, why, facts
    yield from packings(encrypted, "request", signed(request), facts)


COMMITS = [b"first commit", b"second commit"]


def bundles() -> Iterator[Case]:
    salt = fixed("bundle salt")
    header = b"\1" + bundle_tag(KEY, CHANNEL) + salt
    facts = {"key": KEY.reveal().hex(), "channel": CHANNEL.hex(), "commits": [one.hex() for one in COMMITS]}

    def sealed(plain: bytes) -> bytes:
        key = derive_key(KEY.reveal(), Label.BUNDLE, salt=salt + CHANNEL)
        return header + aead.encrypt(key, bytes(12), plain, header)

    whole = sealed(packed(frame(raw(COMMITS))))
    yield "right", whole, VALID, "two commits", facts
    yield "none", sealed(packed(frame(raw([])))), VALID, "no commits", facts | {"commits": []}
    yield "other-epoch", whole, "bundle_tag", "another epoch's key", facts | {"key": PARENT.reveal().hex()}
    yield "other-channel", whole, "bundle_tag", "another channel", facts | {"channel": fixed("x").hex()}
    for name, data, rule, why in (
        ("empty", b"", "bundle_size", "no bytes"),
        ("short", whole[:64], "bundle_size", "shorter than an empty one"),
        ("version", b"\2" + whole[1:], "bundle_version", "a version of the future"),
        ("tag", flipped(whole, 16), "bundle_tag", "one bit of the tag"),
        ("salt", flipped(whole, 17), "bundle_open", "one bit of the salt"),
        ("flipped", flipped(whole, 60), "bundle_open", "one bit"),
        ("truncated", whole[:-1], "bundle_open", "a byte less"),
        ("text", sealed(packed(frame(raw(["text"])))), "bundle_commits", "text where bytes belong"),
        ("number", sealed(packed(frame(raw(1)))), "bundle_commits", "a list"),
        ("too-many", sealed(packed(frame(b"\xdd\x00\x01\x00\x01"))), "bundle_commits", "65,537 are promised"),
        (
            "array16",
            sealed(packed(frame(b"\xdc\x00\x00"))),
            "bundle_commits_not_canonical",
            "two bytes of length",
        ),
    ):
        yield name, data, rule, why, facts
    yield from packings(sealed, "bundle", raw(COMMITS), facts)


def welcomes() -> Iterator[Case]:
    tag, content = recipient_tag(SEALING), fixed("content key")
    entry = tag + sealed_once("welcome", content, Label.WELCOME.encode() + tag)
    other = fixed("another's tag", 16) + fixed("another's key", 1168)
    facts = {"seed": SEALING_SEED.hex(), "channel": CHANNEL.hex(), "commits": [one.hex() for one in COMMITS]}
    body = raw([CHANNEL, COMMITS])

    def sealed(plain: bytes, entries: tuple[bytes, ...] = (other, entry)) -> bytes:
        header = bytes([1, len(entries)]) + b"".join(entries)
        return header + aead.encrypt(content, bytes(12), plain, header)

    whole = sealed(packed(frame(body)))
    yield "right", whole, VALID, "for two devices; we have the second's key", facts
    yield "not-ours", whole, "welcome_not_ours", "for others", facts | {"seed": fixed("x").hex()}
    for name, data, rule, why in (
        ("empty", b"", "welcome_size", "no bytes"),
        ("truncated-header", whole[:2000], "welcome_size", "shorter than its recipients"),
        ("version", b"\2" + whole[1:], "welcome_version", "a version of the future"),
        ("recipients-none", b"\1\0" + whole[2:], "welcome_recipients", "for nobody"),
        ("recipients-too-many", b"\1\x22" + whole[2:], "welcome_recipients", "34"),
        ("seal-flipped", flipped(whole, 2 + 1184 + 16 + 5), "sealing_open", "one bit of our seal"),
        ("other-flipped", flipped(whole, 100), "welcome_open", "one bit of another's"),
        ("flipped", flipped(whole, len(whole) - 20), "welcome_open", "one bit of the content"),
        ("channel-short", sealed(packed(frame(raw([b"c", COMMITS])))), "welcome_structure", "32 bytes"),
        ("shorter", sealed(packed(frame(raw([CHANNEL])))), "welcome_structure", "no field may be missing"),
        (
            "array16",
            sealed(packed(frame(b"\xdc\x00\x02" + body[1:]))),
            "welcome_structure_not_canonical",
            "two bytes",
        ),
    ):
        yield name, data, rule, why, facts
    yield from packings(sealed, "welcome", body, facts)


def bundle_files() -> Iterator[Case]:
    records = [
        Record(Kind.WELCOME, b"w"),
        Record(Kind.BUNDLE, b"bundle"),
        Record(Kind.REQUEST, b""),
        Record(Kind.KEPT, b"k"),
    ]
    whole = b"".join(write_bundle_file(records))
    facts = {"records": [[int(kind), data.hex()] for kind, data in records]}
    empty = b"".join(write_bundle_file([]))
    first, second = len(bundle_file.START), len(bundle_file.START) + 18

    def without(*places: int) -> dict[str, Any]:
        return {"records": [one for place, one in enumerate(facts["records"]) if place not in places]}

    yield "right", whole, VALID, "one record of each kind", facts
    yield "nothing", empty, VALID, "nothing to carry", {"records": []}
    yield "empty", b"", "file_magic", "no bytes", {"records": []}
    yield "archive", b"PK\3\4" + bytes(40), "file_magic", "another file", {"records": []}
    yield (
        "newlines-mangled",
        whole.replace(b"\n", b"\r\n"),
        "file_magic",
        "a copy in text mode",
        {"records": []},
    )
    yield (
        "version",
        whole[:9] + b"\2" + whole[10:],
        "file_version",
        "a version of the future",
        {"records": []},
    )
    yield "flipped", flipped(whole, second + 9), "record_damaged", "the others are read", without(1)
    yield "check-flipped", flipped(whole, first + 10), "record_damaged", "the others are read", without(0)
    yield (
        "length-flipped",
        flipped(whole, second + 4),
        "file_framing",
        "what is before is read",
        without(1, 2, 3),
    )
    yield "truncated", whole[:-1], "file_truncated", "every record is read", facts
    yield "cut-between", whole[:second], "file_truncated", "the end record is missing", without(1, 2, 3)
    parts = [b"".join(bundle_file._framed(*one)) for one in [(2, b"a"), (9, b"new"), (0, b"\0\0\0\2")]]
    unknown = bundle_file.START + b"".join(parts)
    yield (
        "kind-unknown",
        unknown,
        "record_kind",
        "of a newer Quire; the others are read",
        {"records": [[2, b"a".hex()]]},
    )
    missing = bundle_file.START + parts[0] + parts[2]
    yield "record-missing", missing, "file_count", "two were written", {"records": [[2, b"a".hex()]]}
    yield "longer", whole + b"\0", "file_longer", "something after the end", facts


def link_codes() -> Iterator[Case]:
    code = LinkCode.generate(fixed_entropy("code")).text()
    yield "right", code.encode(), VALID, "as it is shown", {"text": code}
    yield "lower", code.lower().replace("-", " ").encode(), VALID, "any case, any spacing", {"text": code}
    yield "zeros", b"0000-0000-0000", VALID, "the least", {"text": "0000-0000-0000"}
    yield "look-alike", b"ooOO OooO oooo", VALID, "O is 0", {"text": "0000-0000-0000"}
    yield (
        "check",
        (code[:-1] + ("1" if code[-1] != "1" else "2")).encode(),
        "code_form",
        "the last letter is another",
    )
    yield "short", code[:-1].encode(), "code_form", "eleven letters"
    yield "letter-u", b"UUUU-UUUU-UUUU", "code_form", "no such letter"


def linkings() -> Iterator[Case]:
    """Message 2, as the new device meets it, and what it answers."""
    code = LinkCode.generate(fixed_entropy("code"))
    new = NewDevice(code, PHONE, SEALING, fixed_entropy("new"))
    old = OldDevice(code, WHO, 1_700_000_000_000, fixed_entropy("old"))
    one = new.start()
    two = old.answer(one)
    facts = {
        "code": code.text(), "device_seed": fixed("phone").hex(), "sealing_seed": SEALING_SEED.hex(), "entropy": "new",
        "first": one.hex(), "answer": new.offer(two).hex(),
    }  # fmt: skip
    yield "right", two, VALID, "the MAC holds; the answer is message 3", facts
    for name, data, rule, why in (
        ("mac", flipped(two, 40), "code_wrong", "another code, or somebody between"),
        ("sealed", flipped(two, 80), "linking_open", "one bit"),
        ("side", two[:2] + b"A" + two[3:], "linking_message", "an element of our own side"),
        ("element", two[:3] + bytes(32) + two[35:], "linking_message", "of small order"),
        ("reflected", one, "linking_out_of_turn", "our own message"),
        ("version", b"\2" + two[1:], "linking_version", "a version of the future"),
        ("empty", b"", "linking_message", "no bytes"),
    ):
        yield name, data, rule, why, facts


CHANNEL_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {
    "epoch": epochs, "link": links, "card": cards, "id": ids, "invite": invites, "request": requests, "bundle": bundles,
    "welcome": welcomes, "bundle_file": bundle_files, "link_code": link_codes, "linking": linkings,
}  # fmt: skip
