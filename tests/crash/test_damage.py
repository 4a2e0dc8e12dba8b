"""Damaged bytes: flipped, torn, cut off, or old ones put back. Found and named, or without any effect.

AEGIS-256 authenticates every page under its number, so a changed page is refused when it is read. What it
cannot see is a page that was right once: the hash chain and the views' recomputation find that. A damaged
WAL is cut at the damage, as after a crash: then a state that once was is shown, never a changed one.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from quire.channels.manager import ChannelManager
from quire.errors import CorruptError, QuireError, SchemaError, StorageError
from quire.storage.database import PAGE_SIZE, guarded
from quire.store.local import LocalStore
from tests import vaults
from tests.crash.session import look

MESSAGES = 120
# How many bytes are flipped, and how many pages put back: a sample, and many.
FLIPS = (60, pytest.param(150, marks=[pytest.mark.slow, pytest.mark.bounded]))
FLIPS_IN_WAL = (20, pytest.param(60, marks=[pytest.mark.slow, pytest.mark.bounded]))
OLD_PAGES = (8, pytest.param(25, marks=[pytest.mark.slow, pytest.mark.bounded]))
SALT = range(16)  # only passphrases given to SQLite itself would use it
HOW_TO_WRITE = (18, 19, 20)  # the format's versions and the space kept for tags: in the clear, see below


def talk(store: LocalStore, start: int, count: int) -> None:
    manager = ChannelManager(store)
    for number in range(start, start + count):
        message = manager.send_message("general", f"apple number {number} " + "filler " * (number % 60))
        if number % 5 == 0:
            manager.send_message("general", f"reply {number}", thread=message.id)
            manager.add_reaction(message.id, "👍")
        if number % 7 == 0:
            manager.edit_message(message.id, f"cherry number {number}")
        if number % 11 == 0:
            manager.delete_message(message.id, "gone")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault that was closed: one file and its slots."""
    folder = tmp_path_factory.mktemp("closed")
    with vaults.fresh_store(folder) as store:
        ChannelManager(store).create_channel("general", topic="everything")
        talk(store, 0, MESSAGES)
        store.compact()  # no free pages, which nobody reads
    return folder / "vault"


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A copy of a vault in use, with its WAL; and how it looked after each message."""
    folder = tmp_path_factory.mktemp("in_use")
    states = []
    with vaults.fresh_store(folder) as store:
        states.append(look(store))
        ChannelManager(store).create_channel("general")
        states.append(look(store))
        for number in range(12):
            ChannelManager(store).send_message("general", f"apple {number}")
            states.append(look(store))
        copied(folder / "vault", folder / "copy" / "vault")
    return folder / "copy" / "vault", states


def copied(vault: Path, to: Path) -> Path:
    shutil.copytree(vault, to)
    shutil.copyfile(vaults.key_of(vault).path, vaults.key_of(to).path)
    return to


def everything(vault: Path) -> Any:
    """All there is to see, after every page was read."""
    with vaults.opened(vault) as store:
        seen = look(store)
        read_every_page(store)
        return seen


@guarded
def read_every_page(store: LocalStore) -> None:
    answer = store.database.reader.execute("PRAGMA integrity_check").fetchall()
    if answer != [("ok",)]:
        raise CorruptError(str(answer), rule="page_damaged", hint="as verify says")


def damaged(path: Path, offset: int, change: Callable[[bytes], bytes], size: int = 1) -> bytes:
    """Change bytes of a file in place; what was there."""
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(size)
        new = change(old)
        assert new != old
        file.seek(offset)
        file.write(new)
    return old


def flip(old: bytes) -> bytes:
    return bytes([old[0] ^ 1 << random.Random(old[0]).randrange(8)]) + old[1:]


def refused(vault: Path) -> QuireError:
    """Opening and reading all of it fails; a damaged file is never anything else than damaged."""
    with pytest.raises(StorageError) as failure:
        everything(vault)
    assert isinstance(failure.value, CorruptError | SchemaError)
    assert failure.value.hint
    return failure.value


def offsets(size: int, count: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    every = [chance.randrange(size) for _ in range(count)]
    return sorted({*range(0, 120, 180 // count), *every, size - 1})


@pytest.mark.parametrize("flips", FLIPS)
def test_a_flipped_byte_anywhere_in_the_file_is_found(closed: Path, tmp_path: Path, flips: int) -> None:
    vault = copied(closed, tmp_path / "vault")
    file = vault / "vault.db"
    truth = everything(vault)
    unnoticed: list[int] = []
    for offset in offsets(file.stat().st_size, flips, 1):
        old = damaged(file, offset, flip)
        try:
            assert everything(vault) == truth
            unnoticed.append(offset)
        except CorruptError:
            pass
        damaged(file, offset, lambda _, old=old: old)  # type: ignore[misc]
        for name in ("vault.db-wal", "vault.db-shm"):
            (vault / name).unlink(missing_ok=True)
    assert set(unnoticed) <= {*SALT, *HOW_TO_WRITE}
    assert everything(vault) == truth


def test_what_stands_in_the_clear_cannot_make_a_vault_lose_or_show_anything(
    closed: Path, tmp_path: Path
) -> None:
    """SQLite's header has eight bytes outside the encryption: the vault is refused, or read-only, or works."""
    vault = copied(closed, tmp_path / "vault")
    content = (vault / "vault.db").read_bytes()
    truth = everything(vault)
    for offset in range(16, 24):
        for bit in range(8):
            (vault / "vault.db").write_bytes(content)
            damaged(vault / "vault.db", offset, lambda old, bit=bit: bytes([old[0] ^ 1 << bit]))  # type: ignore[misc]
            written = []
            try:
                assert everything(vault) == truth
                with vaults.opened(vault) as store:
                    written = [ChannelManager(store).send_message("general", "written").body]
            except StorageError:
                pass
            if offset in HOW_TO_WRITE:
                with suppress(CorruptError):
                    assert look_at(vault)["channels"]["general"]["info"][1] == truth["channels"]["general"][
                        "info"
                    ][1] + len(written)


