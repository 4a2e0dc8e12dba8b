"""The scenarios of the golden vectors: what is right, and every way to be wrong that has a name.

Here those of operations, commits and logs; scripts/vector_{control,keys,channels}.py have the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
from tests.vectors import VALID, Vector
from vector_archive import ARCHIVE_SOURCES
from vector_backup import BACKUP_SOURCES
from vector_channels import CHANNEL_SOURCES
from vector_control import control_operations
from vector_files import FILE_SOURCES
from vector_keys import KEY_SOURCES
from vector_parts import (
    CHANNEL,
    CREATE,
    CREATED_MS,
    DEVICE,
    ENTRY,
    IDENTITY,
    INCARNATION,
    PREFIX,
    SEALING,
    TARGET,
    TIME,
    Case,
    fixed,
    raw,
)
from vector_relay import RELAY_SOURCES
from vector_sync import SYNC_SOURCES

from quire.core import limits
from quire.core.commit import Commit as CommitBytes
from quire.core.commit import (
    build_head,
    channel_id,
    commit_id,
    commitment,
    content_root,
    encode_commit,
    to_be_signed,
)
from quire.core.control import Create
from quire.core.crypto.keys import SigningKey
from quire.core.ids import ChannelId, DeviceId, message_id
from quire.core.operation_form import encode_operation


def cases() -> Iterator[Vector]:
    """Every scenario."""
    for kind, source in SOURCES.items():
        for name, data, expect, why, *facts in source():
            yield Vector(kind, name, data, expect, why, facts[0] if facts else {})


# Operations

ORIGIN = ["slack", "U1", "1700000000.000100", CREATED_MS, None]
ATTACHMENT = ["notes.pdf", "https://example.org/notes.pdf", "application/pdf", 5120, None]
SEALED = [fixed("file id"), fixed("file key"), b""]
FILED = ["photo.jpg", "", "image/jpeg", 48_213, SEALED]
RIGHT: dict[str, list[Any]] = {  # one of each, as plain values
    "Post": [1, "hello", None, None, 0, 0, "", [], [], None],
    "Edit": [2, TARGET, TARGET, "hello again", None],
    "Delete": [3, TARGET, "wrong channel", None],
    "React": [4, TARGET, "👍", 0, None],
    "Unreact": [5, TARGET, "👍", None],
    "Pin": [6, TARGET, None],
    "Unpin": [7, TARGET, None],
    "Name": [8, "general"],
    "Topic": [9, "Everything else"],
    "Profile": [10, "", "", "Ada", False],
    "ReadMarker": [11, CHANNEL, TIME, TARGET],
    "Bookmark": [12, CHANNEL, TARGET],
    "Unbookmark": [13, CHANNEL, TARGET],
    "EpochKey": [14, CHANNEL, fixed("epoch"), fixed("epoch key")],
    "Contact": [15, IDENTITY.public, "Bob", True],
    "DeviceName": [16, DEVICE.public, "laptop"],
    "Erase": [17, [[TARGET, None, None, False]], [[fixed("edit", 16), TARGET]], "no longer true"],
}


def but(kind: str, **changes: Any) -> bytes:
    """The right operation of a kind with some fields (by number: `f3=`) changed."""
    values = list(RIGHT[kind])
    for field, value in changes.items():
        values[int(field[1:])] = value
    return raw(values)


def operations() -> Iterator[Case]:
    for kind, values in RIGHT.items():
        low = kind.lower()
        yield low, raw(values), VALID, f"a plain {kind}", {"type": kind}
        yield (
            f"{low}-longer",
            raw([*values, None]),
            "operation_not_canonical",
            "one field more than the type has",
        )
        shorter = "operation_not_canonical" if kind in LAST_HAS_DEFAULT else "operation"
        yield f"{low}-shorter", raw(values[:-1]), shorter, "the last field is missing"
    yield from operation_values()
    yield from operation_encodings()


# A decoder may fill in a field that is missing at the end; then only comparing the encodings shows it.
LAST_HAS_DEFAULT = {
    "Post",
    "Edit",
    "Delete",
    "React",
    "Unreact",
    "Pin",
    "Unpin",
    "Profile",
    "Contact",
    "Erase",
}


def operation_values() -> Iterator[Case]:
    """Right types, and values at their limits or one beyond."""
    post = {
        "body-longest": ({"f1": "a" * limits.BODY_BYTES_MAX}, VALID, "a body of exactly 1 MiB"),
        "body-too-long": ({"f1": "a" * (limits.BODY_BYTES_MAX + 1)}, "body_too_large", "one byte more"),
        "body-too-long-utf8": ({"f1": "é" * (limits.BODY_BYTES_MAX // 2 + 1)}, "body_too_large", "bytes count"),
        "body-empty": ({"f1": ""}, VALID, "an empty body is a message"),
        "body-nul": ({"f1": "a\0b"}, VALID, "NUL is a character like any other"),
        "body-not-normalised": ({"f1": "e\u0301"}, VALID, "text is not normalised: kept as written"),
        "root": ({"f2": TARGET, "f5": 2}, VALID, "a reply in a thread, shown in the channel too"),
        "root-size": ({"f2": TARGET[:15]}, "message_id_size", "a message id is 16 bytes"),
        "reply-to": ({"f3": TARGET}, VALID, "an answer outside any thread"),
        "reply-to-size": ({"f3": TARGET + b"\0"}, "message_id_size", "a message id is 16 bytes"),
        "reply-to-empty": ({"f3": b""}, "message_id_size", "none is nil, never empty bytes"),
        "notice": ({"f4": 6}, VALID, "the last kind of notice"),
        "notice-unknown": ({"f4": 7}, "notice_range", "one beyond the last"),
        "notice-negative": ({"f4": -1}, "notice_range", "numbers count from 0"),
        "flags": ({"f5": 3}, VALID, "both flags"),
        "flags-unknown": ({"f5": 4}, "flags_range", "an unknown flag is refused, not ignored"),
        "title-longest": ({"f6": "t" * limits.NAME_CHARS_MAX}, VALID, "a title at its limit"),
        "title-too-long": ({"f6": "t" * (limits.NAME_CHARS_MAX + 1)}, "title_too_long", "one more"),
        "title-on-reply": ({"f2": TARGET, "f6": "t"}, "title_on_reply", "a reply begins no thread"),
        "title-longest-wide": ({"f6": "字" * limits.NAME_CHARS_MAX}, VALID, "characters count, not bytes"),
        "attachment": ({"f7": [ATTACHMENT]}, VALID, "an attachment"),
        "attachments-most": ({"f7": [["", "", "", None, None]] * limits.ATTACHMENTS_MAX}, VALID, "at the limit"),
        "attachments-too-many": (
            {"f7": [["", "", "", None, None]] * (limits.ATTACHMENTS_MAX + 1)}, "too_many_attachments", "one more",
        ),
        "attachment-name-too-long": (
            {"f7": [["n" * (limits.ATTACHMENT_TEXT_MAX + 1), "", "", None, None]]}, "attachment_text_too_long", "by one",
        ),
        "attachment-link-too-long": (
            {"f7": [["", "n" * (limits.ATTACHMENT_TEXT_MAX + 1), "", None, None]]}, "attachment_text_too_long", "by one",
        ),
        "attachment-size-negative": ({"f7": [["a", "", "", -1, None]]}, "attachment_size_range", "below 0"),
        "attachment-size-too-large": ({"f7": [["a", "", "", 1 << 63, None]]}, "attachment_size_range", "2^63"),
        "attachment-longer": ({"f7": [[*ATTACHMENT, 0]]}, "operation", "a field more"),
        "attachment-shorter": ({"f7": [ATTACHMENT[:4]]}, "operation_not_canonical", "a field less"),
        "file": ({"f7": [FILED]}, VALID, "an attachment with a sealed file of its own"),
        "file-preview": ({"f7": [[*FILED[:4], [*SEALED[:2], b"\xff\xd8\xff"]]]}, VALID, "with a small picture"),
        "file-largest": ({"f7": [[*FILED[:3], limits.FILE_BYTES_MAX, SEALED]]}, VALID, "at the limit"),
        "file-too-large": ({"f7": [[*FILED[:3], limits.FILE_BYTES_MAX + 1, SEALED]]}, "file_size_range", "by one"),
        "file-no-size": ({"f7": [[*FILED[:3], None, SEALED]]}, "file_size_range", "a file of unknown size"),
        "file-id-size": ({"f7": [[*FILED[:4], [b"short", *SEALED[1:]]]]}, "file_id_size", "an id is 32 bytes"),
        "file-key-size": ({"f7": [[*FILED[:4], [SEALED[0], bytes(31), b""]]]}, "file_key_size", "a key is 32 bytes"),
        "file-preview-too-large": (
            {"f7": [[*FILED[:4], [*SEALED[:2], bytes(limits.PREVIEW_BYTES_MAX + 1)]]]}, "preview_too_large", "by one",
        ),
        "file-shorter": ({"f7": [[*FILED[:4], SEALED[:2]]]}, "operation_not_canonical", "a field less"),
        "file-longer": ({"f7": [[*FILED[:4], [*SEALED, b""]]]}, "operation", "a field more"),
        "mentions": ({"f8": ["quire:" + IDENTITY.public.hex()]}, VALID, "a mention"),
        "mentions-too-many": ({"f8": ["a"] * (limits.MENTIONS_MAX + 1)}, "too_many_mentions", "by one"),
        "mention-too-long": ({"f8": ["a" * (limits.ORIGIN_CHARS_MAX + 1)]}, "origin_too_long", "by one"),
        "origin": ({"f9": ORIGIN}, VALID, "an imported message"),
        "origin-edited": ({"f9": [*ORIGIN[:4], CREATED_MS + 1]}, VALID, "marked as edited, older text lost"),
        "origin-longer": ({"f9": [*ORIGIN, 0]}, "operation", "a field more"),
        "origin-shorter": ({"f9": ORIGIN[:4]}, "operation_not_canonical", "a field less"),
        "origin-empty": ({"f9": ["", *ORIGIN[1:]]}, "origin_too_long", "a source has 1 to 256 characters"),
        "origin-source-too-long": ({"f9": ["s" * 257, *ORIGIN[1:]]}, "origin_too_long", "by one"),
        "origin-author-too-long": ({"f9": ["slack", "a" * 513, "", 0, None]}, "origin_too_long", "by one"),
        "origin-id-too-long": ({"f9": ["slack", "a", "i" * 513, 0, None]}, "origin_too_long", "by one"),
        "origin-quire": (
            {"f9": ["quire", IDENTITY.public.hex(), "", 0, None]}, "origin_source",
            "it would speak for a person of this system, who signed nothing",
        ),
        "origin-colon": ({"f9": ["slack:U", "1", "", 0, None]}, "origin_source", "two sources, one author key"),
        "origin-time-negative": ({"f9": [*ORIGIN[:3], -1, None]}, "time_range", "before 1970"),
        "origin-time-too-late": ({"f9": [*ORIGIN[:3], limits.TIME_MS_MAX + 1, None]}, "time_range", "beyond 2248"),
        "origin-edited-too-late": ({"f9": [*ORIGIN[:4], 1 << 43]}, "time_range", "beyond 2248"),
    }  # fmt: skip
    for name, (changes, expect, why) in post.items():
        yield f"post-{name}", but("Post", **changes), expect, why
    many = [["x" * 4096] * 3 + [None, None]] * 110
    yield (
        "post-too-large",
        but("Post", f7=many),
        "operation_too_large",
        "each field within its limit, not the whole",
    )

    longest = limits.TOPIC_CHARS_MAX
    forged = ["quire", IDENTITY.public.hex(), "", 0, None]
    yield "edit-target-size", but("Edit", f1=b"short"), "message_id_size", "a message id is 16 bytes"
    yield "edit-previous-size", but("Edit", f2=b""), "message_id_size", "a version is a message id"
    yield "edit-body-too-long", but("Edit", f3="a" * (limits.BODY_BYTES_MAX + 1)), "body_too_large", "by one"
    yield "edit-origin-quire", but("Edit", f4=forged), "origin_source", "an edit in somebody's name"
    yield "delete-target-size", but("Delete", f1=TARGET * 2), "message_id_size", "a message id is 16 bytes"
    yield "delete-reason-longest", but("Delete", f2="r" * longest), VALID, "a reason at its limit"
    yield "delete-reason-too-long", but("Delete", f2="r" * (longest + 1)), "reason_too_long", "by one"
    yield "delete-origin-quire", but("Delete", f3=forged), "origin_source", "a deletion in somebody's name"
    yield "react-emoji-empty", but("React", f2=""), "emoji_size", "a reaction has an emoji"
    yield "react-emoji-longest", but("React", f2="e" * limits.EMOJI_BYTES_MAX), VALID, "at its limit"
    yield "react-emoji-too-long", but("React", f2="e" * (limits.EMOJI_BYTES_MAX + 1)), "emoji_size", "by one"
    yield "react-emoji-too-long-utf8", but("React", f2="👍" * 33), "emoji_size", "bytes count"
    yield "react-target-size", but("React", f1=b""), "message_id_size", "a message id is 16 bytes"
    yield "react-unknown", but("React", f3=7, f4=ORIGIN), VALID, "seven people whom the format only counts"
    yield (
        "react-unknown-not-imported",
        but("React", f3=7),
        "unknown_people_not_imported",
        "nobody reacts seven times",
    )
    people = limits.ORIGIN_PEOPLE_MAX + 1
    yield "react-unknown-too-many", but("React", f3=people, f4=ORIGIN), "unknown_people_range", "by one"
    yield "react-unknown-negative", but("React", f3=-1, f4=ORIGIN), "unknown_people_range", "below 0"
    yield "unreact-emoji-empty", but("Unreact", f2=""), "emoji_size", "a reaction has an emoji"
    yield "pin-target-size", but("Pin", f1=TARGET[:10]), "message_id_size", "a message id is 16 bytes"
    yield "unpin-origin-time", but("Unpin", f2=[*ORIGIN[:3], -5, None]), "time_range", "before 1970"
    yield "name-empty", but("Name", f1=""), "name_length", "a channel has a name"
    yield "name-longest", but("Name", f1="n" * limits.NAME_CHARS_MAX), VALID, "at its limit"
    yield "name-too-long", but("Name", f1="n" * (limits.NAME_CHARS_MAX + 1)), "name_length", "by one"
    yield "topic-empty", but("Topic", f1=""), VALID, "an empty topic takes the topic away"
    yield "topic-too-long", but("Topic", f1="t" * (longest + 1)), "topic_too_long", "by one"
    yield "profile-imported", but("Profile", f1="slack", f2="U1", f4=True), VALID, "an imported bot"
    yield (
        "profile-origin-quire",
        but("Profile", f1="quire", f2=IDENTITY.public.hex()),
        "origin_source",
        "renames another",
    )
    yield "profile-source-too-long", but("Profile", f1="s" * 257), "origin_too_long", "by one"
    yield "profile-author-too-long", but("Profile", f1="slack", f2="a" * 513), "origin_too_long", "by one"
    yield "profile-name-too-long", but("Profile", f3="n" * 257), "name_length", "by one"
    yield "profile-bot-number", but("Profile", f4=0), "operation", "0 is not false"
    yield (
        "readmarker-channel-size",
        but("ReadMarker", f1=CHANNEL[:16]),
        "channel_id_size",
        "a channel id is 32 bytes",
    )
    yield "readmarker-message-size", but("ReadMarker", f3=b""), "message_id_size", "a message id is 16 bytes"
    yield "readmarker-time-negative", but("ReadMarker", f2=-1), "time_range", "before 1970"
    last = (limits.TIME_MS_MAX + 1) << 16
    yield "readmarker-time-latest", but("ReadMarker", f2=last - 1), VALID, "the last hybrid time there is"
    yield "readmarker-time-too-late", but("ReadMarker", f2=last), "time_range", "one more"
    yield (
        "bookmark-channel-size",
        but("Bookmark", f1=CHANNEL + b"\0"),
        "channel_id_size",
        "a channel id is 32 bytes",
    )
    yield (
        "unbookmark-message-size",
        but("Unbookmark", f2=CHANNEL),
        "message_id_size",
        "a message id is 16 bytes",
    )
    yield "epochkey-epoch-size", but("EpochKey", f2=bytes(31)), "epoch_size", "an epoch's name is 32 bytes"
    yield "epochkey-key-size", but("EpochKey", f3=b""), "key_size", "a key is 32 bytes"
    yield "contact-identity-size", but("Contact", f1=TARGET), "identity_size", "a public key is 32 bytes"
    yield from erasures()
    yield "devicename-device-size", but("DeviceName", f1=TARGET), "device_id_size", "a public key is 32 bytes"


def erasures() -> Iterator[Case]:
    """What an Erase may name."""
    one, two = sorted([fixed("edit", 16), TARGET])
    place = ["slack", "", "", CREATED_MS, None]
    many = sorted(fixed(f"erased {i}", 16) for i in range(limits.ERASED_PER_OPERATION_MAX + 1))
    plain = [None, None, False]
    cases = {
        "erase-reply": ({"f1": [[TARGET, one, None, False]], "f2": []}, VALID, "it was a reply in a thread"),
        "erase-imported": ({"f1": [[TARGET, None, place, False]], "f2": []}, VALID, "its time, no name"),
        "erase-first-text": ({"f1": [[TARGET, None, ORIGIN, True]], "f2": []}, VALID, "a later text goes on showing"),
        "erase-nothing-left": ({"f1": [], "f2": [[one, None]]}, VALID, "it leaves no place and is no version"),
        "erase-two": ({"f1": [[one, *plain], [two, *plain]], "f2": []}, VALID, "in order"),
        "erase-most": ({"f1": [[id, *plain] for id in many[:-1]], "f2": []}, VALID, "at the limit"),
        "erase-too-many": ({"f1": [[id, *plain] for id in many], "f2": []}, "too_many_erased", "by one"),
        "erase-too-many-together": (
            {"f1": [[id, *plain] for id in many[1:]], "f2": [[many[0], None]]}, "too_many_erased", "by one",
        ),
        "erase-nothing": ({"f1": [], "f2": []}, "erase_nothing", "it erases nothing"),
        "erase-unordered": ({"f1": [[two, *plain], [one, *plain]], "f2": []}, "erased_order", "ascending"),
        "erase-repeated": ({"f1": [[one, *plain], [one, *plain]], "f2": []}, "erased_order", "each once"),
        "erase-others-unordered": ({"f1": [], "f2": [[two, None], [one, None]]}, "erased_order", "ascending"),
        "erase-twice": ({"f1": [[one, *plain]], "f2": [[one, two]]}, "erased_twice", "two things of one"),
        "erase-id-size": ({"f1": [[TARGET[:15], *plain]], "f2": []}, "message_id_size", "16 bytes"),
        "erase-root-size": ({"f1": [[TARGET, b"", None, False]], "f2": []}, "message_id_size", "none is nil"),
        "erase-other-size": ({"f1": [], "f2": [[b"", None]]}, "message_id_size", "16 bytes"),
        "erase-message-size": ({"f1": [], "f2": [[one, b""]]}, "message_id_size", "none is nil"),
        "erase-origin-quire": (
            {"f1": [[TARGET, None, ["quire", "", "", 0, None], False]]}, "origin_source", "a place of another",
        ),
        "erase-reason-too-long": ({"f3": "r" * (limits.TOPIC_CHARS_MAX + 1)}, "reason_too_long", "by one"),
        "erase-stands-number": ({"f1": [[TARGET, None, None, 0]]}, "operation", "0 is not false"),
        "erase-place-longer": ({"f1": [[TARGET, *plain, 0]]}, "operation_not_canonical", "a field more"),
        "erase-place-shorter": ({"f1": [[TARGET]]}, "operation_not_canonical", "every field is written"),
        "erase-bare-id": ({"f1": [TARGET]}, "operation", "an id is not what is left of it"),
    }  # fmt: skip
    for name, (changes, expect, why) in cases.items():
        yield name, but("Erase", **changes), expect, why


def operation_encodings() -> Iterator[Case]:
    """Right values in wrong bytes, wrong types, and no MessagePack at all."""
    right = raw(RIGHT["Post"])
    pin = raw(RIGHT["Pin"])

    def with_body(body: bytes) -> bytes:
        return right.replace(b"\xa5hello", body)

    not_canonical = "operation_not_canonical"
    yield "array16", b"\xdc\x00\x0a" + right[1:], not_canonical, "the array's length in two bytes"
    yield "array32", b"\xdd\x00\x00\x00\x0a" + right[1:], not_canonical, "the array's length in four bytes"
    yield "tag-uint8", b"\x9a\xcc\x01" + right[2:], not_canonical, "the tag in two bytes"
    yield "tag-int8", b"\x9a\xd0\x01" + right[2:], not_canonical, "the tag as a signed number"
    yield "tag-uint64", b"\x9a\xcf" + bytes(7) + b"\x01" + right[2:], not_canonical, "the tag in nine bytes"
    yield "str8", with_body(b"\xd9\x05hello"), not_canonical, "a short text with a length byte of its own"
    yield "str16", with_body(b"\xda\x00\x05hello"), not_canonical, "a short text with two length bytes"
    yield "str32", with_body(b"\xdb\x00\x00\x00\x05hello"), not_canonical, "a short text with four"
    yield (
        "bin16",
        pin.replace(b"\xc4\x10", b"\xc5\x00\x10"),
        not_canonical,
        "short bytes with two length bytes",
    )
    yield "bin32", pin.replace(b"\xc4\x10", b"\xc6\x00\x00\x00\x10"), not_canonical, "short bytes with four"
    yield (
        "time-uint64",
        but("ReadMarker", f2=5).replace(b"\x05\xc4", b"\xcf" + bytes(7) + b"\x05\xc4"),
        not_canonical,
        "5 in nine bytes",
    )

    yield "tag-unknown", raw([31, TARGET]), "operation", "a tag that is not assigned"
    yield "tag-zero", raw([0, "hello"]), "operation", "a tag that is not assigned"
    yield "tag-text", raw(["1", *RIGHT["Post"][1:]]), "operation", "a tag is a number"
    yield "tag-float", raw([1.0, *RIGHT["Post"][1:]]), "operation", "1.0 is not 1"
    yield "tag-missing", raw(RIGHT["Post"][1:]), "operation", "the body stands where the tag belongs"
    yield "map", raw({"type": 1, "body": "hello"}), "operation", "an operation is an array"
    yield "array-empty", b"\x90", "operation", "an operation has a tag"
    yield "nil", b"\xc0", "operation", "an operation is an array"
    yield "body-bytes", but("Post", f1=b"hello"), "operation", "bytes where text belongs"
    yield "body-nil", but("Post", f1=None), "operation", "nil where text belongs"
    yield "body-number", but("Post", f1=5), "operation", "a number where text belongs"
    yield "target-text", but("Pin", f1="a" * 16), "operation", "text where bytes belong"
    yield "target-nil", but("Pin", f1=None), "operation", "a target is never nil"
    yield "flags-float", but("Post", f5=1.0), "operation", "1.0 is not 1"
    yield "flags-true", but("Post", f5=True), "operation", "true is not 1"
    yield "flags-nil", but("Post", f5=None), "operation", "0 is 0, not nil"
    yield "attachments-nil", but("Post", f7=None), "operation", "none is an empty array"
    yield "attachments-map", but("Post", f7={}), "operation", "none is an empty array"
    yield "origin-map", but("Post", f9={"source": "slack"}), "operation", "an origin is an array"
    yield "number-too-large", but("Post", f5=2**64 - 1), "flags_range", "the largest number there is"
    yield "extension", with_body(b"\xd4\x01\x00"), "operation", "no extension types"

    yield "empty", b"", "operation", "no bytes"
    yield "truncated", right[:-1], "operation", "the last byte is missing"
    yield "truncated-text", right[:4], "operation", "the text ends early"
    yield "trailing-byte", right + b"\x00", "operation", "one byte too many"
    yield "trailing-operation", right + right, "operation", "two operations"
    yield "never-used-byte", b"\xc1", "operation", "MessagePack never uses c1"
    yield "text-not-utf8", with_body(b"\xa2\xff\xfe"), "operation", "no UTF-8"
    yield "text-surrogate", with_body(b"\xa3\xed\xa0\x80"), "operation", "half a surrogate pair is no UTF-8"
    yield "text-overlong", with_body(b"\xa2\xc0\x80"), "operation", "NUL in two bytes is no UTF-8"
    yield "text-beyond-unicode", with_body(b"\xa4\xf5\x80\x80\x80"), "operation", "beyond U+10FFFF"
    yield "text-promises-4-gib", b"\x9a\x01\xdb\xff\xff\xff\xff", "operation", "a length that is not there"
    yield "array-promises-4-gi", b"\xdd\xff\xff\xff\xff\x01", "operation", "a length that is not there"
    yield "nested", b"\x91" * 10_000, "operation", "arrays in arrays"
    yield "nested-in-field", right[:-1] + b"\x91" * 10_000, "operation", "arrays in arrays, in the last field"
    size = limits.OPERATION_BYTES_MAX + 1
    yield "too-large", bytes(size), "operation_too_large", "refused before it is looked at"


# Heads and commits

SALT = fixed("salt", 16)
SALTED = [SALT + CREATE]
ROOT = content_root(SALTED)
HEAD_FIELDS = [1, CHANNEL, DEVICE.public, INCARNATION, 1, b"", [], TIME, 1, ROOT]
HEAD_NAMES = (
    "version", "channel", "device", "incarnation", "seq", "previous", "control_heads", "time", "count", "root",
)  # fmt: skip


def head_with(**changes: Any) -> bytes:
    """The first head of a log, with some fields changed."""
    return raw([changes.get(name, value) for name, value in zip(HEAD_NAMES, HEAD_FIELDS, strict=True)])


def heads() -> Iterator[Case]:
    first = head_with()
    previous = commit_id(first)
    one, two = sorted([fixed("one"), fixed("two")])
    facts = {"id": previous.hex(), "log_prefix": PREFIX.hex()}
    yield "first", first, VALID, "the first commit of a log", facts
    yield "second", head_with(seq=2, previous=previous), VALID, "it names the first"
    yield "last", head_with(seq=limits.SEQ_MAX, previous=previous), VALID, "the last seq there is"
    yield "control-heads", head_with(control_heads=[one, two]), VALID, "two concurrent control commits"
    latest = ((limits.TIME_MS_MAX + 1) << 16) - 1
    yield "time-latest", head_with(time=latest), VALID, "the last hybrid time there is"
    wrong = {
        "version-0": ({"version": 0}, "head_version", "no such version"),
        "version-2": ({"version": 2}, "head_version", "a version of the future is refused, not guessed"),
        "channel-short": ({"channel": CHANNEL[:31]}, "channel_id_size", "a channel id is 32 bytes"),
        "device-long": ({"device": DEVICE.public + b"\0"}, "device_id_size", "a public key is 32 bytes"),
        "incarnation-short": ({"incarnation": bytes(15)}, "incarnation_size", "16 bytes"),
        "seq-0": ({"seq": 0}, "seq_range", "seq counts from 1"),
        "seq-negative": ({"seq": -1}, "seq_range", "seq counts from 1"),
        "seq-too-large": ({"seq": limits.SEQ_MAX + 1, "previous": previous}, "seq_range", "four bytes"),
        "first-with-previous": ({"previous": previous}, "previous_size", "nothing is before the first"),
        "second-without-previous": ({"seq": 2}, "previous_size", "the chain is broken"),
        "previous-short": ({"seq": 2, "previous": previous[:31]}, "previous_size", "an id is 32 bytes"),
        "control-heads-unordered": ({"control_heads": [two, one]}, "control_heads_order", "ascending"),
        "control-heads-repeated": ({"control_heads": [one, one]}, "control_heads_order", "each once"),
        "control-head-short": ({"control_heads": [one[:31]]}, "control_head_size", "an id is 32 bytes"),
        "control-heads-too-many": (
            {"control_heads": sorted(fixed(f"head {i}") for i in range(limits.CONTROL_HEADS_MAX + 1))},
            "too_many_control_heads", "by one",
        ),
        "time-negative": ({"time": -1}, "time_range", "before 1970"),
        "time-too-late": ({"time": latest + 1}, "time_range", "beyond 2248"),
        "count-0": ({"count": 0}, "count_range", "an empty commit says nothing"),
        "count-too-large": ({"count": limits.OPERATIONS_PER_COMMIT_MAX + 1}, "count_range", "two bytes of index"),
        "root-short": ({"root": ROOT[:31]}, "content_root_size", "a hash is 32 bytes"),
        "seq-float": ({"seq": 1.0}, "head", "1.0 is not 1"),
        "seq-nil": ({"seq": None}, "head", "every field is there"),
        "time-too-large": ({"time": 2**64 - 1}, "time_range", "the largest number there is"),
        "channel-text": ({"channel": "c" * 32}, "head", "text where bytes belong"),
        "control-heads-nil": ({"control_heads": None}, "head", "none is an empty array"),
    }  # fmt: skip
    for name, (changes, expect, why) in wrong.items():
        yield name, head_with(**changes), expect, why
    yield "longer", raw([*HEAD_FIELDS, 0]), "head_not_canonical", "one field more"
    yield "shorter", raw(HEAD_FIELDS[:-1]), "head", "no field may be missing"
    yield "version-uint8", first[:1] + b"\xcc\x01" + first[2:], "head_not_canonical", "1 in two bytes"
    yield "array16", b"\xdc\x00\x0a" + first[1:], "head_not_canonical", "the array's length in two bytes"
    yield "trailing-byte", first + b"\0", "head", "one byte too many"
    yield "truncated", first[:-1], "head", "the last byte is missing"
    yield "empty", b"", "head", "no bytes"
    yield "map", raw({"version": 1}), "head", "a head is an array"


def signed(head: bytes, operations: list[bytes]) -> bytes:
    return encode_commit(CommitBytes(head, DEVICE.sign(to_be_signed(head)), tuple(operations)))


def commits() -> Iterator[Case]:
    head = head_with()
    signature = DEVICE.sign(to_be_signed(head))
    whole = signed(head, SALTED)
    post = raw(RIGHT["Post"])
    batch = [fixed(f"salt {i}", 16) + post for i in range(3)]
    following = build_head(
        channel=ChannelId(CHANNEL), device=DeviceId(DEVICE.public), incarnation=INCARNATION, seq=2,
        previous=commit_id(head), control_heads=[commit_id(head)], time=TIME + 1, salted=batch,
    )  # fmt: skip
    yield "first", whole, VALID, "founds a channel", {"id": commit_id(head).hex()}
    yield "second", signed(following, batch), VALID, "three operations", {"id": commit_id(following).hex()}
    yield "count-differs", signed(head, SALTED * 2), "count_differs", "the head says 1"
    yield "operations-missing", signed(head, []), "count_differs", "the head says 1"
    yield (
        "operation-changed",
        raw([head, signature, [SALT + CREATE[:-1] + b"\xa1x"]]),
        "content_root_differs",
        "a byte",
    )
    yield "salt-changed", raw([head, signature, [bytes(16) + CREATE]]), "content_root_differs", "another salt"
    swapped = [batch[1], batch[0], batch[2]]
    yield (
        "operations-swapped",
        signed(following, swapped),
        "content_root_differs",
        "order is part of the content",
    )
    yield "operation-empty", raw([head, signature, [SALT]]), "operation_empty", "a salt and nothing after it"
    yield "salt-short", raw([head, signature, [b"\0"]]), "operation_empty", "less than a salt"
    yield "signature-short", raw([head, signature[:63], SALTED]), "signature_size", "64 bytes"
    yield "signature-empty", raw([head, b"", SALTED]), "signature_size", "64 bytes"
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    yield "signature-flipped", raw([head, flipped, SALTED]), "commit_signature", "one bit"
    bare = DEVICE.sign(head)
    yield (
        "signature-without-label",
        raw([head, bare, SALTED]),
        "commit_signature",
        "a signature of something else",
    )
    other = IDENTITY.sign(to_be_signed(head))
    yield (
        "signature-of-another",
        raw([head, other, SALTED]),
        "commit_signature",
        "by the identity, not the device",
    )
    yield (
        "signature-not-reduced",
        raw([head, not_reduced(signature), SALTED]),
        "commit_signature",
        "S + L, RFC 8032 5.1.7",
    )
    yield (
        "head-version",
        signed(head_with(version=2), SALTED),
        "head_version",
        "the head's rules hold here too",
    )
    yield "head-text", raw([head.hex(), signature, SALTED]), "commit", "text where bytes belong"
    yield (
        "head-array",
        raw([HEAD_FIELDS, signature, SALTED]),
        "commit",
        "a head is bytes: what is signed is kept",
    )
    yield (
        "head-not-canonical",
        signed(head[:1] + b"\xcc\x01" + head[2:], SALTED),
        "head_not_canonical",
        "inside, too",
    )
    yield "longer", raw([head, signature, SALTED, None]), "commit", "a fourth field is a list of commitments"
    yield from holes(head, signature, following, batch)
    yield "shorter", raw([head, signature]), "commit", "no field may be missing"
    yield "array16", b"\xdc\x00\x03" + whole[1:], "commit_not_canonical", "the array's length in two bytes"
    yield (
        "head-bin16",
        whole[:1] + b"\xc5\x00" + whole[2:],
        "commit_not_canonical",
        "short bytes, two length bytes",
    )
    yield "operations-map", raw([head, signature, {}]), "commit", "operations are an array"
    yield "operation-nil", raw([head, signature, [None]]), "commit", "erased is not nil"
    yield "trailing-byte", whole + b"\0", "commit", "one byte too many"
    yield "truncated", whole[:-1], "commit", "the last byte is missing"
    yield "empty", b"", "commit", "no bytes"
    yield "nested", b"\x91" * 10_000, "commit", "arrays in arrays"
    yield (
        "too-large",
        bytes(limits.COMMIT_BYTES_MAX + 1),
        "commit_too_large",
        "refused before it is looked at",
    )


def holes(head: bytes, signature: bytes, following: bytes, batch: list[bytes]) -> Iterator[Case]:
    """Commits with bytes of some operations destroyed; the one called following has three."""
    signed_by = DEVICE.sign(to_be_signed(following))
    first, second, third = (commitment(one) for one in batch)
    facts = {"id": commit_id(following).hex()}

    def case(name: str, operations: list[bytes], gone: list[bytes], expect: str, why: str) -> Case:
        return f"holes-{name}", raw([following, signed_by, operations, gone]), expect, why

    yield *case("first", [b"", *batch[1:]], [first], VALID, "the first of three is gone"), facts
    yield *case("two", [b"", batch[1], b""], [first, third], VALID, "two are gone, in order"), facts
    yield *case("all", [b"", b"", b""], [first, second, third], VALID, "nothing but commitments"), facts
    yield case("none", batch, [], "holes_none", "a commit without holes has three fields")
    yield case("none-named", batch, [first], "holes_none", "a commitment of what is there")
    yield case("unnamed", [b"", *batch[1:]], [], "holes_count", "a hole without its commitment")
    yield case("too-many", [b"", *batch[1:]], [first, second], "holes_count", "a commitment too many")
    yield case("too-few", [b"", b"", batch[2]], [first], "holes_count", "two holes, one commitment")
    yield case(
        "swapped", [b"", b"", batch[2]], [second, first], "content_root_differs", "in order of the holes"
    )
    yield case("another", [b"", *batch[1:]], [second], "content_root_differs", "of another operation")
    yield case(
        "moved", [batch[1], b"", batch[2]], [first], "content_root_differs", "an operation in another's place"
    )
    yield case("short", [b"", *batch[1:]], [first[:31]], "hole_size", "a hash is 32 bytes")
    yield case("long", [b"", *batch[1:]], [first + b"\0"], "hole_size", "a hash is 32 bytes")
    yield case("empty", [b"", *batch[1:]], [b""], "hole_size", "a hash is 32 bytes")
    yield case("salt-left", [batch[0][:16], *batch[1:]], [first], "operation_empty", "the salt goes too")
    yield case("count", [b"", *batch[1:], b""], [first, third], "count_differs", "the head says 3")
    yield "holes-nil", raw([head, signature, [None], [commitment(SALTED[0])]]), "commit", "a hole is not nil"
    yield "holes-text", raw([head, signature, [b""], ["x" * 32]]), "commit", "text where bytes belong"
    yield "holes-map", raw([head, signature, [b""], {}]), "commit", "commitments are an array"
    whole = raw([following, signed_by, [b"", *batch[1:]], [first]])
    yield (
        "holes-longer",
        raw([*msgspec.msgpack.decode(whole), None]),
        "commit_not_canonical",
        "one field more",
    )
    yield "holes-array16", b"\xdc\x00\x04" + whole[1:], "commit_not_canonical", "the length in two bytes"
    yield (
        "holes-flipped",
        whole[:-1] + bytes([whole[-1] ^ 1]),
        "content_root_differs",
        "one bit of a commitment",
    )


def not_reduced(signature: bytes) -> bytes:
    """The same signature with the group's order added to S: valid to a careless verifier."""
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(signature[32:], "little") + order
    return signature[:32] + s.to_bytes(32, "little")


