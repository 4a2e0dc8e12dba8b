"""Key slots: every way in, every wrong key, damage, forgery, kills, and two processes at once.

Argon2id at its floor costs a fifth of a second, so passphrases appear only where they matter; key files
and phrases do for the rest.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import keyring
import keyring.backend
import keyring.backends.fail
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.core.crypto import slots as form
from quire.core.crypto import slots_file
from quire.core.crypto.secrets import (
    DatabaseKey,
    KeyFile,
    Keyring,
    Passphrase,
    RawKey,
    RecoveryPhrase,
    Unlock,
)
from quire.errors import (
    BusyError,
    CorruptError,
    FullError,
    MalformedError,
    NotFoundError,
    QuireError,
    SchemaError,
    StorageError,
    UnlockError,
    UsageError,
)
from quire.storage import files, outside, unlocking
from quire.storage.keyslots import KeySlots
from quire.storage.outside import create_key_file

FLOOR = 64 << 10
FROZEN = Path(__file__).with_name("slots-v1.bin")
FROZEN_KEY = Path(__file__).with_name("slots-v1.key")
VAULT = b"vault-of-16-byte"
KEY = DatabaseKey(b"K" * 32)
NEW_KEY = DatabaseKey(b"N" * 32)
PASSPHRASE = Passphrase("correct horse")
PHRASE = RecoveryPhrase("zoo " * 23 + "vote")
OTHER_PHRASE = RecoveryPhrase("abandon " * 23 + "art")


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    folder = tmp_path / "vault"
    folder.mkdir()
    return folder


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return create_key_file(tmp_path / "key")


def made(folder: Path, *unlocks: Unlock) -> KeySlots:
    return KeySlots.create(folder, KEY, list(unlocks), vault_id=VAULT, now_ms=1, argon2_memory_kib=FLOOR)


def opened(folder: Path, unlock: Unlock) -> DatabaseKey:
    return KeySlots.open(folder, unlock)[1]


def refusal(kind: type[QuireError], call: Callable[[], object]) -> QuireError:
    with pytest.raises(kind) as failure:
        call()
    assert type(failure.value) is kind
    return failure.value


# Every way in.


def test_any_slot_opens_and_a_wrong_key_says_which_kind_was_wrong(vault: Path, tmp_path: Path) -> None:
    own, other = create_key_file(tmp_path / "own"), create_key_file(tmp_path / "other")
    made(vault, PASSPHRASE, PHRASE, own)
    right: list[Unlock] = [Passphrase("correct horse"), PHRASE, own, RawKey(KEY)]
    for unlock in right:
        slots, key = KeySlots.open(vault, unlock)
        assert key == KEY
        assert [slot.kind for slot in slots.list()] == ["passphrase", "recovery_phrase", "key_file"]
        assert (slots.vault_id, slots.rekeying, slots.next_key) == (VAULT, False, None)
    wrong: list[tuple[Unlock, str]] = [
        (Passphrase("correct horsf"), "wrong_passphrase"),
        (OTHER_PHRASE, "wrong_phrase"),
        (other, "wrong_key_file"),
        (Keyring(), "no_such_slot"),
        (RawKey(NEW_KEY), "wrong_key"),
    ]
    for unlock, rule in wrong:
        error = refusal(UnlockError, lambda unlock=unlock: KeySlots.open(vault, unlock))  # type: ignore[misc]
        assert error.rule == rule
        assert error.hint


def test_slots_are_changed_one_at_a_time(vault: Path, key_file: KeyFile) -> None:
    slots = made(vault, key_file)
    added = slots.add(PASSPHRASE, "laptop", now_ms=5, argon2_memory_kib=FLOOR)
    assert (added.id, added.kind, added.label, added.created_ms) == (2, "passphrase", "laptop", 5)
    changed = slots.replace(2, Passphrase("new"), now_ms=6, argon2_memory_kib=FLOOR)
    assert (changed.id, changed.label, changed.created_ms) == (2, "laptop", 6)
    assert refusal(UnlockError, lambda: opened(vault, PASSPHRASE)).rule == "wrong_passphrase"
    assert opened(vault, Passphrase("new")) == KEY
    slots.remove(1)
    assert refusal(UnlockError, lambda: opened(vault, key_file)).rule == "no_such_slot"
    assert refusal(UsageError, lambda: slots.remove(2)).rule == "last_slot"
    slots.add(key_file)
    assert [slot.id for slot in slots.list()] == [2, 3]  # the number of a removed slot does not come back
    assert slots.generation == KeySlots.open(vault, RawKey(KEY))[0].generation == 5


def test_a_vault_may_have_its_raw_key_only(vault: Path) -> None:
    made(vault, RawKey(KEY))
    slots, key = KeySlots.open(vault, RawKey(KEY))
    assert (slots.list(), key) == ([], KEY)
    assert refusal(UnlockError, lambda: opened(vault, PHRASE)).rule == "no_such_slot"
    slots.begin_rekey(NEW_KEY)
    slots.finish_rekey()
    assert opened(vault, RawKey(NEW_KEY)) == NEW_KEY


def test_opening_by_raw_key_loads_no_heavy_library(vault: Path) -> None:
    """Start-up is measured; a child process, since ours has loaded everything."""
    made(vault, PHRASE)
    program = """if True:
        import sys
        from quire.core.crypto.secrets import DatabaseKey, RawKey
        from quire.storage.keyslots import KeySlots
        KeySlots.open(sys.argv[1], RawKey(DatabaseKey(b"K" * 32)))
        print(*sys.modules)
    """
    ran = subprocess.run(
        [sys.executable, "-c", program, str(vault)], capture_output=True, text=True, check=True
    )
    loaded = set(ran.stdout.split())
    assert "quire.storage.keyslots" in loaded
    assert not {"cryptography", "keyring", "mnemonic"} & loaded


def test_what_cannot_be_asked(vault: Path, tmp_path: Path, key_file: KeyFile) -> None:
    inside = create_key_file(vault / "key")
    cases: list[tuple[str, Callable[[], object]]] = [
        ("no_unlock", lambda: made(vault)),
        ("raw_key_differs", lambda: made(vault, RawKey(NEW_KEY))),
        ("key_file_inside", lambda: made(vault, inside)),
        ("unlock_type", lambda: made(vault, "correct horse")),  # type: ignore[arg-type]
        ("vault_id_length", lambda: KeySlots.create(vault, KEY, [PHRASE], vault_id=b"", now_ms=1)),
        ("slot_time", lambda: KeySlots.create(vault, KEY, [PHRASE], vault_id=VAULT, now_ms=-1)),
        ("argon2_memory", lambda: memory(FLOOR - 1)),
        ("argon2_memory", lambda: memory((4 << 20) + 1)),
    ]

    def memory(kib: int) -> KeySlots:
        return KeySlots.create(vault, KEY, [PASSPHRASE], vault_id=VAULT, now_ms=1, argon2_memory_kib=kib)

    for rule, call in cases:
        assert refusal(UsageError, call).rule == rule
        assert not (vault / "slots").exists()
    slots = made(vault, PHRASE)
    cases = [
        ("slots_exist", lambda: made(vault, key_file)),
        ("raw_key_slot", lambda: slots.add(RawKey(KEY))),
        ("slot_exists", lambda: slots.add(PHRASE)),
        ("slot_label", lambda: slots.add(key_file, "two\nlines")),
        ("slot_label", lambda: slots.add(key_file, "x" * 257)),
        ("slot_label", lambda: slots.add(key_file, "\udc80")),
        ("no_rekey", slots.finish_rekey),
        ("no_rekey", slots.abort_rekey),
        ("same_key", lambda: slots.begin_rekey(KEY)),
    ]
    before = (vault / "slots").read_bytes()
    for rule, call in cases:
        assert refusal(UsageError, call).rule == rule
    for call in (lambda: slots.remove(9), lambda: slots.replace(9, key_file)):
        assert refusal(NotFoundError, call).rule == "no_such_slot"
    assert (vault / "slots").read_bytes() == before


def test_slots_are_bounded(vault: Path, tmp_path: Path) -> None:
    slots = made(vault, *(create_key_file(tmp_path / f"key{n}") for n in range(form.SLOTS_MAX)))
    assert refusal(UsageError, lambda: slots.add(PHRASE)).rule == "slots_full"
    slots.begin_rekey(NEW_KEY)
    assert (vault / "slots").stat().st_size < slots_file.FILE_BYTES_MAX
    slots.finish_rekey()
    assert opened(vault, KeyFile(tmp_path / "key31")) == NEW_KEY


def test_a_guess_costs_what_half_a_second_buys(monkeypatch: pytest.MonkeyPatch) -> None:
    for elapsed_ms, memory_mib in [(1, 512), (125, 256), (200, 160), (500, 64), (9_000, 64)]:
        ticks = iter([0.0, elapsed_ms / 1000])
        clock = SimpleNamespace(perf_counter=lambda ticks=ticks: next(ticks))
        monkeypatch.setattr(unlocking, "time", clock)
        monkeypatch.setattr(form, "stretch", lambda *_: bytes(32))
        cost = unlocking.argon2_cost(None)
        assert (cost.memory_kib >> 10, cost.iterations, cost.lanes) == (memory_mib, 3, 4)


def test_too_little_memory_for_the_passphrase(vault: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object) -> NoReturn:
        raise MemoryError

    made(vault, PASSPHRASE)
    monkeypatch.setattr(form, "stretch", out_of_memory)
    error = refusal(StorageError, lambda: opened(vault, PASSPHRASE))
    assert error.rule == "memory_short"
    assert "64 MiB" in str(error)


# Key files and keyrings.


def test_a_key_file_is_new_private_and_random(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path)
    assert len(path.read_bytes()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert refusal(UsageError, lambda: create_key_file(path)).rule == "key_file_exists"
    assert refusal(StorageError, lambda: create_key_file(tmp_path / "no" / "key")).rule == "file_unwritable"


def test_the_first_mebibyte_of_a_key_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(b"x" * (1 << 20) + b"the rest")
    secret = outside.key_file_secret(KeyFile(path))
    assert secret == hashlib.sha256(b"x" * (1 << 20)).digest()
    path.write_bytes(b"x" * 100)
    assert outside.key_file_secret(KeyFile(path)) == hashlib.sha256(b"x" * 100).digest()


def test_files_that_are_no_key(vault: Path, tmp_path: Path, key_file: KeyFile) -> None:
    made(vault, key_file)
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(b"x" * 31)
    os.mkfifo(tmp_path / "pipe")
    for name, rule in [
        ("missing", "key_file_missing"),
        ("empty", "key_file_empty"),
        ("short", "key_file_short"),
        ("pipe", "key_file_unreadable"),
        (".", "key_file_unreadable"),
        ("nul\0", "key_file_unreadable"),
    ]:
        error = refusal(UsageError, lambda name=name: opened(vault, KeyFile(f"{tmp_path}/{name}")))  # type: ignore[misc]
        assert error.rule == rule
        assert error.hint


class FakeKeyring(keyring.backend.KeyringBackend):
    """A keyring in memory; told to, it raises or forgets."""

    priority = 0.1  # never chosen by itself

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.entries: dict[tuple[str, str], str] = {}
        self.raises: Exception | None = None
        self.forgets = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.raises:
            raise self.raises
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if not self.forgets:
            self.entries[service, username] = password


@pytest.fixture
def fake_keyring() -> Iterator[FakeKeyring]:
    fake, before = FakeKeyring(), keyring.get_keyring()
    keyring.set_keyring(fake)
    yield fake
    keyring.set_keyring(before)


def test_a_keyring_opens_and_never_loses_what_it_had(vault: Path, fake_keyring: FakeKeyring) -> None:
    slots = made(vault, Keyring(), PHRASE)
    assert opened(vault, Keyring()) == KEY
    assert refusal(UsageError, lambda: slots.add(Keyring())).rule == "slot_exists"
    assert refusal(UnlockError, lambda: opened(vault, Keyring("work"))).rule == "keyring_empty"
    slots.add(Keyring("work"))
    assert opened(vault, Keyring("work")) == opened(vault, Keyring()) == KEY
    assert {service for service, _ in fake_keyring.entries} == {"quire"}
    assert len(set(fake_keyring.entries.values())) == 2
    for place in fake_keyring.entries:
        fake_keyring.entries[place] = "11" * 32
    assert refusal(UnlockError, lambda: opened(vault, Keyring())).rule == "wrong_keyring"
    fake_keyring.entries.clear()  # another machine
    assert refusal(UnlockError, lambda: opened(vault, Keyring())).rule == "keyring_empty"
    KeySlots.open(vault, PHRASE)[0].add(Keyring())
    assert opened(vault, Keyring()) == KEY


def test_a_keyring_that_fails_or_forgets(vault: Path, fake_keyring: FakeKeyring) -> None:
    slots = made(vault, PHRASE)
    fake_keyring.raises = RuntimeError("the bus said: correct horse")
    error = refusal(UsageError, lambda: slots.add(Keyring()))
    assert (error.rule, "correct horse" in str(error)) == ("keyring_unavailable", False)
    fake_keyring.raises, fake_keyring.forgets = None, True
    assert refusal(UsageError, lambda: slots.add(Keyring())).rule == "keyring_unavailable"
    keyring.set_keyring(keyring.backends.fail.Keyring())  # type: ignore[no-untyped-call]
    error = refusal(UsageError, lambda: slots.add(Keyring()))
    assert error.rule == "keyring_unavailable"
    assert "passphrase" in error.hint


# Damage, forgery, other versions.


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("good")
    made(folder, PHRASE, create_key_file(folder.parent / "good.key"))
    return (folder / "slots").read_bytes()


def test_any_changed_byte_is_damage(vault: Path, good_file: bytes) -> None:
    @given(st.integers(0, len(good_file) - 1), st.integers(1, 255))
    def check(place: int, flip: int) -> None:
        changed = bytearray(good_file)
        changed[place] ^= flip
        (vault / "slots").write_bytes(changed)
        for unlock in (PHRASE, RawKey(KEY)):
            error = refusal(CorruptError, lambda unlock=unlock: opened(vault, unlock))  # type: ignore[misc]
            assert error.rule == "slots_damaged"
            assert error.hint

    check()


def test_any_torn_or_grown_file_is_damage(vault: Path, good_file: bytes) -> None:
    @given(st.integers(0, len(good_file) - 1), st.booleans(), st.binary(min_size=1, max_size=9))
    def check(length: int, zeros: bool, more: bytes) -> None:
        torn = good_file[:length] + bytes(len(good_file) - length) * zeros
        for content in (torn, good_file + more, more + good_file):
            if content != good_file:
                (vault / "slots").write_bytes(content)
                assert refusal(CorruptError, lambda: opened(vault, RawKey(KEY))).rule == "slots_damaged"

    check()


def test_each_clause_of_the_format_has_its_rule(good_file: bytes) -> None:
    def resealed(start: bytes) -> bytes:
        return start + hashlib.sha256(start).digest()

    foreign = b"SQLite format 3\0" + good_file
    for encoded, rule in [
        (b"", "slots_length"),
        (good_file[:42], "slots_length"),
        (good_file + bytes(slots_file.FILE_BYTES_MAX), "slots_length"),
        (resealed(foreign), "slots_magic"),
        (good_file[:-1] + b"\0", "slots_checksum"),
        (resealed(slots_file.MAGIC + b"\0\2" + b"whatever comes next"), "slots_version"),
        (resealed(slots_file.HEADER + b"\xc1"), "slots_form"),
        (resealed(good_file[:-32] + b"\0"), "slots_form"),
    ]:
        with pytest.raises(MalformedError) as failure:
            form.decode_slots(encoded)
        assert failure.value.rule == rule


def test_a_newer_file_asks_for_an_upgrade(vault: Path) -> None:
    newer = slots_file.MAGIC + b"\0\2" + b"anything at all"
    (vault / "slots").write_bytes(newer + hashlib.sha256(newer).digest())
    error = refusal(SchemaError, lambda: opened(vault, PHRASE))
    assert "upgrade" in error.hint


def test_a_missing_or_unreadable_file(vault: Path) -> None:
    error = refusal(StorageError, lambda: opened(vault, PHRASE))
    assert error.rule == "slots_missing"
    assert "backup" in error.hint
    assert refusal(StorageError, lambda: opened(vault / "no", PHRASE)).rule == "slots_missing"
    (vault / "slots").mkdir()
    assert refusal(StorageError, lambda: opened(vault, PHRASE)).rule == "slots_unreadable"


def packed(body: object, mac: bytes = bytes(32), mac_next: bytes = b"") -> bytes:
    """A file with a right trailer around whatever somebody put in it."""
    inner = msgspec.msgpack.encode(body)
    whole = slots_file.HEADER + msgspec.msgpack.encode([inner, mac, mac_next])
    return whole + hashlib.sha256(whole).digest()


@given(st.recursive(st.none() | st.integers(-9, 1 << 60) | st.binary(max_size=40) | st.text(max_size=9),
                    lambda inner: st.lists(inner, max_size=9)))  # fmt: skip
def test_any_body_is_a_value_or_malformed(body: object) -> None:
    with pytest.raises(MalformedError):
        form.decode_slots(packed(body))


def test_text_that_is_no_utf8_is_malformed_too(good_file: bytes) -> None:
    """It has right lengths and a right checksum, as only somebody who forges it makes it."""
    kind = b"\xafrecovery_phrase"
    assert kind in good_file
    encoded = good_file[:-32].replace(kind, b"\xafrecovery_phras\xff", 1)
    with pytest.raises(MalformedError) as failure:
        form.decode_slots(encoded + hashlib.sha256(encoded).digest())
    assert failure.value.rule == "slots_form"


def fields(record: form.SlotRecord, **changes: object) -> list[object]:
    return list((msgspec.structs.asdict(record) | changes).values())


def test_absurd_costs_and_inconsistent_slots_are_refused_before_they_are_paid(
    good_file: bytes, vault: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pay(*_: object) -> NoReturn:
        raise AssertionError("paid")

    monkeypatch.setattr(form, "stretch", pay)
    body = form.decode_slots(good_file).body
    phrase, file = body.slots

    def with_slots(*slots: list[object], next_id: int = 9) -> list[object]:
        return [VAULT, 1, next_id, list(slots), b""]

    costs = [
        [FLOOR - 1, 3, 4], [(4 << 20) + 1, 3, 4], [FLOOR, 2, 4], [FLOOR, 65, 4], [FLOOR, 3, 0],
        [FLOOR, 3, 17], [4 << 20, 5, 4], [1 << 62, 3, 4], [FLOOR, 3], [FLOOR, 3, 4, 4],
    ]  # fmt: skip
    bad = [with_slots(fields(phrase, kind="passphrase", argon2=cost)) for cost in costs]
    bad += [
        with_slots(fields(phrase, kind="passphrase")),
        with_slots(fields(phrase, argon2=[FLOOR, 3, 4])),
        with_slots(fields(phrase, kind="smart_card")),
        with_slots(fields(phrase, salt=b"short")),
        with_slots(fields(phrase, label="x" * 257)),
        with_slots(fields(phrase, public=bytes(1215))),
        with_slots(fields(phrase, sealed=b"")),
        with_slots(fields(phrase, sealed_next=phrase.sealed)),
        with_slots(fields(phrase), fields(phrase)),
        with_slots(fields(file), fields(phrase)),
        with_slots(fields(phrase), next_id=1),
        with_slots(*[fields(phrase, id=number) for number in range(1, 34)], next_id=99),
    ]
    form.decode_slots(packed(with_slots(fields(phrase), fields(file))))  # so it is not the packing
    form.decode_slots(packed(with_slots(fields(phrase, kind="passphrase", argon2=[FLOOR, 3, 4]))))
    for body_of_another in bad:
        (vault / "slots").write_bytes(packed(body_of_another))
        error = refusal(CorruptError, lambda: opened(vault, PASSPHRASE))
        assert (error.rule, error.details["clause"]) == ("slots_damaged", "slots_form")


def test_what_could_not_be_read_is_not_written(good_file: bytes) -> None:
    body = msgspec.structs.replace(form.decode_slots(good_file).body, generation=0)
    with pytest.raises(MalformedError):
        form.encode_slots(body, KEY)


def planted(content: bytes) -> bytes:
    """The file with one more slot, by someone who can write it but has no key; the trailer is right."""
    file = form.decode_slots(content)
    body = file.body
    theirs = msgspec.structs.replace(body.slots[0], id=body.next_id)
    body = msgspec.structs.replace(body, slots=(*body.slots, theirs), next_id=body.next_id + 1)
    return packed(body, file.mac, file.mac_next)


def test_a_planted_slot_is_found_at_the_next_open(vault: Path, key_file: KeyFile) -> None:
    made(vault, key_file, PHRASE)
    (vault / "slots").write_bytes(planted((vault / "slots").read_bytes()))
    for unlock in (key_file, PHRASE):
        assert refusal(CorruptError, lambda unlock=unlock: opened(vault, unlock)).rule == "slots_forged"  # type: ignore[misc]
    assert refusal(UnlockError, lambda: opened(vault, RawKey(KEY))).rule == "wrong_key"


def test_a_planted_slot_is_found_before_anything_is_sealed_to_it(vault: Path, key_file: KeyFile) -> None:
    slots = made(vault, PHRASE)
    forged = planted((vault / "slots").read_bytes())
    changes: list[Callable[[], object]] = [
        lambda: slots.begin_rekey(NEW_KEY),
        lambda: slots.add(key_file),
        lambda: slots.replace(1, key_file),
        lambda: slots.remove(1),
    ]
    for change in changes:
        (vault / "slots").write_bytes(forged)
        assert refusal(CorruptError, change).rule == "slots_forged"
        assert (vault / "slots").read_bytes() == forged


def test_a_key_sealed_to_another_slot_or_vault_is_a_forgery(vault: Path) -> None:
    """Even in a file whose MAC is right: the seal itself names its vault and its slot."""
    made(vault, PHRASE)
    body = form.decode_slots((vault / "slots").read_bytes()).body
    slot = body.slots[0]

    def sealed_for(vault_id: bytes, slot_id: int) -> bytes:
        other = msgspec.structs.replace(slot, sealed=form.seal_key(KEY, slot.public, vault_id, slot_id))
        return form.encode_slots(msgspec.structs.replace(body, slots=(other,)), KEY)

    (vault / "slots").write_bytes(sealed_for(VAULT, 1))
    assert opened(vault, PHRASE) == KEY
    for vault_id, slot_id in [(VAULT, 2), (b"another vault", 1)]:
        (vault / "slots").write_bytes(sealed_for(vault_id, slot_id))
        assert refusal(CorruptError, lambda: opened(vault, PHRASE)).rule == "slots_forged"


def test_a_file_of_the_first_version_opens_for_ever(vault: Path) -> None:
    """Frozen from our own code, amid a rekey: phrase, passphrase and key file, 64 MiB, KEY to NEW_KEY."""
    for unlock in (PHRASE, PASSPHRASE, KeyFile(FROZEN_KEY)):
        (vault / "slots").write_bytes(FROZEN.read_bytes())
        slots, key = KeySlots.open(vault, unlock)
        assert (key, slots.next_key, slots.vault_id) == (KEY, NEW_KEY, VAULT)
        slots.close()


def test_a_forged_rekey_is_found(vault: Path) -> None:
    made(vault, PHRASE)
    old = form.decode_slots((vault / "slots").read_bytes())
    slots = KeySlots.open(vault, PHRASE)[0]
    slots.begin_rekey(NEW_KEY)
    middle = form.decode_slots((vault / "slots").read_bytes())
    content = [packed(middle.body, middle.mac, bytes(32)), packed(middle.body, old.mac, middle.mac_next)]
    content.append(packed(msgspec.structs.replace(middle.body, link=bytes(60)), middle.mac, middle.mac_next))
    for forged in content:
        (vault / "slots").write_bytes(forged)
        assert refusal(CorruptError, slots.finish_rekey).rule == "slots_forged"
    slots.close()
    assert refusal(UsageError, slots.finish_rekey).rule == "no_rekey"  # without the lock, no decision
    for forged in content:
        (vault / "slots").write_bytes(forged)
        assert refusal(CorruptError, lambda: opened(vault, PHRASE)).rule == "slots_forged"


# Rekey.


def test_rekey_reaches_every_slot_without_its_secret(vault: Path, key_file: KeyFile) -> None:
    made(vault, PHRASE, key_file)
    slots, _ = KeySlots.open(vault, key_file)
    slots.begin_rekey(NEW_KEY)
    assert (slots.rekeying, slots.next_key) == (True, NEW_KEY)
    slots.finish_rekey()
    assert (slots.rekeying, slots.next_key) == (False, None)
    assert opened(vault, PHRASE) == opened(vault, key_file) == opened(vault, RawKey(NEW_KEY)) == NEW_KEY
    assert refusal(UnlockError, lambda: opened(vault, RawKey(KEY))).rule == "wrong_key"
    slots.remove(2)  # with the key it now has
    slots.begin_rekey(KEY)
    slots.abort_rekey()
    assert opened(vault, PHRASE) == NEW_KEY
    assert refusal(UnlockError, lambda: opened(vault, RawKey(KEY))).rule == "wrong_key"


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize("unlock", [PHRASE, RawKey(KEY), RawKey(NEW_KEY)], ids=["slot", "old", "new"])
def test_an_interrupted_rekey_is_decided_at_the_next_open(vault: Path, unlock: Unlock, finish: bool) -> None:
    in_a_child_killed_after(lambda: made(vault, PHRASE).begin_rekey(NEW_KEY))
    slots, key = KeySlots.open(vault, unlock)
    knows_next = unlock != RawKey(KEY)  # a rekey may be there to shut out who has the old key
    assert (key, slots.rekeying, slots.next_key) == (KEY, True, NEW_KEY if knows_next else None)
    assert refusal(UsageError, lambda: slots.remove(1)).rule == "rekey_unfinished"
    assert refusal(UsageError, lambda: slots.begin_rekey(NEW_KEY)).rule == "rekey_unfinished"
    if not finish:
        slots.abort_rekey()
        assert opened(vault, PHRASE) == KEY
    elif knows_next:
        slots.finish_rekey()
        assert opened(vault, PHRASE) == NEW_KEY
    else:
        assert refusal(UsageError, slots.finish_rekey).rule == "no_rekey"


def test_nobody_decides_a_rekey_whose_process_lives(
    vault: Path, key_file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOCK_WAIT_S", 0.0)
    made(vault, PHRASE)
    ours, theirs = KeySlots.open(vault, PHRASE)[0], KeySlots.open(vault, PHRASE)[0]
    ours.begin_rekey(NEW_KEY)
    assert refusal(BusyError, lambda: opened(vault, PHRASE)).rule == "locked"
    assert refusal(BusyError, lambda: theirs.add(key_file)).rule == "locked"
    ours.finish_rekey()
    error = refusal(CorruptError, lambda: theirs.add(key_file))
    assert (error.rule, "open the vault again" in error.hint) == ("slots_forged", True)
    assert opened(vault, PHRASE) == NEW_KEY
    assert refusal(UnlockError, lambda: opened(vault, RawKey(KEY))).rule == "wrong_key"
    ours.begin_rekey(KEY)
    ours.close()  # without a decision: the lock goes, the question stays
    assert KeySlots.open(vault, PHRASE)[0].rekeying


# Kills, full disks, two processes.


# From Python 3.12 on; what these children do takes no lock that a thread of the test runner could hold.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_a_child_killed_after(act: Callable[[], object]) -> None:
    """Run it in a process of its own that is killed right after it (or earlier, by itself)."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child failed instead of dying"