@pytest.mark.parametrize("size", [512, 4096, PAGE_SIZE])
def test_a_torn_write_in_the_file_is_found(closed: Path, tmp_path: Path, size: int) -> None:
    vault = copied(closed, tmp_path / "vault")
    file = vault / "vault.db"
    for offset in range(0, file.stat().st_size, 11 * PAGE_SIZE):
        for new in (bytes(size), random.Random(offset).randbytes(size)):
            old = damaged(file, offset + PAGE_SIZE - size, lambda _, new=new: new, size)  # type: ignore[misc]
            assert refused(vault).rule in ("page_damaged", "not_a_vault")
            damaged(file, offset + PAGE_SIZE - size, lambda _, old=old: old, size)  # type: ignore[misc]


def test_two_pages_that_changed_places_are_found(closed: Path, tmp_path: Path) -> None:
    vault = copied(closed, tmp_path / "vault")
    file = vault / "vault.db"
    content = file.read_bytes()
    first, second = content[3 * PAGE_SIZE : 4 * PAGE_SIZE], content[9 * PAGE_SIZE : 10 * PAGE_SIZE]
    damaged(file, 3 * PAGE_SIZE, lambda _: second, PAGE_SIZE)
    damaged(file, 9 * PAGE_SIZE, lambda _: first, PAGE_SIZE)
    assert refused(vault).rule == "page_damaged"


def test_a_file_cut_off_anywhere_is_found(closed: Path, tmp_path: Path) -> None:
    vault = copied(closed, tmp_path / "vault")
    file = vault / "vault.db"
    content = file.read_bytes()
    chance = random.Random(5)
    lengths = {0, 1, 15, 16, 99, 100, 512, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, len(content) - 1}
    lengths |= {len(content) - PAGE_SIZE} | {chance.randrange(len(content)) for _ in range(20)}
    for length in sorted(lengths):
        file.write_bytes(content[:length])
        assert refused(vault).rule in ("page_damaged", "not_a_vault"), length


