"""`LocalStore`: making, opening and closing a vault; what is no vault, and what it is then called."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from quire.channels.manager import ChannelManager
from quire.core.contents import Attachment
from quire.core.crypto.secrets import DatabaseKey, KeyFile, Passphrase, RawKey
from quire.core.ids import ChannelId
from quire.core.plain import plain_post
from quire.errors import (
    CorruptError,
    FullError,
    NotFoundError,
    QuireError,
    SchemaError,
    StorageError,
    UnlockError,
    UsageError,
)
from quire.storage import schema
from quire.storage.database import PAGE_SIZE, Database
from quire.storage.outside import create_key_file
from quire.store import messages
from quire.store.local import LocalStore
from quire.store.messages import decoded_posts
from quire.store.reader import Reader
from tests import vaults
from tests.vaults import ROOT

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffdb") + random.Random(1).randbytes(9_000)


def test_a_new_vault_has_the_page_size_that_was_measured(store: LocalStore) -> None:
    assert store.database.reader.pragma("page_size") == PAGE_SIZE
    assert store.database.reader.pragma("journal_mode") == "wal"


def test_a_passphrase_and_the_recovery_phrase_open_and_others_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    with LocalStore.create(folder, "correct horse") as store:
        phrase = store.recovery_phrase
        assert phrase is not None
        key = store.database.key
    for unlock in (Passphrase("correct horse"), phrase, RawKey(key)):
        with LocalStore.open(folder, unlock) as store:
            assert store.recovery_phrase is None
    for wrong, rule in (("wrong horse", "wrong_passphrase"), (RawKey(DatabaseKey(bytes(32))), "wrong_key")):
        with pytest.raises(UnlockError) as refusal:
            LocalStore.open(folder, wrong)
        assert refusal.value.rule == rule
        assert refusal.value.hint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed vault with a message."""
    with vaults.fresh_store(tmp_path) as store:
        ChannelManager(store).create_channel("general")
        ChannelManager(store).send_message("general", "here")
    return tmp_path / "vault"


def refusal_of(folder: Path) -> QuireError:
    with pytest.raises(QuireError) as failure:
        vaults.opened(folder).close()
    assert failure.value.hint, failure.value.rule
    return failure.value


def replaced(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "vault.db").write_bytes(content)


def plain_sqlite(folder: Path) -> None:
    (folder / "vault.db").unlink()
    connection = apsw.Connection(str(folder / "vault.db"))
    connection.execute("CREATE TABLE message(body TEXT); INSERT INTO message VALUES('x')")
    connection.close()


def anothers_database(folder: Path) -> None:
    with vaults.fresh_store(folder.parent, "other") as other:
        path = other.database.path
    shutil.copyfile(path, folder / "vault.db")


def anothers_slots(folder: Path) -> None:
    """Another vault's slots, that our key file opens, too."""
    with vaults.fresh_store(folder.parent, "other") as other:
        other.slots.add(vaults.key_of(folder))
    shutil.copyfile(other.folder / "slots", folder / "slots")


def newer(folder: Path) -> None:
    with vaults.opened(folder) as store, store.database.transaction() as db:
        db.execute(f"PRAGMA user_version={len(schema.MIGRATIONS) + 1}")


def of_another_day(folder: Path) -> None:
    with vaults.opened(folder) as store, store.database.transaction() as db:
        db.execute("DELETE FROM meta WHERE key = 'schema'")  # as all were before it was noted


def of_another_program(folder: Path) -> None:
    with vaults.opened(folder) as store, store.database.transaction() as db:
        db.execute("PRAGMA application_id=7")


@pytest.mark.parametrize(
    ("change", "kind", "rule"),
    [
        (lambda folder: (folder / "slots").unlink(), StorageError, "slots_missing"),
        (lambda folder: (folder / "vault.db").unlink(), CorruptError, "database_missing"),
        (lambda folder: (folder / "slots").write_bytes(b""), CorruptError, "slots_damaged"),
        (lambda folder: (folder / "slots").write_bytes(JPEG), CorruptError, "slots_damaged"),
        (replaced(b""), CorruptError, "not_a_vault"),
        (replaced(JPEG), CorruptError, "not_a_vault"),
        (replaced(bytes(100_000)), CorruptError, "not_a_vault"),
        (replaced(b"a text file\n" * 1_000), CorruptError, "not_a_vault"),
        (plain_sqlite, CorruptError, "not_a_vault"),
        (anothers_database, CorruptError, "not_a_vault"),
        (anothers_slots, CorruptError, "not_a_vault"),
        (newer, SchemaError, "schema_newer"),
        (of_another_day, SchemaError, "schema_unreleased"),
        (of_another_program, CorruptError, "not_a_vault"),
    ],
)
def test_what_is_no_vault_is_called_what_it_is(
    folder: Path, change: Callable[[Path], object], kind: type[QuireError], rule: str
) -> None:
    change(folder)
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    refusal = refusal_of(folder)
    assert (type(refusal), refusal.rule) == (kind, rule)
    for name in ("vault.db", "slots"):
        assert not (folder / name).exists() or (folder / name).read_bytes() == content[name]