class DyingOs:
    """`os` for one module, in which the n-th call that touches the disk kills the process first."""

    TOUCHES = ("open", "write", "fsync", "replace", "close", "unlink")

    def __init__(self, calls: int) -> None:
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        if name in self.TOUCHES:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        if name == "write":
            return lambda file, data: os.write(file, data[: max(1, len(data) // 2)])  # torn, too
        return getattr(os, name)


class FailingOs:
    """`os` for one module, in which one call fails."""

    def __init__(self, name: str, number: int) -> None:
        self._name, self._number = name, number

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            raise OSError(self._number, os.strerror(self._number))
        return getattr(os, name)


def kill_at_every_point(
    act: Callable[[], object], done: Callable[[], bool], reset: Callable[[], object]
) -> None:
    """Run `act` again and again, killed one step later each time, until it gets through."""
    outcomes = []
    for calls in range(200):
        reset()

        def dying(calls: int = calls) -> None:
            setattr(files, "os", DyingOs(calls))  # noqa: B010 - a module has no such type
            act()
            os._exit(0)

        child = os.fork()
        if child == 0:
            try:
                dying()
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        outcomes.append(done())
        if not os.WIFSIGNALED(status):
            assert status == 0
            break
    else:
        pytest.fail("it never got through")
    assert outcomes == sorted(outcomes), "once new, always new"
    assert outcomes[0] is False
    assert outcomes[-1] is True
    assert len(outcomes) > 8


def test_a_kill_leaves_the_old_slots_or_the_new(vault: Path, key_file: KeyFile) -> None:
    made(vault, PHRASE)
    before = (vault / "slots").read_bytes()
    slots = KeySlots.open(vault, PHRASE)[0]

    def done() -> bool:
        found = KeySlots.open(vault, RawKey(KEY))[0]
        assert opened(vault, PHRASE) == KEY
        kinds = [slot.kind for slot in found.list()]
        assert kinds in (["recovery_phrase"], ["recovery_phrase", "key_file"])
        found.replace(1, OTHER_PHRASE)  # no lock and no leftover is in the way
        return len(kinds) == 2

    kill_at_every_point(lambda: slots.add(key_file), done, lambda: (vault / "slots").write_bytes(before))
    assert sorted(path.name for path in vault.iterdir()) == ["slots", "slots.lock"]


@pytest.mark.slow
@pytest.mark.bounded
@pytest.mark.parametrize("end", ["begin_rekey", "finish_rekey", "abort_rekey"])
def test_a_kill_in_a_rekey_loses_no_key_that_may_be_needed(vault: Path, end: str) -> None:
    made(vault, PHRASE)
    before = (vault / "slots").read_bytes()

    def act() -> None:
        slots = KeySlots.open(vault, PHRASE)[0]
        if end == "begin_rekey":
            slots.begin_rekey(NEW_KEY)
        else:
            getattr(slots, end)()

    def reset() -> None:
        (vault / "slots").write_bytes(before)
        if end != "begin_rekey":
            in_a_child_killed_after(lambda: KeySlots.open(vault, PHRASE)[0].begin_rekey(NEW_KEY))

    def done() -> bool:
        slots, key = KeySlots.open(vault, PHRASE)
        both = (key, slots.rekeying, slots.next_key) == (KEY, True, NEW_KEY)
        old, new = (key, slots.rekeying) == (KEY, False), (key, slots.rekeying) == (NEW_KEY, False)
        assert both + {"begin_rekey": old, "finish_rekey": new, "abort_rekey": old}[end] == 1
        return both if end == "begin_rekey" else not both

    kill_at_every_point(act, done, reset)


def test_a_full_disk_changes_nothing(vault: Path, key_file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = made(vault, PHRASE)
    before = (vault / "slots").read_bytes()

    for call, number, kind in [
        ("write", errno.ENOSPC, FullError),
        ("fsync", errno.EIO, StorageError),
        ("replace", errno.EROFS, FullError),
        ("open", errno.EACCES, StorageError),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", FailingOs(call, number))
            for change in (lambda: slots.add(key_file), lambda: slots.begin_rekey(NEW_KEY)):
                assert refusal(kind, change).hint
        assert (vault / "slots").read_bytes() == before
        assert not (vault / "slots.tmp").exists()
    slots.add(key_file)
    assert opened(vault, key_file) == KEY


def test_processes_changing_slots_at_once_lose_nothing(vault: Path, tmp_path: Path) -> None:
    made(vault, PHRASE)
    names = [f"key{number}" for number in range(12)]
    for name in names:
        create_key_file(tmp_path / name)
    children = []
    for share in (names[:4], names[4:8], names[8:]):
        child = os.fork()
        if child == 0:
            try:
                slots = KeySlots.open(vault, RawKey(KEY))[0]
                for name in share:
                    slots.add(KeyFile(tmp_path / name), name)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    found = KeySlots.open(vault, RawKey(KEY))[0].list()
    assert sorted(slot.label for slot in found) == sorted(["", *names])
    assert [slot.id for slot in found] == list(range(1, 14))
    assert all(opened(vault, KeyFile(tmp_path / name)) == KEY for name in names)


# Secrets.


def test_the_file_is_private_and_says_nothing(vault: Path, key_file: KeyFile) -> None:
    made(vault, key_file, PHRASE).begin_rekey(NEW_KEY)
    for path in vault.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = path.read_bytes()
        for secret in (KEY.reveal(), NEW_KEY.reveal(), PHRASE.reveal(), Path(key_file.path).read_bytes()):
            assert secret not in content


def test_no_error_tells_a_secret(vault: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"S3CRET" * 9)
    slots = made(vault, KeyFile(tmp_path / "key"))
    wrong: list[Callable[[], object]] = [
        lambda: opened(vault, Passphrase("S3CRET")),
        lambda: opened(vault, RawKey(DatabaseKey(b"S3CRET--" * 4))),
        lambda: slots.add(KeyFile(tmp_path / "key")),
        lambda: slots.add(RawKey(DatabaseKey(b"S3CRET--" * 4))),
        lambda: made(vault, "S3CRET"),  # type: ignore[arg-type]
    ]
    (tmp_path / "key2").write_bytes(b"S3CRET" * 8)
    wrong.append(lambda: opened(vault, KeyFile(tmp_path / "key2")))
    for call in wrong:
        with pytest.raises(QuireError) as failure:
            call()
        error: BaseException | None = failure.value
        while error:
            told = [str(error), repr(error), repr(vars(error))]
            assert not any("S3CRET" in text or b"S3CRET".hex() in text for text in told)
            error = error.__cause__ or error.__context__
    assert "S3CRET" not in repr(slots) + repr(slots.list()) + repr(vars(slots))