@pytest.mark.parametrize("flips", FLIPS_IN_WAL)
def test_a_damaged_wal_is_cut_there_and_never_read(
    in_use: tuple[Path, list[Any]], tmp_path: Path, flips: int
) -> None:
    original, states = in_use
    assert look_at(copied(original, tmp_path / "whole" / "vault")) == states[-1]
    size = (original / "vault.db-wal").stat().st_size
    shown = set()
    for number, offset in enumerate(offsets(size, flips, 3)):
        vault = copied(original, tmp_path / str(number) / "vault")
        damaged(vault / "vault.db-wal", offset, flip)
        try:
            seen = look_at(vault)
        except CorruptError:
            continue
        assert seen in states
        shown.add(states.index(seen))
    assert len(shown) > 3


def test_a_wal_cut_off_or_torn_at_its_end_shows_what_was_before(
    in_use: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    original, states = in_use
    size = (original / "vault.db-wal").stat().st_size
    for number, keep in enumerate(range(0, size, size // 23)):
        vault = copied(original, tmp_path / str(number) / "vault")
        with (vault / "vault.db-wal").open("r+b") as wal:
            wal.truncate(keep)
            wal.seek(keep)
            wal.write(random.Random(number).randbytes(number * 100))
        with suppress(CorruptError):  # the first pages may have been nowhere else
            assert look_at(vault) in states


def test_a_damaged_shm_does_no_harm(in_use: tuple[Path, list[Any]], tmp_path: Path) -> None:
    original, states = in_use
    for number, offset in enumerate(range(0, (original / "vault.db-shm").stat().st_size, 977)):
        vault = copied(original, tmp_path / str(number) / "vault")
        damaged(vault / "vault.db-shm", offset, lambda old: bytes([old[0] ^ 255]))
        assert look_at(vault) == states[-1]


def test_a_flipped_byte_anywhere_in_the_slots_is_found(closed: Path, tmp_path: Path) -> None:
    vault = copied(closed, tmp_path / "vault")
    for offset in range(0, (vault / "slots").stat().st_size, 13):
        old = damaged(vault / "slots", offset, flip)
        with pytest.raises(CorruptError):
            everything(vault)
        damaged(vault / "slots", offset, lambda _, old=old: old)  # type: ignore[misc]


def look_at(vault: Path) -> Any:
    with vaults.opened(vault) as store:
        return look(store)


def noticed(vault: Path) -> bool:
    try:
        with vaults.opened(vault) as store:
            return not store.verify().ok
    except CorruptError:
        return True


@pytest.mark.parametrize("pages", OLD_PAGES)
def test_an_old_page_put_back_is_found(closed: Path, tmp_path: Path, pages: int) -> None:
    old = (closed / "vault.db").read_bytes()
    vault = copied(closed, tmp_path / "vault")
    with vaults.opened(vault) as store:
        talk(store, 1_000, 40)
        manager = ChannelManager(store)
        for message in list(manager.get_stored_messages("general"))[:30]:
            if not message.deleted:
                manager.edit_message(message.id, "banana")
    new = (vault / "vault.db").read_bytes()
    assert not noticed(vault)
    truth, harmless = look_at(vault), 0
    changed = [
        at for at in range(0, len(old), PAGE_SIZE) if old[at : at + PAGE_SIZE] != new[at : at + PAGE_SIZE]
    ]
    assert len(changed) > 15
    for at in random.Random(1).sample(changed, min(pages, len(changed))):
        content = new[:at] + old[at : at + PAGE_SIZE] + new[at + PAGE_SIZE :]
        (vault / "vault.db").write_bytes(content)
        found = noticed(vault)
        try:
            assert look_at(vault) == truth or found, f"page {at // PAGE_SIZE + 1}"  # some make no difference
            harmless += not found
        except CorruptError:
            assert found
        for name in ("vault.db-wal", "vault.db-shm"):
            (vault / name).unlink(missing_ok=True)
    assert harmless <= len(changed) // 8