# Message ids as people write them


def message_ids() -> Iterator[Case]:
    id = message_id(bytes(range(10)), 1042, 17)
    facts = {
        "id": id.hex(),
        "text": "aaaqeayeaudaocaj-1042.17",
        "prefix": "aaaqeayeaudaocaj",
        "seq": 1042,
        "index": 17,
    }
    yield "whole", facts["text"].encode(), VALID, "base32 of the log prefix, seq, index", facts
    short = {"prefix": "aaaq", "seq": 1042, "index": 17}
    yield "short", b"aaaq-1042.17", VALID, "the start of the prefix is enough", short
    yield "upper-case", b" AAAQ-1042.17 ", VALID, "case and space around do not matter", short
    yield "largest", b"a-4294967295.65535", VALID, "the last place there is"
    for name, text, why in (
        ("empty", "", "no text"), ("no-dash", "aaaq1042.17", "no dash"), ("no-dot", "aaaq-1042", "no index"),
        ("no-prefix", "-1042.17", "no prefix"), ("prefix-long", "a" * 17 + "-1.0", "more than a prefix has"),
        ("seq-0", "aaaq-0.0", "seq counts from 1"), ("seq-too-large", "aaaq-4294967296.0", "four bytes"),
        ("index-too-large", "aaaq-1.65536", "two bytes"), ("seq-negative", "aaaq--1.0", "a minus is no digit"),
        ("seq-hex", "aaaq-1f.0", "decimal"), ("arabic-digits", "aaaq-١.0", "ASCII digits only"),
        ("seq-very-long", "aaaq-" + "9" * 5000 + ".0", "refused before it is a number"),
    ):  # fmt: skip
        yield name, text.encode(), "message_id_form", why


