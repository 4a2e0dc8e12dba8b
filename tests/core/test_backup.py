"""Packs and manifests: what was sealed opens, and nothing else does, by its named rule."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from quire.core import limits
from quire.core.backup import (
    Away,
    BackupKey,
    ChannelEntry,
    EpochItem,
    JoiningItem,
    KeptItem,
    Kind,
    LogEntry,
    Manifest,
    OwnerItem,
    PackBody,
    PackEntry,
    PackSpan,
    ParkedItem,
    SettingItem,
    StateItem,
    decode_state,
    encode_body,
    encode_state,
    open_manifest,
    open_pack,
    seal_manifest,
    seal_pack,
)
from quire.core.crypto.secrets import DatabaseKey
from quire.core.encoding import encode
from quire.errors import MalformedError

KEY = BackupKey.of(DatabaseKey(bytes(range(32))))
OTHER = BackupKey.of(DatabaseKey(bytes(32)))
TIME = (1_700_000_000_000 << 16) + 3
SPAN = PackSpan(b"p" * 10, 1, 7, b"i" * 32)
BODY = PackBody(Kind.CONTENT, TIME, b"h" * 16, (SPAN,), (b"one", b"two"), (Away(1, b"\3"),))
ENTRY = PackEntry(b"n" * 32, 1_000, Kind.CONTENT, TIME, b"", 2, b"d" * 32, (SPAN,))
MANIFEST = Manifest(
    b"v" * 16, 1_700_000_000_000, 1, (ENTRY,), (), (LogEntry(b"p" * 10, b"c" * 32),),
    (ChannelEntry(b"c" * 32, "general", 12),),
)  # fmt: skip


def refusal(work: Any, *arguments: Any) -> str:
    with pytest.raises(MalformedError) as failure:
        work(*arguments)
    return failure.value.rule


def test_a_pack_opens_with_its_key_and_says_nothing() -> None:
    sealed = seal_pack(encode_body(BODY), KEY, os.urandom)
    assert open_pack(sealed, KEY) == BODY
    assert b"one" not in sealed
    assert seal_pack(encode_body(BODY), KEY, os.urandom) != sealed, "two backups would show what they share"
    assert refusal(open_pack, sealed, OTHER) == "pack_open"


def test_a_pack_that_was_changed_anywhere_does_not_open() -> None:
    sealed = seal_pack(encode_body(BODY), KEY, os.urandom)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        rule = "pack_magic" if at < 8 else "pack_version" if at < 10 else "pack_open"
        assert refusal(open_pack, changed, KEY) == rule
    for size in range(len(sealed)):
        assert refusal(open_pack, sealed[:size], KEY) in (
            "pack_magic",
            "pack_version",
            "pack_size",
            "pack_open",
        )


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ([0, TIME, b"", [], [], []], "pack_form"),
        ([3, -1, b"", [], [], []], "pack_form"),
        ([3, TIME, 0, [], [], []], "pack_form"),
        ([3, TIME, b"", [[b"p" * 9, 1, 7, b"i" * 32]], [], []], "pack_form"),
        ([3, TIME, b"", [[b"p" * 10, 0, 7, b"i" * 32]], [], []], "pack_form"),
        ([3, TIME, b"", [[b"p" * 10, 1, limits.SEQ_MAX + 1, b"i" * 32]], [], []], "pack_form"),
        ([3, TIME, b"", [[b"p" * 10, 1, 7, b"i" * 31]], [], []], "pack_form"),
        ([3, TIME, b"", [], ["text"], []], "pack_form"),
        ([3, TIME, b"", [], [], [[0, b""]]], "pack_form"),
        ([3, TIME, b"", [], [], [], 0], "pack_form"),
        ([3, TIME, b"", []], "pack_form"),
        ([3, TIME, b"", [], []], "pack_form_not_canonical"),
    ],
)
def test_a_pack_of_another_form_is_refused(value: Any, rule: str) -> None:
    assert refusal(open_pack, seal_pack(encode(value), KEY, os.urandom), KEY) == rule


def test_a_pack_that_unpacks_to_too_much_is_refused_before_it_is() -> None:
    bomb = seal_pack(bytes(limits.BACKUP_PACK_PLAIN_BYTES_MAX + 1), KEY, os.urandom)
    assert len(bomb) < 10_000
    assert refusal(open_pack, bomb, KEY) == "pack_too_large"
    assert refusal(open_pack, bytes(limits.BACKUP_PACK_BYTES_MAX + 1), KEY) == "pack_size"


@pytest.mark.parametrize(
    "item",
    [
        OwnerItem(b"i" * 32, b"r" * 1216), SettingItem("quota_soft", 7), SettingItem("name", "x"),
        EpochItem(b"c" * 32, b"e" * 32, b"k" * 32), KeptItem(b"o" * 32, 5, b"sealed"), ParkedItem(b"commit"),
        JoiningItem(b"c" * 32, "link", "Bob", 9),
    ],
)  # fmt: skip
def test_state_items_come_back(item: StateItem) -> None:
    assert decode_state(encode_state(item)) == item
    assert refusal(decode_state, encode_state(item) + b"\0") == "pack_state"


def test_a_manifest_opens_with_its_key() -> None:
    sealed = seal_manifest(MANIFEST, KEY, os.urandom)
    assert open_manifest(sealed, KEY) == MANIFEST
    assert b"general" not in sealed
    assert refusal(open_manifest, sealed, OTHER) == "manifest_open"


def test_a_manifest_that_is_damaged_newer_or_of_another_key_is_told_apart() -> None:
    sealed = seal_manifest(MANIFEST, KEY, os.urandom)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        assert refusal(open_manifest, changed, KEY) == ("manifest_magic" if at < 8 else "manifest_checksum")
    for size in range(len(sealed)):
        assert refusal(open_manifest, sealed[:size], KEY) in ("manifest_size", "manifest_checksum")
    newer = sealed[:9] + b"\x02" + sealed[10:-32]
    assert refusal(open_manifest, newer + hashlib.sha256(newer).digest(), KEY) == "manifest_version"
    assert refusal(open_manifest, bytes(limits.BACKUP_MANIFEST_BYTES_MAX + 1), KEY) == "manifest_size"
