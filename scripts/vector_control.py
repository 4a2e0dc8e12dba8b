"""The scenarios of the golden vectors about control operations: one right one of each, and each rule broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.vectors import VALID
from vector_parts import CERTIFICATE, CREATED_MS, DEVICE, IDENTITY, SEALING, Case, fixed, raw

from quire.core import limits

ENTRY = [CERTIFICATE, SEALING]
CUT, LATER = [fixed("a", 10), 7], [b"\xff" * 10, 9]
KEY, PROOF, EPOCH, PARENT = fixed("invite"), fixed("proof", 64), fixed("epoch"), fixed("parent")
SEALED = [DEVICE.public, fixed("sealed", 1168)]
RIGHT: dict[str, list[Any]] = {
    "Create": [32, "channel", "general", fixed("nonce", 16), ENTRY, b"", "", ""],
    "Admit": [33, [ENTRY], 2, 0, KEY, PROOF],
    "SetRole": [34, IDENTITY.public, 3, [CUT]],
    "Remove": [35, IDENTITY.public, [CUT, LATER], True, "spam"],
    "Unban": [36, IDENTITY.public],
    "AddDevice": [37, ENTRY],
    "RevokeDevice": [38, DEVICE.public, [CUT]],
    "Policy": [39, "post", 3],
    "Invite": [40, KEY, 2, 1, CREATED_MS, 0, b"", False],
    "Uninvite": [41, KEY],
    "Ask": [42, [ENTRY], KEY, PROOF],
    "Decline": [43, IDENTITY.public],
    "Rotate": [44, EPOCH],
    "Seal": [45, EPOCH, [SEALED]],
    "Link": [46, EPOCH, PARENT, fixed("link", 60)],
    "Report": [47, EPOCH],
}
# A decoder may fill in a field that is missing at the end; then only comparing the encodings shows it.
LAST_HAS_DEFAULT = {"Create", "Admit", "SetRole", "Remove", "RevokeDevice", "Invite"}


def but(kind: str, **changes: Any) -> bytes:
    """The right operation of a kind with some fields (by number: `f3=`) changed."""
    values = list(RIGHT[kind])
    for field, value in changes.items():
        values[int(field[1:])] = value
    return raw(values)


def control_operations() -> Iterator[Case]:
    for kind, values in RIGHT.items():
        low = kind.lower()
        yield low, raw(values), VALID, f"a plain {kind}", {"type": kind}
        yield f"{low}-longer", raw([*values, None]), "operation_not_canonical", "one field more"
        shorter = "operation_not_canonical" if kind in LAST_HAS_DEFAULT else "operation"
        yield f"{low}-shorter", raw(values[:-1]), shorter, "the last field is missing"
    yield "control-tag-unknown", raw([48, EPOCH]), "operation", "a tag that is not assigned"
    wide = raw(RIGHT["Rotate"]).replace(b"\x92\x2c", b"\x92\xcc\x2c")
    yield "control-tag-uint8", wide, "operation", "the tag in two bytes"
    for name, kind, changes, expect, why in [*people(), *keys()]:
        yield f"{kind.lower()}-{name}", but(kind, **changes), expect, why


Change = tuple[str, str, dict[str, Any], str, str]


def people() -> list[Change]:
    many_cuts = [[number.to_bytes(10, "big"), 1] for number in range(limits.CUTS_MAX + 1)]
    devices = limits.DEVICES_PER_MEMBER_MAX
    far, reason = limits.TIME_MS_MAX + 1, limits.TOPIC_CHARS_MAX
    return [
        ("self", "Create", {"f1": "self", "f5": SEALING}, VALID, "a self-channel names a recovery key"),
        ("imported", "Create", {"f6": "slack", "f7": "C1"}, VALID, "an imported channel"),
        ("kind-unknown", "Create", {"f1": "forum"}, "channel_kind", "five kinds are known"),
        ("name-empty", "Create", {"f2": ""}, "name_length", "a channel has a name"),
        ("nonce-size", "Create", {"f3": bytes(15)}, "nonce_size", "a nonce is 16 bytes"),
        (
            "certificate-too-long",
            "Create",
            {"f4": [bytes(513), SEALING]},
            "certificate_size",
            "at most 512 bytes",
        ),
        ("sealing-size", "Create", {"f4": [CERTIFICATE, SEALING[1:]]}, "sealing_size", "1,216 bytes"),
        ("device-longer", "Create", {"f4": [*ENTRY, 0]}, "operation_not_canonical", "a field more"),
        ("self-without-recovery", "Create", {"f1": "self"}, "recovery_size", "nobody could recover it"),
        ("recovery", "Create", {"f5": SEALING}, "recovery_size", "only a self-channel has a recovery key"),
        ("source-quire", "Create", {"f6": "quire", "f7": "x"}, "origin_source", "no import is called quire"),
        ("key-too-long", "Create", {"f6": "slack", "f7": "k" * 513}, "origin_too_long", "by one"),
        ("without-invite", "Admit", {"f4": b"", "f5": b""}, VALID, "admitted by a person, not by an invite"),
        ("devices-most", "Admit", {"f1": [[b"", bytes(1216)]] * devices}, VALID, "at the limit"),
        ("devices-too-many", "Admit", {"f1": [[b"", bytes(1216)]] * (devices + 1)}, "device_count", "by one"),
        ("no-device", "Admit", {"f1": []}, "device_count", "a person has a device"),
        ("role-0", "Admit", {"f2": 0}, "role_range", "to have no role is to be removed"),
        ("role-6", "Admit", {"f2": 6}, "role_range", "above an owner is nobody"),
        ("history-date", "Admit", {"f3": CREATED_MS}, VALID, "reads from a date on"),
        ("history-negative", "Admit", {"f3": -1}, "history_range", "before 1970"),
        ("history-too-late", "Admit", {"f3": far}, "history_range", "beyond 2248"),
        ("invite-size", "Admit", {"f4": KEY[1:]}, "invite_key_size", "a public key is 32 bytes"),
        (
            "invite-without-proof",
            "Admit",
            {"f5": b""},
            "invite_proof_size",
            "an invite is answered by a proof",
        ),
        ("proof-without-invite", "Admit", {"f4": b""}, "invite_proof_size", "a proof of nothing"),
        ("without-cuts", "SetRole", {"f3": []}, VALID, "a higher role cuts nothing"),
        ("identity-size", "SetRole", {"f1": bytes(31)}, "identity_size", "a public key is 32 bytes"),
        ("role-0", "SetRole", {"f2": 0}, "role_range", "that is what Remove is for"),
        ("cuts-unordered", "SetRole", {"f3": [LATER, CUT]}, "cuts_order", "ascending by prefix"),
        ("cuts-repeated", "SetRole", {"f3": [CUT, CUT]}, "cuts_order", "one cut for a log"),
        ("cut-prefix-short", "SetRole", {"f3": [[bytes(9), 1]]}, "cut_form", "a prefix is 10 bytes"),
        ("cut-seq-0", "SetRole", {"f3": [[bytes(10), 0]]}, "cut_form", "a log not named is cut whole"),
        ("cut-seq-too-large", "SetRole", {"f3": [[bytes(10), 1 << 32]]}, "cut_form", "four bytes"),
        ("cut-longer", "SetRole", {"f3": [[*CUT, 0]]}, "operation_not_canonical", "a field more"),
        ("identity-size", "Remove", {"f1": b""}, "identity_size", "a public key is 32 bytes"),
        ("cuts-most", "Remove", {"f2": many_cuts[1:]}, VALID, "at the limit"),
        ("cuts-too-many", "Remove", {"f2": many_cuts}, "too_many_cuts", "by one"),
        ("ban-number", "Remove", {"f3": 1}, "operation", "1 is not true"),
        ("reason-too-long", "Remove", {"f4": "r" * (reason + 1)}, "reason_too_long", "by one"),
        ("identity-size", "Unban", {"f1": bytes(33)}, "identity_size", "a public key is 32 bytes"),
        ("sealing-size", "AddDevice", {"f1": [CERTIFICATE, b""]}, "sealing_size", "1,216 bytes"),
        ("device-size", "RevokeDevice", {"f1": bytes(16)}, "device_id_size", "a public key is 32 bytes"),
        ("unknown", "Policy", {"f1": "shout"}, "policy_unknown", "a policy that is not known"),
        ("too-low", "Policy", {"f2": 1}, "policy_range", "guests only read"),
        ("too-high", "Policy", {"f2": 6}, "policy_range", "above an owner is nobody"),
        ("rotation", "Policy", {"f1": "rotation", "f2": 3_600_000}, VALID, "an hour, the least"),
        ("rotation-too-often", "Policy", {"f1": "rotation", "f2": 3_599_999}, "policy_range", "by one"),
        ("key-size", "Invite", {"f1": b""}, "invite_key_size", "a public key is 32 bytes"),
        ("role-0", "Invite", {"f2": 0}, "role_range", "an invite gives a role"),
        ("any-number", "Invite", {"f3": 0, "f4": 0}, VALID, "any number of people, for ever"),
        ("uses-too-many", "Invite", {"f3": limits.INVITE_USES_MAX + 1}, "invite_uses_range", "by one"),
        ("expires-too-late", "Invite", {"f4": far}, "time_range", "beyond 2248"),
        ("history-too-late", "Invite", {"f5": far}, "history_range", "beyond 2248"),
        ("personal", "Invite", {"f6": IDENTITY.public, "f7": True}, VALID, "for one person, once agreed to"),
        ("identity-size", "Invite", {"f6": bytes(31)}, "identity_size", "a public key is 32 bytes"),
        ("key-size", "Uninvite", {"f1": KEY + b"\0"}, "invite_key_size", "a public key is 32 bytes"),
        ("no-device", "Ask", {"f1": []}, "device_count", "a person has a device"),
        ("invite-empty", "Ask", {"f2": b""}, "invite_key_size", "who asks holds an invite"),
        ("proof-size", "Ask", {"f3": PROOF[:63]}, "invite_proof_size", "a signature is 64 bytes"),
        ("identity-size", "Decline", {"f1": b""}, "identity_size", "a public key is 32 bytes"),
    ]


def keys() -> list[Change]:
    most = limits.SEALS_PER_OPERATION_MAX
    return [
        ("epoch-size", "Rotate", {"f1": bytes(31)}, "epoch_size", "an epoch's name is 32 bytes"),
        ("epoch-size", "Report", {"f1": b""}, "epoch_size", "an epoch's name is 32 bytes"),
        ("epoch-size", "Seal", {"f1": bytes(33)}, "epoch_size", "an epoch's name is 32 bytes"),
        ("none", "Seal", {"f2": []}, "seal_count", "sealed to nobody"),
        ("most", "Seal", {"f2": [[bytes(32), bytes(1168)]] * most}, VALID, "at the limit"),
        ("too-many", "Seal", {"f2": [[bytes(32), bytes(1168)]] * (most + 1)}, "seal_count", "by one"),
        ("recipient-size", "Seal", {"f2": [[b"", SEALED[1]]]}, "recipient_size", "a public key is 32 bytes"),
        ("sealed-size", "Seal", {"f2": [[SEALED[0], SEALED[1][1:]]]}, "sealed_size", "1,168 bytes"),
        ("key-longer", "Seal", {"f2": [[*SEALED, 0]]}, "operation_not_canonical", "a field more"),
        ("epoch-size", "Link", {"f1": b""}, "epoch_size", "an epoch's name is 32 bytes"),
        ("parent-size", "Link", {"f2": b""}, "epoch_size", "an epoch's name is 32 bytes"),
        ("to-itself", "Link", {"f2": EPOCH}, "link_to_itself", "a key under itself"),
        ("size", "Link", {"f3": bytes(59)}, "link_size", "nonce, key and tag: 60 bytes"),
    ]