# Chains: commits in order of arrival


class Log:
    """A channel and its founder's log, all of it made from one name."""

    def __init__(self, name: str, kind: str = "channel") -> None:
        self.name = name
        self.create = encode_operation(
            Create(kind, "general", fixed(f"nonce {name}", 16), ENTRY, SEALING if kind == "self" else b"")
        )
        self.channel = channel_id(self.create)
        self.incarnation = fixed(f"incarnation {name}", 16)
        self.genesis = self.commit(1, b"", [self.create], heads=[])
        self.first = head_id(self.genesis)

    def commit(self, seq: int, previous: bytes, operations: list[bytes], **but: Any) -> bytes:
        """A commit of this log; `but` replaces what its head would say, or who signs."""
        salted = [fixed(f"salt {self.name} {seq} {i}", 16) + one for i, one in enumerate(operations)]
        key: SigningKey = but.get("key", DEVICE)
        head = raw(
            [
                1, but.get("channel", self.channel), but.get("device", DEVICE.public), self.incarnation, seq, previous,
                but.get("heads", [self.first] if seq > 1 else []), but.get("time", TIME + seq), len(salted),
                content_root(salted),
            ]
        )  # fmt: skip
        return encode_commit(CommitBytes(head, key.sign(to_be_signed(head)), tuple(salted)))

    def said(self, seq: int, previous: bytes, text: str = "hello", **but: Any) -> bytes:
        return self.commit(seq, previous, [raw([1, text, *RIGHT["Post"][2:]])], **but)