def test_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    (folder / "vault.db").unlink()
    (folder / "vault.db").mkdir()
    assert isinstance(refusal_of(folder), StorageError)


def test_no_folder_an_empty_one_and_a_file(tmp_path: Path) -> None:
    key = create_key_file(tmp_path / "key")
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        with pytest.raises(NotFoundError) as refusal:
            LocalStore.open(tmp_path / name, key)
        assert refusal.value.rule == "no_vault"
    (tmp_path / "file").write_text("x")
    with pytest.raises(QuireError):
        LocalStore.open(tmp_path / "file", key)
    with pytest.raises(UsageError) as missing:
        LocalStore.create(tmp_path / "new", KeyFile(str(tmp_path / "no key")))
    assert missing.value.rule == "key_file_missing"
    assert not (tmp_path / "new").exists()


def test_a_vault_is_never_made_over_something(folder: Path, tmp_path: Path) -> None:
    before = (folder / "vault.db").read_bytes()
    for place in (folder, tmp_path):
        with pytest.raises(UsageError) as refusal:
            LocalStore.create(place, vaults.key_of(folder))
        assert refusal.value.rule == "vault_exists"
    assert (folder / "vault.db").read_bytes() == before
    (tmp_path / "empty").mkdir()
    LocalStore.create(tmp_path / "empty", vaults.key_of(folder)).close()


def test_a_truncated_vault_of_any_length(folder: Path) -> None:
    content = (folder / "vault.db").read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(content), len(content) // 40)]:
        (folder / "vault.db").write_bytes(content[:length])
        assert not is_whole(folder)


def is_whole(folder: Path) -> bool:
    try:
        with vaults.opened(folder) as store:
            return store.verify().ok
    except CorruptError as error:
        return error.rule not in ("not_a_vault", "page_damaged")


def test_a_vault_opened_for_reading_is_not_written(folder: Path) -> None:
    content = (folder / "vault.db").read_bytes()
    with vaults.opened(folder, read_only=True) as store:
        assert vaults.bodies(store, "general") == ["here"]
        with pytest.raises(FullError) as refusal:
            ChannelManager(store).send_message("general", "no")
        assert refusal.value.rule == "read_only"
    assert (folder / "vault.db").read_bytes() == content


def test_a_key_that_is_wrong_for_the_file_says_so(folder: Path) -> None:
    database = Database(folder / "vault.db", DatabaseKey(bytes(32)))
    with pytest.raises(CorruptError) as refusal:
        database.connect()
    assert refusal.value.rule == "not_a_vault"


def test_closing_twice_and_using_what_is_closed(folder: Path) -> None:
    store = vaults.opened(folder)
    store.close()
    store.close()
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".lock") == ["slots", "vault.db"]


def test_a_thing_in_the_place_of_its_id_is_named(manager: ChannelManager) -> None:
    """As every newcomer tries once."""
    info: Any = manager.create_channel("general")
    message: Any = manager.send_message("general", "hello")
    text: Any = manager.short_id(message.id)
    wrong: dict[str, list[Callable[[], object]]] = {
        "channel_id_type": [
            lambda: manager.send_message(info, "hello"),
            lambda: manager.store.get_channel_messages_paginated("general"),  # type: ignore[arg-type]
        ],
        "message_id_type": [
            lambda: manager.add_reaction(message, "👍"),
            lambda: manager.get_message(text),
            lambda: manager.send_message("general", "hello", thread=message),
            lambda: manager.send_message("general", "hello", reply_to=text),
        ],
    }
    for rule, calls in wrong.items():
        for call in calls:
            with pytest.raises(UsageError) as refusal:
                call()
            assert refusal.value.rule == rule
    assert manager.get_message(manager.find_message(text)) == message


NOT_FOR_READING = {
    "channels", "core.clock", "core.commit", "core.control", "core.heights", "core.membership", "core.query", "core.reports",
    "core.timeline", "core.words", "core.crypto.slot_changes", "storage.attachments", "storage.backlog", "storage.erasures",
    "storage.files", "storage.outside", "storage.retention", "storage.search", "storage.unlocking", "store.ledger",
    "store.pruning", "store.wallclock", "core.operation", "core.encoding", "core.crypto.slots", "core.crypto.keys",
}  # fmt: skip
# Importing msgspec, with what it imports, takes longer than all the rest.
SLOW_TO_IMPORT = {
    "msgspec", "typing_extensions", "inspect", "uuid", "decimal", "dataclasses", "cryptography", "asyncio", "pathlib",
    "json", "base64", "logging", "sqlite3", "typer", "rich",
}  # fmt: skip
FIRST_PAGE = """if True:
    import sys
    from quire import DatabaseKey, LocalStore, RawKey
    with LocalStore.open(sys.argv[1], RawKey(DatabaseKey(bytes.fromhex(sys.argv[2])))) as store:
        page = store.get_channel_messages_paginated(bytes.fromhex(sys.argv[3]), limit=50)
    print(repr(page))
    print(*(name for name in sys.modules))
"""


