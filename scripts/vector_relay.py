"""The scenarios of the golden vectors about what lies in a relay's mailboxes, and what is announced on a local network.

Sealed ones are built by hand: packing, sealing and the array inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors import VALID
from vector_parts import CHANNEL, DEVICE, INCARNATION, Case, fixed, raw

from quire.core.bundle import bundle_tag
from quire.core.crypto import aead
from quire.core.crypto.beacons import beacon_tag, invite_beacon, link_beacon, member_beacon
from quire.core.crypto.epochs import EpochKey
from quire.core.crypto.keys import Label, derive_key
from quire.core.ids import ChannelId
from quire.core.limits import NEED_HEIGHTS_MAX
from quire.core.packing import packed
from quire.core.relay_items import PARTS_MAX

KEY, ID = EpochKey(fixed("epoch key")), ChannelId(CHANNEL)
LOG: list[Any] = [DEVICE.public, INCARNATION, b"", 9, fixed("commit"), [[2, 3]]]
RECORD = b"\x02" + fixed("a record", 200)  # kind and bytes
CUT = 150


def parts() -> Iterator[Case]:
    """Items that are parts of one record."""
    whole = hashlib.sha256(RECORD).digest()[:16]

    def part(number: int, count: int, data: bytes, of: bytes = whole) -> bytes:
        return b"\x20" + of + number.to_bytes(2, "big") + count.to_bytes(2, "big") + data

    first, last = part(0, 2, RECORD[:CUT]), part(1, 2, RECORD[CUT:])
    facts = {"record_kind": 2, "record": RECORD[1:].hex()}
    yield "two", raw([first, last]), VALID, "a record in two items", facts
    yield "two-turned-round", raw([last, first]), VALID, "in any order", facts
    yield "one", raw([part(0, 1, RECORD)]), VALID, "a part that is the whole", facts
    rule = "item_part"
    yield "empty", raw([part(0, 1, b"")]), rule, "a part of nothing"
    yield "short", raw([first[:20]]), rule, "a head that is cut"
    yield "other-kind", raw([b"\x02" + first[1:]]), rule, "a bundle by its kind"
    yield "beyond", raw([part(2, 2, RECORD)]), rule, "the third of two"
    yield "too-many", raw([part(0, PARTS_MAX + 1, RECORD)]), rule, "one more than a record has"
    rule = "item_parts"
    yield "flipped", raw([first, part(1, 2, RECORD[CUT:-1] + bytes([RECORD[-1] ^ 1]))]), rule, "one bit"
    yield "other-name", raw([part(0, 1, RECORD, fixed("another", 16))]), rule, "the name of another record"
    strange = b"\x63" + RECORD[1:]
    name = hashlib.sha256(strange).digest()[:16]
    yield "kind-unknown", raw([part(0, 1, strange, name)]), rule, "whole, and of no kind that there is"


def needs() -> Iterator[Case]:
    """What a device has, sealed under an epoch's key."""
    facts = {"epoch_key": fixed("epoch key").hex(), "channel": CHANNEL.hex()}
    salt = fixed("need salt")
    header = b"\x21\x01" + bundle_tag(KEY, ID) + salt
    key = derive_key(KEY.reveal(), Label.NEED, salt=salt + CHANNEL)

    def sealed(values: Any, head: bytes = header) -> bytes:
        inner = values if isinstance(values, bytes) else raw(values)
        return head + aead.encrypt(key, aead.ZERO_NONCE, packed(inner), head)

    right = sealed([DEVICE.public, [LOG]])
    yield "right", right, VALID, "a device with one log", facts | {"device": DEVICE.public.hex(), "logs": 1}
    yield (
        "nothing",
        sealed([DEVICE.public, []]),
        VALID,
        "a device with none",
        facts | {"device": DEVICE.public.hex(), "logs": 0},
    )
    rule = "need_form"
    yield "short", right[:50], rule, "a head that is cut", facts
    yield "version-2", sealed([DEVICE.public, []], b"\x21\x02" + header[2:]), rule, "of the future", facts
    yield "other-kind", b"\x22" + right[1:], rule, "a mark by its kind", facts
    rule = "need_open"
    yield "flipped", right[:-1] + bytes([right[-1] ^ 1]), rule, "one bit", facts
    yield "salt-flipped", right[:20] + bytes([right[20] ^ 1]) + right[21:], rule, "one bit of the salt", facts
    yield (
        "other-channel",
        right,
        rule,
        "read as of another",
        facts | {"channel": fixed("another channel").hex()},
    )
    yield "no-array", sealed({"device": 1}), "need_structure", "a map", facts
    wide = b"\x92" + raw(DEVICE.public) + b"\xdc\x00\x00"
    yield "wide-array", sealed(wide), "need_structure_not_canonical", "no heights in three bytes", facts
    rule = "need_heights"
    yield "device-short", sealed([DEVICE.public[1:], [LOG]]), rule, "a byte less", facts
    yield (
        "gap-at-the-end",
        sealed([DEVICE.public, [[*LOG[:5], [[9, 9]]]]]),
        rule,
        "what is there is no gap",
        facts,
    )
    many = [[DEVICE.public, INCARNATION, b"", 1, fixed("commit"), []]] * (NEED_HEIGHTS_MAX + 1)
    yield "too-many", sealed([DEVICE.public, many]), rule, "one more than may be", facts


def marks() -> Iterator[Case]:
    """That what has a name was put."""
    name = fixed("a welcome")
    yield "right", b"\x22" + name, VALID, "a mark", {"mark": name.hex()}
    yield "short", b"\x22" + name[1:], "mark_form", "a byte less"
    yield "long", b"\x22" + name + b"\0", "mark_form", "a byte more"
    yield "other-kind", b"\x21" + name, "mark_form", "a need by its kind"
    yield "empty", b"", "mark_form", "no bytes"


def beacons() -> Iterator[Case]:
    """The tag of an instance, under each key that makes one; and who does not know it by that."""
    instance, invite, place = fixed("instance", 16), fixed("invite's public key"), b"PLAC"
    kinds = {
        "member": ({"epoch_key": fixed("epoch key").hex(), "channel": CHANNEL.hex()}, member_beacon(KEY, ID)),
        "invite": ({"invite_key": invite.hex(), "channel": CHANNEL.hex()}, invite_beacon(invite, ID)),
        "place": ({"place": place.hex()}, link_beacon(place)),
    }
    for name, (facts, key) in kinds.items():
        tag = beacon_tag(key, instance)
        yield name, instance, VALID, f"by the key of a {name}", facts | {"tag": tag.hex()}
        strange = facts | {"tag": tag.hex()}
        yield (
            f"{name}-of-another",
            fixed("other instance", 16),
            "beacon_strange",
            "copied from another instance",
            strange,
        )
        yield (
            f"{name}-flipped",
            instance,
            "beacon_strange",
            "one bit",
            facts | {"tag": bytes([tag[0] ^ 1, *tag[1:]]).hex()},
        )
    facts = {"epoch_key": fixed("older key").hex(), "channel": CHANNEL.hex()}
    tag = beacon_tag(kinds["member"][1], instance)
    yield (
        "member-other-key",
        instance,
        "beacon_strange",
        "under the key of another epoch",
        facts | {"tag": tag.hex()},
    )


RELAY_SOURCES: dict[str, Callable[[], Iterator[Case]]] = {
    "relay_part": parts,
    "need": needs,
    "mark": marks,
    "beacon": beacons,
}