def head_id(encoded: bytes) -> bytes:
    return commit_id(msgspec.msgpack.decode(encoded)[0])


def chains() -> Iterator[Case]:
    """Each alone in a vault that knows no other channel."""
    stranger = SigningKey(fixed("stranger"))

    def case(name: str, commits: list[bytes], expect: str, why: str) -> Case:
        return name, raw(commits), expect, why

    log = Log("right")
    second = log.said(2, log.first)
    third = log.said(3, head_id(second))
    yield case("right", [log.genesis, second, third], VALID, "three commits")
    log = Log("backwards")
    second = log.said(2, log.first)
    third = log.said(3, head_id(second))
    yield case("backwards", [third, second, log.genesis], VALID, "given at once, in any order")
    log = Log("repeated")
    yield case("repeated", [log.genesis, log.genesis], VALID, "twice is once")
    log = Log("gap")
    yield case("gap", [log.genesis, log.said(3, fixed("not here"))], VALID, "a gap is no fault")
    log = Log("run")
    second = log.said(2, log.first)
    third = log.said(3, head_id(second))
    [head, _, operations] = msgspec.msgpack.decode(second)
    unsigned = raw([head, bytes(64), operations])
    yield case("run", [log.genesis, unsigned, third], VALID, "the third's signature covers the second")
    log = Log("unsigned")
    [head, _, operations] = msgspec.msgpack.decode(log.said(2, log.first))
    yield case(
        "unsigned", [log.genesis, raw([head, bytes(64), operations])], "commit_signature", "nothing covers it"
    )
    log = Log("fork")
    two = [log.said(2, log.first, text) for text in ("here", "there")]
    both = {"new": 3, "parked": 0}
    yield *case("fork", [log.genesis, *two], VALID, "two commits of one place: both branches are kept"), both
    log = Log("link")
    astray = log.said(2, fixed("another"))
    yield case("link", [log.genesis, astray], VALID, "it continues something else, which makes it a branch")
    log = Log("link-after")
    third = log.said(3, fixed("another"))
    yield case(
        "link-after",
        [log.genesis, third, log.said(2, log.first)],
        VALID,
        "the one after it continues another: two branches",
    )
    log = Log("channel-unknown")
    yield case("channel-unknown", [log.said(2, log.first)], "channel_unknown", "nobody founded it")
    log = Log("device-unknown")
    foreign = log.said(2, log.first, device=stranger.public, key=stranger)
    yield case("device-unknown", [log.genesis, foreign], "device_unknown", "a device that nobody vouched for")
    log = Log("control-head-unknown")
    far = log.said(2, log.first, heads=[fixed("control")])
    waits = {"new": 1, "parked": 1}
    yield *case("control-head-unknown", [log.genesis, far], VALID, "it waits for a control commit"), waits
    log = Log("control-heads-none")
    none = log.said(2, log.first, heads=[])
    yield case("control-heads-none", [log.genesis, none], "device_unknown", "it knows not even the first")
    log = Log("channel-id")
    wrong = log.commit(1, b"", [log.create], heads=[], channel=fixed("channel"))
    yield case("channel-id", [wrong], "channel_id_differs", "a channel is named by its Create")
    log = Log("create-later")
    again = log.commit(2, log.first, [log.create])
    yield case(
        "create-later",
        [log.genesis, again],
        "create_misplaced",
        "a channel is founded once, at the beginning",
    )
    log = Log("create-second")
    post = raw(RIGHT["Post"])
    yield case(
        "create-second",
        [log.commit(1, b"", [post, log.create], heads=[])],
        "create_misplaced",
        "not in place 0",
    )
    log = Log("create-heads")
    heads = log.commit(1, b"", [log.create], heads=[fixed("control")])
    yield case("create-heads", [heads], "create_misplaced", "before the first there is nothing to know")
    log = Log("certificate-device")
    other = log.commit(1, b"", [log.create], heads=[], device=stranger.public, key=stranger)
    yield case(
        "certificate-device", [other], "certificate_device", "a certificate that belongs to another device"
    )
    log = Log("self", "self")
    yield case("self", [log.genesis], "self_channel_foreign", "a vault has one self-channel, its own")
    log, neighbour = Log("log-elsewhere"), Log("log-elsewhere-2")
    neighbour.incarnation = log.incarnation
    strayed = neighbour.commit(1, b"", [neighbour.create], heads=[])
    yield case("log-elsewhere", [log.genesis, strayed], "log_of_another_channel", "one log, two channels")
    log = Log("operation")
    bad = log.commit(2, log.first, [raw([1, "hello"])])
    yield case(
        "operation",
        [log.genesis, bad],
        "operation_not_canonical",
        "operations are read before anything is applied",
    )
    log = Log("founded-twice")
    again = log.commit(1, b"", [log.create], heads=[], time=TIME + 9)
    yield case("founded-twice", [log.genesis, again], "fork", "one channel, two first commits")
    log = Log("control-mixed")
    both = log.commit(2, log.first, [raw(RIGHT["Post"]), raw([44, fixed("epoch")])])
    yield case("control-mixed", [log.genesis, both], "control_mixed", "content and control in one commit")
    log = Log("founding-unsigned")
    [head, _, operations] = msgspec.msgpack.decode(log.genesis)
    yield case(
        "founding-unsigned",
        [raw([head, bytes(64), operations])],
        "commit_signature",
        "nor is a channel founded so",
    )


SOURCES = {
    "operation": lambda: itertools.chain(operations(), control_operations()), "head": heads, "commit": commits,
    "message_id": message_ids, "chain": chains, **KEY_SOURCES,
    **CHANNEL_SOURCES, **FILE_SOURCES, **BACKUP_SOURCES, **ARCHIVE_SOURCES, **SYNC_SOURCES, **RELAY_SOURCES,
}  # fmt: skip