def first_page(folder: Path, store: LocalStore, channel: ChannelId) -> tuple[str, set[str]]:
    """The newest page as a fresh process reads it, and the modules that it has loaded by then."""
    key = store.database.key.reveal().hex()
    ran = subprocess.run(
        [sys.executable, "-c", FIRST_PAGE, str(folder), key, channel.hex()],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    page, loaded = ran.stdout.splitlines()
    return page, set(loaded.split())


def test_a_fresh_process_loads_for_reading_only_what_reading_needs(folder: Path) -> None:
    """Each module that is loaded for nothing is a hundredth of the time to the first page."""
    with vaults.opened(folder) as store:
        page, loaded = first_page(folder, store, ChannelManager(store).get_channel("general").id)
    assert "body='here'" in page
    assert "quire.store.reader" in loaded
    assert not {f"quire.{name}" for name in NOT_FOR_READING} & loaded
    assert not SLOW_TO_IMPORT & loaded


def test_a_fresh_process_reads_all_that_a_message_can_have_without_what_is_slow_to_import(
    store: LocalStore, manager: ChannelManager
) -> None:
    """Its page is the one that a program reads which has all of that; so both ways of reading posts agree."""
    channel = manager.create_channel("rich").id
    names = ("plain", "edited", "deleted", "pinned", "root", "carries")
    carried = Attachment("a.txt", "https://example.org/a", "text/plain", 70_000)
    sent = {name: manager.send_message(channel, name) for name in names[:-1]}
    manager.send_message(channel, "carries", attachments=[carried], mentions=["quire:" + "0" * 64])
    manager.send_message(channel, "é" * 40_000, reply_to=sent["plain"].id)
    manager.send_message(channel, "in a thread", thread=sent["root"].id, broadcast=True)
    manager.edit_message(sent["edited"].id, "its second text")
    manager.delete_message(sent["deleted"].id, "why")
    manager.pin(sent["pinned"].id)
    manager.add_reaction(sent["plain"].id, "👍")
    manager.import_(ROOT / "demo" / "pyscript-discord.zip")
    for info in manager.list_channels():
        page, loaded = first_page(store.folder, store, info.id)
        expected = store.get_channel_messages_paginated(info.id, limit=50)
        assert len(expected.messages) > 3
        assert page == repr(expected)
        assert not SLOW_TO_IMPORT & loaded


def test_after_some_pages_what_decodes_many_posts_at_once_is_imported(
    manager: ChannelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = manager.create_channel("general").id
    for number in range(4):
        manager.send_message(channel, str(number))
    assert decoded_posts([]) == []  # it has all that it imports
    monkeypatch.delitem(sys.modules, "quire.core.operation")
    reader = Reader(manager.store.database, manager.store.own_key)
    monkeypatch.setattr(reader, "_plain_left", 10)
    read: list[str] = []

    def one(salted: bytes) -> object:
        read.append("plain")
        return plain_post(salted)

    def many(salted: list[bytes]) -> list[object]:
        read.append("all")
        return decoded_posts(salted)

    monkeypatch.setattr(messages, "plain_post", one)
    monkeypatch.setattr(messages, "decoded_posts", many)
    for _ in range(4):
        page = reader.page(reader.number(channel), None, None, 50, 0)
        assert [message.body for message in page.messages] == ["3", "2", "1", "0"]
    assert read == ["plain"] * 8 + ["all"] * 2


class Ended(threading.Event):
    """Not yet, and then."""

    def wait(self, timeout: float | None = None) -> bool:
        ended = self.is_set()
        self.set()
        return ended


def test_a_new_key_tells_how_far_it_is(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with vaults.opened(folder) as store:
        ChannelManager(store).send_message("general", "there")
        frames = ((folder / "vault.db-wal").stat().st_size - 32) // (PAGE_SIZE + 24)
        store.database._watch(lambda *now: told.append(now), 1_000, Ended())
        assert told == [("pages", frames, 1_000)]  # while it goes on: as many as are in the log
        told.clear()
        old, pages = store.database.key, store.database.reader.pragma("page_count")
        store.rekey(progress=lambda *now: told.append(now))
        assert store.database.key != old
    assert told[0] == ("pages", 0, pages)
    assert told[-2:] == [("pages", pages, pages), ("into place", 0, 0)]
    with pytest.raises(CorruptError):
        Database(folder / "vault.db", old).connect()
    with vaults.opened(folder) as store:
        assert store.verify().ok
        assert sorted(vaults.bodies(store, "general")) == ["here", "there"]
